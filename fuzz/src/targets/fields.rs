//! The small things that a card says: answer to reset, card number, public keys, access conditions, status words.

use cns_apdu::ResponseApdu;
use cns_apdu::access::AccessConditions;
use cns_apdu::atr::Atr;
use cns_apdu::generation::{TABLE, rank};
use cns_apdu::id_card::IdCard;
use cns_apdu::object::{ObjectAttributes, rsa_component, rsa_component_value};
use cns_apdu::public_key::PublicKey;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(atr) = Atr::parse(bytes) {
        assert!(atr.historical().len() <= 15);
    }
    // The answer to reset gives an order, never fewer candidates.
    assert_eq!(rank(bytes).len(), TABLE.len());
    if let Ok(number) = IdCard::parse(bytes) {
        assert!(number.as_str().chars().all(|character| character.is_ascii_graphic()));
    }
    for key in [PublicKey::decode(bytes), records(bytes)].into_iter().flatten() {
        assert!((64..=512).contains(&key.modulus().len()));
        assert!(PublicKey::decode(&key.encode()).is_ok_and(|again| again == key));
    }
    if let Some(value) = rsa_component_value(bytes) {
        assert_eq!(rsa_component(value).expect("locked memory").expose(), bytes);
    }
    if let Ok(response) = ResponseApdu::parse(bytes) {
        assert_eq!(response.to_bytes(), bytes);
    }
    if let Some(attributes) = bytes.first_chunk::<8>() {
        assert_eq!(ObjectAttributes::from_bytes(*attributes).to_bytes(), *attributes);
    }
    _ = AccessConditions::from_bytes(bytes);
}

/// The two records of a key, the first as long as the first byte says.
fn records(bytes: &[u8]) -> Result<PublicKey, cns_apdu::ApduError> {
    let (length, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (modulus, exponent) = rest.split_at(usize::from(*length).min(rest.len()));
    PublicKey::decode_records(modulus, exponent)
}
