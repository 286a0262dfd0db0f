//! Nothing lost: at every step of every case something goes wrong, and afterwards the procedure goes on to its end or is
//! cancelled, with card, envelope, request and record agreeing. `killed.rs` has the same for SIGKILL.
//!
//! The troubles are real ones: the card leaves the reader, the chip answers 6F00, the database refuses the n-th write
//! and all after it, the file system is full (a tmpfs in a mount namespace of its own), and the power fails between the
//! card's work and its record: the state folder is put back to what the disk held at that moment.

mod trouble;

use std::path::Path;
use std::time::Instant;

use cns_protocol::counter::{Answer, Applicant, Case, Procedure, ProcedureState, Step, Wants};
use cns_virtual_authority::Status;
use cns_virtual_card::sample;
use cnsd::card::CardError;
use cnsd::config::AreaPin;
use cnsd::procedure::ProcedureError;
use cnsd_test_support::small_disk;
use rsa::RsaPrivateKey;

use self::trouble::Trouble;
use crate::database;
use crate::rig::{Rig, usual_answer};

/// A case for somebody, on the card that the rig holds.
#[derive(Clone, Copy, Debug)]
struct Course {
    case: Case,
    applicant: Applicant,
    signature: bool,
    /// Whether the signature PIN is in an envelope of its own.
    own: bool,
}

const fn path(case: Case, applicant: Applicant) -> Course {
    Course { case, applicant, signature: false, own: false }
}

/// The cases for the adult's card and for the minor's.
const ADULT: [Course; 7] = [
    path(Case::Standard, Applicant::Holder),
    path(Case::Ward, Applicant::Guardian),
    path(Case::Delegation, Applicant::Delegate),
    path(Case::NewCodes, Applicant::Holder),
    path(Case::NewCodes, Applicant::Guardian),
    path(Case::NewCodes, Applicant::Delegate),
    Course { case: Case::Standard, applicant: Applicant::Holder, signature: true, own: false },
];
const MINOR: [Course; 4] = [
    path(Case::Minor, Applicant::Parent),
    path(Case::EmancipatedMinor, Applicant::EmancipatedMinor),
    path(Case::NewCodes, Applicant::Parent),
    path(Case::NewCodes, Applicant::EmancipatedMinor),
];

/// The cases that need no envelope: the signature certificate later, and a card of another region.
const WITHOUT_ENVELOPE: [Course; 3] = [
    Course { case: Case::Signature, applicant: Applicant::Holder, signature: true, own: false },
    path(Case::OtherRegion, Applicant::Holder),
    path(Case::OtherRegion, Applicant::Delegate),
];

/// The cases that the authority is told of, in an order in which each can be done.
const STATUS: [Course; 5] = [
    path(Case::Suspension, Applicant::Holder),
    path(Case::Reactivation, Applicant::Guardian),
    path(Case::Suspension, Applicant::Guardian),
    path(Case::Reactivation, Applicant::Holder),
    path(Case::Revocation, Applicant::Holder),
];

impl Course {
    /// How many envelopes the citizen is handed.
    fn envelopes(self) -> u64 {
        u64::from(self.uses_envelope()) + u64::from(self.own)
    }

    /// Whether the citizen is handed an envelope with the card's codes.
    fn uses_envelope(self) -> bool {
        !matches!(
            self.case,
            Case::Signature
                | Case::Renewal
                | Case::OtherRegion
                | Case::Suspension
                | Case::Reactivation
                | Case::Revocation
        )
    }
}

/// Whether the daemon works in a step: on the card, or with a system outside.
fn works(step: &Step) -> bool {
    matches!(step.wants, Wants::Work | Wants::Pin | Wants::Pins)
}

/// Whether a step's work is the national system's.
fn is_outside(step: &Step) -> bool {
    step.paragraph == "§8-out"
}

/// Whether in a step the authority is told what becomes of certificates.
fn is_told(step: &Step) -> bool {
    matches!(step.paragraph.as_str(), "§9.5.3" | "§9.6.2" | "§9.7")
}

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
    /// The envelope of the signature PIN, where that has one of its own.
    second: Option<String>,
    /// The PIN that the holder has.
    pin: Vec<u8>,
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
            | Wants::Pins
            | Wants::Representative
            | Wants::HolderCopy
            | Wants::Evidence
            | Wants::Reason
            | Wants::NationalRequest
            | Wants::Email
            | Wants::Paper => {
                let second = self.second.as_ref().filter(|_| step.paragraph.ends_with("-envelope"));
                usual_answer(step, second.unwrap_or(&self.code), self.path.signature)
            }
        }
    }

    async fn answer(&self, procedure: &Procedure, step: &Step) -> Result<Procedure, ProcedureError> {
        let pin = matches!(step.wants, Wants::Pin | Wants::Pins).then_some(self.pin.as_slice());
        self.rig.answer_with(procedure, &step.paragraph, self.right(step), pin).await
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

    /// Whatever happened, the procedure can be read, and its envelope is its own.
    async fn is_resumable(&self, procedure: &Procedure) {
        let now = self.rig.show(procedure).await;
        assert!(!matches!(now.state, ProcedureState::Cancelled), "{now:?}");
        let stock = self.rig.rooms().custody.stock().await.unwrap();
        assert!(stock.reserved <= 2, "{stock:?}");
    }

    /// The whole procedure, with the trouble at every step.
    async fn run(&mut self, trouble: Trouble, tally: &mut Tally) {
        let mut procedure = self.rig.start(self.path.case).await.unwrap();
        while procedure.next.is_some() {
            let step = procedure.next.clone().unwrap();
            // A step that only writes is the same in every course.
            if trouble == Trouble::PowerCut && self.number > 0 && !works(&step) {
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
        if self.path.uses_envelope() {
            self.pin = self.rig.letter(&self.code);
        }
        assert!(self.rig.takes_pin(&self.pin), "{:?}: the PIN is the envelope's, or as it was", self.path);
        if let Some(second) = &self.second {
            let own = self.rig.letter(second);
            assert_eq!(self.rig.sign_with_area(&own).await.unwrap().len(), 256, "{:?}", self.path);
        } else if self.path.signature {
            assert_eq!(self.rig.sign_with_area(&self.pin).await.unwrap().len(), 256);
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

async fn adult() -> Rig {
    Rig::new().await
}

async fn minor() -> Rig {
    Rig::with(|order| {
        order.holder.birth_date = "2012-05-05".to_owned();
        order.holder.codice_fiscale = "RSSMRA12E05H501Y".to_owned();
    })
    .await
}

/// Commands of the signature work on a card like this one, and the card as it was before.
async fn measure(rig: &mut Rig, path: Course, code: String, second: Option<String>) -> u64 {
    rig.keep_card();
    let pin = sample::PIN.to_vec();
    let walk = Walk { rig, path, number: 0, code, second, pin, signature_commands: 0 };
    let mut procedure = walk.rig.start(path.case).await.unwrap();
    while let Some(step) = procedure.next.clone() {
        procedure = walk.answer(&procedure, &step).await.unwrap();
    }
    let step = procedure.done.iter().find(|step| step.paragraph == "§9.1.3").unwrap();
    let commands = step.traffic.commands;
    walk.rig.kept_card_again().await;
    commands
}

async fn all_paths(rig: &mut Rig, paths: &[Course], troubles: &[Trouble], tally: &mut Tally) {
    let mut codes = rig.codes.clone().into_iter();
    let signature = paths.iter().copied().find(|path| path.signature);
    let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
    let signature_commands = match signature {
        Some(path) => {
            let (code, second) = (codes.next().unwrap(), codes.next().filter(|_| path.own));
            measure(rig, path, code, second).await
        }
        None => 8,
    };
    let mut finished = signature.map_or(0, Course::envelopes);
    let (mut asked, mut pin) = (0, sample::PIN.to_vec());
    for trouble in troubles {
        for (number, path) in paths.iter().enumerate() {
            let begun = Instant::now();
            if path.signature {
                rig.kept_card_again().await;
                pin = sample::PIN.to_vec();
            }
            rig.card.with_card(|card| card.card().plan_keys(keys.clone()));
            let code = codes.next().unwrap();
            let second = if path.own { codes.next() } else { None };
            let mut walk = Walk { rig, path: *path, number, code, second, pin, signature_commands };
            walk.run(*trouble, tally).await;
            pin = walk.pin;
            finished += path.envelopes();
            asked += usize::from(path.case == Case::OtherRegion);
            println!("{trouble:?}, {path:?}: {} ms", begun.elapsed().as_millis());
            if path.signature {
                rig.kept_card_again().await;
                pin = sample::PIN.to_vec();
            }
        }
    }
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!(
        (stock.used, stock.reserved, stock.void),
        (finished, 0, 0),
        "no envelope is used twice or lost"
    );
    if let Some(peer) = &rig.peer {
        assert_eq!(peer.lock().unwrap().done.len(), asked, "each request was done, once");
    }
    let pending = "SELECT id FROM procedures WHERE intent IS NOT NULL OR state IN ('open', 'unsettled')";
    let queued = "SELECT id FROM national_request WHERE state = 'queued'";
    for query in [pending, queued] {
        let left = sqlx::query(query).fetch_all(rig.rooms().database.pool()).await.unwrap();
        assert!(left.is_empty(), "nothing is left open: {query}");
    }
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
async fn trouble_at_every_step_of_the_cases_without_an_envelope_loses_nothing() {
    let mut tally = Tally::default();
    let mut rig = adult().await;
    let peer = rig.connect().await;
    all_paths(&mut rig, &WITHOUT_ENVELOPE, in_process(), &mut tally).await;
    let peer = peer.lock().unwrap();
    assert!(peer.posted.len() > peer.done.len(), "a request is sent again after a trouble");
    tally.print("a later signature certificate, and a card of another region");
    assert!(tally.felt > if database::on_postgresql() { 5 } else { 20 }, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_at_every_step_with_an_envelope_of_the_signature_pin_loses_nothing() {
    let mut tally = Tally::default();
    let own = |case, signature| Course { case, applicant: Applicant::Holder, signature, own: true };
    // The area is made, with the activation and later.
    let mut rig = adult().await;
    rig.take_area_pins_from(AreaPin::OwnEnvelope).await;
    all_paths(&mut rig, &[own(Case::Standard, true), own(Case::Signature, true)], in_process(), &mut tally)
        .await;
    // There is one, and it gets new codes with the card.
    let mut rig = adult().await;
    crate::removal::make(&rig).await;
    rig.take_area_pins_from(AreaPin::OwnEnvelope).await;
    all_paths(&mut rig, &[own(Case::NewCodes, false)], in_process(), &mut tally).await;
    tally.print("a signature PIN in an envelope of its own");
    assert!(tally.felt > if database::on_postgresql() { 5 } else { 20 }, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_at_every_step_of_a_renewal_loses_nothing() {
    let mut tally = Tally::default();
    let mut rig = adult().await;
    rig.allow_renewal();
    crate::removal::make(&rig).await;
    let course = Course { case: Case::Renewal, applicant: Applicant::Holder, signature: true, own: false };
    all_paths(&mut rig, &[course], in_process(), &mut tally).await;
    tally.print("a renewal");
    assert!(tally.felt > if database::on_postgresql() { 1 } else { 8 }, "{tally:?}");
}

/// How the certifier has the card's certificates.
fn at_certifier(rig: &Rig) -> Vec<&'static str> {
    let name = |record: cns_virtual_authority::Record| match record.status {
        Status::Suspended { .. } => "suspended",
        Status::Revoked { .. } => "revoked",
        Status::Valid | Status::Unconfirmed => "good",
    };
    rig.certifier.list().unwrap().into_iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_at_every_step_of_suspension_reactivation_and_revocation_loses_nothing() {
    let mut tally = Tally::default();
    for trouble in in_process() {
        let mut rig = adult().await;
        rig.change_status();
        let code = rig.codes[0].clone();
        let started = rig.start(Case::Standard).await.unwrap();
        rig.until(started, &code, "").await;
        for (number, path) in STATUS.into_iter().enumerate() {
            let (begun, pin) = (Instant::now(), rig.letter(&code));
            let code = code.clone();
            let mut walk =
                Walk { rig: &mut rig, path, number, code, second: None, pin, signature_commands: 8 };
            walk.run(*trouble, &mut tally).await;
            let expected = if path.case == Case::Suspension {
                "suspended"
            } else if path.case == Case::Revocation {
                "revoked"
            } else {
                "good"
            };
            assert_eq!(at_certifier(&rig), [expected; 2], "{trouble:?}, {path:?}");
            println!("{trouble:?}, {path:?}: {} ms", begun.elapsed().as_millis());
        }
        assert_eq!(crate::standing::changes(&rig.certifier), 2 * STATUS.len(), "each was done once");
        let open = "SELECT request FROM standing_change WHERE state <> 'done'";
        let open = sqlx::query(open).fetch_all(rig.rooms().database.pool()).await.unwrap();
        assert!(open.is_empty(), "{trouble:?}");
        rig.rooms().audit.verify().await.unwrap();
    }
    tally.print("suspension, reactivation, revocation");
    assert!(tally.felt > if database::on_postgresql() { 8 } else { 20 }, "{tally:?}");
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
            let mut walk = Walk {
                rig: &mut rig,
                path,
                number: 0,
                code,
                second: None,
                pin: sample::PIN.to_vec(),
                signature_commands: 8,
            };
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
    small_disk::alone("matrix::a_full_disk_at_every_step_loses_nothing", "8m", on_a_full_disk);
}

async fn on_a_full_disk(place: &Path) {
    let mut tally = Tally::default();
    let mut rig = Rig::with_state_in(place).await;
    rig.connect().await;
    let paths = [
        path(Case::Standard, Applicant::Holder),
        path(Case::NewCodes, Applicant::Delegate),
        path(Case::OtherRegion, Applicant::Delegate),
        path(Case::Suspension, Applicant::Holder),
        path(Case::Reactivation, Applicant::Guardian),
    ];
    rig.change_status();
    all_paths(&mut rig, &paths, &[Trouble::DiskFull, Trouble::DiskFull], &mut tally).await;
    tally.print("a full disk");
    assert!(tally.felt > 10, "{tally:?}");
}
