//! The host's half of the language against the chip's: every step through `cns_apdu`'s own commands, with the
//! lengths and the chaining that each generation takes.

use cns_apdu::StatusWord;
use cns_apdu::command::{
    CardCommand, ManageSecurityEnvironment, PinReference, ReadRecord, RecordSelector, ReferenceData,
    ResetAction, ResetRetryCounter, SelectFile, Template, Verify,
};
use cns_apdu::file_map::{AUTHENTICATION_CERTIFICATE, PERSONAL_DATA};
use cns_apdu::generation::{self, INCARD_10, ST_2021};
use cns_apdu::object::ObjectId;
use cns_apdu::personal_data::PersonalData;
use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::{self as area, KeySize};
use cns_apdu::transmit::{Channel, Limits, Traffic};
use cns_secret::Secret;
use cns_virtual_card::{Behaviour, Generation, Personalisation, VirtualCard, sample};
use rsa::sha2::{Digest, Sha256};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};

use crate::{behaving, bytes, card};

type Host = Channel<VirtualCard>;

#[track_caller]
fn run<C: CardCommand>(host: &mut Host, command: &C) -> C::Answer {
    host.run(command).unwrap_or_else(|error| panic!("{}: {error}", C::NAME))
}

fn digits(text: &[u8]) -> ReferenceData {
    ReferenceData::from_digits(&Secret::copy_from(text).unwrap()).unwrap()
}

fn verify(id: ObjectId, value: &[u8]) -> Verify {
    Verify { reference: PinReference::local(id), value: Some(digits(value)) }
}

/// The reference's sequence, steps 1 to 14 and the lock.
fn sign_with_a_new_area(card: VirtualCard, limits: Limits, size: KeySize) {
    let mut host = Channel::new(card, limits);
    // The least that the steps need: `docs/card-behaviour.md` sets the daemon's beside it.
    let mut before = host.traffic();
    let mut figure = |what: &str, now: Traffic| {
        let since = [now.commands - before.commands, now.sent - before.sent, now.received - before.received];
        println!("{size:?}, {limits:?}: {what}: commands, bytes up, bytes down: {since:?}");
        before = now;
    };
    run(&mut host, &SelectFile::master_file());
    run(&mut host, &verify(ObjectId::CNS_PIN, sample::PIN));
    run(&mut host, &area::select_signature_df());
    run(&mut host, &area::create_puk(&digits(b"11223344")).unwrap());
    run(&mut host, &area::create_pin(&digits(b"54321")).unwrap());
    run(&mut host, &area::create_key_df(area::Slot::First));
    run(&mut host, &area::create_modulus(size).unwrap());
    run(&mut host, &area::create_exponent(size).unwrap());
    run(&mut host, &area::create_public_key_file(size));
    run(&mut host, &area::select_signature_df());
    run(&mut host, &area::create_certificate_file(area::Slot::First));
    figure("area creation", host.traffic());
    run(&mut host, &area::select_key_df(area::Slot::First));
    run(&mut host, &verify(ObjectId::SIGNATURE_PIN, b"54321"));
    run(&mut host, &area::generate_key_pair());
    run(&mut host, &area::select_public_key());
    let public = match size {
        KeySize::Rsa2048 => PublicKey::decode(&host.read_current_file(0x120).unwrap()).unwrap(),
        KeySize::Rsa1024 => {
            let record = |number| ReadRecord { record: RecordSelector::Number(number), length: 256 };
            let modulus = run(&mut host, &record(1));
            PublicKey::decode_records(&modulus, &run(&mut host, &record(2))).unwrap()
        }
    };
    figure("key generation", host.traffic());
    run(&mut host, &area::select_key_df(area::Slot::First));
    run(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::SIGNATURE_KEY;
    run(&mut host, &ManageSecurityEnvironment::Set { template: Template::Signature, key });
    let hash = Sha256::digest(b"document").to_vec();
    let info = [bytes("3031300D060960864801650304020105000420"), hash.clone()].concat();
    let signature = run(&mut host, &area::sign(info));
    let number = BigUint::from_bytes_be;
    let public = RsaPublicKey::new(number(public.modulus()), number(public.exponent())).unwrap();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, &signature).unwrap();
    figure("signature on the request", host.traffic());

    run(&mut host, &area::select_certificate(area::Slot::First));
    let certificate = [bytes("3082047E"), vec![0x5A; 1150]].concat();
    host.update_current_file(&certificate).unwrap();
    run(&mut host, &area::select_certificate(area::Slot::First));
    assert_eq!(host.read_current_file(certificate.len()).unwrap(), certificate);
    figure("loading the certificate", host.traffic());
    run(&mut host, &area::select_key_df(area::Slot::First));
    run(&mut host, &area::lock_key_df());
    run(&mut host, &area::select_signature_df());
    run(&mut host, &area::lock_signature_df());
    let refused = host.run(&area::replace_pin(&digits(b"99999")).unwrap()).unwrap_err();
    assert_eq!(refused.status(), Some(StatusWord::SECURITY_NOT_SATISFIED));
    figure("locking", host.traffic());
}

#[test]
fn a_signature_area_in_extended_length() {
    sign_with_a_new_area(card(), ST_2021.limits, KeySize::Rsa2048);
}

#[test]
fn a_signature_area_in_short_chained_commands() {
    sign_with_a_new_area(card(), Limits::SHORT_CHAINED, KeySize::Rsa2048);
}

/// 61xx and GET RESPONSE, 6Cxx and the right Le: the channel follows them, and nothing is executed twice.
#[test]
fn a_signature_area_over_t0() {
    let behaviour = Behaviour { t0: true, ..Behaviour::default() };
    sign_with_a_new_area(behaving(behaviour), Limits::SHORT_CHAINED, KeySize::Rsa2048);
}

#[test]
fn a_signature_area_on_the_older_chip() {
    let order = Personalisation {
        generation: Generation::from_name("incard10").unwrap(),
        key: Some(rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 1024).unwrap()),
        ..sample::personalisation().unwrap()
    };
    sign_with_a_new_area(VirtualCard::create(order).unwrap(), INCARD_10.limits, KeySize::Rsa1024);
}

#[test]
fn the_host_recognises_reads_and_unblocks_the_card() {
    let mut card = card();
    let answer_to_reset = card.power_on();
    assert_eq!(generation::rank(&answer_to_reset)[0].name, "st2021");
    let certificate = [bytes("308204FC"), vec![0x5A; 1276]].concat();
    card.load_certificate(&certificate).unwrap();
    let mut host = Channel::new(card, ST_2021.limits);
    let data = run(&mut host, &SelectFile::path(PERSONAL_DATA)).unwrap();
    assert_eq!(data.size, Some(400));
    let data = PersonalData::decode(&host.read_current_file(400).unwrap()).unwrap();
    assert_eq!((data.name.as_str(), data.surname.as_str()), ("MARIO", "ROSSI"));
    run(&mut host, &SelectFile::path(AUTHENTICATION_CERTIFICATE));
    let file = host.read_current_file(2048).unwrap();
    assert_eq!(file[..certificate.len()], certificate);
    for _ in 0..3 {
        assert!(host.run(&verify(ObjectId::CNS_PIN, b"99999")).is_err());
    }
    let action = ResetAction::SetNew { puk: digits(sample::PUK), new: digits(b"23456789") };
    run(&mut host, &ResetRetryCounter { reference: PinReference::local(ObjectId::CNS_PIN), action });
    run(&mut host, &verify(ObjectId::CNS_PIN, b"23456789"));
}
