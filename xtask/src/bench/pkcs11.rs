//! `cargo xtask bench pkcs11`: the module beside OpenSC's on one card and reader, in one run.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use cns_secret::Secret;
use serde_json::Value;

use super::Account;
use super::pkcs11_client::give;
use crate::error::{During, Error};
use crate::office::{self, OwnCard};
use crate::report::{self, Section, line};
use crate::rig::{CITIZEN_READER, OPENSC, start_pcscd};
use crate::stage::{Stage, output_of, output_with_input};
use crate::{Result, cargo, peers};

/// The card: a TS-CNS of 2021, RSA-2048.
const GENERATION: &str = "st2021";

/// How many signatures give a median and a 99th percentile.
const SIGNATURES: usize = 300;

/// How many calls that need no card are measured together.
const CALLS: u32 = 20_000;

/// Processes, threads in each, signatures of each thread: what the card's own limit is compared with.
const LOADS: [(usize, usize, usize); 5] = [(1, 1, 4), (4, 1, 2), (16, 1, 1), (1, 4, 2), (1, 16, 1)];

/// Builds what only this needs; the folder with the built programs.
pub(super) fn build() -> Result<PathBuf> {
    let programs = cargo::build_release()?;
    cargo::run(&["build", "--release", "-p", "cnsd", "--example", "raw_sign"])?;
    Ok(programs)
}

pub(super) fn inside(programs: &Path) -> Result<()> {
    let mut bench = Bench::set_up(programs)?;
    bench.plug_in(&[])?;
    // What the search for a signing certificate takes, where there is one, would be in it.
    let ours = Measured { listing: Account::settled(&bench.account)?, ..bench.cnsd()? };
    let raw = bench.raw()?;
    bench.stage.stop("cnsd")?;
    let theirs = bench.measure(Path::new(OPENSC), None)?;
    table(&ours, &theirs, &raw);
    bench.throughput()?;
    let size = std::fs::metadata(bench.stage.module()).during("looking at the module")?.len();
    report::fact(&format!("size of libcns_pkcs11.so: {} kB", size / 1000));
    let asked = ours.answers.get("requests").and_then(Value::as_u64);
    bench.stage.finish()?;
    // A wait of the module for changes ends once a minute at most, and is begun anew.
    if asked.is_none_or(|asked| asked > 4) {
        return Err(Error::Wrong(format!("calls that need no card asked the daemon {asked:?} times")));
    }
    if ours.second_listing.commands > 0 {
        return Err(Error::Wrong("another process's listing reached the card".into()));
    }
    Ok(())
}

struct Bench {
    stage: Stage,
    card: OwnCard,
    account: PathBuf,
}

/// What one module needs.
struct Measured {
    listing: Account,
    second_listing: Account,
    first_signature: Account,
    second_signature: Account,
    answers: Value,
    signature: Spread,
}

/// Microseconds.
#[derive(Clone, Copy)]
struct Spread {
    p50: u64,
    p99: u64,
}

impl Bench {
    fn set_up(programs: &Path) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        office::configure_plain(&stage)?;
        start_pcscd(&mut stage, &[])?;
        office::start_daemon(&mut stage)?;
        let generations = office::generations(&stage)?;
        let generation = generations.iter().find(|generation| generation.name == GENERATION);
        let generation = generation.ok_or_else(|| Error::Wrong(format!("no generation {GENERATION}")))?;
        let card = office::make_own_card(&stage, generation)?;
        let account = stage.path("card.account");
        Ok(Self { stage, card, account })
    }

    fn plug_in(&mut self, options: &[&str]) -> Result<()> {
        let mut plug = self.stage.program("cns-card");
        plug.arg("vpcd").arg(self.stage.path(&format!("{GENERATION}-card")));
        plug.args(["--host", "127.0.0.1", "--port", "35963", "--account"]).arg(&self.account);
        self.stage.start("card", plug.args(options))?;
        office::wait_for_card(&mut self.stage, CITIZEN_READER)
    }

    fn cnsd(&self) -> Result<Measured> {
        self.measure(&self.stage.module(), Some(&self.stage.path("cnsd.log")))
    }

    /// Everything but the throughput. `log` is the daemon's, where the module has one.
    fn measure(&self, module: &Path, log: Option<&Path>) -> Result<Measured> {
        let list = || -> Result<Account> {
            let before = Account::read(&self.account)?;
            output_of(&mut peers::pkcs11_tool(&self.stage, module, &["--list-objects"]))?;
            Ok(Account::read(&self.account)?.since(before))
        };
        let (listing, second_listing) = (list()?, list()?);
        let signatures = self.client(module, &["signatures", &self.account.to_string_lossy()])?;
        let account = |name: &str| Account::of_numbers(signatures.get(name));
        let times = self.client(module, &["times", &SIGNATURES.to_string()])?;
        let log = log.map(|log| log.to_string_lossy().into_owned());
        let mut answers = vec!["answers".to_owned(), CALLS.to_string()];
        answers.extend(log);
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        Ok(Measured {
            listing,
            second_listing,
            first_signature: account("first")?,
            second_signature: account("second")?,
            answers: self.client(module, &answers)?,
            signature: Spread::of(numbers(&times))?,
        })
    }

    /// The same APDU without a daemon and a module.
    fn raw(&self) -> Result<Spread> {
        let mut raw = self.stage.program("examples/raw_sign");
        raw.args([CITIZEN_READER, GENERATION, &SIGNATURES.to_string()]);
        let text = output_with_input(&mut raw, self.card.pin.expose())?;
        Spread::of(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn client_command(&self, module: &Path, arguments: &[&str]) -> Result<Command> {
        let this = std::env::current_exe().during("finding this program")?;
        let mut client = self.stage.foreign(&this.to_string_lossy());
        client.args(["bench", "pkcs11-client"]).arg(module).args(arguments);
        // Newer versions of OpenSC keep a card's files there.
        client.env("XDG_CACHE_HOME", self.stage.path("cache"));
        Ok(client)
    }

    fn client(&self, module: &Path, arguments: &[&str]) -> Result<Value> {
        let mut client = self.client_command(module, arguments)?;
        let pin = office::lines(&[self.card.pin.expose()])?;
        office::parse(&output_with_input(&mut client, pin.expose())?)
    }

    /// Several processes and threads on a card that takes a real one's time.
    fn throughput(&mut self) -> Result<()> {
        self.stage.stop("card")?;
        office::start_daemon(&mut self.stage)?;
        office::wait_for_removal(&mut self.stage, CITIZEN_READER)?;
        self.plug_in(&["--timing", "real"])?;
        let section = Section::begin("•", "Signatures on one card that takes a real one's time");
        line("   processes  threads  signatures  wall time  card busy");
        for (processes, threads, count) in LOADS {
            let mut clients = Vec::new();
            for _ in 0..processes {
                clients.push(self.begin(threads, count)?);
            }
            let before = Account::read(&self.account)?;
            let began = Instant::now();
            for client in &mut clients {
                give(&mut client.input, b"")?;
            }
            for client in clients {
                client.end()?;
            }
            let wall = began.elapsed();
            let busy = Account::read(&self.account)?.since(before).milliseconds;
            let percent = u128::from(busy) * 100 / wall.as_millis().max(1);
            line(&format!(
                "   {processes:>9}  {threads:>7}  {:>10}  {:>7.1} s  {percent:>7} %",
                processes * threads * count,
                wall.as_secs_f64()
            ));
        }
        section.end("");
        Ok(())
    }

    /// A client that is logged in and waits for the beginning.
    fn begin(&self, threads: usize, count: usize) -> Result<Waiting> {
        let arguments = ["throughput", &threads.to_string(), &count.to_string()];
        let mut command = self.client_command(&self.stage.module(), &arguments)?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().during("starting a client")?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Wrong("a client has no input or output".into()));
        };
        tell_pin(&mut input, &self.card.pin)?;
        let mut output = BufReader::new(output);
        let mut ready = String::new();
        output.read_line(&mut ready).during("waiting for a client")?;
        if ready.trim_end() == "ready" {
            Ok(Waiting { child, input, output })
        } else {
            Err(Error::Wrong(format!("a client could not log in: {ready}")))
        }
    }
}

fn tell_pin(input: &mut ChildStdin, pin: &Secret) -> Result<()> {
    give(input, pin.expose())
}

struct Waiting {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Waiting {
    fn end(mut self) -> Result<()> {
        let mut text = String::new();
        self.output.read_line(&mut text).during("waiting for a client")?;
        let status = self.child.wait().during("waiting for a client")?;
        if status.success() { Ok(()) } else { Err(Error::Wrong(format!("a client failed: {status}"))) }
    }
}

impl Spread {
    fn of(mut times: Vec<u64>) -> Result<Self> {
        times.sort_unstable();
        let at = |percent: usize| {
            times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
        };
        match (at(50), at(99)) {
            (Some(p50), Some(p99)) => Ok(Self { p50, p99 }),
            _ => Err(Error::Wrong("nothing was measured".into())),
        }
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn table(ours: &Measured, theirs: &Measured, raw: &Spread) {
    let section = Section::begin("•", &format!("{GENERATION}, RSA-2048: the module and OpenSC's"));
    let row =
        |what: &str, ours: String, theirs: String| line(&format!("   {what:<44} {ours:>32} {theirs:>32}"));
    row("", "libcns_pkcs11.so".into(), OPENSC.into());
    for (what, ours, theirs) in [
        ("first listing", ours.listing, theirs.listing),
        ("listing by a second process", ours.second_listing, theirs.second_listing),
        ("C_Login and a signature", ours.first_signature, theirs.first_signature),
        ("the session's second signature", ours.second_signature, theirs.second_signature),
    ] {
        row(what, ours.short(), theirs.short());
    }
    for (what, name) in [
        ("C_GetSessionInfo", "session_info_ns"),
        ("C_FindObjectsInit, C_FindObjects, …Final", "find_objects_ns"),
        ("C_GetAttributeValue, length and value", "attribute_ns"),
    ] {
        let time = |measured: &Measured| {
            format!("{} ns", measured.answers.get(name).and_then(Value::as_u64).unwrap_or(0))
        };
        row(what, time(ours), time(theirs));
    }
    let start = |measured: &Measured| {
        let starts = measured.answers.get("starts_us").map(numbers).unwrap_or_default();
        Spread::of(starts).map_or_else(|_| "?".to_owned(), |spread| spread.to_string())
    };
    row("C_Initialize and C_GetSlotList", start(ours), start(theirs));
    row("C_SignInit and C_Sign", ours.signature.to_string(), theirs.signature.to_string());
    row("the last one's APDU alone through PC/SC", raw.to_string(), String::new());
    let more = |ours: u64, raw: u64| i128::from(ours) - i128::from(raw);
    row(
        "what module and daemon add",
        format!("{} / {} µs", more(ours.signature.p50, raw.p50), more(ours.signature.p99, raw.p99)),
        String::new(),
    );
    section.end("APDUs, bytes to and from the card; times: median / 99th percentile");
    let asked = ours.answers.get("requests").and_then(Value::as_u64).unwrap_or_default();
    report::fact(&format!("requests to the daemon during {} calls that need no card: {asked}", 3 * CALLS));
}

impl std::fmt::Display for Spread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} / {} µs", self.p50, self.p99)
    }
}
