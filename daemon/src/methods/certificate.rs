//! `certificate.*`: the certificates of a card that need be in no reader (§9.5–§9.7).

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::certificate::{Act, CardStanding, ChangeRequest, Reactivate, Revoke, Status, Suspend};

use super::Daemon;
use crate::dispatch::Call;
use crate::standing::desk::{Caller, Desk};

/// `certificate.status`.
///
/// # Errors
/// When the caller may not know, or nothing is known.
pub async fn status(daemon: Arc<Daemon>, call: Call, request: Status) -> Result<CardStanding, RpcError> {
    Ok(desk(&daemon).status(caller(&call), request).await?)
}

/// `certificate.suspend`.
///
/// # Errors
/// When a rule forbids it, the request does not fit, or nothing is known.
pub async fn suspend(daemon: Arc<Daemon>, call: Call, request: Suspend) -> Result<CardStanding, RpcError> {
    change(&daemon, &call, Act::Suspend, request.0).await
}

/// `certificate.reactivate`.
///
/// # Errors
/// As [`suspend`].
pub async fn reactivate(
    daemon: Arc<Daemon>,
    call: Call,
    request: Reactivate,
) -> Result<CardStanding, RpcError> {
    change(&daemon, &call, Act::Reactivate, request.0).await
}

/// `certificate.revoke`.
///
/// # Errors
/// As [`suspend`].
pub async fn revoke(daemon: Arc<Daemon>, call: Call, request: Revoke) -> Result<CardStanding, RpcError> {
    change(&daemon, &call, Act::Revoke, request.0).await
}

async fn change(
    daemon: &Daemon,
    call: &Call,
    act: Act,
    request: ChangeRequest,
) -> Result<CardStanding, RpcError> {
    Ok(desk(daemon).change(caller(call), act, request).await?)
}

fn desk(daemon: &Daemon) -> Desk<'_> {
    Desk {
        standings: daemon.procedures.standings(),
        holders: &daemon.outside.holders,
        readers: &daemon.readers,
    }
}

fn caller(call: &Call) -> Caller<'_> {
    Caller { user: call.caller.peer.uid, roles: &call.caller.peer.roles, session: call.session.as_ref() }
}
