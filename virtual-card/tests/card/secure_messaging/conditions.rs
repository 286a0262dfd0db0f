//! What files and objects demand of each operation, and that nothing else is taken in its place.

use cns_apdu::access::ObjectConditions;
use cns_apdu::command::{
    AuthenticationKey, ChangeKeyData, ExternalAuthenticate, InternalAuthenticate, ManageSecurityEnvironment,
    ObjectSettings, PutData, Template,
};
use cns_apdu::generation::ST_2021;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::secure_messaging::{Protection, Protections};
use cns_apdu::signature_area as area;
use cns_apdu::triple_des::mac3;
use cns_apdu::{CommandApdu, StatusWord};
use cns_virtual_card::VirtualCard;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    BOTH_WAYS, COMMAND, ENCRYPTION, Host, OBJECT_CONDITIONS, Rule, digits, host, host_with, local, ok,
    one_way, recorder, refused, rule, secret, verify_holder, with_a_pin,
};
use crate::{VERIFY_PIN, bytes, run, send};

#[test]
fn what_demands_it_refuses_plain_commands_and_the_other_way_round() {
    let mut card = with_a_pin();
    run(
        &mut card,
        &[
            ("0020009A08 3534333231FFFFFF", "6E00"),
            ("0020009A", "6E00"),
            ("0024009A10 3534333231FFFFFF 3635343332FFFFFF", "6E00"),
            ("002C009A10 3131323233333434 3635343332FFFFFF", "6E00"),
            ("00DA016E0E 8302001A8F083939393939FFFFFF", "6E00"),
            ("00DA016D0F 830103860200FF8F0600100010 1A00", "6E00"),
            ("00DA016F0B 8609FFFFFFFFFFFFFF1A10FF", "6E00"),
            ("00E000001D 621B810208008203380000830281108501018609FF1010FFFF101010FF", "6E00"),
            ("0046000008 2010801000000018", "6A88"),
            // Neither the PIN of the holder nor a selection has conditions.
            ("0C20009008 3132333435FFFFFF", "6985"),
            ("0CA4000002 3F00", "6985"),
            ("8C86000008 0011223344556677", "6985"),
            (VERIFY_PIN, "9000"),
        ],
    );
}

#[test]
fn files_may_demand_it_of_each_operation() {
    let conditions = "0607 0607 0607 FFFFFFFFFFFF 0607 FFFFFFFFFFFFFFFF FF07";
    let mut card = with_a_pin();
    card.reset();
    let mut host = host_with(card, ST_2021.limits, rule);
    verify_holder(&mut host);
    let create = format!(
        "00E000003762 35 80020020 8203020004 83029020 850101 8609000000FFFF101000FF CB18{conditions}"
    );
    let create = CommandApdu::parse(&bytes(&create)).unwrap();
    assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
    let mut card = host.into_transport().into_inner().into_transport().card;
    run(
        &mut card,
        &[("00B2010404", "6E00"), ("00DC010404 01020304", "6E00"), ("00E2000004 01020304", "6E00")],
    );
    let mut host = host_with(card, ST_2021.limits, |command| match command.ins {
        0xE2 | 0xDC => COMMAND,
        0xB2 => Some(Protections { command: Protection::SIGNED, response: Protection::BOTH }),
        _ => None,
    });
    let exchange = |host: &mut Host, command: &str| {
        let response = host.transmit(&CommandApdu::parse(&bytes(command)).unwrap()).unwrap();
        hex::encode_upper(response.to_bytes())
    };
    assert_eq!(exchange(&mut host, "00E2000004 01020304"), "9000");
    assert_eq!(exchange(&mut host, "00DC010404 05060708"), "9000");
    assert_eq!(exchange(&mut host, "00B2010404"), "050607089000");
    // A refusal keeps its status word and brings no objects.
    assert_eq!(exchange(&mut host, "00B2020404"), "6A83");
    // One kind of protection in place of both is none: the record is not appended.
    let mut card = host.into_transport().into_inner().into_transport().card;
    let halves: [(Rule, &str); 2] = [
        (|command| if command.ins == 0xE2 { Some(one_way(Protection::SIGNED)) } else { BOTH_WAYS }, "6987"),
        (
            |command| if command.ins == 0xE2 { Some(one_way(Protection::ENCRYPTED)) } else { BOTH_WAYS },
            "6985",
        ),
    ];
    for (half, refusal) in halves {
        let mut host = host_with(card, ST_2021.limits, half);
        assert_eq!(exchange(&mut host, "00E2000004 0A0B0C0D"), refusal);
        assert_eq!(exchange(&mut host, "00B2020404"), "6A83");
        assert_eq!(exchange(&mut host, "00B2010404"), "050607089000");
        card = host.into_transport().into_inner().into_transport().card;
    }
}

#[test]
fn keys_are_used_and_changed_under_it() {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    let object = |class, id: u8, algorithm| {
        PutData::Oci(ObjectSettings {
            address: ObjectAddress::new(class, ObjectId::new(id).unwrap()),
            attributes: Some(ObjectAttributes { uses: 3, ..ObjectAttributes::exponent(algorithm) }),
            conditions: Some(ObjectConditions([0; 7])),
            secure_messaging: Some(OBJECT_CONDITIONS),
            body: Some(secret(&bytes(ENCRYPTION))),
        })
    };
    ok(&mut host, &object(ObjectClass::Test, 0x15, Algorithm::RetailMac));
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::new(0x15).unwrap();
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Authentication, key });
    let card = host.into_transport().into_inner().into_transport().card;
    let mut host = host_with(card, ST_2021.limits, |command| match command.ins {
        0x82 | 0x24 => COMMAND,
        0x88 => BOTH_WAYS,
        _ => None,
    });
    let internal = InternalAuthenticate {
        key: AuthenticationKey::FromEnvironment,
        challenge: bytes("0011223344556677"),
    };
    assert_eq!(ok(&mut host, &internal), bytes("31A7364CAC91CA39"));
    // The challenge of the MAC is the one that is answered.
    recorder(&mut host).card.plan_randomness(&bytes("0011223344556677"));
    let response = bytes("31A7364CAC91CA39");
    let authenticate = ExternalAuthenticate { key: AuthenticationKey::Object(local(key)), response };
    ok(&mut host, &authenticate);
    let value = secret(&bytes("00112233445566778899AABBCCDDEEFF"));
    let new = mac3(&value, &bytes("0011223344556677")).unwrap();
    let reference = local(key);
    ok(&mut host, &ChangeKeyData { class: ObjectClass::Test, reference, value });
    // A new value brings new uses: three, and no more.
    for _ in 0..3 {
        assert_eq!(ok(&mut host, &internal), new);
    }
    refused(&mut host, &internal, 0x6985);
}

/// A key whose commands are enciphered but not signed takes no challenge for a MAC: the proof uses the host's own.
#[test]
fn a_key_that_demands_encryption_alone_is_proved_with_the_challenge_asked_for() {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    let mut conditions = [0xFF; 16];
    conditions[0] = 6;
    let settings = ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::new(0x15).unwrap()),
        attributes: Some(ObjectAttributes::exponent(Algorithm::RetailMac)),
        conditions: Some(ObjectConditions([0; 7])),
        secure_messaging: Some(conditions),
        body: Some(secret(&bytes(ENCRYPTION))),
    };
    ok(&mut host, &PutData::Oci(settings));
    let mut card = host.into_transport().into_inner().into_transport().card;
    card.plan_randomness(&bytes("0011223344556677"));
    send(&mut card, "0084000008");
    // A plain command is refused before it costs the challenge.
    run(&mut card, &[("0082009508 31A7364CAC91CA39", "6E00")]);
    let rule: Rule = |command| {
        let command_protection = Protections { command: Protection::ENCRYPTED, response: Protection::NONE };
        (command.ins == 0x82).then_some(command_protection)
    };
    let mut host = host_with(card, ST_2021.limits, rule);
    let key = AuthenticationKey::Object(local(ObjectId::new(0x15).unwrap()));
    let authenticate = ExternalAuthenticate { key, response: bytes("31A7364CAC91CA39") };
    ok(&mut host, &authenticate);
    refused(&mut host, &authenticate, 0x6985);
}

/// A PIN of this number, whose value another one's (or its own) changes and unblocks.
fn pin(id: u8, guard: u8, secure_messaging: [u8; 16], value: &[u8]) -> PutData {
    PutData::Oci(ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::new(id).unwrap()),
        attributes: Some(ObjectAttributes::from_bytes([0x02, 0x03, 0x87, 0x03, 0xFF, 0x00, 0x00, 0x05])),
        conditions: Some(ObjectConditions([0x00, guard, guard, 0xFF, 0xFF, 0xFF, 0xFF])),
        secure_messaging: Some(secure_messaging),
        body: Some(digits(value).as_secret().duplicate().unwrap()),
    })
}

/// Secure messaging conditions of an object: use, change, unblock; ENC and SIG of each.
fn pairs(use_: [u8; 2], change: [u8; 2], unblock: [u8; 2]) -> [u8; 16] {
    let mut conditions = [0xFF; 16];
    conditions[..6].copy_from_slice(&[use_, change, unblock].concat());
    conditions
}

const NONE: [u8; 2] = [0xFF; 2];
const KEYS: [u8; 2] = [6, 7];
const SIGNED_ONLY: [u8; 2] = [0xFF, 7];

/// PIN 15, guarded by PIN 16.
fn guarded(target: [u8; 16], guard: [u8; 16]) -> VirtualCard {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    ok(&mut host, &pin(0x16, 0x16, guard, b"11223344"));
    ok(&mut host, &pin(0x15, 0x16, target, b"54321"));
    host.into_transport().into_inner().into_transport().card
}

const CHANGE: &str = "0024009510 3131323233333434 3534333231FFFFFF";
const WRONG_CHANGE: &str = "0024009510 3030303030303030 3534333231FFFFFF";
const RESET: &str = "002C009510 3131323233333434 3534333231FFFFFF";
const WRONG_RESET: &str = "002C009510 3030303030303030 3534333231FFFFFF";
const RESET_ONLY: &str = "002C019508 3131323233333434";
const WRONG_RESET_ONLY: &str = "002C019508 3030303030303030";

fn answer(host: &mut Host, command: &str) -> String {
    let response = host.transmit(&CommandApdu::parse(&bytes(command)).unwrap()).unwrap();
    hex::encode_upper(response.to_bytes())
}

/// Whoever may not send a PUK to VERIFY in clear may not send it inside CHANGE or RESET either, where it is compared as
/// well.
#[test]
fn a_guard_demands_it_of_every_command_that_brings_its_value() {
    // The target demands nothing of its own, or the same as its guard.
    for target in [[0xFF; 16], pairs(NONE, KEYS, KEYS)] {
        let mut card = guarded(target, pairs(KEYS, NONE, NONE));
        for command in [CHANGE, WRONG_CHANGE, RESET, WRONG_RESET, RESET_ONLY, WRONG_RESET_ONLY] {
            assert_eq!(send(&mut card, command), "6E00", "{command}");
        }
        let mut host = host_with(card, ST_2021.limits, |command| match command.ins {
            0x20 | 0x24 | 0x2C => COMMAND,
            _ => None,
        });
        assert_eq!(answer(&mut host, "00200096"), "63C3", "none of its tries is gone");
        assert_eq!(answer(&mut host, WRONG_RESET), "63C2");
        for command in [CHANGE, RESET, RESET_ONLY] {
            assert_eq!(answer(&mut host, command), "9000", "{command}");
        }
    }
    // A guard that was verified before brings no value: then the target alone counts.
    let card = guarded([0xFF; 16], pairs(KEYS, NONE, NONE));
    let mut host =
        host_with(card, ST_2021.limits, |command| (command.ins == 0x20).then_some(COMMAND).flatten());
    assert_eq!(answer(&mut host, "002C0395"), "6982");
    assert_eq!(answer(&mut host, "0020009608 3131323233333434"), "9000");
    assert_eq!(answer(&mut host, "002C0395"), "9000");
    assert_eq!(answer(&mut host, "0024019508 3534333231FFFFFF"), "9000");
}

#[test]
fn a_pin_that_guards_itself_is_changed_as_its_own_conditions_say() {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    ok(&mut host, &pin(0x15, 0x15, pairs(KEYS, NONE, NONE), b"54321"));
    let mut card = host.into_transport().into_inner().into_transport().card;
    run(&mut card, &[("0024009510 3534333231FFFFFF 3635343332FFFFFF", "9000"), ("00200095", "6E00")]);
}

/// One command travels under one pair of keys.
#[test]
fn target_and_guard_that_demand_different_keys_cannot_be_served() {
    let mut card = guarded(pairs(NONE, SIGNED_ONLY, SIGNED_ONLY), pairs(KEYS, NONE, NONE));
    for command in [CHANGE, RESET, RESET_ONLY] {
        assert_eq!(send(&mut card, command), "6985", "{command}");
    }
    let rules: [Rule; 2] = [|_| COMMAND, |_| Some(one_way(Protection::SIGNED))];
    for rule in rules {
        let mut host = host_with(card, ST_2021.limits, rule);
        for command in [CHANGE, WRONG_CHANGE, RESET, WRONG_RESET, RESET_ONLY] {
            assert_eq!(answer(&mut host, command), "6985", "{command}");
        }
        card = host.into_transport().into_inner().into_transport().card;
    }
    let mut host = host_with(card, ST_2021.limits, |_| COMMAND);
    assert_eq!(answer(&mut host, "00200096"), "63C3");
}

/// What is done in the signature directory, right and wrong, in clear.
const ACTS: [&str; 14] = [
    "0020009A08 3534333231FFFFFF",
    "0020009A08 3939393939FFFFFF",
    "0020009A",
    "0020009B08 3131323233333434",
    "0024009A10 3534333231FFFFFF 3534333231FFFFFF",
    "0024009A10 3939393939FFFFFF 3534333231FFFFFF",
    "0024019A08 3534333231FFFFFF",
    "002C009A10 3131323233333434 3534333231FFFFFF",
    "002C009A10 3030303030303030 3534333231FFFFFF",
    "002C039A",
    "00DA016E0E 8302001A8F083534333231FFFFFF",
    "00DA016D0F 8301048602 00FF8F06001000101A00",
    "00E000001D 621B8002002082030100008302902085010186090000FFFFFF1010FFFF",
    "00A4080C021400",
];

/// The signature PIN and PUK on a card that demands nothing.
fn with_a_plain_pin() -> VirtualCard {
    let mut host = host_with(crate::card(), ST_2021.limits, |_| None);
    verify_holder(&mut host);
    ok(&mut host, &area::create_puk(&digits(b"11223344")).unwrap());
    ok(&mut host, &area::create_pin(&digits(b"54321")).unwrap());
    host.into_transport().into_inner().into_transport().card
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Protection changes how a command travels, not what it does.
    #[test]
    fn protected_commands_do_what_plain_ones_do(acts in vec(prop::sample::select(&ACTS[..]), 1..40)) {
        let mut protected = host_with(with_a_pin(), ST_2021.limits, rule);
        let mut plain = host_with(with_a_plain_pin(), ST_2021.limits, |_| None);
        for act in acts {
            let command = CommandApdu::parse(&bytes(act)).unwrap();
            let answers = [&mut protected, &mut plain].map(|host| host.transmit(&command).unwrap().to_bytes());
            prop_assert_eq!(&answers[0], &answers[1], "{}", act);
        }
    }
}
