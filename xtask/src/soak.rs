//! `cargo xtask soak`: what only a long run shows.

use crate::Result;
use crate::error::{During, Error};
use crate::{cargo, packages};

/// The test that is run for longer than usual.
const READERS: &str = "many::sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind";

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
}

/// Runs it.
pub(crate) fn run(what: &What) -> Result<()> {
    let What::Readers { minutes, seed, no_install } = what;
    packages::ensure(&[packages::BUILD, packages::REAL_PARTS], *no_install)?;
    let mut test = cargo::command(&["test", "--release", "-p", "cnsd", "--test", "pcsc", "--"]);
    test.args(["--exact", READERS, "--nocapture"]);
    test.env("CNS_REAL_PARTS", "1").env("CNS_SOAK_MINUTES", minutes.to_string());
    if let Some(seed) = seed {
        test.env("CNS_SOAK_SEED", seed.to_string());
    }
    let status = test.status().during("starting cargo")?;
    if status.success() { Ok(()) } else { Err(Error::Tests(1)) }
}
