//! `cargo xtask demo`: one card, the whole way: made, activated (§9.3.2), given its signature certificate (§9.1.3, §7),
//! used by programs that nobody here wrote, and the audit log of it all.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cns_secret::Secret;
use serde_json::Value;

use crate::error::{During, Error};
use crate::office::{self, Authority, OPERATOR, OperatorCard, Readers, Traffic};
use crate::report::{self, Section, checked, fact, line, seconds};
use crate::stage::{self, Stage, output_of};
use crate::{Result, cargo, packages, peers, terminal};

/// Envelopes in the printer's batch.
const ENVELOPES: u8 = 10;

/// Runs the demo.
pub(crate) fn run(no_install: bool, keep: bool, programs: Option<PathBuf>) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::DEMO], no_install)?;
    let programs = match programs {
        Some(programs) => programs,
        None => {
            line("Building the programs (a first build takes some minutes)…");
            cargo::build_release()?
        }
    };
    on(&programs, keep)
}

/// Runs the demo with programs that are built already.
pub(crate) fn on(programs: &Path, keep: bool) -> Result<()> {
    let began = Instant::now();
    let mut demo = Demo::set_up(programs)?;
    let code = demo.fill_custody()?;
    demo.activate(&code)?;
    demo.add_signature_certificate()?;
    let pin = office::open_envelope(&demo.stage, &code)?;
    demo.use_card(&pin)?;
    demo.show_audit()?;
    demo.figures()?;
    if keep {
        return demo.keep(&code);
    }
    demo.stage.finish()?;
    line(&format!("\nDone in {}. Everything is stopped and removed.", seconds(began.elapsed())));
    Ok(())
}

struct Demo {
    stage: Stage,
    authority: Authority,
    operator: OperatorCard,
    readers: Readers,
    daemon: u32,
    figures: Vec<(&'static str, String)>,
    shown: HashSet<(String, String)>,
}

impl Demo {
    fn set_up(programs: &Path) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        let section = Section::begin("1.", "The certifier, and the card as the manufacturer delivers it");
        let authority = office::start_authority(&mut stage)?;
        checked(&format!("cns-authority issues certificates over CMP at http://{}", authority.address));
        let operator = office::make_operator_card(&stage, &authority, 6)?;
        checked("The operator has a card of their own, active already");
        let readers = Readers {
            configured: ["citizen", "operator"].map(|who| own_reader(&stage, who)).to_vec(),
            citizen: own_reader(&stage, "citizen"),
            operator: own_reader(&stage, "operator"),
        };
        office::configure(&stage, &authority, &operator, &readers, "info")?;
        let daemon = office::start_daemon(&mut stage)?;
        office::fetch_import_certificate(&stage)?;
        checked("cnsd is up; its custody has a certificate to which deliveries are encrypted");
        office::make_citizen_card(&stage, &authority)?;
        checked(
            "The citizen's card is made: holder's data, login key made on the card, certificate by `openssl cmp`",
        );
        fact(
            "Its factory PIN is random and written nowhere; its PUK left the chip only as a sealed file for custody.",
        );
        section.end("");
        Ok(Self { stage, authority, operator, readers, daemon, figures: Vec::new(), shown: HashSet::new() })
    }

    /// Imports the deliveries and plugs the cards in; the code of the envelope that the operator will take.
    fn fill_custody(&mut self) -> Result<String> {
        let section = Section::begin("2.", "Custody, and the cards in their readers");
        let codes = office::fill_custody(&self.stage, ENVELOPES)?;
        checked(&format!(
            "Taken into custody, sealed: 1 PUK and {} blind envelopes, assigned to {OPERATOR}",
            codes.len()
        ));
        for who in ["operator", "citizen"] {
            let socket = self.stage.path(&format!("{who}.vpcd"));
            office::plug(&mut self.stage, who, &socket)?;
        }
        let first = Traffic::now(&self.stage, &self.readers.citizen)?;
        checked(&format!("The citizen's card is recognised and its public contents are read: {first}"));
        self.figures.push(("First listing", first.to_string()));
        office::ctl(&self.stage, &["card", "list"])?;
        let again = Traffic::since(&self.stage, &self.readers.citizen, first)?;
        if again.commands != 0 {
            return Err(Error::Wrong(format!("a second listing read the card again: {again}")));
        }
        checked("A second program's listing costs the chip nothing: 0 APDUs");
        self.figures.push(("Second process's listing", again.to_string()));
        section.end("");
        // "Any one of the envelopes": not the first, to show that the order is free (§9.3.2-6).
        codes
            .get(usize::from(ENVELOPES / 2))
            .cloned()
            .ok_or_else(|| Error::Wrong("no envelope was printed".into()))
    }

    fn activate(&mut self, code: &str) -> Result<()> {
        let section = Section::begin("3.", "Activation at the counter (§9.3.2)");
        let session = office::operator_login(&self.stage, &self.readers, &self.operator)?;
        checked(&format!("§9.3.2-2  {} logged in with their own card", text(&session, "/name")));
        let card = office::ctl(&self.stage, &["card", "show", "--reader", &self.readers.citizen])?;
        fact("For the identity check (§9.3.2-5) the operator sees:");
        fact(&format!(
            "  {} {}, {}",
            text(&card, "/holder/name"),
            text(&card, "/holder/surname"),
            text(&card, "/holder/codice_fiscale")
        ));
        fact(&format!("  {}", text(&card, "/certificates/0/subject")));
        let before = Traffic::now(&self.stage, &self.readers.citizen)?;
        let mut activate = self.counter("activate");
        activate.args(["--confirm", "--document", "identity-card", "--document-number", "CA00000AA"]);
        activate.args(["--document-issuer", "Comune di Cagliari", "--document-expires", "2031-12-31"]);
        activate.args(["--identity", "match", "--envelope", code, "--until", "§9.3.2-8"]);
        self.show_steps(&mut activate, &["§9.3.2-7"])?;
        let traffic = Traffic::since(&self.stage, &self.readers.citizen, before)?;
        self.figures.push(("The activation (PIN set)", traffic.to_string()));
        section.end(&traffic.to_string());
        Ok(())
    }

    fn add_signature_certificate(&mut self) -> Result<()> {
        let section = Section::begin("4.", "The signature certificate (§9.3.2-8, §9.1.3, §7)");
        let before = Traffic::now(&self.stage, &self.readers.citizen)?;
        let mut signature = self.counter("signature");
        signature.args(["--confirm", "--reader-request", "no"]);
        self.show_steps(&mut signature, &["§9.1.3", "§9.3.2-11"])?;
        let card = office::ctl(&self.stage, &["card", "show", "--reader", &self.readers.citizen])?;
        let uses: Vec<_> =
            ["/certificates/0/key_use", "/certificates/1/key_use"].map(|at| text(&card, at)).to_vec();
        if uses != ["authentication", "signature"] {
            return Err(Error::Wrong(format!("the card should carry two certificates, it has {uses:?}")));
        }
        checked(&format!("On the card now: {}", text(&card, "/certificates/1/subject")));
        let traffic = Traffic::since(&self.stage, &self.readers.citizen, before)?;
        self.figures.push(("Signature area, key, certificate", traffic.to_string()));
        section.end(&traffic.to_string());
        Ok(())
    }

    fn use_card(&mut self, pin: &Secret) -> Result<()> {
        let section =
            Section::begin("5.", "The holder opens the envelope and uses the card, through libcns_pkcs11.so");
        let module = self.stage.module();
        let listing = output_of(&mut peers::pkcs11_tool(&self.stage, &module, &["--list-objects"]))?;
        let ids = peers::certificate_ids(&listing);
        let [login, signature] = ids.as_slice() else {
            return Err(Error::Wrong(format!("pkcs11-tool should list two certificates:\n{listing}")));
        };
        checked("pkcs11-tool lists two certificates");
        for (id, name, what) in [(login, "login", "login"), (signature, "signature", "signature")] {
            let before = Traffic::now(&self.stage, &self.readers.citizen)?;
            peers::sign(&self.stage, &module, id, &[], &[pin, pin], name)?;
            peers::verify(&self.stage, &module, id, &[], name)?;
            let traffic = Traffic::since(&self.stage, &self.readers.citizen, before)?;
            checked(&format!("pkcs11-tool signs with the {what} key ({traffic}), openssl verifies"));
            if name == "login" {
                self.figures.push(("Login and one signature", traffic.to_string()));
            }
        }
        let before = Traffic::now(&self.stage, &self.readers.citizen)?;
        let answer = peers::tls_login(&mut self.stage, &self.authority.certificate, pin)?;
        let seen = |needle: &str| {
            answer.lines().find(|line| line.contains(needle)).map(|line| line.trim().to_owned())
        };
        let protocol = seen("TLSv1.3").ok_or_else(|| Error::Wrong(format!("no TLS 1.3 in:\n{answer}")))?;
        let client = answer.contains(office::CITIZEN.codice_fiscale) && answer.contains("200 ok");
        if !client {
            return Err(Error::Wrong(format!("the TLS server did not accept the login:\n{answer}")));
        }
        let traffic = Traffic::since(&self.stage, &self.readers.citizen, before)?;
        checked(&format!(
            "openssl s_server accepts the TLS 1.3 login, signed by RSA-PSS ({traffic}): {protocol}"
        ));
        section.end("");
        Ok(())
    }

    fn show_audit(&self) -> Result<()> {
        let section = Section::begin("6.", "The audit log");
        fact(&output_of(self.stage.program("cnsctl").args(["audit", "show"]))?);
        let verified = output_of(self.stage.program("cnsctl").args(["audit", "verify"]))?;
        let mut offline = Command::new(self.stage.program("cnsctl").get_program());
        offline.args(["audit", "verify", "--file"]).arg(self.stage.path("state/audit.jsonl"));
        output_of(offline.arg("--public-key").arg(self.stage.path("state/audit.pub")))?;
        checked("The chain and its signatures hold, by the daemon and by the file alone");
        fact(&verified);
        self.export_audit()?;
        section.end("");
        Ok(())
    }

    /// What a SIEM takes: all entries, and after a rotation the new ones alone.
    fn export_audit(&self) -> Result<()> {
        let (events, reached) = (self.stage.path("audit.cef"), self.stage.path("audit.reached"));
        let export = || -> Result<usize> {
            let mut command = self.stage.program("cnsctl");
            command.args(["audit", "export", "--format", "cef", "--state"]).arg(&reached);
            output_of(command.arg("--output").arg(&events))?;
            Ok(std::fs::read_to_string(&events).during("reading the export")?.lines().count())
        };
        let (first, again) = (export()?, export()?);
        output_of(self.stage.program("cnsctl").args(["audit", "rotate"]))?;
        let verified = output_of(self.stage.program("cnsctl").args(["--json", "audit", "verify"]))?;
        let verified: Value = serde_json::from_str(&verified).unwrap_or_default();
        let all = export()?;
        let entries = verified.get("entries").and_then(Value::as_u64).unwrap_or_default();
        if first == 0 || again != first || all <= first || entries != all as u64 {
            let counts = format!("{first}, {again} and {all} events of {entries}");
            return Err(Error::Wrong(format!("the export of the audit log is not complete: {counts}")));
        }
        checked(&format!("Exported as CEF: {first} events, and after the log went on in a new file {all}"));
        Ok(())
    }

    fn figures(&mut self) -> Result<()> {
        line("\nFigures");
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.daemon)).during("reading /proc")?;
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("unknown").trim();
        self.figures.push(("Resident memory of cnsd", resident.to_owned()));
        let size = std::fs::metadata(self.stage.module()).during("measuring the module")?.len();
        self.figures.push(("Size of libcns_pkcs11.so", format!("{} kB", size.div_ceil(1024))));
        for (name, value) in &self.figures {
            fact(&format!("{name:<34} {value}"));
        }
        Ok(())
    }

    /// `cnsctl counter …` on the citizen's card, with its steps as lines of JSON.
    fn counter(&self, verb: &str) -> Command {
        let mut command = self.stage.program("cnsctl");
        command.args(["--json", "counter", verb, "--reader", &self.readers.citizen]);
        command
    }

    /// Runs a counter command, prints each step and the progress of the slow ones as it comes, and checks that the
    /// steps of these paragraphs are among them.
    fn show_steps(&mut self, command: &mut Command, expected: &[&str]) -> Result<()> {
        let (shown, mut done, mut doing) = (&mut self.shown, Vec::new(), String::new());
        stage::each_line(command, |line| {
            let event = office::parse(line)?;
            if let Some(progress) = event.get("progress") {
                let message = text(progress, "/message");
                if message != doing {
                    report::progress(&message);
                }
                doing = message;
            } else if let Some(step) = event.get("step") {
                let paragraph = text(step, "/paragraph");
                // A procedure that is taken up again tells its earlier steps too.
                if !shown.insert((paragraph.clone(), text(step, "/at"))) {
                    return Ok(());
                }
                checked(&format!("{paragraph:<10} {}{}", text(step, "/outcome"), work(step)));
                done.push(paragraph);
            }
            Ok(())
        })?;
        match expected.iter().find(|paragraph| !done.iter().any(|d| d == *paragraph)) {
            Some(missing) => {
                Err(Error::Wrong(format!("step {missing} was not done by {}", terminal::describe(command))))
            }
            None => Ok(()),
        }
    }

    fn keep(self, code: &str) -> Result<()> {
        let letter = self.stage.path("letters").join(format!("{code}.txt"));
        let module = self.stage.module();
        let cnsctl = self.stage.program("cnsctl").get_program().to_string_lossy().into_owned();
        let (folder, ids) = self.stage.leave();
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        line("\nThe daemon, the certifier and the cards go on running. To play with them:");
        fact(&format!("export CNSD_SOCKET={}", folder.join("cnsd.sock").display()));
        fact(&format!("{cnsctl} card show --reader {}", self.readers.citizen));
        fact(&format!("cat {}     # the letter in the opened envelope", letter.display()));
        fact(&format!("pkcs11-tool --module {} --login --test", module.display()));
        line("To end it all:");
        fact(&format!("kill {} && rm -r {}", ids.join(" "), folder.display()));
        Ok(())
    }
}

/// What a step cost, where it touched the chip.
fn work(step: &Value) -> String {
    let number = |pointer| step.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    match number("/traffic/commands") {
        0 => String::new(),
        commands => format!(" ({commands} APDUs, {} ms)", number("/milliseconds")),
    }
}

fn own_reader(stage: &Stage, who: &str) -> String {
    format!("vpcd:{}", stage.path(&format!("{who}.vpcd")).display())
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
