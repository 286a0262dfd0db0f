//! ir and p10cr, their answers, polling, and certConf (RFC 9810 §5.3.1 to §5.3.4, §5.3.18, §5.3.22).

use aws_lc_rs::digest;
use const_oid::db::rfc5912::{
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use crmf::request::CertReqMsg;
use der::asn1::OctetString;
use der::{AnyRef, Decode, Encode, TagNumber};
use x509_cert::Certificate;
use x509_cert::request::CertReq;

use super::{
    CERT_CONF, CP, CmpClient, CmpError, IP, IR, P10CR, PKI_CONF, POLL_REP, POLL_REQ, Refusal, Sent, expect,
};
use crate::authority::message::{CertRepMessage, CertStatus, PollReply, PollRequest, StatusInfo};

// PKIStatus (RFC 9810 §5.2.3).
pub(super) const ACCEPTED: u8 = 0;
pub(super) const GRANTED_WITH_MODS: u8 = 1;
const REJECTION: u8 = 2;
pub(super) const WAITING: u8 = 3;

/// A chain is a handful of certificates.
const CERTIFICATES_LIMIT: usize = 16;

/// The certReqId of the one request in an ir.
const FIRST: i32 = 0;
/// That of a PKCS#10 request, which has none (RFC 9810 §5.3.22).
const NONE: i32 = -1;

/// A certificate as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Certificates that came with it, DER. Nothing follows from their being here: trust is configured.
    pub ca_certificates: Vec<Vec<u8>>,
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

/// The authority asks for time.
#[derive(Debug)]
pub struct Waiting {
    /// In how many seconds it wants to be asked, where it says so.
    pub check_after: Option<u32>,
    transaction: [u8; 16],
    nonce: Option<Vec<u8>>,
    cert_req_id: i32,
    answer: TagNumber,
}

/// An answer to a request, or to a question about it.
#[derive(Debug)]
pub enum Enrolled {
    /// The certificate.
    Certificate(Box<Received>),
    /// Not yet.
    Waiting(Waiting),
}

impl CmpClient<'_> {
    /// The message that asks for the certificate of a request: p10cr for a PKCS#10 request, ir for a CertReqMsg. Either
    /// carries the new key's own signature as proof of possession.
    ///
    /// # Errors
    /// When `request` is neither, nobody signs, or there is no memory or randomness.
    pub async fn request(&self, request: &[u8], transaction: [u8; 16]) -> Result<(Vec<u8>, Sent), CmpError> {
        if CertReq::from_der(request).is_ok() {
            self.message((P10CR, CP), request, transaction, None).await
        } else {
            CertReqMsg::from_der(request).map_err(CmpError::Request)?;
            let content = vec![AnyRef::from_der(request)?].to_der()?;
            self.message((IR, IP), &content, transaction, None).await
        }
    }

    /// What to ask when the authority says that it knows the transaction already: its answer was lost.
    #[must_use]
    pub fn lost(&self, sent: &Sent) -> Waiting {
        let cert_req_id = if sent.answer == IP { FIRST } else { NONE };
        Waiting {
            check_after: None,
            transaction: sent.transaction,
            nonce: None,
            cert_req_id,
            answer: sent.answer,
        }
    }

    /// The message that asks whether the certificate is there now.
    ///
    /// # Errors
    /// When nobody signs, or there is no memory or randomness.
    pub async fn poll(&self, waiting: &Waiting) -> Result<(Vec<u8>, Sent), CmpError> {
        let content = vec![PollRequest { cert_req_id: waiting.cert_req_id }].to_der()?;
        let kinds = (POLL_REQ, waiting.answer);
        self.message(kinds, &content, waiting.transaction, waiting.nonce.as_deref()).await
    }

    /// Reads the answer to [`CmpClient::request`] or [`CmpClient::poll`].
    ///
    /// # Errors
    /// See [`CmpError`].
    pub fn read_certificate(&self, answer: &[u8], sent: &Sent) -> Result<Enrolled, CmpError> {
        let (header, answer) = self.read(answer, sent)?;
        if !matches!(sent.answer, CP | IP) {
            return Err(CmpError::Unexpected);
        }
        let nonce = header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes().to_vec());
        let waiting = |check_after, cert_req_id, nonce| {
            let (transaction, answer) = (sent.transaction, sent.answer);
            Enrolled::Waiting(Waiting { check_after, transaction, nonce, cert_req_id, answer })
        };
        if let Ok(content) = expect(&answer.body, POLL_REP) {
            let replies = Vec::<PollReply>::from_der(content).map_err(CmpError::Malformed)?;
            let [reply] = replies.as_slice() else { return Err(CmpError::Unexpected) };
            let seconds = u32::try_from(reply.check_after.max(0)).unwrap_or(u32::MAX);
            return Ok(waiting(Some(seconds), reply.cert_req_id, nonce));
        }
        let content = expect(&answer.body, sent.answer)?;
        let content = CertRepMessage::from_der(content).map_err(CmpError::Malformed)?;
        let [response] = content.response.as_slice() else { return Err(CmpError::Unexpected) };
        match response.status.status {
            ACCEPTED | GRANTED_WITH_MODS => {}
            WAITING => return Ok(waiting(None, response.cert_req_id, nonce)),
            _ => return Err(CmpError::Refused(Refusal::new(&response.status))),
        }
        let certificate = response.certified_key_pair.as_ref().ok_or(CmpError::Unexpected)?.certificate;
        let others = content.ca_pubs.iter().chain(&answer.extra_certs).flatten();
        let others = others.take(CERTIFICATES_LIMIT).map(Encode::to_der).collect::<der::Result<_>>()?;
        Ok(Enrolled::Certificate(Box::new(Received {
            issued: IssuedCertificate { der: certificate.to_der()?, ca_certificates: others },
            // What was not asked for is not granted.
            confirmed: self.implicit_confirm && header.grants_implicit_confirm(),
            transaction: sent.transaction,
            nonce: nonce.unwrap_or_default(),
            cert_req_id: response.cert_req_id,
        })))
    }

    /// The message that accepts the certificate, or turns it down with the reason.
    ///
    /// # Errors
    /// When the certificate's signature algorithm is not known, nobody signs, or there is no memory or randomness.
    pub async fn cert_conf(
        &self,
        received: &Received,
        fault: Option<&(impl ToString + Sync)>,
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
        let content = vec![status].to_der()?;
        let nonce = Some(received.nonce.as_slice());
        self.message((CERT_CONF, PKI_CONF), &content, received.transaction, nonce).await
    }

    /// Reads the answer to [`CmpClient::cert_conf`].
    ///
    /// # Errors
    /// See [`CmpError`].
    pub fn read_pkiconf(&self, answer: &[u8], sent: &Sent) -> Result<(), CmpError> {
        let (_, answer) = self.read(answer, sent)?;
        expect(&answer.body, PKI_CONF).map(drop)
    }
}

/// RFC 9810 §5.3.18: the hash is that of the certificate's signature.
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
