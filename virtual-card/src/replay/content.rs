//! What is known of a file's content, and what stands in for the rest.

use std::ops::Range;

use cns_apdu::StatusWord;
use cns_apdu::file_map::{FilePath, ID_CARD, PERSONAL_DATA};
use cns_apdu::trace::Missing;

use super::pins::{Needs, Presented};
use super::synthetic::{Stand, Synthetic};

/// The longest certificate that is made up.
const LONGEST_CERTIFICATE: usize = 8192;

/// A file's content, as far as it is told.
#[derive(Default)]
pub(super) struct Content {
    /// The size that the FCI tells.
    pub(super) size: Option<usize>,
    pub(super) pieces: Vec<Piece>,
}

/// What one reading brought.
pub(super) struct Piece {
    pub(super) offset: usize,
    pub(super) known: Vec<u8>,
    pub(super) missing: Option<Missing>,
    /// The PINs without which it is not given out.
    pub(super) needs: Needs,
}

/// Content as it is open to the PINs that were presented.
struct Open<'a> {
    size: Option<usize>,
    pieces: Vec<&'a Piece>,
    closed: Vec<&'a Piece>,
}

impl Piece {
    /// Where its missing bytes are.
    fn gap(&self) -> Range<usize> {
        let start = self.offset.saturating_add(self.known.len());
        let length = self.missing.as_ref().and_then(|missing| missing.length).unwrap_or_default();
        start..start.saturating_add(length)
    }

    fn covers(&self, at: usize) -> bool {
        (self.offset..self.gap().end).contains(&at)
    }

    fn known_at(&self, offset: usize) -> Option<u8> {
        self.known.get(offset.checked_sub(self.offset)?).copied()
    }
}

impl Content {
    /// The bytes from an offset on: fewer than asked for at the end of what is known.
    pub(super) fn read(
        &self,
        path: &FilePath,
        offset: usize,
        length: usize,
        synthetic: &Synthetic,
        presented: &Presented,
    ) -> Result<Vec<u8>, StatusWord> {
        let (pieces, closed) = self.pieces.iter().partition(|piece| presented.satisfies(piece.needs));
        Open { size: self.size, pieces, closed }.read(path, offset, length, synthetic)
    }
}

impl Open<'_> {
    fn read(
        &self,
        path: &FilePath,
        offset: usize,
        length: usize,
        synthetic: &Synthetic,
    ) -> Result<Vec<u8>, StatusWord> {
        // Nothing was read of it but after a PIN.
        if self.pieces.is_empty() && !self.closed.is_empty() {
            return Err(StatusWord::SECURITY_NOT_SATISFIED);
        }
        if self.size.is_some_and(|size| offset >= size) {
            return Err(StatusWord::OFFSET_OUTSIDE_FILE);
        }
        let stand = self.stand(path, synthetic);
        let end = self.size.unwrap_or(usize::MAX).min(offset.saturating_add(length));
        let bytes: Vec<u8> = (offset..end).map_while(|at| self.byte(at, stand.as_deref())).collect();
        if !bytes.is_empty() || length == 0 {
            return Ok(bytes);
        }
        if self.closed.iter().any(|piece| piece.covers(offset)) {
            return Err(StatusWord::SECURITY_NOT_SATISFIED);
        }
        match self.end() {
            0 if stand.is_none() => Err(StatusWord::SECURITY_NOT_SATISFIED),
            end if offset < end => Err(StatusWord::SECURITY_NOT_SATISFIED),
            _ => Err(StatusWord::OFFSET_OUTSIDE_FILE),
        }
    }

    fn byte(&self, at: usize, stand: Option<&[u8]>) -> Option<u8> {
        if let Some(byte) = self.pieces.iter().find_map(|piece| piece.known_at(at)) {
            return Some(byte);
        }
        let removed = self.pieces.iter().any(|piece| piece.gap().contains(&at));
        // Nothing stands in for what a PIN opens.
        if !removed && self.closed.iter().any(|piece| piece.covers(at)) {
            return None;
        }
        if let Some(stand) = stand {
            // Behind what stands in the file there are zeros, up to its end.
            return stand
                .get(at)
                .copied()
                .or((at < self.end().max(self.size.unwrap_or_default())).then_some(0));
        }
        if removed || (self.is_zero() && at < self.end()) {
            return Some(0);
        }
        None
    }

    /// The end of what was read.
    fn end(&self) -> usize {
        self.pieces.iter().map(|piece| piece.gap().end).max().unwrap_or_default()
    }

    /// Whether nothing but zeros was read: then the bytes between are zeros too.
    fn is_zero(&self) -> bool {
        self.pieces.iter().all(|piece| piece.known.iter().all(|byte| *byte == 0) && piece.missing.is_none())
    }

    /// What stands in place of removed content.
    fn stand(&self, path: &FilePath, synthetic: &Synthetic) -> Option<Vec<u8>> {
        let first = |at: usize| self.pieces.iter().find_map(|piece| piece.known_at(at));
        let header = [first(0), first(1), first(2), first(3)];
        if let [Some(0x30), Some(0x82), Some(high), Some(low)] = header {
            let length = usize::from(u16::from_be_bytes([high, low])) + 4;
            return synthetic.certificate((length <= LONGEST_CERTIFICATE).then_some(length));
        }
        // A container or an empty file is no certificate, whatever was removed from it.
        let may_begin_as_der = header.iter().all(Option::is_none);
        let kind = self.pieces.iter().find_map(|piece| {
            let missing = piece.missing.as_ref()?;
            Some((Stand::of(&missing.what)?, piece.gap().start))
        });
        let unread = self.pieces.is_empty() && self.closed.is_empty();
        match kind {
            Some((Stand::Certificate, _)) if may_begin_as_der => {
                let size = self.size.filter(|size| *size <= LONGEST_CERTIFICATE);
                synthetic.certificate(size)
            }
            Some((Stand::PersonalData, _)) => {
                let digits: Option<Vec<u8>> = (0..6).map(first).collect();
                Some(synthetic.personal_data(digits.as_deref()))
            }
            Some((Stand::CardNumber, _)) => Some(synthetic.card_number()),
            Some((Stand::PackedCardNumber, start)) => {
                Some([vec![0; start], synthetic.packed_card_number()].concat())
            }
            None if unread && *path == PERSONAL_DATA => Some(synthetic.personal_data(None)),
            None if unread && *path == ID_CARD => Some(synthetic.card_number()),
            Some((Stand::Certificate, _)) | None => None,
        }
    }
}
