//! What travels over the local socket of `cnsd`: JSON-RPC 2.0 messages in `Content-Length` frames, and the small
//! blocking client that the PKCS#11 module and `cnsctl` share.
//!
//! One module per noun, one request type per method. A request names its answer ([`Method::Answer`]), so that the
//! daemon and its clients cannot disagree. PINs and PUKs travel towards the daemon only: [`SecretText`] can be read
//! from a request and written into one, but no answer type can hold it. The one secret that the daemon answers is what a
//! key of the card has decrypted ([`SecretBytes`]).
#![forbid(unsafe_code)]

pub mod audit;
pub mod card;
pub mod certificate;
pub mod client;
mod connect;
pub mod counter;
pub mod custody;
pub mod daemon;
pub mod encoding;
pub mod error;
pub mod frame;
pub mod holder;
pub mod key;
pub mod key_pair;
pub mod method;
pub mod national;
#[cfg(feature = "openrpc")]
pub mod openrpc;
pub mod operator;
pub mod order;
pub mod pin;
pub mod puk;
pub mod reader;
pub mod rpc;
pub mod secret_bytes;
pub mod secret_text;
pub mod watch;

pub use client::Client;
pub use error::{ErrorKind, RpcError};
pub use method::{Method, Role};
pub use secret_bytes::SecretBytes;
pub use secret_text::SecretText;

/// Where the daemon listens unless told otherwise; every client honours `CNSD_SOCKET` first.
pub const DEFAULT_SOCKET: &str = "/run/cnsd/cnsd.sock";

/// The protocol's version, answered by `daemon.status`. Raised when a message changes so that an old client fails.
pub const VERSION: u32 = 1;
