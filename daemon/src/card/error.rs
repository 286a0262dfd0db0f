//! What can go wrong between the daemon and a card.

use cns_apdu::{ApduError, CommandError, StatusWord};
use cns_secret::SecretError;
use thiserror::Error;

/// Why work on a card was not done. Holds no secret and no personal data.
#[derive(Debug, Error)]
pub enum CardError {
    /// No reader of this name.
    #[error("there is no such reader")]
    NoReader,
    /// No card in the reader.
    #[error("there is no card in the reader")]
    NoCard,
    /// The card was taken out.
    #[error("the card was taken out of the reader")]
    Removed,
    /// Another program reset the card while it was worked on.
    #[error("another program reset the card")]
    Reset,
    /// The card in the reader is not the one that was meant.
    #[error("the card in the reader is not the one that was there before")]
    Swapped,
    /// The card is no CNS, or could not be read: in words.
    #[error("{0}")]
    Unknown(String),
    /// The reader or PC/SC failed: in words.
    #[error("the reader failed: {0}")]
    Reader(String),
    /// The reader got no answer from the card (`SCARD_E_NOT_TRANSACTED`): it was taken out, has no contact, or the reader
    /// does not carry such a command.
    #[error("the reader failed: no answer came from the card: it was taken out, or has no contact")]
    NoAnswer,
    /// Another program is connected to the card alone (`SCARD_SHARE_EXCLUSIVE`).
    #[error("another program holds the card for itself")]
    Exclusive,
    /// Another program's transaction did not end in time.
    #[error("another program works on the card without an end")]
    Held,
    /// An earlier command hangs in the reader's driver or in PC/SC.
    #[error("the reader does not answer: it still works on an earlier command")]
    NotAnswering,
    /// The reader was taken away, or pcscd ended.
    #[error("the reader is gone: it was unplugged, or pcscd has ended")]
    ReaderGone,
    /// Too many jobs wait for this reader.
    #[error("too much work waits for this reader")]
    Busy,
    /// The card did not answer in time.
    #[error("the card did not answer in time")]
    TimedOut,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopped,
    /// The job on the card panicked; the log knows where.
    #[error("the work on the card failed inside the daemon")]
    Panicked,
    /// The card exchanged more than any CNS needs.
    #[error("the card asks for more exchanges than any CNS needs")]
    TooMuch,
    /// The chip refused a command.
    #[error("the card refused {command}: {status}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// What the chip said.
        status: StatusWord,
    },
    /// The chip accepted a command, but its answer makes no sense.
    #[error("the card's answer to {command} is wrong: {reason}")]
    Answer {
        /// The command's name.
        command: &'static str,
        /// What is wrong, without the bytes.
        reason: String,
    },
    /// A command could not be written.
    #[error("the command cannot be sent to this card: {0}")]
    Command(ApduError),
    /// Wrong PIN.
    #[error("the PIN is wrong")]
    PinIncorrect {
        /// Tries left, when the chip tells.
        tries_left: Option<u8>,
    },
    /// The PIN is blocked.
    #[error("the PIN is blocked")]
    PinBlocked,
    /// The PIN is not 5 to 8 digits, or the PUK not 8: judged before the chip was touched.
    #[error("a PIN is 5 to 8 digits, a PUK is 8 digits")]
    PinInvalid,
    /// No PIN was given, and the reader has no keypad that is believed.
    #[error("no PIN was given, and the reader has no PIN pad that is believed")]
    NoPinPad,
    /// A PIN is to be changed on a keypad of which no card is known to have got a PIN.
    #[error("the reader's PIN pad has not shown yet that it gives the PIN to the card")]
    PinPadUnproved,
    /// Somebody is asked to type on the reader.
    #[error("somebody is asked to type on the reader's PIN pad")]
    PinEntry,
    /// Nobody typed on the keypad in time.
    #[error("nobody typed on the reader's PIN pad in time")]
    PinEntryTimedOut,
    /// The person pressed "cancel".
    #[error("the entry on the reader's PIN pad was cancelled")]
    PinEntryCancelled,
    /// The new PIN was typed in two ways.
    #[error("the new PIN was not typed twice alike on the reader's PIN pad")]
    PinEntriesDiffer,
    /// The keypad failed, or told what is not true.
    #[error("the reader's PIN pad failed: {why}")]
    PinPadFailed {
        /// In words.
        why: String,
        /// Tries left as the card itself said afterwards, when it tells.
        tries_left: Option<u8>,
    },
    /// One try is known to be left, and nobody confirmed that it may be spent.
    #[error("one try is left")]
    LastTry,
    /// Wrong PUK.
    #[error("the PUK is wrong")]
    PukIncorrect {
        /// Tries left, when the chip tells.
        tries_left: Option<u8>,
    },
    /// The PUK is blocked.
    #[error("the PUK is blocked")]
    PukBlocked,
    /// The card has no such key, certificate, PIN or file.
    #[error("the card has no {0}")]
    NoSuchObject(&'static str),
    /// The mechanism, or the length of the data, does not fit the key.
    #[error("{0}")]
    Mechanism(&'static str),
    /// What is to be decrypted was not encrypted for the key: in words, which tell nothing of what was deciphered.
    #[error("{0}")]
    Ciphertext(&'static str),
    /// The card computed something that its own certificate's key does not lead back from.
    #[error("what the card computed does not fit its certificate")]
    WrongSignature,
    /// The card has a signature certificate already.
    #[error("the card has a signature certificate already")]
    AreaExists,
    /// The card does not let its holder make or change the signature area.
    #[error("the card forbids the signature area: {0}")]
    AreaForbidden(&'static str),
    /// A step of the signature area was asked for before the steps that it needs.
    #[error("the signature area is not ready: {0}")]
    AreaNotReady(&'static str),
    /// The card generated a key that must not be used.
    #[error("the key that the card generated must not be used: {0}")]
    WeakKey(&'static str),
    /// The certificate to be loaded does not belong to the card's key.
    #[error("the certificate does not fit: {0}")]
    CertificateMismatch(&'static str),
    /// No locked memory.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
}

impl CardError {
    /// What the chip said, where it refused a command.
    #[must_use]
    pub fn status(&self) -> Option<StatusWord> {
        if let Self::Refused { status, .. } = self { Some(*status) } else { None }
    }
}

impl From<CommandError> for CardError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { command, status } => Self::Refused { command, status },
            CommandError::Answer { command, source } => Self::Answer { command, reason: source.to_string() },
        }
    }
}

impl From<ApduError> for CardError {
    fn from(error: ApduError) -> Self {
        if let ApduError::Secret(error) = error { Self::Memory(error) } else { Self::Command(error) }
    }
}
