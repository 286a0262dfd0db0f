//! The certifier from outside: its library, its program, and `openssl cmp` as a client that nobody here wrote.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that fails should say where, by panicking"
)]

mod crash;
mod enrolment;
mod faults;
mod fixture;
mod lint;
mod network;
mod profiles;
mod registration;
mod revocation;
mod status;
