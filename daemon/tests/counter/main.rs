//! The counter's procedures from the operator's answers down to the chip: a virtual card in the daemon's own reader,
//! real custody, real audit log, the project's certifier over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod activation;
mod audited;
mod by_program;
mod closing;
mod coverage;
#[path = "../support/database.rs"]
mod database;
mod desk;
mod faults;
mod impostor;
mod interoperability;
mod kill;
mod killed;
mod logins;
mod matrix;
mod national;
#[path = "../support/national_peer.rs"]
mod national_peer;
mod orders;
#[path = "../support/postgresql.rs"]
mod postgresql;
mod refusals;
mod removal;
mod rig;
#[path = "../socket/running.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the socket, which use more of it")]
mod running;
mod same_card;
mod shared;
mod sheet;
mod signature;
mod standing;
mod status;
mod telling;
mod thin;
