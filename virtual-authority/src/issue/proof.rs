//! The applicant's key, and the proof that the applicant has the other half of it.

use std::ops::RangeInclusive;

use const_oid::db::rfc5912::{
    RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use der::Encode;
use der::asn1::BitString;
use pkcs8::DecodePublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};
use signature::Verifier;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::IssueError;

fn rsa_key(key: &SubjectPublicKeyInfoOwned) -> Result<RsaPublicKey, IssueError> {
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(IssueError::Key);
    }
    let encoded = key.to_der().map_err(|_| IssueError::Key)?;
    RsaPublicKey::from_public_key_der(&encoded).map_err(|_| IssueError::Key)
}

/// Refuses keys that the profile finds too short or too long, and weak exponents.
pub(super) fn check_strength(
    key: &SubjectPublicKeyInfoOwned,
    lengths: RangeInclusive<usize>,
) -> Result<(), IssueError> {
    let key = rsa_key(key)?;
    let bits = key.n().bits();
    if !lengths.contains(&bits) {
        return Err(IssueError::KeyLength { bits, least: *lengths.start(), most: *lengths.end() });
    }
    let exponent = key.e();
    if *exponent < BigUint::from(65537_u32) || exponent.to_bytes_le().first().is_none_or(|low| low & 1 == 0) {
        return Err(IssueError::Exponent);
    }
    Ok(())
}

/// Verifies that `message` is signed with `key`.
pub(crate) fn verify_signature(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    message: &[u8],
    signature: &BitString,
) -> Result<(), IssueError> {
    let key = rsa_key(key)?;
    let signature = signature.as_bytes().ok_or(IssueError::Possession)?;
    let signature = Signature::try_from(signature).map_err(|_| IssueError::Possession)?;
    let verdict = match algorithm.oid {
        SHA_256_WITH_RSA_ENCRYPTION => VerifyingKey::<Sha256>::new(key).verify(message, &signature),
        SHA_384_WITH_RSA_ENCRYPTION => VerifyingKey::<Sha384>::new(key).verify(message, &signature),
        SHA_512_WITH_RSA_ENCRYPTION => VerifyingKey::<Sha512>::new(key).verify(message, &signature),
        _ => return Err(IssueError::NoProof),
    };
    verdict.map_err(|_| IssueError::Possession)
}
