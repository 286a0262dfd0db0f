//! OpenSC as the judge of the virtual card: each generation that Debian's OpenSC serves is recognised, listed, used
//! and blocked by it, and `cnsd` beside it must say the same of the card.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{CITIZEN_READER, OPENSC, expect, run_tool, start_pcscd, wrong_pin};
use crate::Result;
use crate::error::{During, Error};
use crate::office::{self, CITIZEN, Generation, OwnCard};
use crate::stage::{Stage, output_of};
use crate::terminal;
use crate::test::Tally;
use crate::{peers, report};

/// What Debian's OpenSC, 0.23, makes of a generation.
enum Opinion {
    /// It lists the login certificate and uses key and PIN.
    Serves,
    /// It lists the login certificate, and then does not sign.
    OnlyLists,
    /// It takes the card for a CNS and finds no certificate.
    FindsNothing,
    /// It does not know the card.
    Unknown,
}

/// Its opinion of each generation; `docs/card-behaviour.md` says why.
fn opinion(generation: &str) -> Opinion {
    match generation {
        "jsign2048" => Opinion::OnlyLists,
        "idemia2021" | "idemia-cosmo91" | "oberthur-cosmo7" | "ace2025" => Opinion::FindsNothing,
        "st2022-nfc" | "idemia-nfc" | "ts-cns-2018-dual" | "hpc" | "hpc-idemia" | "dsd" => Opinion::Unknown,
        _ => Opinion::Serves,
    }
}

/// Where the card under judgement is plugged in: vpcd's first reader.
const PORT: &str = "35963";

/// Judges every generation, each on a card of its own.
pub(super) fn run(programs: &Path, tally: &mut Tally) -> Result<()> {
    let mut stage = Stage::new(programs)?;
    office::configure_plain(&stage)?;
    start_pcscd(&mut stage, &[])?;
    office::start_daemon(&mut stage)?;
    for generation in office::generations(&stage)? {
        if generation.is_served() {
            tally.run(&format!("OpenSC judges {}", generation.name), || judge(&mut stage, &generation));
        } else {
            tally.run(&format!("cnsd leaves {} alone, and says so", generation.name), || {
                left_alone(&mut stage, &generation)
            });
        }
    }
    stage.finish()
}

/// A card that `cnsd` does not use: told in words, and not touched further.
fn left_alone(stage: &mut Stage, generation: &Generation) -> Result<()> {
    office::make_plain_card(stage, &generation.name, &[])?;
    plug(stage, &generation.name)?;
    let words = stage.wait_for("cnsd's words on the card", 10, |stage| {
        let state =
            office::reader_entry(stage, CITIZEN_READER)?.and_then(|entry| entry.get("state").cloned());
        Ok(state.and_then(|state| state.get("unusable")?.as_str().map(str::to_owned)))
    });
    take_out(stage, &generation.name)?;
    report::fact(&words?);
    Ok(())
}

fn plug(stage: &mut Stage, generation: &str) -> Result<()> {
    let mut plug = stage.program("cns-card");
    plug.arg("vpcd").arg(stage.path(&format!("{generation}-card"))).args([
        "--host",
        "127.0.0.1",
        "--port",
        PORT,
    ]);
    stage.start(generation, &mut plug).map(drop)
}

fn take_out(stage: &mut Stage, generation: &str) -> Result<()> {
    stage.stop(generation)?;
    office::wait_for_removal(stage, CITIZEN_READER)
}

fn judge(stage: &mut Stage, generation: &Generation) -> Result<()> {
    let card = office::make_own_card(stage, generation)?;
    let generation = &generation.name;
    plug(stage, generation)?;
    let judged = in_reader(stage).and_then(|()| Judgement { stage, card, generation }.run());
    take_out(stage, generation)?;
    judged
}

fn in_reader(stage: &mut Stage) -> Result<()> {
    office::wait_for_card(stage, CITIZEN_READER)?;
    stage.wait_for("OpenSC's sight of the card", 10, |_| {
        Ok(run_tool("opensc-tool", &["--reader", CITIZEN_READER, "--atr"]).ok())
    })?;
    Ok(())
}

struct Judgement<'a> {
    stage: &'a Stage,
    card: OwnCard,
    generation: &'a str,
}

impl Judgement<'_> {
    fn run(mut self) -> Result<()> {
        match opinion(self.generation) {
            Opinion::Serves => {}
            Opinion::OnlyLists => {
                self.recognises()?;
                self.lists()?;
                let refused = self.opensc_signs();
                return expect(refused.is_err(), || "OpenSC signs after all: say so in the documents".into());
            }
            Opinion::FindsNothing => {
                self.recognises()?;
                return self.finds_nothing();
            }
            Opinion::Unknown => return self.finds_nothing(),
        }
        self.recognises()?;
        self.lists()?;
        self.signs()?;
        self.counts_wrong_pins()?;
        self.changes_pin()?;
        self.blocks_and_unblocks()?;
        self.signs()
    }

    fn recognises(&self) -> Result<()> {
        let name = run_tool("opensc-tool", &["--reader", CITIZEN_READER, "--name"])?;
        expect(name.contains("CNS"), || format!("opensc-tool names the card {name:?}"))?;
        let listed = self.card_of_cnsd()?;
        let said = listed.get("generation").and_then(Value::as_str).unwrap_or_default().to_owned();
        expect(!said.is_empty(), || format!("cnsd names no generation: {listed}"))
    }

    /// The same certificate through OpenSC and through `cnsd`, and the holder's name from both.
    fn lists(&self) -> Result<()> {
        let dump = run_tool("pkcs15-tool", &["--reader", CITIZEN_READER, "--list-certificates"])?;
        expect(dump.contains("X.509 Certificate"), || format!("OpenSC lists no certificate:\n{dump}"))?;
        let id =
            dump.lines().find_map(|line| line.trim().strip_prefix("ID")?.split(':').nth(1).map(str::trim));
        let id = id.ok_or_else(|| Error::Wrong(format!("OpenSC's certificate has no ID:\n{dump}")))?;
        let read = ["--reader", CITIZEN_READER, "--read-certificate", id, "--output"];
        let (pem, der) = (self.path("opensc.pem"), self.path("opensc.der"));
        output_of(Command::new("pkcs15-tool").args(read).arg(&pem))?;
        output_of(
            Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(&pem).arg("-out").arg(&der),
        )?;
        let module = self.stage.module();
        let ids = output_of(&mut self.module_tool(&module, &["--list-objects", "--type", "cert"]))?;
        let ids = peers::certificate_ids(&ids);
        let id = ids.first().ok_or_else(|| Error::Wrong("cnsd lists no certificate".into()))?;
        let ours = self.path("cnsd.der");
        let read = ["--read-object", "--type", "cert", "--id", id, "--output-file"];
        output_of(self.module_tool(&module, &read).arg(&ours))?;
        let same = std::fs::read(&der).ok() == std::fs::read(&ours).ok();
        expect(same, || "OpenSC and cnsd read different certificates".into())?;
        let label = format!("{} {}", CITIZEN.name, CITIZEN.surname);
        let slots = output_of(&mut self.module_tool(Path::new(OPENSC), &["--list-token-slots"]))?;
        expect(slots.contains(&label), || format!("OpenSC labels no token {label}:\n{slots}"))
    }

    /// No certificate through OpenSC, where `cnsd` has one.
    fn finds_nothing(&self) -> Result<()> {
        let listing = self.module_tool(Path::new(OPENSC), &["--list-objects"]).output();
        let listing = String::from_utf8_lossy(&listing.during("running pkcs11-tool")?.stdout).into_owned();
        expect(peers::certificate_ids(&listing).is_empty(), || {
            format!("OpenSC lists a certificate after all: say so in the documents\n{listing}")
        })?;
        let ours =
            output_of(&mut self.module_tool(&self.stage.module(), &["--list-objects", "--type", "cert"]))?;
        expect(!peers::certificate_ids(&ours).is_empty(), || format!("cnsd lists no certificate:\n{ours}"))
    }

    fn opensc_signs(&self) -> Result<()> {
        let (opensc, name) = (Path::new(OPENSC), format!("{}-opensc", self.generation));
        peers::sign(self.stage, opensc, "01", &["--slot", "0"], &[&self.card.pin], &name)?;
        peers::verify(self.stage, opensc, "01", &["--slot", "0"], &name)
    }

    fn signs(&self) -> Result<()> {
        self.opensc_signs()?;
        let module = self.stage.module();
        let ids = peers::certificate_ids(&output_of(&mut self.module_tool(&module, &["--list-objects"]))?);
        let id = ids.first().ok_or_else(|| Error::Wrong("cnsd lists no certificate".into()))?;
        let name = format!("{}-cnsd", self.generation);
        peers::sign(self.stage, &module, id, &[], &[&self.card.pin], &name)?;
        peers::verify(self.stage, &module, id, &[], &name)
    }

    fn counts_wrong_pins(&self) -> Result<()> {
        let wrong = wrong_pin(&self.card.pin)?;
        terminal::run_refused(&pin_tool(&["--verify-pin"]), &[&wrong])?;
        terminal::run_refused(&pin_tool(&["--verify-pin"]), &[&wrong])?;
        // The third try is the right PIN: had OpenSC not counted, or the card not, the next test would not block.
        terminal::run(&pin_tool(&["--verify-pin"]), &[&self.card.pin]).map(drop)
    }

    fn changes_pin(&mut self) -> Result<()> {
        let new = office::random_digits(8)?;
        terminal::run(&pin_tool(&["--change-pin"]), &[&self.card.pin, &new, &new])?;
        terminal::run_refused(&pin_tool(&["--verify-pin"]), &[&self.card.pin])?;
        terminal::run(&pin_tool(&["--verify-pin"]), &[&new])?;
        self.card.pin = new;
        Ok(())
    }

    fn blocks_and_unblocks(&mut self) -> Result<()> {
        let wrong = wrong_pin(&self.card.pin)?;
        for _ in 0..3 {
            terminal::run_refused(&pin_tool(&["--verify-pin"]), &[&wrong])?;
        }
        // Blocked: the right one is refused too.
        terminal::run_refused(&pin_tool(&["--verify-pin"]), &[&self.card.pin])?;
        let new = office::random_digits(6)?;
        terminal::run(&pin_tool(&["--unblock-pin"]), &[&self.card.puk, &new, &new])?;
        terminal::run(&pin_tool(&["--verify-pin"]), &[&new])?;
        self.card.pin = new;
        Ok(())
    }

    fn card_of_cnsd(&self) -> Result<Value> {
        let cards = office::ctl(self.stage, &["card", "list"])?;
        let entries =
            cards.get("cards").or(Some(&cards)).and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = entries
            .into_iter()
            .find(|card| card.get("reader").and_then(Value::as_str) == Some(CITIZEN_READER));
        ours.ok_or_else(|| Error::Wrong(format!("cnsd lists no card in the reader: {cards}")))
    }

    fn module_tool(&self, module: &Path, arguments: &[&str]) -> Command {
        peers::pkcs11_tool(self.stage, module, arguments)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.stage.path(&format!("{}-{name}", self.generation))
    }
}

/// OpenSC's tool for PINs, on the CNS PIN.
fn pin_tool(arguments: &[&str]) -> Command {
    let mut command = Command::new("pkcs15-tool");
    command.args(["--reader", CITIZEN_READER, "--auth-id", "01"]).args(arguments);
    command
}
