//! UPDATE BINARY (ISO/IEC 7816-4:2005 §7.2.5; `cns-card` §5.3)

use super::read_binary::{offset, offset_parameters};
use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// UPDATE BINARY (ISO/IEC 7816-4:2005 §7.2.5) of the current file
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateBinary {
    /// First byte, 0 to 7FFF.
    pub offset: u16,
    /// What to write there; not empty.
    pub data: Vec<u8>,
}

impl UpdateBinary {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, or 6A80 when there is nothing to write.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        Ok(Self { offset: offset(apdu)?, data: parameters::some_data(apdu, StatusWord::WRONG_DATA)? })
    }
}

impl CardCommand for UpdateBinary {
    type Answer = ();
    const NAME: &'static str = "UPDATE BINARY";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, p2) = offset_parameters(self.offset)?;
        Ok(CommandApdu::new(0xD6, p1, p2).plain(self.data.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
