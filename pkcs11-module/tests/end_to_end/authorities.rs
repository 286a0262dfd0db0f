//! Certificates of certification authorities that lie on a card.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki_sys::*;
use der::{Decode, Encode};
use rsa::pkcs8::EncodePublicKey;
use sha1::{Digest, Sha1};
use x509_cert::Certificate;
use x509_cert::serial_number::SerialNumber;

use crate::desk::{Desk, pin};
use crate::generations::{authority, card};
use crate::raw::Raw;

/// The certifier's certificate under another number; with another RSA key where there is one.
fn certificate(number: u8, key: Option<&rsa::RsaPublicKey>) -> Vec<u8> {
    let mut certificate = authority().ca_certificate().clone();
    certificate.tbs_certificate.serial_number = SerialNumber::new(&[number]).unwrap();
    if let Some(key) = key {
        let info = key.to_public_key_der().unwrap();
        certificate.tbs_certificate.subject_public_key_info = Decode::from_der(info.as_bytes()).unwrap();
    }
    certificate.to_der().unwrap()
}

/// The certificates of a category.
fn of_category(session: &Session, category: CK_CERTIFICATE_CATEGORY) -> Vec<ObjectHandle> {
    let all = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap();
    all.into_iter().filter(|object| number(session, *object, CKA_CERTIFICATE_CATEGORY) == category).collect()
}

/// A number that the `cryptoki` crate has no name for.
fn number(session: &Session, object: ObjectHandle, kind: CK_ATTRIBUTE_TYPE) -> CK_ULONG {
    let raw = Raw::new();
    let mut value: CK_ULONG = 0xDEAD;
    let mut asked = CK_ATTRIBUTE {
        type_: kind,
        pValue: (&raw mut value).cast(),
        ulValueLen: CK_ULONG::try_from(size_of::<CK_ULONG>()).unwrap(),
    };
    let get = raw.functions().C_GetAttributeValue.unwrap();
    assert_eq!(unsafe { get(session.handle(), object.handle(), &raw mut asked, 1) }, CKR_OK);
    value
}

fn attributes(session: &Session, object: ObjectHandle, kinds: &[AttributeType]) -> Vec<Attribute> {
    session.get_attributes(object, kinds).unwrap()
}

/// The objects' `CKA_ID`.
fn identifiers(session: &Session, class: ObjectClass) -> Vec<Attribute> {
    let objects = session.find_objects(&[Attribute::Class(class)]).unwrap();
    objects.iter().flat_map(|object| attributes(session, *object, &[AttributeType::Id])).collect()
}

/// The object says what the certificate says, and that nobody is told to trust it.
fn assert_is(session: &Session, object: ObjectHandle, der: &[u8]) {
    let x509 = Certificate::from_der(der).unwrap();
    let tbs = &x509.tbs_certificate;
    let kinds = [
        AttributeType::Value,
        AttributeType::Subject,
        AttributeType::Issuer,
        AttributeType::SerialNumber,
        AttributeType::PublicKeyInfo,
        AttributeType::Token,
        AttributeType::Private,
        AttributeType::Modifiable,
        AttributeType::Trusted,
        AttributeType::Label,
        AttributeType::Id,
    ];
    let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
    let modulus = pkcs1::RsaPublicKey::from_der(key).unwrap().modulus;
    let expected = vec![
        Attribute::Value(der.to_vec()),
        Attribute::Subject(tbs.subject.to_der().unwrap()),
        Attribute::Issuer(tbs.issuer.to_der().unwrap()),
        Attribute::SerialNumber(tbs.serial_number.to_der().unwrap()),
        Attribute::PublicKeyInfo(tbs.subject_public_key_info.to_der().unwrap()),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Trusted(false),
        Attribute::Label(b"Authority CNS Virtual Authority (test)".to_vec()),
        Attribute::Id(Sha1::digest(modulus.as_bytes()).to_vec()),
    ];
    assert_eq!(attributes(session, object, &kinds), expected);
}

#[test]
fn they_are_certificates_without_keys_that_nobody_is_told_to_trust() {
    for (generation, holders) in [("idemia2021", 2), ("ace2025", 1)] {
        let ders = [1, 2, 3].map(|number| certificate(number, None));
        let desk = Desk::set_up_with(|_| {
            let mut card = card(generation);
            ders.iter().for_each(|der| card.load_authority_certificate(der).unwrap());
            card
        });
        let session = desk.session();
        // On some cards they are found by the search that follows the listing.
        let found = crate::desk::until("the authorities", || {
            let found = of_category(&session, CK_CERTIFICATE_CATEGORY_AUTHORITY);
            (found.len() == 3).then_some(found)
        });
        assert_eq!(of_category(&session, CK_CERTIFICATE_CATEGORY_TOKEN_USER).len(), holders, "{generation}");
        for (object, der) in found.iter().zip(&ders) {
            assert_is(&session, *object, der);
        }
        let names: std::collections::BTreeSet<_> = found
            .iter()
            .map(|object| format!("{:?}", attributes(&session, *object, &[AttributeType::UniqueId])))
            .collect();
        assert_eq!(names.len(), 3, "{generation}");
        // No key belongs to them, so that no program takes one of them for a login.
        session.login(UserType::User, Some(&pin("12345"))).unwrap();
        let of_authorities: Vec<_> =
            found.iter().flat_map(|object| attributes(&session, *object, &[AttributeType::Id])).collect();
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            let keys = identifiers(&session, class);
            assert_eq!(keys.len(), holders, "{generation}");
            assert!(keys.iter().all(|id| !of_authorities.contains(id)), "{generation}");
        }
        // The handles of one listing hold.
        assert_eq!(of_category(&session, CK_CERTIFICATE_CATEGORY_AUTHORITY), found, "{generation}");
    }
}

/// A card that calls its holder an authority must not get its key found by way of that certificate.
#[test]
fn an_authority_with_the_holders_key_is_none() {
    let key = cns_virtual_card::sample::key().unwrap().to_public_key();
    let desk = Desk::set_up_with(|_| {
        let mut card = card("idemia2021");
        card.load_authority_certificate(&certificate(1, Some(&key))).unwrap();
        card.load_authority_certificate(&certificate(2, None)).unwrap();
        card
    });
    let session = desk.session();
    assert_eq!(of_category(&session, CK_CERTIFICATE_CATEGORY_AUTHORITY).len(), 1);
    assert_eq!(of_category(&session, CK_CERTIFICATE_CATEGORY_TOKEN_USER).len(), 2);
}
