//! The certificate revocation list (RFC 5280 §5), version 2, and the delta CRL beside it (§5.2.4).

use const_oid::AssociatedOid;
use der::asn1::{BitString, Uint};
use der::{Any, Decode, Encode};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::{BaseCrlNumber, FreshestCrl};
use x509_cert::ext::pkix::{CrlNumber, CrlReason};
use x509_cert::serial_number::SerialNumber;

use crate::authority::Ca;
use crate::error::AuthorityError;
use crate::issue::{at_address, authority_key_identifier, extension, time};
use crate::state::{Publication, Record, State};
use crate::status::{Reason, Status};

/// How long a CRL is good for, in seconds.
pub(crate) const LIFETIME: u64 = 24 * 3600;

/// The signed CRL of everything in `state` that is out of force at `now`. With the address of a delta CRL it says
/// where that is found (§5.2.6).
pub(crate) fn complete(
    ca: &Ca,
    state: &State,
    number: u64,
    delta_url: Option<&str>,
    now: u64,
) -> Result<Vec<u8>, AuthorityError> {
    let entries = state.records().filter_map(out_of_force).collect::<Result<_, _>>()?;
    let freshest = delta_url.map(|url| extension(false, &FreshestCrl(vec![at_address(url)?]))).transpose()?;
    sign(ca, entries, number, now, freshest)
}

/// The signed delta CRL: what became of certificates after the CRL `base`.
pub(crate) fn delta(
    ca: &Ca,
    state: &State,
    base: Publication,
    number: u64,
    now: u64,
) -> Result<Vec<u8>, AuthorityError> {
    let changed = state.records().filter_map(|record| {
        let moment = record.changed.filter(|moment| moment.event > base.moment.event)?;
        // In force again: a CRL may still have it on hold.
        Some(out_of_force(record).unwrap_or_else(|| entry(&record.serial, moment.at, Reason::RemoveFromCrl)))
    });
    let entries = changed.collect::<Result<_, _>>()?;
    let indicator = extension(true, &BaseCrlNumber(Uint::new(&base.number.to_be_bytes())?))?;
    sign(ca, entries, number, now, Some(indicator))
}

/// The number of a CRL, DER; `None` if it is none of ours.
pub(crate) fn number(list: &[u8]) -> Option<u64> {
    let list = CertificateList::from_der(list).ok()?;
    let extensions = list.tbs_cert_list.crl_extensions?;
    let number = extensions.iter().find(|extension| extension.extn_id == CrlNumber::OID)?;
    let number = CrlNumber::from_der(number.extn_value.as_bytes()).ok()?;
    number
        .0
        .as_bytes()
        .iter()
        .try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add((*byte).into()))
}

fn out_of_force(record: &Record) -> Option<Result<RevokedCert, AuthorityError>> {
    match record.status {
        Status::Unconfirmed | Status::Valid => None,
        Status::Suspended { since } => Some(entry(&record.serial, since, Reason::CertificateHold)),
        Status::Revoked { since, reason } => Some(entry(&record.serial, since, reason)),
    }
}

fn sign(
    ca: &Ca,
    entries: Vec<RevokedCert>,
    number: u64,
    now: u64,
    special: Option<Extension>,
) -> Result<Vec<u8>, AuthorityError> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::null()),
    };
    let mut extensions =
        vec![authority_key_identifier(ca)?, extension(false, &CrlNumber(Uint::new(&number.to_be_bytes())?))?];
    extensions.extend(special);
    let list = TbsCertList {
        version: Version::V2,
        signature: algorithm.clone(),
        issuer: ca.certificate().tbs_certificate.subject.clone(),
        this_update: time(now)?,
        next_update: Some(time(now.saturating_add(LIFETIME))?),
        // RFC 5280 §5.1.2.6: absent, not empty, when nothing is revoked.
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(extensions),
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
