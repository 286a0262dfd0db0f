//! GENERATE KEY PAIR (ISO/IEC 7816-8:2004 §5.1, in the CNS's coding; `cns-card` §5.11)

use super::CardCommand;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::file_map::Fid;
use crate::object::{ObjectClass, ObjectId};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// GENERATE KEY PAIR (ISO/IEC 7816-8:2004 §5.1) in the current DF, whose objects and file it fills
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateKeyPair {
    /// The key; its modulus component tells the size by its own.
    pub key: ObjectId,
    /// The file that receives the public key.
    pub public_key_file: Fid,
    /// Bits of the public exponent, 16 to 64, or 0 for the chip's own choice of 24 (65,537).
    pub exponent_bits: u16,
}

impl GenerateKeyPair {
    /// What a chip makes of it. Chips differ in P2 (zero or the key) and in byte 6 (00 or 10); both are taken.
    ///
    /// # Errors
    /// 6A86, 6700 or 6A80.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let &[class, id, file_high, file_low, rounds, difference, bits_high, bits_low] = apdu.data.as_bytes()
        else {
            return Err(StatusWord::WRONG_LENGTH);
        };
        if apdu.p1 != 0x00 || (apdu.p2 != 0x00 && apdu.p2 != id) {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let exponent_bits = u16::from_be_bytes([bits_high, bits_low]);
        let is_key = ObjectClass::new(class) == Some(ObjectClass::Key);
        let known = is_key && rounds == 0x00 && matches!(difference, 0x00 | 0x10);
        match ObjectId::new(id) {
            Some(key) if known && is_exponent_length(exponent_bits) => Ok(Self {
                key,
                public_key_file: Fid(u16::from_be_bytes([file_high, file_low])),
                exponent_bits,
            }),
            _ => Err(StatusWord::WRONG_DATA),
        }
    }
}

impl CardCommand for GenerateKeyPair {
    type Answer = ();
    const NAME: &'static str = "GENERATE KEY PAIR";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        if !is_exponent_length(self.exponent_bits) {
            return Err(ApduError::OutOfRange("length of the public exponent"));
        }
        let [file_high, file_low] = self.public_key_file.to_bytes();
        let [bits_high, bits_low] = self.exponent_bits.to_be_bytes();
        let class = ObjectClass::Key.value();
        let data = vec![class, self.key.value(), file_high, file_low, 0x00, 0x00, bits_high, bits_low];
        Ok(CommandApdu::new(0x46, 0x00, 0x00).plain(data))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}

const fn is_exponent_length(bits: u16) -> bool {
    matches!(bits, 0 | 16..=64)
}
