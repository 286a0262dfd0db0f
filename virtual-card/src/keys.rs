//! The chip's arithmetic: RSA without padding of its own, and the way keys lie in objects.

use cns_apdu::StatusWord;
use cns_apdu::object::{rsa_component, rsa_component_value};
use cns_apdu::triple_des::TripleDesError;
use cns_secret::{Secret, SecretError};
use rand_core::OsRng;
use rsa::hazmat::rsa_decrypt_and_check;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use zeroize::{Zeroize, Zeroizing};

impl From<KeyError> for StatusWord {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unusable => Self::INVALID_OBJECT,
            KeyError::Input => Self::WRONG_DATA,
            KeyError::Rsa(_) => Self::EXECUTION_ERROR,
            KeyError::Memory(_) => Self::MEMORY_FAILURE,
        }
    }
}

/// Public exponents that this chip generates, and those of keys that were loaded into it.
const PUBLIC_EXPONENTS: [u32; 4] = [65537, 257, 17, 3];

impl From<TripleDesError> for KeyError {
    fn from(error: TripleDesError) -> Self {
        match error {
            TripleDesError::Key => Self::Unusable,
            TripleDesError::Cryptogram => Self::Input,
            TripleDesError::Memory(source) => Self::Memory(source),
        }
    }
}

/// Why the chip could not compute.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The object's body is not a key of the form that its algorithm wants.
    #[error("the object does not hold a usable key")]
    Unusable,
    /// The input is not smaller than the modulus, or not of the right length.
    #[error("the input does not fit the key")]
    Input,
    /// The arithmetic itself failed.
    #[error("RSA: {0}")]
    Rsa(#[from] rsa::Error),
    /// No locked memory for the result.
    #[error(transparent)]
    Memory(#[from] SecretError),
}

fn component(body: &Secret) -> Result<&[u8], KeyError> {
    rsa_component_value(body.expose()).ok_or(KeyError::Unusable)
}

/// The private key in a pair of component bodies. The chip stores no public exponent: the usual ones are tried.
pub(crate) fn private_key(modulus: &Secret, exponent: &Secret) -> Result<RsaPrivateKey, KeyError> {
    let n = BigUint::from_bytes_be(component(modulus)?);
    let d = BigUint::from_bytes_be(component(exponent)?);
    if n.bits() < 512 || &n % 2u8 == BigUint::from(0u8) {
        return Err(KeyError::Unusable);
    }
    let probe = BigUint::from(2u8);
    let fits = |e: &BigUint| probe.modpow(e, &n).modpow(&d, &n) == probe;
    let e = PUBLIC_EXPONENTS.map(BigUint::from).into_iter().find(fits).ok_or(KeyError::Unusable)?;
    Ok(RsaPrivateKey::from_components(n, e, d, Vec::new())?)
}

/// A fresh key; the exponent's length is in bits, as GENERATE KEY PAIR gives it.
pub(crate) fn generate(bits: usize, exponent_bits: u16) -> Result<RsaPrivateKey, KeyError> {
    let e = BigUint::from(if exponent_bits < 24 { 257u32 } else { 65537u32 });
    Ok(RsaPrivateKey::new_with_exp(&mut OsRng, bits, &e)?)
}

/// The bodies of the modulus and the private exponent of `key`.
pub(crate) fn private_bodies(key: &RsaPrivateKey) -> Result<(Secret, Secret), KeyError> {
    let length = key.size();
    let modulus = rsa_component(&padded(key.n(), length)?)?;
    let exponent = rsa_component(&padded(key.d(), length)?)?;
    Ok((modulus, exponent))
}

/// The private operation on a whole block, blinded and checked; the result has the modulus' length.
pub(crate) fn private_operation(key: &RsaPrivateKey, block: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let input = below_modulus(key, block)?;
    let mut output = rsa_decrypt_and_check(key, Some(&mut OsRng), &input)?;
    let result = padded(&output, key.size());
    output.zeroize();
    result
}

/// The public operation on a whole block.
pub(crate) fn public_operation(key: &RsaPublicKey, block: &[u8]) -> Result<Vec<u8>, KeyError> {
    let input = below_modulus(key, block)?;
    let output = input.modpow(key.e(), key.n());
    Ok(padded(&output, key.size())?.to_vec())
}

/// Pads `data` to a signature block and signs it.
pub(crate) fn sign(key: &RsaPrivateKey, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    private_operation(key, &signature_block(data, key.size())?)
}

fn below_modulus(key: &impl PublicKeyParts, block: &[u8]) -> Result<BigUint, KeyError> {
    let input = BigUint::from_bytes_be(block);
    if block.len() == key.size() && input < *key.n() { Ok(input) } else { Err(KeyError::Input) }
}

fn padded(value: &BigUint, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let bytes = Zeroizing::new(value.to_bytes_be());
    let mut block = Zeroizing::new(vec![0; length]);
    let start = length.checked_sub(bytes.len()).ok_or(KeyError::Input)?;
    block.get_mut(start..).ok_or(KeyError::Input)?.copy_from_slice(&bytes);
    Ok(block)
}

/// PKCS#1 block type 1: `00 01 FF… 00 data`, at least eight `FF`.
pub(crate) fn signature_block(data: &[u8], length: usize) -> Result<Vec<u8>, KeyError> {
    let filler = length.checked_sub(data.len() + 3).filter(|count| *count >= 8).ok_or(KeyError::Input)?;
    Ok([&[0x00, 0x01][..], &vec![0xFF; filler], &[0x00], data].concat())
}

/// The data inside a block of type 1.
pub(crate) fn strip_signature_block(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0x00, 0x01])?;
    let filler = rest.iter().take_while(|byte| **byte == 0xFF).count();
    if filler < 8 {
        return None;
    }
    rest.get(filler..)?.strip_prefix(&[0x00])
}

/// Random bytes from the operating system.
pub(crate) fn random(buffer: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_blocks_are_strict() {
        let block = signature_block(b"data", 32).unwrap();
        assert_eq!(strip_signature_block(&block), Some(&b"data"[..]));
        assert!(signature_block(&[0; 22], 32).is_err());
        assert_eq!(strip_signature_block(&[0, 1, 0xFF, 0, 1]), None);
    }
}
