//! The network at its worst, for tests of clients.

use std::future::pending;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode};

use super::{Answer, text};
use crate::authority::Authority;
use crate::fault::{Fault, FaultKind};

/// The longest answer; zeros that no file and no memory holds until they are read.
static HUGE: [u8; 100_000_000] = [0; 100_000_000];

/// The answer, or none, with what goes wrong on the way.
pub(super) async fn respond(
    authority: Arc<Authority>,
    fault: Arc<Fault>,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    if request.uri().path() == "/healthz" {
        return Ok(super::respond(authority, None, request).await);
    }
    match fault.on_network() {
        Some(FaultKind::Hang) => pending().await,
        Some(FaultKind::LoseRequest) => Err(lost()),
        Some(FaultKind::LoseAnswer) => {
            drop(super::respond(authority, None, request).await);
            Err(lost())
        }
        Some(FaultKind::Unavailable) => Ok(text(StatusCode::SERVICE_UNAVAILABLE, "come back later")),
        Some(FaultKind::Garbage) => {
            let honest = super::respond(authority, None, request).await;
            Ok(honest.map(|_| Full::new(Bytes::from_static(b"\x30\x05this is no message"))))
        }
        Some(FaultKind::Huge) => {
            let honest = super::respond(authority, None, request).await;
            Ok(honest.map(|_| Full::new(Bytes::from_static(&HUGE))))
        }
        Some(FaultKind::Truncated) => {
            let (head, body) = super::respond(authority, None, request).await.into_parts();
            let Ok(whole) = body.collect().await;
            let whole = whole.to_bytes();
            Ok(Answer::from_parts(head, Full::new(whole.slice(..whole.len() / 2))))
        }
        Some(
            FaultKind::WrongNonce
            | FaultKind::WrongTransaction
            | FaultKind::WrongProtection
            | FaultKind::Unprotected
            | FaultKind::UnprotectedError
            | FaultKind::OtherKey
            | FaultKind::OtherHolder
            | FaultKind::Expired
            | FaultKind::Forged,
        )
        | None => Ok(super::respond(authority, Some(fault), request).await),
    }
}

/// Hyper closes the connection when there is no answer.
fn lost() -> io::Error {
    io::Error::other("lost, as told")
}
