//! Triple DES as the CNS uses it (`cns-card` §5.21): CBC from a zero vector with padding method 2 of ISO/IEC 9797-1,
//! and the retail MAC of its algorithm 3, which the CNS calls MAC3.
//!
//! A key has 8 bytes (all three parts alike), 16 (the third part is the first again) or 24.

use cns_secret::{Secret, SecretError, on_wiped_stack};
use des::cipher::generic_array::GenericArray;
use des::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use des::{Des, TdesEde3};
use thiserror::Error;

use crate::bytes::concat;

/// The length of a block in bytes.
pub const BLOCK: usize = 8;
/// The length of a MAC in bytes.
pub const MAC_LENGTH: usize = BLOCK;
/// The first byte of padding method 2; zeros follow it.
const PADDING: u8 = 0x80;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum TripleDesError {
    /// The key has none of the lengths that exist.
    #[error("the key has none of the lengths 8, 16 and 24")]
    Key,
    /// The cryptogram is not of whole blocks, or what comes out of it is not padded.
    #[error("the cryptogram cannot be opened with this key")]
    Cryptogram,
    /// No locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
}

/// Whether these many bytes can be a key.
#[must_use]
pub const fn is_key_length(length: usize) -> bool {
    matches!(length, 8 | 16 | 24)
}

/// MAC3 over `message`, filled with zeros to whole blocks.
///
/// # Errors
/// The key has a wrong length, or there is no locked memory.
pub fn mac3(key: &Secret, message: &[u8]) -> Result<[u8; MAC_LENGTH], TripleDesError> {
    let parts = parts(key)?;
    on_wiped_stack(|| {
        let cipher = |index: usize| -> Result<Des, TripleDesError> {
            let part = parts.expose().get(index * BLOCK..(index + 1) * BLOCK).ok_or(TripleDesError::Key)?;
            Des::new_from_slice(part).map_err(|_| TripleDesError::Key)
        };
        let first = cipher(0)?;
        let mut chain = GenericArray::from([0; BLOCK]);
        for block in message.chunks(BLOCK) {
            chain.iter_mut().zip(block).for_each(|(state, byte)| *state ^= byte);
            first.encrypt_block(&mut chain);
        }
        cipher(1)?.decrypt_block(&mut chain);
        cipher(2)?.encrypt_block(&mut chain);
        Ok(chain.into())
    })
}

/// Pads and enciphers; the cryptogram is longer than `data` by 1 to 8 bytes.
///
/// # Errors
/// The key has a wrong length, or there is no locked memory.
pub fn encrypt(key: &Secret, data: &[u8]) -> Result<Vec<u8>, TripleDesError> {
    let mut buffer = Secret::zeroed(padded_length(data.len()))?;
    buffer.expose_mut().iter_mut().zip(data.iter().chain(&[PADDING])).for_each(|(to, from)| *to = *from);
    with_cipher(key, |cipher| {
        let mut chain = GenericArray::from([0; BLOCK]);
        for block in buffer.expose_mut().chunks_mut(BLOCK) {
            chain.iter_mut().zip(block.iter()).for_each(|(state, byte)| *state ^= byte);
            cipher.encrypt_block(&mut chain);
            block.copy_from_slice(&chain);
        }
    })?;
    Ok(buffer.expose().to_vec())
}

/// Deciphers and takes the padding off.
///
/// # Errors
/// The key has a wrong length, the cryptogram is not of whole blocks, its padding is wrong, or there is no locked
/// memory.
pub fn decrypt(key: &Secret, cryptogram: &[u8]) -> Result<Secret, TripleDesError> {
    if cryptogram.is_empty() || !cryptogram.len().is_multiple_of(BLOCK) {
        return Err(TripleDesError::Cryptogram);
    }
    let mut plain = Secret::copy_from(cryptogram)?;
    with_cipher(key, |cipher| {
        let mut previous = &[0; BLOCK][..];
        for (block, sealed) in plain.expose_mut().chunks_mut(BLOCK).zip(cryptogram.chunks(BLOCK)) {
            cipher.decrypt_block(GenericArray::from_mut_slice(block));
            block.iter_mut().zip(previous).for_each(|(byte, before)| *byte ^= before);
            previous = sealed;
        }
    })?;
    let marker = plain.expose().iter().rposition(|byte| *byte != 0).ok_or(TripleDesError::Cryptogram)?;
    let padding = plain.len() - marker;
    if plain.expose().get(marker) != Some(&PADDING) || padding > BLOCK {
        return Err(TripleDesError::Cryptogram);
    }
    Ok(plain.truncated(marker))
}

/// The length of the cryptogram of this many bytes.
#[must_use]
pub const fn padded_length(length: usize) -> usize {
    length.saturating_add(1).saturating_add(BLOCK - 1) / BLOCK * BLOCK
}

/// Runs `work` with the key's schedule, which nothing is left of.
fn with_cipher(key: &Secret, work: impl FnOnce(&TdesEde3)) -> Result<(), TripleDesError> {
    let parts = parts(key)?;
    on_wiped_stack(|| {
        let cipher = TdesEde3::new_from_slice(parts.expose()).map_err(|_| TripleDesError::Key)?;
        work(&cipher);
        Ok(())
    })
}

/// The three parts of a key, 24 bytes.
fn parts(key: &Secret) -> Result<Secret, TripleDesError> {
    let bytes = key.expose();
    match bytes.len() {
        8 => Ok(concat(&[bytes, bytes, bytes])?),
        16 => Ok(concat(&[bytes, bytes.get(..BLOCK).unwrap_or_default()])?),
        24 => Ok(concat(&[bytes])?),
        _ => Err(TripleDesError::Key),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;

    fn key() -> Secret {
        let parts = [0x0123_4567_89AB_CDEF_u64, 0xFEDC_BA98_7654_3210];
        Secret::copy_from(&parts.map(u64::to_be_bytes).concat()).unwrap()
    }

    /// `cns-card` §12.1.
    #[test]
    fn mac3_over_the_bare_challenge() {
        let mac = mac3(&key(), &0x0011_2233_4455_6677_u64.to_be_bytes()).unwrap();
        assert_eq!(u64::from_be_bytes(mac), 0x31A7_364C_AC91_CA39);
    }

    /// `cns-card` §12.1: the cryptogram of the PIN 54321.
    #[test]
    fn the_cryptogram_of_a_pin() {
        let cryptogram = encrypt(&key(), b"54321\xFF\xFF\xFF").unwrap();
        let expected = [0xD029_38E1_AD5C_5F34_u64, 0xB800_DF02_28CA_2322].map(u64::to_be_bytes).concat();
        assert_eq!(cryptogram, expected);
        assert_eq!(decrypt(&key(), &cryptogram).unwrap().expose(), b"54321\xFF\xFF\xFF");
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in [0, 1, 7, 9, 15, 17, 23, 25, 32] {
            let key = Secret::zeroed(length).unwrap();
            assert!(!is_key_length(length));
            assert!(matches!(mac3(&key, b""), Err(TripleDesError::Key)), "{length}");
            assert!(matches!(encrypt(&key, b""), Err(TripleDesError::Key)), "{length}");
        }
        for length in [0, 1, 7, 9] {
            assert!(matches!(decrypt(&key(), &vec![0; length]), Err(TripleDesError::Cryptogram)), "{length}");
        }
    }

    #[test]
    fn padding_is_one_block_at_most() {
        let data = [&[PADDING][..], &[0; 15]].concat();
        let sealed = encrypt(&key(), &data).unwrap();
        assert_eq!(decrypt(&key(), &sealed).unwrap().expose(), data);
        assert!(matches!(decrypt(&key(), &sealed[..16]), Err(TripleDesError::Cryptogram)));
        let zeros = encrypt(&key(), &[0; 15]).unwrap();
        assert!(matches!(decrypt(&key(), &zeros[..8]), Err(TripleDesError::Cryptogram)));
    }

    proptest! {
        #[test]
        fn what_is_enciphered_is_deciphered(
            bytes in vec(any::<u8>(), 0..300), length in select(vec![8usize, 16, 24]), seed in any::<[u8; 24]>(),
        ) {
            let key = Secret::copy_from(&seed[..length]).unwrap();
            let sealed = encrypt(&key, &bytes).unwrap();
            prop_assert_eq!(sealed.len(), padded_length(bytes.len()));
            let plain = decrypt(&key, &sealed).unwrap();
            prop_assert_eq!(plain.expose(), &bytes[..]);
        }

        #[test]
        fn any_cryptogram_is_opened_or_refused(bytes in vec(any::<u8>(), 0..300)) {
            if let Ok(plain) = decrypt(&key(), &bytes) {
                prop_assert!(plain.len() < bytes.len());
            }
        }
    }
}
