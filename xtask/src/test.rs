//! `cargo xtask test`: the gate, the members' own tests, the tests on real parts, the demo.

use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::report::{self, Section, line};
use crate::{Result, cargo, demo, fuzz, lint, namespace, packages, rig};

/// How long the members' tests may take, building included: several times what two cores need.
const TESTS_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Runs everything, to the end even when something fails.
pub(crate) fn run(no_install: bool, real_parts_only: bool, no_fuzzing: bool) -> Result<()> {
    let groups = [
        packages::BUILD,
        packages::DEMO,
        packages::FUZZ,
        packages::MEMBERS,
        packages::REAL_PARTS,
        packages::PROGRAMS,
        packages::BROWSERS,
    ];
    packages::ensure(&groups, no_install)?;
    let pyhanko_beside = cargo::target_directory()?.join("release");
    packages::ensure_pyhanko(&pyhanko_beside, no_install)?;
    let mut tally = Tally::default();
    if !real_parts_only {
        tally.run("The gate", lint::run);
        tally.run("The members' tests", || {
            let all = ["test", "--release", "--workspace", "--quiet", "--no-fail-fast"];
            cargo::run_within(&all, &[], TESTS_LIMIT)
        });
        tally.run("Custody and the counter on PostgreSQL", on_postgresql);
    }
    line("Building the programs…");
    let programs = cargo::build_release()?;
    if !real_parts_only {
        if !no_fuzzing {
            tally.run("A little fuzzing", fuzz::briefly);
        }
        tally.run("The demo", || demo::on(&programs, false));
    }
    // Last, so that a log of which only the end is kept still says which of its many tests failed, and why.
    tally.run("The tests on real parts", || real_parts(&programs));
    tally.close()
}

/// The tests that run on either database, once more on the one that daemons share: all of custody's, of the certificates'
/// status and of other regions', and of the counter's what the database has a part in. What the chip and the certifier do is
/// the same to either.
fn on_postgresql() -> Result<()> {
    let environment = [("CNSD_TEST_DATABASE", "postgresql")];
    let test = ["test", "--release", "--workspace", "--quiet"];
    let whole = ["custody", "custody_memory", "national", "status"].map(|name| ["--test", name]).concat();
    cargo::run_within(&[&test[..], &whole].concat(), &environment, TESTS_LIMIT)?;
    let counter = ["--test", "counter", "--"];
    let parts = [
        "activation::",
        "audited::",
        "by_program::",
        "closing::",
        "desk::",
        "forgotten::",
        "impostor::",
        "interoperability::",
        "kill::",
        "national::",
        "orders::",
        "removal::",
        "renewal::",
        "same_card::",
        "shared::",
        "standing::",
        "status::",
        "telling::",
        // Thousands of commands of the chip.
        "--skip",
        "a_fault_at_any",
    ];
    cargo::run_within(&[&test[..], &counter, &parts].concat(), &environment, TESTS_LIMIT)
}

fn real_parts(programs: &Path) -> Result<()> {
    namespace::run(&["rig".as_ref(), programs.as_os_str()], rig::REAL_PARTS_LIMIT)
}

/// Counts what passed and what failed, and goes on after a failure so that one run shows all.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: Vec<(String, Error)>,
}

impl Tally {
    /// Runs one part.
    pub(crate) fn run(&mut self, name: &str, part: impl FnOnce() -> Result<()>) {
        let section = Section::begin("•", name);
        match part() {
            Ok(()) => {
                self.passed += 1;
                section.end("passed");
            }
            Err(error) => {
                report::failure(&error);
                self.failed.push((name.to_owned(), error));
                section.end("FAILED");
            }
        }
    }

    /// Says how it went, and once more what failed.
    pub(crate) fn close(self) -> Result<()> {
        for (name, error) in &self.failed {
            // The whole of it stands where it happened.
            line(&format!("FAILED: {name}: {}", error.to_string().lines().next().unwrap_or_default()));
        }
        line(&format!("\n{} passed, {} failed", self.passed, self.failed.len()));
        if self.failed.is_empty() { Ok(()) } else { Err(Error::Tests(self.failed.len())) }
    }
}
