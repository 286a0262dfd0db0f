//! The certificate revocation list (RFC 5280 §5), version 2.

use der::asn1::{BitString, Uint};
use der::{Any, Encode};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::{CrlNumber, CrlReason};
use x509_cert::serial_number::SerialNumber;

use crate::authority::Ca;
use crate::error::AuthorityError;
use crate::issue::{authority_key_identifier, extension, time};
use crate::state::State;
use crate::status::{Reason, Status};

/// How long a CRL is good for, in seconds.
pub(crate) const LIFETIME: u64 = 24 * 3600;

/// The signed CRL of everything in `state` that is out of force at `now`.
pub(crate) fn build(ca: &Ca, state: &State, number: u64, now: u64) -> Result<Vec<u8>, AuthorityError> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::null()),
    };
    let mut revoked = Vec::new();
    for record in state.records() {
        match record.status {
            Status::Unconfirmed | Status::Valid => {}
            Status::Suspended { since } => {
                revoked.push(entry(&record.serial, since, Reason::CertificateHold)?)
            }
            Status::Revoked { since, reason } => revoked.push(entry(&record.serial, since, reason)?),
        }
    }
    let list = TbsCertList {
        version: Version::V2,
        signature: algorithm.clone(),
        issuer: ca.certificate().tbs_certificate.subject.clone(),
        this_update: time(now)?,
        next_update: Some(time(now.saturating_add(LIFETIME))?),
        // RFC 5280 §5.1.2.6: absent, not empty, when nothing is revoked.
        revoked_certificates: (!revoked.is_empty()).then_some(revoked),
        crl_extensions: Some(vec![
            authority_key_identifier(ca)?,
            extension(false, &CrlNumber(Uint::new(&number.to_be_bytes())?))?,
        ]),
    };
    let signature = ca.sign(&list.to_der()?)?;
    let list = CertificateList {
        tbs_cert_list: list,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(list.to_der()?)
}

fn entry(serial: &str, since: u64, reason: Reason) -> Result<RevokedCert, AuthorityError> {
    let reason = reason.crl_reason();
    // RFC 5280 §5.3.1: the reason should be absent rather than "unspecified".
    let extensions =
        if reason == CrlReason::Unspecified { None } else { Some(vec![extension(false, &reason)?]) };
    let serial = hex::decode(serial).map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
    Ok(RevokedCert {
        serial_number: SerialNumber::new(&serial)?,
        revocation_date: time(since)?,
        crl_entry_extensions: extensions,
    })
}
