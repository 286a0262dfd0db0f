//! The way to the certification authority: the unprivileged helper, CMP against the project's own certifier and
//! against OpenSSL's mock server, and what is believed of the answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a test that fails should say where, by panicking"
)]

mod checks;
mod enrolment;
mod helper;
mod hostile;
mod https;
mod mock;
mod protections;
mod proxy;
mod tls;

use cnsd_test_support::fixture;
