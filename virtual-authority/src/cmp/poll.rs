//! Clients that wait for a certificate ask for it again (RFC 4210 §5.3.22, RFC 9483 §4.4).

use der::{AnyRef, Decode, Encode};

use super::enrol::{self, Request, answer_to};
use super::message::{Header, PollAnswer, PollRequest};
use super::refusal::{Refusal, Why};
use super::{BodyKind, Failure, Outcome, fingerprint, hex_bytes, read, transaction};
use crate::authority::{Authority, now};
use crate::issue::{IssueError, random};

/// The certificate if its time has come, else when to ask again.
pub(super) fn ask_again(authority: &Authority, header: &Header, content: &[u8]) -> Result<Outcome, Failure> {
    let asked = Vec::<PollRequest>::from_der(content).map_err(IssueError::Malformed)?;
    let transaction = transaction(header);
    let mut journal = authority.journal()?;
    let mut record = journal.lock()?;
    let nothing = || Refusal::new(Why::BadRequest, "nothing is waited for in this transaction");
    let deferral = record.state().deferral(&transaction).cloned().ok_or_else(nothing)?;
    let body = hex_bytes(&deferral.body)?;
    let body = AnyRef::from_der(&body)?;
    let kind = BodyKind::of(&body).ok_or_else(nothing)?;
    let rules = authority.rules(&deferral.profile).ok_or_else(nothing)?;
    let wish = read::wish(&rules, kind, body.value())?;
    if !matches!(asked.as_slice(), [asked] if asked.cert_req_id == wish.cert_req_id) {
        let text = "pollReq must name the one certReqId of the request";
        return Err(Refusal::new(Why::BadRequest, text).into());
    }
    let left = deferral.until.saturating_sub(now());
    if left == 0 {
        let request = Request {
            transaction,
            fingerprint: fingerprint(&body)?,
            implicit_confirm: deferral.implicit_confirm,
            answer: answer_to(kind),
        };
        return enrol::grant(authority, &mut record, &request, &wish);
    }
    let answer = PollAnswer {
        cert_req_id: wish.cert_req_id,
        check_after: u32::try_from(left).unwrap_or(u32::MAX),
        reason: Some(vec!["the certifier has not decided yet".to_owned()]),
    };
    let nonce = random::<16>()?.to_vec();
    Ok(Outcome { kind: BodyKind::PollRep, body: vec![answer].to_der()?, nonce, implicit_confirm: false })
}
