//! GET RESPONSE (ISO/IEC 7816-4:2005 §7.6.1; `cns-card` §5.20)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// GET RESPONSE (ISO/IEC 7816-4:2005 §7.6.1): the rest of an answer
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetResponse {
    /// At most so many bytes.
    pub length: u32,
}

impl GetResponse {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        Ok(Self { length: parameters::only_le(apdu)? })
    }
}

impl CardCommand for GetResponse {
    /// The next bytes.
    type Answer = Vec<u8>;
    const NAME: &'static str = "GET RESPONSE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0xC0, 0x00, 0x00).expecting(self.length))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response)
    }
}
