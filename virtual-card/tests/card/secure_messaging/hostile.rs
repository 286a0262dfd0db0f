//! Wrong, replayed, forged and senseless messages: nothing is done on them, and nothing in them is believed.

use std::convert::Infallible;

use cns_apdu::generation::ST_2021;
use cns_apdu::secure_messaging::{
    Protection, Protections, SecureError, SecureMessagingError, SecureTransport,
};
use cns_apdu::transmit::{Channel, TransmitError, Transport};
use cns_apdu::{CommandApdu, StatusWord};
use cns_virtual_card::VirtualCard;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{local_keys, protected_verify, rule, tries_left, with_a_pin};
use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, bytes, run, send};

#[test]
fn a_wrong_mac_changes_nothing() {
    let mut card = with_a_pin();
    for place in 5..35 {
        let mut command = protected_verify(&mut card, b"99999");
        assert_eq!(command.len(), 34);
        let last = command.len() - 1;
        command[place.min(last)] ^= 0x01;
        assert_eq!(hex::encode(card.transmit(&command)), "6988", "byte {place}");
    }
    let (mut card, status) = tries_left(card);
    assert_eq!(status, StatusWord::retries_left(3), "no try was taken");
    let wrong = protected_verify(&mut card, b"99999");
    assert_eq!(hex::encode(card.transmit(&wrong)), "63c2", "a wrong PIN under a right MAC takes one");
    let right = protected_verify(&mut card, b"54321");
    assert_eq!(hex::encode(card.transmit(&right)), "9000");
    assert_eq!(tries_left(card).1, StatusWord::SUCCESS);
}

#[test]
fn a_replay_is_refused() {
    let mut card = with_a_pin();
    let command = protected_verify(&mut card, b"54321");
    assert_eq!(hex::encode(card.transmit(&command)), "9000");
    assert_eq!(hex::encode(card.transmit(&command)), "6985", "its challenge is spent");
    send(&mut card, "0084000008");
    assert_eq!(hex::encode(card.transmit(&command)), "6988", "another challenge is another MAC");
    card.reset();
    send(&mut card, SELECT_SIGNATURE_DF);
    assert_eq!(hex::encode(card.transmit(&command)), "6985", "a reset ends every challenge");
}

#[test]
fn a_response_that_was_tampered_with_is_not_believed() {
    struct Tampering(VirtualCard);
    impl Transport for Tampering {
        type Error = Infallible;
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
            let mut response = self.0.transmit(command);
            if command[0] == 0x0C {
                // Stripped to a bare success, as by a reader that has no key.
                response.drain(..response.len() - 2);
            }
            Ok(response)
        }
    }
    let mut card = with_a_pin();
    run(&mut card, &[(VERIFY_PIN, "9000")]);
    let below = Channel::new(Tampering(card), ST_2021.limits);
    let mut host = SecureTransport::new(below, local_keys(), rule).into_channel();
    let create = "00E000003762 35 80020020 8203020004 83029020 850101 8609000000FFFF101000FF CB18 0607 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 0607";
    let create = CommandApdu::parse(&bytes(create)).unwrap();
    assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
    let append = CommandApdu::parse(&bytes("00E2000004 01020304")).unwrap();
    assert_eq!(host.transmit(&append).unwrap().status(), StatusWord::SUCCESS);
    let read = CommandApdu::parse(&bytes("00B2010404")).unwrap();
    match host.transmit(&read) {
        Err(TransmitError::Transport(SecureError::Keys(SecureMessagingError::Missing("MAC")))) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forged_end_of_file_does_not_cut_a_signed_read_short() {
    /// Answers the second READ BINARY with a bare status.
    struct Forging(VirtualCard, [u8; 2], usize);
    impl Transport for Forging {
        type Error = Infallible;
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
            let response = self.0.transmit(command);
            if command[..2] != [0x0C, 0xB0] {
                return Ok(response);
            }
            self.2 += 1;
            Ok(if self.2 == 2 { self.1.to_vec() } else { response })
        }
    }
    // A transparent file of 512 bytes, read under a signed response.
    for forged in [None, Some([0x62, 0x82]), Some([0x6B, 0x00])] {
        let mut card = with_a_pin();
        run(&mut card, &[(VERIFY_PIN, "9000")]);
        let (status, skip) = forged.map_or(([0; 2], 9), |status| (status, 0));
        let below = Channel::new(Forging(card, status, skip), ST_2021.limits);
        let signed = Protections { command: Protection::SIGNED, response: Protection::SIGNED };
        let rule = |command: &CommandApdu| if command.ins == 0xB0 { Some(signed) } else { rule(command) };
        let mut host = SecureTransport::new(below, local_keys(), rule).into_channel();
        let create = "00E000003762 35 80020200 8203010000 83029020 850101 8609000000FFFF101000FF CB18 FF07 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF FF07";
        let create = CommandApdu::parse(&bytes(create)).unwrap();
        assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
        let read = host.read_current_file(512);
        assert_eq!(read.is_ok(), forged.is_none(), "{forged:?}: {read:?}");
    }
}

#[test]
fn a_challenge_of_another_length_protects_nothing() {
    let mut card = with_a_pin();
    let command = protected_verify(&mut card, b"54321");
    send(&mut card, "0084000010");
    assert_eq!(hex::encode(card.transmit(&command)), "6985");
}

/// Bytes of the protected class: known instructions, objects that look right.
fn protected_command() -> impl Strategy<Value = Vec<u8>> {
    let class = prop::sample::select(bytes("0C 0D 0F 1C 8C 9C CC FC"));
    let instruction =
        prop::sample::select(bytes("04 20 22 24 2A 2C 44 46 82 84 86 88 A4 B0 B2 C0 CA D6 DA DC E0 E2 E4"));
    let p2 = prop::sample::select(bytes("00 04 1A 6D 6E 6F 80 86 90 9A 9B"));
    let object = (prop::sample::select(bytes("81 87 8E 96 97")), vec(any::<u8>(), 0..18));
    let objects = vec(object, 0..4).prop_map(|objects| {
        objects
            .iter()
            .flat_map(|(tag, value)| cns_apdu::tlv::encode((*tag).into(), value))
            .collect::<Vec<u8>>()
    });
    let data = prop_oneof![objects, vec(any::<u8>(), 0..40)];
    (class, instruction, any::<u8>(), p2, data, any::<Option<u8>>()).prop_map(
        |(class, instruction, p1, p2, data, le)| {
            let length = u8::try_from(data.len()).unwrap();
            let body = if data.is_empty() { Vec::new() } else { [std::vec![length], data].concat() };
            [std::vec![class, instruction, p1, p2], body, le.into_iter().collect()].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_protected_command_is_answered(commands in vec(protected_command(), 1..60)) {
        let mut card = with_a_pin();
        for command in &commands {
            send(&mut card, "0084000008");
            let answer = card.transmit(command);
            prop_assert!(answer.len() >= 2);
            let status = u16::from_be_bytes(answer[answer.len() - 2..].try_into().unwrap());
            // A part of a chain is taken; nothing else without a key.
            prop_assert!(status != 0x9000 || command[0] == 0x1C, "{:02X?}", command);
        }
        prop_assert_eq!(tries_left(card).1, StatusWord::retries_left(3));
    }
}
