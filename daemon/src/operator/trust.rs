//! Whether an operator's certificate is trusted: issued by a configured authority, valid now, fit for authentication,
//! not revoked.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::{Decode, Error as DerError};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use crate::authority::checks::{CheckError, Revocation, TrustAnchors, check_crl, verify_chain};
use crate::config::OperatorsConfig;

/// The largest file of anchors or revocations that is read.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// Why a certificate is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file of the anchors holds none.
    #[error("{0} holds no certificate of an authority")]
    Anchors(PathBuf),
    /// The certificate is not readable.
    #[error("the certificate cannot be read: {0}")]
    Certificate(#[from] DerError),
    /// The certificate was refused: issuer, signature, validity.
    #[error("the operator's certificate is refused: {0}")]
    Refused(CheckError),
    /// Its key usage or extended key usage does not allow authentication.
    #[error("the certificate is not for authentication")]
    Usage,
    /// Its key is not RSA.
    #[error("the certificate's key is not RSA")]
    Key,
    /// It is on the revocation list for good.
    #[error("the certificate is revoked")]
    Revoked,
    /// It is on the revocation list for a time.
    #[error("the certificate is suspended")]
    Suspended,
    /// The configured revocation list cannot be used.
    #[error("the revocation list cannot be used: {0}")]
    Crl(CheckError),
}

/// The authorities whose certificates operators may hold.
pub struct Trust {
    /// None: nobody is trusted.
    anchors: Option<TrustAnchors>,
    crl: Option<PathBuf>,
}

impl Trust {
    /// Nobody is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self { anchors: None, crl: None }
    }

    /// Reads the anchors that the configuration names.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn read(config: &OperatorsConfig) -> Result<Self, TrustError> {
        let path = &config.trust_anchors;
        let anchors =
            TrustAnchors::from_pem(&read_file(path)?).map_err(|_| TrustError::Anchors(path.clone()))?;
        if config.crl.is_none() {
            tracing::warn!("no revocation list is configured: revoked operator cards are not noticed");
        }
        Ok(Self { anchors: Some(anchors), crl: config.crl.clone() })
    }

    /// Checks a certificate at a time. A revocation list that is configured and cannot be used refuses: a card that
    /// was reported stolen must not work because a file is missing.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn check(&self, der: &[u8], now: SystemTime) -> Result<(), TrustError> {
        let certificate = Certificate::from_der(der)?;
        let nobody = || CheckError::Issuer(certificate.tbs_certificate.issuer.to_string());
        let anchors = self.anchors.as_ref().ok_or_else(|| TrustError::Refused(nobody()))?;
        let issuer = verify_chain(der, anchors, now).map_err(TrustError::Refused)?;
        if !may_authenticate(&certificate)? {
            return Err(TrustError::Usage);
        }
        let Some(path) = &self.crl else { return Ok(()) };
        let serial = certificate.tbs_certificate.serial_number.as_bytes();
        match check_crl(&read_file(path)?, issuer, serial, now).map_err(TrustError::Crl)? {
            Revocation::Good => Ok(()),
            Revocation::Revoked { suspended: true, .. } => Err(TrustError::Suspended),
            Revocation::Revoked { suspended: false, .. } => Err(TrustError::Revoked),
        }
    }
}

/// The RSAPublicKey of a certificate (RFC 8017 §A.1.1).
pub(crate) fn rsa_public_key(certificate: &Certificate) -> Result<&[u8], TrustError> {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(TrustError::Key);
    }
    key.subject_public_key.as_bytes().ok_or(TrustError::Key)
}

/// Whether the certificate's key may authenticate its holder (RFC 5280 §4.2.1.3, §4.2.1.12).
fn may_authenticate(certificate: &Certificate) -> Result<bool, TrustError> {
    let usage = extension::<KeyUsage>(certificate)?;
    let extended = extension::<ExtendedKeyUsage>(certificate)?;
    let signs = usage.is_none_or(|usage| usage.digital_signature());
    Ok(signs && extended.is_none_or(|extended| extended.0.contains(&ID_KP_CLIENT_AUTH)))
}

fn extension<'a, E: AssociatedOid + Decode<'a>>(
    certificate: &'a Certificate,
) -> Result<Option<E>, TrustError> {
    let mut all = certificate.tbs_certificate.extensions.iter().flatten();
    match all.find(|extension| extension.extn_id == E::OID) {
        Some(extension) => Ok(Some(E::from_der(extension.extn_value.as_bytes())?)),
        None => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}
