//! A program that leaks on purpose: a hunt that does not catch it would catch nobody.
//!
//! It leaks every secret in every form, in every place that the hunt looks at. Another time it leaks nothing, and must pass.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::dump::{self, By};
use super::tap::{SecretFields, Tap};
use super::writes::{self, Written};
use super::{Hunt, Searched};
use crate::Result;
use crate::error::{During, Error};
use crate::stage::Stage;

/// What the canary says when it can be asked.
const READY: &str = "ready\n";
/// What it has in memory that is no secret.
const PUBLIC: &str = "the canary's public data";

/// Lets the canary leak, and demands that the hunt finds each secret in each form in each place; and that it finds nothing
/// where nothing is leaked. Gives how many leaks were caught, and in which places.
pub(super) fn expect_caught(hunt: &Hunt, stage: &Stage) -> Result<(usize, Vec<&'static str>)> {
    let nothing = BTreeSet::new();
    for (place, searched) in canary(hunt, stage, "silent", &[])? {
        expect(hunt, &format!("{place} of a canary that is silent"), &searched, &nothing)?;
    }
    let all: Vec<_> = hunt.needles.iter().map(|needle| needle.bytes.expose()).collect();
    let each: BTreeSet<_> = (0..all.len()).collect();
    let searches = canary(hunt, stage, "loud", &all)?;
    for (place, searched) in &searches {
        expect(hunt, &format!("{place} of a canary that leaks"), searched, &each)?;
    }
    let places: Vec<_> = searches.into_iter().map(|(place, _)| place).collect();
    Ok((all.len() * places.len(), places))
}

fn expect(hunt: &Hunt, what: &str, searched: &Searched, expected: &BTreeSet<usize>) -> Result<()> {
    let found: BTreeSet<_> = searched.found.keys().copied().collect();
    let wrong: Vec<_> = found.symmetric_difference(expected).map(|needle| hunt.name(*needle)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    let some = wrong.into_iter().take(5).collect::<Vec<_>>().join(", ");
    Err(Error::Wrong(format!("in {what} the hunt is wrong about {count} of the secrets: {some}")))
}

/// Runs a canary that leaks these; what the hunt finds in each place.
fn canary(hunt: &Hunt, stage: &Stage, name: &str, leaks: &[&[u8]]) -> Result<Vec<(&'static str, Searched)>> {
    let folder = stage.path(name);
    fs::create_dir(&folder).during("making the canary's folder")?;
    let secrets = stage.path(&format!("{name}.secrets"));
    let text: String = leaks.iter().map(|leak| hexadecimal(leak) + "\n").collect();
    fs::write(&secrets, text).during("writing the canary's secrets")?;
    let record = folder.join("strace");
    let mut program = Command::new(std::env::current_exe().during("finding this program")?);
    program.arg("canary").args([&secrets, &folder]);
    let mut canary = writes::started(&record, &program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .during("starting the canary")?;
    let outcome = look(hunt, &folder, &mut canary, leaks);
    // Its input ends with this, and so does it.
    drop(canary.stdin.take());
    canary.wait().during("waiting for the canary's end")?;
    let mut searches = outcome?;
    searches.push(("its writes", Written::read(&record, hunt)?.elsewhere));
    fs::remove_file(secrets).during("removing the canary's secrets")?;
    fs::remove_dir_all(folder).during("removing the canary's folder")?;
    Ok(searches)
}

fn look(
    hunt: &Hunt,
    folder: &Path,
    canary: &mut Child,
    leaks: &[&[u8]],
) -> Result<Vec<(&'static str, Searched)>> {
    let output = canary.stdout.take().ok_or_else(|| Error::Wrong("the canary has no output".into()))?;
    let mut log = Vec::new();
    let mut lines = BufReader::new(output);
    while !log.ends_with(READY.as_bytes()) {
        if lines.read_until(b'\n', &mut log).during("reading the canary's log")? == 0 {
            return Err(Error::Wrong("the canary has died".into()));
        }
    }
    let tap = Tap::start(folder.join("tapped.sock"), folder.join("canary.sock"))?;
    let mut client = UnixStream::connect(folder.join("tapped.sock")).during("asking the canary")?;
    client.write_all(&frame(leaks)).during("asking the canary")?;
    client.read_to_end(&mut Vec::new()).during("asking the canary")?;
    let crossed = tap.crossed(&SecretFields::described()?);
    let mut searches = vec![
        ("its log", hunt.bytes("its log", &log)),
        ("a request", hunt.bytes("a request", &crossed.asked)),
        ("an answer", hunt.bytes("an answer", &crossed.answered)),
        ("a file", hunt.bytes("a file", &fs::read(folder.join("leak")).during("reading")?)),
        ("its memory", dump::memory(hunt, canary.id(), PUBLIC)?),
    ];
    writes::let_go(canary.id())?;
    for (by, place) in [(By::Root, "a dump by root"), (By::OwnUser, "a dump by its own user")] {
        let core = folder.join("core");
        if !dump::dump(canary.id(), by, &core)? {
            return Err(Error::Wrong(format!("there is not even {place} of a canary")));
        }
        searches.push((place, dump::core(hunt, &core, PUBLIC)?));
        fs::remove_file(core).during("removing a core dump")?;
    }
    Ok(searches)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame(leaks: &[&[u8]]) -> Vec<u8> {
    let body = leaks.join(&b'\n');
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
}

/// The canary itself: has the secrets in its memory, writes them to a file, to its log, to nowhere and to whoever asks once,
/// and ends with its input.
pub(crate) fn leak_on_purpose(secrets: &Path, folder: &Path) -> Result<()> {
    let text = fs::read_to_string(secrets).during("reading the secrets")?;
    let secrets: Vec<Vec<u8>> =
        text.lines().map(|line| line.as_bytes().chunks(2).filter_map(byte).collect()).collect();
    let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    let public = PUBLIC.to_owned();
    let all = secrets.join(&b'\n');
    fs::write(folder.join("leak"), &all).during("leaking to a file")?;
    let mut nowhere = File::options().write(true).open("/dev/null").during("opening /dev/null")?;
    nowhere.write_all(&all).during("leaking to nowhere")?;
    let listener = UnixListener::bind(folder.join("canary.sock")).during("listening")?;
    let mut log = stdout().lock();
    log.write_all(&[&all, &b"\n"[..], READY.as_bytes()].concat()).during("leaking to the log")?;
    log.flush().during("leaking to the log")?;
    let (mut asker, _) = listener.accept().during("waiting for a question")?;
    // The question is as long as the answer.
    let answer = frame(&secrets);
    asker.read_exact(&mut vec![0; answer.len()]).during("reading the question")?;
    asker.write_all(&answer).during("leaking to a client")?;
    drop(asker);
    stdin().read_to_end(&mut Vec::new()).during("waiting for the end")?;
    // Until here both are in memory.
    drop((all, public));
    Ok(())
}

fn byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
