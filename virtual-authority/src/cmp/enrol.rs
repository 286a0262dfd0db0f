//! Requests for a certificate, and their confirmation.

use crmf::pop::ProofOfPossession;
use der::asn1::{Null, OctetString};
use der::{Any, AnyRef, Decode, Encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use x509_cert::request::CertReq;

use super::message::{
    CertRepMessage, CertReqMsg, CertRequest, CertResponse, CertStatus, CertifiedKeyPair, Header,
};
use super::refusal::{PkiStatus, Refusal, Why};
use super::{BodyKind, Failure};
use crate::authority::{Authority, now};
use crate::error::AuthorityError;
use crate::issue::{self, Application, IssueError, random, verify_signature};
use crate::profile::Profile;
use crate::state::{Delivery, Event, Locked};
use crate::status::{Reason, Status};

/// What the answer says.
pub(super) struct Outcome {
    pub(super) kind: BodyKind,
    pub(super) body: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) implicit_confirm: bool,
}

/// Does what the message asks.
pub(super) fn act(
    authority: &Authority,
    profile: Profile,
    header: &Header,
    body: &AnyRef<'_>,
) -> Result<Outcome, Failure> {
    match BodyKind::of(body) {
        Some(kind @ (BodyKind::Ir | BodyKind::Cr)) => {
            let wish = read_crmf(profile, body.value())?;
            let kind = if kind == BodyKind::Ir { BodyKind::Ip } else { BodyKind::Cp };
            certify(authority, header, body, &wish, kind)
        }
        Some(BodyKind::P10cr) => {
            let wish = read_pkcs10(profile, body.value())?;
            certify(authority, header, body, &wish, BodyKind::Cp)
        }
        Some(BodyKind::CertConf) => confirm(authority, header, body.value()),
        Some(BodyKind::Ip | BodyKind::Cp | BodyKind::PkiConf | BodyKind::Error) | None => {
            let text = "only ir, cr, p10cr and certConf are answered here";
            Err(Refusal::new(Why::BadRequest, text).into())
        }
    }
}

/// A request for a certificate, checked.
struct Wish {
    application: Application,
    cert_req_id: i32,
    /// The profile decides on extensions, whatever the request says; then it must be told that it did.
    asked_for_more: bool,
}

fn read_pkcs10(profile: Profile, request: &[u8]) -> Result<Wish, Failure> {
    let application = Application::from_pkcs10(profile, request)?;
    let attributes = CertReq::from_der(request).map_err(IssueError::Malformed)?.info.attributes;
    // RFC 9480 §2.14: a PKCS#10 request has no certReqId, and -1 says so.
    Ok(Wish { application, cert_req_id: -1, asked_for_more: !attributes.is_empty() })
}

fn read_crmf(profile: Profile, messages: &[u8]) -> Result<Wish, Failure> {
    let messages = Vec::<CertReqMsg<'_>>::from_der(messages).map_err(IssueError::Malformed)?;
    let [message] = messages.as_slice() else {
        return Err(
            Refusal::new(Why::BadRequest, "exactly one certificate per message can be asked for").into()
        );
    };
    let signed = message.cert_req.to_der()?;
    let request = CertRequest::from_der(&signed).map_err(IssueError::Malformed)?;
    let template = request.template;
    let public_key = template.public_key.ok_or(IssueError::Incomplete("public key"))?;
    let subject = template.subject.ok_or(IssueError::Incomplete("subject"))?;
    let Some(ProofOfPossession::Signature(proof)) = &message.popo else {
        return Err(IssueError::NoProof.into());
    };
    if proof.poposk_input.is_some() {
        // RFC 4211 §4.1: only for templates without subject or key, and those are refused anyway.
        return Err(IssueError::NoProof.into());
    }
    verify_signature(&public_key, &proof.alg_id, &signed, &proof.signature)?;
    let not_after = template.validity.and_then(|validity| validity.not_after);
    let not_after = not_after.map(|time| time.to_unix_duration().as_secs());
    let application = Application::proved(profile, subject, public_key, not_after)?;
    Ok(Wish { application, cert_req_id: request.cert_req_id, asked_for_more: template.extensions.is_some() })
}

/// Issues, or finds what was issued before: to this transaction, or for the same key and subject.
fn certify(
    authority: &Authority,
    header: &Header,
    body: &AnyRef<'_>,
    wish: &Wish,
    kind: BodyKind,
) -> Result<Outcome, Failure> {
    let transaction = transaction(header);
    let request = hex::encode(Sha256::digest(body.to_der()?));
    let implicit_confirm = header.asks_implicit_confirm();
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    if let Some(delivery) = record.state().delivery(&transaction).cloned() {
        let certificate = repeated(&record, &delivery, &request)?;
        return granted(authority, wish, kind, &certificate, hex_bytes(&delivery.nonce)?, implicit_confirm);
    }
    let nonce = random::<16>()?;
    let mut events = Vec::new();
    let (serial, certificate) = match issue::in_force(record.state(), &wish.application.identity()?, now())? {
        Some(existing) => (existing.serial.clone(), existing.certificate.clone()),
        None => {
            let issued = issue::sign(authority.ca(), &wish.application, authority.base_url(), now())?;
            events.push(issued.event(true)?);
            (issued.serial(), issued.certificate.to_der()?)
        }
    };
    tracing::info!(serial, new = !events.is_empty(), "certificate granted");
    let delivered = Event::Delivered {
        serial: serial.clone(),
        transaction,
        request,
        nonce: hex::encode(nonce),
        at: now(),
    };
    events.push(delivered);
    if implicit_confirm {
        events.push(Event::Confirmed { serial, at: now() });
    }
    record.append(&events)?;
    granted(authority, wish, kind, &certificate, nonce.to_vec(), implicit_confirm)
}

/// The certificate that this transaction was answered with before.
fn repeated(record: &Locked<'_>, delivery: &Delivery, request: &str) -> Result<Vec<u8>, Failure> {
    if delivery.request != request {
        let text = "this transactionID was used for another request";
        return Err(Refusal::new(Why::TransactionIdInUse, text).into());
    }
    let known = record.state().record(&delivery.serial);
    let known = known.ok_or_else(|| Refusal::new(Why::BadCertId, "the certificate is not known"))?;
    match known.status {
        Status::Unconfirmed | Status::Valid => Ok(known.certificate.clone()),
        Status::Suspended { .. } | Status::Revoked { .. } => {
            Err(Refusal::new(Why::CertRevoked, "the certificate of this transaction is no longer in force")
                .into())
        }
    }
}

fn granted(
    authority: &Authority,
    wish: &Wish,
    kind: BodyKind,
    certificate: &[u8],
    nonce: Vec<u8>,
    implicit_confirm: bool,
) -> Result<Outcome, Failure> {
    let status = if wish.asked_for_more { PkiStatus::GrantedWithMods } else { PkiStatus::Accepted };
    let body = CertRepMessage {
        ca_pubs: Some(vec![Any::from_der(&authority.ca_certificate().to_der()?)?]),
        response: vec![CertResponse {
            cert_req_id: wish.cert_req_id,
            status: status.info(),
            certified_key_pair: Some(CertifiedKeyPair { certificate: Any::from_der(certificate)? }),
        }],
    };
    Ok(Outcome { kind, body: body.to_der()?, nonce, implicit_confirm })
}

/// RFC 4210 §5.3.18. May be repeated: a client that lost our answer asks again.
fn confirm(authority: &Authority, header: &Header, content: &[u8]) -> Result<Outcome, Failure> {
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

fn transaction(header: &Header) -> String {
    header.transaction_id.as_ref().map(|id| hex::encode(id.as_bytes())).unwrap_or_default()
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, AuthorityError> {
    hex::decode(text).map_err(|_| AuthorityError::Der(der::ErrorKind::Failed.into()))
}
