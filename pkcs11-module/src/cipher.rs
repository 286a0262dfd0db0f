//! How data is encrypted for a key, and decrypted with it (PKCS#11 Current Mechanisms v2.40 §2.1.6 to §2.1.8).

use cns_protocol::key::Hash;
use cryptoki_sys as ck;

use crate::error::Error;
use crate::ffi::template::Mechanism;
use crate::mechanism::{hash_of, mgf_hash_of};
use crate::padding::PKCS1_OVERHEAD;

/// The longest label of OAEP, in bytes: what the daemon takes. Nobody is known to use one at all.
const LONGEST_LABEL: usize = 1024;

/// A way to encrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// RSAES-PKCS1-v1_5.
    Pkcs1,
    /// RSAES-OAEP.
    Oaep(Oaep),
    /// The bare RSA operation.
    Raw,
}

/// The parameters of RSAES-OAEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oaep {
    pub(crate) hash: Hash,
    pub(crate) mgf_hash: Hash,
    pub(crate) label: Vec<u8>,
}

impl Cipher {
    /// Reads a mechanism and its parameter.
    pub(crate) fn read(mechanism: &Mechanism<'_>) -> Result<Self, Error> {
        let cipher = match mechanism.kind() {
            ck::CKM_RSA_PKCS => Cipher::Pkcs1,
            ck::CKM_RSA_X_509 => Cipher::Raw,
            ck::CKM_RSA_PKCS_OAEP => return Oaep::read(mechanism).map(Cipher::Oaep),
            _ => return Err(Error::MechanismInvalid),
        };
        if mechanism.parameter().is_empty() { Ok(cipher) } else { Err(Error::MechanismParamInvalid) }
    }

    /// The most data that fits under a modulus of `length` bytes (RFC 8017 §7.1.1, §7.2.1).
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`] when the modulus is too short for the hash.
    pub(crate) fn most(&self, length: usize) -> Result<usize, Error> {
        match self {
            Cipher::Raw => Ok(length),
            Cipher::Pkcs1 => length.checked_sub(PKCS1_OVERHEAD).ok_or(Error::MechanismInvalid),
            Cipher::Oaep(oaep) => {
                let overhead = oaep.hash.length().saturating_mul(2).saturating_add(2);
                length.checked_sub(overhead).ok_or(Error::MechanismParamInvalid)
            }
        }
    }
}

impl Oaep {
    fn read(mechanism: &Mechanism<'_>) -> Result<Self, Error> {
        let invalid = Error::MechanismParamInvalid;
        let given = mechanism.oaep_parameter().ok_or(invalid)?;
        if given.source != ck::CKZ_DATA_SPECIFIED || given.label.items().len() > LONGEST_LABEL {
            return Err(invalid);
        }
        Ok(Self {
            hash: hash_of(given.hash).map_err(|_| invalid)?,
            mgf_hash: mgf_hash_of(given.mgf).ok_or(invalid)?,
            label: given.label.items().to_vec(),
        })
    }
}
