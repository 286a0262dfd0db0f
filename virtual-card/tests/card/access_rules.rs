//! Who may do what, and for how long.

use cns_secret::Secret;
use cns_virtual_card::{Personalisation, SignatureArea, VirtualCard, sample};

use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, WRONG_PIN, card, expect, run, send};

#[test]
fn volatile_state_is_lost_on_reset_and_without_power() {
    for forget in [VirtualCard::reset, |card: &mut VirtualCard| {
        card.power_off();
        card.power_on();
    }] {
        let mut card = card();
        run(&mut card, &[(VERIFY_PIN, "9000"), ("0022F30300", "9000"), ("00A4080C0410001003", "9000")]);
        send(&mut card, "0084000008");
        expect(&mut card, "102A8086020001", "9000");
        forget(&mut card);
        run(
            &mut card,
            &[
                ("002A8086 01 02 00", "6700"),
                ("0022F1B803830101", "6985"),
                ("00200090", "63C3"),
                ("00B0000001", "6986"),
                ("00820005080000000000000000", "6A88"),
                ("00A4020C021003", "6A82"),
            ],
        );
    }
}

#[test]
fn without_power_nothing_is_executed() {
    let mut card = card();
    card.power_off();
    expect(&mut card, VERIFY_PIN, "6F00");
}

#[test]
fn a_wrong_pin_ends_the_login() {
    run(&mut card(), &[(VERIFY_PIN, "9000"), (WRONG_PIN, "63C2"), ("00200090", "63C2")]);
}

#[test]
fn public_files_are_read_only_for_all() {
    let mut card = card();
    expect(&mut card, VERIFY_PIN, "9000");
    for file in ["2F02", "3F01", "10001003", "11001101", "11001102", "12001202"] {
        let path = if file.len() == 4 { format!("00A4080C02{file}") } else { format!("00A4080C04{file}") };
        expect(&mut card, &path, "9000");
        if file != "3F01" {
            expect(&mut card, "00D6000001AA", "6982");
        }
        run(&mut card, &[("00E40000", "6982"), ("00040000", "6982"), ("00440000", "6982")]);
        expect(&mut card, "00DA016F0B 8609 000000000000000000", "6982");
    }
    run(&mut card, &[("00A4000C023F00", "9000"), ("00E40000", "6982"), ("00040000", "6982")]);
}

#[test]
fn select_finds_children_siblings_and_parents() {
    run(
        &mut card(),
        &[
            ("00A4000C021000", "9000"),
            ("00A4000C021003", "9000"),
            ("00A4000C021002", "9000"),
            ("00A4000C021100", "9000"),
            ("00A4020C021101", "9000"),
            ("00A4000C021100", "9000"),
            ("00A4010C021101", "6A82"),
            ("00A4020C021100", "6A82"),
            ("00A4090C021102", "9000"),
            ("00A4030C", "9000"),
            ("00A4030C", "6A82"),
            ("00A4010C021400", "9000"),
            ("00A4010C021400", "6A82"),
            ("00A4050C021400", "6A86"),
            ("00A4000102140000", "6A86"),
        ],
    );
}

#[test]
fn deactivated_files_are_shut_until_activated_again() {
    let mut card = card();
    expect(&mut card, VERIFY_PIN, "9000");
    send(&mut card, SELECT_SIGNATURE_DF);
    run(
        &mut card,
        &[
            // A directory that anybody may deactivate and activate, and a PIN in it.
            ("00E000001D 621B 81020100 8203380000 83028110 850101 8609FF0000000000000000", "9000"),
            ("00DA016E21 8302001C 850802038703FF000005 8607001CFFFFFFFFFF 8F08 3534333231FFFFFF", "9000"),
            ("00E000001D 621B 80020004 8203010000 83028111 850101 8609000000000000000000", "9000"),
            ("00B0000001", "00 9000"),
            ("00A4080C0414008110", "9000"),
            ("0020009C", "63C3"),
            ("00040000", "9000"),
            ("00A4080C0414008110", "6283"),
            ("0020009C", "6A88"),
            ("00E000001D 621B 80020004 8203010000 83028112 850101 8609000000000000000000", "6985"),
            ("00A4080C06140081108111", "9000"),
            ("00B0000001", "6985"),
            ("00A4080C0414008110", "6283"),
            ("00440000", "9000"),
            ("0020009C08 3534333231FFFFFF", "9000"),
            ("00E40000", "9000"),
            ("00A4080C0414008110", "6A82"),
        ],
    );
}

#[test]
fn objects_that_demand_secure_messaging_refuse_plain_commands() {
    let mut card = card();
    expect(&mut card, VERIFY_PIN, "9000");
    send(&mut card, SELECT_SIGNATURE_DF);
    run(
        &mut card,
        &[
            (
                "00DA016E33 8302001A 850802038703FF000005 8607001A1BFFFFFFFF \
                 CB10 0607FFFFFFFFFFFFFFFFFFFFFFFFFFFF 8F08 3534333231FFFFFF",
                "9000",
            ),
            ("0020009A08 3534333231FFFFFF", "6E00"),
            // The keys that it names are not there.
            ("0C20009A08 3534333231FFFFFF", "6985"),
        ],
    );
}

#[test]
fn a_card_may_have_no_place_for_a_signature() {
    let mut card = VirtualCard::create(Personalisation {
        signature_area: SignatureArea::Absent,
        ..sample::personalisation().unwrap()
    })
    .unwrap();
    expect(&mut card, SELECT_SIGNATURE_DF, "6A82");
}

#[test]
fn what_the_issuers_key_guards_opens_with_it() {
    let key = hex::decode("0123456789ABCDEFFEDCBA9876543210").unwrap();
    let mut card = VirtualCard::create(Personalisation {
        issuer_key: Some(Secret::copy_from(&key).unwrap()),
        ..sample::personalisation().unwrap()
    })
    .unwrap();
    card.plan_randomness(&hex::decode("0011223344556677").unwrap());
    run(
        &mut card,
        &[
            ("00A4080C0412001202", "9000"),
            ("00D6000001AA", "6982"),
            ("0084000008", "0011223344556677 9000"),
            ("0082000508 31A7364CAC91CA39", "9000"),
            ("00D6000001AA", "9000"),
            ("00B0000001", "AA 9000"),
            ("00D6000203AABBCC", "6B00"),
            ("00D6000103AABBCC", "6700"),
            ("00D60000", "6A80"),
        ],
    );
}
