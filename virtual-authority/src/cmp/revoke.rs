//! Suspension, reactivation and revocation (RFC 4210 §5.3.9, RFC 9483 §4.2).

use const_oid::AssociatedOid;
use crmf::controls::CertId;
use der::{AnyRef, Decode, Encode};
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::serial_number::SerialNumber;

use super::message::{Header, RevDetails, RevRepContent};
use super::refusal::{PkiStatus, Refusal, Why};
use super::sender::Sender;
use super::{BodyKind, Failure, Outcome, fingerprint, hex_bytes, transaction};
use crate::authority::{Authority, now};
use crate::issue::{IssueError, random};
use crate::state::{Change, Event, State};
use crate::status::{self, Reason};

/// The most certificates that one message may name: more than any card has.
const MOST_CERTIFICATES: usize = 32;

/// Changes the status of every certificate that the message names, each for itself: some may be refused while others are
/// done. The same message again gets the same answer, and changes nothing.
pub(super) fn revoke(
    authority: &Authority,
    sender: &Sender,
    header: &Header,
    body: &AnyRef<'_>,
) -> Result<Outcome, Failure> {
    let wishes = Vec::<RevDetails>::from_der(body.value()).map_err(IssueError::Malformed)?;
    if !(1..=MOST_CERTIFICATES).contains(&wishes.len()) {
        let text = format!("1 to {MOST_CERTIFICATES} certificates per message can be revoked");
        return Err(Refusal::new(Why::BadRequest, text).into());
    }
    let (transaction, request) = (transaction(header), fingerprint(body)?);
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    let state = record.state();
    if let Some(before) = state.answered(&transaction).filter(|before| before.request == request) {
        return done(hex_bytes(&before.answer)?);
    }
    if state.knows(&transaction) {
        let text = "this transactionID was used for another request";
        return Err(Refusal::new(Why::TransactionIdInUse, text).into());
    }
    let at = now();
    let (mut changes, mut status) = (Vec::<Change>::new(), Vec::new());
    for wish in &wishes {
        match judge(authority, state, sender, wish, &changes, at) {
            Ok(change) => {
                tracing::info!(serial = change.serial, reason = %change.reason, "status changed");
                changes.push(change);
                status.push(PkiStatus::Accepted.info());
            }
            Err(refusal) => {
                tracing::info!(text = %refusal.text, "change of status refused");
                status.push(refusal.status()?);
            }
        }
    }
    let answer = RevRepContent { status, rev_certs: named(authority, &wishes)? }.to_der()?;
    let changed = !changes.is_empty();
    // One line, so that a kill leaves all of it or nothing.
    let event = Event::Revoked { transaction, request, changes, answer: hex::encode(&answer), at };
    record.append(&[event])?;
    drop(record);
    drop(journal);
    if changed {
        authority.publish_now()?;
    }
    done(answer)
}

fn done(body: Vec<u8>) -> Result<Outcome, Failure> {
    let nonce = random::<16>()?.to_vec();
    Ok(Outcome { kind: BodyKind::Rp, body, nonce, implicit_confirm: false })
}

/// What one entry asks for, if it may be done.
fn judge(
    authority: &Authority,
    state: &State,
    sender: &Sender,
    wish: &RevDetails,
    before: &[Change],
    at: u64,
) -> Result<Change, Refusal> {
    let template = &wish.cert_details;
    let missing = || Refusal::new(Why::BadCertId, "a certificate is named by issuer and serial number");
    let serial = template.serial_number.as_ref().ok_or_else(missing)?;
    let issuer = template.issuer.as_ref().ok_or_else(missing)?;
    if *issuer != authority.ca_certificate().tbs_certificate.subject {
        return Err(Refusal::new(Why::BadCertId, "the certificate is another certifier's"));
    }
    let serial = hex::encode(serial.as_bytes());
    if before.iter().any(|change| change.serial == serial) {
        return Err(Refusal::new(Why::BadRequest, "the certificate is named twice"));
    }
    let unknown = || status::StatusError::UnknownSerial(serial.clone());
    let known = state.record(&serial).ok_or_else(unknown)?;
    sender.may_change(known)?;
    let reason = reason(wish)?;
    status::judge(known, reason, at)?;
    Ok(Change { serial, reason })
}

/// The reason of the CRL entry that is asked for; without one, none is given.
fn reason(wish: &RevDetails) -> Result<Reason, Refusal> {
    let mut extensions = wish.crl_entry_details.iter().flatten();
    let Some(reason) = extensions.find(|extension| extension.extn_id == CrlReason::OID) else {
        return Ok(Reason::Unspecified);
    };
    let text = "the reason is none of RFC 5280 that a holder's certificate can have";
    CrlReason::from_der(reason.extn_value.as_bytes())
        .ok()
        .and_then(Reason::from_crl)
        .ok_or_else(|| Refusal::new(Why::BadRequest, text))
}

/// The certificates that were named, in the order of the states; left out if any has no name.
fn named(authority: &Authority, wishes: &[RevDetails]) -> Result<Option<Vec<CertId>>, Failure> {
    let issuer = &authority.ca_certificate().tbs_certificate.subject;
    let ids = wishes.iter().map(|wish| {
        let serial = wish.cert_details.serial_number.as_ref()?;
        let serial_number = SerialNumber::new(serial.as_bytes()).ok()?;
        Some(CertId { issuer: GeneralName::DirectoryName(issuer.clone()), serial_number })
    });
    Ok(ids.collect())
}
