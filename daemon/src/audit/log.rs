//! The log's file: opened with a full check, appended to, closed and continued in a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use cns_protocol::audit::{CHECKPOINT, CONTINUED, Entry, FIRST_PREVIOUS, Phase, Rotated};

use crate::audit::chain::{ChainFault, Checker, Line, Lines};
use crate::audit::view::View;
use crate::audit::{AuditError, Record, key, segments};
use crate::custody::Sealer;
use crate::custody::key::sync_folder;
use crate::database::now;

/// A signature at least every so many entries.
const CHECKPOINT_EVERY: u64 = 100;
/// The place of every so many-th entry is kept in memory.
pub(super) const STRIDE: u64 = 256;
/// The log's file in the daemon's state folder.
const FILE: &str = "audit.jsonl";
/// The file that is to become the log's when the present one was closed.
const NEXT_FILE: &str = "audit.jsonl.next";
/// What was cut off.
const REPAIRED: &str = "log-repaired";
const MAXIMUM_TEXT: usize = 4096;
const MAXIMUM_NAME: usize = 256;

/// The log, open, and the key that signs it.
pub(super) struct Log {
    writer: Writer,
    key: Ed25519KeyPair,
    /// The size in bytes at which the file is closed, if it ever is.
    rotate_at: Option<u64>,
}

impl Log {
    pub(super) fn open(state: &Path, sealer: &Sealer) -> Result<Self, AuditError> {
        let known_key = key::read(state, sealer)?;
        let public_key = known_key.as_ref().map(public_key);
        finish_rotation(state, public_key.as_deref())?;
        let (mut writer, checked) = Writer::open(&state.join(FILE), public_key)?;
        // Judged before anything is written: a repair must not turn a removed log into a log.
        match known_key {
            Some(_) if checked.checker.entries() == 0 => {
                return Err(AuditError::Removed { path: writer.path });
            }
            None if checked.checker.checkpoints() > 0 => {
                return Err(AuditError::KeyMissing { path: key::path(state) });
            }
            Some(_) | None => {}
        }
        if let Some(bytes) = checked.torn {
            writer.cut(bytes)?;
        }
        // The first entry comes before the key, so that a key without a log means a removed log.
        if writer.tail.last == 0 {
            writer.append(Record::new("log-begun", Phase::Fact, "The audit log begins."), None)?;
        }
        let key = match known_key {
            Some(key) => key,
            None => key::create(state, sealer)?,
        };
        key::export(state, &key)?;
        let mut log = Self { writer, key, rotate_at: None };
        log.checkpoint()?;
        Ok(log)
    }

    pub(super) fn record(&mut self, record: Record) -> Result<u64, AuditError> {
        let number = self.writer.append(record, None)?;
        if self.writer.tail.unsigned >= CHECKPOINT_EVERY {
            self.checkpoint()?;
        }
        if self.rotate_at.is_some_and(|bytes| self.writer.tail.length >= bytes) {
            // The entry is on the disk; a file that grows is no reason to refuse the act.
            if let Err(error) = self.rotate() {
                tracing::error!(%error, "the audit log's file could not be closed");
            }
        }
        Ok(number)
    }

    pub(super) fn rotate_at(&mut self, bytes: Option<u64>) {
        self.rotate_at = bytes;
    }

    /// Signs and closes the file, and goes on in a new one. The new file is whole on the disk before the old one
    /// changes its name; when only one of the two names was changed, [`finish_rotation`] changes the other.
    pub(super) fn rotate(&mut self) -> Result<Rotated, AuditError> {
        self.checkpoint()?;
        let (folder, closed) = (self.writer.folder(), self.writer.tail.clone());
        let (next, closed_path) = (folder.join(NEXT_FILE), folder.join(segments::name(closed.first)));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AuditError::File { path, source }
        };
        let (mut writer, line) = self.writer.continued(&next, &self.key)?;
        if closed_path.exists() {
            return Err(failed(&closed_path)(io::ErrorKind::AlreadyExists.into()));
        }
        // From here on an entry written to the old file could be lost.
        self.writer.failed = true;
        fs::rename(&self.writer.path, &closed_path).map_err(failed(&closed_path))?;
        fs::rename(&next, &self.writer.path).map_err(failed(&self.writer.path))?;
        sync_folder(&self.writer.path).map_err(failed(&self.writer.path))?;
        writer.path.clone_from(&self.writer.path);
        writer.tail.add(&line.0, line.1);
        self.writer = writer;
        let file = segments::name(closed.first);
        Ok(Rotated { file, first: closed.first, last: closed.last, head: closed.head })
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), AuditError> {
        if self.writer.tail.unsigned > 0 {
            let text = format!("Signs the entries up to {}.", self.writer.tail.last);
            self.writer.append(Record::new(CHECKPOINT, Phase::Fact, text), Some(&self.key))?;
        }
        Ok(())
    }

    /// The log as it is now, to be read while others append.
    pub(super) fn view(&self) -> Result<View, AuditError> {
        View::open(&self.writer.path, self.writer.tail.clone(), public_key(&self.key))
    }
}

/// Gives the file that a rotation made its name, if the power failed before that.
fn finish_rotation(state: &Path, public_key: Option<&[u8]>) -> Result<(), AuditError> {
    let (path, next) = (state.join(FILE), state.join(NEXT_FILE));
    let failed = |source| AuditError::File { path: next.clone(), source };
    if !next.try_exists().map_err(failed)? {
        return Ok(());
    }
    if path.try_exists().map_err(failed)? {
        // The old file was not closed yet: the rotation did not happen.
        return fs::remove_file(&next).map_err(failed);
    }
    let checked = check(&next, File::open(&next).map_err(failed)?, public_key.map(<[u8]>::to_vec))?;
    let closed = segments::before(state, checked.checker.first()).map_err(failed)?;
    // Only the file that goes on where the newest closed one ends is the one that was being made.
    let closed = closed.last().ok_or_else(|| AuditError::Removed { path: path.clone() })?;
    let before = File::open(&closed.path).map_err(failed)?;
    let before = check(&closed.path, before, public_key.map(<[u8]>::to_vec))?;
    if checked.tail.continues != before.tail.head || checked.checker.first() != before.tail.last + 1 {
        return Err(AuditError::Removed { path });
    }
    fs::rename(&next, &path).and_then(|()| sync_folder(&path)).map_err(failed)
}

fn public_key(pair: &Ed25519KeyPair) -> Vec<u8> {
    pair.public_key().as_ref().to_vec()
}

/// Where the log ends.
#[derive(Clone)]
pub(super) struct Tail {
    /// The number of the file's first entry.
    pub(super) first: u64,
    /// The link that the file's first entry names as the one before it.
    pub(super) continues: String,
    pub(super) length: u64,
    /// Where the first entry of the file, and each [`STRIDE`]th after it, begins.
    pub(super) places: Vec<u64>,
    /// The number of the last entry; 0 before the first.
    pub(super) last: u64,
    pub(super) head: String,
    /// Entries since the last checkpoint.
    unsigned: u64,
}

impl Tail {
    /// The end of a log that ended with entry `last`, in a file that is empty.
    fn after(last: u64, head: &str) -> Self {
        Self {
            first: last + 1,
            continues: head.to_owned(),
            length: 0,
            places: Vec::new(),
            last,
            head: head.to_owned(),
            unsigned: 0,
        }
    }

    fn add(&mut self, entry: &Entry, length: u64) {
        if self.length == 0 {
            self.first = entry.number;
            self.continues.clone_from(&entry.previous);
        }
        if entry.number.saturating_sub(self.first).is_multiple_of(STRIDE) {
            self.places.push(self.length);
        }
        self.last = entry.number;
        self.length += length;
        self.head.clone_from(&entry.hash);
        self.unsigned = if entry.is_checkpoint() { 0 } else { self.unsigned + 1 };
    }
}

/// What a check of the file found.
struct Checked {
    tail: Tail,
    checker: Checker,
    torn: Option<u64>,
}

/// Checks the entries that `reader` gives, from the first.
fn check(path: &Path, reader: impl Read, public_key: Option<Vec<u8>>) -> Result<Checked, AuditError> {
    let mut lines = Lines::new(BufReader::new(reader), 1);
    let mut checker = Checker::new(public_key);
    let mut tail = Tail::after(0, FIRST_PREVIOUS);
    loop {
        match lines.read().map_err(|fault| broken(path, fault))? {
            Line::Entry(entry, length) => {
                checker.push(&entry)?;
                tail.add(&entry, length);
            }
            Line::Torn(bytes) => return Ok(Checked { tail, checker, torn: Some(bytes) }),
            Line::End => return Ok(Checked { tail, checker, torn: None }),
        }
    }
}

pub(super) fn broken(path: &Path, fault: ChainFault) -> AuditError {
    match fault {
        ChainFault::Io(source) => AuditError::File { path: path.to_owned(), source },
        ChainFault::Chain(error) => AuditError::Broken(error),
    }
}

/// The end of the file, where entries are added.
struct Writer {
    path: PathBuf,
    file: File,
    tail: Tail,
    /// A write or sync failed, and what is on the disk after `tail` is not known; or a rotation did, and which file has which
    /// name is not.
    failed: bool,
}

impl Writer {
    fn open(path: &Path, public_key: Option<Vec<u8>>) -> Result<(Self, Checked), AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let file = options().create(true).open(path).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        let checked = check(path, &file, public_key)?;
        let writer = Self { path: path.to_owned(), file, tail: checked.tail.clone(), failed: false };
        Ok((writer, checked))
    }

    /// A new file at `path` that goes on where this one ends, with its first entry on the disk.
    fn continued(&self, path: &Path, signer: &Ed25519KeyPair) -> Result<(Self, (Entry, u64)), AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file = options().create_new(true).open(path).map_err(failed)?;
        let tail = Tail::after(self.tail.last, &self.tail.head);
        let text = format!("Goes on after entry {}.", tail.last);
        let entry = self.signed(Record::new(CONTINUED, Phase::Fact, text), Some(signer))?;
        let line = line(&entry)?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok((Self { path: path.to_owned(), file, tail, failed: false }, (entry, line.len() as u64)))
    }

    /// The folder that the log is in.
    fn folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).to_owned()
    }

    /// Cuts off the line that a power cut left without its end, and records that.
    fn cut(&mut self, bytes: u64) -> Result<(), AuditError> {
        self.file.set_len(self.tail.length).map_err(|source| self.file_error(source))?;
        let text = format!("{bytes} bytes of an entry that was not written to its end were cut off.");
        self.append(Record::new(REPAIRED, Phase::Fact, text), None).map(drop)
    }

    /// Links an entry to the log and writes it; it is on the disk when this returns. Gives its number.
    fn append(&mut self, record: Record, signer: Option<&Ed25519KeyPair>) -> Result<u64, AuditError> {
        if self.failed {
            self.mend()?;
        }
        self.write(record, signer)
    }

    fn write(&mut self, record: Record, signer: Option<&Ed25519KeyPair>) -> Result<u64, AuditError> {
        let entry = self.signed(record, signer)?;
        let line = line(&entry)?;
        // After a failed sync the system may have dropped the pages, and a second sync that succeeds says nothing of them:
        // what was written since the last one that succeeded counts for nothing, see `mend`.
        self.failed = true;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.file_error(source))?;
        self.failed = false;
        self.tail.add(&entry, line.len() as u64);
        Ok(entry.number)
    }

    /// Goes on after what failed, for want of room for instance: cuts off all that came after the last entry
    /// that is on the disk for sure, and makes certain that the log ends there. Who wanted an entry that is cut off was told
    /// that it failed.
    fn mend(&mut self) -> Result<(), AuditError> {
        let failed = |source| AuditError::File { path: self.path.clone(), source };
        let file = self.file.metadata().map_err(failed)?;
        // A file whose name a rotation may have changed is for the next start to judge.
        let named = fs::symlink_metadata(&self.path).map_err(|_| AuditError::Failed)?;
        if (file.dev(), file.ino()) != (named.dev(), named.ino()) {
            return Err(AuditError::Failed);
        }
        let replaced = AuditError::Replaced { expected: self.tail.last };
        let Some(torn) = file.len().checked_sub(self.tail.length) else { return Err(replaced) };
        self.file.set_len(self.tail.length).and_then(|()| self.file.sync_all()).map_err(failed)?;
        if !self.ends_as_written()? {
            return Err(replaced);
        }
        tracing::warn!(torn, "the audit log goes on after a write that failed");
        let text = format!("A write failed; {torn} bytes that came of it were cut off.");
        self.write(Record::new(REPAIRED, Phase::Fact, text), None).map(drop)
    }

    /// Whether the file's last entries, up to its end, are linked and end as they were written.
    fn ends_as_written(&self) -> Result<bool, AuditError> {
        let failed = |source| AuditError::File { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.tail.places.last().copied().unwrap_or(0))).map_err(failed)?;
        let mut lines = Lines::new(BufReader::new(file), 1);
        let mut before: Option<Box<Entry>> = None;
        loop {
            match lines.read().map_err(|fault| broken(&self.path, fault))? {
                Line::Entry(entry, _) => {
                    let follows = before.is_none_or(|before| before.hash == entry.previous);
                    if !follows || entry.link()? != entry.hash {
                        return Ok(false);
                    }
                    before = Some(entry);
                }
                Line::Torn(_) => return Ok(false),
                Line::End => {
                    return Ok(before
                        .is_some_and(|last| last.number == self.tail.last && last.hash == self.tail.head));
                }
            }
        }
    }

    fn signed(&self, record: Record, signer: Option<&Ed25519KeyPair>) -> Result<Entry, AuditError> {
        let mut entry = self.entry(record)?;
        if let Some(signer) = signer {
            entry.signature = Some(hex::encode(signer.sign(entry.hash.as_bytes())));
        }
        Ok(entry)
    }

    fn entry(&self, record: Record) -> Result<Entry, AuditError> {
        let name = |text: Option<String>| text.map(|text| shortened(text, MAXIMUM_NAME));
        let mut entry = Entry {
            number: self.tail.last + 1,
            at: now(),
            user: record.user,
            operator: name(record.operator),
            act: record.act.to_owned(),
            phase: record.phase,
            paragraph: record.paragraph.map(str::to_owned),
            card: name(record.card),
            procedure: name(record.procedure),
            text: shortened(record.text, MAXIMUM_TEXT),
            previous: self.tail.head.clone(),
            hash: String::new(),
            signature: None,
        };
        entry.hash = entry.link()?;
        Ok(entry)
    }

    fn file_error(&self, source: io::Error) -> AuditError {
        AuditError::File { path: self.path.clone(), source }
    }
}

/// Keeps a line within what a reader takes, whatever a client sent.
fn shortened(mut text: String, maximum: usize) -> String {
    let end = (0..=maximum).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

fn line(entry: &Entry) -> Result<Vec<u8>, AuditError> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}
