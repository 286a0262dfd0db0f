//! `cargo xtask soak`: what only a long run shows.

use crate::Result;
use crate::error::{During, Error};
use crate::{cargo, packages};

/// The test that is run for longer than usual.
const READERS: &str = "many::sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind";

/// The test in which the daemon is killed at every step of the counter's procedures.
const COUNTER: &str = "killed::a_daemon_killed_at_every_step_loses_nothing";

/// What is run for long.
#[derive(clap::Subcommand)]
pub(crate) enum What {
    /// Plug and pull cards at random in sixteen readers of a private pcscd, while clients sign
    Readers {
        /// For how long
        #[arg(long, default_value_t = 1)]
        minutes: u32,
        /// Repeat the run that printed this seed
        #[arg(long)]
        seed: Option<u64>,
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// Kill the daemon at every step of every case at the counter, over and over at other moments
    Counter {
        /// How often all cases are gone through
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
}

/// Runs it.
pub(crate) fn run(what: &What) -> Result<()> {
    let mut test = match what {
        What::Readers { minutes, seed, no_install } => {
            packages::ensure(&[packages::BUILD, packages::REAL_PARTS], *no_install)?;
            let mut test = cargo::command(&["test", "--release", "-p", "cnsd", "--test", "pcsc", "--"]);
            test.args(["--exact", READERS, "--nocapture"]);
            test.env("CNS_REAL_PARTS", "1").env("CNS_SOAK_MINUTES", minutes.to_string());
            if let Some(seed) = seed {
                test.env("CNS_SOAK_SEED", seed.to_string());
            }
            test
        }
        What::Counter { rounds, no_install } => {
            packages::ensure(&[packages::BUILD], *no_install)?;
            let mut test = cargo::command(&["test", "-p", "cnsd", "--test", "counter", "--"]);
            test.args(["--exact", COUNTER, "--nocapture"]).env("CNSD_SOAK_ROUNDS", rounds.to_string());
            test
        }
    };
    let status = test.status().during("starting cargo")?;
    if status.success() { Ok(()) } else { Err(Error::Tests(1)) }
}
