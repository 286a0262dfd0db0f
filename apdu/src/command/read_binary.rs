//! READ BINARY (ISO/IEC 7816-4:2005 §7.2.3; `cns-card` §5.2)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// READ BINARY (ISO/IEC 7816-4:2005 §7.2.3) of the current file
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBinary {
    /// First byte, 0 to 7FFF.
    pub offset: u16,
    /// At most so many bytes, 1 to 65,536.
    pub length: u32,
}

impl ReadBinary {
    /// What a chip makes of it. Short file identifiers (bit 8 of P1) are not of the CNS.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        Ok(Self { offset: offset(apdu)?, length: parameters::only_le(apdu)? })
    }
}

impl CardCommand for ReadBinary {
    /// The bytes; fewer than asked for at the end of the file.
    type Answer = Vec<u8>;
    const NAME: &'static str = "READ BINARY";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, p2) = offset_parameters(self.offset)?;
        Ok(CommandApdu::new(0xB0, p1, p2).expecting(self.length))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        match response.into_parts() {
            (data, StatusWord::SUCCESS | StatusWord::END_OF_FILE) => Ok(data),
            (_, status) => Err(CommandError::Refused { command: Self::NAME, status }),
        }
    }
}

/// The offset in P1 and P2.
pub(super) fn offset(apdu: &CommandApdu) -> Result<u16, StatusWord> {
    let offset = u16::from_be_bytes([apdu.p1, apdu.p2]);
    if offset > 0x7FFF { Err(StatusWord::WRONG_PARAMETERS) } else { Ok(offset) }
}

/// P1 and P2 of an offset.
pub(super) fn offset_parameters(offset: u16) -> Result<(u8, u8), ApduError> {
    if offset > 0x7FFF {
        return Err(ApduError::OutOfRange("offset"));
    }
    let [p1, p2] = offset.to_be_bytes();
    Ok((p1, p2))
}
