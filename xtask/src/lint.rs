//! `cargo xtask lint`: the gate before the tests.

use crate::error::Error;
use crate::report::{checked, line};
use crate::{Result, arrows, cargo};

/// Runs every check; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    line("Checking format, lints, licences and arrows…");
    cargo::run(&["fmt", "--all", "--check"])?;
    checked("cargo fmt");
    cargo::run(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ])?;
    checked("cargo clippy");
    arrows::check()?;
    checked("the arrows between the members");
    deny()
}

/// `cargo deny`, where it is installed: licences, bans and sources. The advisories' database is asked for only where
/// the network reaches it, with `cargo deny check advisories`.
fn deny() -> Result<()> {
    let version = cargo::command(&["deny", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        line("   cargo-deny is not installed: licences were not checked (cargo install cargo-deny)");
        return Ok(());
    }
    let check = cargo::run(&["deny", "--offline", "check", "licenses", "bans", "sources"]);
    check.map_err(|error| Error::Wrong(format!("cargo deny is not content: {error}")))?;
    checked("cargo deny");
    Ok(())
}
