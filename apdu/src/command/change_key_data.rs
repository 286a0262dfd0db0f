//! CHANGE KEY DATA (CNS; `cns-card` §5.18)

use cns_secret::Secret;

use super::{CardCommand, PinReference};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::object::ObjectClass;
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// CHANGE KEY DATA (CNS): replaces one component of a key
pub struct ChangeKeyData {
    /// Which class of object.
    pub class: ObjectClass,
    /// Which one, addressed like a PIN.
    pub reference: PinReference,
    /// The new component, as long as the stored one.
    pub value: Secret,
}

impl ChangeKeyData {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, 6700, or 6581 when there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let class = ObjectClass::new(apdu.p1).ok_or(StatusWord::WRONG_PARAMETERS)?;
        let reference = PinReference::from_p2(apdu.p2)?;
        if apdu.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let value = Secret::copy_from(apdu.data.as_bytes()).map_err(|_| StatusWord::MEMORY_FAILURE)?;
        Ok(Self { class, reference, value })
    }
}

impl CardCommand for ChangeKeyData {
    type Answer = ();
    const NAME: &'static str = "CHANGE KEY DATA";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let apdu = CommandApdu::new(0x24, self.class.value(), self.reference.to_p2()).class(0x90);
        Ok(apdu.sensitive(self.value.duplicate()?))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
