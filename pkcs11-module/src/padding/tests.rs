use cns_protocol::key::Hash;
use rsa::pkcs1v15::Pkcs1v15Encrypt;
use rsa::pss::Pss as Reference;
use rsa::traits::{PublicKeyParts, SignatureScheme};
use rsa::{BigUint, Oaep, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{encryption_block, oaep_block, pss_is_of, recovered, signature_block};
use crate::error::Error;
use crate::mechanism::Pss;

fn key() -> RsaPrivateKey {
    cns_virtual_card::sample::key().unwrap()
}

/// The public operation.
fn public(block: &[u8]) -> Vec<u8> {
    let key = key();
    let mut bytes = BigUint::from_bytes_be(block).modpow(key.e(), key.n()).to_bytes_be();
    while bytes.len() < key.size() {
        bytes.insert(0, 0);
    }
    bytes
}

#[test]
fn another_implementation_decrypts() {
    for length in [0, 1, 100, 245] {
        let data = vec![0; length];
        let encrypted = public(&encryption_block(&data, 256).unwrap());
        assert_eq!(key().decrypt(Pkcs1v15Encrypt, &encrypted).unwrap(), data);
    }
    for (label, length) in [("", 0), ("a label", 214 - 24)] {
        let data = vec![0; length];
        let block = oaep_block(&data, Hash::Sha256, Hash::Sha1, label.as_bytes(), 256).unwrap();
        let oaep = Oaep::new_with_mgf_hash_and_label::<Sha256, Sha1, _>(label);
        assert_eq!(key().decrypt(oaep, &public(&block)).unwrap(), data);
    }
    assert_eq!(encryption_block(&[0; 246], 256).err(), Some(Error::DataLenRange));
    let too_long = oaep_block(&[0; 191], Hash::Sha256, Hash::Sha1, b"", 256);
    assert_eq!(too_long.err(), Some(Error::DataLenRange));
}

#[test]
fn two_encryptions_are_never_alike() {
    assert_ne!(encryption_block(b"x", 256).unwrap(), encryption_block(b"x", 256).unwrap());
    let oaep = || oaep_block(b"x", Hash::Sha1, Hash::Sha1, b"", 256).unwrap();
    assert_ne!(oaep(), oaep());
}

#[test]
fn what_was_signed_is_recovered_and_nothing_else() {
    let block = signature_block(b"data", 64).unwrap();
    assert_eq!(recovered(&block), Some(&b"data"[..]));
    assert_eq!(recovered(&signature_block(&[], 11).unwrap()), Some(&[][..]));
    assert_eq!(signature_block(&[1; 54], 64), Err(Error::DataLenRange));
    let mut filled = vec![0xFF; 64];
    filled[..2].copy_from_slice(&[0, 1]);
    let mut short = vec![0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0];
    short.resize(64, 1);
    let (mut other_type, mut other_filling, mut not_below) = (block.clone(), block.clone(), block);
    other_type[1] = 2;
    other_filling[20] = 0xFE;
    not_below[0] = 1;
    for block in [filled, short, other_type, other_filling, not_below, vec![], vec![0], vec![0, 1]] {
        assert_eq!(recovered(&block), None, "{block:?}");
    }
}

#[test]
fn pss_of_another_implementation_is_judged() {
    let digest = Sha256::digest(b"a text");
    let mut random = rand_core::OsRng;
    let salted = |salt_length| Pss { hash: Hash::Sha256, mgf_hash: Hash::Sha256, salt_length };
    for salt in [0, 20, 32, 222] {
        let reference = Reference::new_with_salt::<Sha256>(salt);
        let signature = reference.sign(Some(&mut random), &key(), &digest).unwrap();
        let block = public(&signature);
        let salt = u16::try_from(salt).unwrap();
        assert!(pss_is_of(&block, &digest, salted(salt), 2048), "{salt}");
        assert!(!pss_is_of(&block, &Sha256::digest(b"another"), salted(salt), 2048));
        assert!(!pss_is_of(&block, &digest, salted(salt ^ 1), 2048));
        assert!(!pss_is_of(&block, &digest, Pss { mgf_hash: Hash::Sha1, ..salted(salt) }, 2048));
        for place in [0, 1, 200, 255] {
            let mut damaged = block.clone();
            damaged[place] ^= if place == 0 { 0x80 } else { 1 };
            assert!(!pss_is_of(&damaged, &digest, salted(salt), 2048), "{salt} {place}");
        }
    }
    for bits in [0, 1, 8, 200, 2049] {
        assert!(!pss_is_of(&[0xBC; 256], &digest, salted(32), bits), "{bits}");
    }
    assert!(!pss_is_of(&[], &digest, salted(32), 2048));
}
