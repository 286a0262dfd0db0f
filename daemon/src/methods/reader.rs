//! `reader.*`.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::reader::{List, Readers, Wait};
use cns_protocol::{ErrorKind, RpcError};

use super::Daemon;
use crate::dispatch::Call;

/// The longest wait, in milliseconds.
const LONGEST_WAIT: u32 = 60_000;

/// `reader.list`.
///
/// # Errors
/// None.
pub async fn list(daemon: Arc<Daemon>, _: Call, _: List) -> Result<Readers, RpcError> {
    Ok(daemon.readers.list())
}

/// `reader.wait`.
///
/// # Errors
/// When the time is longer than a minute.
pub async fn wait(daemon: Arc<Daemon>, _: Call, request: Wait) -> Result<Readers, RpcError> {
    if request.timeout_ms > LONGEST_WAIT {
        let sentence = format!("`timeout_ms` is at most {LONGEST_WAIT}");
        return Err(RpcError::new(ErrorKind::InvalidParams, sentence).hint("Ask again when the time is over"));
    }
    Ok(daemon.readers.wait(request.change, Duration::from_millis(request.timeout_ms.into())).await)
}
