//! RESET RETRY COUNTER (ISO/IEC 7816-4:2005 §7.5.10; `cns-card` §5.7)

use super::{CardCommand, PinReference, ReferenceData, parameters};
use crate::bytes::concat;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// RESET RETRY COUNTER (ISO/IEC 7816-4:2005 §7.5.10)
pub struct ResetRetryCounter {
    /// The PIN that is unblocked, not the PUK: the chip finds that one by itself.
    pub reference: PinReference,
    /// What happens to it, and on whose word.
    pub action: ResetAction,
}

/// What happens to the PIN: P1 and the data.
pub enum ResetAction {
    /// 00: the PUK is checked, the PIN gets a new value and all its tries.
    SetNew {
        /// The PUK.
        puk: ReferenceData,
        /// The PIN's new value.
        new: ReferenceData,
    },
    /// 01: the PUK is checked, the PIN keeps its value and gets all its tries.
    KeepValue {
        /// The PUK.
        puk: ReferenceData,
    },
    /// 03: the PUK has been verified before; the PIN keeps its value and gets all its tries.
    Verified,
}

impl ResetRetryCounter {
    /// What a chip makes of it. Of P1 other than 00 the upper five bits do not count; 02 (ISO's "new PIN alone")
    /// is not of the CNS.
    ///
    /// # Errors
    /// 6A86, 6700, or 6581 when there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let reference = PinReference::from_p2(apdu.p2)?;
        let data = apdu.data.as_bytes();
        let action = match (apdu.p1, apdu.p1 & 0x07) {
            (0x00, _) => {
                let (puk, new) = ReferenceData::pair_from_command(data)?;
                ResetAction::SetNew { puk, new }
            }
            (_, 0x01) => ResetAction::KeepValue { puk: ReferenceData::from_command(data)? },
            (_, 0x03) => parameters::no_data(apdu).map(|()| ResetAction::Verified)?,
            (_, _) => return Err(StatusWord::WRONG_PARAMETERS),
        };
        Ok(Self { reference, action })
    }
}

impl CardCommand for ResetRetryCounter {
    type Answer = ();
    const NAME: &'static str = "RESET RETRY COUNTER";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, data) = match &self.action {
            ResetAction::SetNew { puk, new } => (0x00, concat(&[puk.expose(), new.expose()])?),
            ResetAction::KeepValue { puk } => (0x01, puk.as_secret().duplicate()?),
            ResetAction::Verified => (0x03, concat(&[])?),
        };
        Ok(CommandApdu::new(0x2C, p1, self.reference.to_p2()).sensitive(data))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
