//! The log's file: opened with a full check, appended to, read from any entry.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use cns_protocol::audit::{CHECKPOINT, Entry, FIRST_PREVIOUS, Phase, Verified};

use crate::audit::chain::{ChainFault, Checker, Line, Lines};
use crate::audit::{AuditError, Record, key};
use crate::custody::Sealer;
use crate::custody::key::sync_folder;
use crate::database::now;

/// A signature at least every so many entries.
const CHECKPOINT_EVERY: u64 = 100;
/// The place of every so many-th entry is kept in memory.
const STRIDE: u64 = 256;
const MAXIMUM_TEXT: usize = 4096;
const MAXIMUM_NAME: usize = 256;

/// The log, open, and the key that signs it.
pub(super) struct Log {
    writer: Writer,
    key: Ed25519KeyPair,
}

impl Log {
    pub(super) fn open(state: &Path, sealer: &Sealer) -> Result<Self, AuditError> {
        let known_key = key::read(state, sealer)?;
        let public_key = known_key.as_ref().map(public_key);
        let (mut writer, checked) = Writer::open(&state.join("audit.jsonl"), public_key)?;
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
        if writer.tail.entries == 0 {
            writer.append(Record::new("log-begun", Phase::Fact, "The audit log begins."), None)?;
        }
        let key = match known_key {
            Some(key) => key,
            None => key::create(state, sealer)?,
        };
        key::export(state, &key)?;
        let mut log = Self { writer, key };
        log.checkpoint()?;
        Ok(log)
    }

    pub(super) fn record(&mut self, record: Record) -> Result<u64, AuditError> {
        let number = self.writer.append(record, None)?;
        if self.writer.tail.unsigned >= CHECKPOINT_EVERY {
            self.checkpoint()?;
        }
        Ok(number)
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), AuditError> {
        if self.writer.tail.unsigned > 0 {
            let text = format!("Signs the entries up to {}.", self.writer.tail.entries);
            self.writer.append(Record::new(CHECKPOINT, Phase::Fact, text), Some(&self.key))?;
        }
        Ok(())
    }

    /// The log as it is now, to be read while others append.
    pub(super) fn view(&self) -> View {
        View {
            path: self.writer.path.clone(),
            tail: self.writer.tail.clone(),
            public_key: public_key(&self.key),
        }
    }
}

fn public_key(pair: &Ed25519KeyPair) -> Vec<u8> {
    pair.public_key().as_ref().to_vec()
}

/// Where the log ends.
#[derive(Clone)]
struct Tail {
    length: u64,
    /// Where the entries 1, 1 + STRIDE, 1 + 2·STRIDE … begin.
    places: Vec<u64>,
    entries: u64,
    head: String,
    /// Entries since the last checkpoint.
    unsigned: u64,
}

impl Tail {
    fn add(&mut self, entry: &Entry, length: u64) {
        if self.entries.is_multiple_of(STRIDE) {
            self.places.push(self.length);
        }
        self.entries += 1;
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
    let head = FIRST_PREVIOUS.to_owned();
    let mut tail = Tail { length: 0, places: Vec::new(), entries: 0, head, unsigned: 0 };
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

fn broken(path: &Path, fault: ChainFault) -> AuditError {
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
    /// A write or sync failed: what is on the disk is not known.
    failed: bool,
}

impl Writer {
    fn open(path: &Path, public_key: Option<Vec<u8>>) -> Result<(Self, Checked), AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        let checked = check(path, &file, public_key)?;
        let writer = Self { path: path.to_owned(), file, tail: checked.tail.clone(), failed: false };
        Ok((writer, checked))
    }

    /// Cuts off the line that a power cut left without its end, and records that.
    fn cut(&mut self, bytes: u64) -> Result<(), AuditError> {
        self.file.set_len(self.tail.length).map_err(|source| self.file_error(source))?;
        let text = format!("{bytes} bytes of an entry that was not written to its end were cut off.");
        self.append(Record::new("log-repaired", Phase::Fact, text), None).map(drop)
    }

    /// Links an entry to the log and writes it; it is on the disk when this returns. Gives its number.
    fn append(&mut self, record: Record, signer: Option<&Ed25519KeyPair>) -> Result<u64, AuditError> {
        if self.failed {
            return Err(AuditError::Failed);
        }
        let mut entry = self.entry(record)?;
        if let Some(signer) = signer {
            entry.signature = Some(hex::encode(signer.sign(entry.hash.as_bytes())));
        }
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        // After a failed sync the system may have dropped the pages, and a second sync that succeeds says nothing:
        // only the check at the next start tells what is there.
        self.failed = true;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.file_error(source))?;
        self.failed = false;
        self.tail.add(&entry, line.len() as u64);
        Ok(entry.number)
    }

    fn entry(&self, record: Record) -> Result<Entry, AuditError> {
        let name = |text: Option<String>| text.map(|text| shortened(text, MAXIMUM_NAME));
        let mut entry = Entry {
            number: self.tail.entries + 1,
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

/// The log up to a moment.
pub(super) struct View {
    path: PathBuf,
    tail: Tail,
    public_key: Vec<u8>,
}

impl View {
    pub(super) fn list(&self, from: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
        let from = from.max(1);
        let stride = usize::try_from((from - 1) / STRIDE).unwrap_or(usize::MAX);
        let Some(place) = self.tail.places.get(stride).copied() else { return Ok(Vec::new()) };
        let first = (from - 1) / STRIDE * STRIDE + 1;
        let mut lines = Lines::new(BufReader::new(self.reader(place)?), first);
        let mut entries = Vec::new();
        while entries.len() < limit {
            match lines.read().map_err(|fault| broken(&self.path, fault))? {
                Line::Entry(entry, _) if entry.number >= from => entries.push(*entry),
                Line::Entry(_, _) => {}
                Line::Torn(_) => return Err(self.replaced()),
                Line::End => break,
            }
        }
        Ok(entries)
    }

    pub(super) fn verify(&self) -> Result<Verified, AuditError> {
        let checked = check(&self.path, self.reader(0)?, Some(self.public_key.clone()))?;
        let checker = checked.checker;
        if checked.torn.is_some()
            || checker.entries() != self.tail.entries
            || checker.head() != self.tail.head
        {
            return Err(self.replaced());
        }
        Ok(Verified {
            entries: checker.entries(),
            checkpoints: checker.checkpoints(),
            head: checker.head().to_owned(),
            public_key: hex::encode(&self.public_key),
        })
    }

    /// Reads from `place` up to where the log ended at this moment; what was added since is not complete for sure.
    fn reader(&self, place: u64) -> Result<io::Take<File>, AuditError> {
        let failed = |source| AuditError::File { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(place)).map_err(failed)?;
        Ok(file.take(self.tail.length.saturating_sub(place)))
    }

    fn replaced(&self) -> AuditError {
        AuditError::Replaced { expected: self.tail.entries }
    }
}
