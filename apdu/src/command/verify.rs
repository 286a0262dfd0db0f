//! VERIFY (ISO/IEC 7816-4:2005 §7.5.6; `cns-card` §5.5)

use super::{CardCommand, PinReference, ReferenceData};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// VERIFY (ISO/IEC 7816-4:2005 §7.5.6)
///
/// Without a value it asks whether the PIN is verified and how many tries are left, and costs none.
pub struct Verify {
    /// Which PIN.
    pub reference: PinReference,
    /// The value presented; `None` asks.
    pub value: Option<ReferenceData>,
}

impl Verify {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, 6700, or 6581 when there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        if apdu.p1 != 0x00 {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let reference = PinReference::from_p2(apdu.p2)?;
        let value = match apdu.data.as_bytes() {
            [] => None,
            bytes => Some(ReferenceData::from_command(bytes)?),
        };
        Ok(Self { reference, value })
    }
}

impl CardCommand for Verify {
    type Answer = ();
    const NAME: &'static str = "VERIFY";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let apdu = CommandApdu::new(0x20, 0x00, self.reference.to_p2());
        Ok(match &self.value {
            Some(value) => apdu.sensitive(value.as_secret().duplicate()?),
            None => apdu,
        })
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
