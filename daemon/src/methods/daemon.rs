//! `daemon.*` and `rpc.*`.

use std::sync::Arc;

use cns_protocol::daemon::{DaemonStatus, Discover, Status};
use cns_protocol::{RpcError, openrpc};
use serde_json::Value;

use super::Daemon;
use crate::dispatch::Call;

/// `daemon.status`.
///
/// # Errors
/// None.
pub async fn status(daemon: Arc<Daemon>, call: Call, _: Status) -> Result<DaemonStatus, RpcError> {
    Ok(DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: cns_protocol::VERSION,
        uptime_seconds: daemon.started.elapsed().as_secs(),
        roles: call.caller.peer.roles.clone(),
    })
}

/// `rpc.discover`.
///
/// # Errors
/// None.
pub async fn discover(_: Arc<Daemon>, _: Call, _: Discover) -> Result<Value, RpcError> {
    Ok(openrpc::document())
}
