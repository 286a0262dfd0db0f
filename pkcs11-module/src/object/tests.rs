use cns_protocol::card::{Card, Certificate, KeyUse};
use cryptoki_sys as ck;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_ULONG};
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use x509_cert::Certificate as X509;
use x509_cert::ext::Extension;

use super::Object;
use crate::error::Error;
use crate::test_cards::{AUTHENTICATION, SIGNATURE, card, certificate};

fn objects(key_use: KeyUse) -> Vec<Object> {
    let certificate = certificate(key_use);
    Object::of(&card("6200000000012302", 1, &[key_use]), &certificate)
}

fn number(object: &Object, kind: CK_ATTRIBUTE_TYPE) -> CK_ULONG {
    CK_ULONG::from_ne_bytes(object.value(kind).unwrap().try_into().unwrap())
}

#[test]
fn a_certificate_is_three_objects_with_one_identifier() {
    for key_use in [KeyUse::Authentication, KeyUse::Signature] {
        let objects = objects(key_use);
        let classes: Vec<_> = objects.iter().map(|object| number(object, ck::CKA_CLASS)).collect();
        assert_eq!(classes, [ck::CKO_CERTIFICATE, ck::CKO_PUBLIC_KEY, ck::CKO_PRIVATE_KEY]);
        for object in &objects {
            assert_eq!(object.value(ck::CKA_ID), objects[0].value(ck::CKA_ID));
            assert_eq!(object.value(ck::CKA_LABEL), objects[0].value(ck::CKA_LABEL));
        }
    }
}

#[test]
fn the_label_says_the_use_first() {
    let label =
        |key_use| String::from_utf8(objects(key_use)[0].value(ck::CKA_LABEL).unwrap().to_vec()).unwrap();
    assert_eq!(label(KeyUse::Authentication), "CNS authentication MARIO ROSSI");
    assert_eq!(label(KeyUse::Signature), "Qualified signature MARIO ROSSI");
}

/// The attributes against what another parser reads in the certificate.
#[test]
fn the_certificate_attributes_are_its_own_bytes() {
    for (key_use, der) in [(KeyUse::Authentication, AUTHENTICATION), (KeyUse::Signature, SIGNATURE)] {
        let x509 = X509::from_der(der).unwrap();
        let tbs = &x509.tbs_certificate;
        let objects = objects(key_use);
        let certificate = &objects[0];
        assert_eq!(certificate.value(ck::CKA_VALUE), Ok(der));
        assert_eq!(certificate.value(ck::CKA_SUBJECT), Ok(&tbs.subject.to_der().unwrap()[..]));
        assert_eq!(certificate.value(ck::CKA_ISSUER), Ok(&tbs.issuer.to_der().unwrap()[..]));
        assert_eq!(certificate.value(ck::CKA_SERIAL_NUMBER), Ok(&tbs.serial_number.to_der().unwrap()[..]));
        let info = tbs.subject_public_key_info.to_der().unwrap();
        let bits = tbs.subject_public_key_info.subject_public_key.raw_bytes();
        let rsa = pkcs1::RsaPublicKey::from_der(bits).unwrap();
        for object in &objects {
            assert_eq!(object.value(ck::CKA_PUBLIC_KEY_INFO), Ok(&info[..]));
            assert_eq!(object.value(ck::CKA_ID), Ok(&Sha1::digest(rsa.modulus.as_bytes())[..]));
        }
        for key in &objects[1..] {
            assert_eq!(key.value(ck::CKA_MODULUS), Ok(rsa.modulus.as_bytes()));
            assert_eq!(key.value(ck::CKA_PUBLIC_EXPONENT), Ok(&[1, 0, 1][..]));
        }
        assert_eq!(number(&objects[1], ck::CKA_MODULUS_BITS), 2048);
        let end = tbs.validity.not_after.to_date_time();
        let end = format!("{:04}{:02}{:02}", end.year(), end.month(), end.day());
        assert_eq!(certificate.value(ck::CKA_END_DATE), Ok(end.as_bytes()));
    }
}

#[test]
fn a_private_key_tells_no_secret() {
    let keys = objects(KeyUse::Authentication);
    let key = &keys[2];
    for secret in [
        ck::CKA_PRIVATE_EXPONENT,
        ck::CKA_PRIME_1,
        ck::CKA_PRIME_2,
        ck::CKA_EXPONENT_1,
        ck::CKA_EXPONENT_2,
        ck::CKA_COEFFICIENT,
    ] {
        assert_eq!(key.value(secret), Err(Error::AttributeSensitive));
    }
    assert_eq!(key.value(ck::CKA_VALUE), Err(Error::AttributeTypeInvalid));
    assert_eq!(key.value(ck::CKA_SENSITIVE), Ok(&[1][..]));
    assert_eq!(key.value(ck::CKA_EXTRACTABLE), Ok(&[0][..]));
}

#[test]
fn only_the_signature_key_wants_its_pin_each_time() {
    let mechanisms = |object: &Object| {
        let bytes = object.value(ck::CKA_ALLOWED_MECHANISMS).unwrap();
        bytes.chunks(8).map(|word| CK_ULONG::from_ne_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    };
    let (login, signature) = (objects(KeyUse::Authentication), objects(KeyUse::Signature));
    assert_eq!(login[2].value(ck::CKA_ALWAYS_AUTHENTICATE), Ok(&[0][..]));
    assert_eq!(signature[2].value(ck::CKA_ALWAYS_AUTHENTICATE), Ok(&[1][..]));
    assert!(mechanisms(&login[2]).contains(&ck::CKM_RSA_X_509));
    for refused in [ck::CKM_RSA_X_509, ck::CKM_RSA_PKCS_PSS, ck::CKM_SHA256_RSA_PKCS_PSS] {
        assert!(!mechanisms(&signature[2]).contains(&refused));
    }
}

proptest! {
    /// A template finds an object exactly if each of its attributes has the object's own value.
    #[test]
    fn a_template_matches_what_it_describes(
        which in 0..3_usize,
        asked in proptest::collection::vec((0..0x300 as CK_ULONG, any::<bool>()), 0..6),
    ) {
        let objects = objects(KeyUse::Signature);
        let object = &objects[which];
        let template: Vec<_> = asked
            .iter()
            .filter_map(|(kind, right)| {
                let mut value = object.value(*kind).ok()?.to_vec();
                if !right { value.push(0) }
                Some((*kind, value, *right))
            })
            .collect();
        let matches = object.matches(template.iter().map(|(kind, value, _)| (*kind, &value[..])));
        prop_assert_eq!(matches, template.iter().all(|(_, _, right)| *right));
    }

    /// Whatever the daemon says is a certificate, there are objects for it or none, and no panic.
    #[test]
    fn any_bytes_may_claim_to_be_a_certificate(mut der in Just(AUTHENTICATION.to_vec()), cut in 0..2000_usize, at in 0..800_usize, bits in any::<u8>()) {
        der.truncate(cut);
        if let Some(byte) = der.get_mut(at) { *byte ^= bits }
        let certificate = Certificate { der, ..certificate(KeyUse::Authentication) };
        let holder: Card = card("6200000000012302", 1, &[]);
        let objects = Object::of(&holder, &certificate);
        prop_assert!(objects.is_empty() || objects.len() == 3);
    }
}

#[test]
fn a_secret_attribute_matches_nothing() {
    let objects = objects(KeyUse::Authentication);
    assert!(!objects[2].matches([(ck::CKA_PRIVATE_EXPONENT, &b""[..])].into_iter()));
    assert!(objects[2].matches([].into_iter()));
}

/// The certificate with these extensions instead of its own; nobody here judges its signature.
fn with_extensions(extensions: Option<Vec<Extension>>) -> Certificate {
    let mut x509 = X509::from_der(AUTHENTICATION).unwrap();
    x509.tbs_certificate.extensions = extensions;
    Certificate { der: x509.to_der().unwrap(), ..certificate(KeyUse::Authentication) }
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Extension {
    let extn_id = ObjectIdentifier::new(oid).unwrap();
    Extension { extn_id, critical, extn_value: OctetString::new(value).unwrap() }
}

#[test]
fn a_key_encrypts_where_its_usage_says_so() {
    let (usage, other) = ("2.5.29.15", || extension("2.5.29.14", false, &[4, 1, 7]));
    let bits = |bits: u8| extension(usage, true, &[3, 2, 0, bits]);
    let cases = [
        (None, true),
        (Some(vec![other()]), true),
        (Some(vec![other(), bits(0b1010_0000)]), true),
        (Some(vec![bits(0b0001_0000), other()]), true),
        (Some(vec![extension(usage, false, &[3, 2, 4, 0b1011_0000])]), true),
        (Some(vec![other(), bits(0b1000_0000)]), false),
        (Some(vec![bits(0b0100_0000)]), false),
        (Some(vec![extension(usage, true, &[3, 1, 0])]), false),
        (Some(vec![extension(usage, true, b"no bits at all")]), false),
    ];
    for (extensions, encrypts) in cases {
        let certificate = with_extensions(extensions);
        let objects = Object::of(&card("6200000000012302", 1, &[KeyUse::Authentication]), &certificate);
        assert_eq!(objects[1].value(ck::CKA_ENCRYPT), Ok(&[u8::from(encrypts)][..]));
        assert_eq!(objects[1].value(ck::CKA_VERIFY), Ok(&[1][..]));
    }
}
