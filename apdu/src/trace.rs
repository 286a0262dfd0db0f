//! Recorded exchanges with a card, as text (`docs/trace-format.md`).
//!
//! One grammar for what was seen on real cards, for what a person sends in about an unknown card, and for what a
//! card in software answers from. A trace holds no secret: a PIN is masked, and removed data is only counted.

mod place;
mod removal;
mod text;

use std::fmt::{self, Display, Formatter};

use thiserror::Error;

pub use self::place::Place;
pub use self::removal::{Recorder, cleaned_atr};
use crate::status::StatusWord;

/// The longest text that is read, in bytes.
pub const LONGEST_TEXT: usize = 4 << 20;
/// The most exchanges that one trace holds.
pub const MOST_EXCHANGES: usize = 10_000;
/// What stands in place of any PIN or PUK: five digits, padded.
pub const MASKED_PIN: [u8; 8] = *b"00000\xFF\xFF\xFF";

/// Exchanges with one model of card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// Which card, in words.
    pub card: Option<String>,
    /// Answers to reset that were seen with it.
    pub atrs: Vec<Vec<u8>>,
    /// Where the exchanges come from.
    pub source: Option<String>,
    /// What was done with the card between one reset and the next.
    pub sessions: Vec<Session>,
}

/// Exchanges from one reset on, in their order. There may be gaps.
pub type Session = Vec<Exchange>;

/// One command and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The line of the command in the text, from 1; 0 for one that was never read from text.
    pub line: usize,
    /// How it is known.
    pub kind: Kind,
    /// What is left out in front of it.
    pub after_gap: Option<Gap>,
    /// Comments in front of it.
    pub notes: Vec<String>,
    /// The command.
    pub command: Vec<u8>,
    /// Whether the command's data was removed, and what it was.
    pub command_mask: CommandMask,
    /// The data that the card answered, as far as it is told.
    pub data: Vec<u8>,
    /// What is missing between that and the status word.
    pub missing: Option<Missing>,
    /// Bytes inside of `data` that were replaced by zeros.
    pub zeroed: Option<Zeroed>,
    /// The status word.
    pub status: StatusWord,
}

/// Exchanges that are left out: what was selected in them is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gap {
    /// The application that was selected last, if that is told; its MF counts as current.
    pub application: Option<Vec<u8>>,
}

/// How an exchange is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Logged from a real card.
    #[default]
    Capture,
    /// What published code sends to the real card; the answer is the one that it needs to go on.
    Driver,
    /// Put together from an error message or a remark.
    Inferred,
}

/// Whether the data of a command was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandMask {
    /// The command is whole.
    #[default]
    None,
    /// It carries a PIN or PUK, whose digits stand as `30` and whose padding as `FF`.
    Pin,
    /// Its data was replaced by as many zeros.
    Data,
}

/// Data of an answer that is not told: personal, or a certificate or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// How many bytes; `None` if that is not known either.
    pub length: Option<usize>,
    /// What they are, in words.
    pub what: String,
}

/// Data of an answer that was replaced by zeros where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zeroed {
    /// How many bytes.
    pub length: usize,
    /// What they are, in words.
    pub what: String,
}

/// Why text is no trace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct TraceError {
    /// The line, from 1; the first one for what concerns the whole.
    pub line: usize,
    /// What is wrong with it.
    pub fault: TraceFault,
}

/// What is wrong with a line. Nothing of the line is repeated: it may hold what should not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TraceFault {
    /// Longer than [`LONGEST_TEXT`].
    #[error("the trace is longer than {LONGEST_TEXT} bytes")]
    TooLong,
    /// More than [`MOST_EXCHANGES`].
    #[error("the trace has more than {MOST_EXCHANGES} exchanges")]
    TooManyExchanges,
    /// It starts with none of `#`, `>` and `<`.
    #[error("a line starts with `#`, `>` or `<`")]
    Unknown,
    /// A directive that the format does not have.
    #[error("the directives are `reset`, `gap`, `kind`, `pin`, `masked`, `data` and `zeroed`")]
    UnknownDirective,
    /// A kind that the format does not have.
    #[error("the kinds are `capture`, `driver` and `inferred`")]
    UnknownKind,
    /// No number where one is needed, or too large a one.
    #[error("the directive wants a number of bytes, up to 65,536")]
    NoNumber,
    /// Not hexadecimal, or half a byte.
    #[error("the bytes are not in hexadecimal, two digits each")]
    NotHexadecimal,
    /// Shorter than a header, or longer than any command.
    #[error("a command has 4 to 65,544 bytes")]
    CommandLength,
    /// Shorter than a status word, or longer than any response.
    #[error("an answer has 2 to 65,538 bytes, what is missing counted in")]
    AnswerLength,
    /// An ATR of impossible length.
    #[error("an ATR has 2 to 33 bytes")]
    AtrLength,
    /// A gap with something else than an application's name after it.
    #[error("after `gap` stands nothing, or `application` and a name of 1 to 16 bytes in hexadecimal")]
    Gap,
    /// A command follows a command.
    #[error("the command before this line has no answer")]
    NoAnswer,
    /// An answer without a command.
    #[error("the answer has no command before it")]
    NoCommand,
    /// A directive for a command stands where an answer follows, or the other way round, or at the end.
    #[error("the directive before this line belongs to another kind of line")]
    Misplaced,
    /// A command with a PIN is not marked.
    #[error("a command that carries a PIN needs `#@ pin` before it, and a mask in place of the PIN")]
    PinUnmarked,
    /// A marked command shows something else than the mask.
    #[error("a PIN stands here in clear: write 30 for each digit and FF for padding")]
    PinInClear,
    /// A command that is marked as masked shows something else than zeros.
    #[error("the data of a masked command is written as zeros")]
    NotMasked,
}

impl Trace {
    /// Reads a trace. Comments that stand after the last exchange are left out.
    ///
    /// # Errors
    /// The first line that is not of the format.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        text::parse(text)
    }

    /// All exchanges, whatever the session.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.sessions.iter().flatten()
    }
}

/// The text, in the order and spelling of the format.
impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl Exchange {
    /// A whole exchange, as it was logged.
    #[must_use]
    pub fn captured(command: Vec<u8>, data: Vec<u8>, status: StatusWord) -> Self {
        Self {
            line: 0,
            kind: Kind::Capture,
            after_gap: None,
            notes: Vec::new(),
            command,
            command_mask: CommandMask::None,
            data,
            missing: None,
            zeroed: None,
            status,
        }
    }

    /// Whether `command` is the one of this exchange; of masked data only the length counts, and of a PIN that
    /// there is one.
    #[must_use]
    pub fn is_command(&self, command: &[u8]) -> bool {
        let same_header = || self.command.get(..4) == command.get(..4);
        match self.command_mask {
            CommandMask::None => self.command == command,
            CommandMask::Pin => same_header() && command.len() > 5,
            CommandMask::Data => same_header() && self.command.len() == command.len(),
        }
    }

    /// Whether `answer`, status word included, says the same as the recorded one, as far as that is told. Where
    /// bytes were replaced by zeros only their number is compared.
    #[must_use]
    pub fn is_answer(&self, answer: &[u8]) -> bool {
        let Some((data, status)) = answer.split_last_chunk::<2>() else { return false };
        let length_fits = match &self.missing {
            None => data.len() == self.data.len(),
            Some(Missing { length: Some(missing), .. }) => {
                Some(data.len()) == self.data.len().checked_add(*missing)
            }
            Some(Missing { length: None, .. }) => data.len() >= self.data.len(),
        };
        let same_data = self.zeroed.is_some() || data.starts_with(&self.data);
        length_fits && same_data && *status == self.status.to_bytes()
    }
}
