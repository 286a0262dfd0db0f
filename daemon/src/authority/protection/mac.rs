//! Protection by a shared secret: PasswordBasedMac (RFC 9810 §5.1.3.1, RFC 4211 §4.4) and PBMAC1 (RFC 9481 §6.1.2,
//! RFC 8018 §7.1, RFC 9045).

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use aws_lc_rs::{digest, hmac, pbkdf2};
use cmpv2::parameter::PbmParameter;
use cns_secret::{Secret, SecretError, on_wiped_stack};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::asn1::{BitString, OctetString};
use der::{Any, Decode, Encode, Sequence};
use serde::Deserialize;
use spki::AlgorithmIdentifierOwned;

use super::{ProtectionError, random};

const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
const PBMAC1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
/// HMAC with SHA-1, by the name that RFC 4210 gives it, and by that of RFC 8018.
const HMAC_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");
const HMAC_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const HMAC_WITH_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
const HMAC_WITH_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");

/// The count of an answer is the peer's to choose and ours to spend.
const ITERATIONS: RangeInclusive<u64> = 100..=100_000;
/// The same of PBKDF2, whose counts are larger.
const PBKDF2_ITERATIONS: RangeInclusive<u64> = 100..=1_000_000;
const OWN_ITERATIONS: u64 = 10_000;
const OWN_PBKDF2_ITERATIONS: u64 = 100_000;
const OWN_KEY_LENGTH: u16 = 32;
const SALT_LIMIT: usize = 128;
const KEY_LENGTHS: RangeInclusive<usize> = 16..=64;

/// Which algorithm turns the secret into a message's protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MacKind {
    /// PasswordBasedMac, which every CMP peer speaks.
    #[default]
    Pbm,
    /// PBMAC1, which RFC 9810 prefers.
    Pbmac1,
}

/// PBMAC1-params (RFC 8018 §A.5).
#[derive(Sequence)]
struct Pbmac1Params {
    derivation: AlgorithmIdentifierOwned,
    mac: AlgorithmIdentifierOwned,
}

/// PBKDF2-params (RFC 8018 §A.2), its salt given. Without a key length the key would be as long as the MAC wants it:
/// RFC 9481 demands that it be there.
#[derive(Sequence)]
struct Pbkdf2Params {
    salt: OctetString,
    iterations: u64,
    key_length: Option<u16>,
    prf: Option<AlgorithmIdentifierOwned>,
}

/// How one message is protected.
pub(in crate::authority) struct Method {
    salt: Vec<u8>,
    iterations: u64,
    derivation: Derivation,
    mac: hmac::Algorithm,
}

enum Derivation {
    /// A one-way function, applied again and again to secret and salt.
    OneWay(&'static digest::Algorithm),
    /// PBKDF2 with this function, for a key of this length.
    Pbkdf2(pbkdf2::Algorithm, usize),
}

fn plain(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: None }
}

fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(Any::null()) }
}

fn with(oid: ObjectIdentifier, parameters: &impl Encode) -> der::Result<AlgorithmIdentifierOwned> {
    Ok(AlgorithmIdentifierOwned { oid, parameters: Some(Any::from_der(&parameters.to_der()?)?) })
}

impl Method {
    /// A fresh one for a message of ours, and how it is told in the header.
    pub(in crate::authority) fn fresh(
        kind: MacKind,
    ) -> Result<(Self, AlgorithmIdentifierOwned), ProtectionError> {
        let salt = random::<16>()?;
        let told = match kind {
            MacKind::Pbm => {
                let parameter = PbmParameter {
                    salt: OctetString::new(salt)?,
                    owf: plain(ID_SHA_256),
                    iteration_count: OWN_ITERATIONS,
                    mac: plain(HMAC_WITH_SHA_256),
                };
                with(PASSWORD_BASED_MAC, &parameter)?
            }
            MacKind::Pbmac1 => {
                let derivation = Pbkdf2Params {
                    salt: OctetString::new(salt)?,
                    iterations: OWN_PBKDF2_ITERATIONS,
                    key_length: Some(OWN_KEY_LENGTH),
                    prf: Some(with_null(HMAC_WITH_SHA_256)),
                };
                let parameters = Pbmac1Params {
                    derivation: with(PBKDF2, &derivation)?,
                    mac: with_null(HMAC_WITH_SHA_256),
                };
                with(PBMAC1, &parameters)?
            }
        };
        Ok((Self::read(&told)?, told))
    }

    /// That of a message of theirs.
    fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, ProtectionError> {
        let parameters = algorithm.parameters.as_ref();
        match algorithm.oid {
            PASSWORD_BASED_MAC => Self::read_pbm(parameters.ok_or(ProtectionError::Parameters)?),
            PBMAC1 => Self::read_pbmac1(parameters.ok_or(ProtectionError::Parameters)?),
            _ => Err(ProtectionError::Algorithm),
        }
    }

    fn read_pbm(parameters: &Any) -> Result<Self, ProtectionError> {
        let parameter: PbmParameter = parameters.decode_as().map_err(|_| ProtectionError::Parameters)?;
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
        Ok(Self { salt, iterations: parameter.iteration_count, derivation: Derivation::OneWay(owf), mac })
    }

    fn read_pbmac1(parameters: &Any) -> Result<Self, ProtectionError> {
        let malformed = |_| ProtectionError::Parameters;
        let parameters: Pbmac1Params = parameters.decode_as().map_err(malformed)?;
        if parameters.derivation.oid != PBKDF2 {
            return Err(ProtectionError::Algorithm);
        }
        let derivation = parameters.derivation.parameters.ok_or(ProtectionError::Parameters)?;
        let derivation: Pbkdf2Params = derivation.decode_as().map_err(malformed)?;
        let salt = derivation.salt.as_bytes().to_vec();
        let key_length = usize::from(derivation.key_length.ok_or(ProtectionError::Parameters)?);
        if !PBKDF2_ITERATIONS.contains(&derivation.iterations)
            || salt.len() > SALT_LIMIT
            || !KEY_LENGTHS.contains(&key_length)
        {
            return Err(ProtectionError::Parameters);
        }
        let function = match derivation.prf.map(|prf| prf.oid) {
            None | Some(HMAC_WITH_SHA_1) => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(HMAC_WITH_SHA_256) => pbkdf2::PBKDF2_HMAC_SHA256,
            Some(HMAC_WITH_SHA_384) => pbkdf2::PBKDF2_HMAC_SHA384,
            Some(HMAC_WITH_SHA_512) => pbkdf2::PBKDF2_HMAC_SHA512,
            Some(_) => return Err(ProtectionError::Algorithm),
        };
        let mac = match parameters.mac.oid {
            HMAC_WITH_SHA_256 => hmac::HMAC_SHA256,
            HMAC_WITH_SHA_384 => hmac::HMAC_SHA384,
            HMAC_WITH_SHA_512 => hmac::HMAC_SHA512,
            _ => return Err(ProtectionError::Algorithm),
        };
        let derivation_of = Derivation::Pbkdf2(function, key_length);
        Ok(Self { salt, iterations: derivation.iterations, derivation: derivation_of, mac })
    }

    fn key(&self, secret: &Secret) -> Result<hmac::Key, ProtectionError> {
        let key = match &self.derivation {
            Derivation::OneWay(owf) => self.one_way(owf, secret)?,
            Derivation::Pbkdf2(function, length) => {
                let count = u32::try_from(self.iterations).ok().and_then(NonZeroU32::new);
                let count = count.ok_or(ProtectionError::Parameters)?;
                let mut key = Secret::zeroed(*length)?;
                pbkdf2::derive(*function, count, &self.salt, secret.expose(), key.expose_mut());
                key
            }
        };
        Ok(hmac::Key::new(self.mac, key.expose()))
    }

    fn one_way(&self, owf: &'static digest::Algorithm, secret: &Secret) -> Result<Secret, SecretError> {
        let mut context = digest::Context::new(owf);
        context.update(secret.expose());
        context.update(&self.salt);
        let mut key = Secret::copy_from(context.finish().as_ref())?;
        for _ in 1..self.iterations {
            let next = digest::digest(owf, key.expose());
            key.expose_mut().copy_from_slice(next.as_ref());
        }
        Ok(key)
    }

    /// The protection of a message of ours.
    pub(in crate::authority) fn protect(
        &self,
        secret: &Secret,
        protected: &[u8],
    ) -> Result<BitString, ProtectionError> {
        let tag = on_wiped_stack(|| Ok::<_, ProtectionError>(hmac::sign(&self.key(secret)?, protected)))?;
        Ok(BitString::from_bytes(tag.as_ref())?)
    }
}

/// Verifies the protection of a message of theirs, in constant time.
pub(in crate::authority) fn verify(
    secret: &Secret,
    algorithm: Option<&AlgorithmIdentifierOwned>,
    protected: &[u8],
    protection: Option<&BitString>,
) -> Result<(), ProtectionError> {
    let (Some(algorithm), Some(protection)) = (algorithm, protection) else {
        return Err(ProtectionError::Absent);
    };
    let method = Method::read(algorithm)?;
    let tag = protection.as_bytes().ok_or(ProtectionError::Wrong)?;
    on_wiped_stack(|| hmac::verify(&method.key(secret)?, protected, tag).map_err(|_| ProtectionError::Wrong))
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
        let ours = Method::fresh(MacKind::Pbm).unwrap();
        assert!(matches!(verify(&secret, Some(&ours.1), b"", None), Err(ProtectionError::Absent)));
    }

    fn told_pbmac1(
        (count, length): (u64, u16),
        prf: ObjectIdentifier,
        mac: ObjectIdentifier,
    ) -> AlgorithmIdentifierOwned {
        let derivation = Pbkdf2Params {
            salt: OctetString::new(*b"0123456789abcdef").unwrap(),
            iterations: count,
            key_length: Some(length),
            prf: Some(with_null(prf)),
        };
        let derivation = with(PBKDF2, &derivation).unwrap();
        with(PBMAC1, &Pbmac1Params { derivation, mac: with_null(mac) }).unwrap()
    }

    /// Computed with Python's hashlib.pbkdf2_hmac and hmac.
    #[test]
    fn known_answers_of_pbmac1() {
        let secret = Secret::copy_from(b"secret").unwrap();
        for (length, prf, mac, expected) in [
            (
                32,
                HMAC_WITH_SHA_256,
                HMAC_WITH_SHA_256,
                "ace8d9fae9af8e17616aa82d424f5cebb94be58bc068b215cd39e678cfd9381e",
            ),
            (
                64,
                HMAC_WITH_SHA_512,
                HMAC_WITH_SHA_512,
                "8b040ddbe76f1d5017160573d2c8bcdb70e959a6f5e9ce67a1c546160708fa6f\
                 7431c75a51e64b403c6f677d52958179f3c4693f111cedafff8ec9a060ba39ee",
            ),
            (
                20,
                HMAC_WITH_SHA_1,
                HMAC_WITH_SHA_384,
                "2cc45fe86321a8e6b63af76f279df56614df9aae7f11dc7fc3f7f497a2b15137\
                 3a1d1838dfcb9b417f32452e96f70dd3",
            ),
        ] {
            let told = told_pbmac1((1000, length), prf, mac);
            let tag = BitString::from_bytes(&hex::decode(expected).unwrap()).unwrap();
            verify(&secret, Some(&told), b"message", Some(&tag)).unwrap();
            let wrong = verify(&secret, Some(&told), b"Message", Some(&tag));
            assert!(matches!(wrong, Err(ProtectionError::Wrong)));
        }
        let tag = BitString::from_bytes(&[0; 32]).unwrap();
        for (count, length) in [(99, 32), (1_000_001, 32), (u64::MAX, 32), (1000, 15), (1000, 65)] {
            let told = told_pbmac1((count, length), HMAC_WITH_SHA_256, HMAC_WITH_SHA_256);
            let verdict = verify(&secret, Some(&told), b"", Some(&tag));
            assert!(matches!(verdict, Err(ProtectionError::Parameters)), "{count} {length}");
        }
    }

    #[test]
    fn own_messages_are_believed_back() {
        let secret = Secret::copy_from(b"secret").unwrap();
        for kind in [MacKind::Pbm, MacKind::Pbmac1] {
            let (method, told) = Method::fresh(kind).unwrap();
            let tag = method.protect(&secret, b"message").unwrap();
            verify(&secret, Some(&told), b"message", Some(&tag)).unwrap();
        }
    }
}
