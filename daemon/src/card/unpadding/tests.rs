use cns_protocol::key::Hash;
use cns_secret::Secret;
use rsa::traits::{PaddingScheme, PublicKeyParts};
use rsa::{BigUint, Oaep, Pkcs1v15Encrypt, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{oaep, pkcs1};

fn secret(bytes: &[u8]) -> Secret {
    Secret::copy_from(bytes).unwrap()
}

fn key() -> RsaPrivateKey {
    cns_virtual_card::sample::key().unwrap()
}

/// What a chip deciphers of another implementation's ciphertext.
fn block(padding: impl PaddingScheme, data: &[u8]) -> Vec<u8> {
    use rsa::traits::PrivateKeyParts;
    let key = key();
    let encrypted = padding.encrypt(&mut rand_core::OsRng, &key.to_public_key(), data).unwrap();
    let bytes = BigUint::from_bytes_be(&encrypted).modpow(key.d(), key.n()).to_bytes_be();
    [&vec![0; key.size() - bytes.len()], &bytes[..]].concat()
}

fn opened(block: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    pkcs1(&secret(block), &secret(&[7; 32]), ciphertext, b"modulus").unwrap().expose().to_vec()
}

#[test]
fn pkcs1_of_another_implementation_is_opened() {
    for length in [0, 1, 32, 48, 245] {
        let data = vec![0; length];
        assert_eq!(opened(&block(Pkcs1v15Encrypt, &data), b"c"), data);
    }
}

#[test]
fn a_badly_padded_block_is_another_plaintext() {
    let good = block(Pkcs1v15Encrypt, b"a secret");
    let damaged = |place: usize, byte: u8| {
        let mut block = good.clone();
        block[place] = byte;
        block
    };
    let without_zero: Vec<u8> =
        good.iter().enumerate().map(|(at, byte)| if at > 1 { byte | 1 } else { *byte }).collect();
    let bad = [
        damaged(0, 1),
        damaged(1, 1),
        damaged(1, 0),
        damaged(2, 0),
        damaged(9, 0),
        without_zero,
        vec![0; 256],
    ];
    let other = opened(&bad[0], b"c");
    for block in &bad {
        // One and the same for one ciphertext, whatever is wrong; for another one another.
        assert_eq!(opened(block, b"c"), other);
        assert_ne!(opened(block, b"d"), other);
        assert_ne!(opened(block, b"d"), opened(block, b"e"));
    }
    assert_ne!(other, b"a secret");
    // The last place where the zero is too early is 9.
    assert_eq!(opened(&damaged(10, 0), b"c").len(), 245);
    let elsewhere = pkcs1(&secret(&bad[0]), &secret(&[8; 32]), b"c", b"modulus").unwrap();
    assert_ne!(elsewhere.expose(), other);
    let of_another_key = pkcs1(&secret(&bad[0]), &secret(&[7; 32]), b"c", b"another").unwrap();
    assert_ne!(of_another_key.expose(), other);
}

/// Real plaintexts have any length; so have the others.
#[test]
fn other_plaintexts_have_any_length_that_fits() {
    let lengths: Vec<usize> = (0..2000_u32).map(|c| opened(&[1; 256], &c.to_be_bytes()).len()).collect();
    assert!(lengths.iter().all(|length| *length <= 245));
    for from in [0, 50, 100, 150, 200] {
        let count = lengths.iter().filter(|length| (from..from + 46).contains(*length)).count();
        assert!((250..510).contains(&count), "{count} of 2,000 from {from}");
    }
    for length in [0, 1, 2, 10, 11] {
        assert!(opened(&vec![0; length], b"c").len() <= 1, "{length}");
    }
}

#[test]
fn oaep_of_another_implementation_is_opened() {
    let open = |block: &[u8], hash, mgf, label: &[u8]| {
        oaep(&secret(block), hash, mgf, label).unwrap().map(|data| data.expose().to_vec())
    };
    for length in [0, 1, 32, 190] {
        let data = vec![1; length];
        let block = block(Oaep::new::<Sha256>(), &data);
        assert_eq!(open(&block, Hash::Sha256, Hash::Sha256, b""), Some(data));
    }
    let mixed = block(Oaep::new_with_mgf_hash_and_label::<Sha512, Sha1, _>("label"), b"data");
    assert_eq!(open(&mixed, Hash::Sha512, Hash::Sha1, b"label"), Some(b"data".to_vec()));
    for (hash, mgf, label) in [
        (Hash::Sha512, Hash::Sha1, &b"labeL"[..]),
        (Hash::Sha512, Hash::Sha1, b""),
        (Hash::Sha512, Hash::Sha512, b"label"),
        (Hash::Sha256, Hash::Sha1, b"label"),
    ] {
        assert_eq!(open(&mixed, hash, mgf, label), None);
    }
    for place in [0, 1, 64, 65, 255] {
        let mut damaged = mixed.clone();
        damaged[place] ^= 1;
        assert_eq!(open(&damaged, Hash::Sha512, Hash::Sha1, b"label"), None, "{place}");
    }
    for length in [0, 1, 64, 65, 129, 130] {
        assert_eq!(open(&vec![0; length], Hash::Sha512, Hash::Sha1, b""), None, "{length}");
    }
}
