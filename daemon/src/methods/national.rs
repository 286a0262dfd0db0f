//! `national.*`: interoperability with other regions (§8, §9.3.3).

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::national::{Ask, Decide, List, Receive, Show, Standing};

use super::Daemon;
use crate::dispatch::Call;
use crate::national::{National, NationalError};

/// `national.request`.
///
/// # Errors
/// When nothing is configured, a rule forbids it, or the request does not fit.
pub async fn request(daemon: Arc<Daemon>, call: Call, request: Ask) -> Result<Standing, RpcError> {
    Ok(national(&daemon)?.request(call.caller.peer.uid, call.operator()?, request).await?)
}

/// `national.show`.
///
/// # Errors
/// When there is no such request.
pub async fn show(daemon: Arc<Daemon>, _: Call, request: Show) -> Result<Standing, RpcError> {
    Ok(national(&daemon)?.show(&request.id).await?)
}

/// `national.receive`.
///
/// # Errors
/// When nothing is configured, or the request does not fit.
pub async fn receive(daemon: Arc<Daemon>, call: Call, request: Receive) -> Result<Standing, RpcError> {
    Ok(national(&daemon)?.receive(call.caller.peer.uid, &request.id, request.request).await?)
}

/// `national.list`.
///
/// # Errors
/// When nothing is configured.
pub async fn list(daemon: Arc<Daemon>, _: Call, _: List) -> Result<Vec<Standing>, RpcError> {
    Ok(national(&daemon)?.undecided().await?)
}

/// `national.decide`.
///
/// # Errors
/// When no such request waits.
pub async fn decide(daemon: Arc<Daemon>, call: Call, request: Decide) -> Result<Standing, RpcError> {
    let user = call.caller.peer.uid;
    Ok(national(&daemon)?.decide(user, &request.id, request.accepted, &request.message).await?)
}

fn national(daemon: &Daemon) -> Result<&National, NationalError> {
    daemon.outside.national.as_ref().ok_or(NationalError::Off)
}
