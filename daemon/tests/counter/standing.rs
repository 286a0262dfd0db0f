//! §9.5 to §9.7 with the built daemon and the certifier over CMP; what became of the certificates is read from the
//! revocation list by `openssl`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cns_protocol::certificate::{
    CardStanding, Change, ChangeRequest, ChangeState, Channel, Identified, Paper, PaperKind, Reactivate,
    Revoke, Standing, Status, Suspend,
};
use cns_protocol::counter::{
    Answer, AnswerStep, Applicant, Cancel, Case, Next, Procedure, ProcedureState, Reason, Start, Wants,
};
use cns_protocol::reader::ReaderState;
use cns_protocol::{Client, ErrorKind};
use cns_virtual_authority::Authority as Certifier;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};

use crate::kill::{CITIZEN, Counter, Setup};
use crate::rig::answers::{document, usual_answer};
use crate::running::{PATIENCE, refusal, text};

/// The revocation list as `openssl` reads it: serial numbers with their reasons.
pub(crate) fn revoked(certifier: &Certifier) -> Vec<(String, String)> {
    let path = certifier.folder().join("crl.der");
    let output = Command::new("openssl")
        .args(["crl", "-inform", "DER", "-noout", "-text", "-in"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let (mut found, mut lines) = (Vec::new(), printed.lines().map(str::trim));
    while let Some(line) = lines.next() {
        if let Some(serial) = line.strip_prefix("Serial Number: ") {
            found.push((serial.to_lowercase(), String::new()));
        } else if line.ends_with("CRL Reason Code:")
            && let Some((_, reason)) = found.last_mut()
        {
            lines.next().unwrap_or_default().clone_into(reason);
        }
    }
    found
}

/// The serial numbers of the certificates of the card, oldest first.
fn serials(certifier: &Certifier) -> Vec<String> {
    // The first one is the operator's.
    certifier.list().unwrap().iter().skip(1).map(|record| record.serial.to_lowercase()).collect()
}

/// A counter with the citizen's card, activated and with its signature certificate.
struct Desk {
    counter: Counter,
    card: Plugged,
    client: Client,
    officer: bool,
}

impl Desk {
    fn open(officer: bool) -> Self {
        let cards = &[sample::ID_CARD];
        let setup = Setup { envelopes: 1, authority: true, officer, cards, ..Setup::default() };
        let mut counter = Counter::with_roles(&setup, &["web", "call-centre", "issuing-body"]);
        let chip = counter.chip.take().unwrap();
        let card = plug(chip, Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
        counter.running.card_in(CITIZEN);
        let client = counter.client();
        let mut desk = Self { counter, card, client, officer };
        let code = desk.counter.codes[0].clone();
        let started = desk.start(Case::Standard);
        let done = desk.until(started, &code, "");
        assert_eq!(done.state, ProcedureState::Done);
        desk
    }

    fn start(&mut self, case: Case) -> Procedure {
        let reader = self.counter.running.reader(CITIZEN);
        self.client.call(&Start { reader, case }).unwrap()
    }

    fn until(&mut self, mut procedure: Procedure, code: &str, paragraph: &str) -> Procedure {
        while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != paragraph) {
            let answer = usual_answer(&step, code, true);
            procedure = self.client.call(&self.answer(&procedure, answer, self.officer)).unwrap();
        }
        procedure
    }

    /// The answer to the next step, with the operator's PIN where `signs`.
    fn answer(&self, procedure: &Procedure, answer: Answer, signs: bool) -> AnswerStep {
        let step = procedure.next.as_ref().unwrap();
        let operator_pin = (signs && step.wants == Wants::Work).then(|| text("12345"));
        AnswerStep {
            procedure: procedure.id.clone(),
            paragraph: step.paragraph.clone(),
            answer,
            pin: None,
            signature_pin: None,
            operator_pin,
        }
    }

    fn list(&self) -> Vec<(String, String)> {
        revoked(&self.counter.certifier)
    }

    fn both(&self, reason: &str) -> Vec<(String, String)> {
        serials(&self.counter.certifier).into_iter().map(|serial| (serial, reason.to_owned())).collect()
    }

    fn serve(&mut self, case: Case, reason: Option<Reason>) {
        let started = self.start(case);
        let paragraph = if case == Case::Suspension { "§9.5" } else { "§9.7.1" };
        let mut ready = self.until(started, "", paragraph);
        if let Some(reason) = reason {
            ready = self.client.call(&self.answer(&ready, Answer::Reason(reason), false)).unwrap();
        }
        let done = self.until(ready, "", "");
        assert_eq!(done.state, ProcedureState::Done, "{done:?}");
    }
}

impl Desk {
    /// The holder, on the web or by telephone; the card is in no reader.
    fn holder(&self, channel: Channel) -> ChangeRequest {
        let code = self.counter.printed(&self.counter.codes[0], "User code: ");
        ChangeRequest {
            channel: Some(channel),
            codice_fiscale: Some("RSSMRA80A01H501U".to_owned()),
            surname: Some("Rossi".to_owned()),
            name: Some("Mario".to_owned()),
            user_code: Some(text(&code)),
            reason_gone: true,
            ..ChangeRequest::default()
        }
    }

    /// Somebody at the counter without the card.
    fn visitor(&self, reason: Reason, paper: Option<Paper>) -> ChangeRequest {
        ChangeRequest {
            channel: Some(Channel::Counter),
            codice_fiscale: Some("RSSMRA80A01H501U".to_owned()),
            reason: Some(reason),
            paper,
            identified: Some(Identified {
                applicant: Applicant::Holder,
                document: Some(document()),
                representative: None,
                declaration: false,
                evidence: None,
            }),
            operator_pin: self.officer.then(|| text("12345")),
            ..ChangeRequest::default()
        }
    }

    fn lose_the_card(&mut self) {
        self.card.pull_out();
        self.counter.running.until(CITIZEN, |state| matches!(state, ReaderState::Empty));
    }

    /// Waits until the authority was told of all certificates.
    fn settled(&mut self) -> CardStanding {
        let ends = Instant::now() + PATIENCE;
        loop {
            let told = self.client.call(&look()).unwrap();
            if !pending(&told) {
                return told;
            }
            assert!(Instant::now() < ends, "{told:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// How many changes of status the certifier has made over CMP, each counted once however often it was asked for.
pub(crate) fn changes(certifier: &Certifier) -> usize {
    let journal = fs::read_to_string(certifier.folder().join("journal.jsonl")).unwrap();
    journal.lines().filter(|line| line.contains("\"changes\":[{")).count()
}

fn look() -> Status {
    Status {
        channel: Some(Channel::IssuingBody),
        card: Some(sample::ID_CARD.to_owned()),
        ..Status::default()
    }
}

fn pending(told: &CardStanding) -> bool {
    let is_pending = |change: &Change| change.state == ChangeState::Pending;
    told.certificates.iter().any(|one| one.change.as_ref().is_some_and(is_pending))
}

fn all(told: &CardStanding, standing: Standing) -> bool {
    told.certificates.len() == 2 && told.certificates.iter().all(|one| one.standing == standing)
}

#[test]
fn a_lost_card_is_suspended_from_afar_and_revoked_with_its_paper() {
    let mut desk = Desk::open(false);
    desk.lose_the_card();
    let reason = Some(Reason::Loss);
    let by_telephone = ChangeRequest { reason, ..desk.holder(Channel::CallCentre) };
    let told = desk.client.call(&Suspend(by_telephone)).unwrap();
    assert!(all(&told, Standing::Suspended), "{told:?}");
    assert_eq!(desk.list(), desk.both("Certificate Hold"));
    // X3: not by telephone. The web area may.
    let by_telephone = Reactivate(desk.holder(Channel::CallCentre));
    let refused = refusal(&mut desk.client, &by_telephone);
    assert_eq!((refused.kind, refused.paragraph.as_deref()), (ErrorKind::RuleRefuses, Some("§9.6")));
    let on_the_web = Reactivate(desk.holder(Channel::Web));
    assert!(all(&desk.client.call(&on_the_web).unwrap(), Standing::Good));
    assert!(desk.list().is_empty());
    // Found and lost again: stolen, this time.
    let on_the_web = Revoke(desk.holder(Channel::Web));
    let refused = refusal(&mut desk.client, &on_the_web);
    assert_eq!(refused.paragraph.as_deref(), Some("§9.7.1"));
    let without = Revoke(desk.visitor(Reason::Theft, None));
    let refused = refusal(&mut desk.client, &without);
    assert_eq!(refused.paragraph.as_deref(), Some("§9.7.1-report"));
    let paper = Paper {
        kind: PaperKind::Report,
        number: Some("2026/77".to_owned()),
        issuer: Some("Carabinieri di prova".to_owned()),
        date: "2026-11-01".to_owned(),
    };
    let with = Revoke(desk.visitor(Reason::Theft, Some(paper)));
    assert!(all(&desk.client.call(&with).unwrap(), Standing::Revoked));
    assert_eq!(desk.list(), desk.both("Key Compromise"));
    let own = Status {
        channel: Some(Channel::Web),
        codice_fiscale: Some("RSSMRA80A01H501U".to_owned()),
        user_code: desk.holder(Channel::Web).user_code,
        card: None,
    };
    assert!(all(&desk.client.call(&own).unwrap(), Standing::Revoked));
    let acts = desk.counter.running.audited("certificate-status");
    assert_eq!(acts.len(), 3 * 3, "{acts:?}");
    assert!(acts.iter().all(|act| !act.contains("2026/77") && !act.contains("RSSMRA")), "{acts:?}");
    assert_eq!(changes(&desk.counter.certifier), 6);
    assert!(desk.counter.running.terminate().success());
}

/// The authority is away; the daemon is killed; both come back. Nobody asks for anything.
#[test]
fn what_the_authority_could_not_be_told_is_told_after_a_kill() {
    let mut desk = Desk::open(false);
    desk.lose_the_card();
    desk.counter.authority_goes();
    for attempt in 1..=2 {
        let ask = Suspend(desk.holder(Channel::Web));
        let told = desk.client.call(&ask).unwrap();
        assert!(pending(&told) && all(&told, Standing::Good), "{attempt}: {told:?}");
    }
    desk.counter.running.kill();
    desk.counter.running.launch();
    desk.client = desk.counter.client();
    assert!(pending(&desk.client.call(&look()).unwrap()), "the authority is away");
    desk.counter.authority_comes();
    let told = desk.settled();
    assert!(all(&told, Standing::Suspended), "{told:?}");
    assert_eq!(desk.list(), desk.both("Certificate Hold"));
    assert_eq!(changes(&desk.counter.certifier), 2, "one transaction for each certificate");
    println!("told after {} attempts", told.certificates[0].change.as_ref().unwrap().attempts);
    // So at the counter: it is told to the operator, and the step is done once the authority has answered.
    desk.card.put_in();
    desk.counter.running.card_in(CITIZEN);
    let started = desk.start(Case::Reactivation);
    let ready = desk.until(started, "", "§9.6.2");
    desk.counter.authority_goes();
    let step = desk.answer(&ready, Answer::Confirmed, false);
    let refused = refusal(&mut desk.client, &step);
    assert_eq!(refused.kind, ErrorKind::AuthorityFailed);
    assert!(refused.message.contains("not yet reactivated"), "{refused:?}");
    desk.counter.authority_comes();
    assert!(all(&desk.settled(), Standing::Good));
    let done = desk.until(ready, "", "");
    assert_eq!(done.state, ProcedureState::Done);
    assert_eq!(changes(&desk.counter.certifier), 4);
    assert!(desk.counter.running.terminate().success());
}

/// §7: the daemon can tell nothing by itself where the authority wants an operator's signature, and says so at once.
#[test]
fn an_authority_that_wants_an_operators_card_is_told_at_counters_only() {
    let mut desk = Desk::open(true);
    desk.lose_the_card();
    let on_the_web = Suspend(desk.holder(Channel::Web));
    let refused = refusal(&mut desk.client, &on_the_web);
    assert_eq!((refused.kind, refused.paragraph.as_deref()), (ErrorKind::AuthorityFailed, Some("§7")));
    let unsigned = ChangeRequest { operator_pin: None, ..desk.visitor(Reason::Loss, None) };
    let refused = refusal(&mut desk.client, &Suspend(unsigned));
    assert_eq!(refused.kind, ErrorKind::OperatorPinWanted);
    let signed = Suspend(desk.visitor(Reason::Loss, None));
    assert!(all(&desk.client.call(&signed).unwrap(), Standing::Suspended));
    assert_eq!(desk.list(), desk.both("Certificate Hold"));
    assert!(desk.counter.running.terminate().success());
}

/// Nobody tells the rest in the background there, and nobody is promised it.
#[test]
fn what_wants_an_operators_card_is_told_again_when_the_operator_asks_again() {
    let mut desk = Desk::open(true);
    desk.lose_the_card();
    desk.counter.authority_goes();
    let lost = Suspend(desk.visitor(Reason::Loss, None));
    let refused = refusal(&mut desk.client, &lost);
    assert_eq!(refused.kind, ErrorKind::AuthorityFailed);
    assert!(refused.message.contains("ask again with `operator_pin`"), "{refused:?}");
    assert!(pending(&desk.client.call(&look()).unwrap()));
    // So at the counter, and when the procedure is given up.
    desk.card.put_in();
    desk.counter.running.card_in(CITIZEN);
    let started = desk.start(Case::Suspension);
    let ready = desk.until(started, "", "§9.5.3");
    let step = desk.answer(&ready, Answer::Confirmed, true);
    let refused = refusal(&mut desk.client, &step);
    assert_eq!(refused.kind, ErrorKind::AuthorityFailed);
    assert!(refused.message.contains("ask again with `operator_pin`"), "{refused:?}");
    let given_up = desk.client.call(&Cancel { procedure: ready.id.clone() }).unwrap();
    assert!(given_up.warnings.iter().any(|one| one.contains("with `operator_pin`")), "{given_up:?}");
    desk.counter.authority_comes();
    let told = desk.client.call(&lost).unwrap();
    assert!(all(&told, Standing::Suspended), "{told:?}");
    assert_eq!(desk.list(), desk.both("Certificate Hold"));
    assert!(desk.counter.running.terminate().success());
}

#[test]
fn the_counter_suspends_reactivates_and_revokes_and_the_list_says_why() {
    for (reason, on_list) in [
        (Reason::Theft, "Key Compromise"),
        (Reason::WrongData, "Affiliation Changed"),
        (Reason::Malfunction, "Superseded"),
    ] {
        let mut desk = Desk::open(false);
        assert_eq!(serials(&desk.counter.certifier).len(), 2);
        assert!(desk.list().is_empty());
        desk.serve(Case::Suspension, Some(Reason::Loss));
        assert_eq!(desk.list(), desk.both("Certificate Hold"));
        desk.serve(Case::Reactivation, None);
        assert!(desk.list().is_empty(), "{:?}", desk.list());
        desk.serve(Case::Revocation, Some(reason));
        assert_eq!(desk.list(), desk.both(on_list));
        assert!(fs::metadata(desk.counter.certifier.folder().join("crl.der")).is_ok());
        let acts = desk.counter.running.audited("certificate-status");
        assert!(acts.len() >= 6, "{acts:?}");
        println!("{reason:?}: {acts:?}");
        assert!(desk.counter.running.terminate().success());
    }
}

/// §7: where the authority wants it, the operator's own card signs these requests too, and the form asks for its PIN.
#[test]
fn the_operators_card_signs_the_change_of_status() {
    let mut desk = Desk::open(true);
    let started = desk.start(Case::Suspension);
    let ready = desk.until(started, "", "§9.5.3");
    let question = desk.client.call(&Next { procedure: ready.id.clone() }).unwrap();
    assert!(question.fields.iter().any(|field| field.name == "operator_pin" && field.secret));
    let without = desk.answer(&ready, Answer::Confirmed, false);
    let refused = refusal(&mut desk.client, &without);
    assert_eq!((refused.kind.code(), refused.paragraph.as_deref()), (1510, Some("§7")));
    assert!(desk.list().is_empty());
    desk.until(ready, "", "");
    assert_eq!(desk.list(), desk.both("Certificate Hold"));
    assert!(desk.counter.running.terminate().success());
}
