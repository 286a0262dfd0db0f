//! GET CHALLENGE (ISO/IEC 7816-4:2005 §7.5.3; `cns-card` §5.8)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// GET CHALLENGE (ISO/IEC 7816-4:2005 §7.5.3)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetChallenge {
    /// So many random bytes; IDEMIA's chips give 32 at most.
    pub length: u32,
}

impl GetChallenge {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        Ok(Self { length: parameters::only_le(apdu)? })
    }
}

impl CardCommand for GetChallenge {
    /// The random bytes; maybe fewer than asked for, never none.
    type Answer = Vec<u8>;
    const NAME: &'static str = "GET CHALLENGE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x84, 0x00, 0x00).expecting(self.length))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        let challenge = Self::accepted(response)?;
        match u32::try_from(challenge.len()) {
            Ok(length) if (1..=self.length).contains(&length) => Ok(challenge),
            Ok(_) | Err(_) => Err(Self::senseless(ApduError::Malformed("challenge"))),
        }
    }
}
