//! The tests on real parts: pcscd with vpcd, the virtual card in it, OpenSC and `cnsd` beside each other.
//!
//! Runs inside the namespaces that `test` makes, so that this pcscd is the only one in sight.

mod browsers;
mod documents;
mod judge;
mod leaks;
mod nginx;
mod programs;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cns_secret::Secret;
use serde_json::Value;

use crate::error::Error;
use crate::office::{self, CITIZEN, OperatorCard, Readers, Traffic};
use crate::peers;
use crate::stage::{Stage, output_of, run_refused};
use crate::test::Tally;
use crate::{Result, cargo, namespace, packages};
pub(crate) use leaks::leak_on_purpose as canary;

/// Runs the hunt for leaks alone.
pub(crate) fn leak_hunt(no_install: bool) -> Result<()> {
    let groups = [packages::BUILD, packages::DEMO, packages::REAL_PARTS];
    packages::ensure(&groups, no_install)?;
    let programs = cargo::build_release()?;
    namespace::run(&["rig".as_ref(), programs.as_os_str(), "leaks".as_ref()], LIMIT)
}

/// How long all tests on real parts may take: they need about a minute on two cores, and the browsers five.
pub(crate) const REAL_PARTS_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How long the hunt may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// OpenSC's own module.
pub(crate) const OPENSC: &str = "opensc-pkcs11.so";

/// vpcd's first reader: the citizen's card.
pub(crate) const CITIZEN_READER: &str = "Virtual PCD 00 00";

/// vpcd's second reader: the operator's card.
pub(crate) const OPERATOR_READER: &str = "Virtual PCD 00 01";

/// The tests on real parts, in groups that stand alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// One card, from its delivery to its signature certificate, `cnsd` beside OpenSC.
    Whole,
    /// The hunt for leaked secrets.
    Leaks,
    /// OpenSC as the judge of each generation.
    Judge,
    /// Other people's programs on the module.
    Programs,
    /// Firefox and Chromium, logging in to nginx.
    Browsers,
}

/// Runs one group of tests, or all; in namespaces of their own, for which this program is started again where that was not
/// done.
pub(crate) fn run(programs: &Path, only: Option<Part>) -> Result<()> {
    if !namespace::is_inside() {
        let part = only.as_ref().and_then(clap::ValueEnum::to_possible_value);
        let part = part.as_ref().map(|part| OsStr::new(part.get_name()));
        let arguments = [OsStr::new("rig"), programs.as_os_str()].into_iter().chain(part);
        return namespace::run(&arguments.collect::<Vec<_>>(), REAL_PARTS_LIMIT);
    }
    let mut tally = Tally::default();
    let wanted = |part| only.is_none_or(|only| only == part);
    if wanted(Part::Whole) {
        whole(programs, &mut tally)?;
    }
    if wanted(Part::Leaks) {
        leaks::run(programs, &mut tally, only.is_some())?;
    }
    if wanted(Part::Judge) {
        judge::run(programs, &mut tally)?;
    }
    if wanted(Part::Programs) {
        programs::run(programs, &mut tally)?;
    }
    if wanted(Part::Browsers) {
        browsers::run(programs, &mut tally)?;
    }
    tally.close()
}

/// One card goes the whole way; each test stands on the one before.
fn whole(programs: &Path, tally: &mut Tally) -> Result<()> {
    let mut rig = Rig::set_up(programs)?;
    tally.run("OpenSC recognises the card as a CNS", || rig.opensc_recognises());
    tally.run("OpenSC shows the holder's name and lists the certificate", || rig.opensc_lists(1));
    tally.run("cnsd activates the card beside OpenSC", || rig.activate());
    tally.run("OpenSC logs in with the envelope's PIN and signs", || rig.opensc_signs(0));
    tally.run("OpenSC lists the signature certificate and signs with its key", || {
        rig.opensc_lists(2)?;
        rig.opensc_signs(1)
    });
    tally.run("cnsd and its module sign beside OpenSC", || rig.module_signs());
    tally.run(
        "pyHanko makes CAdES-BES and PAdES B with the key made at the counter; OpenSSL and pdfsig judge",
        || rig.signs_documents(),
    );
    tally.run("The module sees what pcscd's neighbours do: a reset by another program is survived", || {
        rig.survives_reset()
    });
    tally.run("pcscd is killed and started again: cnsd and its cards come back by themselves", || {
        rig.survives_restart()
    });
    tally.run("Three wrong PINs block; the custody PUK unblocks (§9.4)", || rig.block_and_unblock());
    tally.run("A counter is refused when pcscd logs APDUs", || rig.refuses_logging_pcscd());
    rig.stage.finish()
}

struct Rig {
    stage: Stage,
    operator: OperatorCard,
    readers: Readers,
    codes: Vec<String>,
    pin: Option<Secret>,
}

impl Rig {
    fn set_up(programs: &Path) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        let authority = office::start_authority(&mut stage)?;
        let operator = office::make_operator_card(&stage, &authority, 6)?;
        let readers = Readers {
            configured: vec!["pcsc".into()],
            citizen: CITIZEN_READER.into(),
            operator: OPERATOR_READER.into(),
        };
        office::configure(&stage, &authority, &operator, &readers, "debug")?;
        start_pcscd(&mut stage, &[])?;
        office::start_daemon(&mut stage)?;
        office::fetch_import_certificate(&stage)?;
        office::make_citizen_card(&stage, &authority)?;
        let codes = office::fill_custody(&stage, 4)?;
        plug_into_pcscd(&mut stage)?;
        Ok(Self { stage, operator, readers, codes, pin: None })
    }

    fn opensc_recognises(&mut self) -> Result<()> {
        let name = run_tool("opensc-tool", &["--reader", CITIZEN_READER, "--name"])?;
        expect(name.contains("CNS"), || format!("opensc-tool names the card {name:?}"))
    }

    fn opensc_lists(&mut self, certificates: usize) -> Result<()> {
        let label = format!("{} {}", CITIZEN.name, CITIZEN.surname);
        let slots =
            output_of(&mut peers::pkcs11_tool(&self.stage, Path::new(OPENSC), &["--list-token-slots"]))?;
        expect(slots.contains(&label), || format!("no token is labelled {label}:\n{slots}"))?;
        let dump = run_tool("pkcs15-tool", &["--reader", CITIZEN_READER, "--list-certificates"])?;
        let found = dump.lines().filter(|line| line.starts_with("X.509 Certificate")).count();
        expect(found == certificates, || {
            format!("OpenSC lists {found} certificates, not {certificates}:\n{dump}")
        })
    }

    fn activate(&mut self) -> Result<()> {
        office::operator_login(&self.stage, &self.readers, &self.operator)?;
        let code = self.take_envelope()?;
        let before = Traffic::now(&self.stage, CITIZEN_READER)?;
        let said = self.counter("activate", &["--signature", "yes"], &code)?;
        let told = said.lines().filter(|line| line.contains("\"progress\"")).collect::<Vec<_>>();
        expect(told.iter().any(|line| line.contains("generate-key-pair")), || {
            format!("cnsctl shows no progress while the chip generates its key:\n{said}")
        })?;
        let traffic = Traffic::since(&self.stage, CITIZEN_READER, before)?;
        crate::report::fact(&format!("activation with signature certificate over pcscd: {traffic}"));
        self.pin = Some(office::open_envelope(&self.stage, &code)?);
        Ok(())
    }

    /// Signs through OpenSC with its n-th keyset: 0 the login key, 1 the signature key.
    fn opensc_signs(&mut self, keyset: usize) -> Result<()> {
        let (id, reference) = if keyset == 0 { ("01", "CNS0") } else { ("10", "CNS1") };
        let slots =
            output_of(&mut peers::pkcs11_tool(&self.stage, Path::new(OPENSC), &["--list-token-slots"]))?;
        let slot = slot_of(&slots, reference)
            .ok_or_else(|| Error::Wrong(format!("no slot for {reference}:\n{slots}")))?;
        let name = format!("opensc-{id}");
        let opensc = Path::new(OPENSC);
        peers::sign(&self.stage, opensc, id, &["--slot", &slot], &[self.pin()?, self.pin()?], &name)?;
        peers::verify(&self.stage, opensc, id, &["--slot", &slot], &name)
    }

    fn module_signs(&mut self) -> Result<()> {
        let module = self.stage.module();
        let listing = output_of(&mut peers::pkcs11_tool(
            &self.stage,
            &module,
            &["--token-label", &token_label(), "--list-objects"],
        ))?;
        let ids = peers::certificate_ids(&listing);
        expect(ids.len() == 2, || format!("the module lists {} certificates:\n{listing}", ids.len()))?;
        for (number, id) in ids.iter().enumerate() {
            let name = format!("module-{number}");
            let slot = ["--token-label", &token_label()];
            peers::sign(&self.stage, &module, id, &slot, &[self.pin()?, self.pin()?], &name)?;
            peers::verify(&self.stage, &module, id, &["--token-label", &token_label()], &name)?;
        }
        Ok(())
    }

    fn survives_reset(&mut self) -> Result<()> {
        run_tool("opensc-tool", &["--reader", CITIZEN_READER, "--reset=cold", "--atr"])?;
        let before = Traffic::now(&self.stage, CITIZEN_READER)?;
        self.module_signs()?;
        let reads = Traffic::since(&self.stage, CITIZEN_READER, before)?.reads;
        expect(reads == 0, || {
            format!("after the reset the daemon read the card's contents again, {reads} times")
        })
    }

    fn survives_restart(&mut self) -> Result<()> {
        self.stage.kill("pcscd")?;
        self.stage.wait_for("the end of all readers", 20, |stage| {
            let gone = office::reader_entry(stage, CITIZEN_READER)?.is_none();
            Ok(gone.then_some(()))
        })?;
        let refused = run_refused(
            self.stage.program("cnsctl").args(["--json", "card", "show", "--reader", CITIZEN_READER]),
            &[],
        )?;
        expect(refused.contains("no-reader"), || format!("without pcscd it was said: {refused}"))?;
        start_pcscd(&mut self.stage, &[])?;
        for reader in [CITIZEN_READER, OPERATOR_READER] {
            office::wait_for_card(&mut self.stage, reader)?;
        }
        // The operator's session went with the card.
        office::operator_login(&self.stage, &self.readers, &self.operator)?;
        self.module_signs()
    }

    fn block_and_unblock(&mut self) -> Result<()> {
        let wrong = wrong_pin(self.pin()?)?;
        for attempt in 1..=3 {
            let mut change = self.stage.program("cnsctl");
            change.args([
                "--json",
                "pin",
                "change",
                "--pin-stdin",
                "--confirm-last-try",
                "--reader",
                CITIZEN_READER,
            ]);
            let refusal = run_refused(&mut change, office::lines(&[wrong.expose(), b"13579"])?.expose())?;
            let expected = if attempt < 3 { "pin-incorrect" } else { "pin-blocked" };
            let either = refusal.contains(expected) || (attempt == 3 && refusal.contains("pin-incorrect"));
            expect(either, || format!("try {attempt} was refused with: {refusal}"))?;
        }
        let status = office::ctl(&self.stage, &["pin", "status", "--reader", CITIZEN_READER])?;
        expect(blocked(&status), || format!("the PIN should be blocked: {status}"))?;
        let code = self.take_envelope()?;
        self.counter("activate", &["--new-codes", "--applicant", "holder"], &code)?;
        self.pin = Some(office::open_envelope(&self.stage, &code)?);
        let status = office::ctl(&self.stage, &["pin", "status", "--reader", CITIZEN_READER])?;
        expect(!blocked(&status), || format!("the PIN should work again: {status}"))?;
        self.opensc_signs(0)
    }

    fn refuses_logging_pcscd(&mut self) -> Result<()> {
        self.stage.stop("citizen")?;
        self.stage.stop("operator")?;
        self.stage.stop("pcscd")?;
        start_pcscd(&mut self.stage, &["--apdu"])?;
        plug_into_pcscd(&mut self.stage)?;
        office::operator_login(&self.stage, &self.readers, &self.operator)?;
        let mut start = self.stage.program("cnsctl");
        start.args(["--json", "counter", "activate", "--new-codes", "--reader", CITIZEN_READER]);
        let refusal = run_refused(&mut start, &[])?;
        let names_the_cause = refusal.contains("rule-refuses") && refusal.contains("pcscd");
        expect(names_the_cause, || {
            format!("the counter should refuse because of pcscd's log, it says: {refusal}")
        })
    }

    /// Runs a procedure to its end; gives all that `cnsctl` said.
    fn counter(&self, verb: &str, options: &[&str], code: &str) -> Result<String> {
        let mut activate = self.stage.program("cnsctl");
        activate.args([
            "--json",
            "counter",
            verb,
            "--reader",
            CITIZEN_READER,
            "--confirm",
            "--identity",
            "match",
        ]);
        activate.args([
            "--document",
            "passport",
            "--document-number",
            "YA0000000",
            "--document-issuer",
            "Questura",
        ]);
        activate.args(["--document-expires", "2031-12-31", "--reader-request", "no", "--envelope", code]);
        if !options.contains(&"--signature") {
            activate.args(["--signature", "no"]);
        }
        let output = output_of(activate.args(options))?;
        let last = office::parse(output.lines().last().unwrap_or_default())?;
        let state = last.pointer("/procedure/state").and_then(Value::as_str).unwrap_or_default();
        expect(state == "done", || format!("the procedure ended as {state:?}:\n{output}"))?;
        Ok(output)
    }

    fn take_envelope(&mut self) -> Result<String> {
        self.codes.pop().ok_or_else(|| Error::Wrong("no envelope is left".into()))
    }

    fn pin(&self) -> Result<&Secret> {
        self.pin.as_ref().ok_or_else(|| Error::Wrong("the card was not activated".into()))
    }
}

pub(crate) fn start_pcscd(stage: &mut Stage, options: &[&str]) -> Result<()> {
    stage.start("pcscd", Command::new("pcscd").arg("--foreground").args(options))?;
    stage.wait_for("pcscd's readers", 20, |_| {
        let readers = run_tool("opensc-tool", &["--list-readers"]).unwrap_or_default();
        Ok(readers.contains(OPERATOR_READER).then_some(()))
    })
}

fn plug_into_pcscd(stage: &mut Stage) -> Result<()> {
    plug_card(stage, "citizen", CITIZEN_READER)?;
    plug_card(stage, "operator", OPERATOR_READER)?;
    // pcscd polls for cards every few hundred milliseconds; OpenSC asks only once.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Plugs the card in the folder `WHO-card` into one of vpcd's readers, and waits until its contents are known.
fn plug_card(stage: &mut Stage, who: &str, reader: &str) -> Result<()> {
    let port = if reader == CITIZEN_READER { "35963" } else { "35964" };
    let mut card = stage.program("cns-card");
    card.arg("vpcd").arg(stage.path(&format!("{who}-card"))).args(["--host", "127.0.0.1", "--port", port]);
    stage.start(who, &mut card)?;
    office::wait_for_card(stage, reader)
}

fn run_tool(tool: &str, arguments: &[&str]) -> Result<String> {
    output_of(Command::new(tool).args(arguments))
}

fn token_label() -> String {
    format!("{} {} - CNS login", CITIZEN.name, CITIZEN.surname)
}

/// The number of the slot whose label ends with this keyset's name and belongs to the citizen, in
/// `pkcs11-tool --list-token-slots`.
fn slot_of(listing: &str, keyset: &str) -> Option<String> {
    let mut slot = None;
    for line in listing.lines() {
        if let Some(rest) = line.strip_prefix("Slot ") {
            slot = rest.split('(').nth(1).and_then(|text| text.split(')').next()).map(str::to_owned);
        } else if line.contains("token label") && line.contains(CITIZEN.surname) && line.contains(keyset) {
            return slot;
        }
    }
    None
}

fn blocked(status: &Value) -> bool {
    let entries = status.as_array().into_iter().flatten();
    let mut pins = entries.filter(|entry| {
        entry.get("which") == Some(&"cns".into()) && entry.get("is_puk") == Some(&false.into())
    });
    pins.any(|entry| entry.get("blocked") == Some(&true.into()))
}

/// A PIN that is surely not this one: its first digit is another.
fn wrong_pin(pin: &Secret) -> Result<Secret> {
    let mut wrong = pin.duplicate()?;
    if let Some(digit) = wrong.expose_mut().first_mut() {
        *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
    }
    Ok(wrong)
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Wrong(otherwise())) }
}
