//! What can go wrong: the kernel refuses.

use std::io;

use thiserror::Error;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The pages could not be locked or kept out of dumps; usually `RLIMIT_MEMLOCK` is too small.
    #[error("the kernel refused to lock memory for a secret (see RLIMIT_MEMLOCK): {0}")]
    Lock(#[source] io::Error),
    /// The pages could not be mapped.
    #[error("the kernel refused memory for a secret: {0}")]
    Map(#[source] io::Error),
}
