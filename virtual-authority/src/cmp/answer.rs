//! Answers: header, body, protection.

use der::asn1::{BitString, GeneralizedTime, OctetString};
use der::{Any, AnyRef, DateTime, Decode, Encode, Tag};
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::pkix::name::GeneralName;

use super::message::{self, ErrorContent, Header, Protected, Reply};
use super::protection::{MacKind, Secret};
use super::refusal::Refusal;
use super::sender::Sender;
use super::{BodyKind, Outcome};
use crate::authority::{Authority, now};
use crate::error::AuthorityError;
use crate::issue::{key_identifier, random};

/// How an answer is protected: as the request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// By the shared secret.
    Secret(MacKind),
    /// By a signature of the certifier's CMP responder.
    Signature,
}

impl Seal {
    pub(super) fn to(sender: &Sender) -> Self {
        match sender {
            Sender::Secret(kind) => Self::Secret(*kind),
            Sender::Officer | Sender::Holder { .. } => Self::Signature,
        }
    }
}

/// An answer before it is protected.
pub(crate) struct Answer {
    pub(super) header: Header,
    pub(super) kind: BodyKind,
    /// DER, without the tag that names its kind.
    pub(super) body: Vec<u8>,
    pub(super) seal: Option<Seal>,
}

impl Answer {
    pub(super) fn new(
        authority: &Authority,
        request: &Header,
        outcome: Outcome,
        seal: Option<Seal>,
    ) -> Result<Self, AuthorityError> {
        let mut header = reply_header(authority, request, &outcome.nonce)?;
        if outcome.implicit_confirm {
            header.general_info = Some(vec![message::implicit_confirm()]);
        }
        Ok(Self { header, kind: outcome.kind, body: outcome.body, seal })
    }

    pub(super) fn refusal(
        authority: &Authority,
        request: &Header,
        refusal: &Refusal,
        seal: Option<Seal>,
    ) -> Result<Self, AuthorityError> {
        let header = reply_header(authority, request, &random::<16>()?)?;
        let content = ErrorContent { status: refusal.status()?, error_code: None, error_details: None };
        Ok(Self { header, kind: BodyKind::Error, body: content.to_der()?, seal })
    }

    pub(super) fn brings_certificate(&self) -> bool {
        matches!(self.kind, BodyKind::Ip | BodyKind::Cp | BodyKind::Kup)
    }

    /// The message, DER.
    pub(super) fn seal(mut self, authority: &Authority) -> Result<Vec<u8>, AuthorityError> {
        match self.seal {
            None => self.bare(authority),
            Some(Seal::Secret(kind)) => {
                let (algorithm, parameters) = Secret::method(kind)?;
                self.header.protection_alg = Some(algorithm);
                self.header.sender_kid = Some(OctetString::new(authority.secret().reference())?);
                self.protected(authority, vec![], |message| {
                    Ok(authority.secret().protect(&parameters, message)?)
                })
            }
            Some(Seal::Signature) => {
                let delegate = authority.cmp_delegate()?;
                let tbs = &delegate.certificate().tbs_certificate;
                self.header.sender = GeneralName::DirectoryName(tbs.subject.clone());
                self.header.sender_kid =
                    Some(OctetString::new(key_identifier(&tbs.subject_public_key_info))?);
                self.header.protection_alg = Some(AlgorithmIdentifierOwned {
                    oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
                    parameters: Some(Any::null()),
                });
                // RFC 9483 §3.3: the certificate that protects comes first.
                let own = Any::from_der(&delegate.certificate().to_der()?)?;
                self.protected(authority, vec![own], |message| {
                    Ok(BitString::from_bytes(&delegate.sign(message)?)?)
                })
            }
        }
    }

    fn parts(&self) -> der::Result<(Any, Any)> {
        let header = Any::from_der(&self.header.to_der()?)?;
        let tag = Tag::ContextSpecific { constructed: true, number: self.kind.number() };
        Ok((header, Any::new(tag, self.body.as_slice())?))
    }

    fn bare(&self, authority: &Authority) -> Result<Vec<u8>, AuthorityError> {
        let (header, body) = self.parts()?;
        let ca = Any::from_der(&authority.ca_certificate().to_der()?)?;
        Ok(Reply { header, body, protection: None, extra_certs: Some(vec![ca]) }.to_der()?)
    }

    fn protected(
        &self,
        authority: &Authority,
        mut certificates: Vec<Any>,
        protect: impl FnOnce(&[u8]) -> Result<BitString, AuthorityError>,
    ) -> Result<Vec<u8>, AuthorityError> {
        let (header, body) = self.parts()?;
        let protected = Protected { header: AnyRef::from(&header), body: AnyRef::from(&body) };
        let protection = Some(protect(&protected.to_der()?)?);
        certificates.push(Any::from_der(&authority.ca_certificate().to_der()?)?);
        Ok(Reply { header, body, protection, extra_certs: Some(certificates) }.to_der()?)
    }
}

pub(super) fn reply_header(
    authority: &Authority,
    request: &Header,
    nonce: &[u8],
) -> Result<Header, AuthorityError> {
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
