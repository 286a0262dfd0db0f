//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask lint`.
//!
//! This crate builds with nothing but Rust, because it is what installs the rest.
#![forbid(unsafe_code)]

mod arrows;
mod bench;
mod cargo;
mod demo;
mod error;
mod fuzz;
mod lint;
mod namespace;
mod office;
mod packages;
mod peers;
mod report;
mod rig;
mod soak;
mod stage;
mod terminal;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Activate and use a virtual card, end to end, on an embedded default
    Demo {
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
        /// Leave the daemon, the certifier and the cards running, and print how to go on
        #[arg(long)]
        keep: bool,
        /// Use the programs in this folder instead of building them
        #[arg(long, value_name = "DIR")]
        programs: Option<PathBuf>,
    },
    /// Run all checks and tests, on real parts too (pcscd, OpenSC), and the demo
    Test {
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
        /// Only the tests on real parts (pcscd, OpenSC)
        #[arg(long)]
        real_parts: bool,
        /// Leave the fuzzing out; what earlier fuzzing kept is tried by the members' tests
        #[arg(long)]
        no_fuzzing: bool,
    },
    /// Check formatting, lints, licences and the arrows between the members
    Lint,
    /// Fuzz what reads bytes of cards, and keep the inputs that reach something new in fuzz/corpus
    Fuzz {
        /// For so long, all targets together
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u64,
        /// Only this target
        #[arg(long)]
        target: Option<String>,
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// Measure the use of cards
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Run for long what a short test cannot show
    Soak {
        #[command(subcommand)]
        what: soak::What,
    },
    /// Do every case of the manual at the loudest log level and look for PINs, PUKs and user codes in the daemon's memory, a
    /// dump of it, its files, log, traffic and writes
    LeakHunt {
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// Leak the secrets in a file on purpose, in every place and form that the hunt looks at
    #[command(hide = true)]
    Canary {
        /// The file, a secret a line
        secrets: PathBuf,
        /// The folder to leak to
        folder: PathBuf,
    },
    /// Run the tests on real parts, or some of them, with programs that are built; as root, in namespaces of their own
    #[command(hide = true)]
    Rig {
        /// The folder with the built programs
        programs: PathBuf,
        /// Only this group
        only: Option<rig::Part>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { no_install, keep, programs } => demo::run(no_install, keep, programs),
        Command::Test { no_install, real_parts, no_fuzzing } => test::run(no_install, real_parts, no_fuzzing),
        Command::Lint => lint::run(),
        Command::Fuzz { minutes, target, no_install } => fuzz::run(minutes, target.as_deref(), no_install),
        Command::Bench { what } => bench::run(&what),
        Command::Soak { what } => soak::run(&what),
        Command::LeakHunt { no_install } => rig::leak_hunt(no_install),
        Command::Canary { secrets, folder } => rig::canary(&secrets, &folder),
        Command::Rig { programs, only } => rig::run(&programs, only),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// What a command of this crate ends with.
type Result<T> = std::result::Result<T, Error>;
