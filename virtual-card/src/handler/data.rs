//! GET DATA (ISO/IEC 7816-4 §11.5.3)

use cns_apdu::StatusWord;
use cns_apdu::command::{DataObject, GetData};
use cns_apdu::file_map::ID_CARD;

use super::Reply;
use crate::card::VirtualCard;

const PRODUCT_NAME: &[u8] = b"CNS-VIRT";
/// In the hands of its holder.
const USER_LIFE_CYCLE: u8 = 0x10;

pub(super) fn get_data(card: &VirtualCard, command: GetData) -> Reply {
    let chip = card.generation().chip();
    let data = match command.object {
        DataObject::ProductName => chip.product_name.unwrap_or(PRODUCT_NAME).to_vec(),
        DataObject::CardNumber => card.transparent(&ID_CARD).to_vec(),
        DataObject::LifeCycle => vec![USER_LIFE_CYCLE],
        DataObject::Chip(property) => {
            let data = chip.chip_data.iter().find(|(known, _)| *known == property);
            data.map(|(_, value)| value.to_vec()).ok_or(StatusWord::OBJECT_NOT_FOUND)?
        }
        DataObject::Maker(_) if chip.maker_data.is_empty() => return Err(StatusWord::CLASS_NOT_SUPPORTED),
        DataObject::Maker(tag) => {
            let data = chip.maker_data.iter().find(|(known, _)| *known == tag);
            data.map(|(_, value)| value.to_vec()).ok_or(StatusWord::OBJECT_NOT_FOUND)?
        }
    };
    Ok(data.into())
}
