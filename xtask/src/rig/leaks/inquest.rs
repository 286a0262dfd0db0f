//! The hunt itself: a counter with everything that uses a secret, traced and tapped, and the search of all that it left.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cns_secret::Secret;

use super::cases::{self, Desk, MINOR, Progress};
use super::dump::{self, By};
use super::national::{self, Parts, Region};
use super::tap::{SecretFields, Tap};
use super::writes::{self, Written};
use super::{Hunt, canary, on_card};
use crate::Result;
use crate::error::{During, Error};
use crate::office::{self, CITIZEN, OperatorCard, Readers};
use crate::report;
use crate::rig::{CITIZEN_READER, OPERATOR_READER, expect, plug_card, start_pcscd};
use crate::stage::{Stage, output_of};
use crate::test::Tally;

/// When memory is searched after something was done: what is still at work ends, what is forgotten too late does not.
const AFTER: Duration = Duration::from_secs(1);

/// What keeps and runs the cards' own secrets, and is no part of the daemon.
const CARDS: [&str; 2] = ["citizen-card", "minor-card"];

/// Does everything that uses a secret, and hunts for them all. `thorough` searches memory after each thing that was done,
/// not after a few.
pub(in crate::rig) fn run(programs: &Path, tally: &mut Tally, thorough: bool) -> Result<()> {
    let mut scene = Scene::set_up(programs, thorough)?;
    tally.run("Each secret in each form is caught wherever a program leaks it on purpose", || scene.canary());
    tally.run("Every case of the manual leaves no secret in the daemon's memory", || scene.cases());
    tally.run("No secret is in the log, the files or the socket's traffic", || scene.traces());
    tally.run("No secret is in a dump of the daemon's memory, which only root can force", || scene.dumps());
    tally.run("No secret is in what the daemon writes, but to the reader", || scene.writes());
    tally.run("The two parts of a PUK go each where it belongs, and another region hears no secret", || {
        scene.parts()
    });
    scene.stage.finish()
}

struct Scene {
    stage: Stage,
    operator: OperatorCard,
    readers: Readers,
    tap: Tap,
    daemon: u32,
    /// What `strace` takes down.
    record: PathBuf,
    /// Every secret that there is, by its name.
    secrets: Vec<(String, Secret)>,
    progress: Progress,
    /// Another region's system.
    region: Region,
    /// The parts of PUKs that were given out to it.
    parts: Vec<Parts>,
    thorough: bool,
}

impl Scene {
    fn set_up(programs: &Path, thorough: bool) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        let authority = office::start_authority(&mut stage)?;
        // Eight digits: fewer would be found by chance.
        let operator = office::make_operator_card(&stage, &authority, 8)?;
        let readers = Readers {
            configured: vec!["pcsc".into()],
            citizen: CITIZEN_READER.into(),
            operator: OPERATOR_READER.into(),
        };
        office::configure(&stage, &authority, &operator, &readers, "trace")?;
        let user = rustix::process::geteuid().as_raw();
        let region = Region::open()?;
        let more = format!(
            "{}{}\n[counter]\nrenewal = true\n\n[puk_delivery]\ntrust_anchors = {:?}\n\n[[access]]\nrole = \"web\"\nusers = [\"{user}\"]\n",
            cases::cms_system(&stage)?,
            region.configuration(&stage)?,
            authority.certificate,
        );
        office::configure_more(&stage, &more)?;
        start_pcscd(&mut stage, &[])?;
        let record = stage.path("strace");
        let mut daemon = office::daemon(&stage);
        // What an allocator reserves and does not use would be most of a dump.
        daemon.env("MALLOC_ARENA_MAX", "2");
        let mut traced = writes::started(&record, &daemon);
        let daemon = office::start_daemon_as(&mut stage, &mut traced)?;
        let tap = Tap::start(stage.path("tap.sock"), stage.path("cnsd.sock"))?;
        stage.redirect(stage.path("tap.sock"));
        office::fetch_import_certificate(&stage)?;
        office::make_citizen_card(&stage, &authority)?;
        office::make_delivered_card(&stage, &authority, "minor", &MINOR)?;
        let codes = office::fill_custody(&stage, cases::ENVELOPES)?;
        output_of(stage.program("cnsctl").args(["custody", "import"]).arg(stage.path("minor-puk.cms")))?;
        plug_card(&mut stage, "citizen", CITIZEN_READER)?;
        plug_card(&mut stage, "operator", OPERATOR_READER)?;
        let chosen = (0..cases::CHOSEN).map(|_| office::random_digits(8)).collect::<Result<Vec<_>>>()?;
        let mut secrets = vec![("operator's PIN".to_owned(), operator.pin.duplicate()?)];
        for (number, code) in codes.iter().enumerate() {
            secrets.push((format!("PIN of envelope {number}"), office::open_envelope(&stage, code)?));
            secrets.push((format!("user code of envelope {number}"), office::user_code(&stage, code)?));
        }
        let mut parts = Vec::new();
        for (who, holder) in [("citizen", &CITIZEN), ("minor", &MINOR)] {
            let puk = cases::puk_of(&stage, who)?;
            let two = national::receive(&mut stage, holder, &puk)?;
            secrets.push((format!("second part of the {who}'s PUK"), two.second.duplicate()?));
            parts.push(two);
        }
        for pin in &chosen {
            secrets.push(("PIN that a holder chose".to_owned(), pin.duplicate()?));
        }
        let progress = Progress::new(codes, chosen);
        Ok(Self { stage, operator, readers, tap, daemon, record, secrets, progress, region, parts, thorough })
    }

    /// All that is known by now, with what came upon the cards meanwhile.
    fn hunt(&mut self) -> Result<Hunt> {
        for card in CARDS {
            for (name, secret) in on_card(&self.stage.path(card))? {
                if !self.secrets.iter().any(|(_, known)| known.ct_eq(&secret)) {
                    self.secrets.push((name, secret));
                }
            }
        }
        Hunt::of(&self.secrets)
    }

    fn canary(&mut self) -> Result<()> {
        let hunt = self.hunt()?;
        let (caught, places) = canary::expect_caught(&hunt, &self.stage)?;
        report::fact(&format!(
            "{} secrets in {} forms; {caught} leaks of {caught} caught: in {}",
            self.secrets.len(),
            hunt.needles.len(),
            places.join(", ")
        ));
        Ok(())
    }

    fn cases(&mut self) -> Result<()> {
        let hunt = self.hunt()?;
        office::operator_login(&self.stage, &self.readers, &self.operator)?;
        let (daemon, thorough) = (self.daemon, self.thorough);
        let (times, bytes) = (Cell::new(0), Cell::new(0));
        let search = |what: &str| {
            std::thread::sleep(AFTER);
            let searched = dump::memory(&hunt, daemon, CITIZEN.id_card)?;
            let searched =
                hunt.expect_clean(&searched).map_err(|e| Error::Wrong(format!("after {what}: {e}")))?;
            times.set(times.get() + 1);
            bytes.set(searched);
            Ok(())
        };
        let after = |what: &str| if thorough { search(what) } else { Ok(()) };
        let mut desk = Desk { stage: &self.stage, at: &mut self.progress, after: &after };
        desk.adult()?;
        desk.own_use()?;
        search("the cases of an adult's card")?;
        change_card(&mut self.stage, "citizen", "minor")?;
        Desk { stage: &self.stage, at: &mut self.progress, after: &after }.minor()?;
        search("the cases of a minor's card")?;
        change_card(&mut self.stage, "minor", "citizen")?;
        let refused = Desk { stage: &self.stage, at: &mut self.progress, after: &after }.others()?;
        search("all cases")?;
        report::fact(&format!("done: {}", self.progress.done.join("; ")));
        if !refused.is_empty() {
            report::fact(&format!("refused by this counter: {}", refused.join(", ")));
        }
        report::fact(&format!("memory searched {} times, {} bytes at last", times.get(), bytes.get()));
        Ok(())
    }

    fn traces(&mut self) -> Result<()> {
        let hunt = self.hunt()?;
        // What the log of the acts holds is answered too.
        office::ctl(&self.stage, &["audit", "verify"])?;
        output_of(self.stage.program("cnsctl").args(["--json", "audit", "show"]))?;
        let crossed = self.tap.crossed(&SecretFields::described()?);
        expect(crossed.frames > 200, || format!("the tap saw only {} frames", crossed.frames))?;
        let meant = hunt.bytes("the fields for secrets", &crossed.entered).found.len();
        expect(meant >= 5, || format!("only {meant} secrets crossed the socket where they may"))?;
        let asked = hunt.expect_clean(&hunt.bytes("a request", &crossed.asked))?;
        let answered = hunt.expect_clean(&hunt.bytes("an answer", &crossed.answered))?;
        let log = self.stage.log("cnsd");
        expect(log.contains("TRACE") || log.contains("DEBUG"), || {
            "the log is not at its loudest level".into()
        })?;
        let log = hunt.expect_clean(&hunt.bytes("the daemon's log", log.as_bytes()))?;
        let (files, state) = hunt.files(&self.stage.path("state"))?;
        let state = hunt.expect_clean(&state)?;
        report::fact(&format!(
            "{} frames: {asked} bytes asked and {answered} answered beside {meant} secrets in their fields; {log} bytes \
             of log; {files} files with {state} bytes",
            crossed.frames
        ));
        Ok(())
    }

    fn dumps(&mut self) -> Result<()> {
        let hunt = self.hunt()?;
        dump::expect_no_dumps(self.daemon)?;
        writes::let_go(self.daemon)?;
        let core = self.stage.path("core");
        expect(!dump::dump(self.daemon, By::OwnUser, &core)?, || "the daemon's own user can dump it".into())?;
        expect(dump::dump(self.daemon, By::Root, &core)?, || "not even root can dump the daemon".into())?;
        let bytes = hunt.expect_clean(&dump::core(&hunt, &core, CITIZEN.id_card)?)?;
        std::fs::remove_file(core).during("removing a core dump")?;
        report::fact(&format!("its own user is refused; root's dump has {bytes} bytes"));
        Ok(())
    }

    fn writes(&mut self) -> Result<()> {
        let hunt = self.hunt()?;
        let written = Written::read(&self.record, &hunt)?;
        let presented = written.presented.found.len();
        expect(presented >= 5, || format!("only {presented} secrets were seen on their way to the card"))?;
        let bytes = hunt.expect_clean(&written.elsewhere)? + hunt.expect_clean(&written.stored)?;
        // What its owner was answered, and nothing else.
        let meant = hunt.bytes("an answer", &self.tap.crossed(&SecretFields::described()?).left).found;
        let mut answered = written.answered;
        answered.found.retain(|needle, _| !meant.contains_key(needle));
        let answered = hunt.expect_clean(&answered)?;
        report::fact(&format!(
            "{} writes: {} to the reader, with {presented} secrets in them; {answered} bytes to clients, with the PUK that \
             its owner opened; {bytes} bytes elsewhere",
            written.calls, written.to_reader
        ));
        Ok(())
    }
}

impl Scene {
    /// The first part is where it is answered, the second in the mail; neither is in the log, nor the one with the other.
    fn parts(&mut self) -> Result<()> {
        let (secrets, first) = (self.hunt()?, Parts::hunt(&self.parts, &self.region.first()?)?);
        let written = Written::read(&self.record, &secrets)?;
        let mailed: Vec<_> = written.mailed.found.keys().map(|needle| secrets.name(*needle)).collect();
        let meant = self.parts.len();
        expect(mailed.len() == meant && mailed.iter().all(|name| name.starts_with("second part")), || {
            format!("the mail has {}", mailed.join(", "))
        })?;
        let places = Written::read(&self.record, &first)?;
        first.expect_clean(&places.mailed)?;
        let answered = first.bytes("an answer", &self.tap.crossed(&SecretFields::described()?).answered);
        expect(answered.found.len() >= meant, || "no first part was answered".into())?;
        first.expect_clean(&first.bytes("the daemon's log", self.stage.log("cnsd").as_bytes()))?;
        let posted = self.region.posted();
        expect(!posted.is_empty(), || "another region heard nothing".into())?;
        for hunt in [&secrets, &first] {
            hunt.expect_clean(&hunt.bytes("a request to another region", &posted))?;
        }
        report::fact(&format!(
            "{meant} PUKs in two parts: {} first parts answered, {} bytes of mail with the second parts alone; {} bytes posted",
            answered.found.len(),
            written.mailed.bytes,
            posted.len()
        ));
        Ok(())
    }
}

fn change_card(stage: &mut Stage, from: &str, to: &str) -> Result<()> {
    stage.stop(from)?;
    office::wait_for_removal(stage, CITIZEN_READER)?;
    plug_card(stage, to, CITIZEN_READER)
}
