//! A program that leaks on purpose: a hunt that does not catch it would catch nobody.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Hunt, Tap};
use crate::Result;
use crate::error::{During, Error};
use crate::stage::Stage;

/// What the canary says when everything is leaked.
const LEAKED: &str = "leaked\n";
/// What it has in memory that is no secret.
const PUBLIC: &str = "the canary's public data";

/// Leaks one secret at a time in a process, a file, a log and an answer, and demands that the hunt finds each; how many
/// leaks that were. What is no leak must pass.
pub(in crate::rig) fn expect_caught(hunt: &Hunt, stage: &Stage) -> Result<usize> {
    let folder = stage.path("canary");
    fs::create_dir(&folder).during("making the canary's folder")?;
    hunt.expect_clean("nothing", PUBLIC.as_bytes())?;
    let mut caught = 0;
    let mut leaked = HashSet::new();
    for needle in hunt.needles.iter().filter(|needle| leaked.insert(&needle.name)) {
        let file = folder.join("secret");
        fs::write(&file, needle.bytes.expose()).during("writing the canary's secret")?;
        caught += leak(hunt, &needle.name, &file, &folder)?;
        fs::remove_file(&file).during("removing the canary's secret")?;
    }
    fs::remove_dir_all(&folder).during("removing the canary's folder")?;
    Ok(caught)
}

fn leak(hunt: &Hunt, name: &str, secret: &Path, folder: &Path) -> Result<usize> {
    let (daemon, tapped) = (folder.join("canary.sock"), folder.join("tapped.sock"));
    let mut canary = Command::new(std::env::current_exe().during("finding this program")?)
        .arg("canary")
        .args([secret, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .during("starting the canary")?;
    let outcome = (|| {
        let output = canary.stdout.take().ok_or_else(|| Error::Wrong("the canary has no output".into()))?;
        let mut log = Vec::new();
        let mut lines = BufReader::new(output);
        while !log.ends_with(LEAKED.as_bytes()) {
            if lines.read_until(b'\n', &mut log).during("reading the canary's log")? == 0 {
                return Err(Error::Wrong("the canary has died".into()));
            }
        }
        let tap = Tap::start(tapped.clone(), daemon)?;
        let mut answer = Vec::new();
        let mut client = UnixStream::connect(&tapped).during("asking the canary")?;
        client.read_to_end(&mut answer).during("asking the canary")?;
        let places = [
            ("its memory", hunt.expect_clean_memory(canary.id(), PUBLIC).map(drop)),
            ("a file", hunt.expect_clean("a file", &fs::read(folder.join("leak")).during("reading")?)),
            ("its log", hunt.expect_clean("its log", &log)),
            ("an answer", hunt.expect_clean("an answer", &tap.answered())),
        ];
        for (place, verdict) in &places {
            let said = verdict.as_ref().err().map(ToString::to_string).unwrap_or_default();
            if !said.contains(name) {
                let sentence =
                    format!("the hunt did not find the {name} that a canary leaked in {place}: {said}");
                return Err(Error::Wrong(sentence));
            }
        }
        Ok(places.len())
    })();
    // Its input ends with this, and so does it.
    drop(canary.stdin.take());
    canary.wait().during("waiting for the canary's end")?;
    for name in ["leak", "canary.sock", "tapped.sock"] {
        fs::remove_file(folder.join(name)).during("removing what the canary left")?;
    }
    outcome
}

/// The canary itself: has the secret in its memory, writes it to a file, to its log and to whoever asks once, and ends with
/// its input.
pub(crate) fn leak_on_purpose(secret: &Path, folder: &Path) -> Result<()> {
    let secret = fs::read(secret).during("reading the secret")?;
    let public = PUBLIC.to_owned();
    fs::write(folder.join("leak"), &secret).during("leaking to a file")?;
    let listener = UnixListener::bind(folder.join("canary.sock")).during("listening")?;
    let mut log = stdout().lock();
    log.write_all(&[&secret, &b"\n"[..], LEAKED.as_bytes()].concat()).during("leaking to the log")?;
    log.flush().during("leaking to the log")?;
    let (mut asker, _) = listener.accept().during("waiting for a question")?;
    asker.write_all(&secret).during("leaking to a client")?;
    drop(asker);
    stdin().read_to_end(&mut Vec::new()).during("waiting for the end")?;
    // Until here both are in memory.
    drop((secret, public));
    Ok(())
}
