//! What the client says of the certificate that it was sent.

use der::asn1::{Null, OctetString};
use der::{Decode, Encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::message::{CertStatus, Header};
use super::refusal::{PkiStatus, Refusal, Why};
use super::{BodyKind, Failure, Outcome, hex_bytes, transaction};
use crate::authority::{Authority, now};
use crate::issue::{IssueError, random};
use crate::state::Event;
use crate::status::{Reason, Status};

/// RFC 4210 §5.3.18. May be repeated: a client that lost our answer asks again.
pub(super) fn confirm(authority: &Authority, header: &Header, content: &[u8]) -> Result<Outcome, Failure> {
    let statuses = Vec::<CertStatus>::from_der(content).map_err(IssueError::Malformed)?;
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    let unknown = || Refusal::new(Why::BadRequest, "there is no such transaction to confirm");
    let delivery = record.state().delivery(&transaction(header)).cloned().ok_or_else(unknown)?;
    let nonce = header.recip_nonce.as_ref().map(OctetString::as_bytes).unwrap_or_default();
    if !bool::from(hex_bytes(&delivery.nonce)?.as_slice().ct_eq(nonce)) {
        return Err(
            Refusal::new(Why::BadRecipientNonce, "the recipNonce is not the one that was sent").into()
        );
    }
    let known = record.state().record(&delivery.serial).ok_or_else(unknown)?;
    let accepted = match statuses.as_slice() {
        // An empty list turns every certificate down.
        [] => false,
        [status] => accepts(status, &known.certificate)?,
        _ => {
            return Err(Refusal::new(
                Why::BadCertId,
                "one certificate was issued, and several are confirmed",
            )
            .into());
        }
    };
    let change = match (known.status, accepted) {
        (Status::Unconfirmed, true) => Some(Event::Confirmed { serial: known.serial.clone(), at: now() }),
        (Status::Unconfirmed, false) => Some(Event::Changed {
            serial: known.serial.clone(),
            reason: Reason::CessationOfOperation,
            at: now(),
        }),
        // What was confirmed is in use: another transaction that got the same certificate cannot turn it down.
        (Status::Valid | Status::Suspended { .. } | Status::Revoked { .. }, _) => None,
    };
    // A rejection that is heard again changes nothing, and so publishes nothing.
    let revokes = matches!(change, Some(Event::Changed { .. }));
    record.append(change.as_slice())?;
    drop(record);
    drop(journal);
    if revokes {
        authority.publish_now()?;
    }
    acknowledged()
}

/// A client that cannot use the answer says so with an error message (RFC 9483 §3.6.4): what it was sent and has not
/// confirmed is withdrawn.
pub(super) fn give_up(authority: &Authority, header: &Header) -> Result<Outcome, Failure> {
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    let delivery = record.state().delivery(&transaction(header));
    let sent = delivery.and_then(|delivery| record.state().record(&delivery.serial));
    let withdrawn = sent.filter(|sent| sent.status == Status::Unconfirmed).map(|sent| Event::Changed {
        serial: sent.serial.clone(),
        reason: Reason::CessationOfOperation,
        at: now(),
    });
    let withdraws = withdrawn.is_some();
    record.append(withdrawn.as_slice())?;
    drop(record);
    drop(journal);
    if withdraws {
        authority.publish_now()?;
    }
    acknowledged()
}

fn acknowledged() -> Result<Outcome, Failure> {
    let nonce = random::<16>()?.to_vec();
    Ok(Outcome { kind: BodyKind::PkiConf, body: Null.to_der()?, nonce, implicit_confirm: false })
}

fn accepts(status: &CertStatus, certificate: &[u8]) -> Result<bool, Failure> {
    // The hash is that of the certificate's signature, SHA-256, unless the client names another (RFC 9480 §2.10).
    if status.hash_alg.as_ref().is_some_and(|algorithm| algorithm.oid != const_oid::db::rfc5912::ID_SHA_256) {
        return Err(Refusal::new(Why::BadAlg, "certConf must hash with SHA-256").into());
    }
    if !bool::from(Sha256::digest(certificate).as_slice().ct_eq(status.cert_hash.as_bytes())) {
        return Err(Refusal::new(
            Why::BadCertId,
            "the certHash is not that of the certificate that was sent",
        )
        .into());
    }
    let accepted = [PkiStatus::Accepted.value(), PkiStatus::GrantedWithMods.value()];
    Ok(status.status_info.as_ref().is_none_or(|info| accepted.contains(&info.status)))
}
