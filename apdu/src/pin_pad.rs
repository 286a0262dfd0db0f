//! The language of readers with a keypad of their own ("Interoperability Specification for ICCs and Personal Computer
//! Systems", part 10, revision 2.02.09): which features a reader has, and the structures that order it to take a PIN
//! and to give it to the card without the computer seeing it.
//!
//! Both sides are here: what the daemon writes, a reader reads. Numbers of several bytes are little-endian, but for the
//! control codes of the feature list (§2.2).

mod entry;
mod properties;

use thiserror::Error;

pub use self::entry::{
    BlockFormat, Coding, Justify, LANGUAGE_ITALIAN, PinModify, PinVerify, confirm, validation,
};
pub use self::properties::{PinProperties, TlvProperties};

/// The function number of the request for the features (`CM_IOCTL_GET_FEATURE_REQUEST`, §2.2).
pub const GET_FEATURE_REQUEST: u16 = 3400;

/// The control code of [`GET_FEATURE_REQUEST`] where PC/SC is pcsc-lite.
pub const GET_FEATURE_REQUEST_PCSC_LITE: u32 = 0x4200_0000 + GET_FEATURE_REQUEST as u32;

/// The longest answer about features or properties that is looked at, in bytes.
pub const LONGEST_LIST: usize = 512;

/// Numbers of features (§2.3).
pub mod feature {
    /// Take a PIN and send VERIFY with it, all in one.
    pub const VERIFY_PIN_DIRECT: u8 = 0x06;
    /// Take an old and a new PIN and send the command that changes it, all in one.
    pub const MODIFY_PIN_DIRECT: u8 = 0x07;
    /// The properties of the keypad, in a fixed form.
    pub const IFD_PIN_PROPERTIES: u8 = 0x0A;
    /// The properties of the reader, one by one.
    pub const GET_TLV_PROPERTIES: u8 = 0x12;
}

/// What the keypad itself answers in the place of the card (§2.5.2), where no card would.
pub mod answer {
    use crate::status::StatusWord;

    /// Nobody typed in time.
    pub const TIMED_OUT: StatusWord = StatusWord(0x6400);
    /// The person pressed "cancel".
    pub const CANCELLED: StatusWord = StatusWord(0x6401);
    /// The new PIN was typed in two ways.
    pub const NEW_PINS_DIFFER: StatusWord = StatusWord(0x6402);
    /// Too few or too many digits.
    pub const WRONG_LENGTH: StatusWord = StatusWord(0x6403);
    /// The order's structure is not understood.
    pub const INVALID_STRUCTURE: StatusWord = StatusWord(0x6B80);
}

/// Why bytes are none of these structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PinPadError {
    /// It ends too early, or goes on too long.
    #[error("it has the wrong length")]
    Length,
    /// It is longer than any reader's.
    #[error("it is longer than {LONGEST_LIST} bytes")]
    TooLong,
    /// One feature or property is named twice.
    #[error("tag {0:02X} is there twice")]
    Twice(u8),
}

/// The features of a reader: tags with control codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(Vec<(u8, u32)>);

impl Features {
    /// From the answer to [`GET_FEATURE_REQUEST`].
    ///
    /// # Errors
    /// When it is no list of features: a value that is not four bytes long, a tag that is there twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, PinPadError> {
        let mut features = Vec::new();
        for (tag, value) in fields(bytes)? {
            let code = <[u8; 4]>::try_from(value).map_err(|_| PinPadError::Length)?;
            features.push((tag, u32::from_be_bytes(code)));
        }
        Ok(Self(features))
    }

    /// As a reader tells them.
    #[must_use]
    pub fn encode(features: &[(u8, u32)]) -> Vec<u8> {
        let tlv = |(tag, code): &(u8, u32)| [&[*tag, 4][..], &code.to_be_bytes()].concat();
        features.iter().flat_map(tlv).collect()
    }

    /// The control code of a feature, 0 too if the reader says so.
    #[must_use]
    pub fn code(&self, feature: u8) -> Option<u32> {
        self.0.iter().find(|(tag, _)| *tag == feature).map(|(_, code)| *code)
    }
}

/// A list of tag, length and value, each tag and length one byte.
fn fields(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, PinPadError> {
    if bytes.len() > LONGEST_LIST {
        return Err(PinPadError::TooLong);
    }
    let mut fields: Vec<(u8, &[u8])> = Vec::new();
    let mut rest = bytes;
    while let [tag, length, after @ ..] = rest {
        let (value, next) = after.split_at_checked(usize::from(*length)).ok_or(PinPadError::Length)?;
        if fields.iter().any(|(known, _)| known == tag) {
            return Err(PinPadError::Twice(*tag));
        }
        fields.push((*tag, value));
        rest = next;
    }
    if rest.is_empty() { Ok(fields) } else { Err(PinPadError::Length) }
}
