//! INTERNAL AUTHENTICATE (ISO/IEC 7816-4:2005 §7.5.2; `cns-card` §5.10)

use super::{AuthenticationKey, CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// INTERNAL AUTHENTICATE (ISO/IEC 7816-4:2005 §7.5.2): the chip proves that it holds a key
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalAuthenticate {
    /// Which key.
    pub key: AuthenticationKey,
    /// What the chip is to answer.
    pub challenge: Vec<u8>,
}

impl InternalAuthenticate {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        if apdu.p1 != 0x00 {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let key = AuthenticationKey::from_p2(apdu.p2)?;
        Ok(Self { key, challenge: parameters::some_data(apdu, StatusWord::WRONG_LENGTH)? })
    }
}

impl CardCommand for InternalAuthenticate {
    /// The answer to the challenge.
    type Answer = Vec<u8>;
    const NAME: &'static str = "INTERNAL AUTHENTICATE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x88, 0x00, self.key.to_p2()).plain(self.challenge.clone()).expecting(256))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response)
    }
}
