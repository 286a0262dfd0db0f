//! OCSP (RFC 6960), with a nonce (RFC 9654).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ID_SHA_1;
use der::asn1::{BitString, GeneralizedTime, Int, OctetString};
use der::{Any, AnyRef, Decode, Encode, Enumerated, Reader, Sequence, SliceReader, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{CrlReason, ExtendedKeyUsage};

use crate::authority::checks::{
    CLOCK_SKEW, CheckError, Revocation, TrustAnchors, extension, verify_chain, verify_signature,
};
use crate::authority::protection::{ProtectionError, random};

/// The media types (RFC 6960 appendix A).
pub(super) const REQUEST_TYPE: &str = "application/ocsp-request";

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const ID_KP_OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
/// An answer without an end counts for so long.
const WITHOUT_END: Duration = Duration::from_secs(3600);
const RESPONSES_LIMIT: usize = 16;
const CERTIFICATES_LIMIT: usize = 8;

/// Why an OCSP answer says nothing.
#[derive(Debug, thiserror::Error)]
pub enum OcspError {
    /// It cannot be read.
    #[error("the OCSP answer cannot be read: {0}")]
    Malformed(#[from] der::Error),
    /// The responder gave an error.
    #[error("the OCSP responder answered: {0}")]
    Refused(&'static str),
    /// It is not signed by the authority or for it.
    #[error("the OCSP answer is not believed: {0}")]
    Unbelieved(CheckError),
    /// It does not return our nonce: it may be an old one.
    #[error("the OCSP answer does not return our nonce")]
    Nonce,
    /// It is about something else.
    #[error("the OCSP answer is about another certificate")]
    Other,
    /// It is out of date, or not yet in force.
    #[error("the OCSP answer is out of date")]
    Stale,
    /// The responder does not know the certificate.
    #[error("the OCSP responder does not know the certificate")]
    Unknown,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] ProtectionError),
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct CertId {
    algorithm: AlgorithmIdentifierOwned,
    name_hash: OctetString,
    key_hash: OctetString,
    serial: Int,
}

impl CertId {
    fn of(certificate: &Certificate, issuer: &Certificate) -> der::Result<Self> {
        let sha1 = |bytes: &[u8]| {
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
            OctetString::new(hash.as_ref())
        };
        let issuer = &issuer.tbs_certificate;
        let key = issuer.subject_public_key_info.subject_public_key.as_bytes().unwrap_or_default();
        Ok(Self {
            // A name for the certificate, which nothing rests on; every responder knows it.
            algorithm: AlgorithmIdentifierOwned { oid: ID_SHA_1, parameters: Some(Any::null()) },
            name_hash: sha1(&issuer.subject.to_der()?)?,
            key_hash: sha1(key)?,
            serial: Int::new(certificate.tbs_certificate.serial_number.as_bytes())?,
        })
    }
}

#[derive(Sequence)]
struct One {
    id: CertId,
}

#[derive(Sequence)]
struct Content {
    list: Vec<One>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Request {
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[repr(u32)]
enum Status {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct Response<'a> {
    status: Status,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes<'a>>,
}

#[derive(Sequence)]
struct ResponseBytes<'a> {
    kind: ObjectIdentifier,
    #[asn1(type = "OCTET STRING")]
    bytes: &'a [u8],
}

#[derive(Sequence)]
struct Basic<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Vec<AnyRef<'a>>>,
}

#[derive(Sequence)]
struct Single<'a> {
    id: CertId,
    status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

/// A question that was asked.
pub struct Question {
    id: CertId,
    nonce: [u8; 32],
}

/// What the authority says, and until when that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How the certificate stands.
    pub standing: Revocation,
    /// When it was so.
    pub at: SystemTime,
    /// Until when it counts.
    pub until: SystemTime,
}

impl Question {
    /// The question about a certificate of `issuer`, and the request.
    ///
    /// # Errors
    /// When something cannot be encoded, or there is no randomness.
    pub fn new(certificate: &Certificate, issuer: &Certificate) -> Result<(Self, Vec<u8>), OcspError> {
        let id = CertId::of(certificate, issuer)?;
        let nonce = random::<32>()?;
        let value = OctetString::new(nonce)?.to_der()?;
        let nonce_extension =
            Extension { extn_id: NONCE, critical: false, extn_value: OctetString::new(value)? };
        let content = Content { list: vec![One { id: id.clone() }], extensions: Some(vec![nonce_extension]) };
        let request = Request { content }.to_der()?;
        Ok((Self { id, nonce }, request))
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// See [`OcspError`].
    pub fn read(
        &self,
        answer: &[u8],
        issuer: &Certificate,
        anchors: &TrustAnchors,
        without_nonce: bool,
        now: SystemTime,
    ) -> Result<Told, OcspError> {
        let basic = basic(answer)?;
        believe(&basic, issuer, anchors, now)?;
        let (responses, extensions) = contents(basic.content.value())?;
        // A responder that answers from a store of signed answers returns none; where that is allowed, the times must do.
        match nonce_of(extensions)? {
            Some(nonce) if nonce == self.nonce => {}
            None if without_nonce => {}
            Some(_) | None => return Err(OcspError::Nonce),
        }
        let told = told_of(&responses, &self.id)?;
        if told.at > now + CLOCK_SKEW || told.until < now {
            return Err(OcspError::Stale);
        }
        Ok(told)
    }
}

/// Reads an answer that was read before, and believed at the time `heard`. Its nonce was looked at then, and its end does not
/// count: who reads it knows that it is old.
///
/// # Errors
/// See [`OcspError`].
pub(super) fn read_again(
    answer: &[u8],
    (certificate, issuer): (&Certificate, &Certificate),
    anchors: &TrustAnchors,
    heard: SystemTime,
) -> Result<Told, OcspError> {
    let basic = basic(answer)?;
    believe(&basic, issuer, anchors, heard)?;
    let (responses, _) = contents(basic.content.value())?;
    told_of(&responses, &CertId::of(certificate, issuer)?)
}

fn basic(answer: &[u8]) -> Result<Basic<'_>, OcspError> {
    let response = Response::from_der(answer)?;
    match response.status {
        Status::Successful => {}
        Status::MalformedRequest => return Err(OcspError::Refused("malformedRequest")),
        Status::InternalError => return Err(OcspError::Refused("internalError")),
        Status::TryLater => return Err(OcspError::Refused("tryLater")),
        Status::SigRequired => return Err(OcspError::Refused("sigRequired")),
        Status::Unauthorized => return Err(OcspError::Refused("unauthorized")),
    }
    let bytes = response.bytes.filter(|bytes| bytes.kind == BASIC);
    Ok(Basic::from_der(bytes.ok_or(OcspError::Refused("nothing"))?.bytes)?)
}

/// What the answers say of one certificate.
fn told_of(responses: &[Single<'_>], id: &CertId) -> Result<Told, OcspError> {
    let ours = responses.iter().find(|single| single.id == *id).ok_or(OcspError::Other)?;
    let at = UNIX_EPOCH + ours.this_update.to_unix_duration();
    let next = ours.next_update.map(|next| UNIX_EPOCH + next.to_unix_duration());
    Ok(Told { standing: standing(ours.status)?, at, until: next.unwrap_or(at + WITHOUT_END) })
}

/// The responder is the issuer, or whom the issuer named so (RFC 6960 §4.2.2.2).
fn believe(
    basic: &Basic<'_>,
    issuer: &Certificate,
    anchors: &TrustAnchors,
    now: SystemTime,
) -> Result<(), OcspError> {
    let content = basic.content.to_der()?;
    let signature = basic.signature.as_bytes().ok_or(OcspError::Unbelieved(CheckError::Signature))?;
    let signed_by = |certificate: &Certificate| {
        let key = &certificate.tbs_certificate.subject_public_key_info;
        verify_signature(basic.algorithm.oid, key, &content, signature)
    };
    let mut verdict = signed_by(issuer);
    for certificate in basic.certificates.iter().flatten().take(CERTIFICATES_LIMIT) {
        if verdict.is_ok() {
            break;
        }
        let certificate = certificate.to_der()?;
        verdict = verify_chain(&certificate, anchors, now).and_then(|by| {
            if by != issuer {
                return Err(CheckError::Issuer(by.tbs_certificate.subject.to_string()));
            }
            let certificate = Certificate::from_der(&certificate).map_err(CheckError::Malformed)?;
            let usages = extension::<ExtendedKeyUsage>(&certificate)?;
            if usages.is_none_or(|usages| !usages.0.contains(&ID_KP_OCSP_SIGNING)) {
                return Err(CheckError::NoSpokesman);
            }
            signed_by(&certificate)
        });
    }
    verdict.map_err(OcspError::Unbelieved)
}

/// The answers and the extensions of ResponseData.
fn contents(content: &[u8]) -> der::Result<(Vec<Single<'_>>, Option<AnyRef<'_>>)> {
    let mut fields = SliceReader::new(content)?;
    let explicit = |number| Tag::ContextSpecific { constructed: true, number };
    if fields.peek_tag()? == explicit(TagNumber::N0) {
        fields.tlv_bytes()?;
    }
    // responderID: who signed was seen by the signature.
    fields.tlv_bytes()?;
    GeneralizedTime::decode(&mut fields)?;
    let all = AnyRef::decode(&mut fields)?;
    let mut all = SliceReader::new(all.value())?;
    let mut responses = Vec::new();
    while !all.is_finished() && responses.len() < RESPONSES_LIMIT {
        responses.push(Single::decode(&mut all)?);
    }
    let extensions = if fields.is_finished() { None } else { Some(AnyRef::decode(&mut fields)?) };
    fields.finish(())?;
    Ok((responses, extensions))
}

fn nonce_of(extensions: Option<AnyRef<'_>>) -> der::Result<Option<Vec<u8>>> {
    let Some(extensions) = extensions else { return Ok(None) };
    let extensions = Vec::<Extension>::from_der(extensions.value())?;
    let nonce = extensions.into_iter().find(|extension| extension.extn_id == NONCE);
    nonce
        .map(|nonce| OctetString::from_der(nonce.extn_value.as_bytes()).map(OctetString::into_bytes))
        .transpose()
}

fn standing(status: AnyRef<'_>) -> Result<Revocation, OcspError> {
    let Tag::ContextSpecific { number, .. } = status.tag() else { return Err(OcspError::Unknown) };
    match number {
        TagNumber::N0 => Ok(Revocation::Good),
        TagNumber::N1 => {
            let mut fields = SliceReader::new(status.value())?;
            let since = UNIX_EPOCH + GeneralizedTime::decode(&mut fields)?.to_unix_duration();
            let reason = if fields.is_finished() {
                None
            } else {
                Some(CrlReason::from_der(AnyRef::decode(&mut fields)?.value())?)
            };
            Ok(Revocation::Revoked { since, suspended: reason == Some(CrlReason::CertificateHold), reason })
        }
        _ => Err(OcspError::Unknown),
    }
}
