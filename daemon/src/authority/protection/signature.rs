//! Protection by signature (RFC 9810 §5.1.3.3): of our messages by a registration authority's key or an officer's card,
//! of theirs by the authority.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::SystemTime;
use std::{fs, io};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use cns_secret::{Secret, SecretError};
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use der::asn1::BitString;
use der::{Any, AnyRef, Decode, Encode, pem};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;

use super::ProtectionError;
use crate::authority::checks::{TrustAnchors, may_speak_for_authority, verify_signature};
use crate::authority::secret_file;
use crate::card::CardError;

/// A chain is a handful of certificates.
const CERTIFICATES_LIMIT: usize = 16;
const PEM_LIMIT: usize = 16 * 1024;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The officer's card, or its PIN.
    #[error("the officer's card: {0}")]
    Card(#[from] CardError),
    /// The key refused.
    #[error("the registration authority's key did not sign")]
    Key,
}

/// What comes of signing: the signature of RSA with PKCS#1 v1.5 padding and SHA-256.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, SignerError>> + Send + 'a>>;

/// Whoever signs our messages.
pub trait Signer: Send + Sync {
    /// The signer's certificate, and what leads from it to an authority, DER.
    fn certificates(&self) -> &[Vec<u8>];

    /// Signs a message (sha256WithRSAEncryption).
    fn sign(&self, message: Vec<u8>) -> Signing<'_>;
}

/// The algorithm of our signatures.
pub(in crate::authority) fn algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: SHA_256_WITH_RSA_ENCRYPTION, parameters: Some(Any::null()) }
}

/// Verifies the signature of a message of theirs: the signer's certificate came with it or is configured, its name is
/// the sender's, and it may speak for the authority.
pub(in crate::authority) fn verify(
    (algorithm, sender): (Option<&AlgorithmIdentifierOwned>, &GeneralName),
    (protected, protection): (&[u8], Option<&BitString>),
    extra: &[AnyRef<'_>],
    (anchors, now): (&TrustAnchors, SystemTime),
) -> Result<(), ProtectionError> {
    let (Some(algorithm), Some(protection)) = (algorithm, protection) else {
        return Err(ProtectionError::Absent);
    };
    let signature = protection.as_bytes().ok_or(ProtectionError::Signature(None))?;
    let mut fault = None;
    let came = extra.iter().take(CERTIFICATES_LIMIT).filter_map(|certificate| certificate.to_der().ok());
    for certificate in came.chain(anchors.encoded()) {
        let verdict = may_speak_for_authority(&certificate, anchors, now).and_then(|certificate| {
            let content = &certificate.tbs_certificate;
            if *sender != GeneralName::DirectoryName(content.subject.clone()) {
                return Ok(false);
            }
            let key = &content.subject_public_key_info;
            verify_signature(algorithm.oid, key, protected, signature).map(|()| true)
        });
        match verdict {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The first that was looked at is the signer's own, where there is one (RFC 9483 §3.3).
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    Err(ProtectionError::Signature(fault))
}

/// Why a registration authority's key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RaKeyError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no certificate.
    #[error("{}: no PEM certificate", .0.display())]
    Certificate(PathBuf),
    /// The file has no key that can be used.
    #[error("{}: no unencrypted RSA key of at least 2048 bits (PEM, PKCS#8)", .0.display())]
    Key(PathBuf),
    /// They do not belong together.
    #[error("the registration authority's key and certificate do not belong together")]
    Pair,
    /// No locked memory.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
}

/// A registration authority's key in a file.
pub struct RaKey {
    key: RsaKeyPair,
    certificates: Vec<Vec<u8>>,
}

impl RaKey {
    /// Reads key and certificate (and its chain, if it is in the same file).
    ///
    /// # Errors
    /// See [`RaKeyError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, RaKeyError> {
        let bundle = fs::read(certificate)
            .map_err(|source| RaKeyError::File { path: certificate.to_path_buf(), source })?;
        let no_certificate = |_| RaKeyError::Certificate(certificate.to_path_buf());
        // x509-cert 0.2.5 subtracts one from the length of what it is given.
        let bundle = Some(bundle.trim_ascii()).filter(|bundle| !bundle.is_empty());
        let bundle = bundle.ok_or_else(|| RaKeyError::Certificate(certificate.to_path_buf()))?;
        let chain = Certificate::load_pem_chain(bundle).map_err(no_certificate)?;
        let own = chain.first().ok_or_else(|| RaKeyError::Certificate(certificate.to_path_buf()))?;
        let secret = secret_file(key, PEM_LIMIT)
            .map_err(|source| RaKeyError::File { path: key.to_path_buf(), source })?;
        let pair = read_key(&secret)?.ok_or_else(|| RaKeyError::Key(key.to_path_buf()))?;
        let certified = own.tbs_certificate.subject_public_key_info.subject_public_key.as_bytes();
        if certified != Some(pair.public_key().as_ref()) {
            return Err(RaKeyError::Pair);
        }
        let certificates = chain.iter().map(Encode::to_der).collect::<der::Result<_>>();
        Ok(Self { key: pair, certificates: certificates.map_err(no_certificate)? })
    }
}

/// The key of a PEM file, through locked memory.
fn read_key(file: &Secret) -> Result<Option<RsaKeyPair>, SecretError> {
    let mut room = Secret::zeroed(file.len())?;
    let Ok((label, der)) = pem::decode(file.expose(), room.expose_mut()) else { return Ok(None) };
    Ok(if label == "PRIVATE KEY" { RsaKeyPair::from_pkcs8(der).ok() } else { None })
}

impl Signer for RaKey {
    fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    fn sign(&self, message: Vec<u8>) -> Signing<'_> {
        Box::pin(async move {
            let mut signature = vec![0; self.key.public_modulus_len()];
            self.key
                .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)
                .map_err(|_| SignerError::Key)?;
            Ok(signature)
        })
    }
}

/// Subject and key identifier of a signer's certificate, as the header tells them.
pub(in crate::authority) fn name_of(
    certificate: &[u8],
) -> der::Result<(x509_cert::name::Name, Option<der::asn1::OctetString>)> {
    let certificate = Certificate::from_der(certificate)?;
    let identifier =
        certificate.tbs_certificate.get::<x509_cert::ext::pkix::SubjectKeyIdentifier>().ok().flatten();
    Ok((certificate.tbs_certificate.subject, identifier.map(|(_, identifier)| identifier.0)))
}
