//! Secure messaging: the reference's bytes in both directions, and what is missing, wrong or hostile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cns_apdu::chaining::{Assembled, Assembler, is_part, split};
use cns_apdu::command::{
    CardCommand, Command, PinReference, ReadBinary, ReferenceData, UpdateBinary, Verify,
};
use cns_apdu::object::ObjectId;
use cns_apdu::secure_messaging::{
    Conditions, Exchange, Keys, LONGEST, Nonce, Protection, SecureMessagingError, is_secure, plain_class,
};
use cns_apdu::{ApduError, CommandApdu, Form, StatusWord};
use cns_secret::Secret;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

const CHALLENGE: Nonce = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
const RANDOM: Nonce = [0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];
const ALL: [Protection; 4] = [Protection::NONE, Protection::SIGNED, Protection::ENCRYPTED, Protection::BOTH];

fn key() -> Secret {
    Secret::copy_from(&bytes("01 23 45 67 89 AB CD EF FE DC BA 98 76 54 32 10")).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    cns_test_vectors::bytes(text).unwrap()
}

fn keys(key: &Secret, protection: Protection) -> Keys<'_> {
    Keys { encryption: protection.encrypted.then_some(key), signature: protection.signed.then_some(key) }
}

fn exchange(key: &Secret, command: Protection, response: Protection) -> Exchange<'_> {
    Exchange {
        command: keys(key, command),
        response: keys(key, response),
        challenge: Some(CHALLENGE),
        random: Some(RANDOM),
    }
}

fn verify() -> CommandApdu {
    let value = ReferenceData::from_digits(&Secret::copy_from(b"54321").unwrap()).unwrap();
    let reference = PinReference::local(ObjectId::SIGNATURE_PIN);
    Verify { reference, value: Some(value) }.encode().unwrap()
}

fn short(apdu: &CommandApdu) -> Vec<u8> {
    apdu.to_bytes(Form::Short).unwrap().expose().to_vec()
}

/// Every protected VERIFY of the reference, written and read back.
#[test]
fn commands_are_those_of_the_reference() {
    let key = key();
    let mut seen = 0;
    for vector in cns_test_vectors::exchanges("secure_messaging").unwrap() {
        if vector.source != "cns-card §12.1, option fixed-random" {
            continue;
        }
        let protection =
            Protection { encrypted: vector.name.contains("ENC"), signed: vector.name.contains("SIG") };
        let exchange = exchange(&key, protection, Protection::NONE);
        assert_eq!(short(&exchange.wrap_command(&verify()).unwrap()), vector.command, "{}", vector.name);
        let received = CommandApdu::parse(&vector.command).unwrap();
        let plain = exchange.unwrap_command(&received).unwrap();
        assert_eq!(short(&plain), short(&verify()), "{}", vector.name);
        assert_eq!(Command::decode(&plain).map_err(drop).unwrap().name(), "VERIFY");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn the_response_is_that_of_the_reference() {
    let key = key();
    let exchange = exchange(&key, Protection::NONE, Protection::BOTH);
    let all = cns_test_vectors::exchanges("secure_messaging").unwrap();
    let vector =
        all.iter().find(|one| one.source == "cns-card §12.1, option fixed-random; response").unwrap();
    let data = vector.response.as_ref().unwrap().strip_suffix(&[0x90, 0x00]).unwrap();
    let header = [0x0C, 0xB0, 0x00, 0x00];
    assert_eq!(exchange.wrap_response(header, b"CNS-TEST").unwrap(), data);
    assert_eq!(exchange.unwrap_response(header, data).unwrap().expose(), b"CNS-TEST");
    // The answer to another command, or to the same one asked with another number, is not believed.
    let other = exchange.unwrap_response([0x0C, 0xB0, 0x00, 0x08], data);
    assert!(matches!(other, Err(SecureMessagingError::Mac)));
    let later = Exchange { random: Some(CHALLENGE), ..exchange }.unwrap_response(header, data);
    assert!(matches!(later, Err(SecureMessagingError::Mac)));
}

#[test]
fn the_status_word_says_what_is_wrong() {
    let key = key();
    let signed_cipher = exchange(&key, Protection::BOTH, Protection::NONE);
    let cases = [
        // As it should be, but for one bit of the cryptogram, of the MAC, of the header.
        (
            "0C 20 00 9A 1D 87 11 01 D1 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22 8E 08 2F F4 ED F1 D6 C6 35 2F",
            0x6988,
        ),
        (
            "0C 20 00 9A 1D 87 11 01 D0 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22 8E 08 2F F4 ED F1 D6 C6 35 2E",
            0x6988,
        ),
        (
            "0C 20 00 9B 1D 87 11 01 D0 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22 8E 08 2F F4 ED F1 D6 C6 35 2F",
            0x6988,
        ),
        // Without the MAC; with the data in clear; with no object at all.
        ("0C 20 00 9A 13 87 11 01 D0 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22", 0x6987),
        ("0C 20 00 9A 14 81 08 35 34 33 32 31 FF FF FF 8E 08 82 F6 B8 7C FF 5C FC 5D", 0x6987),
        ("0C 20 00 9A", 0x6987),
        // No TLV; an object twice; another object; a MAC of four bytes; another padding indicator.
        ("0C 20 00 9A 08 35 34 33 32 31 FF FF FF", 0x6988),
        ("0C 20 00 9A 14 8E 08 2F F4 ED F1 D6 C6 35 2F 8E 08 2F F4 ED F1 D6 C6 35 2F", 0x6988),
        ("0C 20 00 9A 0D 85 01 00 8E 08 2F F4 ED F1 D6 C6 35 2F", 0x6988),
        ("0C 20 00 9A 06 8E 04 2F F4 ED F1", 0x6988),
        (
            "0C 20 00 9A 1D 87 11 02 D0 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22 8E 08 2F F4 ED F1 D6 C6 35 2F",
            0x6988,
        ),
        // What the MAC must cover comes after it.
        (
            "0C 20 00 9A 1D 8E 08 2F F4 ED F1 D6 C6 35 2F 87 11 01 D0 29 38 E1 AD 5C 5F 34 B8 00 DF 02 28 CA 23 22",
            0x6988,
        ),
    ];
    for (command, status) in cases {
        let received = CommandApdu::parse(&bytes(command)).unwrap();
        let error = signed_cipher.unwrap_command(&received).err().unwrap();
        assert_eq!(error.status(), StatusWord(status), "{command}: {error}");
    }
    let good = signed_cipher.wrap_command(&verify()).unwrap();
    let without = Exchange { challenge: None, ..signed_cipher };
    assert_eq!(without.unwrap_command(&good).err().unwrap().status(), StatusWord::CONDITIONS_NOT_SATISFIED);
    let other = Exchange { challenge: Some(RANDOM), ..signed_cipher };
    assert!(matches!(other.unwrap_command(&good), Err(SecureMessagingError::Mac)));
    // Protection that is not demanded is not taken either: it would go unchecked.
    for less in [Protection::NONE, Protection::SIGNED, Protection::ENCRYPTED] {
        assert!(exchange(&key, less, Protection::NONE).unwrap_command(&good).is_err(), "{less:?}");
    }
    let short_key = Secret::zeroed(5).unwrap();
    let unusable = exchange(&short_key, Protection::BOTH, Protection::NONE);
    assert_eq!(unusable.unwrap_command(&good).err().unwrap().status(), StatusWord::INVALID_OBJECT);
}

#[test]
fn an_expected_length_travels_authenticated_or_not() {
    let key = key();
    let exchange = exchange(&key, Protection::SIGNED, Protection::BOTH);
    let wrapped = exchange.wrap_command(&ReadBinary { offset: 0, length: 16 }.encode().unwrap()).unwrap();
    assert!(wrapped.data.as_bytes().ends_with(&[0x96, 0x01, 0x10]));
    assert_eq!(wrapped.le, Some(256), "the response has more than 16 bytes");
    assert_eq!(exchange.unwrap_command(&wrapped).unwrap().le, Some(16));
    for (le, outer) in [(239, 256), (240, 65_536), (256, 65_536), (1000, 65_536)] {
        let command = ReadBinary { offset: 0, length: le }.encode().unwrap();
        let wrapped = exchange.wrap_command(&command).unwrap();
        assert_eq!(wrapped.le, Some(outer), "{le}");
        assert_eq!(exchange.unwrap_command(&wrapped).unwrap().le, Some(le));
    }
    // 97 is in the MAC: taken from the bytes that were authenticated, and refused when they were not.
    let encrypted = Exchange { command: Keys::default(), ..exchange };
    let command = CommandApdu::parse(&bytes("0C B0 00 00 03 97 01 08 00")).unwrap();
    assert_eq!(encrypted.unwrap_command(&command).unwrap().le, Some(8));
    assert!(exchange.unwrap_command(&command).is_err());
}

#[test]
fn a_success_without_its_mac_is_not_believed() {
    let key = key();
    let exchange = exchange(&key, Protection::BOTH, Protection::BOTH);
    let header = [0x0C, 0xB0, 0x00, 0x00];
    for (data, missing) in [("", "MAC"), ("81 01 AA", "MAC"), ("99 02 90 00", "")] {
        match exchange.unwrap_response(header, &bytes(data)) {
            Err(SecureMessagingError::Missing(what)) => assert_eq!(what, missing, "{data}"),
            Err(SecureMessagingError::Wrong(_)) => assert_eq!(missing, "", "{data}"),
            other => panic!("{data}: {:?}", other.err()),
        }
    }
    let mac_alone = exchange.wrap_response(header, &[]).unwrap();
    assert_eq!(mac_alone.len(), 10);
    assert!(exchange.unwrap_response(header, &mac_alone).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_sent() {
    let key = key();
    let exchange = exchange(&key, Protection::BOTH, Protection::BOTH);
    let command = UpdateBinary { offset: 0, data: vec![0; LONGEST] }.encode().unwrap();
    assert!(matches!(exchange.wrap_command(&command), Err(SecureMessagingError::TooLong(LONGEST))));
    let header = [0x0C, 0xB0, 0x00, 0x00];
    assert!(matches!(
        exchange.wrap_response(header, &vec![0; LONGEST]),
        Err(SecureMessagingError::TooLong(_))
    ));
    let huge = vec![0x81; LONGEST + 1];
    assert!(matches!(exchange.unwrap_response(header, &huge), Err(SecureMessagingError::Tlv(_))));
}

#[test]
fn conditions_name_their_keys_by_place() {
    let mut bytes = [0xFF; 24];
    bytes[2] = 0x06;
    bytes[3] = 0x07;
    bytes[23] = 0x00;
    let conditions = Conditions(&bytes);
    assert_eq!((conditions.at(2).encryption, conditions.at(2).signature), (Some(6), Some(7)));
    assert!(conditions.at(0).are_none() && conditions.at(100).are_none());
    assert_eq!(conditions.at(22).signature, Some(0), "00 is demanded and can never be met");
}

proptest! {
    #[test]
    fn what_is_wrapped_is_unwrapped(
        cla in select(vec![0x00u8, 0x90]), header in any::<[u8; 3]>(), data in vec(any::<u8>(), 0..1000),
        le in proptest::option::of(1u32..65_537), command in select(&ALL[..]), response in select(&ALL[..]),
        seed in any::<[u8; 24]>(), length in select(vec![8usize, 16, 24]), challenge in any::<Nonce>(),
    ) {
        let key = Secret::copy_from(&seed[..length]).unwrap();
        let exchange = Exchange { challenge: Some(challenge), ..exchange(&key, command, response) };
        let [ins, p1, p2] = header;
        let plain = CommandApdu { le, ..CommandApdu::new(ins, p1, p2) }.class(cla);
        let plain = plain.sensitive(Secret::copy_from(&data).unwrap());
        let wrapped = exchange.wrap_command(&plain).unwrap();
        prop_assert!(is_secure(wrapped.cla) && plain_class(wrapped.cla) == cla);
        let sent = wrapped.to_bytes(Form::Extended).unwrap();
        let back = exchange.unwrap_command(&CommandApdu::parse(sent.expose()).unwrap()).unwrap();
        prop_assert_eq!((back.cla, back.ins, back.p1, back.p2, back.le), (cla, ins, p1, p2, le));
        prop_assert_eq!(back.data.as_bytes(), &data[..]);
        if command.encrypted && data.len() >= 8 {
            prop_assert!(!sent.expose().windows(data.len()).any(|window| window == data));
        }
        let answer = exchange.wrap_response([cla, ins, p1, p2], &data).unwrap();
        let opened = exchange.unwrap_response([cla, ins, p1, p2], &answer).unwrap();
        prop_assert_eq!(opened.expose(), &data[..]);
        prop_assert!(data.len() <= response.most_data(answer.len() + 16));
    }

    #[test]
    fn what_fits_fits(room in 16usize..5000, response in select(&ALL[1..])) {
        let key = key();
        let exchange = exchange(&key, Protection::NONE, response);
        let data = vec![0xA5; response.most_data(room)];
        let answer = exchange.wrap_response([0x0C, 0xB0, 0, 0], &data).unwrap();
        prop_assert!(answer.len() <= room, "{} in {room}", answer.len());
    }

    #[test]
    fn one_changed_bit_is_noticed(
        data in vec(any::<u8>(), 1..60), place in any::<usize>(), bit in 0..8u8,
        protection in select(vec![Protection::SIGNED, Protection::BOTH]),
    ) {
        let key = key();
        let exchange = exchange(&key, protection, protection);
        let header = [0x0C, 0xB0, 0x00, 0x00];
        let mut answer = exchange.wrap_response(header, &data).unwrap();
        let place = place % answer.len();
        answer[place] ^= 1 << bit;
        prop_assert!(exchange.unwrap_response(header, &answer).is_err());
    }

    #[test]
    fn any_bytes_are_refused_or_opened(
        bytes in vec(any::<u8>(), 0..300), header in any::<[u8; 4]>(), command in select(&ALL[..]),
    ) {
        let key = key();
        let exchange = exchange(&key, command, command);
        let opened = exchange.unwrap_response(header, &bytes);
        prop_assert!(command == Protection::NONE || opened.map_or(true, |data| data.len() <= bytes.len()));
        let [cla, ins, p1, p2] = header;
        let apdu = CommandApdu::new(ins, p1, p2).class(cla).plain(bytes);
        _ = exchange.unwrap_command(&apdu);
    }

    #[test]
    fn objects_that_look_right_are_refused_or_opened(
        objects in vec((select(vec![0x81u8, 0x87, 0x8E, 0x96, 0x97, 0x99]), vec(any::<u8>(), 0..20)), 0..6),
        command in select(&ALL[..]),
    ) {
        let key = key();
        let exchange = exchange(&key, command, command);
        let bytes: Vec<u8> =
            objects.into_iter().flat_map(|(tag, value)| cns_apdu::tlv::encode(tag.into(), &value)).collect();
        if let Ok(data) = exchange.unwrap_response([0x0C, 0xB0, 0, 0], &bytes) {
            // Nobody guesses a MAC.
            prop_assert!(!command.signed);
            prop_assert!(data.len() <= bytes.len());
        }
    }
}

#[test]
fn a_protected_command_is_chained_as_a_whole() {
    let key = key();
    let exchange = exchange(&key, Protection::BOTH, Protection::NONE);
    let command = UpdateBinary { offset: 0x0102, data: vec![0x5A; 600] }.encode().unwrap();
    let wrapped = exchange.wrap_command(&command).unwrap();
    let parts = split(&wrapped, 255).unwrap();
    assert_eq!(parts.iter().map(|part| part.cla).collect::<Vec<_>>(), [0x1C, 0x1C, 0x0C]);
    let together = |parts: Vec<CommandApdu>| {
        let mut assembler = Assembler::default();
        parts.into_iter().fold(None, |_, part| match assembler.push(part).unwrap() {
            Assembled::Partial => None,
            Assembled::Whole(command) => Some(command),
        })
    };
    let whole = together(parts).unwrap();
    assert_eq!((whole.cla, whole.data.len()), (0x0C, wrapped.data.len()));
    assert_eq!(exchange.unwrap_command(&whole).unwrap().data.as_bytes(), [0x5A; 600]);
    // A plain part does not continue a protected one, nor the other way round: what came before is dropped.
    for (first, second) in [(0x10, 0x0C), (0x1C, 0x00)] {
        let part = |cla, byte| CommandApdu::new(0xD6, 0, 0).class(cla).plain(vec![byte; 4]);
        assert_eq!(together(vec![part(first, 1), part(second, 2)]).unwrap().data.as_bytes(), [2; 4]);
    }
    // Classes of which no command is chained, one of them secure.
    for class in [0x80, 0x90, 0x9C, 0x8C] {
        assert!(!is_part(class) && split(&CommandApdu::new(0x24, 0, 0).class(class), 255).is_err());
    }
}

/// The error of a chain is the channel's, not a protected command's.
#[test]
fn a_command_beyond_the_form_is_an_error_of_the_form() {
    let key = key();
    let exchange = exchange(&key, Protection::BOTH, Protection::NONE);
    let command = UpdateBinary { offset: 0, data: vec![0; 250] }.encode().unwrap();
    let wrapped = exchange.wrap_command(&command).unwrap();
    assert!(matches!(wrapped.to_bytes(Form::Short), Err(ApduError::DataTooLong(_))));
    assert!(wrapped.to_bytes(Form::Extended).is_ok());
}
