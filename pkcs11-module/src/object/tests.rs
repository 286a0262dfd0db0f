use std::collections::BTreeSet;

use cns_protocol::card::{AuthorityCertificate, Card, Certificate, KeyUse};
use cns_protocol::key_pair::KeyPair;
use cryptoki_sys as ck;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_ULONG};
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use x509_cert::Certificate as X509;
use x509_cert::ext::Extension;

use super::{Attribute, Object};
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

/// An authority of this certificate; that it calls itself one is the daemon's to judge.
fn authority(der: Vec<u8>) -> AuthorityCertificate {
    let text = String::new;
    AuthorityCertificate {
        der,
        subject: "CN=An authority".to_owned(),
        common_name: text(),
        issuer: text(),
        serial_number: text(),
        not_before: text(),
        not_after: text(),
        sha256: "c".to_owned(),
    }
}

/// The certificate with another public key: one on a curve, of no worth to anybody.
fn on_a_curve() -> Vec<u8> {
    let mut x509 = X509::from_der(AUTHENTICATION).unwrap();
    let key = &mut x509.tbs_certificate.subject_public_key_info;
    key.algorithm.oid = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    key.subject_public_key = der::asn1::BitString::from_bytes(&[4; 65]).unwrap();
    x509.to_der().unwrap()
}

/// The objects of a card with both certificates and one of an authority, by class.
fn of_class(class: CK_ULONG) -> Vec<Object> {
    let mut card = card("6200000000012302", 1, &[KeyUse::Authentication, KeyUse::Signature]);
    card.authorities.push(authority(on_a_curve()));
    Object::all(&card).into_iter().filter(|object| number(object, ck::CKA_CLASS) == class).collect()
}

#[test]
fn the_public_files_are_data_and_the_holders_is_private() {
    let files: Vec<_> = of_class(ck::CKO_DATA)
        .iter()
        .map(|file| {
            let text = |kind| String::from_utf8(file.value(kind).unwrap().to_vec()).unwrap();
            (text(ck::CKA_LABEL), text(ck::CKA_VALUE), file.is_private())
        })
        .collect();
    let number = ("EF_ID_Carta".to_owned(), "6200000000012302".to_owned(), false);
    assert_eq!(files, [number, ("EF_Dati_personali".to_owned(), "000000".to_owned(), true)]);
    let unread = Card { personal_data: Vec::new(), ..card("6200000000012302", 1, &[]) };
    let labels: Vec<_> =
        Object::all(&unread).iter().map(|object| object.value(ck::CKA_LABEL).unwrap().to_vec()).collect();
    assert!(!labels.contains(&b"EF_Dati_personali".to_vec()));
}

#[test]
fn a_profile_is_announced_where_it_holds() {
    let profiles = |uses: &[KeyUse]| {
        let objects = Object::all(&card("6200000000012302", 1, uses));
        let profiles = objects.iter().filter(|object| number(object, ck::CKA_CLASS) == ck::CKO_PROFILE);
        profiles.map(|profile| number(profile, ck::CKA_PROFILE_ID)).collect::<Vec<_>>()
    };
    let providers = [ck::CKP_BASELINE_PROVIDER, ck::CKP_EXTENDED_PROVIDER];
    assert_eq!(profiles(&[]), providers);
    let token = [ck::CKP_AUTHENTICATION_TOKEN, ck::CKP_PUBLIC_CERTIFICATES_TOKEN];
    assert_eq!(profiles(&[KeyUse::Authentication]), [providers, token].concat());
    // What Public Certificates Token promises (Profiles v3.2 §5.5).
    let keys = of_class(ck::CKO_PRIVATE_KEY);
    for certificate in of_class(ck::CKO_CERTIFICATE) {
        assert!(!certificate.is_private());
        if number(&certificate, ck::CKA_CERTIFICATE_CATEGORY) == ck::CK_CERTIFICATE_CATEGORY_AUTHORITY {
            assert!(keys.iter().all(|key| key.value(ck::CKA_ID) != certificate.value(ck::CKA_ID)));
            continue;
        }
        assert!(keys.iter().any(|key| key.value(ck::CKA_ID) == certificate.value(ck::CKA_ID)));
    }
}

#[test]
fn an_authority_is_a_certificate_without_keys() {
    let der = on_a_curve();
    let known = Card { authorities: vec![authority(der.clone())], ..card("6200000000012302", 1, &[]) };
    let all = Object::all(&known);
    let mut found = all.iter().filter(|object| number(object, ck::CKA_CLASS) == ck::CKO_CERTIFICATE);
    let object = found.next().unwrap();
    assert!(found.next().is_none());
    assert!(all.iter().all(|object| object.as_private_key().is_none() && object.as_public_key().is_none()));
    assert_eq!(object.value(ck::CKA_VALUE), Ok(&der[..]));
    assert_eq!(object.value(ck::CKA_TRUSTED), Ok(&[0][..]));
    // Where there is no modulus, all of the key.
    assert_eq!(object.value(ck::CKA_ID), Ok(&Sha1::digest([4; 65])[..]));
    assert_eq!(object.value(ck::CKA_LABEL), Ok(&b"Authority CN=An authority"[..]));
    // Neither what is no certificate, nor one with the holder's key.
    let none = [b"no certificate".to_vec(), AUTHENTICATION.to_vec()];
    let authorities = none.into_iter().map(authority).collect();
    let known = Card { authorities, ..card("6200000000012302", 1, &[KeyUse::Authentication]) };
    let certificates = Object::all(&known);
    let certificates =
        certificates.iter().filter(|object| number(object, ck::CKA_CLASS) == ck::CKO_CERTIFICATE);
    assert_eq!(certificates.count(), 1);
}

#[test]
fn an_authoritys_name_brings_no_control_characters_and_no_novel() {
    let named = AuthorityCertificate {
        common_name: format!("\x1b[2J{}", "A".repeat(1000)),
        ..authority(on_a_curve())
    };
    let known = Card { authorities: vec![named], ..card("6200000000012302", 1, &[]) };
    let all = Object::all(&known);
    let label = all.iter().find(|object| number(object, ck::CKA_CLASS) == ck::CKO_CERTIFICATE).unwrap();
    let expected = format!("Authority [2J{}", "A".repeat(61));
    assert_eq!(label.value(ck::CKA_LABEL), Ok(expected.as_bytes()));
}

#[test]
fn every_object_has_a_name_of_its_own() {
    let card = card("6200000000012302", 1, &[KeyUse::Authentication, KeyUse::Signature]);
    let objects = Object::all(&card);
    let unique: BTreeSet<_> = objects.iter().map(|object| object.value(ck::CKA_UNIQUE_ID).unwrap()).collect();
    assert_eq!(unique.len(), objects.len());
}

macro_rules! names {
    ($($name:ident)*) => { [$((stringify!($name), ck::$name)),*] };
}

/// The attributes that objects here have, by the standard's names.
const NAMES: &[(&str, CK_ATTRIBUTE_TYPE)] = &names![
    CKA_ALLOWED_MECHANISMS CKA_ALWAYS_AUTHENTICATE CKA_ALWAYS_SENSITIVE CKA_APPLICATION
    CKA_CERTIFICATE_CATEGORY CKA_CERTIFICATE_TYPE CKA_CHECK_VALUE CKA_CLASS CKA_COEFFICIENT CKA_COPYABLE
    CKA_DECAPSULATE CKA_DECRYPT CKA_DERIVE CKA_DESTROYABLE CKA_ENCAPSULATE CKA_ENCRYPT CKA_END_DATE
    CKA_EXPONENT_1 CKA_EXPONENT_2 CKA_EXTRACTABLE CKA_HASH_OF_ISSUER_PUBLIC_KEY
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY CKA_ID CKA_ISSUER CKA_JAVA_MIDP_SECURITY_DOMAIN CKA_KEY_GEN_MECHANISM
    CKA_KEY_TYPE CKA_LABEL CKA_LOCAL CKA_MODIFIABLE CKA_MODULUS CKA_MODULUS_BITS CKA_NAME_HASH_ALGORITHM
    CKA_NEVER_EXTRACTABLE CKA_OBJECT_ID CKA_PRIME_1 CKA_PRIME_2 CKA_PRIVATE CKA_PRIVATE_EXPONENT
    CKA_PROFILE_ID CKA_PUBLIC_EXPONENT CKA_PUBLIC_KEY_INFO CKA_SENSITIVE CKA_SERIAL_NUMBER CKA_SIGN
    CKA_SIGN_RECOVER CKA_START_DATE CKA_SUBJECT CKA_TOKEN CKA_TRUSTED CKA_UNIQUE_ID CKA_UNWRAP CKA_URL
    CKA_VALUE CKA_VERIFY CKA_VERIFY_RECOVER CKA_WRAP CKA_WRAP_WITH_TRUSTED
];

/// What `docs/pkcs11-features.md` says of a column: the names of the attributes that are there, and of the secret ones.
fn documented(column: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let document = include_str!("../../../docs/pkcs11-features.md");
    let (mut told, mut secret) = (BTreeSet::new(), BTreeSet::new());
    for row in document.lines().filter(|line| line.starts_with("| `CKA_")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let names = cells[1]
            .split('`')
            .filter(|name| name.starts_with("CKA_"))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        if cells[column + 2].starts_with("yes") {
            told.extend(names);
        } else if cells[column + 2].starts_with("`CKR_ATTRIBUTE_SENSITIVE`") {
            secret.extend(names);
        } else {
            assert_eq!(cells[column + 2], "", "{row}");
        }
    }
    (told, secret)
}

/// The names of an object's attributes: those that are told, and the secret ones.
fn names_of(object: &Object) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut told, mut secret) = (BTreeSet::new(), BTreeSet::new());
    for (kind, attribute) in &object.attributes {
        let name = NAMES.iter().find(|(_, known)| known == kind);
        let name = name.unwrap_or_else(|| panic!("{kind:#x} is not in NAMES")).0.to_owned();
        match attribute {
            Attribute::Value(_) | Attribute::OfKey => told.insert(name),
            Attribute::Sensitive => secret.insert(name),
        };
    }
    (told, secret)
}

#[test]
fn a_key_pair_without_a_certificate_has_the_attributes_of_any_other() {
    let x509 = X509::from_der(SIGNATURE).unwrap();
    let public_key = x509.tbs_certificate.subject_public_key_info.to_der().unwrap();
    let pair = KeyPair { public_key, request: b"a request".to_vec() };
    let known = card("6200000000012302", 1, &[KeyUse::Authentication]);
    let [public, private, request] = super::key_pair_objects(&known, &pair).unwrap();
    for (object, column) in [(&public, 1), (&private, 2), (&request, 3)] {
        assert_eq!(names_of(object), documented(column), "column {column}");
    }
    // What its certificate's objects will have, but for what only that says.
    let certified = objects(KeyUse::Signature);
    for kind in [ck::CKA_ID, ck::CKA_LABEL, ck::CKA_MODULUS, ck::CKA_PUBLIC_KEY_INFO] {
        assert!(public.shares(&certified[1], kind) && private.shares(&certified[2], kind), "{kind:#x}");
    }
    assert!(private.is_private() && !public.is_private() && !request.is_private());
    assert_eq!(private.value(ck::CKA_SIGN), Ok(&[0][..]), "not before it is certified");
    assert!(private.as_private_key().is_none());
    let broken = KeyPair { public_key: b"no key".to_vec(), request: Vec::new() };
    assert!(super::key_pair_objects(&known, &broken).is_none());
}

#[test]
fn the_document_names_every_attribute_and_no_other() {
    let classes =
        [ck::CKO_CERTIFICATE, ck::CKO_PUBLIC_KEY, ck::CKO_PRIVATE_KEY, ck::CKO_DATA, ck::CKO_PROFILE];
    for (column, class) in classes.into_iter().enumerate() {
        let objects = of_class(class);
        assert!(!objects.is_empty());
        for object in objects {
            assert_eq!(names_of(&object), documented(column), "class {class}");
        }
    }
}
