//! The certificate management protocol, as far as enrolment goes: `ir`, `cr`, `p10cr` and `certConf`
//! (RFC 4210 §5.3 with the updates of RFC 9480).
//!
//! Every message is one call of [`answer`]. What must outlive it stands in the journal before the answer leaves,
//! so a client may repeat any message until it hears the answer.

mod enrol;
mod message;
mod protection;
mod refusal;
#[cfg(test)]
mod tests;

use der::asn1::{GeneralizedTime, OctetString};
use der::{Any, AnyRef, DateTime, Decode, Encode, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierOwned;
use thiserror::Error;
use x509_cert::ext::pkix::name::GeneralName;

pub(crate) use protection::Secret;

use crate::authority::{Authority, now};
use crate::error::AuthorityError;
use crate::issue::random;
use crate::profile::Profile;
use enrol::Outcome;
use message::{ErrorContent, Header, Message, Protected, Reply};
use refusal::{Refusal, Why};

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
    PkiConf,
    Error,
    CertConf,
}

impl BodyKind {
    fn of(body: &AnyRef<'_>) -> Option<Self> {
        let Tag::ContextSpecific { constructed: true, number } = body.tag() else { return None };
        [Self::Ir, Self::Ip, Self::Cr, Self::Cp, Self::P10cr, Self::PkiConf, Self::Error, Self::CertConf]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    const fn number(self) -> TagNumber {
        match self {
            Self::Ir => TagNumber::N0,
            Self::Ip => TagNumber::N1,
            Self::Cr => TagNumber::N2,
            Self::Cp => TagNumber::N3,
            Self::P10cr => TagNumber::N4,
            Self::PkiConf => TagNumber::N19,
            Self::Error => TagNumber::N23,
            Self::CertConf => TagNumber::N24,
        }
    }
}

/// The answer to one message, DER.
///
/// # Errors
/// When the bytes are no PKIMessage at all, or when no answer can be made; refusals are answers.
pub(crate) fn answer(
    authority: &Authority,
    profile: Profile,
    request: &[u8],
) -> Result<Result<Vec<u8>, Unreadable>, AuthorityError> {
    let message = match Message::from_der(request) {
        Ok(message) => message,
        Err(error) => return Ok(Err(Unreadable(error))),
    };
    let header = match Header::from_der(&message.header.to_der()?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(Unreadable(error))),
    };
    // Both refusals go out unprotected: an answer protected with the secret would hand whoever asks without
    // knowing it the means to try guesses at leisure.
    if let Err(refusal) = check_version(&header).and_then(|()| check_protection(authority, &header, &message))
    {
        tracing::info!(%profile, text = %refusal.text, "CMP message refused");
        return error_reply(authority, &header, &refusal, None).map(Ok);
    }
    let outcome = check_transaction(&header).map_err(Failure::Refused);
    match outcome.and_then(|()| enrol::act(authority, profile, &header, &message.body)) {
        Ok(outcome) => reply(authority, &header, outcome).map(Ok),
        Err(Failure::Refused(refusal)) => {
            tracing::info!(%profile, text = %refusal.text, "CMP request refused");
            error_reply(authority, &header, &refusal, Some(authority.secret())).map(Ok)
        }
        Err(Failure::Broken(error)) => Err(error),
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

fn check_protection(authority: &Authority, header: &Header, message: &Message<'_>) -> Result<(), Refusal> {
    // One text for a wrong name and a wrong secret.
    let refusal =
        || Refusal::new(Why::BadMessageCheck, "the message is not protected with the shared secret");
    let (Some(algorithm), Some(protection)) = (&header.protection_alg, &message.protection) else {
        return Err(refusal());
    };
    if header.sender_kid.as_ref().map(OctetString::as_bytes) != Some(authority.secret().reference()) {
        return Err(refusal());
    }
    let protected = Protected { header: message.header, body: message.body };
    let protected = protected.to_der().map_err(|_| refusal())?;
    authority.secret().verify(algorithm, &protected, protection)
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

fn reply(authority: &Authority, request: &Header, outcome: Outcome) -> Result<Vec<u8>, AuthorityError> {
    let mut header = reply_header(authority, request, &outcome.nonce)?;
    if outcome.implicit_confirm {
        header.general_info = Some(vec![message::implicit_confirm()]);
    }
    seal(authority, header, outcome.kind, &outcome.body, Some(authority.secret()))
}

fn error_reply(
    authority: &Authority,
    request: &Header,
    refusal: &Refusal,
    secret: Option<&Secret>,
) -> Result<Vec<u8>, AuthorityError> {
    let header = reply_header(authority, request, &random::<16>()?)?;
    let content = ErrorContent { status: refusal.status()?, error_code: None, error_details: None };
    seal(authority, header, BodyKind::Error, &content.to_der()?, secret)
}

fn reply_header(authority: &Authority, request: &Header, nonce: &[u8]) -> Result<Header, AuthorityError> {
    let time = DateTime::from_unix_duration(std::time::Duration::from_secs(now()))?;
    Ok(Header {
        pvno: 2,
        sender: GeneralName::DirectoryName(authority.ca_certificate().tbs_certificate.subject.clone()),
        recipient: request.sender.clone(),
        message_time: Some(GeneralizedTime::from_date_time(time)),
        protection_alg: None,
        sender_kid: None,
        recip_kid: None,
        transaction_id: request.transaction_id.clone(),
        sender_nonce: Some(OctetString::new(nonce)?),
        recip_nonce: request.sender_nonce.clone(),
        free_text: None,
        general_info: None,
    })
}

fn seal(
    authority: &Authority,
    mut header: Header,
    kind: BodyKind,
    body: &[u8],
    secret: Option<&Secret>,
) -> Result<Vec<u8>, AuthorityError> {
    let method = secret.map(Secret::method).transpose()?;
    if let (Some(secret), Some((algorithm, _))) = (secret, &method) {
        header.protection_alg = Some(AlgorithmIdentifierOwned::clone(algorithm));
        header.sender_kid = Some(OctetString::new(secret.reference())?);
    }
    let header = Any::from_der(&header.to_der()?)?;
    let body = Any::new(Tag::ContextSpecific { constructed: true, number: kind.number() }, body)?;
    let protection = match (secret, method) {
        (Some(secret), Some((_, parameters))) => {
            let protected = Protected { header: AnyRef::from(&header), body: AnyRef::from(&body) };
            Some(secret.protect(&parameters, &protected.to_der()?)?)
        }
        (Some(_) | None, _) => None,
    };
    let ca = Any::from_der(&authority.ca_certificate().to_der()?)?;
    Ok(Reply { header, body, protection, extra_certs: Some(vec![ca]) }.to_der()?)
}
