//! What an error says about the PIN that a PUK was to set.

use cns_apdu::StatusWord;

use super::CardError;

/// What an error of the card says about its PIN.
pub(crate) enum Sent {
    /// Surely as before.
    Unchanged,
    /// The PUK was refused.
    PukRefused(Option<u8>),
    /// The PUK is blocked.
    PukBlocked,
    /// Old or new.
    Unknown,
}

/// Which errors leave the PIN surely as it was: those found before anything was sent, and a chip that refused the
/// command for a reason that it names before acting.
pub(crate) fn what_was_sent(error: &CardError) -> Sent {
    match error {
        CardError::PukIncorrect { tries_left } => Sent::PukRefused(*tries_left),
        CardError::PukBlocked => Sent::PukBlocked,
        CardError::NoReader
        | CardError::NoCard
        | CardError::Swapped
        | CardError::Exclusive
        | CardError::Held
        | CardError::NotAnswering
        | CardError::Busy
        | CardError::PinInvalid
        | CardError::LastTry
        | CardError::NoPinPad
        | CardError::PinPadUnproved
        | CardError::PinEntry
        | CardError::NoSuchObject(_)
        | CardError::Command(_)
        | CardError::Memory(_) => Sent::Unchanged,
        CardError::Refused { status, .. } if refuses_before_acting(*status) => Sent::Unchanged,
        CardError::Removed
        | CardError::Reset
        | CardError::Unknown(_)
        | CardError::Reader(_)
        | CardError::NoAnswer
        | CardError::TimedOut
        | CardError::ReaderGone
        | CardError::Stopped
        | CardError::Panicked
        | CardError::TooMuch
        | CardError::Refused { .. }
        | CardError::Answer { .. }
        | CardError::PinIncorrect { .. }
        | CardError::PinBlocked
        | CardError::PinEntryTimedOut
        | CardError::PinEntryCancelled
        | CardError::PinEntriesDiffer
        | CardError::PinPadFailed { .. }
        | CardError::Mechanism(_)
        | CardError::Ciphertext(_)
        | CardError::WrongSignature
        | CardError::AreaExists
        | CardError::AreaForbidden(_)
        | CardError::AreaNotReady(_)
        | CardError::WeakKey(_)
        | CardError::CertificateMismatch(_) => Sent::Unknown,
    }
}

/// Checking errors of ISO/IEC 7816-4 (67xx to 6Exx) are found before the command acts; execution errors (64xx to
/// 66xx, 6Fxx) are not.
fn refuses_before_acting(status: StatusWord) -> bool {
    (0x6700..0x6F00).contains(&status.0)
}
