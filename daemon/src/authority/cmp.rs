//! The client's side of CMP: p10cr, cp, certConf, pkiconf (RFC 4210 §5.3, RFC 9480, transfer by RFC 6712).
//!
//! Messages are made and read here; [`super::Authority`] carries them. A message of the authority is believed when it
//! is protected with the shared secret and returns our transactionID and nonce, and not before.

mod refusal;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use cns_secret::{Secret, SecretError};
use const_oid::db::rfc5912::{
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use der::asn1::{GeneralizedTime, OctetString};
use der::{Any, AnyRef, DateTime, Decode, Encode, Tag, TagNumber, Tagged};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

pub use crate::authority::cmp::refusal::Refusal;
use crate::authority::message::{
    CertRepMessage, CertStatus, ErrorContent, Header, Message, Protected, Request, StatusInfo,
};
pub use crate::authority::protection::ProtectionError;
use crate::authority::protection::{Method, random, verify};

/// The media type of PKIMessages (RFC 6712 §3.4).
pub const CONTENT_TYPE: &str = "application/pkixcmp";

// Bodies, by their tags (RFC 4210 §5.1.2).
const CP: TagNumber = TagNumber::N3;
const P10CR: TagNumber = TagNumber::N4;
const PKI_CONF: TagNumber = TagNumber::N19;
const ERROR: TagNumber = TagNumber::N23;
const CERT_CONF: TagNumber = TagNumber::N24;

// PKIStatus (RFC 4210 §5.2.3).
const ACCEPTED: u8 = 0;
const GRANTED_WITH_MODS: u8 = 1;
const REJECTION: u8 = 2;
const WAITING: u8 = 3;

/// A chain is a handful of certificates.
const CERTIFICATES_LIMIT: usize = 16;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CmpError {
    /// The authority refused, under protection.
    #[error("the certification authority refused: {0}")]
    Refused(Refusal),
    /// The answer is not protected with the shared secret. What it says is repeated for whoever looks for the fault
    /// (a wrong secret, most likely) and believed by nobody.
    #[error("the answer is not believed, for {fault}{}", claim(said.as_deref()))]
    Unbelieved {
        /// What is wrong with its protection.
        fault: ProtectionError,
        /// What it claims to refuse for.
        said: Option<String>,
    },
    /// The answer is no PKIMessage.
    #[error("the certification authority's answer cannot be read: {0}")]
    Malformed(der::Error),
    /// The answer belongs to another message.
    #[error("the certification authority's answer is not to our message ({0} differs)")]
    Mismatch(&'static str),
    /// The answer is of a kind that was not asked for.
    #[error("the certification authority answered something else than was asked")]
    Unexpected,
    /// The authority wants to be asked again later.
    #[error("the certification authority wants time; ask it again later")]
    Waiting,
    /// certConf needs the hash of the certificate's signature, and this signature has none that is known here.
    #[error("the certificate is signed with an algorithm that is not known here")]
    Algorithm,
    /// A message could not be made.
    #[error("no CMP message can be made: {0}")]
    Unmade(ProtectionError),
}

fn claim(said: Option<&str>) -> String {
    said.map(|said| format!(" (unproven, it says: {said})")).unwrap_or_default()
}

impl From<der::Error> for CmpError {
    fn from(error: der::Error) -> Self {
        Self::Unmade(error.into())
    }
}

impl From<SecretError> for CmpError {
    fn from(error: SecretError) -> Self {
        Self::Unmade(error.into())
    }
}

/// A certificate as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Certificates that came with it, DER. Nothing follows from their being here: trust is configured.
    pub ca_certificates: Vec<Vec<u8>>,
}

/// A message that was sent: what its answer must return.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    transaction: [u8; 16],
    nonce: [u8; 16],
}

/// An answer with a certificate.
#[derive(Debug)]
pub struct Received {
    /// The certificate.
    pub issued: IssuedCertificate,
    /// Whether the authority does without certConf.
    pub confirmed: bool,
    transaction: [u8; 16],
    nonce: Vec<u8>,
    cert_req_id: i32,
}

/// One end of CMP: who we are to the authority.
pub struct CmpClient {
    reference: Vec<u8>,
    secret: Secret,
    recipient: Name,
}

impl CmpClient {
    /// A client that protects its messages with `secret`, which the authority knows by the name `reference`.
    #[must_use]
    pub fn new(reference: &str, secret: Secret, recipient: Name) -> Self {
        Self { reference: reference.as_bytes().to_vec(), secret, recipient }
    }

    /// The message that asks for the certificate of a PKCS#10 request.
    ///
    /// # Errors
    /// When `pkcs10` is no DER, or there is no memory or randomness.
    pub fn p10cr(&self, pkcs10: &[u8], transaction: [u8; 16]) -> Result<(Vec<u8>, Sent), CmpError> {
        // The crate's own check: an explicit tag around something that is no DER would go unnoticed until it is read.
        AnyRef::from_der(pkcs10)?;
        self.message(P10CR, pkcs10, transaction, None)
    }

    /// Reads the answer to [`CmpClient::p10cr`].
    ///
    /// # Errors
    /// See [`CmpError`].
    pub fn read_certificate(&self, answer: &[u8], sent: &Sent) -> Result<Received, CmpError> {
        let (header, answer) = self.read(answer, sent)?;
        let content = expect(&answer.body, CP)?;
        let content = CertRepMessage::from_der(content).map_err(CmpError::Malformed)?;
        let [response] = content.response.as_slice() else { return Err(CmpError::Unexpected) };
        match response.status.status {
            ACCEPTED | GRANTED_WITH_MODS => {}
            WAITING => return Err(CmpError::Waiting),
            _ => return Err(CmpError::Refused(Refusal::new(&response.status))),
        }
        let certificate = response.certified_key_pair.as_ref().ok_or(CmpError::Unexpected)?.certificate;
        let others = content.ca_pubs.iter().chain(&answer.extra_certs).flatten();
        let others = others.take(CERTIFICATES_LIMIT).map(Encode::to_der).collect::<der::Result<_>>()?;
        Ok(Received {
            issued: IssuedCertificate { der: certificate.to_der()?, ca_certificates: others },
            confirmed: header.grants_implicit_confirm(),
            transaction: sent.transaction,
            nonce: header.sender_nonce.map(|nonce| nonce.as_bytes().to_vec()).unwrap_or_default(),
            cert_req_id: response.cert_req_id,
        })
    }

    /// The message that accepts the certificate, or turns it down with the reason.
    ///
    /// # Errors
    /// When the certificate's signature algorithm is not known, or there is no memory or randomness.
    pub fn cert_conf(
        &self,
        received: &Received,
        fault: Option<&impl ToString>,
    ) -> Result<(Vec<u8>, Sent), CmpError> {
        let status_info = fault.map(|fault| StatusInfo {
            status: REJECTION,
            text: Some(vec![fault.to_string()]),
            fail_info: None,
        });
        let status = CertStatus {
            cert_hash: OctetString::new(certificate_hash(&received.issued.der)?)?,
            cert_req_id: received.cert_req_id,
            status_info,
        };
        self.message(CERT_CONF, &vec![status].to_der()?, received.transaction, Some(&received.nonce))
    }

    /// Reads the answer to [`CmpClient::cert_conf`].
    ///
    /// # Errors
    /// See [`CmpError`].
    pub fn read_pkiconf(&self, answer: &[u8], sent: &Sent) -> Result<(), CmpError> {
        let (_, answer) = self.read(answer, sent)?;
        expect(&answer.body, PKI_CONF).map(drop)
    }

    fn message(
        &self,
        kind: TagNumber,
        content: &[u8],
        transaction: [u8; 16],
        answers: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Sent), CmpError> {
        let (method, told) = Method::fresh().map_err(CmpError::Unmade)?;
        let nonce = random::<16>().map_err(CmpError::Unmade)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header {
            pvno: 2,
            // RFC 4210 §5.1.1: with a shared secret the name may be empty, for senderKID says who sends.
            sender: GeneralName::DirectoryName(Name::default()),
            recipient: GeneralName::DirectoryName(self.recipient.clone()),
            message_time: Some(GeneralizedTime::from_date_time(DateTime::from_unix_duration(now)?)),
            protection_alg: Some(told),
            sender_kid: Some(OctetString::new(self.reference.as_slice())?),
            recip_kid: None,
            transaction_id: Some(OctetString::new(transaction)?),
            sender_nonce: Some(OctetString::new(nonce)?),
            recip_nonce: answers.map(OctetString::new).transpose()?,
            free_text: None,
            general_info: None,
        };
        let header = Any::from_der(&header.to_der()?)?;
        let body = Any::new(Tag::ContextSpecific { constructed: true, number: kind }, content)?;
        let protected = Protected { header: AnyRef::from(&header), body: AnyRef::from(&body) }.to_der()?;
        let protection = method.protect(&self.secret, &protected).map_err(CmpError::Unmade)?;
        let message = Request { header, body, protection: Some(protection) }.to_der()?;
        Ok((message, Sent { transaction, nonce }))
    }

    /// Reads an answer as far as it must be believed; a protected error is a refusal.
    fn read<'a>(&self, answer: &'a [u8], sent: &Sent) -> Result<(Header, Message<'a>), CmpError> {
        let answer = Message::from_der(answer).map_err(CmpError::Malformed)?;
        let header = Header::from_der(&answer.header.to_der()?).map_err(CmpError::Malformed)?;
        let protected = Protected { header: answer.header, body: answer.body }.to_der()?;
        let verdict =
            verify(&self.secret, header.protection_alg.as_ref(), &protected, answer.protection.as_ref());
        if let Err(fault) = verdict {
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

/// RFC 4210 §5.3.18: the hash is that of the certificate's signature.
fn certificate_hash(certificate: &[u8]) -> Result<Vec<u8>, CmpError> {
    let signed = Certificate::from_der(certificate).map_err(CmpError::Malformed)?;
    let hash = match signed.signature_algorithm.oid {
        SHA_256_WITH_RSA_ENCRYPTION => &digest::SHA256,
        SHA_384_WITH_RSA_ENCRYPTION => &digest::SHA384,
        SHA_512_WITH_RSA_ENCRYPTION => &digest::SHA512,
        _ => return Err(CmpError::Algorithm),
    };
    Ok(digest::digest(hash, certificate).as_ref().to_vec())
}
