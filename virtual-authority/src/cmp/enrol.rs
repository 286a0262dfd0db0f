//! Requests for a certificate.

use std::sync::Arc;

use crmf::controls::CertId;
use der::{Any, AnyRef, Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;

use super::message::{CertRepMessage, CertResponse, CertifiedKeyPair, Header};
use super::read::{self, Wish};
use super::refusal::{PkiStatus, Refusal, Why};
use super::sender::Sender;
use super::{BodyKind, Failure, Outcome, fingerprint, hex_bytes, transaction};
use crate::authority::{Authority, now};
use crate::issue::{self, random};
use crate::profile::Rules;
use crate::state::{Deferral, Delivery, Event, Locked, State};
use crate::status::Status;

/// Issues, finds what was issued before (to this transaction, or for the same key and subject), or lets the client wait.
pub(super) fn ask(
    authority: &Authority,
    rules: &Arc<Rules>,
    sender: &Sender,
    header: &Header,
    kind: BodyKind,
    body: &AnyRef<'_>,
) -> Result<Outcome, Failure> {
    let wish = read::wish(rules, kind, body.value())?;
    let transaction = transaction(header);
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    let state = record.state();
    sender.may_ask_for(state, &wish.application)?;
    if kind == BodyKind::Kur {
        check_old(authority, state, sender, &wish)?;
    }
    if state.answered(&transaction).is_some() {
        return Err(in_use().into());
    }
    let request = Request {
        transaction,
        fingerprint: fingerprint(body)?,
        implicit_confirm: header.asks_implicit_confirm(),
        answer: answer_to(kind),
    };
    if record.state().delivery(&request.transaction).is_some() {
        return grant(authority, &mut record, &request, &wish);
    }
    let deferral = match record.state().deferral(&request.transaction) {
        Some(deferral) if deferral.body != hex::encode(body.to_der()?) => return Err(in_use().into()),
        Some(deferral) => Some(deferral.clone()),
        None => defer(authority, &mut record, &request, &wish, body)?,
    };
    if deferral.is_some_and(|deferral| deferral.until > now()) {
        return waiting(authority, &request, &wish);
    }
    grant(authority, &mut record, &request, &wish)
}

/// A request for a certificate, as the journal knows it.
pub(super) struct Request {
    pub(super) transaction: String,
    pub(super) fingerprint: String,
    pub(super) implicit_confirm: bool,
    /// The kind of the answer.
    pub(super) answer: BodyKind,
}

/// The kind of body that answers a request of this kind.
pub(super) fn answer_to(kind: BodyKind) -> BodyKind {
    if kind == BodyKind::Ir {
        BodyKind::Ip
    } else if kind == BodyKind::Kur {
        BodyKind::Kup
    } else {
        BodyKind::Cp
    }
}

/// RFC 4210 §5.3.5: the certificate that is renewed must be one in force, of the same kind and name; a holder's own.
fn check_old(authority: &Authority, state: &State, sender: &Sender, wish: &Wish) -> Result<(), Refusal> {
    let serial = match (&wish.old, sender) {
        (Some(old), _) => named(authority, old)?,
        (None, Sender::Holder { serial }) => serial.clone(),
        (None, Sender::Secret(_) | Sender::Officer) => {
            return Err(Refusal::new(Why::BadRequest, "kur must name the old certificate by oldCertID"));
        }
    };
    let unknown = || Refusal::new(Why::BadCertId, "no such certificate was issued here");
    let old = state.record(&serial).ok_or_else(unknown)?;
    if matches!(sender, Sender::Holder { serial } if *serial != old.serial) {
        let text = "a holder may renew only the certificate that protects the message";
        return Err(Refusal::new(Why::NotAuthorized, text));
    }
    if !old.is_of(wish.application.profile(), &wish.application.subject().to_string()) {
        return Err(Refusal::new(Why::BadCertTemplate, "the old certificate is of another kind or name"));
    }
    if old.status != Status::Valid || old.not_after <= now() {
        return Err(Refusal::new(Why::CertRevoked, "the old certificate is not in force"));
    }
    Ok(())
}

/// The serial number that a CertId names, if it is one of this certifier.
pub(super) fn named(authority: &Authority, id: &CertId) -> Result<String, Refusal> {
    let own = &authority.ca_certificate().tbs_certificate.subject;
    if id.issuer == GeneralName::DirectoryName(own.clone()) {
        Ok(hex::encode(id.serial_number.as_bytes()))
    } else {
        Err(Refusal::new(Why::BadCertId, "the certificate is another certifier's"))
    }
}

fn in_use() -> Refusal {
    Refusal::new(Why::TransactionIdInUse, "this transactionID was used for another request")
}

/// Writes down that this request waits, if requests do and nothing is there for it yet.
fn defer(
    authority: &Authority,
    record: &mut Locked<'_>,
    request: &Request,
    wish: &Wish,
    body: &AnyRef<'_>,
) -> Result<Option<Deferral>, Failure> {
    let delay = authority.delay();
    if delay == 0 || issue::in_force(record.state(), &wish.application.identity()?, now())?.is_some() {
        return Ok(None);
    }
    let deferral = Deferral {
        profile: wish.application.profile().clone(),
        body: hex::encode(body.to_der()?),
        implicit_confirm: request.implicit_confirm,
        until: now().saturating_add(delay),
    };
    record.append(&[Event::Deferred {
        transaction: request.transaction.clone(),
        deferral: deferral.clone(),
    }])?;
    Ok(Some(deferral))
}

/// "Waiting": the client is to ask again by pollReq.
fn waiting(authority: &Authority, request: &Request, wish: &Wish) -> Result<Outcome, Failure> {
    let mut status = PkiStatus::Waiting.info();
    status.text = Some(vec!["the certifier has not decided yet".to_owned()]);
    let response = CertResponse { cert_req_id: wish.cert_req_id, status, certified_key_pair: None };
    answer(authority, request, response, random::<16>()?.to_vec())
}

/// Issues, or finds what was issued before: to this transaction, or for the same key and subject.
pub(super) fn grant(
    authority: &Authority,
    record: &mut Locked<'_>,
    request: &Request,
    wish: &Wish,
) -> Result<Outcome, Failure> {
    if let Some(delivery) = record.state().delivery(&request.transaction).cloned() {
        let certificate = repeated(record, &delivery, &request.fingerprint)?;
        return granted(authority, request, wish, &certificate, hex_bytes(&delivery.nonce)?);
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
        transaction: request.transaction.clone(),
        request: request.fingerprint.clone(),
        nonce: hex::encode(nonce),
        at: now(),
    };
    events.push(delivered);
    if request.implicit_confirm {
        events.push(Event::Confirmed { serial, at: now() });
    }
    record.append(&events)?;
    granted(authority, request, wish, &certificate, nonce.to_vec())
}

/// The certificate that this transaction was answered with before.
fn repeated(record: &Locked<'_>, delivery: &Delivery, request: &str) -> Result<Vec<u8>, Failure> {
    if delivery.request != request {
        return Err(in_use().into());
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
    request: &Request,
    wish: &Wish,
    certificate: &[u8],
    nonce: Vec<u8>,
) -> Result<Outcome, Failure> {
    let status = if wish.asked_for_more { PkiStatus::GrantedWithMods } else { PkiStatus::Accepted };
    let response = CertResponse {
        cert_req_id: wish.cert_req_id,
        status: status.info(),
        certified_key_pair: Some(CertifiedKeyPair { certificate: Any::from_der(certificate)? }),
    };
    answer(authority, request, response, nonce)
}

fn answer(
    authority: &Authority,
    request: &Request,
    response: CertResponse,
    nonce: Vec<u8>,
) -> Result<Outcome, Failure> {
    let granted = response.certified_key_pair.is_some();
    let ca = Any::from_der(&authority.ca_certificate().to_der()?)?;
    let body = CertRepMessage { ca_pubs: granted.then(|| vec![ca]), response: vec![response] };
    let implicit_confirm = request.implicit_confirm;
    Ok(Outcome { kind: request.answer, body: body.to_der()?, nonce, implicit_confirm })
}
