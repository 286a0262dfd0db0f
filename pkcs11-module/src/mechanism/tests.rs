use cns_protocol::card::KeyUse;
use cns_protocol::key::{Hash, Mechanism as CardMechanism};
use cryptoki_sys as ck;
use cryptoki_sys::CK_ULONG;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader};
use sha1::Sha1;
use sha2::digest::const_oid::AssociatedOid;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{Padding, Pss, Scheme, all, all_of_counter, flags, hash_of, hasher, signing};
use crate::error::Error;
use crate::object::PrivateKey;

fn pss(hash: CK_ULONG, mgf: CK_ULONG, salt: CK_ULONG) -> Vec<u8> {
    [hash, mgf, salt].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn a_digest_info_names_its_hash() {
    let cases: [(_, _, ObjectIdentifier); 5] = [
        (ck::CKM_SHA1_RSA_PKCS, Hash::Sha1, Sha1::OID),
        (ck::CKM_SHA224_RSA_PKCS, Hash::Sha224, Sha224::OID),
        (ck::CKM_SHA256_RSA_PKCS, Hash::Sha256, Sha256::OID),
        (ck::CKM_SHA384_RSA_PKCS, Hash::Sha384, Sha384::OID),
        (ck::CKM_SHA512_RSA_PKCS, Hash::Sha512, Sha512::OID),
    ];
    for (kind, hash, oid) in cases {
        let digest = vec![0xAB; hash.length()];
        let scheme = Scheme::read(kind, &[]).unwrap();
        assert_eq!(scheme.hash, Some(hash));
        let (mechanism, info) = scheme.prepare(&digest, 256).unwrap();
        assert_eq!(mechanism, CardMechanism::RsaPkcs1);
        let mut reader = SliceReader::new(&info).unwrap();
        let found = reader.sequence(|info| {
            let oid = info.sequence(|algorithm| {
                let oid = ObjectIdentifier::decode(algorithm)?;
                assert!(AnyRef::decode(algorithm)?.is_null());
                Ok(oid)
            })?;
            Ok((oid, OctetStringRef::decode(info)?.as_bytes().to_vec()))
        });
        assert_eq!(found.unwrap(), (oid, digest));
        assert!(reader.is_finished());
    }
}

#[test]
fn hashes_are_the_ones_they_are_named_after() {
    // FIPS 180-4 examples for "abc", first four bytes.
    let cases = [
        (ck::CKM_SHA_1, [0xa9, 0x99, 0x3e, 0x36]),
        (ck::CKM_SHA224, [0x23, 0x09, 0x7d, 0x22]),
        (ck::CKM_SHA256, [0xba, 0x78, 0x16, 0xbf]),
        (ck::CKM_SHA384, [0xcb, 0x00, 0x75, 0x3f]),
        (ck::CKM_SHA512, [0xdd, 0xaf, 0x35, 0xa1]),
    ];
    for (kind, first) in cases {
        let hash = hash_of(kind).unwrap();
        let mut hasher = hasher(hash);
        hasher.update(b"a");
        hasher.update(b"bc");
        let digest = hasher.finalize();
        assert_eq!((&digest[..4], digest.len()), (&first[..], hash.length()));
    }
    assert_eq!(hash_of(ck::CKM_MD5), Err(Error::MechanismInvalid));
}

#[test]
fn pss_parameters_are_read_and_judged() {
    let good = pss(ck::CKM_SHA256, ck::CKG_MGF1_SHA256, 32);
    let expected = Pss { hash: Hash::Sha256, mgf_hash: Hash::Sha256, salt_length: 32 };
    let plain = Scheme::read(ck::CKM_RSA_PKCS_PSS, &good).unwrap();
    assert_eq!(plain, Scheme { hash: None, padding: Padding::Pss(expected) });
    let hashed = Scheme::read(ck::CKM_SHA256_RSA_PKCS_PSS, &good).unwrap();
    assert_eq!(hashed, Scheme { hash: Some(Hash::Sha256), padding: Padding::Pss(expected) });

    let bad = [
        (ck::CKM_RSA_PKCS_PSS, vec![]),
        (ck::CKM_RSA_PKCS_PSS, good[1..].to_vec()),
        (ck::CKM_RSA_PKCS_PSS, [&good[..], &[0]].concat()),
        (ck::CKM_RSA_PKCS_PSS, pss(ck::CKM_MD5, ck::CKG_MGF1_SHA256, 32)),
        (ck::CKM_RSA_PKCS_PSS, pss(ck::CKM_SHA256, 99, 32)),
        (ck::CKM_RSA_PKCS_PSS, pss(ck::CKM_SHA256, ck::CKG_MGF1_SHA256, 65_536)),
        // The mechanism's hash and the parameter's must be one.
        (ck::CKM_SHA384_RSA_PKCS_PSS, good),
        (ck::CKM_RSA_PKCS, vec![0]),
    ];
    for (kind, parameter) in bad {
        assert_eq!(Scheme::read(kind, &parameter), Err(Error::MechanismParamInvalid), "{kind:#x}");
    }
    assert_eq!(Scheme::read(ck::CKM_RSA_PKCS_OAEP, &[]), Err(Error::MechanismInvalid));
}

#[test]
fn a_salt_must_leave_room_in_the_modulus() {
    let scheme =
        |salt| Scheme::read(ck::CKM_RSA_PKCS_PSS, &pss(ck::CKM_SHA512, ck::CKG_MGF1_SHA1, salt)).unwrap();
    assert!(scheme(128 - 64 - 2).fits(128));
    assert!(!scheme(128 - 64 - 1).fits(128));
}

#[test]
fn data_of_the_wrong_length_is_refused() {
    let read = |kind, parameter: &[u8]| Scheme::read(kind, parameter).unwrap();
    let pkcs1 = read(ck::CKM_RSA_PKCS, &[]);
    assert!(pkcs1.prepare(&[1; 117], 128).is_ok());
    assert_eq!(pkcs1.prepare(&[1; 118], 128), Err(Error::DataLenRange));
    let pss = read(ck::CKM_RSA_PKCS_PSS, &pss(ck::CKM_SHA256, ck::CKG_MGF1_SHA256, 32));
    assert!(pss.prepare(&[1; 32], 128).is_ok());
    assert_eq!(pss.prepare(&[1; 31], 128), Err(Error::DataLenRange));
    let raw = read(ck::CKM_RSA_X_509, &[]);
    assert_eq!(raw.prepare(&[1; 2], 4), Ok((CardMechanism::RsaRaw, vec![0, 0, 1, 1])));
    assert_eq!(raw.prepare(&[1; 5], 4), Err(Error::DataLenRange));
}

#[test]
fn every_listed_mechanism_can_be_begun() {
    let parameter = |kind| {
        let hashes = [
            (ck::CKM_SHA1_RSA_PKCS_PSS, ck::CKM_SHA_1),
            (ck::CKM_SHA224_RSA_PKCS_PSS, ck::CKM_SHA224),
            (ck::CKM_SHA256_RSA_PKCS_PSS, ck::CKM_SHA256),
            (ck::CKM_SHA384_RSA_PKCS_PSS, ck::CKM_SHA384),
            (ck::CKM_SHA512_RSA_PKCS_PSS, ck::CKM_SHA512),
            (ck::CKM_RSA_PKCS_PSS, ck::CKM_SHA256),
        ];
        let hash = hashes.iter().find(|(mechanism, _)| *mechanism == kind);
        hash.map_or(Vec::new(), |(_, hash)| pss(*hash, ck::CKG_MGF1_SHA256, 20))
    };
    for kind in all() {
        let (flags, _) = flags(kind, &[&key(KeyUse::Authentication, true)]).unwrap();
        if flags & ck::CKF_SIGN != 0 {
            let scheme = Scheme::read(kind, &parameter(kind)).unwrap();
            for key_use in [KeyUse::Authentication, KeyUse::Signature] {
                assert_eq!(scheme.suits(key_use), signing(key_use).contains(&kind), "{kind:#x}");
            }
        } else if flags & ck::CKF_GENERATE != 0 {
            assert!(super::generates(kind).is_ok(), "{kind:#x}");
        } else if kind != ck::CKM_RSA_PKCS_OAEP {
            assert!(hash_of(kind).is_ok(), "{kind:#x}");
        }
    }
    assert_eq!(signing(KeyUse::Signature).len(), 6);
    assert_eq!(flags(ck::CKM_AES_CBC, &[]), Err(Error::MechanismInvalid));
}

fn key(key_use: KeyUse, decrypts: bool) -> PrivateKey {
    PrivateKey { key_use, length: 256, pin_for_each_use: key_use == KeyUse::Signature, decrypts }
}

#[test]
fn the_flags_are_those_of_the_keys_on_the_card() {
    let flags = |kind, keys: &[&PrivateKey]| flags(kind, keys).unwrap().0;
    let (login, signature) = (&key(KeyUse::Authentication, false), &key(KeyUse::Signature, false));
    let pss = ck::CKM_SHA256_RSA_PKCS_PSS;
    assert_eq!(flags(pss, &[login, signature]), ck::CKF_SIGN | ck::CKF_VERIFY);
    assert_eq!(flags(pss, &[signature]), ck::CKF_VERIFY);
    let public = ck::CKF_VERIFY | ck::CKF_VERIFY_RECOVER | ck::CKF_ENCRYPT | ck::CKF_WRAP;
    assert_eq!(flags(ck::CKM_RSA_PKCS, &[]), public);
    let signs = ck::CKF_SIGN | ck::CKF_SIGN_RECOVER | ck::CKF_HW;
    assert_eq!(flags(ck::CKM_RSA_PKCS, &[signature]), public | signs);
    assert_eq!(flags(ck::CKM_RSA_X_509, &[signature]), public);
    assert_eq!(flags(ck::CKM_RSA_PKCS_OAEP, &[login]), ck::CKF_ENCRYPT | ck::CKF_WRAP);
    let both = ck::CKF_ENCRYPT | ck::CKF_WRAP | ck::CKF_DECRYPT | ck::CKF_UNWRAP | ck::CKF_HW;
    assert_eq!(flags(ck::CKM_RSA_PKCS_OAEP, &[&key(KeyUse::Authentication, true)]), both);
    assert_eq!(flags(ck::CKM_SHA256, &[login]), ck::CKF_DIGEST);
}

const DOCUMENT: &str = include_str!("../../../docs/pkcs11-features.md");

/// The mechanisms by name.
macro_rules! named {
    ($($name:ident)*) => {
        [$((stringify!($name), ck::$name)),*]
    };
}

/// A row of the document's table: the mechanisms' names, written out, and what stands for the two private keys and the
/// public keys.
fn row(line: &str) -> Option<(Vec<String>, [String; 3])> {
    let cells: Vec<&str> = line.strip_prefix("| `CKM_")?.split('|').map(str::trim).collect();
    let [names, authentication, signature, public, ..] = cells.as_slice() else { return None };
    let names: Vec<&str> = names.split(", ").map(|name| name.trim_matches('`')).collect();
    // A dot dot dot stands for the end that the last name has.
    let end = names.last()?.trim_start_matches("CKM_").split_once('_').map_or("", |(_, end)| end);
    let written_out =
        names.iter().map(|name| format!("CKM_{}", name.trim_start_matches("CKM_").replace('…', end)));
    Some((written_out.collect(), [authentication, signature, public].map(|cell| (*cell).to_owned())))
}

/// What the document should say of keys that a mechanism gives these flags.
fn words(flags: u64, words: &[(u64, &str)]) -> String {
    let said: Vec<&str> = words.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| *word).collect();
    if said.is_empty() { "`CKR_MECHANISM_INVALID`".to_owned() } else { said.join(", ") }
}

#[test]
fn the_document_says_what_each_mechanism_does() {
    let numbers = named!(
        CKM_RSA_PKCS CKM_RSA_PKCS_PSS CKM_RSA_X_509 CKM_RSA_PKCS_OAEP
        CKM_SHA1_RSA_PKCS CKM_SHA224_RSA_PKCS CKM_SHA256_RSA_PKCS CKM_SHA384_RSA_PKCS CKM_SHA512_RSA_PKCS
        CKM_SHA1_RSA_PKCS_PSS CKM_SHA224_RSA_PKCS_PSS CKM_SHA256_RSA_PKCS_PSS CKM_SHA384_RSA_PKCS_PSS
        CKM_SHA512_RSA_PKCS_PSS CKM_SHA_1 CKM_SHA224 CKM_SHA256 CKM_SHA384 CKM_SHA512
        CKM_GENERIC_SECRET_KEY_GEN CKM_AES_KEY_GEN CKM_RSA_PKCS_KEY_PAIR_GEN
    );
    let private = [
        (ck::CKF_SIGN, "sign"),
        (ck::CKF_SIGN_RECOVER, "sign recover"),
        (ck::CKF_DECRYPT, "decrypt"),
        (ck::CKF_UNWRAP, "unwrap"),
    ];
    let public = [
        (ck::CKF_VERIFY, "verify"),
        (ck::CKF_VERIFY_RECOVER, "verify recover"),
        (ck::CKF_ENCRYPT, "encrypt"),
        (ck::CKF_WRAP, "wrap"),
    ];
    let mut documented = Vec::new();
    for (names, said) in DOCUMENT.lines().filter_map(row) {
        for name in names {
            let (_, kind) =
                *numbers.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
            let of = |keys: &[&PrivateKey]| flags(kind, keys).unwrap().0;
            let others = [ck::CKF_DIGEST, ck::CKF_GENERATE, ck::CKF_GENERATE_KEY_PAIR | ck::CKF_HW];
            let expected = if others.contains(&of(&[])) {
                [String::new(), String::new(), String::new()]
            } else {
                [
                    words(of(&[&key(KeyUse::Authentication, true)]), &private),
                    words(of(&[&key(KeyUse::Signature, false)]), &private),
                    words(of(&[]), &public),
                ]
            };
            assert_eq!(said, expected, "{name}");
            documented.push(kind);
        }
    }
    documented.sort_unstable();
    let mut offered = all_of_counter();
    offered.sort_unstable();
    assert_eq!(documented, offered, "each mechanism once, and no other");
}
