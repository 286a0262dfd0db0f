//! Operations with a public key, in software: the chip has nothing to add, and no PIN is needed.

use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use zeroize::Zeroizing;

use crate::cipher::Cipher;
use crate::error::Error;
use crate::mechanism::{Padding, Scheme};
use crate::padding;

/// The longest modulus, in bits: that of the largest CNS key.
const MOST_BITS: usize = 4096;

/// An RSA public key.
pub(crate) struct PublicKey {
    key: RsaPublicKey,
    /// The modulus' length in bytes.
    pub(crate) length: usize,
    /// What it may be used for.
    pub(crate) uses: Uses,
}

/// What a public key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) verify: bool,
    pub(crate) verify_recover: bool,
    pub(crate) encrypt: bool,
    pub(crate) wrap: bool,
}

impl PublicKey {
    /// A key of its numbers, big-endian. Nothing when they cannot be those of an RSA key of at most 4,096 bits.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8], uses: Uses) -> Option<Self> {
        let number = BigUint::from_bytes_be;
        let key = RsaPublicKey::new_with_max_size(number(modulus), number(exponent), MOST_BITS).ok()?;
        let length = key.size();
        Some(Self { key, length, uses })
    }

    /// Whether a signature is one of `data`, which is a digest where the scheme hashes.
    ///
    /// # Errors
    /// [`Error::SignatureLenRange`], [`Error::SignatureInvalid`], or [`Error::DataLenRange`] for data that no signature
    /// of the scheme can be of.
    pub(crate) fn verify(&self, scheme: Scheme, data: &[u8], signature: &[u8]) -> Result<(), Error> {
        let (_, prepared) = scheme.prepare(data, self.length)?;
        let block = self.opened(signature)?;
        let is_valid = match scheme.padding {
            Padding::Pkcs1 => *block == padding::signature_block(&prepared, self.length)?,
            Padding::Raw => *block == prepared,
            Padding::Pss(pss) => padding::pss_is_of(&block, &prepared, pss, self.key.n().bits()),
        };
        if is_valid { Ok(()) } else { Err(Error::SignatureInvalid) }
    }

    /// The data that a signature was made of.
    ///
    /// # Errors
    /// As [`PublicKey::verify`].
    pub(crate) fn recover(&self, scheme: Scheme, signature: &[u8]) -> Result<Vec<u8>, Error> {
        let block = self.opened(signature)?;
        match scheme.padding {
            Padding::Raw => Ok(block.to_vec()),
            Padding::Pkcs1 => padding::recovered(&block).map(<[u8]>::to_vec).ok_or(Error::SignatureInvalid),
            Padding::Pss(_) => Err(Error::MechanismInvalid),
        }
    }

    /// Encrypts.
    ///
    /// # Errors
    /// [`Error::DataLenRange`], and [`Error::DataInvalid`] for a bare block that is not below the modulus.
    pub(crate) fn encrypt(&self, cipher: &Cipher, data: &[u8]) -> Result<Vec<u8>, Error> {
        let block = match cipher {
            Cipher::Pkcs1 => padding::encryption_block(data, self.length)?,
            Cipher::Oaep(oaep) => {
                padding::oaep_block(data, oaep.hash, oaep.mgf_hash, &oaep.label, self.length)?
            }
            Cipher::Raw => {
                let zeros = self.length.checked_sub(data.len()).ok_or(Error::DataLenRange)?;
                Zeroizing::new([&vec![0; zeros], data].concat())
            }
        };
        self.apply(&block).map(|result| result.to_vec()).ok_or(Error::DataInvalid)
    }

    fn opened(&self, signature: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if signature.len() != self.length {
            return Err(Error::SignatureLenRange);
        }
        self.apply(signature).ok_or(Error::SignatureInvalid)
    }

    /// The public operation (RFC 8017 §5.1.1, §5.2.2) on a block as long as the modulus; nothing unless it is smaller.
    fn apply(&self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let number = BigUint::from_bytes_be(block);
        if number >= *self.key.n() {
            return None;
        }
        let bytes = number.modpow(self.key.e(), self.key.n()).to_bytes_be();
        let mut result = Zeroizing::new(vec![0; self.length.checked_sub(bytes.len())?]);
        result.extend_from_slice(&bytes);
        Some(result)
    }
}
