//! The qualified signature: a PIN for each use.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use cns_secret::Secret;
use cns_virtual_authority::{Authority, InitOptions, Profile};
use cns_virtual_card::vpcd::{Endpoint, plug};
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardError, CardSession, signature_area};
use cnsd::reader::{ReaderSpec, Readers, VpcdAddress};
use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use der::asn1::BitString;
use der::{Any, Decode, Encode};
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierOwned, EncodePublicKey, SubjectPublicKeyInfoOwned};
use tempfile::TempDir;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};

use crate::desk::{CERTIFICATE, Desk, pin, refusal};

pub(crate) const AREA_PIN: &str = "54321";

/// A card whose signature area `cnsd`'s own code has made, with a key that the chip generated; its files are in `folder`.
pub(crate) fn card(folder: &Path) -> VirtualCard {
    static MADE: OnceLock<Vec<(OsString, Vec<u8>)>> = OnceLock::new();
    let card = folder.join("card");
    fs::create_dir(&card).unwrap();
    for (name, contents) in MADE.get_or_init(make_card) {
        fs::write(card.join(name), contents).unwrap();
    }
    VirtualCard::open(&card).unwrap()
}

/// Makes the card once; its files.
fn make_card() -> Vec<(OsString, Vec<u8>)> {
    let folder = TempDir::new().unwrap();
    let files = folder.path().join("card");
    let mut card = VirtualCard::create_in(&files, sample::personalisation().unwrap()).unwrap();
    card.load_certificate(CERTIFICATE).unwrap();
    let socket = folder.path().join("card.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spec = ReaderSpec::Vpcd(VpcdAddress::Unix(socket.clone()));
        let readers = Readers::start(std::slice::from_ref(&spec)).unwrap();
        let name = spec.to_string();
        let _plugged = plug(card, Endpoint::Unix(socket)).unwrap();
        while readers.card(&name).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        readers.run(&name, None, make_area).await.unwrap();
    });
    let entries = fs::read_dir(files).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

pub(crate) fn make_area(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let secret = |digits: &[u8]| Secret::copy_from(digits).unwrap();
    let (card_pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN.as_bytes()));
    signature_area::create(session, &card_pin, &area_pin, &secret(b"11223344"), &|_| {})?;
    let key = signature_area::generate_key(session, &card_pin, &area_pin, &|_| {})?;
    let certificate = certify(session, &key, |session, hash| {
        signature_area::sign_request(session, &Secret::copy_from(AREA_PIN.as_bytes()).unwrap(), hash)
    })?;
    signature_area::load_certificate(session, &card_pin, &certificate, &|_| {})?;
    signature_area::lock(session, &card_pin, &|_| {})
}

/// A certificate for a key on the card, which signs the request for it.
pub(crate) fn certify(
    session: &mut CardSession<'_>,
    key: &RsaPublicKey,
    sign: fn(&mut CardSession<'_>, &[u8]) -> Result<Vec<u8>, CardError>,
) -> Result<Vec<u8>, CardError> {
    let key = SubjectPublicKeyInfoOwned::from_der(key.to_public_key_der().unwrap().as_bytes()).unwrap();
    let subject = "CN=MARIO ROSSI,givenName=MARIO,sn=ROSSI,serialNumber=TINIT-RSSMRA80A01H501U,C=IT";
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_str(subject).unwrap(),
        public_key: key,
        attributes: Default::default(),
    };
    let signature = sign(session, &Sha256::digest(info.to_der().unwrap()))?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        signature: BitString::from_bytes(&signature).unwrap(),
    };
    let folder = TempDir::new().unwrap();
    let options = InitOptions { key_bits: 2048, ..InitOptions::new(b"a secret of the tests".to_vec()) };
    let authority = Authority::init(folder.path(), &options).unwrap();
    Ok(authority.issue(Profile::QualifiedSignature, &request).unwrap().to_der().unwrap())
}

/// The private key and the public key of the signature certificate.
pub(crate) fn keys(session: &Session) -> (ObjectHandle, RsaPublicKey) {
    let asked = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::AlwaysAuthenticate(true)];
    let key = session.find_objects(&asked).unwrap()[0];
    let numbers =
        session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent]).unwrap();
    let [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] = &numbers[..] else {
        panic!("{numbers:?}");
    };
    let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
    (key, RsaPublicKey::new(number(modulus), number(exponent)).unwrap())
}

pub(crate) fn give_pin(session: &Session, digits: &str) -> Result<(), cryptoki::error::Error> {
    session.login(UserType::ContextSpecific, Some(&pin(digits)))
}

#[test]
fn both_certificates_are_one_token() {
    let desk = Desk::set_up_with(card);
    let (session, _) = desk.logged_in();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 12);
    let labels: Vec<_> = session
        .find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)])
        .unwrap()
        .into_iter()
        .flat_map(|object| session.get_attributes(object, &[AttributeType::Label]).unwrap())
        .collect();
    let expected = ["CNS authentication MARIO ROSSI", "Qualified signature MARIO ROSSI"];
    assert_eq!(labels, expected.map(|label| Attribute::Label(label.into())));
}

#[test]
fn each_signature_takes_a_pin_of_its_own() {
    let desk = Desk::set_up_with(card);
    let (session, _) = desk.logged_in();
    let (key, public) = keys(&session);
    let digest = Sha256::digest(b"a contract");
    for _ in 0..2 {
        session.sign_init(&Mechanism::Sha256RsaPkcs, key).unwrap();
        give_pin(&session, AREA_PIN).unwrap();
        session.sign_update(b"a con").unwrap();
        session.sign_update(b"tract").unwrap();
        let signature = session.sign_final().unwrap();
        public.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();
        // The PIN is gone with the signature.
        let without = session.sign(&Mechanism::Sha256RsaPkcs, key, b"another");
        assert_eq!(refusal(without), RvError::UserNotLoggedIn);
    }
}

#[test]
fn a_wrong_pin_is_told_by_the_signature() {
    let desk = Desk::set_up_with(card);
    let (session, _) = desk.logged_in();
    let (key, _) = keys(&session);
    session.sign_init(&Mechanism::Sha256RsaPkcs, key).unwrap();
    give_pin(&session, "99999").unwrap();
    session.sign_update(b"x").unwrap();
    assert_eq!(refusal(session.sign_final()), RvError::PinIncorrect);
    // The login with the card's own PIN is another matter.
    assert_eq!(desk.tries(), 3);
    assert!(!desk.application.get_token_info(desk.card()).unwrap().user_pin_count_low());
}

#[test]
fn the_last_try_of_the_signature_pin_is_not_spent_unasked() {
    let desk = Desk::set_up_with(card);
    let (session, _) = desk.logged_in();
    let (key, _) = keys(&session);
    let sign = |digits| {
        session.sign_init(&Mechanism::Sha256RsaPkcs, key).unwrap();
        give_pin(&session, digits).unwrap();
        session.sign_update(b"x").unwrap();
        session.sign_final()
    };
    assert_eq!(refusal(sign("99999")), RvError::PinIncorrect);
    assert_eq!(refusal(sign("99999")), RvError::PinIncorrect);
    assert_eq!(refusal(sign(AREA_PIN)), RvError::FunctionCanceled);
    assert_eq!(sign(AREA_PIN).unwrap().len(), 256);
    assert_eq!(desk.tries(), 3);
}

#[test]
fn a_pin_needs_an_operation_that_wants_it() {
    let desk = Desk::set_up_with(card);
    let (session, login_key) = desk.logged_in();
    let (key, _) = keys(&session);
    assert_eq!(refusal(give_pin(&session, AREA_PIN)), RvError::OperationNotInitialized);
    session.sign_init(&Mechanism::RsaPkcs, login_key).unwrap();
    assert_eq!(refusal(give_pin(&session, AREA_PIN)), RvError::OperationNotInitialized);
    session.sign_update(b"x").unwrap();
    session.sign_final().unwrap();
    session.sign_init(&Mechanism::RsaPkcs, key).unwrap();
    assert_eq!(refusal(give_pin(&session, "123")), RvError::PinLenRange);
}

/// Its chip pads by itself, and knows PKCS#1 v1.5 only.
#[test]
fn the_signature_key_pads_in_one_way_only() {
    let desk = Desk::set_up_with(card);
    let (session, _) = desk.logged_in();
    let (key, _) = keys(&session);
    let parameters =
        PkcsPssParams { hash_alg: MechanismType::SHA256, mgf: PkcsMgfType::MGF1_SHA256, s_len: 32.into() };
    for mechanism in [Mechanism::RsaX509, Mechanism::RsaPkcsPss(parameters)] {
        assert_eq!(refusal(session.sign_init(&mechanism, key)), RvError::MechanismInvalid);
    }
}
