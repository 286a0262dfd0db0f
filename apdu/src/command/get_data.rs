//! GET DATA (ISO/IEC 7816-4:2005 §7.4.2; `cns-card` §5.19)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// GET DATA (ISO/IEC 7816-4:2005 §7.4.2)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetData {
    /// What about the chip.
    pub object: DataObject,
}

/// What a chip tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataObject {
    /// 0180: product name, ASCII.
    ProductName,
    /// 0181: card number.
    CardNumber,
    /// 0183: life cycle; 10 user, 20 administration, 34 manufacturing.
    LifeCycle,
    /// 01xx, another property of the chip: only some chips know any.
    Chip(u8),
    /// Any tag in the class of the chip's maker (80): only some chips know any.
    Maker(u16),
}

impl GetData {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A88 for anything that a CNS does not tell, 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let object = match (apdu.cla, apdu.p1, apdu.p2) {
            (0x80, high, low) => DataObject::Maker(u16::from_be_bytes([high, low])),
            (_, 0x01, 0x80) => DataObject::ProductName,
            (_, 0x01, 0x81) => DataObject::CardNumber,
            (_, 0x01, 0x83) => DataObject::LifeCycle,
            (_, 0x01, property) => DataObject::Chip(property),
            (_, _, _) => return Err(StatusWord::OBJECT_NOT_FOUND),
        };
        parameters::only_le(apdu)?;
        Ok(Self { object })
    }
}

impl CardCommand for GetData {
    /// What the chip tells.
    type Answer = Vec<u8>;
    const NAME: &'static str = "GET DATA";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (class, [p1, p2]) = match self.object {
            DataObject::ProductName => (0x00, [0x01, 0x80]),
            DataObject::CardNumber => (0x00, [0x01, 0x81]),
            DataObject::LifeCycle => (0x00, [0x01, 0x83]),
            DataObject::Chip(property) => (0x00, [0x01, property]),
            DataObject::Maker(tag) => (0x80, tag.to_be_bytes()),
        };
        Ok(CommandApdu::new(0xCA, p1, p2).class(class).expecting(256))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response)
    }
}
