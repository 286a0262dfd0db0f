//! The log up to a moment, in all its files, read while others append.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use cns_protocol::audit::{Entry, Verified};

use crate::audit::AuditError;
use crate::audit::chain::{Checker, Line, Lines};
use crate::audit::log::{STRIDE, Tail, broken};
use crate::audit::segments::{self, Segment};

/// The log up to a moment.
pub(super) struct View {
    path: PathBuf,
    /// Open since that moment: the file may be closed and another one stand under its name.
    file: File,
    tail: Tail,
    public_key: Vec<u8>,
}

impl View {
    pub(super) fn open(path: &Path, tail: Tail, public_key: Vec<u8>) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), file, tail, public_key })
    }

    /// Entries from number `from` on, `limit` at most.
    pub(super) fn list(&self, from: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
        let mut listing = Listing { from: from.max(1), limit, entries: Vec::new() };
        let closed = self.closed_files()?;
        let ends = closed.iter().map(|segment| segment.first).skip(1).chain([self.tail.first]);
        let wanted = closed.iter().zip(ends).filter(|(_, end)| *end > from);
        for (segment, _) in wanted {
            let file = File::open(&segment.path).map_err(failed(&segment.path))?;
            listing.read(&segment.path, BufReader::new(file), segment.first)?;
        }
        let strides = listing.from.saturating_sub(self.tail.first) / STRIDE;
        let place = usize::try_from(strides).ok().and_then(|stride| self.tail.places.get(stride).copied());
        if let Some(place) = place {
            let first = self.tail.first.saturating_add(strides.saturating_mul(STRIDE));
            let reader = BufReader::new(self.reader(place)?);
            if !listing.read(&self.path, reader, first)? {
                return Err(self.replaced());
            }
        }
        Ok(listing.entries)
    }

    /// Checks the closed files that are there, and the present one, as one chain.
    pub(super) fn verify(&self) -> Result<Verified, AuditError> {
        let mut checker = Checker::new(Some(self.public_key.clone()));
        for segment in self.closed_files()? {
            let file = File::open(&segment.path).map_err(failed(&segment.path))?;
            push_all(&mut checker, &segment.path, BufReader::new(file))?;
        }
        let whole = push_all(&mut checker, &self.path, BufReader::new(self.reader(0)?))?;
        if !whole || checker.last() != self.tail.last || checker.head() != self.tail.head {
            return Err(self.replaced());
        }
        Ok(Verified {
            entries: checker.entries(),
            first: checker.first(),
            checkpoints: checker.checkpoints(),
            head: checker.head().to_owned(),
            public_key: hex::encode(&self.public_key),
        })
    }

    fn closed_files(&self) -> Result<Vec<Segment>, AuditError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        segments::before(folder, self.tail.first).map_err(failed(folder))
    }

    /// Reads from `place` up to where the log ended at this moment; what was added since is not complete for sure.
    fn reader(&self, place: u64) -> Result<io::Take<&File>, AuditError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(place)).map_err(failed(&self.path))?;
        Ok(file.take(self.tail.length.saturating_sub(place)))
    }

    fn replaced(&self) -> AuditError {
        AuditError::Replaced { expected: self.tail.last }
    }
}

/// What is being listed.
struct Listing {
    from: u64,
    limit: usize,
    entries: Vec<Entry>,
}

impl Listing {
    /// Takes entries from a file whose next one has the number `first`; whether the file is whole as far as it was read.
    fn read(&mut self, path: &Path, reader: impl BufRead, first: u64) -> Result<bool, AuditError> {
        let mut lines = Lines::new(reader, first);
        while self.entries.len() < self.limit {
            match lines.read().map_err(|fault| broken(path, fault))? {
                Line::Entry(entry, _) if entry.number >= self.from => self.entries.push(*entry),
                Line::Entry(_, _) => {}
                Line::Torn(_) => return Ok(false),
                Line::End => break,
            }
        }
        Ok(true)
    }
}

/// Checks all entries of a file; whether its last line is whole.
fn push_all(checker: &mut Checker, path: &Path, reader: impl BufRead) -> Result<bool, AuditError> {
    let mut lines = Lines::new(reader, checker.last().saturating_add(1));
    loop {
        match lines.read().map_err(|fault| broken(path, fault))? {
            Line::Entry(entry, _) => checker.push(&entry)?,
            Line::Torn(_) => return Ok(false),
            Line::End => return Ok(true),
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::File { path: path.clone(), source }
}
