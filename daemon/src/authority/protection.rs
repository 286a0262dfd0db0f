//! Protection by a shared secret: PasswordBasedMac (RFC 4210 §5.1.3.1, RFC 4211 §4.4).

use std::ops::RangeInclusive;

use aws_lc_rs::{digest, hmac, rand};
use cmpv2::parameter::PbmParameter;
use cns_secret::{Secret, SecretError};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::asn1::{BitString, OctetString};
use der::{Any, Decode, Encode};
use spki::AlgorithmIdentifierOwned;
use thiserror::Error;

const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
/// HMAC with SHA-1, by the name that RFC 4210 gives it, and by that of RFC 8018.
const HMAC_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");
const HMAC_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");

/// The count of an answer is the peer's to choose and ours to spend.
const ITERATIONS: RangeInclusive<u64> = 100..=100_000;
const OWN_ITERATIONS: u64 = 10_000;
const SALT_LIMIT: usize = 128;

/// Why a message is not believed, or cannot be protected.
#[derive(Debug, Error)]
pub enum ProtectionError {
    /// There is no protection at all.
    #[error("it is not protected")]
    Absent,
    /// The protection is of a kind that is not spoken here.
    #[error("it is protected in a way that is not known here")]
    Algorithm,
    /// The parameters are out of bounds.
    #[error("the parameters of its protection are out of bounds")]
    Parameters,
    /// The protection was not made with our secret, or the message was changed.
    #[error("its protection was not made with the shared secret")]
    Wrong,
    /// No locked memory.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
    /// No random bytes.
    #[error("no random bytes")]
    Random,
    /// A structure could not be encoded.
    #[error("DER: {0}")]
    Der(#[from] der::Error),
}

/// How one message is protected.
pub(super) struct Method {
    salt: Vec<u8>,
    owf: &'static digest::Algorithm,
    iterations: u64,
    mac: hmac::Algorithm,
}

impl Method {
    /// A fresh one for a message of ours, and how it is told in the header.
    pub(super) fn fresh() -> Result<(Self, AlgorithmIdentifierOwned), ProtectionError> {
        let salt = random::<16>()?;
        let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
        let parameter = PbmParameter {
            salt: OctetString::new(salt)?,
            owf: algorithm(ID_SHA_256),
            iteration_count: OWN_ITERATIONS,
            mac: algorithm(HMAC_WITH_SHA_256),
        };
        let parameters = Some(Any::from_der(&parameter.to_der()?)?);
        let told = AlgorithmIdentifierOwned { oid: PASSWORD_BASED_MAC, parameters };
        let method = Self {
            salt: salt.to_vec(),
            owf: &digest::SHA256,
            iterations: OWN_ITERATIONS,
            mac: hmac::HMAC_SHA256,
        };
        Ok((method, told))
    }

    /// That of a message of theirs.
    fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, ProtectionError> {
        if algorithm.oid != PASSWORD_BASED_MAC {
            return Err(ProtectionError::Algorithm);
        }
        let parameter = algorithm.parameters.as_ref().ok_or(ProtectionError::Parameters)?;
        let parameter: PbmParameter = parameter.decode_as().map_err(|_| ProtectionError::Parameters)?;
        let salt = parameter.salt.as_bytes().to_vec();
        if !ITERATIONS.contains(&parameter.iteration_count) || salt.len() > SALT_LIMIT {
            return Err(ProtectionError::Parameters);
        }
        let owf = match parameter.owf.oid {
            ID_SHA_1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ID_SHA_256 => &digest::SHA256,
            _ => return Err(ProtectionError::Algorithm),
        };
        let mac = match parameter.mac.oid {
            HMAC_SHA_1 | HMAC_WITH_SHA_1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HMAC_WITH_SHA_256 => hmac::HMAC_SHA256,
            _ => return Err(ProtectionError::Algorithm),
        };
        Ok(Self { salt, owf, iterations: parameter.iteration_count, mac })
    }

    /// The one-way function, applied again and again to secret and salt.
    fn key(&self, secret: &Secret) -> Result<hmac::Key, SecretError> {
        let mut context = digest::Context::new(self.owf);
        context.update(secret.expose());
        context.update(&self.salt);
        let mut key = Secret::copy_from(context.finish().as_ref())?;
        for _ in 1..self.iterations {
            let next = digest::digest(self.owf, key.expose());
            key.expose_mut().copy_from_slice(next.as_ref());
        }
        Ok(hmac::Key::new(self.mac, key.expose()))
    }

    /// The protection of a message of ours.
    pub(super) fn protect(&self, secret: &Secret, protected: &[u8]) -> Result<BitString, ProtectionError> {
        Ok(BitString::from_bytes(hmac::sign(&self.key(secret)?, protected).as_ref())?)
    }
}

/// Verifies the protection of a message of theirs, in constant time.
pub(super) fn verify(
    secret: &Secret,
    algorithm: Option<&AlgorithmIdentifierOwned>,
    protected: &[u8],
    protection: Option<&BitString>,
) -> Result<(), ProtectionError> {
    let (Some(algorithm), Some(protection)) = (algorithm, protection) else {
        return Err(ProtectionError::Absent);
    };
    let key = Method::read(algorithm)?.key(secret)?;
    let tag = protection.as_bytes().ok_or(ProtectionError::Wrong)?;
    hmac::verify(&key, protected, tag).map_err(|_| ProtectionError::Wrong)
}

/// Bytes that nobody can foresee.
pub(super) fn random<const N: usize>() -> Result<[u8; N], ProtectionError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ProtectionError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(iterations: u64, owf: ObjectIdentifier, mac: ObjectIdentifier) -> AlgorithmIdentifierOwned {
        let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
        let parameter = PbmParameter {
            salt: OctetString::new(*b"0123456789abcdef").unwrap(),
            owf: algorithm(owf),
            iteration_count: iterations,
            mac: algorithm(mac),
        };
        AlgorithmIdentifierOwned {
            oid: PASSWORD_BASED_MAC,
            parameters: Some(Any::from_der(&parameter.to_der().unwrap()).unwrap()),
        }
    }

    /// Computed with Python's hashlib and hmac: SHA-256 iterated 500 times over "secret" and the salt, then
    /// HMAC-SHA-1 (as OpenSSL does by default) or HMAC-SHA-256 over "message".
    #[test]
    fn known_answers() {
        let secret = Secret::copy_from(b"secret").unwrap();
        for (mac, expected) in [
            (HMAC_SHA_1, "ec403f681d0a52a14850c3dc39ab5f5154ba3213"),
            (HMAC_WITH_SHA_256, "fdd2b8b2e22a73e768835d5e36f92b32c143569665fbb852669511f313f5a7f6"),
        ] {
            let told = told(500, ID_SHA_256, mac);
            let tag = BitString::from_bytes(&hex::decode(expected).unwrap()).unwrap();
            verify(&secret, Some(&told), b"message", Some(&tag)).unwrap();
            let wrong = verify(&secret, Some(&told), b"Message", Some(&tag));
            assert!(matches!(wrong, Err(ProtectionError::Wrong)));
            let other = Secret::copy_from(b"Secret").unwrap();
            assert!(matches!(
                verify(&other, Some(&told), b"message", Some(&tag)),
                Err(ProtectionError::Wrong)
            ));
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let secret = Secret::copy_from(b"secret").unwrap();
        let tag = BitString::from_bytes(&[0; 32]).unwrap();
        let verdict =
            |told: &AlgorithmIdentifierOwned| verify(&secret, Some(told), b"", Some(&tag)).unwrap_err();
        for count in [0, 99, 100_001, u64::MAX] {
            assert!(
                matches!(verdict(&told(count, ID_SHA_256, HMAC_SHA_1)), ProtectionError::Parameters),
                "{count}"
            );
        }
        assert!(matches!(verdict(&told(100, HMAC_SHA_1, HMAC_SHA_1)), ProtectionError::Algorithm));
        assert!(matches!(verdict(&told(100, ID_SHA_256, ID_SHA_256)), ProtectionError::Algorithm));
        assert!(matches!(verify(&secret, None, b"", Some(&tag)), Err(ProtectionError::Absent)));
        let ours = Method::fresh().unwrap();
        assert!(matches!(verify(&secret, Some(&ours.1), b"", None), Err(ProtectionError::Absent)));
    }
}
