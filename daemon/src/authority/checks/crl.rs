//! Certificate revocation lists (RFC 5280 §5, §6.3): complete ones, of the issuer itself.

use std::time::SystemTime;

use const_oid::AssociatedOid;
use der::Decode;
use x509_cert::Certificate;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::pkix::{CrlReason, KeyUsages};

use super::{CLOCK_SKEW, CheckError, may_issue, verify_signed};

/// How a certificate stands on a revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is not on the list.
    Good,
    /// It is out of force.
    Revoked {
        /// Since when.
        since: SystemTime,
        /// Whether only suspended (certificateHold).
        suspended: bool,
        /// Why, where that was told (RFC 5280 §5.3.1).
        reason: Option<CrlReason>,
    },
}

impl Revocation {
    /// Whether the certificate is in force.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

/// The name of a reason as RFC 5280 has it.
#[must_use]
pub fn reason_name(reason: CrlReason) -> &'static str {
    match reason {
        CrlReason::Unspecified => "unspecified",
        CrlReason::KeyCompromise => "keyCompromise",
        CrlReason::CaCompromise => "cACompromise",
        CrlReason::AffiliationChanged => "affiliationChanged",
        CrlReason::Superseded => "superseded",
        CrlReason::CessationOfOperation => "cessationOfOperation",
        CrlReason::CertificateHold => "certificateHold",
        CrlReason::RemoveFromCRL => "removeFromCRL",
        CrlReason::PrivilegeWithdrawn => "privilegeWithdrawn",
        CrlReason::AaCompromise => "aACompromise",
    }
}

/// Looks for a serial number (big-endian, as in the certificate) on a list of its issuer.
///
/// # Errors
/// When the list is not the issuer's, is out of date, or says something critical that is not understood.
pub fn check_crl(
    list: &[u8],
    issuer: &Certificate,
    serial: &[u8],
    now: SystemTime,
) -> Result<Revocation, CheckError> {
    let decoded = CertificateList::from_der(list).map_err(CheckError::Malformed)?;
    let content = &decoded.tbs_cert_list;
    if content.issuer != issuer.tbs_certificate.subject || !may_issue(issuer, KeyUsages::CRLSign)? {
        return Err(CheckError::Issuer(content.issuer.to_string()));
    }
    verify_signed(list, &content.signature, &issuer.tbs_certificate.subject_public_key_info)?;
    // Partitioned, indirect and delta lists say so in a critical extension: "not on it" would mean nothing.
    if let Some(unknown) = content.crl_extensions.iter().flatten().find(|extension| extension.critical) {
        return Err(CheckError::Critical(unknown.extn_id.to_string()));
    }
    let next = content.next_update.ok_or(CheckError::Stale)?.to_system_time();
    if next < now || content.this_update.to_system_time() > now + CLOCK_SKEW {
        return Err(CheckError::Stale);
    }
    let revoked = content.revoked_certificates.iter().flatten();
    match revoked.into_iter().find(|entry| significant(entry.serial_number.as_bytes()) == significant(serial))
    {
        Some(entry) => read_entry(entry),
        None => Ok(Revocation::Good),
    }
}

/// Without the leading zeros that tell the sign.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn read_entry(entry: &RevokedCert) -> Result<Revocation, CheckError> {
    let extensions = || entry.crl_entry_extensions.iter().flatten();
    if let Some(unknown) =
        extensions().find(|extension| extension.critical && extension.extn_id != CrlReason::OID)
    {
        return Err(CheckError::Critical(unknown.extn_id.to_string()));
    }
    let reason = extensions().find(|extension| extension.extn_id == CrlReason::OID);
    let reason = reason.map(|extension| CrlReason::from_der(extension.extn_value.as_bytes())).transpose();
    let reason = reason.map_err(CheckError::Malformed)?;
    let suspended = reason == Some(CrlReason::CertificateHold);
    Ok(Revocation::Revoked { since: entry.revocation_date.to_system_time(), suspended, reason })
}
