//! PERFORM SECURITY OPERATION (ISO/IEC 7816-8:2004 §5.2; `cns-card` §5.13)

use cns_secret::Secret;

use super::CardCommand;
use crate::bytes::concat;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// PERFORM SECURITY OPERATION (ISO/IEC 7816-8:2004 §5.2) with the keys of the current security environment
pub enum PerformSecurityOperation {
    /// 9E 9A: signature over a DigestInfo, which the chip pads, or over a whole padded block.
    ComputeDigitalSignature {
        /// DigestInfo or block.
        input: Vec<u8>,
    },
    /// 80 86: the private operation on a block as long as the key. This is also how the raw authentication key
    /// signs: the block is then a padded signature block.
    Decipher {
        /// The block, without the padding indicator that goes before it.
        block: Secret,
    },
    /// 86 80: the public operation, or symmetric encryption.
    Encipher {
        /// What to encipher.
        data: Secret,
    },
}

impl PerformSecurityOperation {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, 6700, 6A80, or 6581 when there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        match (apdu.p1, apdu.p2, apdu.data.as_bytes()) {
            (0x9E, 0x9A, []) | (0x80, 0x86, [] | [_]) | (0x86, 0x80, []) => Err(StatusWord::WRONG_LENGTH),
            (0x9E, 0x9A, input) => Ok(Self::ComputeDigitalSignature { input: input.to_vec() }),
            (0x80, 0x86, [0x00, block @ ..]) => Ok(Self::Decipher { block: keep(block)? }),
            (0x80, 0x86, _) => Err(StatusWord::WRONG_DATA),
            (0x86, 0x80, data) => Ok(Self::Encipher { data: keep(data)? }),
            (_, _, _) => Err(StatusWord::WRONG_PARAMETERS),
        }
    }
}

impl CardCommand for PerformSecurityOperation {
    /// Signature, deciphered block, or `00` and the cryptogram.
    type Answer = Vec<u8>;
    const NAME: &'static str = "PERFORM SECURITY OPERATION";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(match self {
            Self::ComputeDigitalSignature { input } => {
                CommandApdu::new(0x2A, 0x9E, 0x9A).plain(input.clone())
            }
            Self::Decipher { block } => {
                CommandApdu::new(0x2A, 0x80, 0x86).sensitive(concat(&[&[0x00], block.expose()])?)
            }
            Self::Encipher { data } => CommandApdu::new(0x2A, 0x86, 0x80).sensitive(data.duplicate()?),
        }
        .expecting(256))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response)
    }
}

fn keep(bytes: &[u8]) -> Result<Secret, StatusWord> {
    Secret::copy_from(bytes).map_err(|_| StatusWord::MEMORY_FAILURE)
}
