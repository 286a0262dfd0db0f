//! A whole signature area made, used and locked in secure messaging, and one that was there before.

use cns_apdu::command::{
    ChangeProof, ChangeReferenceData, ManageSecurityEnvironment, PinReference, ResetAction,
    ResetRetryCounter, SelectFile, Template, Verify,
};
use cns_apdu::file_map::SIGNATURE_CERTIFICATE;
use cns_apdu::generation::ST_2021;
use cns_apdu::object::ObjectId;
use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::{self as area, KeySize};
use cns_apdu::transmit::Limits;
use cns_virtual_card::{Behaviour, Generation, Personalisation, SecureMessagingKeys, VirtualCard, sample};
use rsa::sha2::{Digest, Sha256};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};

use super::{
    ENCRYPTION, Host, SIGNATURE, behaving, card, demanding, digits, directory_conditions, host, host_with,
    local, ok, recorder, refused, rule, secret, verify_holder,
};
use crate::{VERIFY_PIN, bytes, run};

/// Steps 1 to 14 and 17 to 19 of the reference, everything that concerns the signature directory protected.
fn sign_with_a_new_area(card: VirtualCard, limits: Limits) -> Host {
    let mut host = host_with(card, limits, rule);
    verify_holder(&mut host);
    refused(&mut host, &area::select_certificate(area::Slot::First), 0x6A82);
    ok(&mut host, &demanding(area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(area::create_pin(&digits(b"54321")).unwrap()));
    let mut key_df = area::create_key_df(area::Slot::First);
    key_df.secure_messaging = Some(directory_conditions());
    ok(&mut host, &key_df);
    ok(&mut host, &demanding(area::create_modulus(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &demanding(area::create_exponent(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &area::create_public_key_file(KeySize::Rsa2048));
    ok(&mut host, &area::select_key_df(area::Slot::First));
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    ok(&mut host, &area::generate_key_pair());
    ok(&mut host, &area::select_public_key());
    let public = PublicKey::decode(&host.read_current_file(0x120).unwrap()).unwrap();
    ok(&mut host, &area::select_key_df(area::Slot::First));
    let hash = Sha256::digest(b"document").to_vec();
    let info = [bytes("3031300D060960864801650304020105000420"), hash.clone()].concat();
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::SIGNATURE_KEY;
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Signature, key });
    let signature = ok(&mut host, &area::sign(info));
    let number = BigUint::from_bytes_be;
    let public = RsaPublicKey::new(number(public.modulus()), number(public.exponent())).unwrap();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, &signature).unwrap();

    ok(&mut host, &area::select_signature_df());
    let mut file = area::create_certificate_file(area::Slot::First);
    let mut conditions = [0xFF; 24];
    conditions[2..4].copy_from_slice(&[6, 7]);
    file.secure_messaging = Some(conditions);
    ok(&mut host, &file);
    let certificate = [bytes("308206FC"), vec![0x5A; 1788]].concat();
    host.update_current_file(&certificate).unwrap();
    ok(&mut host, &SelectFile::path(SIGNATURE_CERTIFICATE));
    assert_eq!(host.read_current_file(certificate.len()).unwrap(), certificate);
    ok(&mut host, &area::select_key_df(area::Slot::First));
    ok(&mut host, &area::lock_key_df());
    ok(&mut host, &area::select_signature_df());
    ok(&mut host, &area::lock_signature_df());
    refused(&mut host, &area::replace_pin(&digits(b"99999")).unwrap(), 0x6982);
    host
}

#[test]
fn a_signature_area_in_extended_length() {
    let mut host = sign_with_a_new_area(card(), ST_2021.limits);
    // Protected: 4 objects, 3 files, VERIFY, GENERATE, PSO, 8 pieces of the certificate, 2 locks and what they refuse;
    // a challenge for each, a number for the one response.
    let traffic = host.transport_mut().traffic();
    let seen = &recorder(&mut host).seen;
    let count = |ins: u8| seen.iter().step_by(2).filter(|command| command[1] == ins).count();
    assert_eq!(u64::try_from(seen.len() / 2).unwrap(), traffic.commands);
    let protected = seen.iter().step_by(2).filter(|command| command[0] == 0x0C).count();
    assert_eq!((protected, count(0x84), count(0x86)), (21, 21, 1));
}

/// What does not fit a short response comes in two.
#[test]
fn a_signature_area_over_t0() {
    let card = behaving(Behaviour { t0: true, ..Behaviour::default() });
    let mut host = sign_with_a_new_area(card, Limits::SHORT_CHAINED);
    let seen = &recorder(&mut host).seen;
    assert!(seen.iter().step_by(2).any(|command| command[..2] == [0x00, 0xC0]), "GET RESPONSE");
}

/// PSO's protected response does not fit a short one, so only that step needs more.
#[test]
fn a_signature_area_in_short_chained_commands_up_to_the_signature() {
    let mut host = host(Limits::SHORT_CHAINED);
    verify_holder(&mut host);
    ok(&mut host, &demanding(area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(area::create_pin(&digits(b"54321")).unwrap()));
    let mut key_df = area::create_key_df(area::Slot::First);
    key_df.secure_messaging = Some(directory_conditions());
    ok(&mut host, &key_df);
    ok(&mut host, &demanding(area::create_modulus(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &demanding(area::create_exponent(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &area::create_public_key_file(KeySize::Rsa2048));
    ok(&mut host, &area::select_key_df(area::Slot::First));
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    ok(&mut host, &area::generate_key_pair());
    let chained = recorder(&mut host).seen.iter().step_by(2).filter(|command| command[0] == 0x1C).count();
    assert_eq!(chained, 2, "the two components of the key are in two parts each");
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::SIGNATURE_KEY;
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Signature, key });
    refused(&mut host, &area::sign(vec![0x5A; 51]), 0x6700);
}

#[test]
fn no_secret_travels_in_clear() {
    let mut host = sign_with_a_new_area(card(), ST_2021.limits);
    recorder(&mut host).seen.clear();
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    let proof = ChangeProof::Value(digits(b"54321"));
    let reference = local(ObjectId::SIGNATURE_PIN);
    ok(&mut host, &ChangeReferenceData { reference, proof, new: digits(b"65432") });
    let action = ResetAction::SetNew { puk: digits(b"11223344"), new: digits(b"76543") };
    ok(&mut host, &ResetRetryCounter { reference, action });
    ok(&mut host, &Verify { reference, value: Some(digits(b"76543")) });
    // Open again, and a new value by PUT DATA.
    ok(&mut host, &area::reopen_signature_df());
    ok(&mut host, &area::replace_pin(&digits(b"87654")).unwrap());
    ok(&mut host, &Verify { reference, value: Some(digits(b"87654")) });

    let seen = &recorder(&mut host).seen;
    for value in ["54321", "65432", "76543", "87654", "11223344"] {
        let clear =
            seen.iter().any(|apdu| apdu.windows(value.len()).any(|window| window == value.as_bytes()));
        assert!(!clear, "{value} travelled in clear");
    }
    // The check sees what is there: the same command in clear.
    let mut plain = host_with(card(), ST_2021.limits, |_| None);
    let verify = Verify { reference: PinReference::global(ObjectId::CNS_PIN), value: Some(digits(b"12345")) };
    ok(&mut plain, &verify);
    let seen = &recorder(&mut plain).seen;
    assert!(seen.iter().any(|apdu| apdu.windows(5).any(|window| window == b"12345")));
}

/// A card as certifiers issue them: PIN and key are there, and nobody without the issuer's keys can use them.
#[test]
fn a_signature_key_that_is_there_demands_it_of_its_user() {
    let keys =
        SecureMessagingKeys { encryption: secret(&bytes(ENCRYPTION)), signature: secret(&bytes(SIGNATURE)) };
    let order = sample::personalisation_of(Generation::default()).unwrap();
    let mut card = VirtualCard::create(Personalisation { secure_messaging: Some(keys), ..order }).unwrap();
    let select = [("00A4080C0414008110", "9000"), ("0022F30300", "9000"), ("0022F1B603830110", "9000")];
    run(&mut card, &select);
    let pin = format!("0020009A08 {}", hex::encode(digits(sample::SIGNATURE_PIN).as_secret().expose()));
    let digest_info = format!("002A9E9A33 3031300D060960864801650304020105000420{} 00", "5A".repeat(32));
    run(&mut card, &[(&pin, "6E00"), (&digest_info, "6E00"), (VERIFY_PIN, "9000"), (&digest_info, "6E00")]);
    let mut host = host_with(card, ST_2021.limits, rule);
    let reference = local(ObjectId::SIGNATURE_PIN);
    ok(&mut host, &Verify { reference, value: Some(digits(sample::SIGNATURE_PIN)) });
    let info = bytes(&format!("3031300D060960864801650304020105000420{}", "5A".repeat(32)));
    let signature = ok(&mut host, &area::sign(info));
    let public = sample::signature_key_of(Generation::default()).unwrap().to_public_key();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &[0x5A; 32], &signature).unwrap();
}
