//! BER-TLV: depth and length are bounded, and what was decoded decodes alike when written again.

use cns_apdu::tlv::{self, Lengths, MAX_DEPTH, MAX_LENGTH};
use iso7816_tlv::ber::{Tlv, Value};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(object) = tlv::parse(bytes) {
        assert!(bytes.len() <= MAX_LENGTH);
        assert!(depth(&object) <= MAX_DEPTH);
        assert_eq!(tlv::parse(&written(&object)).expect("what was written is TLV"), object);
    }
    if let Ok(elements) = tlv::elements(bytes, Lengths::Ber) {
        let written: Vec<u8> =
            elements.iter().flat_map(|element| tlv::encode(element.tag, element.value)).collect();
        // The shortest length that says it may be shorter than the one that was read.
        assert!(written.len() <= bytes.len());
        let again = tlv::elements(&written, Lengths::Ber).expect("what was written is a list");
        assert!(again == elements);
    }
    if let Ok(elements) = tlv::elements(bytes, Lengths::OneByte) {
        let inside: usize = elements.iter().map(|element| element.value.len() + 2).sum();
        assert!(inside <= bytes.len());
    }
}

/// Levels of constructed objects.
fn depth(object: &Tlv) -> usize {
    let constructed = usize::from(object.tag().is_constructed());
    constructed + tlv::children(object).iter().map(depth).max().unwrap_or_default()
}

/// The object as this project writes it: `Tlv::to_vec` of the library contradicts itself around a value of 127 bytes.
fn written(object: &Tlv) -> Vec<u8> {
    let tag: u64 = object.tag().clone().into();
    let value = match object.value() {
        Value::Primitive(value) => value.clone(),
        Value::Constructed(children) => children.iter().flat_map(written).collect(),
    };
    tlv::encode(u32::try_from(tag).expect("a tag has three bytes at most"), &value)
}
