//! UPDATE RECORD (ISO/IEC 7816-4:2005 §7.3.5; `cns-card` §5.4)

use super::{CardCommand, RecordSelector, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// UPDATE RECORD (ISO/IEC 7816-4:2005 §7.3.5) of the current file
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRecord {
    /// Which record.
    pub record: RecordSelector,
    /// The whole record.
    pub data: Vec<u8>,
}

impl UpdateRecord {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let record = RecordSelector::decode(apdu)?;
        Ok(Self { record, data: parameters::some_data(apdu, StatusWord::WRONG_LENGTH)? })
    }
}

impl CardCommand for UpdateRecord {
    type Answer = ();
    const NAME: &'static str = "UPDATE RECORD";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, p2) = self.record.encode()?;
        Ok(CommandApdu::new(0xDC, p1, p2).plain(self.data.clone()))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
