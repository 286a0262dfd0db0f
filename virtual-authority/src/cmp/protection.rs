//! Protection of messages: by a shared secret, PasswordBasedMac or PBMAC1 (RFC 9481 §6.1), and by signature.

mod pbm;
mod pbmac1;

use const_oid::ObjectIdentifier;
use der::asn1::BitString;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierOwned;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::refusal::{Refusal, Why};
use crate::error::AuthorityError;

/// HMAC with SHA-1, by the name that RFC 4210 gives it, and by that of RFC 8018.
const HMAC_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");
const HMAC_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const HMAC_WITH_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
const HMAC_WITH_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");

/// Fewer make guessing cheap (RFC 9481 §6.1.1 asks for much more), more let a stranger burn our time: the count is
/// the sender's, and it is spent before we know who sent it.
const ITERATIONS: std::ops::RangeInclusive<u64> = 100..=200_000;
/// For our own messages.
const OWN_ITERATIONS: u32 = 10_000;
const SALT_LIMIT: usize = 128;

/// The two ways to protect a message with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacKind {
    /// PasswordBasedMac (RFC 4210 §5.1.3.1, RFC 4211 §4.4).
    Pbm,
    /// PBMAC1 with PBKDF2 (RFC 8018 §7.1, RFC 9481 §6.1.2).
    Pbmac1,
}

impl MacKind {
    /// The kind that `algorithm` names; `None` if it is no protection by a secret.
    pub(crate) fn of(algorithm: &AlgorithmIdentifierOwned) -> Option<Self> {
        match algorithm.oid {
            pbm::OID => Some(Self::Pbm),
            pbmac1::OID => Some(Self::Pbmac1),
            _ => None,
        }
    }
}

/// The hash functions of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash of the HMAC with this name.
    fn of_hmac(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            HMAC_SHA_1 | HMAC_WITH_SHA_1 => Some(Self::Sha1),
            HMAC_WITH_SHA_256 => Some(Self::Sha256),
            HMAC_WITH_SHA_384 => Some(Self::Sha384),
            HMAC_WITH_SHA_512 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => keyed::<Hmac<Sha1>>(key, message),
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, message),
            Self::Sha384 => keyed::<Hmac<Sha384>>(key, message),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, message),
        }
    }
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length; the error type is that of MACs which do not.
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
        Err(_) => Vec::new(),
    }
}

/// The parameters of the protection of one message.
pub(crate) enum Parameters {
    Pbm(pbm::Parameters),
    Pbmac1(pbmac1::Parameters),
}

impl Parameters {
    fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, Refusal> {
        match MacKind::of(algorithm) {
            Some(MacKind::Pbm) => pbm::Parameters::read(algorithm).map(Self::Pbm),
            Some(MacKind::Pbmac1) => pbmac1::Parameters::read(algorithm).map(Self::Pbmac1),
            None => Err(Refusal::new(
                Why::BadAlg,
                "only PasswordBasedMac, PBMAC1 and signatures with RSA and SHA-2 protect messages here",
            )),
        }
    }
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
    pub(crate) fn method(kind: MacKind) -> Result<(AlgorithmIdentifierOwned, Parameters), AuthorityError> {
        match kind {
            MacKind::Pbm => pbm::fresh().map(|(told, parameters)| (told, Parameters::Pbm(parameters))),
            MacKind::Pbmac1 => {
                pbmac1::fresh().map(|(told, parameters)| (told, Parameters::Pbmac1(parameters)))
            }
        }
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
        match parameters {
            Parameters::Pbm(parameters) => parameters.mac(&self.value, message),
            Parameters::Pbmac1(parameters) => parameters.mac(&self.value, message),
        }
    }
}

/// The iterations that a sender asks for, if they are neither too few nor too many.
fn check_iterations(name: &str, count: u64) -> Result<u32, Refusal> {
    let text = || format!("{name} needs {} to {} iterations", ITERATIONS.start(), ITERATIONS.end());
    Some(count)
        .filter(|count| ITERATIONS.contains(count))
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| Refusal::new(Why::BadAlg, text()))
}
