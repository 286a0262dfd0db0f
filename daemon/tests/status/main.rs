//! How certificates stand: OCSP against OpenSSL's responder and the certifier's, lists of both, and sources that lie, hang
//! or are away; what follows for an activation, an operator's login and what is shown of a card.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod activation;
mod daemon;
mod lists;
mod ocsp;
mod openssl;
mod restart;
mod scene;
mod server;

use cnsd_test_support::{database, fixture, rig, running};
