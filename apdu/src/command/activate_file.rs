//! ACTIVATE FILE (ISO/IEC 7816-9; `cns-card` §5.17)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// ACTIVATE FILE (ISO/IEC 7816-9), the current one
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivateFile;

impl ActivateFile {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        parameters::no_data(apdu).map(|()| Self)
    }
}

impl CardCommand for ActivateFile {
    type Answer = ();
    const NAME: &'static str = "ACTIVATE FILE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x44, 0x00, 0x00))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
