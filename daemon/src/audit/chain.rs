//! Reads a log entry by entry, checks its chain and its signatures.

use std::io::{self, BufRead, Read};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use cns_protocol::audit::{ChainError, ChainVerifier, Entry};

/// The most bytes of a line: more is not an entry of ours, and is not read into memory.
const MAXIMUM_LINE: u64 = 64 * 1024;

/// A line of a log.
pub(super) enum Line {
    /// An entry, and the bytes that it takes.
    Entry(Box<Entry>, u64),
    /// A last line without its end.
    Torn(u64),
    /// Nothing more.
    End,
}

/// Why a line could not be taken.
pub(super) enum ChainFault {
    Io(io::Error),
    Chain(ChainError),
}

impl From<ChainError> for ChainFault {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// Reads the lines of a log.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the line `number` (from 1), where `reader` stands.
    pub(super) fn new(reader: R, number: u64) -> Self {
        Self { reader, number }
    }

    /// The next line.
    pub(super) fn read(&mut self) -> Result<Line, ChainFault> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.reader).take(MAXIMUM_LINE);
        let length = limited.read_until(b'\n', &mut bytes).map_err(ChainFault::Io)? as u64;
        let Some(text) = bytes.strip_suffix(b"\n") else {
            return match length {
                0 => Ok(Line::End),
                MAXIMUM_LINE => Err(self.unreadable(format!("longer than {MAXIMUM_LINE} bytes"))),
                _ => Ok(Line::Torn(length)),
            };
        };
        let entry = serde_json::from_slice(text).map_err(|error| self.unreadable(error.to_string()))?;
        self.number += 1;
        Ok(Line::Entry(entry, length))
    }

    fn unreadable(&self, reason: String) -> ChainFault {
        ChainFault::Chain(ChainError::Unreadable { line: self.number, reason })
    }
}

/// Checks links, and signatures where there is a key to check them with.
pub(super) struct Checker {
    chain: ChainVerifier,
    public_key: Option<Vec<u8>>,
    checkpoints: u64,
}

impl Checker {
    pub(super) fn new(public_key: Option<Vec<u8>>) -> Self {
        Self { chain: ChainVerifier::default(), public_key, checkpoints: 0 }
    }

    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), ChainError> {
        self.chain.push(entry)?;
        match (entry.is_checkpoint(), &entry.signature) {
            (false, None) => {}
            (true, Some(signature)) => {
                self.check(entry, signature)?;
                self.checkpoints += 1;
            }
            (true, None) | (false, Some(_)) => return Err(ChainError::Signature(entry.number)),
        }
        Ok(())
    }

    fn check(&self, entry: &Entry, signature: &str) -> Result<(), ChainError> {
        let Some(public_key) = &self.public_key else { return Ok(()) };
        let wrong = ChainError::Signature(entry.number);
        let signature = hex::decode(signature).map_err(|_| wrong.clone())?;
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(entry.hash.as_bytes(), &signature)
            .map_err(|_| wrong)
    }

    pub(super) fn entries(&self) -> u64 {
        self.chain.entries()
    }

    pub(super) fn first(&self) -> u64 {
        self.chain.first()
    }

    pub(super) fn last(&self) -> u64 {
        self.chain.last()
    }

    pub(super) fn head(&self) -> &str {
        self.chain.head()
    }

    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Line, ChainFault> {
        Lines::new(bytes, 1).read()
    }

    #[test]
    fn a_line_is_an_entry_a_torn_end_or_an_error() {
        assert!(matches!(first(b""), Ok(Line::End)));
        assert!(matches!(first(b"{\"number\":1"), Ok(Line::Torn(11))));
        assert!(matches!(first(b"\n"), Err(ChainFault::Chain(ChainError::Unreadable { line: 1, .. }))));
        assert!(matches!(first(b"{}\n"), Err(ChainFault::Chain(ChainError::Unreadable { .. }))));
    }

    #[test]
    fn an_endless_line_is_not_read_into_memory() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(matches!(
            Lines::new(endless, 7).read(),
            Err(ChainFault::Chain(ChainError::Unreadable { line: 7, .. }))
        ));
    }
}
