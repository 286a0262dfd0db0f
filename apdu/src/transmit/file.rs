//! Whole files, read and written in pieces.

use super::{Channel, TransmitError, Transport};
use crate::command::{ReadBinary, UpdateBinary};
use crate::error::ApduError;
use crate::status::StatusWord;

/// Offsets of READ and UPDATE BINARY have fifteen bits.
const LARGEST_FILE: usize = 0x8000;
/// A chip that brings fewer bytes than this at a time, again and again, is not reading a file.
const LEAST_PIECE: usize = 64;
/// Incard's chips want 120 to 240 bytes at a time (`cns-card` §5.3).
const WRITE_PIECE: usize = 240;

impl<T: Transport> Channel<T> {
    /// Reads the first `length` bytes of the current transparent file, fewer if it is shorter.
    ///
    /// # Errors
    /// When the chip refuses a read other than one beyond the end, brings the file in crumbs, or `length` is more
    /// than a file can have.
    pub fn read_current_file(&mut self, length: usize) -> Result<Vec<u8>, TransmitError<T::Error>> {
        if length > LARGEST_FILE {
            return Err(ApduError::OutOfRange("file size").into());
        }
        let mut content: Vec<u8> = Vec::new();
        for _ in 0..=length / LEAST_PIECE + 2 {
            if content.len() >= length {
                content.truncate(length);
                return Ok(content);
            }
            let offset = u16::try_from(content.len()).map_err(|_| ApduError::OutOfRange("offset"))?;
            let missing =
                u32::try_from(length - content.len()).map_err(|_| ApduError::OutOfRange("file size"))?;
            // 256 at a time on every chip: the extended form gains little, and not all readers carry it.
            match self.run(&ReadBinary { offset, length: missing.min(256) }) {
                Ok(piece) if piece.is_empty() => return Ok(content),
                Ok(piece) => content.extend_from_slice(&piece),
                Err(error) if offset > 0 && error.status() == Some(StatusWord::OFFSET_OUTSIDE_FILE) => {
                    return Ok(content);
                }
                Err(error) => return Err(error),
            }
        }
        Err(TransmitError::Endless)
    }

    /// Writes bytes to the current transparent file, from its start.
    ///
    /// # Errors
    /// When the chip refuses, or there is more than a file can have.
    pub fn update_current_file(&mut self, content: &[u8]) -> Result<(), TransmitError<T::Error>> {
        if content.len() > LARGEST_FILE {
            return Err(ApduError::OutOfRange("file size").into());
        }
        for (index, piece) in content.chunks(WRITE_PIECE).enumerate() {
            let offset = u16::try_from(index * WRITE_PIECE).map_err(|_| ApduError::OutOfRange("offset"))?;
            self.run(&UpdateBinary { offset, data: piece.to_vec() })?;
        }
        Ok(())
    }
}
