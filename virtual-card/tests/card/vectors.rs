//! The reference's test vectors, by their numbers; each starts from a fresh card.

use cns_virtual_card::{Behaviour, Generation, Personalisation, VirtualCard, sample};
use rsa::sha2::{Digest, Sha256};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign};

use crate::{EMPTY_VERIFY, VERIFY_PIN, WRONG_PIN, behaving, bytes, card, expect, run, send};

const F8: &str = "FFFFFFFFFFFFFFFF";
const RESTORE: &str = "0022F30300";
const SET_DECIPHER: &str = "0022F1B603830101";

fn padded_block() -> Vec<u8> {
    let mut block = vec![0xFF; 256];
    (block[0], block[1]) = (0, 1);
    let info =
        [bytes("3031300D060960864801650304020105000420"), Sha256::digest(b"a challenge of TLS").to_vec()]
            .concat();
    block[256 - info.len()..].copy_from_slice(&info);
    block[255 - info.len()] = 0;
    block
}

fn decipher_extended(block: &[u8]) -> Vec<u8> {
    [bytes("002A8086 000101 00"), block.to_vec(), bytes("0000")].concat()
}

fn assert_signed(answer: &[u8]) {
    let (signature, status) = answer.split_at(answer.len() - 2);
    assert_eq!(status, [0x90, 0x00]);
    let public = sample::key().unwrap().to_public_key();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"a challenge of TLS"), signature).unwrap();
}

#[test]
fn v01_v02_select() {
    let select_1102 = "00A4080004110011 0200";
    let information =
        format!("6F3880020190 8203010000 83021102 850101 860900{F8} 8A0105 CB18{F8}{F8}{F8} 9000");
    run(&mut card(), &[("00A4000C023F00", "9000"), (select_1102, &information)]);
    run(&mut card(), &[("00A4080006 3F00 1100 1102 00", &information), ("00A4080C0411001102", "9000")]);
}

#[test]
fn directories_answer_their_own_information() {
    expect(
        &mut card(),
        "00A4080002140000",
        &format!(
            "6F3881020800 8203380000 83021400 850101 8609FF1010FFFFFF1010FF 8A0105 CB18{F8}{F8}{F8} 9000"
        ),
    );
    let answer = send(&mut card(), "00A4000000");
    assert!(answer.starts_with("6F388102") && answer.contains("83023F00"), "{answer}");
}

#[test]
fn v03_to_v06_read() {
    let mut card = card();
    run(
        &mut card,
        &[
            ("00B0000006", "6986"),
            ("00A4080C0411001102", "9000"),
            ("00B0000006", "30303030354 6 9000"),
            ("00B0019001", "6B00"),
            ("00B0018F05", "00 9000"),
            ("00A4080C0410001003", "9000"),
            ("00B0000010", "36393939303030303030303031323330 9000"),
            ("00A4080C042FFF8228", "6A82"),
            ("00B0000001", "36 9000"),
        ],
    );
}

#[test]
fn personal_data_are_those_of_the_reference() {
    let mut card = card();
    expect(&mut card, "00A4080C0411001102", "9000");
    let data = bytes(&send(&mut card, "00B0000000"));
    let text = b"00005F0469990815012026081401203205ROSSI05MARIO080101198001M0010RSSMRA80A01H501U0004H501000004H5010000";
    assert_eq!(&data[..text.len()], text);
    assert!(data[text.len()..256].iter().all(|byte| *byte == 0));
    assert_eq!(card.common_name(), "RSSMRA80A01H501U/6999000000001230.2spivQIFMotW+2Ieae0CdZBGvaM=");
}

#[test]
fn v07_to_v10_verify() {
    let mut sound = card();
    run(
        &mut sound,
        &[
            (VERIFY_PIN, "9000"),
            (WRONG_PIN, "63C2"),
            (WRONG_PIN, "63C1"),
            (WRONG_PIN, "63C0"),
            (WRONG_PIN, "6983"),
            (VERIFY_PIN, "6983"),
            (EMPTY_VERIFY, "6983"),
        ],
    );
    expect(&mut behaving(Behaviour { strict_incard: true, ..Behaviour::default() }), WRONG_PIN, "6300");
    run(
        &mut card(),
        &[
            ("0020010008 3132333435FFFFFF", "6A86"),
            ("0020000C08 3132333435FFFFFF", "6A88"),
            ("0020009007 3132333435FFFF", "6700"),
            ("0020009008 3132333435000000", "63C2"),
            ("0020001008 3132333435FFFFFF", "9000"),
        ],
    );
}

#[test]
fn v11_change() {
    let new = "0020009008 3233343536FFFFFF";
    run(
        &mut card(),
        &[
            ("0024009010 3132333435FFFFFF 3233343536FFFFFF", "9000"),
            (VERIFY_PIN, "63C2"),
            (new, "9000"),
            ("0024009010 3132333435FFFFFF 3233343536FFFFFF", "63C2"),
            // Too short, and no try is lost by it.
            ("0024009010 3233343536FFFFFF 32333435FFFFFFFF", "6A80"),
            ("0024009008 3132333435FFFFFF", "6700"),
            ("0024019008 3132333435FFFFFF", "6982"),
            (new, "9000"),
            ("0024019008 3132333435FFFFFF", "9000"),
            (VERIFY_PIN, "9000"),
            ("0024029008 3132333435FFFFFF", "6A86"),
        ],
    );
}

#[test]
fn v12_to_v16_unblock() {
    let block = [(WRONG_PIN, "63C2"), (WRONG_PIN, "63C1"), (WRONG_PIN, "63C0")];
    let mut first = card();
    run(&mut first, &block);
    run(
        &mut first,
        &[
            ("002C009010 3837363534333231 3233343536FFFFFF", "9000"),
            (EMPTY_VERIFY, "63C3"),
            ("0020009008 3233343536FFFFFF", "9000"),
        ],
    );
    let mut second = card();
    run(&mut second, &block);
    run(
        &mut second,
        &[
            ("002C019008 3837363534333231", "9000"),
            (VERIFY_PIN, "9000"),
            ("002C029008 3233343536FFFFFF", "6A86"),
            ("002C0390", "6982"),
            ("0020001108 3837363534333231", "9000"),
            ("002C0390", "9000"),
            ("002C009010 3030303030303030 3233343536FFFFFF", "63C2"),
            ("002C009010 3030303030303030 3233343536FFFFFF", "63C1"),
            ("002C009010 3030303030303030 3233343536FFFFFF", "63C0"),
            ("002C009010 3837363534333231 3233343536FFFFFF", "6983"),
            // The PIN itself is as it was.
            (VERIFY_PIN, "9000"),
            ("002C0390", "6982"),
        ],
    );
}

#[test]
fn v17_v18_random() {
    let mut card = card();
    let (first, second) = (send(&mut card, "0084000008"), send(&mut card, "0084000008"));
    assert!(first.len() == 20 && first.ends_with("9000") && first != second);
    assert_eq!(send(&mut card, "0084000000").len(), 2 * 258);
    expect(&mut card, "8086000008 8899AABBCCDDEEFF", "9000");
    expect(&mut card, "8086000007 8899AABBCCDDEE", "6A80");
}

#[test]
fn v20_v22_v23_environment() {
    run(
        &mut card(),
        &[
            ("0022F1B803830101", "6985"),
            (RESTORE, "9000"),
            ("0022F303", "9000"),
            ("0022F1B803830101", "9000"),
            ("0022F1B80383011E", "6A88"),
            ("0022F30700", "6A83"),
            ("002241B603830101", "6A86"),
        ],
    );
}

#[test]
fn v25_to_v28_decipher() {
    let block = padded_block();
    let mut card = card();
    let command = decipher_extended(&block);
    assert_eq!(card.transmit(&command), [0x69, 0x85]);
    run(&mut card, &[(RESTORE, "9000"), ("0022F1B803830101", "9000")]);
    assert_eq!(card.transmit(&command), [0x69, 0x82]);
    expect(&mut card, VERIFY_PIN, "9000");
    assert_signed(&card.transmit(&command));

    let mut chained = bytes("102A8086FF00");
    chained.extend_from_slice(&block[..254]);
    assert_eq!(card.transmit(&chained), [0x90, 0x00]);
    let mut last = bytes("002A808602");
    last.extend_from_slice(&block[254..]);
    last.push(0);
    assert_signed(&card.transmit(&last));

    let modulus = sample::key().unwrap().n().to_bytes_be();
    assert_eq!(card.transmit(&decipher_extended(&modulus)), [0x6A, 0x80]);
    let mut just_below = vec![0; 256];
    let value = (BigUint::from_bytes_be(&modulus) - 1u8).to_bytes_be();
    just_below[256 - value.len()..].copy_from_slice(&value);
    assert_eq!(card.transmit(&decipher_extended(&just_below)).len(), 258);
    assert_eq!(card.transmit(&bytes("002A808603 00 0102 00")), [0x67, 0x00]);
    assert_eq!(card.transmit(&bytes("002A808603 01 0102 00")), [0x6A, 0x80]);
}

#[test]
fn a_raw_key_does_not_compute_signatures() {
    run(
        &mut card(),
        &[(VERIFY_PIN, "9000"), (RESTORE, "9000"), (SET_DECIPHER, "9000"), ("002A9E9A03 010203 00", "6985")],
    );
}

#[test]
fn a_chain_is_broken_by_any_other_command() {
    let mut card = card();
    run(&mut card, &[("102A8086 02 0001", "9000"), (SELECT, "9000"), (RESTORE, "9000")]);
    run(&mut card, &[(VERIFY_PIN, "9000"), ("002A8086 02 0001 00", "6700")]);
    let mut strict = behaving(Behaviour { strict_st: true, ..Behaviour::default() });
    expect(&mut strict, "102A8086 02 0001", "6E00");
}

const SELECT: &str = "00A4000C023F00";

#[test]
fn public_and_private_operations_are_inverse() {
    let mut card = card();
    run(&mut card, &[(VERIFY_PIN, "9000"), (RESTORE, "9000"), ("0022F1B803830101", "9000")]);
    let block = padded_block();
    let enciphered = card.transmit(&[bytes("002A8680 000100"), block.clone(), bytes("0000")].concat());
    assert_eq!((enciphered.len(), enciphered[0]), (259, 0));
    let back = card.transmit(&decipher_extended(&enciphered[1..257]));
    assert_eq!(back[..256], block);
}

#[test]
fn v35_classes_and_instructions() {
    run(
        &mut card(),
        &[
            ("00FE0000", "6D00"),
            ("20B0000001", "6E00"),
            ("0CB0000001", "6986"),
            ("80B0000001", "6E00"),
            ("00C0000010", "6D00"),
            ("00", "6700"),
            ("00A4000C033F00", "6700"),
            ("00B0800001", "6A86"),
        ],
    );
    assert_eq!(card().transmit(&[]), [0x67, 0x00]);
}

/// What OpenSC sends before it knows the card must fail without a trace.
#[test]
fn probes_of_other_drivers_fail_cleanly() {
    run(
        &mut card(),
        &[
            ("00A404000 7 62760 1FF000000 00", "6A82"),
            ("00A4040005 A000000001", "6A82"),
            ("00A404000B E82B0601040181C31F0201 00", "6A82"),
            ("00A4040C0F D23300000045737445494420763335 00", "6A82"),
            ("00CADF3005", "6A88"),
            ("00CB3FFF035C017E08", "6D00"),
            ("00A4040009 A00000030800001000 00", "6A82"),
            ("00A4040C07 A00000007910 00 00", "6A82"),
            ("00A40800022F0000", "6A82"),
            ("00A4080C025015", "6A82"),
            ("00A4080C0414009010", "6A82"),
            ("00A4080C06140090012002", "6A82"),
            ("00A4000C023F00", "9000"),
        ],
    );
}

#[test]
fn get_data() {
    run(
        &mut card(),
        &[
            ("00CA018000", "434E532D56495254 9000"),
            ("00CA018100", "36393939303030303030303031323330 9000"),
            ("00CA018300", "10 9000"),
            ("00CA018400", "6A88"),
        ],
    );
}

#[test]
fn select_without_data_can_be_refused() {
    let mut card = behaving(Behaviour { select_p2_0c_refused: true, ..Behaviour::default() });
    run(&mut card, &[("00A4080C0410001003", "6A86"), ("00A408000410001003", "9000")]);
    expect(&mut card, "00B0000001", "36 9000");
}

#[test]
fn the_older_chip_takes_short_commands_only() {
    let small = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 1024).unwrap();
    let mut card = VirtualCard::create(Personalisation {
        generation: Generation::from_name("incard10").unwrap(),
        key: Some(small),
        ..sample::personalisation().unwrap()
    })
    .unwrap();
    assert_eq!(
        hex::encode_upper(card.power_on()),
        "3BFF1800FF8131FE55006B0209020001110 1434E531031808F".replace(' ', "")
    );
    run(
        &mut card,
        &[("00B0000000 0010", "6700"), (VERIFY_PIN, "9000"), (RESTORE, "9000"), ("0022F1B803830101", "9000")],
    );
    let block = [bytes("002A808681 00 0001"), vec![0x55; 126], bytes("00")].concat();
    assert_eq!(card.transmit(&block).len(), 130);
    run(&mut card, &[("00A4080C023F01", "9000")]);
    let record = bytes(&send(&mut card, "00B2010400"));
    assert_eq!((record.len(), &record[..4]), (134, &[0x10, 0x82, 0x81, 0x00][..]));
    expect(&mut card, "00B2020400", "11050400010001 9000");
    expect(&mut card, "00B2030400", "6A83");
}
