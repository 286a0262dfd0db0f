//! What a process writes, as `strace` sees it: everything that goes out by a write or a send, apart from what goes to the
//! reader.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Hunt, OVERLAP, Searched};
use crate::Result;
use crate::error::{During, Error};
use crate::stage::patience;

/// The calls by which bytes leave a process, and the one that tells which socket is the reader's.
const CALLS: &str = "trace=connect,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg";

/// The most bytes of one call that are taken down.
const LONGEST: &str = "4194304";

/// pcscd's socket, by the end of its path.
const READER: &str = "/pcscd.comm";

/// The daemon's own socket, likewise.
const CLIENTS: &str = "/cnsd.sock";

/// A message for the mail while it is written, likewise.
const MAIL: &str = ".eml.new";

/// A part of the path of the database's file and its log.
const DATABASE: &str = "/custody.db";

/// `strace`'s options: all processes, what each descriptor is, all bytes in hexadecimal.
fn options(record: &Path) -> Command {
    let mut strace = Command::new("strace");
    // No signal is kept from it: it must be able to let go.
    strace.args(["-I1", "-f", "-yy", "-xx", "-s", LONGEST, "-e", CALLS, "-o"]).arg(record);
    strace
}

/// What takes from a program the right to look into any other one, which root otherwise has.
pub(super) const WITHOUT_RIGHT: [&str; 4] =
    ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"];

/// Starts `program` under it, without the right to look into others, as the service's user is; the process that is started
/// is the program itself.
pub(super) fn started(record: &Path, program: &Command) -> Command {
    let mut strace = options(record);
    strace.args(["-D", "--"]).args(WITHOUT_RIGHT).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    strace
}

/// Ends the tracing of a process, which goes on.
pub(super) fn let_go(process: u32) -> Result<()> {
    let what = "ending strace";
    let limit = Instant::now() + patience(10);
    while let Some(tracer) = tracer(process)? {
        // It may have ended by itself meanwhile.
        kill_process(tracer, Signal::TERM).unwrap_or_default();
        if Instant::now() > limit {
            return Err(Error::TooSlow {
                what: what.into(),
                seconds: patience(10).as_secs(),
                output: String::new(),
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn tracer(process: u32) -> Result<Option<Pid>> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).during("looking for strace")?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    Ok(tracer.and_then(|number| number.trim().parse().ok()).and_then(Pid::from_raw))
}

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) calls: usize,
    /// Of those calls, the ones to the reader.
    pub(super) to_reader: usize,
    /// What was in that which went elsewhere.
    pub(super) elsewhere: Searched,
    /// What was in that which went to the database.
    pub(super) stored: Searched,
    /// What was in that which went to the mail.
    pub(super) mailed: Searched,
    /// What was in that which went to the daemon's clients.
    pub(super) answered: Searched,
    /// What was in that which went to the reader.
    pub(super) presented: Searched,
}

impl Written {
    /// Reads what `strace` took down, and searches it.
    pub(super) fn read(record: &PathBuf, hunt: &Hunt) -> Result<Self> {
        let file = File::open(record).during("opening strace's record")?;
        Self::of(BufReader::new(file), hunt)
    }

    fn of(record: impl BufRead, hunt: &Hunt) -> Result<Self> {
        let (mut written, mut readers) = (Self::default(), BTreeSet::new());
        // The end of what was written to the same place before, by place: a secret may be written in two calls.
        let mut tails: HashMap<String, Vec<u8>> = HashMap::new();
        for line in record.lines() {
            let line = line.during("reading strace's record")?;
            let Some(call) = Call::read(&line) else { continue };
            if !call.whole {
                return Err(Error::Wrong(format!("strace cut off what {} wrote", call.place)));
            }
            if call.name == "connect" {
                if call.bytes.ends_with(READER.as_bytes()) {
                    readers.extend(call.inode());
                }
                continue;
            }
            let to_reader = call.inode().is_some_and(|inode| readers.contains(&inode));
            written.calls += 1;
            written.to_reader += usize::from(to_reader);
            let tail = tails.entry(call.place.clone()).or_default();
            tail.extend(&call.bytes);
            let searched = hunt.bytes(&format!("what was written to {}", call.place), tail);
            let part = match to_reader {
                true => &mut written.presented,
                false if call.is_to_client() => &mut written.answered,
                false if call.is_to(MAIL) => &mut written.mailed,
                false if call.place.contains(&in_hexadecimal(DATABASE)) => &mut written.stored,
                false => &mut written.elsewhere,
            };
            part.add(searched);
            tail.drain(..tail.len().saturating_sub(OVERLAP));
        }
        Ok(written)
    }
}

/// One line of `strace`.
struct Call {
    name: String,
    /// What the descriptor is.
    place: String,
    bytes: Vec<u8>,
    /// Whether all bytes are there.
    whole: bool,
}

impl Call {
    /// `PID NAME(NUMBER<PLACE>, …` with every string in hexadecimal. Lines that tell the end of a call, a signal or the
    /// end of a process are none.
    fn read(line: &str) -> Option<Self> {
        let (_, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        let (_, rest) = rest.split_once('<')?;
        let (place, arguments) = rest.split_once(">, ")?;
        let mut parts = arguments.split('"');
        let (mut bytes, mut whole) = (Vec::new(), true);
        // Outside, inside, outside …: no string holds a quotation mark, which would be in hexadecimal.
        parts.next();
        while let (Some(inside), Some(outside)) = (parts.next(), parts.next()) {
            let digits = inside.split("\\x").skip(1);
            bytes.extend(digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()));
            whole &= !outside.starts_with("...");
        }
        Some(Self { name: name.to_owned(), place: place.to_owned(), bytes, whole })
    }

    /// Whether it went out by the daemon's own socket.
    fn is_to_client(&self) -> bool {
        self.place.starts_with("UNIX-") && self.place.ends_with(&format!("{}\"]", in_hexadecimal(CLIENTS)))
    }

    /// Whether it went to a file whose path ends so.
    fn is_to(&self, end: &str) -> bool {
        self.place.ends_with(&in_hexadecimal(end))
    }

    /// The number of the socket, which is never given to another one.
    fn inode(&self) -> Option<u64> {
        let (_, rest) = self.place.strip_prefix("UNIX-")?.split_once(":[")?;
        rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    }
}

/// As a place has it.
fn in_hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use cns_secret::Secret;

    use super::in_hexadecimal as hex;
    use super::*;

    fn read(lines: &[String]) -> Result<Written> {
        let hunt = Hunt::of(&[("PIN".into(), Secret::copy_from(b"12345678").unwrap())]).unwrap();
        Written::of(lines.join("\n").as_bytes(), &hunt)
    }

    /// Whether the text was in it: the first form.
    fn has(searched: &Searched) -> bool {
        searched.found.contains_key(&0)
    }

    #[test]
    fn a_write_to_the_reader_is_none_and_any_other_is_found() {
        let connect = format!(
            "7 connect(9<UNIX-STREAM:[555]>, {{sa_family=AF_UNIX, sun_path=\"{}\"}}, 24) = 0",
            hex("/run/pcscd/pcscd.comm")
        );
        let send =
            |place: &str, text: &str| format!("7 sendto({place}, \"{}\", 8, 0, NULL, 0) = 8", hex(text));
        let written = read(&[
            connect,
            send("9<UNIX-STREAM:[555->556]>", "12345678"),
            send("10<UNIX-STREAM:[600->601,\"\\x2f\"]>", "harmless"),
            "7 +++ exited with 0 +++".into(),
        ])
        .unwrap();
        assert_eq!((written.calls, written.to_reader), (2, 1));
        assert!(written.elsewhere.found.is_empty() && has(&written.presented));
        let written = read(&[send("9<UNIX-STREAM:[555->556]>", "12345678")]).unwrap();
        assert!(has(&written.elsewhere), "a socket that nobody said is the reader's");
        let client = format!("9<UNIX-STREAM:[5->6,\"{}\"]>", hex("/tmp/x/cnsd.sock"));
        let written = read(&[send(&client, "12345678")]).unwrap();
        assert!(has(&written.answered) && written.elsewhere.found.is_empty());
    }

    #[test]
    fn what_is_mailed_and_what_is_stored_are_told_apart_from_the_rest() {
        let write = |path: &str| format!("7 write(12<{}>, \"{}\", 8) = 8", hex(path), hex("12345678"));
        for (path, mailed, stored) in [
            ("/tmp/x/mail/request-1.eml.new", true, false),
            ("/tmp/x/state/custody.db-wal", false, true),
            ("/tmp/x/mail/request-1.eml", false, false),
            ("/tmp/x/cnsd.log", false, false),
        ] {
            let written = read(&[write(path)]).unwrap();
            let elsewhere = !mailed && !stored;
            assert_eq!(
                (has(&written.mailed), has(&written.stored), has(&written.elsewhere)),
                (mailed, stored, elsewhere),
                "{path}"
            );
        }
    }

    #[test]
    fn parts_of_one_write_and_of_two_are_put_together() {
        let vector = format!(
            "7 writev(2<\\x2f>, [{{iov_base=\"{}\", iov_len=4}}, {{iov_base=\"{}\", iov_len=4}}], 2 <unfinished ...>",
            hex("1234"),
            hex("5678")
        );
        assert!(has(&read(&[vector]).unwrap().elsewhere));
        let half = |place: &str, text: &str| format!("7 write({place}, \"{}\", 4) = 4", hex(text));
        let written = read(&[half("2<\\x2f>", "1234"), half("3<\\x2e>", "0000"), half("2<\\x2f>", "5678")]);
        assert!(has(&written.unwrap().elsewhere));
        let apart = read(&[half("2<\\x2f>", "1234"), half("3<\\x2e>", "5678")]).unwrap();
        assert!(apart.elsewhere.found.is_empty());
    }

    #[test]
    fn what_strace_did_not_take_down_whole_is_an_error() {
        let cut = format!("7 write(2<\\x2f>, \"{}\"..., 400) = 400", hex("1234"));
        assert!(read(&[cut]).is_err());
    }
}
