//! The signature area from the first object to the lock, byte by byte as the reference gives it.

use cns_virtual_card::{Behaviour, SignatureAreaState, Tear, VirtualCard};
use rsa::sha2::{Digest, Sha256};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};

use crate::{
    EMPTY_VERIFY, SELECT_MF, SELECT_SIGNATURE_DF, VERIFY_PIN, behaving, bytes, card, expect, run, send,
};

const F8: &str = "FFFFFFFFFFFFFFFF";
const CREATE_PUK: &str = "00DA016E21 8302001B 8508020387 03FF000008 8607001BFFFFFFFFFF 8F08 3131323233333434";
const CREATE_PIN: &str = "00DA016E21 8302001A 8508020387 03FF000005 8607001A1BFFFFFFFF 8F08 3534333231FFFFFF";
const CREATE_KEY_DF: &str = "00E000001D 621B 81020800 8203380000 83028110 85010 1 8609FF1010FFFF101010FF";
const CREATE_PUBLIC_KEY_EF: &str =
    "00E000001D 621B 80020120 8203010000 83028010 850101 860900FF1AFFFF1010FFFF";
const CREATE_CERTIFICATE_EF: &str =
    "00E000001D 621B 80020800 8203010000 83029010 850101 86090010FFFFFF1010FFFF";
const SELECT_KEY_DF: &str = "00A408000414008110 00";
const VERIFY_SIGNATURE_PIN: &str = "0020009A08 3534333231FFFFFF";
const GENERATE: &str = "0046000008 20108010 00000018";
const REPLACE_SIGNATURE_PIN: &str = "00DA016E0E 8302001A 8F08 3939393939FFFFFF";

fn component(class: &str, options: &str) -> String {
    format!(
        "00DA016E00012F 8302{class}10 8508{options}00880FFFFF0000 86071AFFFFFFFFFF1A CB10{F8}{F8} 8F820102FF00{}",
        F8.repeat(32)
    )
}

/// Sends a command that must succeed; the data of its response does not matter.
#[track_caller]
fn succeed(card: &mut VirtualCard, command: &str) -> Vec<u8> {
    let answer = bytes(&send(card, command));
    let (data, status) = answer.split_at(answer.len() - 2);
    assert_eq!(status, [0x90, 0x00], "to {command}");
    data.to_vec()
}

/// Steps 1 to 12.
fn with_key(mut card: VirtualCard) -> VirtualCard {
    succeed(&mut card, SELECT_MF);
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(&mut card, &[(CREATE_PUK, "9000"), (CREATE_PIN, "9000"), (CREATE_KEY_DF, "9000")]);
    run(
        &mut card,
        &[(&component("20", "22"), "9000"), (&component("21", "02"), "9000"), (CREATE_PUBLIC_KEY_EF, "9000")],
    );
    succeed(&mut card, SELECT_KEY_DF);
    run(&mut card, &[(GENERATE, "6982"), (VERIFY_SIGNATURE_PIN, "9000"), (GENERATE, "9000")]);
    card
}

/// The power goes while the chip stores its new key: modulus, exponent and public key file are all old or all new.
#[test]
fn a_torn_generation_leaves_no_half_key() {
    let mut card = with_key(card());
    let old = (public_key(&mut card), card.snapshot().unwrap());
    for done in [false, true] {
        succeed(&mut card, SELECT_KEY_DF);
        run(&mut card, &[(VERIFY_SIGNATURE_PIN, "9000")]);
        let before = card.snapshot().unwrap();
        assert_eq!(card.transmit_torn(&bytes(GENERATE), Tear { write: 0, done }), None);
        card.power_on();
        assert_eq!(card.snapshot().unwrap() == before, !done);
        let public = public_key(&mut card);
        assert_eq!(public == old.0, !done);
        // The chip signs with the key that the file names.
        succeed(&mut card, SELECT_KEY_DF);
        run(
            &mut card,
            &[(VERIFY_SIGNATURE_PIN, "9000"), ("0022F30300", "9000"), ("0022F1B603830110", "9000")],
        );
        let signature = card.transmit(&[bytes("002A9E9A33"), digest_info(b"torn"), vec![0]].concat());
        public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"torn"), &signature[..256]).unwrap();
    }
    assert!(card.snapshot().unwrap() != old.1);
}

fn public_key(card: &mut VirtualCard) -> RsaPublicKey {
    succeed(card, SELECT_KEY_DF);
    succeed(card, "00A4000002801000");
    let file = [succeed(card, "00B0000000"), succeed(card, "00B0010020")].concat();
    assert_eq!(file[..9], bytes("7F49820109 81820100"));
    assert_eq!(file[265..270], bytes("8203010001"));
    assert!(file[270..].iter().all(|byte| *byte == 0));
    RsaPublicKey::new(BigUint::from_bytes_be(&file[9..265]), BigUint::from(65537u32)).unwrap()
}

fn digest_info(message: &[u8]) -> Vec<u8> {
    [bytes("3031300D060960864801650304020105000420"), Sha256::digest(message).to_vec()].concat()
}

#[test]
fn the_whole_sequence() {
    let mut card = with_key(card());
    let public = public_key(&mut card);

    // 14: the chip signs the request.
    succeed(&mut card, SELECT_KEY_DF);
    run(&mut card, &[("0022F30300", "9000"), ("0022F1B603830110", "9000")]);
    let sign = [bytes("002A9E9A33"), digest_info(b"request"), vec![0]].concat();
    let signature = card.transmit(&sign);
    assert_eq!(signature[256..], [0x90, 0x00]);
    let scheme = || Pkcs1v15Sign::new::<Sha256>();
    public.verify(scheme(), &Sha256::digest(b"request"), &signature[..256]).unwrap();

    // 15, 16: the certificate.
    succeed(&mut card, SELECT_SIGNATURE_DF);
    expect(&mut card, CREATE_CERTIFICATE_EF, "9000");
    let der = [bytes("308203FC"), vec![0xA5; 1020]].concat();
    for (index, chunk) in der.chunks(240).enumerate() {
        let offset = u16::try_from(index * 240).unwrap().to_be_bytes();
        let header = [0x00, 0xD6, offset[0], offset[1], u8::try_from(chunk.len()).unwrap()];
        assert_eq!(card.transmit(&[&header[..], chunk].concat()), [0x90, 0x00]);
    }
    assert_eq!(card.summary().signature_area, SignatureAreaState::Certified);

    // 17, 18: the lock.
    succeed(&mut card, SELECT_KEY_DF);
    expect(&mut card, "00DA016F0B 8609 FFFFFFFFFF1AFFFFFF", "9000");
    succeed(&mut card, SELECT_SIGNATURE_DF);
    expect(&mut card, "00DA016F0B 8609 FFFFFFFFFFFF1A10FF", "9000");

    // 19: nobody replaces the signature PIN any more.
    expect(&mut card, REPLACE_SIGNATURE_PIN, "6982");

    // The key still signs after a reset, and only with its own PIN.
    card.power_off();
    card.power_on();
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_KEY_DF);
    run(&mut card, &[("0022F30300", "9000"), ("0022F1B603830110", "9000")]);
    assert_eq!(card.transmit(&sign), [0x69, 0x82]);
    expect(&mut card, VERIFY_SIGNATURE_PIN, "9000");
    assert_eq!(card.transmit(&sign), signature);
    // OpenSC pads in software and sends the whole block.
    let mut block = vec![0xFF; 256];
    (block[0], block[1], block[204]) = (0, 1, 0);
    block[205..].copy_from_slice(&digest_info(b"request"));
    let padded = [bytes("002A9E9A000100"), block.clone(), bytes("0000")].concat();
    assert_eq!(card.transmit(&padded), signature);
    block[0] = 1;
    let wrong = [bytes("002A9E9A000100"), block, bytes("0000")].concat();
    assert_eq!(card.transmit(&wrong), [0x6A, 0x80]);

    // The lock holds against the PIN of the card, and the area can be deleted by its own PIN alone.
    succeed(&mut card, SELECT_MF);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(&mut card, &[(REPLACE_SIGNATURE_PIN, "6982"), ("00E40000028110", "6982")]);
    run(&mut card, &[(VERIFY_SIGNATURE_PIN, "9000"), ("00E40000028110", "9000")]);
    expect(&mut card, "00A4080C0414008110", "6A82");
}

#[test]
fn v29_v30_creating_needs_the_right_and_an_unused_identifier() {
    let mut card = card();
    run(&mut card, &[("00A4000C023F00", "9000"), (CREATE_KEY_DF, "6982")]);
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(&mut card, &[(CREATE_KEY_DF, "9000"), ("00A4030C", "9000"), (CREATE_KEY_DF, "6A89")]);
    for (wrong, status) in [
        // A reserved identifier, no size, both sizes, an unknown kind.
        ("00E000001D 621B 81020800 8203380000 83023FFF 850101 8609FF1010FFFF101010FF", "6A80"),
        ("00E0000019 6217 8203380000 83028111 850101 8609FF1010FFFF101010FF", "6A80"),
        ("00E000001D 621B 80020800 8203380000 83028111 850101 8609FF1010FFFF101010FF", "6A80"),
        ("00E000001D 621B 81020800 8203390000 83028111 850101 8609FF1010FFFF101010FF", "6A80"),
        ("00E000001D 621B 8002FFFF 8203010000 83028111 850101 8609FF1010FFFF101010FF", "6A84"),
    ] {
        expect(&mut card, wrong, status);
    }
}

#[test]
fn v31_v32_environments_and_keys_in_the_signature_directory() {
    let mut card = card();
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(
        &mut card,
        &[
            ("00DA016D0F 830103 860200FF 8F06001000101A00", "9000"),
            (
                "00DA016E29 83022005 85080200030FFFFF0000 860700FFFFFFFFFFFF 8F10 0123456789ABCDEFFEDCBA9876543210",
                "9000",
            ),
            ("0022F30300", "9000"),
            ("0022F1B803830105", "9000"),
            ("002A868008 3534333231FFFFFF 00", "00 D02938E1AD5C5F34B800DF0228CA2322 9000"),
            ("002A808611 00D02938E1AD5C5F34B800DF0228CA2322 00", "3534333231FFFFFF 9000"),
            ("002A808609 00D02938E1AD5C5F34 00", "6A80"),
            // Changing only part of an object; creating needs the whole.
            ("00DA016E0D 83022005 860700FFFFFFFFFFFF", "9000"),
            ("00DA016E0D 83022006 860700FFFFFFFFFFFF", "6A80"),
        ],
    );
}

#[test]
fn one_key_size_needs_one_placeholder() {
    let mut card = card();
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(&mut card, &[(CREATE_PIN, "9000"), (CREATE_KEY_DF, "9000"), (GENERATE, "6A88")]);
    let small = |class: &str, options: &str| {
        // Incard's encoder: one plain length byte above 7F.
        format!(
            "00DA016E9B 8302{class}10 8508{options}00880FFFFF0000 86071AFFFFFFFFFF1A 8F828100{}",
            F8.repeat(16)
        )
    };
    run(&mut card, &[(&small("20", "22"), "9000"), (&small("21", "02"), "9000")]);
    expect(&mut card, VERIFY_SIGNATURE_PIN, "9000");
    run(&mut card, &[(GENERATE, "6A82")]);
    expect(&mut card, "00E000001D 621B 800200A0 820305FFFF 83028010 850101 860900FF1AFFFF1010FFFF", "9000");
    run(&mut card, &[(GENERATE, "9000"), ("00A4020C028010", "9000")]);
    let modulus = succeed(&mut card, "00B2010400");
    assert_eq!((modulus.len(), &modulus[..4]), (132, &[0x10, 0x82, 0x81, 0x00][..]));
    expect(&mut card, "00B2020400", "11050400010001 9000");
}

#[test]
fn signature_keys_decipher_only_where_it_is_allowed() {
    for (lenient, status) in [(false, [0x69, 0x85]), (true, [0x90, 0x00])] {
        let mut card = with_key(behaving(Behaviour { lenient_decipher: lenient, ..Behaviour::default() }));
        run(&mut card, &[("0022F30300", "9000"), ("0022F1B803830110", "9000")]);
        let block = [bytes("002A8086000101 00 0001"), vec![0x77; 254], bytes("0000")].concat();
        let answer = card.transmit(&block);
        assert_eq!(answer[answer.len() - 2..], status);
    }
}

#[test]
fn a_pin_that_covers_one_operation_must_be_given_again() {
    let mut card = card();
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    let once = CREATE_PIN.replace("03FF000005", "03FF000105");
    run(&mut card, &[(&once, "9000"), (CREATE_KEY_DF, "9000")]);
    let key =
        "00DA016E29 83022005 85080200030FFFFF0000 86071AFFFFFFFFFFFF 8F10 0123456789ABCDEFFEDCBA9876543210";
    let encipher = "002A868008 3534333231FFFFFF 00";
    run(
        &mut card,
        &[
            (key, "9000"),
            ("0022F30300", "9000"),
            ("0022F1B803830105", "9000"),
            (encipher, "6982"),
            (VERIFY_SIGNATURE_PIN, "9000"),
            (encipher, "00 D02938E1AD5C5F34B800DF0228CA2322 9000"),
            (encipher, "6982"),
        ],
    );
}

#[test]
fn the_signature_pin_ends_with_its_directory() {
    let mut card = card();
    succeed(&mut card, VERIFY_PIN);
    succeed(&mut card, SELECT_SIGNATURE_DF);
    run(&mut card, &[(CREATE_PUK, "9000"), (CREATE_PIN, "9000"), (CREATE_KEY_DF, "9000")]);
    run(
        &mut card,
        &[
            ("0020001A08 3534333231FFFFFF", "6A88"),
            (VERIFY_SIGNATURE_PIN, "9000"),
            ("0020009A", "9000"),
            ("00A4030C", "9000"),
            ("0020009A", "9000"),
            ("00A4080C0414008110", "9000"),
            ("0020009A", "9000"),
            (EMPTY_VERIFY, "9000"),
            ("00A4000C023F00", "9000"),
            ("00A4080C0414008110", "9000"),
            ("0020009A", "63C3"),
            (EMPTY_VERIFY, "9000"),
            ("002C009A10 3131323233333434 3939393939FFFFFF", "9000"),
            ("0020009A08 3939393939FFFFFF", "9000"),
        ],
    );
}
