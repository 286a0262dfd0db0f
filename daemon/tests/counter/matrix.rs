//! Nothing lost: at every step of every case something goes wrong, and afterwards the procedure goes on to its end or is
//! cancelled, with card, envelope and record agreeing. `kill.rs` and `soak.rs` have the same for SIGKILL.
//!
//! The troubles are real ones: the card leaves the reader, the chip answers 6F00, the database refuses the n-th write
//! and all after it, the file system is full (a tmpfs in a mount namespace of its own), and the power fails between the
//! card's work and its record: the state folder is put back to what the disk held at that moment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, iter};

use cns_protocol::counter::{Answer, Applicant, Case, Procedure, ProcedureState, Step, Wants};
use cns_virtual_card::fault::{Fault, Trigger};
use cnsd::card::CardError;
use cnsd::procedure::ProcedureError;
use rsa::RsaPrivateKey;

use crate::database;
use crate::rig::{Rig, usual_answer};

/// RESET RETRY COUNTER.
const RESET: u8 = 0x2C;
/// Set in the process whose state lies on a small file system: where that is.
const SMALL: &str = "CNSD_TEST_SMALL_STATE";
/// Long enough for a folder to be copied meanwhile.
const SLOW: Duration = Duration::from_millis(400);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Pulled,
    Chip6F00,
    Database,
    PowerCut,
    DiskFull,
}

/// A case for somebody, on the card that the rig holds.
#[derive(Clone, Copy, Debug)]
struct Course {
    case: Case,
    applicant: Applicant,
    signature: bool,
}

const fn path(case: Case, applicant: Applicant) -> Course {
    Course { case, applicant, signature: false }
}

/// The cases for the adult's card and for the minor's.
const ADULT: [Course; 7] = [
    path(Case::Standard, Applicant::Holder),
    path(Case::Ward, Applicant::Guardian),
    path(Case::Delegation, Applicant::Delegate),
    path(Case::NewCodes, Applicant::Holder),
    path(Case::NewCodes, Applicant::Guardian),
    path(Case::NewCodes, Applicant::Delegate),
    Course { case: Case::Standard, applicant: Applicant::Holder, signature: true },
];
const MINOR: [Course; 4] = [
    path(Case::Minor, Applicant::Parent),
    path(Case::EmancipatedMinor, Applicant::EmancipatedMinor),
    path(Case::NewCodes, Applicant::Parent),
    path(Case::NewCodes, Applicant::EmancipatedMinor),
];

/// What was tried and what came of it.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    settled: usize,
    /// Of them those in which the trouble was felt.
    felt: usize,
}

impl Tally {
    fn count(&mut self, felt: bool) {
        self.cases += 1;
        self.felt += usize::from(felt);
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} cases, {} settled; the trouble was felt in {}",
            self.cases, self.settled, self.felt
        );
        assert_eq!(self.cases, self.settled);
    }
}

/// The walk of one procedure.
struct Walk<'r> {
    rig: &'r mut Rig,
    path: Course,
    /// Which of the courses it is.
    number: usize,
    code: String,
    /// Commands of the signature work when all is well.
    signature_commands: u64,
}

impl Walk<'_> {
    fn right(&self, step: &Step) -> Answer {
        match step.wants {
            Wants::Applicant => Answer::Applicant(self.path.applicant),
            Wants::Document
            | Wants::Verdict
            | Wants::EnvelopeCode
            | Wants::Choice
            | Wants::Confirmation
            | Wants::Work
            | Wants::Pin
            | Wants::Representative
            | Wants::HolderCopy
            | Wants::Evidence
            | Wants::Reason
            | Wants::NationalRequest => usual_answer(step, &self.code, self.path.signature),
        }
    }

    async fn answer(&self, procedure: &Procedure, step: &Step) -> Result<Procedure, ProcedureError> {
        self.rig.answer_with(procedure, &step.paragraph, self.right(step), None).await
    }

    /// The operator answers the step until it is done: once more where the daemon first tells what it cannot know.
    async fn insist(&self, procedure: &Procedure, step: &Step) -> Procedure {
        let mut last = None;
        for _ in 0..3 {
            let now = self.rig.show(procedure).await;
            // Settled meanwhile, or done before the answer was lost.
            if now.next.as_ref().map(|next| &next.paragraph) != Some(&step.paragraph) {
                return now;
            }
            match self.answer(procedure, step).await {
                Ok(done) => return done,
                // Reading the card anew had gone wrong: it is taken out and put in again.
                Err(
                    error @ (ProcedureError::CardElsewhere | ProcedureError::Card(CardError::AreaExists)),
                ) => {
                    self.rig.card.pull_out();
                    self.rig.put_in().await;
                    last = Some(error);
                }
                Err(error) => last = Some(error),
            }
        }
        panic!("{:?}, {} is never done: {last:?}", self.path, step.paragraph);
    }

    /// One step with a trouble in it, and on past it. Whether the trouble was felt.
    async fn step(&mut self, procedure: &Procedure, trouble: Trouble) -> (Procedure, bool) {
        let step = procedure.next.clone().unwrap();
        match trouble {
            Trouble::Pulled | Trouble::Chip6F00 => self.card_trouble(procedure, &step, trouble).await,
            Trouble::Database => self.database_trouble(procedure, &step).await,
            Trouble::PowerCut => self.power_cut(procedure, &step).await,
            Trouble::DiskFull => self.full_disk(procedure, &step).await,
        }
    }

    /// At the command that sets the PIN, in the middle of the signature work, or at the first command of all.
    fn trigger(&self, step: &Step) -> Trigger {
        match step.paragraph.as_str() {
            "§9.3.2-7" => Trigger::Instruction { ins: RESET, after: 0 },
            "§9.1.3" => Trigger::After(self.signature_commands / 2),
            _ => Trigger::After(0),
        }
    }

    async fn card_trouble(
        &mut self,
        procedure: &Procedure,
        step: &Step,
        trouble: Trouble,
    ) -> (Procedure, bool) {
        let works = step.wants == Wants::Work;
        if works && !self.rig.card.is_connected() {
            self.rig.put_in().await;
        }
        if works || trouble == Trouble::Chip6F00 {
            let fault = if trouble == Trouble::Pulled { Fault::PullOutAfter } else { Fault::Status(0x6F00) };
            let trigger = self.trigger(step);
            self.rig.card.with_card(|card| card.plan_at(trigger, fault));
        } else if self.rig.card.is_connected() {
            // It stays out for all steps until the card is worked on again.
            self.rig.card.pull_out();
            self.rig.card_is_gone().await;
        }
        let answer = self.answer(procedure, step).await;
        self.rig.card.with_card(|card| card.clear_plan());
        if works && self.rig.card.with_card(|card| card.is_out()) {
            self.rig.put_in().await;
        }
        match answer {
            Ok(done) => (done, false),
            Err(_) => {
                self.rig.rooms().procedures.settle().await.unwrap();
                (self.insist(procedure, step).await, true)
            }
        }
    }

    /// The n-th write of the step and all after it are refused, for every n that there is.
    async fn database_trouble(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        // What fails after the card's work is settled at once, and no later write of the step is come to: each course
        // fails at another one.
        let second = if step.wants == Wants::Work { 2 + self.number % 3 } else { 2 };
        for write in iter::once(1).chain(second..) {
            refuse_writes(self.rig, Some(write)).await;
            let answer = self.answer(procedure, step).await;
            refuse_writes(self.rig, None).await;
            self.is_resumable(procedure).await;
            match answer {
                // Also what comes after the answer, such as the end of the procedure, was written.
                Ok(done) => return (self.settled(done).await, write > 1),
                Err(error) => {
                    assert!(!matches!(error, ProcedureError::Over(_)), "{step:?}: {error:?}");
                    self.rig.rooms().procedures.settle().await.unwrap();
                    let now = self.rig.show(procedure).await;
                    if now.next.as_ref() != Some(step) {
                        return (self.settled(now).await, true);
                    }
                }
            }
        }
        unreachable!("some number of writes is enough")
    }

    async fn settled(&self, procedure: Procedure) -> Procedure {
        self.rig.rooms().procedures.settle().await.unwrap();
        self.rig.show(&procedure).await
    }

    /// The card has done its work, and the power fails before anybody wrote that down; where the card is not worked
    /// on, before the answer was.
    async fn power_cut(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        let works = step.wants == Wants::Work;
        let kept = self.rig.folder.path().join("power-cut");
        if works {
            let trigger = match self.trigger(step) {
                Trigger::After(_) => Trigger::After(self.signature_commands - 4),
                at @ Trigger::Instruction { .. } => at,
            };
            self.rig.card.with_card(|card| card.plan_at(trigger, Fault::Slow(SLOW)));
            let cut = async {
                let ends = Instant::now() + Duration::from_secs(30);
                while self.rig.card.with_card(|card| card.pending()) > 0 && Instant::now() < ends {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                self.rig.keep(&kept).await;
            };
            let (_, ()) = tokio::join!(self.answer(procedure, step), cut);
            self.rig.card.with_card(|card| card.clear_plan());
        } else {
            self.rig.keep(&kept).await;
            self.answer(procedure, step).await.unwrap();
        }
        self.rig.restart_from(&kept).await;
        self.rig.card_is_back().await;
        self.rig.rooms().procedures.settle().await.unwrap();
        (self.insist(procedure, step).await, works)
    }

    /// Not a byte is left for database and audit log. A log that could not be written is used again after a restart
    /// only.
    async fn full_disk(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        let filler = self.rig.folder.path().join("state").join("filler");
        fill(&filler);
        let answer = self.answer(procedure, step).await;
        fs::remove_file(&filler).unwrap();
        match answer {
            Ok(done) => (done, false),
            Err(_) => {
                self.rig.restart().await;
                self.rig.card_is_back().await;
                self.rig.rooms().procedures.settle().await.unwrap();
                (self.insist(procedure, step).await, true)
            }
        }
    }

    /// Whatever happened, the procedure can be read, and its envelope is its own.
    async fn is_resumable(&self, procedure: &Procedure) {
        let now = self.rig.show(procedure).await;
        assert!(!matches!(now.state, ProcedureState::Cancelled), "{now:?}");
        let stock = self.rig.rooms().custody.stock().await.unwrap();
        assert!(stock.reserved <= 1, "{stock:?}");
    }

    /// The whole procedure, with the trouble at every step.
    async fn run(&mut self, trouble: Trouble, tally: &mut Tally) {
        let mut procedure = self.rig.start(self.path.case).await.unwrap();
        while procedure.next.is_some() {
            let step = procedure.next.clone().unwrap();
            // A step that only writes is the same in every course.
            if trouble == Trouble::PowerCut && self.number > 0 && step.wants != Wants::Work {
                procedure = self.answer(&procedure, &step).await.unwrap();
                continue;
            }
            let (next, felt) = self.step(&procedure, trouble).await;
            tally.count(felt);
            procedure = next;
            tally.settled += 1;
        }
        assert_eq!(procedure.state, ProcedureState::Done, "{procedure:?}");
        if !self.rig.card.is_connected() {
            self.rig.put_in().await;
        }
        assert!(
            self.rig.takes_pin(&self.rig.letter(&self.code)),
            "{:?}: the envelope's PIN is the card's",
            self.path
        );
        if self.path.signature {
            assert_eq!(self.rig.sign_with_area(&self.rig.letter(&self.code)).await.unwrap().len(), 256);
        }
    }

    /// The trouble at one step, and then the operator gives up.
    async fn given_up(&mut self, at: &str, trouble: Trouble) {
        let ready = self.rig.start(self.path.case).await.unwrap();
        let mut procedure = ready;
        while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != at) {
            procedure = self.answer(&procedure, &step).await.unwrap();
        }
        let (after, _) = self.step(&procedure, trouble).await;
        if after.state == ProcedureState::Open {
            let ended = self.rig.cancel(&after).await.unwrap();
            assert_eq!(ended.state, ProcedureState::Cancelled);
        }
        if !self.rig.card.is_connected() {
            self.rig.put_in().await;
        }
    }
}

/// Refuses the n-th write from now on and all after it; or none any more.
async fn refuse_writes(rig: &Rig, from: Option<usize>) {
    let tables = [("procedures", "UPDATE"), ("envelope", "UPDATE"), ("puk", "INSERT")];
    let mut statements = vec!["CREATE TABLE IF NOT EXISTS trouble (left_over BIGINT)".to_owned()];
    statements.push("DELETE FROM trouble".to_owned());
    for (table, act) in tables {
        statements.push(format!("DROP TRIGGER IF EXISTS trouble_{table}"));
        if from.is_some() {
            statements.push(format!(
                "CREATE TRIGGER trouble_{table} BEFORE {act} ON {table} BEGIN \
                 UPDATE trouble SET left_over = left_over - 1; \
                 SELECT RAISE(ABORT, 'trouble') WHERE (SELECT left_over FROM trouble) <= 0; END"
            ));
        }
    }
    if let Some(from) = from {
        statements.push(format!("INSERT INTO trouble VALUES ({from})"));
    }
    for statement in statements {
        sqlx::query(&statement).execute(rig.rooms().database.pool()).await.unwrap();
    }
}

/// Takes all that is left of a file system.
fn fill(filler: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(filler).unwrap();
    for block in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
}

async fn adult() -> Rig {
    Rig::new().await
}

async fn minor() -> Rig {
    Rig::with(|order| {
        order.holder.birth_date = "2012-05-05".to_owned();
        order.holder.codice_fiscale = "RSSMRA12E05H501Q".to_owned();
    })
    .await
}

/// Commands of the signature work on a card like this one, and the card as it was before.
async fn measure(rig: &mut Rig, code: &str) -> u64 {
    rig.keep_card();
    rig.wants_signature = true;
    let started = rig.start(Case::Standard).await.unwrap();
    let done = rig.until(started, code, "").await;
    let step = done.done.iter().find(|step| step.paragraph == "§9.1.3").unwrap();
    let commands = step.traffic.commands;
    rig.kept_card_again().await;
    commands
}

async fn all_paths(rig: &mut Rig, paths: &[Course], troubles: &[Trouble], tally: &mut Tally) {
    let mut codes = rig.codes.clone().into_iter();
    let has_signature = paths.iter().any(|path| path.signature);
    let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
    let signature_commands = if has_signature { measure(rig, &codes.next().unwrap()).await } else { 8 };
    let mut finished = u64::from(has_signature);
    for trouble in troubles {
        for (number, path) in paths.iter().enumerate() {
            let begun = Instant::now();
            if path.signature {
                rig.kept_card_again().await;
            }
            rig.card.with_card(|card| card.card().plan_keys(keys.clone()));
            let code = codes.next().unwrap();
            let mut walk = Walk { rig, path: *path, number, code, signature_commands };
            walk.run(*trouble, tally).await;
            finished += 1;
            println!("{trouble:?}, {path:?}: {} ms", begun.elapsed().as_millis());
            if path.signature {
                rig.kept_card_again().await;
            }
        }
    }
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!(
        (stock.used, stock.reserved, stock.void),
        (finished, 0, 0),
        "no envelope is used twice or lost"
    );
    let pending = "SELECT id FROM procedures WHERE intent IS NOT NULL OR state IN ('open', 'unsettled')";
    let pending = sqlx::query(pending).fetch_all(rig.rooms().database.pool()).await.unwrap();
    assert!(pending.is_empty(), "nothing is left open");
    assert_eq!(rig.card.with_card(|card| card.card().summary().puk_tries), 3, "no try of the PUK was burnt");
    rig.rooms().audit.verify().await.unwrap();
}

/// What can be done to the database from here: SQLite is a file, a server is another's.
fn in_process() -> &'static [Trouble] {
    if database::on_postgresql() {
        &[Trouble::Pulled, Trouble::Chip6F00]
    } else {
        &[Trouble::Pulled, Trouble::Chip6F00, Trouble::Database, Trouble::PowerCut]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_at_every_step_of_every_case_for_an_adults_card_loses_nothing() {
    let mut tally = Tally::default();
    all_paths(&mut adult().await, &ADULT, in_process(), &mut tally).await;
    tally.print("an adult's card");
    // Fewer troubles are done to a server, which is another program's.
    assert!(tally.felt > if database::on_postgresql() { 5 } else { 20 }, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_at_every_step_of_every_case_for_a_minors_card_loses_nothing() {
    let mut tally = Tally::default();
    all_paths(&mut minor().await, &MINOR, in_process(), &mut tally).await;
    tally.print("a minor's card");
    // Fewer troubles are done to a server, which is another program's.
    assert!(tally.felt > if database::on_postgresql() { 5 } else { 20 }, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_trouble_at_any_step_a_procedure_can_be_given_up_and_the_next_one_served() {
    let mut rig = adult().await;
    rig.wants_signature = false;
    let mut tally = Tally::default();
    let path = path(Case::Standard, Applicant::Holder);
    let started = rig.start(Case::Standard).await.unwrap();
    rig.cancel(&started).await.unwrap();
    let steps = [
        "§9.3.2-1",
        "§9.3.2-3",
        "§6.1.2",
        "§9.3.2-5",
        "§9.3.2-6",
        "§9.3.2-7",
        "§9.3.2-8",
        "§9.3.2-9",
        "§9.3.2-10",
        "§9.3.2-11",
    ];
    let mut codes = rig.codes.clone().into_iter();
    for trouble in in_process().iter().copied().filter(|trouble| *trouble != Trouble::PowerCut) {
        for step in steps {
            let code = codes.next().unwrap();
            let mut walk = Walk { rig: &mut rig, path, number: 0, code, signature_commands: 8 };
            walk.given_up(step, trouble).await;
            tally.count(true);
            // The next citizen, or the same one, is served: the card is never lost.
            let again = rig.start(Case::NewCodes).await.unwrap();
            let code = codes.next().unwrap();
            rig.until(again, &code, "").await;
            assert!(rig.takes_pin(&rig.letter(&code)), "after {trouble:?} at {step}");
            tally.settled += 1;
        }
    }
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!(stock.reserved, 0);
    tally.print("given up");
}

#[test]
fn a_full_disk_at_every_step_loses_nothing() {
    if database::on_postgresql() {
        return;
    }
    if let Some(state) = env::var_os(SMALL) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(on_a_full_disk(&PathBuf::from(state)));
    }
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mount = "mount -t tmpfs -o size=8m,mode=0700 none \"$1\" && shift && exec \"$@\"";
    let status = command
        .args(["--mount", "sh", "-c", mount, "sh"])
        .arg(place.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", "matrix::a_full_disk_at_every_step_loses_nothing", "--nocapture"])
        .env(SMALL, place.path())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

async fn on_a_full_disk(place: &Path) {
    let mut tally = Tally::default();
    let mut rig = Rig::with_state_in(place).await;
    let paths = [path(Case::Standard, Applicant::Holder), path(Case::NewCodes, Applicant::Delegate)];
    all_paths(&mut rig, &paths, &[Trouble::DiskFull, Trouble::DiskFull], &mut tally).await;
    tally.print("a full disk");
    assert!(tally.felt > 10, "{tally:?}");
}
