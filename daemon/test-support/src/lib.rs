//! What the daemon's tests, and those of the members that talk to it, share. No program has it in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::missing_errors_doc,
    missing_docs,
    reason = "a test may fail"
)]

pub mod database;
pub mod fixture;
pub mod keypad;
mod namespaces;
pub mod national_peer;
pub mod plugged;
pub mod postgresql;
pub mod private_network;
pub mod private_pcscd;
pub mod rig;
pub mod running;
pub mod small_disk;
pub mod soak;
pub mod wire;

use std::path::PathBuf;

use cnsd::authority::NetworkHelper;

/// The built daemon: cargo puts it one folder above the tests' own programs.
pub fn program() -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().with_file_name("cnsd");
    assert!(program.exists(), "{} was not built", program.display());
    program
}

/// The daemon's network helper: the built daemon, called as the daemon calls itself.
pub fn network() -> NetworkHelper {
    NetworkHelper::with_program(&program())
}
