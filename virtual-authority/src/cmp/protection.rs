//! Protection by a shared secret: PasswordBasedMac (RFC 4210 §5.1.3.1, RFC 4211 §4.4).

use cmpv2::parameter::PbmParameter;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::asn1::{BitString, OctetString};
use der::{Any, Decode, Encode};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierOwned;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::refusal::{Refusal, Why};
use crate::error::AuthorityError;
use crate::issue::random;

/// id-PasswordBasedMac.
const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
/// HMAC with SHA-1, by the name that RFC 4210 gives it, and by that of RFC 8018.
const HMAC_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");
const HMAC_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");

/// Fewer make guessing cheap (RFC 9481 §6.1.1 asks for much more), more let a stranger burn our time: the count is
/// the sender's, and it is spent before we know who sent it.
const ITERATIONS: std::ops::RangeInclusive<u64> = 100..=100_000;
/// For our own messages.
const OWN_ITERATIONS: u64 = 10_000;
const SALT_LIMIT: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

/// The parameters of one PasswordBasedMac.
pub(crate) struct Parameters {
    salt: Vec<u8>,
    owf: Hash,
    iterations: u64,
    mac: Hash,
}

/// The secret that clients share with the certifier, and its name.
pub(crate) struct Secret {
    reference: Vec<u8>,
    value: Zeroizing<Vec<u8>>,
}

impl Secret {
    pub(crate) fn new(reference: &str, value: Zeroizing<Vec<u8>>) -> Result<Self, AuthorityError> {
        if (8..=256).contains(&value.len()) {
            Ok(Self { reference: reference.as_bytes().to_vec(), value })
        } else {
            Err(AuthorityError::SecretLength)
        }
    }

    pub(crate) fn reference(&self) -> &[u8] {
        &self.reference
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }

    /// A fresh way to protect a message: how it is told, and what it is.
    pub(crate) fn method(&self) -> Result<(AlgorithmIdentifierOwned, Parameters), AuthorityError> {
        let salt = random::<16>()?;
        let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
        let parameter = PbmParameter {
            salt: OctetString::new(salt)?,
            owf: algorithm(ID_SHA_256),
            iteration_count: OWN_ITERATIONS,
            mac: algorithm(HMAC_WITH_SHA_256),
        };
        let told = AlgorithmIdentifierOwned {
            oid: PASSWORD_BASED_MAC,
            parameters: Some(Any::from_der(&parameter.to_der()?)?),
        };
        let parameters = Parameters {
            salt: salt.to_vec(),
            owf: Hash::Sha256,
            iterations: OWN_ITERATIONS,
            mac: Hash::Sha256,
        };
        Ok((told, parameters))
    }

    /// The protection bits of a message of ours.
    pub(crate) fn protect(&self, parameters: &Parameters, protected: &[u8]) -> der::Result<BitString> {
        BitString::from_bytes(&self.mac(parameters, protected))
    }

    /// Verifies the protection of a message of theirs.
    pub(crate) fn verify(
        &self,
        algorithm: &AlgorithmIdentifierOwned,
        protected: &[u8],
        protection: &BitString,
    ) -> Result<(), Refusal> {
        let parameters = Parameters::read(algorithm)?;
        let expected = self.mac(&parameters, protected);
        let wrong =
            || Refusal::new(Why::BadMessageCheck, "the message is not protected with the shared secret");
        let given = protection.as_bytes().ok_or_else(wrong)?;
        if bool::from(expected.as_slice().ct_eq(given)) { Ok(()) } else { Err(wrong()) }
    }

    fn mac(&self, parameters: &Parameters, message: &[u8]) -> Vec<u8> {
        let key = match parameters.owf {
            Hash::Sha1 => stretch::<Sha1>(&self.value, parameters),
            Hash::Sha256 => stretch::<Sha256>(&self.value, parameters),
        };
        match parameters.mac {
            Hash::Sha1 => keyed::<Hmac<Sha1>>(&key, message),
            Hash::Sha256 => keyed::<Hmac<Sha256>>(&key, message),
        }
    }
}

/// The one-way function, applied again and again to secret and salt.
fn stretch<D: Digest>(secret: &[u8], parameters: &Parameters) -> Zeroizing<Vec<u8>> {
    let mut key =
        Zeroizing::new(D::new().chain_update(secret).chain_update(&parameters.salt).finalize().to_vec());
    for _ in 1..parameters.iterations {
        let mut next = D::digest(key.as_slice());
        key.copy_from_slice(&next);
        next.as_mut_slice().zeroize();
    }
    key
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length; the error type is that of MACs which do not.
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
        Err(_) => Vec::new(),
    }
}

impl Parameters {
    fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, Refusal> {
        if algorithm.oid != PASSWORD_BASED_MAC {
            return Err(Refusal::new(Why::BadAlg, "only PasswordBasedMac protection is accepted"));
        }
        let malformed =
            || Refusal::new(Why::BadDataFormat, "the parameters of PasswordBasedMac cannot be read");
        let parameter = algorithm.parameters.as_ref().ok_or_else(malformed)?;
        let parameter: PbmParameter = parameter.decode_as().map_err(|_| malformed())?;
        if !ITERATIONS.contains(&parameter.iteration_count) {
            let text =
                format!("PasswordBasedMac needs {} to {} iterations", ITERATIONS.start(), ITERATIONS.end());
            return Err(Refusal::new(Why::BadAlg, text));
        }
        if parameter.salt.as_bytes().len() > SALT_LIMIT {
            return Err(malformed());
        }
        let unknown =
            || Refusal::new(Why::BadAlg, "PasswordBasedMac is accepted with SHA-1 and SHA-256 only");
        let owf = match parameter.owf.oid {
            ID_SHA_1 => Hash::Sha1,
            ID_SHA_256 => Hash::Sha256,
            _ => return Err(unknown()),
        };
        let mac = match parameter.mac.oid {
            HMAC_SHA_1 | HMAC_WITH_SHA_1 => Hash::Sha1,
            HMAC_WITH_SHA_256 => Hash::Sha256,
            _ => return Err(unknown()),
        };
        Ok(Self { salt: parameter.salt.as_bytes().to_vec(), owf, iterations: parameter.iteration_count, mac })
    }
}
