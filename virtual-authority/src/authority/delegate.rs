//! Keys of their own for what the certifier does not sign with its own: OCSP answers (RFC 6960 §4.2.2.2) and CMP
//! messages (RFC 9480 §2.2), each with a certificate that says so.

use std::path::Path;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ID_KP_OCSP_SIGNING;
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use der::asn1::{BitString, Null, OctetString};
use der::{Any, Decode, Encode};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use sha2::Sha256;
use signature::{RandomizedSigner, SignatureEncoding};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::time::Validity;
use zeroize::Zeroizing;

use crate::authority::Ca;
use crate::error::AuthorityError;
use crate::file::{self, Readers};
use crate::issue::{authority_key_identifier, extension, extension_of, key_identifier, random_serial, time};

/// id-kp-cmcCA: who may speak CMP for the certifier (RFC 9480 §2.2).
const ID_KP_CMC_CA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27");
const FILE_LIMIT: u64 = 64 * 1024;
const KEY_BITS: usize = 2048;
const DAY: u64 = 24 * 3600;
/// Nobody checks whether the responder's certificate was revoked (id-pkix-ocsp-nocheck), so it is good for a short time.
const LIFETIME: u64 = 90 * DAY;
const RENEWAL: u64 = 30 * DAY;
const CLOCK_SKEW: u64 = 60;

/// What a delegate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Answers about certificates.
    Ocsp,
    /// Protects CMP messages.
    Cmp,
}

impl Task {
    fn key_file(self) -> &'static str {
        match self {
            Self::Ocsp => "ocsp-key.pem",
            Self::Cmp => "cmp-key.pem",
        }
    }

    fn certificate_file(self) -> &'static str {
        match self {
            Self::Ocsp => "ocsp.der",
            Self::Cmp => "cmp.der",
        }
    }

    /// A delegate is known by its key and its extended key usage, not by its name.
    fn subject(self) -> &'static str {
        match self {
            Self::Ocsp => "CN=OCSP responder (test)",
            Self::Cmp => "CN=CMP responder (test)",
        }
    }
}

/// Who signs in the certifier's stead.
pub(crate) struct Delegate {
    signer: SigningKey<Sha256>,
    certificate: Certificate,
}

impl Delegate {
    /// The delegate in the certifier's folder. The first time makes its key; a certificate that ends soon, or is not
    /// for this key or of this certifier, is made anew. The caller keeps other processes out.
    pub(crate) fn open(folder: &Path, ca: &Ca, task: Task, now: u64) -> Result<Self, AuthorityError> {
        let key = key(&folder.join(task.key_file()))?;
        let public =
            SubjectPublicKeyInfoOwned::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
        let path = folder.join(task.certificate_file());
        let kept = if path.exists() { Some(file::read(&path, FILE_LIMIT)?) } else { None };
        let kept = kept.and_then(|der| Certificate::from_der(&der).ok());
        let certificate = match kept.filter(|kept| is_fit(kept, ca, &public, now)) {
            Some(kept) => kept,
            None => {
                let made = certify(ca, task, public, now)?;
                file::write(&path, &made.to_der()?, Readers::All)?;
                made
            }
        };
        Ok(Self { signer: SigningKey::new(key), certificate })
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// sha256WithRSAEncryption over `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.signer.try_sign_with_rng(&mut OsRng, message)?.to_vec())
    }
}

fn key(path: &Path) -> Result<RsaPrivateKey, AuthorityError> {
    if path.exists() {
        let pem = Zeroizing::new(file::read(path, FILE_LIMIT)?);
        let text = std::str::from_utf8(&pem).map_err(|error| AuthorityError::Key(error.to_string()))?;
        return Ok(RsaPrivateKey::from_pkcs8_pem(text)?);
    }
    let key = RsaPrivateKey::new(&mut OsRng, KEY_BITS)?;
    file::write(path, key.to_pkcs8_pem(LineEnding::LF)?.as_bytes(), Readers::Owner)?;
    Ok(key)
}

fn is_fit(kept: &Certificate, ca: &Ca, public: &SubjectPublicKeyInfoOwned, now: u64) -> bool {
    let tbs = &kept.tbs_certificate;
    tbs.subject_public_key_info == *public
        && tbs.issuer == ca.certificate().tbs_certificate.subject
        && tbs.validity.not_after.to_unix_duration().as_secs() > now.saturating_add(RENEWAL)
}

fn certify(
    ca: &Ca,
    task: Task,
    public: SubjectPublicKeyInfoOwned,
    now: u64,
) -> Result<Certificate, AuthorityError> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::null()),
    };
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: random_serial()?,
        signature: algorithm.clone(),
        issuer: ca.certificate().tbs_certificate.subject.clone(),
        validity: Validity {
            not_before: time(now.saturating_sub(CLOCK_SKEW))?,
            not_after: time(now.saturating_add(LIFETIME))?,
        },
        subject: task.subject().parse()?,
        extensions: Some(extensions(ca, task, &public)?),
        subject_public_key_info: public,
        issuer_unique_id: None,
        subject_unique_id: None,
    };
    let signature = ca.sign(&tbs.to_der()?)?;
    Ok(Certificate {
        tbs_certificate: tbs,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    })
}

fn extensions(
    ca: &Ca,
    task: Task,
    public: &SubjectPublicKeyInfoOwned,
) -> Result<Vec<Extension>, AuthorityError> {
    let usage = match task {
        Task::Ocsp => ID_KP_OCSP_SIGNING,
        Task::Cmp => ID_KP_CMC_CA,
    };
    let mut extensions = vec![
        extension(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
        extension(false, &ExtendedKeyUsage(vec![usage]))?,
        extension(false, &BasicConstraints { ca: false, path_len_constraint: None })?,
        authority_key_identifier(ca)?,
        extension(false, &SubjectKeyIdentifier(OctetString::new(key_identifier(public))?))?,
    ];
    if task == Task::Ocsp {
        extensions.push(extension_of(ID_PKIX_OCSP_NOCHECK, false, &Null)?);
    }
    Ok(extensions)
}
