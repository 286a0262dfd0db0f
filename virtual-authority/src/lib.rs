//! A certifier in software, good enough to test against.
//!
//! It issues the CNS authentication certificate and the qualified-signature certificate over CMP
//! (RFC 4210 with the updates of RFC 9480, carried over HTTP as RFC 6712 says), changes their status, and tells it by CRL
//! and OCSP. What a certificate says is data: the files of the folder `profiles`.
//! It is a **test** certifier: its key lies in a plain file (mode 0600) and no person's identity is checked.
//!
//! [`Authority`] is the certifier, [`serve`] puts it on the network ([`serve_faulty`] one that misbehaves as told); [`Authority::issue`] serves tests that
//! want a certificate without a network in between.

mod authority;
mod cmp;
mod error;
mod fault;
mod file;
mod http;
mod issue;
mod profile;
mod state;
mod status;

pub use authority::{Authority, InitOptions, read_secret};
pub use error::AuthorityError;
pub use fault::{Fault, FaultKind, UnknownFault};
pub use http::{serve, serve_faulty};
pub use issue::IssueError;
pub use profile::{Profile, ProfileError};
pub use state::{Record, StateError};
pub use status::{Reason, Status, StatusError};
