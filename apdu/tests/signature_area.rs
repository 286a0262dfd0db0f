//! The steps that create a signature area write the bytes of the table in `cns-card` §8.3.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cns_apdu::command::{
    ManageSecurityEnvironment, PinReference, ReadBinary, ReadRecord, RecordSelector, ReferenceData,
    SelectFile, SelectResponse, Template, UpdateBinary, Verify,
};
use cns_apdu::object::ObjectId;
use cns_apdu::signature_area::{
    KeySize, Slot, create_certificate_file, create_exponent, create_key_df, create_modulus, create_pin,
    create_public_key_file, create_puk, delete_certificate_file, delete_key_df, generate_key_pair,
    lock_key_df, lock_signature_df, replace_pin, select_key_df, select_public_key, select_signature_df, sign,
};
use cns_apdu::{CardCommand, Form};
use cns_secret::Secret;
use cns_test_vectors::{bytes, exchanges};

fn digits(text: &str) -> ReferenceData {
    ReferenceData::from_digits(&Secret::copy_from(text.as_bytes()).unwrap())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn verify(id: ObjectId, value: &str) -> Verify {
    Verify { reference: PinReference::local(id), value: Some(digits(value)) }
}

#[track_caller]
fn writes<C: CardCommand>(command: &C, expected: &str) {
    let apdu = command.encode().unwrap();
    let form = if apdu.fits_short() { Form::Short } else { Form::Extended };
    assert_eq!(apdu.to_bytes(form).unwrap().expose(), bytes(expected).unwrap());
}

/// The bytes come from the vectors, which carry the table's rows.
#[track_caller]
fn writes_vector<C: CardCommand>(command: &C, name: &str) {
    let folder = C::NAME.to_lowercase().replace(' ', "_");
    let vector = exchanges(&folder).unwrap().into_iter().find(|vector| vector.name == name).unwrap();
    let apdu = command.encode().unwrap();
    let form = Form::of(&vector.command);
    assert_eq!(apdu.fits_short(), form == Form::Short);
    assert_eq!(apdu.to_bytes(form).unwrap().expose(), vector.command);
}

#[test]
fn steps_1_to_6() {
    writes(&SelectFile::master_file(), "00 A4 00 00 02 3F 00 00");
    writes(&verify(ObjectId::CNS_PIN, "12345"), "00 20 00 90 08 31 32 33 34 35 FF FF FF");
    writes(&select_signature_df(), "00 A4 08 00 02 14 00 00");
    writes_vector(&create_puk(&digits("11223344")).unwrap(), "creates the signature PUK 11223344");
    writes_vector(&create_pin(&digits("54321")).unwrap(), "creates the signature PIN 54321");
    writes_vector(&create_key_df(Slot::First), "the DF of the signature key");
}

#[test]
fn steps_7_to_9_for_2048_bits() {
    writes_vector(
        &create_modulus(KeySize::Rsa2048).unwrap(),
        "creates a 2048-bit modulus with a placeholder",
    );
    writes_vector(
        &create_exponent(KeySize::Rsa2048).unwrap(),
        "creates a 2048-bit exponent with a placeholder",
    );
    writes_vector(&create_public_key_file(KeySize::Rsa2048), "the 2048-bit public key");
}

#[test]
fn steps_7_to_9_for_1024_bits() {
    let modulus = create_modulus(KeySize::Rsa1024).unwrap();
    writes_vector(&modulus, "creates a 1024-bit modulus: its length 82 is one byte, not BER");
    writes_vector(&create_exponent(KeySize::Rsa1024).unwrap(), "creates a 1024-bit exponent");
    writes_vector(&create_public_key_file(KeySize::Rsa1024), "the 1024-bit public key, linear TLV");
}

#[test]
fn steps_10_to_14() {
    writes(&select_key_df(Slot::First), "00 A4 08 00 04 14 00 81 10 00");
    writes(&verify(ObjectId::SIGNATURE_PIN, "54321"), "00 20 00 9A 08 35 34 33 32 31 FF FF FF");
    writes(&generate_key_pair(), "00 46 00 00 08 20 10 80 10 00 00 00 18");
    writes(&select_public_key().answering(SelectResponse::Fci), "00 A4 00 00 02 80 10 00");
    writes(&ReadBinary { offset: 0, length: 256 }, "00 B0 00 00 00");
    writes(&ReadBinary { offset: 256, length: 32 }, "00 B0 01 00 20");
    writes(&ReadRecord { record: RecordSelector::Number(2), length: 256 }, "00 B2 02 04 00");
    writes(&ManageSecurityEnvironment::Restore { se: 3 }, "00 22 F3 03 00");
    let set = ManageSecurityEnvironment::Set { template: Template::Signature, key: ObjectId::SIGNATURE_KEY };
    writes(&set, "00 22 F1 B6 03 83 01 10");
    writes(&sign(vec![0x30; 51]), "00 2A 9E 9A 33 30*51 00");
}

#[test]
fn steps_15_to_19_and_the_way_back() {
    writes_vector(&create_certificate_file(Slot::First), "the signature certificate");
    writes(&UpdateBinary { offset: 240, data: vec![0x30; 240] }, "00 D6 00 F0 F0 30*240");
    writes_vector(&lock_key_df(), "locks the DF of the key");
    writes_vector(&lock_signature_df(), "locks the signature DF");
    let replace = replace_pin(&digits("99999")).unwrap();
    writes_vector(&replace, "replaces the signature PIN, to be refused once the DF is locked");
    writes(&delete_key_df(Slot::First), "00 E4 00 00 02 81 10");
    writes(&delete_certificate_file(Slot::First), "00 E4 00 00 02 90 10");
}
