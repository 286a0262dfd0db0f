//! The card's public files as data objects (PKCS#11 v3.2 §4.5).

use cns_protocol::card::Card;
use cryptoki_sys as ck;

use super::{Key, Object, Table};

/// What `CKA_APPLICATION` says: the specification that the files follow.
const APPLICATION: &str = "CNS";

/// The objects of a card's files. The file with the holder's data can be read without a PIN by whoever has the card in
/// a reader, but a program that only lists tokens has no business with it: it is a private object.
pub(super) fn objects(card: &Card) -> Vec<Object> {
    let mut objects = vec![object("EF_ID_Carta", card.serial.as_bytes(), false)];
    if !card.personal_data.is_empty() {
        objects.push(object("EF_Dati_personali", &card.personal_data, true));
    }
    objects
}

pub(super) fn object(file: &str, content: &[u8], is_private: bool) -> Object {
    let mut table = Table::start(ck::CKO_DATA, file, &format!("{}-{file}", ck::CKO_DATA));
    table.flag(ck::CKA_PRIVATE, is_private);
    table.bytes(ck::CKA_APPLICATION, APPLICATION.as_bytes());
    table.bytes(ck::CKA_OBJECT_ID, b"");
    table.bytes(ck::CKA_VALUE, content);
    table.finish(Key::None)
}
