//! Firefox and Chromium, logging in to nginx with the card, after `cnsctl module register` and nothing else. The PIN is
//! typed where the browser asks for it, and how often it asks is counted.

mod chromium;
mod doctor;
mod firefox;
mod marionette;
mod others;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CITIZEN_READER, expect, nginx, start_pcscd};
use crate::Result;
use crate::error::{During, Error};
use crate::office::{self, CITIZEN, OwnCard};
use crate::report;
use crate::stage::{Stage, output_of};
use crate::test::Tally;

/// A card whose only key is the login's, and one whose signature key has a PIN of its own.
const ONE_PIN: &str = "ace2025";
const TWO_PINS: &str = "st2021";

/// For whom the module is registered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// For this user.
    Own,
    /// For all users.
    System,
}

impl Whose {
    fn option(self) -> &'static str {
        match self {
            Whose::Own => "--user",
            Whose::System => "--system",
        }
    }
}

/// A stage with a reader, the daemon and a home for browsers.
struct Desk {
    stage: Stage,
    etc: PrivateEtc,
}

pub(super) fn run(programs: &Path, tally: &mut Tally) -> Result<()> {
    let mut desk = Desk::set_up(programs)?;
    tally.run("Browsers log in with a card with one PIN", || {
        let card = desk.plug(ONE_PIN)?;
        firefox::logs_in(&mut desk, &card, Whose::Own)?;
        chromium::logs_in(&mut desk, &card)
    });
    desk.stage.stop("nginx")?;
    desk.pull(ONE_PIN)?;
    match desk.plug(TWO_PINS) {
        Ok(card) => two_pins(&mut desk, &card, tally),
        Err(error) => tally.run("A card with two PINs is put in", || Err(error)),
    }
    desk.etc.leave()?;
    desk.stage.finish()
}

fn two_pins(desk: &mut Desk, card: &OwnCard, tally: &mut Tally) {
    tally.run("Firefox, registered in its profile, logs in with a card with two PINs and asks once", || {
        firefox::logs_in(desk, card, Whose::Own)
    });
    tally.run("Firefox, registered by the computer's policy, does the same", || {
        firefox::logs_in(desk, card, Whose::System)
    });
    tally.run("Firefox follows the card as it is put in, taken out and put in again", || {
        firefox::follows_the_card(desk, card, TWO_PINS)
    });
    tally.run("Chromium logs in with a card with two PINs and asks once", || chromium::logs_in(desk, card));
    tally.run("p11-kit, Java and OpenSSL take what is registered as it is", || {
        others::take(desk, card, TWO_PINS)
    });
    tally
        .run("The doctor finds nothing wrong but OpenSC beside us, and misses pcscd", || doctor::looks(desk));
}

impl Desk {
    fn set_up(programs: &Path) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        let etc = PrivateEtc::enter(&stage)?;
        std::fs::create_dir(stage.path("home")).during("making a home")?;
        office::configure_plain(&stage)?;
        start_pcscd(&mut stage, &[])?;
        office::start_daemon(&mut stage)?;
        Ok(Self { stage, etc })
    }

    /// Makes the card, puts it into the reader, and starts a server that lets it in.
    fn plug(&mut self, generation: &str) -> Result<OwnCard> {
        let generations = office::generations(&self.stage)?;
        let generation = generations.iter().find(|known| known.name == generation);
        let generation =
            generation.ok_or_else(|| Error::Wrong("cns-card no longer makes this card".into()))?;
        let card = office::make_own_card(&self.stage, generation)?;
        let name = &generation.name;
        self.insert(name)?;
        let authority = self.stage.path(&format!("{name}-ca.pem"));
        nginx::start(&mut self.stage, &authority)?;
        Ok(card)
    }

    fn insert(&mut self, name: &str) -> Result<()> {
        let mut plug = self.stage.program("cns-card");
        plug.arg("vpcd").arg(self.stage.path(&format!("{name}-card")));
        self.stage.start(name, plug.args(["--host", "127.0.0.1", "--port", "35963"]))?;
        office::wait_for_card(&mut self.stage, CITIZEN_READER)
    }

    fn pull(&mut self, name: &str) -> Result<()> {
        self.stage.stop(name)?;
        office::wait_for_removal(&mut self.stage, CITIZEN_READER)
    }

    /// A program in the browsers' home.
    fn at_home(&self, mut command: Command) -> Command {
        command.env("HOME", self.stage.path("home"));
        for name in
            ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "WAYLAND_DISPLAY"]
        {
            command.env_remove(name);
        }
        command
    }

    /// `cnsctl module VERB PROGRAM`.
    fn module(&self, verb: &str, program: &str, whose: Whose) -> Result<String> {
        let programs = Some(program).filter(|program| !program.is_empty());
        let mut ctl = self.at_home(self.stage.program("cnsctl"));
        output_of(ctl.args(["module", verb]).args(programs).arg(whose.option()))
    }
}

/// What a browser showed and asked.
struct Visits {
    /// What it said when it asked for the PIN.
    asked: Vec<String>,
    /// The pages, as text.
    pages: Vec<String>,
}

impl Visits {
    /// Two visits with the holder's codice fiscale, for one PIN.
    fn judge(&self) -> Result<()> {
        let shows = |page: &String| page.contains(CITIZEN.codice_fiscale);
        expect(self.pages.len() == 2 && self.pages.iter().all(shows), || {
            format!("the pages do not show the holder's codice fiscale: {:?}", self.pages)
        })?;
        expect(self.asked.len() == 1, || {
            format!("it asked for the PIN {} times: {:?}", self.asked.len(), self.asked)
        })?;
        report::fact(&format!("{:?}; asked: {:?}", self.pages, self.asked));
        Ok(())
    }
}

/// A copy of `/etc` in the place of `/etc`, in this mount namespace only: policies of browsers are read there, and
/// nothing of this computer is to be changed.
struct PrivateEtc;

impl PrivateEtc {
    fn enter(stage: &Stage) -> Result<Self> {
        let copy: PathBuf = stage.path("etc");
        output_of(Command::new("cp").args(["-a", "/etc"]).arg(&copy))?;
        output_of(Command::new("mount").arg("--bind").arg(&copy).arg("/etc"))?;
        Ok(Self)
    }

    fn leave(&self) -> Result<()> {
        output_of(Command::new("umount").args(["--lazy", "/etc"])).map(drop)
    }
}
