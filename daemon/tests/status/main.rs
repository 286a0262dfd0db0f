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
#[path = "../support/database.rs"]
mod database;
#[path = "../authority/fixture.rs"]
#[allow(dead_code, reason = "shared with the tests of the authority, which use more of it")]
mod fixture;
mod lists;
#[path = "../support/national_peer.rs"]
mod national_peer;
mod ocsp;
mod openssl;
#[path = "../support/postgresql.rs"]
mod postgresql;
#[path = "../counter/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of the counter, which use more of it")]
mod rig;
#[path = "../socket/running.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the socket, which use more of it")]
mod running;
mod scene;
mod server;
