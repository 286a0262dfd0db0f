//! `audit.*`.

use std::sync::Arc;

use cns_protocol::audit::{Entry, List, Rotate, Rotated, Verified, Verify};
use cns_protocol::{ErrorKind, RpcError};

use super::{Act, Daemon, recorded};
use crate::dispatch::Call;

/// The most entries at a time.
const MOST_ENTRIES: u16 = 1000;

/// `audit.list`.
///
/// # Errors
/// When the limit is not 1 to 1,000, or the log cannot be read.
pub async fn list(daemon: Arc<Daemon>, _: Call, request: List) -> Result<Vec<Entry>, RpcError> {
    if request.limit == 0 || request.limit > MOST_ENTRIES {
        let sentence = format!("`limit` is 1 to {MOST_ENTRIES}");
        return Err(RpcError::new(ErrorKind::InvalidParams, sentence));
    }
    Ok(daemon.audit.list(request.from, request.limit).await?)
}

/// `audit.verify`.
///
/// # Errors
/// When the chain is broken, or the log cannot be read.
pub async fn verify(daemon: Arc<Daemon>, _: Call, _: Verify) -> Result<Verified, RpcError> {
    Ok(daemon.audit.verify().await?)
}

/// `audit.rotate`.
///
/// # Errors
/// When the files cannot be written or renamed.
pub async fn rotate(daemon: Arc<Daemon>, call: Call, _: Rotate) -> Result<Rotated, RpcError> {
    let act = Act { name: "audit-rotate", card: None, paragraph: None };
    recorded(&daemon, &call, act, daemon.audit.rotate(), |rotated| {
        format!("closed {} with the entries {} to {}", rotated.file, rotated.first, rotated.last)
    })
    .await
}
