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

/// Which key proves something, by P2 of EXTERNAL and INTERNAL AUTHENTICATE (`cns-card` §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationKey {
    /// The TEST component of the current security environment.
    FromEnvironment,
    /// A test object, addressed like a PIN.
    Object(PinReference),
}

impl AuthenticationKey {
    /// From P2: no identifier stands for the environment.
    ///
    /// # Errors
    /// 6A86 when P2 cannot name an object.
    pub fn from_p2(p2: u8) -> Result<Self, StatusWord> {
        match p2 {
            0x00 | 0x80 => Ok(Self::FromEnvironment),
            p2 => PinReference::from_p2(p2).map(Self::Object),
        }
    }

    /// P2.
    #[must_use]
    pub const fn to_p2(self) -> u8 {
        match self {
            Self::FromEnvironment => 0x00,
            Self::Object(reference) => reference.to_p2(),
        }
    }
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
        let key = AuthenticationKey::from_p2(apdu.p2)?;
        Ok(Self { key, response: parameters::some_data(apdu, StatusWord::WRONG_LENGTH)? })
    }
}

impl CardCommand for ExternalAuthenticate {
    type Answer = ();
    const NAME: &'static str = "EXTERNAL AUTHENTICATE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x82, 0x00, self.key.to_p2()).plain(self.response.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
