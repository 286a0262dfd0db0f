//! Sealed records: AES-256-GCM (NIST SP 800-38D) with the record's identity as associated data.
//!
//! ```text
//! version (1) = 1 | key identifier (4, big-endian) | nonce (12, random) | ciphertext | tag (16)
//! ```
//! The associated data is the version, the key identifier, and table, column and primary key with their lengths: a
//! sealed value that is copied to another row or column does not open there. Random nonces are safe for 2^32 records
//! under one key (SP 800-38D §8.3), far beyond what one daemon keeps.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use cns_secret::{Secret, on_wiped_stack};

use crate::custody::error::CustodyError;

/// Length of every symmetric key here.
pub(crate) const KEY_LEN: usize = 32;
const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
pub(crate) const TAG_LEN: usize = 16;

/// Which record a sealed value belongs to.
#[derive(Clone, Copy, Debug)]
pub struct RecordName<'a> {
    /// The table, or the kind of file.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The primary key; its parts are joined with `/`.
    pub key: &'a str,
}

impl fmt::Display for RecordName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}[{}]", self.table, self.column, self.key)
    }
}

/// Seals records under the newest of its keys, and opens what any of them sealed. Clones share the keys.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<RwLock<Vec<Key>>>,
}

#[derive(Clone)]
struct Key {
    id: u32,
    /// The cipher's key schedule is built anew for each record, so that the key rests in locked memory only.
    secret: Arc<Secret>,
}

impl Sealer {
    /// A sealer under the key `key`, which records will name `id`.
    pub(crate) fn new(id: u32, key: Secret) -> Self {
        Self { keys: Arc::new(RwLock::new(vec![Key { id, secret: Arc::new(key) }])) }
    }

    /// Adds a key; from now on the one with the highest identifier seals.
    pub(crate) fn add(&self, id: u32, key: Secret) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.iter().all(|known| known.id != id) {
            keys.push(Key { id, secret: Arc::new(key) });
            keys.sort_by_key(|key| key.id);
        }
    }

    /// The identifiers of the keys, in order; the last one seals.
    pub(crate) fn identifiers(&self) -> Vec<u32> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).iter().map(|key| key.id).collect()
    }

    /// Whether this was sealed under the key that seals now.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        let newest = self.identifiers().last().copied();
        Parts::of(sealed).is_some_and(|parts| Some(parts.key_id) == newest)
    }

    fn newest(&self) -> Result<Key, CustodyError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last().cloned().ok_or(CustodyError::Cryptography("there is no key to seal with"))
    }

    fn key(&self, id: u32) -> Option<Key> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|key| key.id == id).cloned()
    }

    /// Seals `plaintext` for the record `name`.
    ///
    /// # Errors
    /// No locked memory, or no randomness.
    pub fn seal(&self, name: RecordName<'_>, plaintext: &Secret) -> Result<Vec<u8>, CustodyError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| CustodyError::Cryptography("no random nonce"))?;
        let mut body = plaintext.duplicate()?;
        let key = self.newest()?;
        let tag = on_wiped_stack(|| {
            let aad = Aad::from(associated_data(key.id, name));
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = key.cipher()?.seal_in_place_separate_tag(nonce, aad, body.expose_mut());
            sealed.map_err(|_| CustodyError::Cryptography("AES-256-GCM did not seal"))
        })?;
        Ok(compose(key.id, &nonce, &[body.expose(), tag.as_ref()]))
    }

    /// Opens what was sealed for the record `name`, in locked memory.
    ///
    /// # Errors
    /// [`CustodyError::Tampered`] when it was not sealed for this record under this key.
    pub fn open(&self, name: RecordName<'_>, sealed: &[u8]) -> Result<Secret, CustodyError> {
        let tampered = || CustodyError::Tampered { record: name.to_string() };
        let parts = Parts::of(sealed).ok_or_else(tampered)?;
        let key = self.key(parts.key_id).ok_or_else(tampered)?;
        let plaintext_len = parts.body.len().checked_sub(TAG_LEN).ok_or_else(tampered)?;
        let mut buffer = Secret::copy_from(parts.body)?;
        on_wiped_stack(|| {
            let aad = Aad::from(associated_data(key.id, name));
            let nonce = Nonce::assume_unique_for_key(*parts.nonce);
            key.cipher()?.open_in_place(nonce, aad, buffer.expose_mut()).map(drop).map_err(|_| tampered())
        })?;
        Ok(buffer.truncated(plaintext_len))
    }
}

impl Key {
    fn cipher(&self) -> Result<LessSafeKey, CustodyError> {
        UnboundKey::new(&AES_256_GCM, self.secret.expose())
            .map(LessSafeKey::new)
            .map_err(|_| CustodyError::Cryptography("an AES-256 key is 32 bytes"))
    }
}

/// What binds a sealed value to its place.
pub(super) fn associated_data(key_id: u32, name: RecordName<'_>) -> Vec<u8> {
    let mut data = vec![VERSION];
    data.extend_from_slice(&key_id.to_be_bytes());
    for part in [name.table, name.column, name.key] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

/// A sealed value of ciphertext and tag, in one or two pieces.
pub(super) fn compose(key_id: u32, nonce: &[u8; NONCE_LEN], body: &[&[u8]]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_LEN + body.iter().map(|part| part.len()).sum::<usize>());
    sealed.push(VERSION);
    sealed.extend_from_slice(&key_id.to_be_bytes());
    sealed.extend_from_slice(nonce);
    body.iter().for_each(|part| sealed.extend_from_slice(part));
    sealed
}

/// The parts of a sealed value.
pub(super) struct Parts<'a> {
    pub(super) key_id: u32,
    pub(super) nonce: &'a [u8; NONCE_LEN],
    /// Ciphertext and tag.
    pub(super) body: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn of(sealed: &'a [u8]) -> Option<Self> {
        let (version, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_first_chunk::<KEY_ID_LEN>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        (*version == VERSION).then_some(Self { key_id: u32::from_be_bytes(*id), nonce, body })
    }
}

/// Fresh random bytes in locked memory.
pub(crate) fn random_secret(len: usize) -> Result<Secret, CustodyError> {
    let mut secret = Secret::zeroed(len)?;
    rand::fill(secret.expose_mut()).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: RecordName<'_> = RecordName { table: "puk", column: "sealed", key: "6999000000001230/cns" };

    fn new_sealer() -> Sealer {
        Sealer::new(7, random_secret(KEY_LEN).unwrap())
    }

    fn sealed(sealer: &Sealer) -> Vec<u8> {
        sealer.seal(NAME, &Secret::copy_from(b"12345678").unwrap()).unwrap()
    }

    fn is_tampered(result: Result<Secret, CustodyError>) -> bool {
        matches!(result, Err(CustodyError::Tampered { record }) if record.starts_with("puk.") || record.starts_with("envelope."))
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_repeats() {
        let sealer = new_sealer();
        let (first, second) = (sealed(&sealer), sealed(&sealer));
        assert_eq!(first.len(), 1 + 4 + 12 + 8 + 16);
        assert_ne!(first[5..], second[5..]);
        assert_eq!(sealer.open(NAME, &first).unwrap().expose(), b"12345678");
    }

    /// The layout, checked against a decryption that does not use the sealer.
    #[test]
    fn layout_is_as_documented() {
        let key = [0x42; KEY_LEN];
        let sealer = Sealer::new(0x0102_0304, Secret::copy_from(&key).unwrap());
        let mut sealed = sealed(&sealer);
        assert_eq!(sealed[..5], [1, 1, 2, 3, 4]);
        let mut aad = vec![1, 1, 2, 3, 4];
        for part in ["puk", "sealed", "6999000000001230/cns"] {
            aad.extend([0, 0, 0, 0, 0, 0, 0]);
            aad.push(u8::try_from(part.len()).unwrap());
            aad.extend(part.bytes());
        }
        let nonce = Nonce::try_assume_unique_for_key(&sealed[5..17]).unwrap();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        assert_eq!(cipher.open_in_place(nonce, Aad::from(aad), &mut sealed[17..]).unwrap(), b"12345678");
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_seen() {
        let sealer = new_sealer();
        let good = sealed(&sealer);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(is_tampered(sealer.open(NAME, &bad)), "byte {place}");
            assert!(is_tampered(sealer.open(NAME, &good[..place])), "cut at {place}");
        }
    }

    #[test]
    fn the_newest_key_seals_and_older_ones_still_open() {
        let sealer = new_sealer();
        let clone = sealer.clone();
        let old = sealed(&sealer);
        sealer.add(9, random_secret(KEY_LEN).unwrap());
        sealer.add(8, random_secret(KEY_LEN).unwrap());
        // The same identifier again changes nothing.
        sealer.add(9, random_secret(KEY_LEN).unwrap());
        assert_eq!(clone.identifiers(), [7, 8, 9], "clones share the keys");
        let new = sealed(&clone);
        assert_eq!((Parts::of(&old).unwrap().key_id, Parts::of(&new).unwrap().key_id), (7, 9));
        for text in [&old, &new] {
            assert_eq!(sealer.open(NAME, text).unwrap().expose(), b"12345678");
        }
        let mut renamed = old;
        renamed[4] = 9;
        assert!(is_tampered(sealer.open(NAME, &renamed)));
    }

    #[test]
    fn another_record_does_not_open() {
        let sealer = new_sealer();
        let good = sealed(&sealer);
        let others = [
            RecordName { key: "6999000000001230/signature", ..NAME },
            RecordName { column: "seale", key: "d6999000000001230/cns", ..NAME },
            RecordName { table: "envelope", ..NAME },
        ];
        for other in others {
            assert!(is_tampered(sealer.open(other, &good)), "{other}");
        }
        assert!(is_tampered(new_sealer().open(NAME, &good)), "another key");
    }
}
