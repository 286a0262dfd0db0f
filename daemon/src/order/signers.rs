//! Whose orders are carried out: named certificates, of a configured authority, not revoked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::KeyUsage;

use super::error::OrderError;
use super::signed_data::Verified;
use crate::authority::checks::{CheckError, Revocation, TrustAnchors, check_crl, verify_chain};
use crate::config::{OrdersConfig, SignerEntry};
use crate::operator::TrustError;

/// The largest file of anchors or revocations that is read.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

pub(super) struct Signers {
    entries: Vec<SignerEntry>,
    anchors: TrustAnchors,
    crl: Option<PathBuf>,
}

impl Signers {
    pub(super) fn read(config: &OrdersConfig) -> Result<Self, TrustError> {
        let path = &config.trust_anchors;
        let anchors =
            TrustAnchors::from_pem(&read_file(path)?).map_err(|_| TrustError::Anchors(path.clone()))?;
        if config.crl.is_none() {
            tracing::warn!("[orders]: no revocation list is configured: revoked signers are not noticed");
        }
        Ok(Self { entries: config.signer.clone(), anchors, crl: config.crl.clone() })
    }

    /// The name of a signer who may give orders now. A revocation list that is configured and cannot be used refuses.
    pub(super) fn judge(&self, message: &Verified, now: SystemTime) -> Result<&str, OrderError> {
        let digest = hex::encode(Sha256::digest(&message.signer_der));
        let listed = |entry: &&SignerEntry| entry.certificate_sha256.eq_ignore_ascii_case(&digest);
        let entry = self.entries.iter().find(listed).ok_or(OrderError::NotAllowed)?;
        let issuer = verify_chain(&message.signer_der, &self.anchors, now).map_err(OrderError::Signer)?;
        if !may_sign(&message.signer)? {
            return Err(OrderError::Trust(TrustError::Usage));
        }
        if let Some(path) = &self.crl {
            let serial = message.signer.tbs_certificate.serial_number.as_bytes();
            match check_crl(&read_file(path)?, issuer, serial, now).map_err(TrustError::Crl)? {
                Revocation::Good => {}
                Revocation::Revoked { .. } => return Err(OrderError::Revoked),
            }
        }
        Ok(&entry.name)
    }
}

/// Whether the certificate's key may sign (RFC 5280 §4.2.1.3).
fn may_sign(certificate: &Certificate) -> Result<bool, OrderError> {
    let usage = certificate
        .tbs_certificate
        .get::<KeyUsage>()
        .map_err(|error| OrderError::Signer(CheckError::Malformed(error)))?;
    Ok(usage.is_none_or(|(_, usage)| usage.digital_signature() || usage.non_repudiation()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}
