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
    #[error("{0} is not empty: a card is made where nothing is")]
    NotEmpty(PathBuf),
    /// There is no card.
    #[error("{0} holds no card: cns-card create makes one")]
    Absent(PathBuf),
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
    /// A snapshot cannot be made or read.
    #[error("the snapshot is damaged (line {line}, column {column})")]
    Snapshot {
        /// Where reading stopped.
        line: usize,
        /// Where in the line.
        column: usize,
    },
}

impl From<serde_json::Error> for StateError {
    fn from(error: serde_json::Error) -> Self {
        Self::Snapshot { line: error.line(), column: error.column() }
    }
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
    /// MSE RESTORE with a fifth byte is refused with 6700: only the form without Lc and Le is taken.
    #[serde(skip_serializing_if = "crate::filesystem::is_false")]
    pub strict_restore: bool,
    /// Answers as over the transmission protocol T=0: GET RESPONSE after 61xx, no extended length.
    #[serde(skip_serializing_if = "crate::filesystem::is_false")]
    pub t0: bool,
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
        Self::check_free(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(|source| failed("restrict", path, source))?;
        Self::lock(path)
    }

    /// Refuses a place that has something in it already.
    pub(crate) fn check_free(path: &Path) -> Result<(), StateError> {
        match std::fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                Some(_) => Err(StateError::NotEmpty(path.to_owned())),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(failed("read", path, source)),
        }
    }

    /// Reads the card in a directory without opening it: another process may have it plugged in.
    pub(crate) fn read(path: &Path) -> Result<CardState, StateError> {
        require_card(path)?;
        read_state(&path.join(STATE_FILE))
    }

    /// Opens a directory that holds a card, and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, CardState), StateError> {
        require_card(path)?;
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

    /// What is on disk now.
    pub(crate) fn read_again(&self) -> Result<CardState, StateError> {
        Self::read(&self.path)
    }

    /// Replaces the state on disk; when this returns, it is there to stay.
    pub(crate) fn write(&self, state: &CardState) -> Result<(), StateError> {
        let image = serialise(state).map_err(|error| damaged(&self.path.join(STATE_FILE), &error))?;
        Step::ALL.into_iter().try_for_each(|step| step.perform(&self.path, &image))
    }
}

/// What a change of the state consists of. The process may be killed, or the power lost, between any two steps or inside
/// one of them: `card.json` is then the old state or the new one, because it only ever names a file that is whole and
/// on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new state goes into a file beside the old one; what a run before left there is replaced.
    Write,
    /// That file's bytes reach the disk.
    Flush,
    /// It takes the old one's name.
    Replace,
    /// The new name reaches the disk.
    FlushName,
}

impl Step {
    /// In this order, or a lost power could leave the name on bytes that never reached the disk.
    const ALL: [Self; 4] = [Self::Write, Self::Flush, Self::Replace, Self::FlushName];

    fn perform(self, folder: &Path, image: &[u8]) -> Result<(), StateError> {
        let new = folder.join(NEW_STATE_FILE);
        let current = folder.join(STATE_FILE);
        match self {
            Self::Write => write(&new, image).map_err(|source| failed("write", &new, source)),
            Self::Flush => flush(&new).map_err(|source| failed("flush", &new, source)),
            Self::Replace => {
                std::fs::rename(&new, &current).map_err(|source| failed("replace", &current, source))
            }
            Self::FlushName => flush(folder).map_err(|source| failed("flush", folder, source)),
        }
    }
}

/// The whole image in one buffer of the right size: a growing one would leave copies of secrets behind.
pub(crate) fn serialise(state: &CardState) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
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

fn write(path: &Path, image: &[u8]) -> io::Result<()> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?.write_all(image)
}

/// Brings what was written to a file or directory to the disk, through whichever descriptor it was written.
fn flush(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Tells that there is no card before a lock is left where none is.
fn require_card(path: &Path) -> Result<(), StateError> {
    match std::fs::metadata(path.join(STATE_FILE)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(StateError::Absent(path.to_owned()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VirtualCard, sample};

    /// Loses the power after some of the steps: what was not flushed is lost from its middle on, and a name that was
    /// not flushed may be the old one or the new one. Gives the folders that may be found then.
    fn lose_power(template: &Path, image: &[u8], steps: &[Step], cut: usize) -> Vec<tempfile::TempDir> {
        let renamed = steps.contains(&Step::Replace);
        let names_flushed = steps.contains(&Step::FlushName);
        // The old name may still be there when its change was not flushed.
        [true, false]
            .into_iter()
            .filter(|with_rename| *with_rename || (renamed && !names_flushed))
            .map(|with_rename| {
                let folder = tempfile::tempdir().unwrap();
                std::fs::copy(template.join(STATE_FILE), folder.path().join(STATE_FILE)).unwrap();
                for step in steps.iter().filter(|step| with_rename || **step != Step::Replace) {
                    step.perform(folder.path(), image).unwrap();
                }
                if steps.contains(&Step::Write) && !steps.contains(&Step::Flush) {
                    let lost = if renamed && with_rename { STATE_FILE } else { NEW_STATE_FILE };
                    OpenOptions::new()
                        .write(true)
                        .open(folder.path().join(lost))
                        .unwrap()
                        .set_len(u64::try_from(cut).unwrap())
                        .unwrap();
                }
                folder
            })
            .collect()
    }

    #[test]
    fn power_lost_at_any_step_leaves_the_old_state_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut card = VirtualCard::create_in(folder.path(), sample::personalisation().unwrap()).unwrap();
        let old = card.snapshot().unwrap();
        assert_eq!(card.transmit(&hex::decode("00200090083939393939FFFFFF").unwrap()), [0x63, 0xC2]);
        let new = card.snapshot().unwrap();
        let image = serialise(&card.state).unwrap();
        card.restore(&old).unwrap();
        drop(card);
        let mut seen = [0, 0];
        for count in 0..=Step::ALL.len() {
            for cut in [0, 1, image.len() / 2, image.len() - 1] {
                for found in lose_power(folder.path(), &image, &Step::ALL[..count], cut) {
                    let mut card = VirtualCard::open(found.path()).unwrap();
                    let is_new = card.snapshot().unwrap() == new;
                    assert!(is_new || card.snapshot().unwrap() == old, "after {:?}", &Step::ALL[..count]);
                    seen[usize::from(is_new)] += 1;
                    // What was left behind does not stop the next write.
                    let before = if is_new { [0x63, 0xC1] } else { [0x63, 0xC2] };
                    assert_eq!(card.transmit(&hex::decode("00200090083939393939FFFFFF").unwrap()), before);
                    drop(card);
                    let entries = std::fs::read_dir(found.path()).unwrap().count();
                    assert_eq!(entries, 2, "the state and the lock, nothing left behind");
                }
            }
        }
        assert_eq!(seen, [16, 8]);
    }

    /// The order is what makes it so: with the flush after the rename the same simulation finds a damaged card.
    #[test]
    fn the_simulation_finds_a_wrong_order() {
        let folder = tempfile::tempdir().unwrap();
        drop(VirtualCard::create_in(folder.path(), sample::personalisation().unwrap()).unwrap());
        let image = std::fs::read(folder.path().join(STATE_FILE)).unwrap();
        let found = lose_power(folder.path(), &image, &[Step::Write, Step::Replace], image.len() / 2);
        assert!(found.iter().any(|folder| VirtualCard::open(folder.path()).is_err()));
    }
}
