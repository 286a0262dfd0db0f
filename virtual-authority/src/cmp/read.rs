//! Requests for a certificate, read and proved.

use std::sync::Arc;

use const_oid::ObjectIdentifier;
use crmf::controls::CertId;
use crmf::pop::ProofOfPossession;
use der::{AnyRef, Decode, Encode};
use x509_cert::request::CertReq;

use super::message::{CertReqMsg, CertRequest, Control};
use super::refusal::{Refusal, Why};
use super::{BodyKind, Failure};
use crate::issue::{Application, IssueError, verify_signature};
use crate::profile::Rules;

/// id-regCtrl-oldCertID (RFC 4211 §6.5).
const OLD_CERT_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.5");

/// A request for a certificate, checked.
pub(super) struct Wish {
    pub(super) application: Application,
    pub(super) cert_req_id: i32,
    /// The profile decides on extensions, whatever the request says; then it must be told that it did.
    pub(super) asked_for_more: bool,
    /// The certificate that the new one takes the place of.
    pub(super) old: Option<CertId>,
}

/// Reads the request in a body of this kind.
pub(super) fn wish(rules: &Arc<Rules>, kind: BodyKind, content: &[u8]) -> Result<Wish, Failure> {
    if kind == BodyKind::P10cr { read_pkcs10(rules, content) } else { read_crmf(rules, content) }
}

fn read_pkcs10(rules: &Arc<Rules>, request: &[u8]) -> Result<Wish, Failure> {
    let application = Application::from_pkcs10(rules, request)?;
    let attributes = CertReq::from_der(request).map_err(IssueError::Malformed)?.info.attributes;
    // RFC 9480 §2.14: a PKCS#10 request has no certReqId, and -1 says so.
    Ok(Wish { application, cert_req_id: -1, asked_for_more: !attributes.is_empty(), old: None })
}

fn read_crmf(rules: &Arc<Rules>, messages: &[u8]) -> Result<Wish, Failure> {
    let messages = Vec::<CertReqMsg<'_>>::from_der(messages).map_err(IssueError::Malformed)?;
    let [message] = messages.as_slice() else {
        return Err(
            Refusal::new(Why::BadRequest, "exactly one certificate per message can be asked for").into()
        );
    };
    let signed = message.cert_req.to_der()?;
    let request = CertRequest::from_der(&signed).map_err(IssueError::Malformed)?;
    let old = request.controls.as_ref().map(old_certificate).transpose()?.flatten();
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
    let application = Application::proved(rules, subject, public_key, not_after)?;
    let asked_for_more = template.extensions.is_some();
    Ok(Wish { application, cert_req_id: request.cert_req_id, asked_for_more, old })
}

/// The certificate that oldCertID names.
fn old_certificate(controls: &AnyRef<'_>) -> Result<Option<CertId>, Failure> {
    let controls = controls.to_der()?;
    let controls = Vec::<Control<'_>>::from_der(&controls).map_err(IssueError::Malformed)?;
    let old = controls.iter().find(|control| control.kind == OLD_CERT_ID);
    Ok(old.map(|old| old.value.decode_as()).transpose().map_err(IssueError::Malformed)?)
}
