//! EXTERNAL AUTHENTICATE (ISO/IEC 7816-4:2005 §7.5.4; `cns-card` §5.10)

use super::{CardCommand, PinReference, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// EXTERNAL AUTHENTICATE (ISO/IEC 7816-4:2005 §7.5.4): the host proves that it holds a key
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAuthenticate {
    /// Which key.
    pub key: AuthenticationKey,
    /// The answer to the chip's last challenge.
    pub response: Vec<u8>,
}

/// Which key the host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationKey {
    /// The TEST component of the current security environment.
    FromEnvironment,
    /// A test object, addressed like a PIN.
    Object(PinReference),
}

impl ExternalAuthenticate {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        if apdu.p1 != 0x00 {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let key = match apdu.p2 {
            0x00 | 0x80 => AuthenticationKey::FromEnvironment,
            p2 => AuthenticationKey::Object(PinReference::from_p2(p2)?),
        };
        Ok(Self { key, response: parameters::some_data(apdu, StatusWord::WRONG_LENGTH)? })
    }
}

impl CardCommand for ExternalAuthenticate {
    type Answer = ();
    const NAME: &'static str = "EXTERNAL AUTHENTICATE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let p2 = match self.key {
            AuthenticationKey::FromEnvironment => 0x00,
            AuthenticationKey::Object(reference) => reference.to_p2(),
        };
        Ok(CommandApdu::new(0x82, 0x00, p2).plain(self.response.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
