//! `counter.*`: the procedures at the counter.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::counter::{
    AnswerStep, Cancel, CaseInfo, Cases, List, Next, Procedure, Question, RemoveSignature, Sheet,
    SheetDocument, Show, SignatureRemoved, Start,
};

use super::Daemon;
use crate::dispatch::Call;

/// `counter.start`.
///
/// # Errors
/// When the manual's rules, the card or custody refuse.
pub async fn start(daemon: Arc<Daemon>, call: Call, request: Start) -> Result<Procedure, RpcError> {
    Ok(daemon.procedures.start(call.caller.peer.uid, call.operator()?, request).await?)
}

/// `counter.answer`.
///
/// # Errors
/// When it is not the step's turn, the answer does not fit, or the work fails.
pub async fn answer(daemon: Arc<Daemon>, call: Call, request: AnswerStep) -> Result<Procedure, RpcError> {
    let uid = call.caller.peer.uid;
    let progress = call.progress.clone();
    Ok(daemon.procedures.answer(uid, call.operator()?, request, progress).await?)
}

/// `counter.cases`.
///
/// # Errors
/// When no operator is at work.
pub async fn cases(daemon: Arc<Daemon>, call: Call, _: Cases) -> Result<Vec<CaseInfo>, RpcError> {
    Ok(daemon.procedures.cases(call.operator()?.counter_kind))
}

/// `counter.next`.
///
/// # Errors
/// When there is no such procedure.
pub async fn next(daemon: Arc<Daemon>, _: Call, request: Next) -> Result<Question, RpcError> {
    Ok(daemon.procedures.next(&request).await?)
}

/// `counter.show`.
///
/// # Errors
/// When there is no such procedure.
pub async fn show(daemon: Arc<Daemon>, _: Call, request: Show) -> Result<Procedure, RpcError> {
    Ok(daemon.procedures.show(&request).await?)
}

/// `counter.list`.
///
/// # Errors
/// When the database fails.
pub async fn list(daemon: Arc<Daemon>, _: Call, request: List) -> Result<Vec<Procedure>, RpcError> {
    Ok(daemon.procedures.list(&request).await?)
}

/// `counter.sheet`.
///
/// # Errors
/// When there is no such procedure, or nothing is signed in it.
pub async fn sheet(daemon: Arc<Daemon>, _: Call, request: Sheet) -> Result<SheetDocument, RpcError> {
    Ok(daemon.procedures.sheet(&request).await?)
}

/// `counter.cancel`.
///
/// # Errors
/// When there is no such procedure, or it is over.
pub async fn cancel(daemon: Arc<Daemon>, call: Call, request: Cancel) -> Result<Procedure, RpcError> {
    Ok(daemon.procedures.cancel(call.caller.peer.uid, call.operator()?, &request).await?)
}

/// `counter.remove_signature`.
///
/// # Errors
/// When the certificate is valid and the explicit word is missing, a procedure is open for the card, a PIN is wrong, or
/// the card fails.
pub async fn remove_signature(
    daemon: Arc<Daemon>,
    call: Call,
    request: RemoveSignature,
) -> Result<SignatureRemoved, RpcError> {
    let uid = call.caller.peer.uid;
    let progress = call.progress.clone();
    Ok(daemon.procedures.remove_signature(uid, call.operator()?, request, progress).await?)
}
