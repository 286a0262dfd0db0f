//! Signatures, digests and random numbers.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pss::Pss;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::desk::{Desk, refusal};

fn public_key() -> RsaPublicKey {
    RsaPublicKey::from(&cns_virtual_card::sample::key().unwrap())
}

pub(crate) fn pss(hash_alg: MechanismType, mgf: PkcsMgfType, salt: u64) -> PkcsPssParams {
    PkcsPssParams { hash_alg, mgf, s_len: salt.into() }
}

#[test]
fn every_padding_is_verified_by_another_implementation() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let (public, text) = (public_key(), b"a text");
    let sign = |mechanism, data: &[u8]| session.sign(&mechanism, key, data).unwrap();

    public
        .verify(Pkcs1v15Sign::new_unprefixed(), b"any data", &sign(Mechanism::RsaPkcs, b"any data"))
        .unwrap();
    let signature = sign(Mechanism::Sha1RsaPkcs, text);
    public.verify(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text), &signature).unwrap();
    let signature = sign(Mechanism::Sha256RsaPkcs, text);
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text), &signature).unwrap();
    let signature = sign(Mechanism::Sha512RsaPkcs, text);
    public.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text), &signature).unwrap();

    // As TLS 1.3 signs: rsa_pss_rsae_sha256 with a salt of the hash's length.
    let parameters = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
    let signature = sign(Mechanism::RsaPkcsPss(parameters), &Sha256::digest(text));
    public.verify(Pss::new_with_salt::<Sha256>(32), &Sha256::digest(text), &signature).unwrap();
    let parameters = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 0);
    let signature = sign(Mechanism::Sha384RsaPkcsPss(parameters), text);
    public.verify(Pss::new_with_salt::<Sha384>(0), &Sha384::digest(text), &signature).unwrap();

    let number = BigUint::from(0x0123_4567_89AB_CDEF_u64);
    let raw = BigUint::from_bytes_be(&sign(Mechanism::RsaX509, &number.to_bytes_be()));
    assert_eq!(raw.modpow(public.e(), public.n()), number);
}

#[test]
fn a_text_may_come_in_parts() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    session.sign_init(&Mechanism::Sha256RsaPkcs, key).unwrap();
    for _ in 0..1000 {
        session.sign_update(&[0x5A; 1000]).unwrap();
    }
    let signature = session.sign_final().unwrap();
    let digest = Sha256::digest(vec![0x5A; 1_000_000]);
    public_key().verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();
    assert_eq!(refusal(session.sign_final()), RvError::OperationNotInitialized);
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let sign = |mechanism, data: &[u8]| refusal(session.sign(&mechanism, key, data));
    assert_eq!(sign(Mechanism::RsaPkcs, &[1; 246]), RvError::DataLenRange);
    assert_eq!(sign(Mechanism::RsaX509, &[1; 257]), RvError::DataLenRange);
    let parameters = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
    assert_eq!(sign(Mechanism::RsaPkcsPss(parameters), &[1; 31]), RvError::DataLenRange);
    let parameters = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 256 - 32 - 1);
    assert_eq!(sign(Mechanism::RsaPkcsPss(parameters), &[1; 32]), RvError::MechanismParamInvalid);
    assert_eq!(sign(Mechanism::EcdsaSha256, &[1; 32]), RvError::MechanismInvalid);
    // A refusal has ended its operation: another can begin.
    assert_eq!(session.sign(&Mechanism::RsaPkcs, key, b"x").unwrap().len(), 256);
    session.sign_init(&Mechanism::RsaPkcs, key).unwrap();
    assert_eq!(refusal(session.sign_init(&Mechanism::RsaPkcs, key)), RvError::OperationActive);
}

#[test]
fn a_question_for_the_length_signs_nothing() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let before = traffic();
    // `cryptoki` asks the length before it signs: one signature, not two, reaches the chip.
    session.sign(&Mechanism::RsaPkcs, key, b"x").unwrap();
    let first = traffic() - before;
    session.sign(&Mechanism::RsaPkcs, key, b"x").unwrap();
    assert!(traffic() - before <= 2 * first);
    let before = traffic();
    session.sign_init(&Mechanism::RsaPkcs, key).unwrap();
    assert_eq!(traffic(), before);
}

/// A second application's listing costs the card nothing.
#[test]
fn listing_does_not_reach_the_card() {
    let desk = Desk::set_up();
    let before = traffic();
    let session = desk.session();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 7);
    desk.application.get_token_info(desk.card()).unwrap();
    assert_eq!(traffic(), before);
}

#[test]
fn digests_are_made_here() {
    let desk = Desk::set_up();
    let session = desk.session();
    let before = traffic();
    let digest = session.digest(&Mechanism::Sha256, b"abc").unwrap();
    assert_eq!(digest, Sha256::digest(b"abc").to_vec());
    session.digest_init(&Mechanism::Sha512).unwrap();
    session.digest_update(b"a").unwrap();
    session.digest_update(b"bc").unwrap();
    assert_eq!(session.digest_final().unwrap(), Sha512::digest(b"abc").to_vec());
    assert_eq!(traffic(), before);
}

#[test]
fn random_numbers_come_from_the_chip() {
    let desk = Desk::set_up();
    let session = desk.session();
    let before = traffic();
    let (first, second) =
        (session.generate_random_vec(2000).unwrap(), session.generate_random_vec(32).unwrap());
    assert_eq!((first.len(), second.len()), (2000, 32));
    assert!(first.windows(32).all(|window| window != second));
    assert!(traffic() > before);
    assert_eq!(refusal(session.seed_random(b"seed")), RvError::RandomSeedNotSupported);
}

/// The commands that the card has been sent.
pub(crate) fn traffic() -> u64 {
    let mut client = cns_protocol::Client::connect(&cns_protocol::Client::default_path()).unwrap();
    client.call(&cns_protocol::reader::List {}).unwrap().readers[0].traffic.commands
}
