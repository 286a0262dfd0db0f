//! GIVE RANDOM (CNS; `cns-card` §5.9)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// GIVE RANDOM (CNS): the host's random number for the next protected response
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveRandom {
    /// A multiple of eight bytes.
    pub value: Vec<u8>,
}

impl GiveRandom {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, or 6A80 when the length is not a multiple of eight.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        let value = parameters::some_data(apdu, StatusWord::WRONG_DATA)?;
        if value.len().is_multiple_of(8) { Ok(Self { value }) } else { Err(StatusWord::WRONG_DATA) }
    }
}

impl CardCommand for GiveRandom {
    type Answer = ();
    const NAME: &'static str = "GIVE RANDOM";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x86, 0x00, 0x00).class(0x80).plain(self.value.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
