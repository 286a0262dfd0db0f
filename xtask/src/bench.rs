//! What the use of cards costs. `cargo xtask bench card`: APDUs, bytes and a real card's time of each generation, `cnsd` and OpenSC on the same card.
//!
//! The virtual card counts what reaches it, so both are counted alike. The time is not this machine's: the card
//! accounts what a real one would take, to the same millisecond in every run.

mod import;
mod pkcs11;
mod pkcs11_client;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::error::{During, Error};
use crate::office::{self, Generation, OwnCard};
use crate::report::{self, Section, line};
use crate::rig::{CITIZEN_READER, OPENSC, start_pcscd};
use crate::stage::{Stage, output_of};
use crate::{Result, cargo, namespace, packages, peers};

/// How long all generations, or the module beside OpenSC, may take: several times what two cores need.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What can be measured.
#[derive(clap::Subcommand)]
pub(crate) enum What {
    /// APDUs, bytes and simulated time of each generation, beside OpenSC
    Card {
        /// Only this generation
        #[arg(long)]
        generation: Option<String>,
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// The same inside the namespace that `card` made
    #[command(hide = true)]
    CardInside {
        /// The folder with the built programs
        programs: PathBuf,
        /// Only this generation
        generation: Option<String>,
    },
    /// Reading and searching a certificate revocation list
    Crl {
        /// How many entries it has
        #[arg(long, default_value_t = 1_000_000)]
        entries: u32,
    },
    /// Imports of cards and envelopes into SQLite and PostgreSQL: rows per second, memory, look-ups afterwards
    Import {
        /// How many of each in the end
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Use the programs in this folder instead of building them
        #[arg(long, value_name = "DIR")]
        programs: Option<PathBuf>,
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// The PKCS#11 module beside OpenSC's on the same card and reader
    Pkcs11 {
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// The same inside the namespace that `pkcs11` made
    #[command(hide = true)]
    Pkcs11Inside {
        /// The folder with the built programs
        programs: PathBuf,
    },
    /// Certificates that `cns-authority` issues and revokes per second
    Authority,
    /// What looking up in custody costs as it grows, on SQLite and PostgreSQL
    Custody {
        /// List the system packages that are missing instead of installing them
        #[arg(long)]
        no_install: bool,
    },
    /// APDUs, bytes and simulated time of a signature area's parts, beside the least that the specification needs
    Area,
    /// The application that `pkcs11` measures
    #[command(hide = true)]
    Pkcs11Client(pkcs11_client::Options),
}

/// Runs one.
pub(crate) fn run(what: &What) -> Result<()> {
    match what {
        What::Card { generation, no_install } => {
            packages::ensure(&[packages::BUILD, packages::DEMO, packages::REAL_PARTS], *no_install)?;
            let programs = cargo::build_release()?;
            let mut arguments = vec![OsStr::new("bench"), OsStr::new("card-inside"), programs.as_os_str()];
            arguments.extend(generation.as_ref().map(OsStr::new));
            namespace::run(&arguments, LIMIT)
        }
        What::Crl { entries } => {
            let entries = entries.to_string();
            let what =
                ["run", "--release", "-q", "-p", "cnsd", "--example", "revocation_list", "--", &entries];
            cargo::run(&what)
        }
        What::CardInside { programs, generation } => inside(programs, generation.as_deref()),
        What::Import { rows, programs, no_install } => {
            packages::ensure(&[packages::BUILD, packages::DEMO], *no_install)?;
            let programs = programs.clone().map_or_else(cargo::build_release, Ok)?;
            import::run(&programs, (*rows).max(10_000))
        }
        What::Pkcs11 { no_install } => {
            packages::ensure(&[packages::BUILD, packages::DEMO, packages::REAL_PARTS], *no_install)?;
            let programs = pkcs11::build()?;
            namespace::run(&["bench".as_ref(), "pkcs11-inside".as_ref(), programs.as_os_str()], LIMIT)
        }
        What::Pkcs11Inside { programs } => pkcs11::inside(programs),
        What::Authority => {
            cargo::run(&["bench", "--quiet", "-p", "cns-virtual-authority", "--bench", "issue"])
        }
        What::Custody { no_install } => {
            packages::ensure(&[packages::BUILD, packages::MEMBERS], *no_install)?;
            cargo::run(&["bench", "--quiet", "-p", "cnsd", "--bench", "custody"])
        }
        What::Area => area(),
        What::Pkcs11Client(options) => pkcs11_client::run(options),
    }
}

/// The tests that hold the counts print them: a virtual card's account is the same in every run.
fn area() -> Result<()> {
    let least = ["--package", "cns-virtual-card", "--test", "card", "signature_area"];
    let ours = ["--package", "cnsd", "--test", "card_operations", "an_area_is_made"];
    for what in [least, ours] {
        cargo::run(&[&["test", "--release", "--quiet"][..], &what, &["--", "--nocapture"]].concat())?;
    }
    Ok(())
}

/// How long a card must be left alone to count as read.
const QUIET: Duration = Duration::from_millis(300);

/// How often that is looked for.
const LOOKS: usize = 60;

/// What the card has counted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    commands: u64,
    bytes_received: u64,
    bytes_sent: u64,
    milliseconds: u64,
}

impl Account {
    /// What the card has written into its account file.
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).during("reading the card's account")?;
        let account = office::parse(&text)?;
        let number = |name: &str| account.get(name).and_then(Value::as_u64);
        let missing = || Error::Wrong(format!("the card's account is incomplete: {text}"));
        Ok(Self {
            commands: number("commands").ok_or_else(missing)?,
            bytes_received: number("bytes_received").ok_or_else(missing)?,
            bytes_sent: number("bytes_sent").ok_or_else(missing)?,
            milliseconds: number("milliseconds").ok_or_else(missing)?,
        })
    }

    /// The account when nothing has been added for a moment.
    fn settled(path: &Path) -> Result<Self> {
        let mut account = Self::read(path)?;
        for _ in 0..LOOKS {
            std::thread::sleep(QUIET);
            let now = Self::read(path)?;
            if now == account {
                return Ok(now);
            }
            account = now;
        }
        Err(Error::Wrong("the card is never left alone".into()))
    }

    fn since(self, before: Self) -> Self {
        Self {
            commands: self.commands.saturating_sub(before.commands),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            milliseconds: self.milliseconds.saturating_sub(before.milliseconds),
        }
    }
}

impl Account {
    /// Commands, bytes to and bytes from the card.
    fn numbers(self) -> [u64; 3] {
        [self.commands, self.bytes_received, self.bytes_sent]
    }

    /// The same back from JSON.
    fn of_numbers(numbers: Option<&Value>) -> Result<Self> {
        let number = |index: usize| numbers.and_then(|numbers| numbers.get(index)?.as_u64());
        match (number(0), number(1), number(2)) {
            (Some(commands), Some(bytes_received), Some(bytes_sent)) => {
                Ok(Self { commands, bytes_received, bytes_sent, milliseconds: 0 })
            }
            _ => Err(Error::Wrong(format!("no account: {numbers:?}"))),
        }
    }

    /// The numbers in words.
    fn short(self) -> String {
        format!("{} APDUs, {} / {} bytes", self.commands, self.bytes_received, self.bytes_sent)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.milliseconds / 1000, self.milliseconds % 1000);
        write!(
            formatter,
            "{:>5} APDUs {:>6} up {:>6} down {whole:>4}.{rest:03} s",
            self.commands, self.bytes_received, self.bytes_sent
        )
    }
}

fn inside(programs: &Path, only: Option<&str>) -> Result<()> {
    let mut stage = Stage::new(programs)?;
    office::configure_plain(&stage)?;
    start_pcscd(&mut stage, &[])?;
    line(
        "Bytes up go to the card, bytes down come from it; the time is what a real card and reader would take.",
    );
    for generation in office::generations(&stage)? {
        if generation.is_served() && only.is_none_or(|only| only == generation.name) {
            measure(&mut stage, &generation)?;
        }
    }
    stage.finish()
}

/// `cnsd` first, whose listing happens when the card comes; then OpenSC alone, each time in a new process.
fn measure(stage: &mut Stage, generation: &Generation) -> Result<()> {
    let card = office::make_own_card(stage, generation)?;
    let generation = &generation.name;
    let section = Section::begin("•", generation);
    office::start_daemon(stage)?;
    // pcscd polls: the card before is to be seen gone.
    office::wait_for_removal(stage, CITIZEN_READER)?;
    let account = stage.path(&format!("{generation}.account"));
    let mut plug = stage.program("cns-card");
    plug.arg("vpcd").arg(stage.path(&format!("{generation}-card"))).args([
        "--host",
        "127.0.0.1",
        "--port",
        "35963",
    ]);
    stage.start(generation, plug.arg("--account").arg(&account))?;
    office::wait_for_card(stage, CITIZEN_READER)?;
    let bench = Bench { account, card };
    let ours = bench.cnsd(stage);
    stage.stop("cnsd")?;
    let theirs = ours.and_then(|()| bench.opensc(stage));
    stage.stop(generation)?;
    section.end("");
    theirs
}

struct Bench {
    account: PathBuf,
    card: OwnCard,
}

impl Bench {
    fn cnsd(&self, stage: &Stage) -> Result<()> {
        // What the search for a signing certificate takes, where there is one, is in it: it follows the listing at once.
        row("cnsd: first listing, with the search", Account::settled(&self.account)?);
        let module = stage.module();
        let mut listing = String::new();
        let second = self.during(|| {
            listing = output_of(&mut peers::pkcs11_tool(stage, &module, &["--list-objects"]))?;
            Ok(())
        })?;
        row("cnsd: another process's listing", second);
        for (number, id) in peers::certificate_ids(&listing).iter().enumerate() {
            let pins = [&self.card.pin, self.card.signature_pin.as_ref().unwrap_or(&self.card.pin)];
            let sign = || peers::sign(stage, &module, id, &[], &pins, "bench");
            row(&format!("cnsd: login and first signature, key {}", number + 1), self.during(sign)?);
            row(&format!("cnsd: login and signature, key {}", number + 1), self.during(sign)?);
        }
        Ok(())
    }

    fn opensc(&self, stage: &Stage) -> Result<()> {
        let opensc = Path::new(OPENSC);
        let mut listing = String::new();
        let first = self.during(|| {
            listing = output_of(&mut peers::pkcs11_tool(stage, opensc, &["--list-objects"]))?;
            Ok(())
        })?;
        if peers::certificate_ids(&listing).is_empty() {
            report::fact("OpenSC lists no certificate of this card");
            return Ok(());
        }
        row("OpenSC: listing", first);
        let sign = || peers::sign(stage, opensc, "01", &["--slot", "0"], &[&self.card.pin], "bench");
        match self.during(sign) {
            Ok(account) => row("OpenSC: login and signature", account),
            Err(error) => report::fact(&format!("OpenSC does not sign: {}", last_error(&error))),
        }
        Ok(())
    }

    /// What reaches the card while something is done.
    fn during(&self, what: impl FnOnce() -> Result<()>) -> Result<Account> {
        let before = Account::read(&self.account)?;
        what()?;
        Ok(Account::read(&self.account)?.since(before))
    }
}

/// The line of a failed program's output that tells why.
fn last_error(error: &Error) -> String {
    let text = error.to_string();
    text.lines().rfind(|line| line.starts_with("error:")).unwrap_or("it refuses").to_owned()
}

fn row(what: &str, account: Account) {
    report::fact(&format!("{what:<40} {account}"));
}
