//! The structures of PC/SC part 10, against bytes written down by hand from the specification's tables.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may")]

use cns_apdu::command::PinReference;
use cns_apdu::object::ObjectId;
use cns_apdu::pin_pad::{
    BlockFormat, Coding, Features, GET_FEATURE_REQUEST_PCSC_LITE, Justify, LONGEST_LIST, PinModify,
    PinPadError, PinProperties, PinVerify, TlvProperties, feature, validation,
};
use proptest::prelude::*;

fn pin() -> PinReference {
    PinReference::local(ObjectId::CNS_PIN)
}

#[test]
fn the_order_to_verify_is_as_the_table_says() {
    let order = PinVerify::cns(pin(), 30, validation::KEY);
    let bytes = order.encode().unwrap();
    let expected = [
        &[0x1E, 0x1E, 0x82, 0x08, 0x00, 0x08, 0x05, 0x02, 0x01, 0x10, 0x04, 0x00, 0, 0, 0][..],
        &[13, 0, 0, 0],
        &[0x00, 0x20, 0x00, 0x90, 0x08],
        &[0xFF; 8],
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(PinVerify::decode(&bytes).unwrap(), order);
}

#[test]
fn the_orders_to_change_and_to_unblock_are_as_the_table_says() {
    for (order, instruction) in [
        (PinModify::change(pin(), 30, validation::KEY), 0x24),
        (PinModify::reset(pin(), 30, validation::KEY), 0x2C),
    ] {
        let bytes = order.encode().unwrap();
        let expected = [
            &[0x1E, 0x1E, 0x82, 0x08, 0x00, 0x00, 0x08, 0x08, 0x05, 0x03, 0x02, 0x03][..],
            &[0x10, 0x04, 0, 1, 2, 0, 0, 0],
            &[21, 0, 0, 0],
            &[0x00, instruction, 0x00, 0x90, 0x10],
            &[0xFF; 16],
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(PinModify::decode(&bytes).unwrap(), order);
    }
}

#[test]
fn a_format_is_told_in_bits_or_in_bytes() {
    let cns = BlockFormat::CNS;
    assert_eq!((cns.coding(), cns.justify(), cns.offset()), (Coding::Ascii, Justify::Left, Some(0)));
    assert_eq!((cns.block_length(), cns.writes_length()), (8, false));
    let bits = BlockFormat { format: 0b0100_0101, block: 0x48, length: 0 };
    assert_eq!((bits.coding(), bits.justify(), bits.offset()), (Coding::Bcd, Justify::Right, Some(1)));
    assert!(bits.writes_length());
    assert_eq!(BlockFormat { format: 0b0000_1000, ..cns }.offset(), None);
    assert_eq!(BlockFormat { format: 0b1001_1000, ..cns }.offset(), Some(3));
}

#[test]
fn features_are_big_endian_and_whole() {
    assert_eq!(GET_FEATURE_REQUEST_PCSC_LITE, 0x4200_0D48);
    let bytes = [0x06, 4, 0x42, 0x33, 0x00, 0x06, 0x07, 4, 0, 0, 0, 0];
    let features = Features::decode(&bytes).unwrap();
    assert_eq!(features.code(feature::VERIFY_PIN_DIRECT), Some(0x4233_0006));
    assert_eq!(features.code(feature::MODIFY_PIN_DIRECT), Some(0));
    assert_eq!(features.code(feature::IFD_PIN_PROPERTIES), None);
    assert_eq!(Features::encode(&[(6, 0x4233_0006), (7, 0)]), bytes);
    for (bytes, error) in [
        (&[0x06][..], PinPadError::Length),
        (&[0x06, 4, 1, 2, 3], PinPadError::Length),
        (&[0x06, 2, 1, 2], PinPadError::Length),
        (&[0x06, 4, 0, 0, 0, 1, 0x06, 4, 0, 0, 0, 2], PinPadError::Twice(6)),
        (&[0; LONGEST_LIST + 1], PinPadError::TooLong),
    ] {
        assert_eq!(Features::decode(bytes), Err(error));
    }
    assert_eq!(Features::decode(&[]), Ok(Features::default()));
}

#[test]
fn properties_are_little_endian_and_whole() {
    let bytes = [
        1, 2, 0x0A, 0, 2, 1, 7, 6, 1, 4, 7, 1, 8, 8, 3, b'1', b'.', b'0', 0x0B, 2, 0xDD, 0x25, 0x0C, 2, 0x11,
        0x31,
    ];
    let properties = TlvProperties::decode(&bytes).unwrap();
    let expected = TlvProperties {
        validation: Some(7),
        min_pin: Some(4),
        max_pin: Some(8),
        vendor: Some(0x25DD),
        product: Some(0x3111),
    };
    assert_eq!(properties, expected);
    assert_eq!(TlvProperties::decode(&expected.encode()), Ok(expected));
    assert_eq!(TlvProperties::decode(&[6, 2, 0, 0]), Err(PinPadError::Length));
    assert_eq!(TlvProperties::decode(&[6, 1, 0, 6, 1, 0]), Err(PinPadError::Twice(6)));
    let keypad = PinProperties { display: 0x0210, validation: 7, timeout_after_first_key: 1 };
    assert_eq!(keypad.encode(), [0x10, 0x02, 7, 1]);
    assert_eq!(PinProperties::decode(&keypad.encode()), Ok(keypad));
    assert_eq!(PinProperties::decode(&[0; 3]), Err(PinPadError::Length));
}

#[test]
fn an_order_of_another_length_is_none() {
    let whole = PinVerify::cns(pin(), 30, 2).encode().unwrap();
    let modify = PinModify::change(pin(), 30, 2).encode().unwrap();
    for cut in 0..whole.len() {
        assert_eq!(PinVerify::decode(&whole[..cut]), Err(PinPadError::Length));
    }
    for cut in 0..modify.len() {
        assert_eq!(PinModify::decode(&modify[..cut]), Err(PinPadError::Length));
    }
    assert_eq!(PinVerify::decode(&[&whole[..], &[0]].concat()), Err(PinPadError::Length));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(properties) = TlvProperties::decode(&bytes) {
            prop_assert_eq!(TlvProperties::decode(&properties.encode()), Ok(properties));
        }
        if let Ok(order) = PinVerify::decode(&bytes) {
            prop_assert_eq!(PinVerify::decode(&order.encode().unwrap()), Ok(order));
        }
        if let Ok(features) = Features::decode(&bytes) {
            let tags: Vec<u8> = (0..=255).filter(|tag| features.code(*tag).is_some()).collect();
            prop_assert_eq!(tags.len() * 6, bytes.len());
        }
    }
}
