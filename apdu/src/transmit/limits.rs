//! What a chip and its reader take at once.

use crate::command_apdu::{CommandApdu, Form};
use crate::error::ApduError;

/// What a chip and its reader take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most data in one command: 255, or more where extended length is understood.
    pub max_send: u16,
    /// The most data in one response: 256, or more where extended length is understood.
    pub max_receive: u32,
    /// Whether longer data may be sent as a chain of commands.
    pub chaining: bool,
}

/// How one command goes.
pub(super) struct Plan {
    pub(super) form: Form,
    /// The length of the parts of a chain; `None` for one command.
    pub(super) part: Option<usize>,
    pub(super) max_receive: u32,
}

const SHORT_SEND: u16 = 255;
const SHORT_RECEIVE: u32 = 256;

impl Limits {
    /// Short length, no chaining.
    pub const SHORT: Self = Self { max_send: SHORT_SEND, max_receive: SHORT_RECEIVE, chaining: false };
    /// Short length and chaining.
    pub const SHORT_CHAINED: Self = Self { chaining: true, ..Self::SHORT };
    /// Extended length, no chaining.
    pub const EXTENDED: Self = Self { max_send: u16::MAX, max_receive: 65_536, chaining: false };
    /// Extended length and chaining.
    pub const EXTENDED_OR_CHAINED: Self = Self { chaining: true, ..Self::EXTENDED };

    /// What both allow; for a chip in a reader that has limits of its own.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            max_send: self.max_send.min(other.max_send),
            max_receive: self.max_receive.min(other.max_receive),
            chaining: self.chaining && other.chaining,
        }
    }

    /// Short where it fits, then extended, then a chain. A long Le alone is lowered, not extended, where the
    /// limits are short.
    pub(super) fn plan(&self, apdu: &CommandApdu) -> Result<Plan, ApduError> {
        let len = apdu.data.len();
        let extended = self.max_receive > SHORT_RECEIVE || self.max_send > SHORT_SEND;
        let max_receive = self.max_receive.max(1);
        let short_receive = max_receive.min(SHORT_RECEIVE);
        if len <= usize::from(self.max_send.min(SHORT_SEND)) {
            let wants_more = apdu.le.is_some_and(|le| le > short_receive);
            let form = if extended && wants_more { Form::Extended } else { Form::Short };
            let max_receive = if form == Form::Extended { max_receive } else { short_receive };
            return Ok(Plan { form, part: None, max_receive });
        }
        if len <= usize::from(self.max_send) {
            return Ok(Plan { form: Form::Extended, part: None, max_receive });
        }
        if self.chaining {
            let part = Some(usize::from(self.max_send.min(SHORT_SEND)));
            return Ok(Plan { form: Form::Short, part, max_receive: short_receive });
        }
        Err(ApduError::DataTooLong(len))
    }
}
