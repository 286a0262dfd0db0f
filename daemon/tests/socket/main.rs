//! `cnsd` as a process, seen through its socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may
#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub, missing_docs)]

mod connections;
mod decrypt;
mod login;
mod openrpc;
mod operator;
mod puk;
mod quotas;
mod traces;
mod upkeep;

use cnsd_test_support::{plugged, running};
