//! DELETE FILE (ISO/IEC 7816-9; `cns-card` §5.16)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::file_map::Fid;
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// DELETE FILE (ISO/IEC 7816-9)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteFile {
    /// A file inside the current DF; `None` for the current file.
    pub file: Option<Fid>,
}

impl DeleteFile {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        match *apdu.data.as_bytes() {
            [] => Ok(Self { file: None }),
            [high, low] => Ok(Self { file: Some(Fid(u16::from_be_bytes([high, low]))) }),
            _ => Err(StatusWord::WRONG_LENGTH),
        }
    }
}

impl CardCommand for DeleteFile {
    type Answer = ();
    const NAME: &'static str = "DELETE FILE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let data = self.file.map(|file| file.to_bytes().to_vec()).unwrap_or_default();
        Ok(CommandApdu::new(0xE4, 0x00, 0x00).plain(data))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
