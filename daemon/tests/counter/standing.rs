//! §9.5 to §9.7 with the built daemon and the certifier over CMP; what became of the certificates is read from the
//! revocation list by `openssl`.

use std::fs;
use std::process::{Command, Stdio};

use cns_protocol::Client;
use cns_protocol::counter::{
    Answer, AnswerStep, Case, Next, Procedure, ProcedureState, Reason, Start, Wants,
};
use cns_virtual_authority::Authority as Certifier;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};

use crate::kill::{CITIZEN, Counter, Setup};
use crate::rig::usual_answer;
use crate::running::{refusal, text};

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
    _card: Plugged,
    client: Client,
    officer: bool,
}

impl Desk {
    fn open(officer: bool) -> Self {
        let cards = &[sample::ID_CARD];
        let mut counter = Counter::with(&Setup { envelopes: 1, authority: true, officer, cards });
        let chip = counter.chip.take().unwrap();
        let card = plug(chip, Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
        counter.running.card_in(CITIZEN);
        let client = counter.client();
        let mut desk = Self { counter, _card: card, client, officer };
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
