//! READ RECORD (ISO/IEC 7816-4:2005 §7.3.3; `cns-card` §5.4)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// READ RECORD (ISO/IEC 7816-4:2005 §7.3.3) of the current file
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRecord {
    /// Which record.
    pub record: RecordSelector,
    /// At most so many bytes, 1 to 65,536.
    pub length: u32,
}

/// A place among records, seen from the record pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// 00.
    First,
    /// 01.
    Last,
    /// 02.
    Next,
    /// 03.
    Previous,
}

/// Which record: P1 and P2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordSelector {
    /// By its place.
    At(Position),
    /// The one the record pointer is at.
    Current,
    /// By its number, from 1.
    Number(u8),
    /// By its place among the records of this tag.
    Tagged {
        /// The tag.
        tag: u8,
        /// The place.
        position: Position,
    },
}

impl RecordSelector {
    pub(super) fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        match (apdu.p1, apdu.p2) {
            (0x00, 0x04) => Ok(Self::Current),
            (number, 0x04) => Ok(Self::Number(number)),
            (0x00, p2) => Position::decode(p2).map(Self::At),
            (tag, p2) => Position::decode(p2).map(|position| Self::Tagged { tag, position }),
        }
    }

    /// P1 and P2.
    pub(super) fn encode(self) -> Result<(u8, u8), ApduError> {
        match self {
            Self::At(position) => Ok((0x00, position.encode())),
            Self::Current => Ok((0x00, 0x04)),
            Self::Number(0) => Err(ApduError::OutOfRange("record number")),
            Self::Number(number) => Ok((number, 0x04)),
            Self::Tagged { tag: 0, .. } => Err(ApduError::OutOfRange("record tag")),
            Self::Tagged { tag, position } => Ok((tag, position.encode())),
        }
    }
}

impl Position {
    fn decode(p2: u8) -> Result<Self, StatusWord> {
        match p2 {
            0x00 => Ok(Self::First),
            0x01 => Ok(Self::Last),
            0x02 => Ok(Self::Next),
            0x03 => Ok(Self::Previous),
            _ => Err(StatusWord::WRONG_PARAMETERS),
        }
    }

    const fn encode(self) -> u8 {
        match self {
            Self::First => 0x00,
            Self::Last => 0x01,
            Self::Next => 0x02,
            Self::Previous => 0x03,
        }
    }
}

impl ReadRecord {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        Ok(Self { record: RecordSelector::decode(apdu)?, length: parameters::only_le(apdu)? })
    }
}

impl CardCommand for ReadRecord {
    /// The record.
    type Answer = Vec<u8>;
    const NAME: &'static str = "READ RECORD";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, p2) = self.record.encode()?;
        Ok(CommandApdu::new(0xB2, p1, p2).expecting(self.length))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        match response.into_parts() {
            (data, StatusWord::SUCCESS | StatusWord::END_OF_FILE) => Ok(data),
            (_, status) => Err(CommandError::Refused { command: Self::NAME, status }),
        }
    }
}
