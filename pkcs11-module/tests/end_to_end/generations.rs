//! Cards of other generations: listed, logged in to and signed with by an application that knows nothing of them.

use cns_virtual_authority::Profile;
use cns_virtual_card::{Generation, VirtualCard, sample};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};

pub(crate) use cnsd_test_support::plugged::{authority, issue};

use crate::desk::{Desk, pin};

/// The sample card of a generation, with all keys and certificates that it can have.
pub(crate) fn card(generation: &str) -> VirtualCard {
    let generation = Generation::from_name(generation).unwrap();
    let mut card = VirtualCard::create(sample::personalisation_of(generation).unwrap()).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    card.load_certificate(&issue(Profile::Authentication, &request)).unwrap();
    if generation.takes_signature_key() {
        let request = card.signature_certificate_request().unwrap();
        card.load_signature_certificate(&issue(Profile::QualifiedSignature, &request)).unwrap();
    }
    card
}

/// A private key, and the public key that belongs to it.
fn key(session: &Session, always_authenticate: bool) -> (ObjectHandle, RsaPublicKey) {
    let asked =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::AlwaysAuthenticate(always_authenticate)];
    let key = session.find_objects(&asked).unwrap()[0];
    let numbers =
        session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent]).unwrap();
    let [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] = &numbers[..] else {
        panic!("{numbers:?}");
    };
    let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
    (key, RsaPublicKey::new(number(modulus), number(exponent)).unwrap())
}

#[test]
fn every_generation_is_a_token_whose_keys_sign() {
    for (generation, certificates, signature_pin) in [
        ("idemia2021", 2, "12345"),
        ("oberthur-cosmo7", 2, "12345"),
        ("st2022-nfc", 2, "54321"),
        ("ace2025", 1, ""),
    ] {
        let desk = Desk::set_up_with(|_| card(generation));
        let session = desk.session();
        let listed = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap();
        assert_eq!(listed.len(), certificates, "{generation}");
        session.login(UserType::User, Some(&pin("12345"))).unwrap();
        let (login, public) = key(&session, false);
        let signature = session.sign(&Mechanism::Sha256RsaPkcs, login, b"a login").unwrap();
        public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"a login"), &signature).unwrap();
        if certificates > 1 {
            let (signing, public) = key(&session, true);
            session.sign_init(&Mechanism::Sha256RsaPkcs, signing).unwrap();
            session.login(UserType::ContextSpecific, Some(&pin(signature_pin))).unwrap();
            session.sign_update(b"a contract").unwrap();
            let signature = session.sign_final().unwrap();
            public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"a contract"), &signature).unwrap();
        }
    }
}
