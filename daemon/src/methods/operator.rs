//! `operator.*`: who is at work at the counter (§9.3.2-2).

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::audit::Phase;
use cns_protocol::operator::{Login, Logout, Session, Status};
use cns_protocol::pin::Done;

use super::{Daemon, last_try, record_of};
use crate::dispatch::Call;

/// The rule that every record of an operator session belongs to.
const PARAGRAPH: &str = "§9.3.2-2";

/// `operator.login`.
///
/// # Errors
/// When the card or its certificate is refused.
pub async fn login(daemon: Arc<Daemon>, call: Call, request: Login) -> Result<Session, RpcError> {
    let uid = call.caller.peer.uid;
    let last_try = last_try(request.confirm_last_try);
    let card = (request.reader.as_str(), request.insertion);
    let opened = daemon.operators.login(uid, card, request.pin.into_secret(), last_try).await;
    let (opened, replaced) = match opened {
        Ok((session, replaced)) => (Ok(session), replaced),
        Err(error) => (Err(error), None),
    };
    if let Some(replaced) = replaced {
        record_end(&daemon, &call, replaced, "another login took its place").await?;
    }
    let mut record = match &opened {
        Ok(session) => {
            let mut text = format!("operator session opened at {}", session.counter);
            if let Some(warning) = &session.warning {
                text = format!("{text}. {warning}");
            }
            let mut record = record_of(&call, "operator-login", Phase::Fact, text);
            record.operator = Some(session.operator.clone());
            record
        }
        Err(error) => record_of(&call, "operator-login", Phase::Fact, format!("refused: {error}")),
    };
    record.paragraph = Some(PARAGRAPH);
    if let Err(error) = daemon.audit.record(record).await {
        // Nobody works unrecorded.
        drop(daemon.operators.logout(uid));
        return Err(error.into());
    }
    Ok(opened?)
}

/// `operator.logout`.
///
/// # Errors
/// When the end cannot be recorded; the session is over all the same.
pub async fn logout(daemon: Arc<Daemon>, call: Call, _: Logout) -> Result<Done, RpcError> {
    if let Some(session) = daemon.operators.logout(call.caller.peer.uid) {
        record_end(&daemon, &call, session, "the operator logged out").await?;
    }
    Ok(Done {})
}

async fn record_end(daemon: &Daemon, call: &Call, ended: Session, why: &str) -> Result<(), RpcError> {
    let mut record = record_of(call, "operator-logout", Phase::Fact, why);
    record.operator = Some(ended.operator);
    record.paragraph = Some(PARAGRAPH);
    daemon.audit.record(record).await?;
    Ok(())
}

/// `operator.status`.
///
/// # Errors
/// None.
pub async fn status(_: Arc<Daemon>, call: Call, _: Status) -> Result<Option<Session>, RpcError> {
    Ok(call.session)
}
