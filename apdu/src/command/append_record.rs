//! APPEND RECORD (ISO/IEC 7816-4:2005 §7.3.6; `cns-card` §5.4)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// APPEND RECORD (ISO/IEC 7816-4:2005 §7.3.6) to the current file
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRecord {
    /// The whole record.
    pub data: Vec<u8>,
}

impl AppendRecord {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        Ok(Self { data: parameters::some_data(apdu, StatusWord::WRONG_LENGTH)? })
    }
}

impl CardCommand for AppendRecord {
    type Answer = ();
    const NAME: &'static str = "APPEND RECORD";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0xE2, 0x00, 0x00).plain(self.data.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
