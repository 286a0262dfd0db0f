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
        let length = given.label.items().len();
        // OpenSC's `pkcs11-tool` names no source where there is no label.
        let has_source = given.source == ck::CKZ_DATA_SPECIFIED || (given.source == 0 && length == 0);
        if !has_source || length > LONGEST_LABEL {
            return Err(invalid);
        }
        Ok(Self {
            hash: hash_of(given.hash).map_err(|_| invalid)?,
            mgf_hash: mgf_hash_of(given.mgf).ok_or(invalid)?,
            label: given.label.items().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use cns_protocol::key::Hash;
    use cryptoki_sys as ck;

    use super::{Cipher, Oaep};
    use crate::error::Error;
    use crate::ffi::template::Mechanism;

    #[expect(unsafe_code, reason = "as an application calls")]
    fn read(source: ck::CK_RSA_PKCS_OAEP_SOURCE_TYPE, label: &[u8]) -> Result<Cipher, Error> {
        let mut parameter = ck::CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: ck::CKM_SHA256,
            mgf: ck::CKG_MGF1_SHA1,
            source,
            pSourceData: label.as_ptr().cast_mut().cast::<c_void>(),
            ulSourceDataLen: ck::CK_ULONG::try_from(label.len()).unwrap(),
        };
        let mut mechanism = ck::CK_MECHANISM {
            mechanism: ck::CKM_RSA_PKCS_OAEP,
            pParameter: (&raw mut parameter).cast::<c_void>(),
            ulParameterLen: ck::CK_ULONG::try_from(size_of_val(&parameter)).unwrap(),
        };
        // SAFETY: the mechanism, its parameter and the label outlive the call.
        Cipher::read(&unsafe { Mechanism::new(&raw mut mechanism) }?)
    }

    #[test]
    fn the_label_needs_a_source_where_there_is_one() {
        let oaep = |label: &[u8]| {
            Ok(Cipher::Oaep(Oaep { hash: Hash::Sha256, mgf_hash: Hash::Sha1, label: label.to_vec() }))
        };
        assert_eq!(read(ck::CKZ_DATA_SPECIFIED, b"label"), oaep(b"label"));
        assert_eq!(read(ck::CKZ_DATA_SPECIFIED, b""), oaep(b""));
        assert_eq!(read(0, b""), oaep(b""));
        assert_eq!(read(ck::CKZ_DATA_SPECIFIED, &[0; 1024]), oaep(&[0; 1024]));
        for (source, label) in [(0, &b"label"[..]), (2, b""), (ck::CKZ_DATA_SPECIFIED, &[0; 1025])] {
            assert_eq!(read(source, label), Err(Error::MechanismParamInvalid));
        }
    }

    #[test]
    fn the_padding_needs_its_room() {
        assert_eq!(Cipher::Pkcs1.most(256), Ok(245));
        assert_eq!(Cipher::Raw.most(256), Ok(256));
        let oaep = |hash| Cipher::Oaep(Oaep { hash, mgf_hash: Hash::Sha1, label: Vec::new() });
        assert_eq!(oaep(Hash::Sha256).most(256), Ok(190));
        assert_eq!(oaep(Hash::Sha512).most(128), Err(Error::MechanismParamInvalid));
    }
}
