//! A process's memory: as it is, and as a core dump that root forces.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use memchr::memmem::Finder;

use super::writes::WITHOUT_RIGHT;
use super::{Hunt, OVERLAP, Searched};
use crate::Result;
use crate::error::{During, Error};

/// Bytes searched at a time; neighbouring pieces overlap by the longest needle.
const PIECE: usize = 1024 * 1024;

/// Mappings of the kernel's own, which nobody can read from outside.
const KERNELS: [&str; 4] = ["[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]"];

/// A search that must find something public too, or it does not work.
struct Search<'a> {
    hunt: &'a Hunt,
    place: &'a str,
    known: Finder<'a>,
    known_found: bool,
    searched: Searched,
}

impl<'a> Search<'a> {
    fn new(hunt: &'a Hunt, place: &'a str, known: &'a str) -> Self {
        Self { hunt, place, known: Finder::new(known), known_found: false, searched: Searched::default() }
    }

    /// Looks at a piece of some part of the place.
    fn look(&mut self, part: &str, bytes: &[u8]) {
        self.known_found |= self.known.find(bytes).is_some();
        let mut searched = self.hunt.bytes(self.place, bytes);
        for place in searched.found.values_mut() {
            place.push_str(part);
        }
        self.searched.add(searched);
    }

    fn end(self) -> Result<Searched> {
        if self.known_found {
            return Ok(self.searched);
        }
        Err(Error::Wrong(format!("the search of {} does not even find public data", self.place)))
    }
}

/// Searches all readable memory of a process, in which `known` must be found.
pub(super) fn memory(hunt: &Hunt, process: u32, known: &str) -> Result<Searched> {
    let memory = File::open(format!("/proc/{process}/mem")).during("opening a process's memory")?;
    let mut search = Search::new(hunt, "the memory", known);
    let mut unread = Vec::new();
    for line in maps(process)?.lines() {
        let Some((start, end)) = readable(line) else { continue };
        if search_range(&memory, (start, end), |bytes| search.look(&format!(" ({line})"), bytes)).is_err() {
            unread.push(line.to_owned());
        }
    }
    // A mapping may go away while it is searched; one that is still there must have been read.
    let maps = maps(process)?;
    if let Some(line) = unread.iter().find(|line| maps.lines().any(|still| still == *line)) {
        return Err(Error::Wrong(format!("memory cannot be read: {line}")));
    }
    search.end()
}

fn maps(process: u32) -> Result<String> {
    fs::read_to_string(format!("/proc/{process}/maps")).during("reading a process's memory map")
}

fn readable(line: &str) -> Option<(u64, u64)> {
    if KERNELS.iter().any(|name| line.ends_with(name)) {
        return None;
    }
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    words.next()?.starts_with('r').then_some(())?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

fn search_range(memory: &File, (start, end): (u64, u64), mut look: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = buffer.get_mut(..length) else { break };
        memory.read_exact_at(piece, at)?;
        look(piece);
        at += length as u64;
        if at < end {
            at = at.saturating_sub(OVERLAP as u64);
        }
    }
    Ok(())
}

/// Who dumps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Root, who may look into any process.
    Root,
    /// The process's own user, without that right.
    OwnUser,
}

/// Has a debugger dump a process's whole memory, with what the process keeps out of dumps; whether it could.
pub(super) fn dump(process: u32, by: By, core: &Path) -> Result<bool> {
    let mut gdb = match by {
        By::Root => Command::new("gdb"),
        By::OwnUser => {
            let [setpriv, options @ ..] = WITHOUT_RIGHT;
            let mut without = Command::new(setpriv);
            without.args(options).arg("gdb");
            without
        }
    };
    gdb.args(["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set auto-solib-add off", "-p"]);
    gdb.arg(process.to_string());
    gdb.args(["-ex", "set dump-excluded-mappings on", "-ex"]);
    gdb.arg(format!("generate-core-file {}", core.display()));
    gdb.stdin(Stdio::null());
    let output = gdb.output().during("starting gdb")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    match (core.exists(), said.contains("ptrace: Operation not permitted")) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(Error::Wrong(format!("gdb neither dumped nor was refused:\n{}", crate::stage::tail(&said)))),
    }
}

/// Searches a core dump, in which `known` must be found.
pub(super) fn core(hunt: &Hunt, core: &Path, known: &str) -> Result<Searched> {
    let mut file = File::open(core).during("opening a core dump")?;
    let mut search = Search::new(hunt, "a core dump", known);
    let mut buffer = vec![0; OVERLAP + PIECE];
    let mut kept = 0;
    while let Some(room) = buffer.get_mut(kept..) {
        let length = file.read(room).during("reading a core dump")?;
        if length == 0 {
            break;
        }
        let filled = kept + length;
        search.look("", buffer.get(..filled).unwrap_or_default());
        kept = filled.min(OVERLAP);
        buffer.copy_within(filled - kept..filled, 0);
    }
    search.end()
}

/// Demands that the kernel has no room for a core of the process.
pub(super) fn expect_no_dumps(process: u32) -> Result<()> {
    let limits =
        fs::read_to_string(format!("/proc/{process}/limits")).during("reading a process's limits")?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let numbers: Vec<_> = core.unwrap_or_default().split_whitespace().take(2).collect();
    if numbers == ["0", "0"] {
        Ok(())
    } else {
        Err(Error::Wrong(format!("core files may be written: {core:?}")))
    }
}
