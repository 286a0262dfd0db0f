//! `cargo xtask test`: the gate, the members' own tests, the tests on real parts, the demo.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::{During, Error};
use crate::report::{self, Section, line};
use crate::{Result, cargo, demo, lint, packages, terminal};

/// How long the members' tests may take, building included: several times what two cores need.
const TESTS_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Runs everything, to the end even when something fails.
pub(crate) fn run(no_install: bool, real_parts_only: bool) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::DEMO, packages::REAL_PARTS], no_install)?;
    let mut tally = Tally::default();
    if !real_parts_only {
        tally.run("The gate", lint::run);
        tally.run("The members' tests", || {
            cargo::run_within(&["test", "--release", "--workspace", "--quiet"], TESTS_LIMIT)
        });
    }
    line("Building the programs…");
    let programs = cargo::build_release()?;
    tally.run("The tests on real parts", || real_parts(&programs));
    if !real_parts_only {
        tally.run("The demo", || demo::on(&programs, false));
    }
    tally.close()
}

/// pcscd listens at one path per machine: the tests get a private mount, network and process namespace, in which they
/// are alone and which ends with them.
fn real_parts(programs: &Path) -> Result<()> {
    let this = std::env::current_exe().during("finding this program")?;
    // A user namespace of one's own would not do: the daemon's network helper becomes `nobody`, who is not in it.
    let mut unshare = if rustix::process::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("unshare");
        sudo
    };
    unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    unshare
        .arg("mount -t tmpfs tmpfs /run && mkdir /run/pcscd && ip link set lo up && exec \"$0\" rig \"$1\"");
    unshare.arg(this).arg(programs);
    let status = unshare.status().during("starting unshare")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: terminal::describe(&unshare),
        status: status.to_string(),
        output: String::new(),
    })
}

/// Counts what passed and what failed, and goes on after a failure so that one run shows all.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: Vec<String>,
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
                self.failed.push(name.to_owned());
                section.end("FAILED");
            }
        }
    }

    /// Says how it went.
    pub(crate) fn close(self) -> Result<()> {
        for name in &self.failed {
            line(&format!("FAILED: {name}"));
        }
        line(&format!("\n{} passed, {} failed", self.passed, self.failed.len()));
        if self.failed.is_empty() { Ok(()) } else { Err(Error::Tests(self.failed.len())) }
    }
}
