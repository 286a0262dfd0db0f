//! What survives without power, and the directory that keeps it.
//!
//! A directory (mode 0700) holds `card.json` (mode 0600) and a lock. Every change replaces the file as a
//! whole: written beside it, flushed to the disk, renamed over it. So a torn write leaves the state of before.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::filesystem::FileSystem;
use crate::generation::Generation;

/// The version of the file format; a frozen sample of each is in the tests.
const FORMAT: u32 = 1;
const STATE_FILE: &str = "card.json";
const NEW_STATE_FILE: &str = "card.json.new";
const LOCK_FILE: &str = "lock";
/// A state file is hexadecimal text of a chip of 64 KiB.
const MAXIMUM_STATE: u64 = 1024 * 1024;

/// Why a card's directory could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has this card plugged in.
    #[error("{0} is in use: another process has this card plugged in")]
    InUse(PathBuf),
    /// There is something already where a card was to be created.
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    /// The state file cannot be read by this version.
    #[error("{path} has format version {version}, this program knows {FORMAT}")]
    Format {
        /// The state file.
        path: PathBuf,
        /// The version that it names.
        version: u32,
    },
    /// The state file is damaged.
    #[error("{path} is damaged (line {line}, column {column})")]
    Damaged {
        /// The state file.
        path: PathBuf,
        /// Where reading stopped; the content is not quoted, as it may be secret.
        line: usize,
        /// Where in the line.
        column: usize,
    },
}

/// Switches of the chip's behaviour, set when it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Wrong PINs answer 6300 in place of 63Cx, as STIncard's own driver expects.
    pub strict_incard: bool,
    /// Command chaining (CLA 10) is refused with 6E00, as an ST 2021 does.
    pub strict_st: bool,
    /// SELECT with P2 = 0C is refused with 6A86, as IDEMIA cards do.
    pub select_p2_0c_refused: bool,
    /// PSO DECIPHER works with a signature key too.
    pub lenient_decipher: bool,
    /// How long GENERATE KEY PAIR takes at least, in seconds.
    pub key_generation_seconds: u16,
}

/// Everything that the chip keeps without power.
#[derive(Serialize, Deserialize)]
pub(crate) struct CardState {
    format: u32,
    pub(crate) generation: Generation,
    pub(crate) behaviour: Behaviour,
    pub(crate) files: FileSystem,
}

impl CardState {
    pub(crate) fn new(generation: Generation, behaviour: Behaviour, files: FileSystem) -> Self {
        Self { format: FORMAT, generation, behaviour, files }
    }
}

/// Read first, so that a newer file is refused by its version and not by its first unknown field.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// A card's directory, locked while this value lives.
pub(crate) struct StateDirectory {
    path: PathBuf,
    /// Held for its lock alone.
    _lock: File,
}

impl StateDirectory {
    /// Makes a new directory, or takes an empty one; any other is left alone.
    pub(crate) fn create(path: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| failed("create", path, source))?;
        let mut entries = std::fs::read_dir(path).map_err(|source| failed("read", path, source))?;
        if entries.next().is_some() {
            return Err(StateError::NotEmpty(path.to_owned()));
        }
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(|source| failed("restrict", path, source))?;
        Self::lock(path)
    }

    /// Reads the card in a directory without opening it: another process may have it plugged in.
    pub(crate) fn read(path: &Path) -> Result<CardState, StateError> {
        read_state(&path.join(STATE_FILE))
    }

    /// Opens a directory that holds a card, and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, CardState), StateError> {
        let directory = Self::lock(path)?;
        let state = read_state(&path.join(STATE_FILE))?;
        Ok((directory, state))
    }

    fn lock(path: &Path) -> Result<Self, StateError> {
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| failed("open", &lock_path, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse(path.to_owned())),
            Err(error) => Err(failed("lock", &lock_path, error.into())),
        }
    }

    /// Replaces the state on disk; when this returns, it is there to stay.
    pub(crate) fn write(&self, state: &CardState) -> Result<(), StateError> {
        let image = serialise(state).map_err(|error| damaged(&self.path.join(STATE_FILE), &error))?;
        let new = self.path.join(NEW_STATE_FILE);
        write_flushed(&new, &image).map_err(|source| failed("write", &new, source))?;
        let current = self.path.join(STATE_FILE);
        std::fs::rename(&new, &current).map_err(|source| failed("replace", &current, source))?;
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| failed("flush", &self.path, source))
    }
}

/// The whole image in one buffer of the right size: a growing one would leave copies of secrets behind.
fn serialise(state: &CardState) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut length = ByteCount(0);
    serde_json::to_writer(&mut length, state)?;
    let mut image = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *image, state)?;
    Ok(image)
}

struct ByteCount(usize);

impl Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_flushed(path: &Path, image: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(image)?;
    file.sync_all()
}

fn read_state(path: &Path) -> Result<CardState, StateError> {
    let file = File::open(path).map_err(|source| failed("open", path, source))?;
    let length = file.metadata().map_err(|source| failed("read", path, source))?.len().min(MAXIMUM_STATE);
    let mut image = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(MAXIMUM_STATE).read_to_end(&mut image).map_err(|source| failed("read", path, source))?;
    let FormatOnly { format } = serde_json::from_slice(&image).map_err(|error| damaged(path, &error))?;
    if format != FORMAT {
        return Err(StateError::Format { path: path.to_owned(), version: format });
    }
    serde_json::from_slice(&image).map_err(|error| damaged(path, &error))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io { action, path: path.to_owned(), source }
}

fn damaged(path: &Path, error: &serde_json::Error) -> StateError {
    StateError::Damaged { path: path.to_owned(), line: error.line(), column: error.column() }
}
