//! The client's side of CMP: ir, p10cr, pollReq, certConf and rr, and what answers them (RFC 9810, RFC 9481, RFC 9483;
//! transfer by RFC 9811).
//!
//! Messages are made and read here; [`super::Authority`] carries them. A message of the authority is believed when it is
//! protected in the way that ours was and returns our transactionID and nonce, and not before.

mod enrol;
mod error;
mod refusal;
mod revoke;

use std::time::{SystemTime, UNIX_EPOCH};

use cns_secret::Secret;
use der::asn1::{BitString, GeneralizedTime, OctetString};
use der::{Any, AnyRef, DateTime, Decode, Encode, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::authority::checks::TrustAnchors;
pub use crate::authority::cmp::enrol::{Enrolled, IssuedCertificate, Received, Waiting};
pub use crate::authority::cmp::error::CmpError;
pub use crate::authority::cmp::refusal::Refusal;
use crate::authority::message::{ErrorContent, Header, Message, Protected, Request};
pub use crate::authority::protection::{MacKind, ProtectionError, Signer, SignerError};
use crate::authority::protection::{mac, random, signature};

/// The media type of PKIMessages (RFC 9811 §3.4).
pub const CONTENT_TYPE: &str = "application/pkixcmp";

// Bodies, by their tags (RFC 9810 §5.1.2).
const IR: TagNumber = TagNumber::N0;
const IP: TagNumber = TagNumber::N1;
const CP: TagNumber = TagNumber::N3;
const P10CR: TagNumber = TagNumber::N4;
const RR: TagNumber = TagNumber::N11;
const RP: TagNumber = TagNumber::N12;
const PKI_CONF: TagNumber = TagNumber::N19;
const ERROR: TagNumber = TagNumber::N23;
const CERT_CONF: TagNumber = TagNumber::N24;
const POLL_REQ: TagNumber = TagNumber::N25;
const POLL_REP: TagNumber = TagNumber::N26;

/// A message that was sent: what its answer must return.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    transaction: [u8; 16],
    nonce: [u8; 16],
    answer: TagNumber,
}

/// Who we are to the authority.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// Who shares this secret with it, which it knows by the name `reference`.
    Secret {
        /// The name.
        reference: &'a str,
        /// The secret.
        secret: &'a Secret,
        /// How our messages are protected; theirs may be in the other way.
        mac: MacKind,
    },
    /// A registration authority, or an officer (§7).
    Signer(&'a dyn Signer),
}

/// One end of CMP.
pub struct CmpClient<'a> {
    credentials: Credentials<'a>,
    anchors: &'a TrustAnchors,
    recipient: Name,
    implicit_confirm: bool,
}

impl<'a> CmpClient<'a> {
    /// A client with these credentials of an authority that the anchors know.
    #[must_use]
    pub fn new(credentials: Credentials<'a>, anchors: &'a TrustAnchors) -> Self {
        Self { credentials, anchors, recipient: anchors.first_subject(), implicit_confirm: false }
    }

    /// The same that asks to do without certConf.
    #[must_use]
    pub fn with_implicit_confirm(self, implicit_confirm: bool) -> Self {
        Self { implicit_confirm, ..self }
    }

    async fn message(
        &self,
        (kind, answer): (TagNumber, TagNumber),
        content: &[u8],
        transaction: [u8; 16],
        answers: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Sent), CmpError> {
        let nonce = random::<16>().map_err(CmpError::Unmade)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let asks = self.implicit_confirm && matches!(kind, IR | P10CR);
        let header = Header {
            pvno: 2,
            // RFC 9810 §5.1.1: with a shared secret the name may be empty, for senderKID says who sends.
            sender: GeneralName::DirectoryName(Name::default()),
            recipient: GeneralName::DirectoryName(self.recipient.clone()),
            message_time: Some(GeneralizedTime::from_date_time(DateTime::from_unix_duration(now)?)),
            protection_alg: None,
            sender_kid: None,
            recip_kid: None,
            transaction_id: Some(OctetString::new(transaction)?),
            sender_nonce: Some(OctetString::new(nonce)?),
            recip_nonce: answers.map(OctetString::new).transpose()?,
            free_text: None,
            general_info: asks.then(|| vec![Header::implicit_confirm()]),
        };
        let body = Any::new(Tag::ContextSpecific { constructed: true, number: kind }, content)?;
        let message = match self.credentials {
            Credentials::Secret { reference, secret, mac } => {
                with_mac(header, body, (reference, secret), mac)?
            }
            Credentials::Signer(signer) => with_signature(header, body, signer).await?,
        };
        Ok((message.to_der()?, Sent { transaction, nonce, answer }))
    }

    /// Reads an answer as far as it must be believed; a protected error is a refusal.
    fn read<'m>(&self, answer: &'m [u8], sent: &Sent) -> Result<(Header, Message<'m>), CmpError> {
        let answer = Message::from_der(answer).map_err(CmpError::Malformed)?;
        let header = Header::from_der(&answer.header.to_der()?).map_err(CmpError::Malformed)?;
        if let Err(fault) = self.believe(&header, &answer) {
            let said = error_of(&answer.body).map(|refusal| refusal.to_string());
            return Err(CmpError::Unbelieved { fault, said });
        }
        let same =
            |value: &Option<OctetString>, ours: &[u8]| value.as_ref().is_some_and(|it| it.as_bytes() == ours);
        if !same(&header.transaction_id, &sent.transaction) {
            return Err(CmpError::Mismatch("transactionID"));
        }
        if !same(&header.recip_nonce, &sent.nonce) {
            return Err(CmpError::Mismatch("recipNonce"));
        }
        match error_of(&answer.body) {
            Some(refusal) => Err(CmpError::Refused(refusal)),
            None => Ok((header, answer)),
        }
    }

    /// Whoever shares a secret with the authority believes nothing else, and so for signatures: which of both it is must
    /// not be the choice of whoever answers.
    fn believe(&self, header: &Header, answer: &Message<'_>) -> Result<(), ProtectionError> {
        let protected = Protected { header: answer.header, body: answer.body }.to_der()?;
        let (algorithm, protection) = (header.protection_alg.as_ref(), answer.protection.as_ref());
        match self.credentials {
            Credentials::Secret { secret, .. } => mac::verify(secret, algorithm, &protected, protection),
            Credentials::Signer(_) => signature::verify(
                (algorithm, &header.sender),
                (&protected, protection),
                answer.extra_certs.as_deref().unwrap_or_default(),
                (self.anchors, SystemTime::now()),
            ),
        }
    }
}

fn with_mac(
    mut header: Header,
    body: Any,
    (reference, secret): (&str, &Secret),
    kind: MacKind,
) -> Result<Request, CmpError> {
    let (method, told) = mac::Method::fresh(kind).map_err(CmpError::Unmade)?;
    header.sender_kid = Some(OctetString::new(reference.as_bytes())?);
    let (header, protected) = protected(header, &body, told)?;
    let protection = method.protect(secret, &protected).map_err(CmpError::Unmade)?;
    Ok(Request { header, body, protection: Some(protection), extra_certs: None })
}

async fn with_signature(mut header: Header, body: Any, signer: &dyn Signer) -> Result<Request, CmpError> {
    let own = signer.certificates().first().ok_or(CmpError::NoOfficer)?;
    let (name, identifier) = signature::name_of(own)?;
    header.sender = GeneralName::DirectoryName(name);
    header.sender_kid = identifier;
    let extra = signer.certificates().iter().map(|der| Any::from_der(der)).collect::<der::Result<_>>()?;
    let (header, protected) = protected(header, &body, signature::algorithm())?;
    let protection = BitString::from_bytes(&signer.sign(protected).await?)?;
    Ok(Request { header, body, protection: Some(protection), extra_certs: Some(extra) })
}

/// The header as it is sent, and what is protected.
fn protected(mut header: Header, body: &Any, told: AlgorithmIdentifierOwned) -> der::Result<(Any, Vec<u8>)> {
    header.protection_alg = Some(told);
    let header = Any::from_der(&header.to_der()?)?;
    let protected = Protected { header: AnyRef::from(&header), body: AnyRef::from(body) }.to_der()?;
    Ok((header, protected))
}

fn expect<'a>(body: &AnyRef<'a>, kind: TagNumber) -> Result<&'a [u8], CmpError> {
    if body.tag() == (Tag::ContextSpecific { constructed: true, number: kind }) {
        Ok(body.value())
    } else {
        Err(CmpError::Unexpected)
    }
}

/// What an error message says; nothing if the body is another, or cannot be read.
fn error_of(body: &AnyRef<'_>) -> Option<Refusal> {
    let content = ErrorContent::from_der(expect(body, ERROR).ok()?).ok()?;
    Some(Refusal::new(&content.status))
}
