//! The certificate management protocol (RFC 4210 with the updates of RFC 9480, by the profile of RFC 9483): certificates
//! are asked for (`ir`, `cr`, `p10cr`, `kur`), waited for (`pollReq`) and confirmed (`certConf`), suspended and revoked
//! (`rr`); `genm` gives out what clients need.
//!
//! Every message is one call of [`answer`]. What must outlive it stands in the journal before the answer leaves,
//! so a client may repeat any message until it hears the answer.

mod answer;
mod confirm;
mod enrol;
mod general;
mod message;
mod poll;
mod protection;
mod read;
mod refusal;
mod revoke;
mod sender;
mod spoil;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use der::asn1::OctetString;
use der::{AnyRef, Decode, Encode, Tag, TagNumber, Tagged};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use protection::Secret;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::fault::Fault;
use crate::profile::Rules;
use answer::{Answer, Seal};
use message::{Header, Message};
use refusal::{Refusal, Why};
use sender::Sender;

/// The message is no PKIMessage, so there is nothing to answer in CMP.
#[derive(Debug, Error)]
#[error("this is not a PKIMessage: {0}")]
pub(crate) struct Unreadable(der::Error);

/// Bodies of RFC 4210 §5.1.2 by their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Ir,
    Ip,
    Cr,
    Cp,
    P10cr,
    Kur,
    Kup,
    Rr,
    Rp,
    PkiConf,
    Genm,
    Genp,
    Error,
    CertConf,
    PollReq,
    PollRep,
}

impl BodyKind {
    const ALL: [Self; 16] = [
        Self::Ir,
        Self::Ip,
        Self::Cr,
        Self::Cp,
        Self::P10cr,
        Self::Kur,
        Self::Kup,
        Self::Rr,
        Self::Rp,
        Self::PkiConf,
        Self::Genm,
        Self::Genp,
        Self::Error,
        Self::CertConf,
        Self::PollReq,
        Self::PollRep,
    ];

    fn of(body: &AnyRef<'_>) -> Option<Self> {
        let Tag::ContextSpecific { constructed: true, number } = body.tag() else { return None };
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    const fn number(self) -> TagNumber {
        match self {
            Self::Ir => TagNumber::N0,
            Self::Ip => TagNumber::N1,
            Self::Cr => TagNumber::N2,
            Self::Cp => TagNumber::N3,
            Self::P10cr => TagNumber::N4,
            Self::Kur => TagNumber::N7,
            Self::Kup => TagNumber::N8,
            Self::Rr => TagNumber::N11,
            Self::Rp => TagNumber::N12,
            Self::PkiConf => TagNumber::N19,
            Self::Genm => TagNumber::N21,
            Self::Genp => TagNumber::N22,
            Self::Error => TagNumber::N23,
            Self::CertConf => TagNumber::N24,
            Self::PollReq => TagNumber::N25,
            Self::PollRep => TagNumber::N26,
        }
    }
}

/// The answer to one message, DER.
///
/// # Errors
/// When the bytes are no PKIMessage at all, or when no answer can be made; refusals are answers.
pub(crate) fn answer(
    authority: &Authority,
    rules: &Arc<Rules>,
    request: &[u8],
    fault: Option<&Fault>,
) -> Result<Result<Vec<u8>, Unreadable>, AuthorityError> {
    let answer = match decide(authority, rules, request)? {
        Ok(answer) => answer,
        Err(unreadable) => return Ok(Err(unreadable)),
    };
    match fault.and_then(|fault| fault.in_message(answer.brings_certificate())) {
        Some(fault) => answer.seal_spoiled(authority, fault).map(Ok),
        None => answer.seal(authority).map(Ok),
    }
}

/// What to answer to one message.
fn decide(
    authority: &Authority,
    rules: &Arc<Rules>,
    request: &[u8],
) -> Result<Result<Answer, Unreadable>, AuthorityError> {
    let message = match Message::from_der(request) {
        Ok(message) => message,
        Err(error) => return Ok(Err(Unreadable(error))),
    };
    let header = match Header::from_der(&message.header.to_der()?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(Unreadable(error))),
    };
    let known = match check_version(&header) {
        Ok(()) => sender::identify(authority, &header, &message),
        Err(refusal) => Err(refusal.into()),
    };
    // Refusals of unknown senders go out unprotected: an answer protected with the secret would hand whoever asks
    // without knowing it the means to try guesses at leisure.
    let (outcome, seal) = match known {
        Ok(sender) => (obey(authority, rules, &sender, &header, &message.body), Some(Seal::to(&sender))),
        Err(failure) => (Err(failure), None),
    };
    match outcome {
        Ok(outcome) => Answer::new(authority, &header, outcome, seal).map(Ok),
        Err(Failure::Refused(refusal)) => {
            tracing::info!(profile = %rules.profile, text = %refusal.text, "CMP message refused");
            Answer::refusal(authority, &header, &refusal, seal).map(Ok)
        }
        Err(Failure::Broken(error)) => Err(error),
    }
}

/// What an answer says.
struct Outcome {
    kind: BodyKind,
    body: Vec<u8>,
    nonce: Vec<u8>,
    implicit_confirm: bool,
}

/// Does what the message asks.
fn obey(
    authority: &Authority,
    rules: &Arc<Rules>,
    sender: &Sender,
    header: &Header,
    body: &AnyRef<'_>,
) -> Result<Outcome, Failure> {
    check_transaction(header)?;
    match BodyKind::of(body) {
        Some(kind @ (BodyKind::Ir | BodyKind::Cr | BodyKind::Kur | BodyKind::P10cr)) => {
            enrol::ask(authority, rules, sender, header, kind, body)
        }
        Some(BodyKind::PollReq) => poll::ask_again(authority, header, body.value()),
        Some(BodyKind::CertConf) => confirm::confirm(authority, header, body.value()),
        Some(BodyKind::Error) => confirm::give_up(authority, header),
        Some(BodyKind::Rr) => revoke::revoke(authority, sender, header, body),
        Some(BodyKind::Genm) => general::inform(authority, body.value()),
        Some(
            BodyKind::Ip
            | BodyKind::Cp
            | BodyKind::Kup
            | BodyKind::Rp
            | BodyKind::PkiConf
            | BodyKind::Genp
            | BodyKind::PollRep,
        )
        | None => {
            let text = "only ir, cr, p10cr, kur, rr, certConf, pollReq, genm and error are answered here";
            Err(Refusal::new(Why::BadRequest, text).into())
        }
    }
}

/// Why a message gets no certificate: the client's fault or ours.
#[derive(Debug)]
enum Failure {
    Refused(Refusal),
    Broken(AuthorityError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E: Into<AuthorityError>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        if let AuthorityError::Issue(fault) = error {
            Self::Refused(fault.into())
        } else {
            Self::Broken(error)
        }
    }
}

fn check_version(header: &Header) -> Result<(), Refusal> {
    // RFC 9480 §2.20: version 3 differs in what it may carry, none of which is used here.
    match header.pvno {
        2 | 3 => Ok(()),
        _ => Err(Refusal::new(Why::UnsupportedVersion, "only CMP versions 2 and 3 are spoken here")),
    }
}

fn check_transaction(header: &Header) -> Result<(), Refusal> {
    let fits = |value: &Option<OctetString>| {
        value.as_ref().is_some_and(|value| (8..=64).contains(&value.as_bytes().len()))
    };
    if !fits(&header.transaction_id) {
        return Err(Refusal::new(Why::BadRequest, "the transactionID must be 8 to 64 bytes long"));
    }
    if !fits(&header.sender_nonce) {
        return Err(Refusal::new(Why::BadSenderNonce, "the senderNonce must be 8 to 64 bytes long"));
    }
    Ok(())
}

/// The transaction that a message belongs to, as the journal names it.
fn transaction(header: &Header) -> String {
    header.transaction_id.as_ref().map(|id| hex::encode(id.as_bytes())).unwrap_or_default()
}

/// What tells one request from another in the journal.
fn fingerprint(body: &AnyRef<'_>) -> der::Result<String> {
    Ok(hex::encode(Sha256::digest(body.to_der()?)))
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, AuthorityError> {
    hex::decode(text).map_err(|_| AuthorityError::Der(der::ErrorKind::Failed.into()))
}
