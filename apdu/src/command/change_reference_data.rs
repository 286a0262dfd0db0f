//! CHANGE REFERENCE DATA (ISO/IEC 7816-4:2005 §7.5.7; `cns-card` §5.6)

use super::{CardCommand, PinReference, REFERENCE_LENGTH, ReferenceData};
use crate::bytes::concat;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// CHANGE REFERENCE DATA (ISO/IEC 7816-4:2005 §7.5.7)
pub struct ChangeReferenceData {
    /// Which PIN is changed.
    pub reference: PinReference,
    /// What shows that it may be.
    pub proof: ChangeProof,
    /// The new value.
    pub new: ReferenceData,
}

/// What shows that a PIN may be changed.
pub enum ChangeProof {
    /// P1 = 00, sixteen bytes: the value of the object that the change condition names, usually the PIN itself.
    Value(ReferenceData),
    /// P1 = 00, eight bytes: nothing, for a PIN whose change condition is "always".
    Nothing,
    /// P1 = 01, eight bytes: that object has been verified before.
    Verified,
}

impl ChangeReferenceData {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, 6700, or 6581 when there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let data = apdu.data.as_bytes();
        let value_first = data.len() == 2 * REFERENCE_LENGTH;
        let (proof, new) = match apdu.p1 {
            0x00 if value_first => {
                let (old, new) = ReferenceData::pair_from_command(data)?;
                (ChangeProof::Value(old), new)
            }
            0x00 => (ChangeProof::Nothing, ReferenceData::from_command(data)?),
            0x01 => (ChangeProof::Verified, ReferenceData::from_command(data)?),
            _ => return Err(StatusWord::WRONG_PARAMETERS),
        };
        Ok(Self { reference: PinReference::from_p2(apdu.p2)?, proof, new })
    }
}

impl CardCommand for ChangeReferenceData {
    type Answer = ();
    const NAME: &'static str = "CHANGE REFERENCE DATA";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, old): (u8, &[u8]) = match &self.proof {
            ChangeProof::Value(old) => (0x00, old.expose()),
            ChangeProof::Nothing => (0x00, &[]),
            ChangeProof::Verified => (0x01, &[]),
        };
        let data = concat(&[old, self.new.expose()])?;
        Ok(CommandApdu::new(0x24, p1, self.reference.to_p2()).sensitive(data))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
