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
mod desk;
mod faults;
mod forgotten;
mod household;
mod impostor;
mod interoperability;
mod kill;
mod killed;
mod logins;
mod matrix;
mod national;
mod officer;
mod orders;
mod own_envelope;
mod refusals;
mod removal;
mod renewal;
mod same_card;
mod shared;
mod sheet;
mod signature;
mod standing;
mod status;
mod telling;
mod thin;

use cnsd_test_support::{database, national_peer, rig, running};
