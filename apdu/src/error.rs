//! What can be wrong with bytes, and what a chip can answer to a command.

use cns_secret::SecretError;
use thiserror::Error;

use crate::status::StatusWord;
use crate::tlv::TlvError;

/// Bytes that are not what they should be, or a value that has no encoding.
#[derive(Debug, Error)]
pub enum ApduError {
    /// Fewer bytes than the header of a command or the status word of a response.
    #[error("too short: {0} bytes")]
    TooShort(usize),
    /// More bytes than any command or response can have.
    #[error("too long: {0} bytes")]
    TooLong(usize),
    /// The length fields of a command contradict its size (ISO/IEC 7816-3:2006 §12.1.3).
    #[error("the length fields contradict the {0} bytes of the command")]
    LengthMismatch(usize),
    /// The data does not fit the form, or what the reader or chip takes.
    #[error("{0} bytes of data do not fit this form of command")]
    DataTooLong(usize),
    /// Le is zero or beyond what the form can say.
    #[error("Le {0} cannot be written in this form of command")]
    LeOutOfRange(u32),
    /// A part of a command chain that does not continue it.
    #[error("the command does not continue the chain")]
    BrokenChain,
    /// A value outside of its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// The content of an answer is malformed.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// Malformed TLV.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// No locked memory for bytes that may be secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Why a command brought no answer.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The chip refused.
    #[error("{command}: {status}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// What the chip said.
        status: StatusWord,
    },
    /// The chip accepted, but its answer makes no sense.
    #[error("{command}: the chip's answer is wrong: {source}")]
    Answer {
        /// The command's name.
        command: &'static str,
        /// What is wrong with it.
        source: ApduError,
    },
}

impl CommandError {
    /// What the chip said, if it refused.
    #[must_use]
    pub fn status(&self) -> Option<StatusWord> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Answer { .. } => None,
        }
    }
}
