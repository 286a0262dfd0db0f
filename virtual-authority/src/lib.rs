//! A certifier in software, good enough to test against.
//!
//! It issues the CNS authentication certificate and the qualified-signature certificate over CMP
//! (RFC 4210 with the updates of RFC 9480, carried over HTTP as RFC 6712 says) and publishes a CRL.
//! It is a **test** certifier: its key lies in a plain file (mode 0600) and no person's identity is checked.
//!
//! [`Authority`] is the certifier, [`serve`] puts it on the network; [`Authority::issue`] serves tests that
//! want a certificate without a network in between.

mod authority;
mod cmp;
mod error;
mod file;
mod http;
mod issue;
mod profile;
mod state;
mod status;

pub use authority::{Authority, InitOptions, read_secret};
pub use error::AuthorityError;
pub use http::serve;
pub use issue::IssueError;
pub use profile::{Profile, ProfileError};
pub use state::{Record, StateError};
pub use status::{Reason, Status, StatusError};
