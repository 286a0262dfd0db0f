//! EXTERNAL and INTERNAL AUTHENTICATE with retail MAC and RSA keys.

use cns_secret::Secret;
use cns_virtual_card::{Personalisation, VirtualCard, sample};
use rsa::BigUint;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};

use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, bytes, expect, run, send};

const CHALLENGE: &str = "0011223344556677";

fn card() -> VirtualCard {
    let key = bytes("0123456789ABCDEFFEDCBA9876543210");
    let mut card = VirtualCard::create(Personalisation {
        issuer_key: Some(Secret::copy_from(&key).unwrap()),
        ..sample::personalisation().unwrap()
    })
    .unwrap();
    card.plan_randomness(&bytes(&CHALLENGE.repeat(4)));
    card
}

/// Vector 19.
#[test]
fn retail_mac() {
    let challenge = format!("{CHALLENGE}9000");
    run(
        &mut card(),
        &[
            ("0082000508 31A7364CAC91CA39", "6985"),
            ("0084000008", &challenge),
            ("0082000508 31A7364CAC91CA38", "63CF"),
            // The challenge is spent.
            ("0082000508 31A7364CAC91CA39", "6985"),
            ("0084000008", &challenge),
            ("0082000508 31A7364CAC91CA39", "9000"),
            ("0082001008 3132333435FFFFFF", "6985"),
            ("0082000008 31A7364CAC91CA39", "6985"),
            ("0084000004", "00112233 9000"),
            ("0082000508 31A7364CAC91CA39", "6984"),
        ],
    );
}

#[test]
fn the_key_of_the_environment() {
    let challenge = format!("{CHALLENGE}9000");
    run(
        &mut card(),
        &[
            ("0022F30300", "9000"),
            ("0022F1A403830105", "9000"),
            ("0088000008 0011223344556677 00", "31A7364CAC91CA39 9000"),
            ("0088000007 00112233445566 00", "6700"),
            ("0084000008", &challenge),
            ("0082000008 31A7364CAC91CA39", "9000"),
            ("0022F30300", "9000"),
            ("0088000008 0011223344556677 00", "6985"),
        ],
    );
}

#[test]
fn rsa() {
    let key = sample::key().unwrap();
    let mut card = card();
    expect(&mut card, VERIFY_PIN, "9000");
    send(&mut card, SELECT_SIGNATURE_DF);
    let component = |class: &str, options: &str, body: &[u8]| {
        let data = format!("8302{class}0C 8508{options}00880FFFFF0008 860700FFFFFFFFFFFF 8F820102FF00");
        let data = [bytes(&data), body.to_vec()].concat();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        [bytes("00DA016E00"), length.to_vec(), data].concat()
    };
    let mut exponent = vec![0; 253];
    exponent.extend([1, 0, 1]);
    assert_eq!(card.transmit(&component("00", "22", &key.n().to_bytes_be())), [0x90, 0x00]);
    assert_eq!(card.transmit(&component("01", "02", &exponent)), [0x90, 0x00]);
    let block = [vec![0, 1], vec![0xFF; 245], vec![0], bytes(CHALLENGE)].concat();
    let proof = BigUint::from_bytes_be(&block).modpow(key.d(), key.n()).to_bytes_be();
    let authenticate = [bytes("0082008C000100"), vec![0; 256 - proof.len()], proof].concat();
    expect(&mut card, "0084000008", &format!("{CHALLENGE}9000"));
    assert_eq!(card.transmit(&authenticate), [0x90, 0x00]);
    // The same proof does not answer another challenge.
    send(&mut card, "0084000010");
    assert_eq!(card.transmit(&authenticate), [0x63, 0xCF]);
}
