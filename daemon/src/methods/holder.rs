//! `holder.*`: what the region's web area and the call centre ask about a holder.

use std::sync::Arc;

use cns_protocol::audit::Phase;
use cns_protocol::holder::{UserCodeVerdict, VerifyUserCode};
use cns_protocol::{ErrorKind, RpcError};

use super::{Daemon, record_of};
use crate::dispatch::Call;
use crate::holder::Attempt;

/// `holder.verify_user_code`. The record names the card of a right code alone: whom a wrong one was for is nobody's business.
///
/// # Errors
/// When too many wrong codes came before, or nothing can be recorded.
pub async fn verify_user_code(
    daemon: Arc<Daemon>,
    call: Call,
    request: VerifyUserCode,
) -> Result<UserCodeVerdict, RpcError> {
    let (peer, code) = (call.caller.peer.uid, request.user_code.into_secret());
    let attempt = daemon.outside.holders.verify(peer, &request.codice_fiscale, code).await?;
    let text = match &attempt {
        Attempt::Matches { .. } => "the user code matches",
        Attempt::Refused => "the user code does not match, or there is no such holder",
        Attempt::Locked => "not looked at: too many wrong user codes came before",
    };
    let mut record = record_of(&call, "user-code", Phase::Fact, text);
    record.paragraph = Some("§6.2");
    if let Attempt::Matches { card } = &attempt {
        record.card = Some(card.clone());
    }
    daemon.audit.record(record).await?;
    match attempt {
        Attempt::Matches { .. } => Ok(UserCodeVerdict { matches: true }),
        Attempt::Refused => Ok(UserCodeVerdict { matches: false }),
        Attempt::Locked => Err(RpcError::new(ErrorKind::UserCodeLocked, text)
            .hint("Try again later; at a counter the holder is identified in person (§6.1)")
            .paragraph("§6.2")),
    }
}
