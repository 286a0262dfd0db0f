//! Whatever the bytes, no parser panics, and what it accepts it writes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cns_apdu::access::AccessConditions;
use cns_apdu::atr::Atr;
use cns_apdu::chaining::Assembler;
use cns_apdu::command::{ReferenceData, SelectFile};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::generation::rank;
use cns_apdu::id_card::{IdCard, luhn};
use cns_apdu::object::{rsa_component, rsa_component_value};
use cns_apdu::personal_data::PersonalData;
use cns_apdu::public_key::PublicKey;
use cns_apdu::tlv::{self, Lengths};
use cns_apdu::{CardCommand, Command, CommandApdu, Form, ResponseApdu, StatusWord};
use cns_secret::Secret;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};

/// Bytes that look like commands often enough to reach every decoder.
fn command_like() -> impl Strategy<Value = Vec<u8>> {
    let class = prop_oneof![8 => Just(0x00u8), 1 => select(vec![0x0C, 0x10, 0x80, 0x90]), 1 => any::<u8>()];
    let instructions = vec![
        0x04, 0x20, 0x22, 0x24, 0x2A, 0x2C, 0x44, 0x46, 0x82, 0x84, 0x86, 0x88, 0xA4, 0xB0, 0xB2, 0xC0, 0xCA,
        0xD6, 0xDA, 0xDC, 0xE0, 0xE2, 0xE4,
    ];
    let parameter = || {
        let known = vec![
            0x00, 0x01, 0x03, 0x04, 0x08, 0x0C, 0x6D, 0x6E, 0x6F, 0x80, 0x86, 0x90, 0x9A, 0x9E, 0xB8, 0xF1,
        ];
        prop_oneof![select(known), any::<u8>()]
    };
    let body = prop_oneof![vec(any::<u8>(), 0..40), tlv_like()];
    (class, select(instructions), parameter(), parameter(), body, any::<bool>()).prop_map(
        |(cla, ins, p1, p2, body, le)| {
            let mut bytes = vec![cla, ins, p1, p2];
            if let Some(lc) = u8::try_from(body.len()).ok().filter(|lc| *lc > 0) {
                bytes.push(lc);
                bytes.extend(body);
            }
            if le {
                bytes.push(0x00);
            }
            bytes
        },
    )
}

/// Bytes that look like a list of TLV objects, sometimes inside a template.
fn tlv_like() -> impl Strategy<Value = Vec<u8>> {
    let tags = vec![0x80u8, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8A, 0x8B, 0x8F, 0xCB, 0xA1, 0x5F];
    let object =
        (select(tags), vec(any::<u8>(), 0..20), any::<u8>(), 0..20u8).prop_map(|(tag, value, odd, dice)| {
            let length = if dice == 0 { odd } else { u8::try_from(value.len()).unwrap() };
            [vec![tag, length], value].concat()
        });
    (vec(object, 0..8), select(vec![None, Some(0x62u32), Some(0x6F), Some(0x7F49)])).prop_map(
        |(objects, template)| {
            let objects = objects.concat();
            template.map_or(objects.clone(), |tag| tlv::encode(tag, &objects))
        },
    )
}

proptest! {
    #[test]
    fn parsers_take_any_bytes(bytes in vec(any::<u8>(), 0..600)) {
        // Only that they return is asked here.
        _ = CommandApdu::parse(&bytes).map(|apdu| Command::decode(&apdu).map(|command| command.name()));
        _ = ResponseApdu::parse(&bytes).map(|response| response.status().meaning());
        _ = tlv::parse(&bytes);
        _ = tlv::elements(&bytes, Lengths::Ber).map(|list| list.len());
        _ = tlv::elements(&bytes, Lengths::OneByte).map(|list| list.len());
        _ = FileControlInformation::decode(&bytes);
        _ = PersonalData::decode(&bytes);
        _ = PublicKey::decode(&bytes);
        _ = PublicKey::decode_records(&bytes, &bytes);
        _ = IdCard::parse(&bytes);
        _ = luhn(&bytes);
        _ = Atr::parse(&bytes).map(|atr| (atr.historical().len(), atr.has_valid_check_byte()));
        _ = AccessConditions::from_bytes(&bytes);
        _ = rsa_component_value(&bytes).map(<[u8]>::len);
        prop_assert_eq!(rank(&bytes).len(), rank(&[]).len());
    }

    #[test]
    fn parsers_take_bytes_that_look_right(bytes in tlv_like()) {
        _ = tlv::parse(&bytes);
        _ = FileControlInformation::decode(&bytes);
        _ = PublicKey::decode(&bytes);
        let answer = ResponseApdu::new(bytes, StatusWord::SUCCESS);
        _ = SelectFile::master_file().decode_answer(answer);
    }

    #[test]
    fn a_command_is_written_as_it_was_read(bytes in prop_oneof![vec(any::<u8>(), 4..300), command_like()]) {
        if let Ok(apdu) = CommandApdu::parse(&bytes) {
            let written = apdu.to_bytes(Form::of(&bytes)).unwrap();
            prop_assert_eq!(written.expose(), bytes.as_slice());
        }
    }

    #[test]
    fn what_is_decoded_encodes_to_something_that_decodes_alike(bytes in command_like()) {
        let Ok(apdu) = CommandApdu::parse(&bytes) else { return Ok(()) };
        let Ok(command) = Command::decode(&apdu) else { return Ok(()) };
        let once = command.encode().unwrap();
        let again = Command::decode(&once);
        prop_assert!(again.is_ok(), "{}: its own encoding is refused", command.name());
        let twice = again.ok().unwrap().encode().unwrap();
        let form = if once.fits_short() { Form::Short } else { Form::Extended };
        let (once, twice) = (once.to_bytes(form).unwrap(), twice.to_bytes(form).unwrap());
        prop_assert_eq!(once.expose(), twice.expose());
    }

    #[test]
    fn refusals_are_of_the_decoder(bytes in command_like()) {
        let Ok(apdu) = CommandApdu::parse(&bytes) else { return Ok(()) };
        if let Err(status) = Command::decode(&apdu) {
            let known = [0x6700, 0x6882, 0x6A80, 0x6A85, 0x6A86, 0x6A88, 0x6D00, 0x6E00];
            prop_assert!(known.contains(&status.0), "{status}");
        }
    }

    #[test]
    fn extended_commands_round_trip(data in vec(any::<u8>(), 0..2000), le in 0u32..=65_536) {
        let apdu = CommandApdu::new(0xD6, 0x00, 0x00).plain(data);
        let apdu = if le > 0 { apdu.expecting(le) } else { apdu };
        let bytes = apdu.to_bytes(Form::Extended).unwrap();
        let read = CommandApdu::parse(bytes.expose()).unwrap();
        prop_assert_eq!(read.data.as_bytes(), apdu.data.as_bytes());
        // Without data and Le the two forms are the same four bytes.
        prop_assert_eq!(read.le, apdu.le);
    }

    #[test]
    fn a_chain_never_grows_without_bound(parts in vec(vec(any::<u8>(), 1..255), 1..40)) {
        let mut assembler = Assembler::default();
        let mut held = 0;
        for part in parts {
            held += part.len();
            let apdu = CommandApdu::new(0x2A, 0x80, 0x86).class(0x10).plain(part);
            if assembler.push(apdu).is_err() {
                prop_assert!(held > 4096);
                held = 0;
            }
            prop_assert!(held <= 4096);
        }
    }

    #[test]
    fn reference_data_is_padded_digits(digits in "[0-9]{0,10}") {
        let secret = Secret::copy_from(digits.as_bytes()).unwrap();
        match ReferenceData::from_digits(&secret) {
            Ok(value) => {
                prop_assert!((5..=8).contains(&digits.len()));
                prop_assert_eq!(value.unpadded_length(), digits.len());
                prop_assert!(value.expose().starts_with(digits.as_bytes()));
            }
            Err(_) => prop_assert!(!(5..=8).contains(&digits.len())),
        }
    }

    #[test]
    fn public_keys_round_trip(modulus in vec(any::<u8>(), 64..=300), exponent in vec(any::<u8>(), 1..=8)) {
        let Ok(key) = PublicKey::new(&modulus, &exponent) else { return Ok(()) };
        prop_assert_eq!(&PublicKey::decode(&key.encode()).unwrap(), &key);
        let [first, second] = key.encode_records().unwrap();
        prop_assert_eq!(&PublicKey::decode_records(&first, &second).unwrap(), &key);
    }

    #[test]
    fn key_components_round_trip(value in vec(any::<u8>(), 1..600)) {
        let body = rsa_component(&value).unwrap();
        prop_assert_eq!(rsa_component_value(body.expose()), Some(value.as_slice()));
    }
}
