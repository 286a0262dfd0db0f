//! The OCSP responder (RFC 6960): whether certificates of this certifier are in force, right now.

use const_oid::AssociatedOid;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::asn1::BitString;
use der::{Any, DateTime, Decode, Encode};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierOwned;
use std::time::Duration;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::{Extension, Extensions};
use x509_ocsp::ext::Nonce;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, ResponderId,
    ResponseData, RevokedInfo, SingleResponse, Version,
};

use crate::authority::{Ca, Delegate};
use crate::error::AuthorityError;
use crate::issue::key_identifier;
use crate::state::State;
use crate::status::{Reason, Status};

/// How long an answer is good for, in seconds.
const LIFETIME: u64 = 3600;
/// The most certificates that one request may ask for.
const MOST_CERTIFICATES: usize = 32;
/// The longest nonce, in bytes (RFC 9654 §2.1).
const LONGEST_NONCE: usize = 128;

/// The answer to `request`, DER. A request that cannot be read is answered so (RFC 6960 §2.3).
///
/// # Errors
/// When the responder cannot sign.
pub(crate) fn answer(
    ca: &Ca,
    responder: &Delegate,
    state: &State,
    request: &[u8],
    now: u64,
) -> Result<Vec<u8>, AuthorityError> {
    let Some(asked) = read(request) else { return Ok(OcspResponse::malformed_request().to_der()?) };
    let issuer = Issuer::of(ca)?;
    let this_update = time(now)?;
    let next_update = Some(time(now.saturating_add(LIFETIME))?);
    let responses = asked.certificates.into_iter().map(|cert_id| {
        let cert_status = status(&issuer, state, &cert_id)?;
        Ok(SingleResponse { cert_id, cert_status, this_update, next_update, single_extensions: None })
    });
    let key = &responder.certificate().tbs_certificate.subject_public_key_info;
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(der::asn1::OctetString::new(key_identifier(key))?),
        produced_at: this_update,
        responses: responses.collect::<Result<_, AuthorityError>>()?,
        response_extensions: asked.nonce.map(|nonce| vec![nonce]),
    };
    let signature = responder.sign(&data.to_der()?)?;
    let response = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        signature: BitString::from_bytes(&signature)?,
        certs: Some(vec![responder.certificate().clone()]),
    };
    Ok(OcspResponse::successful(response)?.to_der()?)
}

/// What a request asks.
struct Asked {
    certificates: Vec<CertId>,
    nonce: Option<Extension>,
}

/// Reads a request; `None` if it is none, asks for too much, or has a nonce that cannot be returned. A signature on it
/// changes nothing: whoever asks may know.
fn read(request: &[u8]) -> Option<Asked> {
    let request = OcspRequest::from_der(request).ok()?.tbs_request;
    let certificates: Vec<CertId> = request.request_list.into_iter().map(|single| single.req_cert).collect();
    let nonce = find_nonce(request.request_extensions)?;
    (1..=MOST_CERTIFICATES).contains(&certificates.len()).then_some(Asked { certificates, nonce })
}

/// The nonce, if there is one; `None` if it has a length that no nonce may have.
#[expect(clippy::option_option, reason = "absent and unusable are two things")]
fn find_nonce(extensions: Option<Extensions>) -> Option<Option<Extension>> {
    let nonce = extensions.into_iter().flatten().find(|extension| extension.extn_id == Nonce::OID);
    let Some(nonce) = nonce else { return Some(None) };
    let value = Nonce::from_der(nonce.extn_value.as_bytes()).ok()?;
    (1..=LONGEST_NONCE).contains(&value.0.as_bytes().len()).then_some(Some(nonce))
}

/// What names the certifier in a request: its name and its key, whose hashes are compared.
struct Issuer {
    name: Vec<u8>,
    key: Vec<u8>,
}

impl Issuer {
    fn of(ca: &Ca) -> Result<Self, AuthorityError> {
        let own = &ca.certificate().tbs_certificate;
        let key = own.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
        Ok(Self { name: own.subject.to_der()?, key })
    }

    fn is_named_by(&self, id: &CertId) -> bool {
        let hash: fn(&[u8]) -> Vec<u8> = match id.hash_algorithm.oid {
            ID_SHA_1 => |bytes| Sha1::digest(bytes).to_vec(),
            ID_SHA_256 => |bytes| Sha256::digest(bytes).to_vec(),
            ID_SHA_384 => |bytes| Sha384::digest(bytes).to_vec(),
            ID_SHA_512 => |bytes| Sha512::digest(bytes).to_vec(),
            _ => return false,
        };
        hash(&self.name) == id.issuer_name_hash.as_bytes() && hash(&self.key) == id.issuer_key_hash.as_bytes()
    }
}

fn status(issuer: &Issuer, state: &State, id: &CertId) -> Result<CertStatus, AuthorityError> {
    let record = state.record(&hex::encode(id.serial_number.as_bytes()));
    let Some(record) = record.filter(|_| issuer.is_named_by(id)) else { return Ok(CertStatus::unknown()) };
    Ok(match record.status {
        Status::Unconfirmed | Status::Valid => CertStatus::good(),
        Status::Suspended { since } => revoked(since, Reason::CertificateHold)?,
        Status::Revoked { since, reason } => revoked(since, reason)?,
    })
}

fn revoked(since: u64, reason: Reason) -> Result<CertStatus, AuthorityError> {
    let reason = reason.crl_reason();
    // As in a CRL (RFC 5280 §5.3.1): no reason rather than "unspecified".
    let revocation_reason = (reason != CrlReason::Unspecified).then_some(reason);
    Ok(CertStatus::revoked(RevokedInfo { revocation_time: time(since)?, revocation_reason }))
}

fn time(seconds: u64) -> der::Result<OcspGeneralizedTime> {
    Ok(DateTime::from_unix_duration(Duration::from_secs(seconds))?.into())
}
