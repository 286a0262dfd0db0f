//! SIGKILL at every step: the built daemon is killed while it answers, started again, and the procedure goes on.
//!
//! CI kills it once at every step of an activation, of a later signature certificate and of another region's card; `cargo xtask
//! soak counter` for every case, at many moments.

use std::env;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use cns_protocol::card::KeyUse;
use cns_protocol::counter::{
    Answer, AnswerStep, Applicant, Case, Procedure, ProcedureState, Show, Start, Step, Wants,
};
use cns_protocol::key::{Mechanism, Sign};
use cns_protocol::{Client, audit, custody};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use rsa::RsaPrivateKey;

use crate::kill::{CITIZEN, Counter, Setup};
use crate::national_peer;
use crate::rig::usual_answer;
use crate::running::{PATIENCE, text};
use crate::standing::changes;

/// How many rounds over all cases; unset: one over a few.
const ROUNDS: &str = "CNSD_SOAK_ROUNDS";
/// The longest time between the answer and the kill: what a step takes here, and some more.
const LATEST_MS: u64 = 60;

const SHORT: [(Case, Applicant, bool); 6] = [
    (Case::Standard, Applicant::Holder, false),
    (Case::Signature, Applicant::Holder, true),
    (Case::Renewal, Applicant::Holder, true),
    (Case::OtherRegion, Applicant::Holder, false),
    (Case::Suspension, Applicant::Holder, false),
    (Case::Reactivation, Applicant::Guardian, false),
];
const ALL: [(Case, Applicant, bool); 9] = [
    (Case::Standard, Applicant::Holder, false),
    (Case::Ward, Applicant::Guardian, false),
    (Case::Delegation, Applicant::Delegate, false),
    (Case::NewCodes, Applicant::Holder, false),
    (Case::OtherRegion, Applicant::Delegate, false),
    // Once the card has its signature certificate, nothing is left to be made: see `Killing::wants_signature`.
    (Case::Standard, Applicant::Holder, true),
    (Case::Renewal, Applicant::Holder, true),
    (Case::Suspension, Applicant::Guardian, false),
    (Case::Reactivation, Applicant::Holder, false),
];

struct Killing {
    counter: Counter,
    card: Plugged,
    reader: String,
    applicant: Applicant,
    code: String,
    /// The envelope whose PIN the signature area has.
    signature_code: String,
    wants_signature: bool,
    kills: u64,
}

impl Killing {
    /// The card is in the reader, and generates keys that are made already.
    fn new(mut counter: Counter) -> Self {
        let socket = counter.running.path(CITIZEN);
        let card = plug(counter.chip.take().unwrap(), Endpoint::Unix(socket)).unwrap();
        counter.running.card_in(CITIZEN);
        let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
        card.with_card(|card| card.card().plan_keys(keys));
        Self {
            reader: counter.running.reader(CITIZEN),
            counter,
            card,
            applicant: Applicant::Holder,
            code: String::new(),
            signature_code: String::new(),
            wants_signature: false,
            kills: 0,
        }
    }

    fn request(&self, procedure: &Procedure, step: &Step) -> AnswerStep {
        let answer = if step.wants == Wants::Applicant {
            Answer::Applicant(self.applicant)
        } else {
            let second = step.paragraph.ends_with("-envelope");
            let code = if second { &self.signature_code } else { &self.code };
            usual_answer(step, code, self.wants_signature)
        };
        AnswerStep {
            procedure: procedure.id.clone(),
            paragraph: step.paragraph.clone(),
            answer,
            // A certificate that comes later is made with the PINs that the holder has.
            pin: matches!(step.wants, Wants::Pin | Wants::Pins)
                .then(|| text(&self.counter.pin_in(&self.code))),
            signature_pin: (step.wants == Wants::Pins)
                .then(|| text(&self.counter.pin_in(&self.signature_code))),
            operator_pin: None,
        }
    }

    /// Kills the daemon while it answers, and starts it again.
    fn kill_during(&mut self, mut client: Client, request: AnswerStep) -> Client {
        // Spread over the step's time, and the same in every run.
        let moment = self.kills.wrapping_mul(0x9E37_79B9).rotate_left(7) % LATEST_MS;
        let asking = spawn(move || drop(client.call(&request)));
        sleep(Duration::from_millis(moment));
        self.counter.running.kill();
        asking.join().unwrap();
        self.kills += 1;
        self.counter.running.launch();
        self.counter.running.card_in(CITIZEN);
        self.counter.client()
    }

    /// Answers the step until it is done.
    fn insist(&self, client: &mut Client, procedure: &Procedure, step: &Step) -> Procedure {
        let ends = Instant::now() + PATIENCE;
        loop {
            let now = client.call(&Show { procedure: procedure.id.clone() }).unwrap();
            if now.next.as_ref().map(|next| &next.paragraph) != Some(&step.paragraph) {
                return now;
            }
            match client.call(&self.request(procedure, step)) {
                Ok(done) => return done,
                Err(error) => assert!(Instant::now() < ends, "{}: {error}", step.paragraph),
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// A whole procedure, with a kill at each of its steps; how many there were.
    fn procedure(&mut self, case: Case) -> usize {
        let mut client = self.counter.client();
        let mut procedure = client.call(&Start { reader: self.reader.clone(), case }).unwrap();
        let mut steps = 0;
        while let Some(step) = procedure.next.clone() {
            let request = self.request(&procedure, &step);
            client = self.kill_during(client, request);
            procedure = self.insist(&mut client, &procedure, &step);
            steps += 1;
        }
        assert_eq!(procedure.state, ProcedureState::Done, "{procedure:?}");
        let mut verify = vec![0x00, 0x20, 0x00, 0x90, 0x08];
        verify.extend_from_slice(self.counter.pin_in(&self.code).as_bytes());
        verify.resize(13, 0xFF);
        let answer = self.card.with_card(|card| {
            card.card().power_on();
            let answer = card.card().transmit(&verify);
            card.reset();
            answer
        });
        assert_eq!(answer, [0x90, 0x00], "the PIN is the envelope's");
        steps
    }
}

#[test]
fn a_daemon_killed_at_every_step_loses_nothing() {
    let rounds: Option<usize> = env::var(ROUNDS).ok().map(|rounds| rounds.parse().unwrap());
    let cases = if rounds.is_some() { ALL.as_slice() } else { SHORT.as_slice() };
    let rounds = rounds.unwrap_or(1);
    let uses_envelope = |case| {
        !matches!(
            case,
            Case::Signature | Case::Renewal | Case::OtherRegion | Case::Suspension | Case::Reactivation
        )
    };
    let envelopes = rounds * cases.iter().filter(|(case, _, _)| uses_envelope(*case)).count();
    let (peer, url) = national_peer::serve();
    let setup = Setup { envelopes, authority: true, cards: &[sample::ID_CARD], ..Setup::default() };
    let counter =
        Counter::built(&setup, |_| format!("[national]\nurl = {url:?}\n[counter]\nrenewal = true\n"));
    let mut codes = counter.codes.clone().into_iter();
    let mut killing = Killing::new(counter);
    let (mut settled, mut asked) = (0, 0);
    for round in 0..rounds {
        for (case, applicant, signature) in cases {
            killing.applicant = *applicant;
            if uses_envelope(*case) {
                killing.code = codes.next().unwrap();
            }
            // The card gets one signature certificate.
            killing.wants_signature = *signature && round == 0;
            settled += killing.procedure(*case);
            let has_area = !killing.signature_code.is_empty();
            if (killing.wants_signature && !has_area) || (*case == Case::NewCodes && has_area) {
                killing.signature_code.clone_from(&killing.code);
            }
            asked += usize::from(*case == Case::OtherRegion);
        }
    }
    assert_eq!(peer.lock().unwrap().done.len(), asked, "each request was done, once");
    settled += killing.procedure(Case::Revocation);
    // Two certificates and those that were renewed, one more in each round: suspended and reactivated in it, and revoked at
    // the end.
    let renewed: usize = (1..=rounds).map(|round| 2 * (2 + round)).sum();
    assert_eq!(changes(&killing.counter.certifier), renewed + 2 + rounds, "each change was made, once");
    println!("SIGKILL: {} cases, {settled} settled", killing.kills);
    let mut client = killing.counter.client();
    let stock = client.call(&custody::Stock {}).unwrap();
    let used = u64::try_from(envelopes).unwrap();
    assert_eq!((stock.used, stock.assigned, stock.reserved, stock.void), (used, 0, 0, 0));
    let tries = killing.card.with_card(|card| card.card().summary().puk_tries);
    assert_eq!(tries, 3, "no try was burnt");
    client.call(&audit::Verify {}).unwrap();
    assert!(killing.counter.running.terminate().success());
}

#[test]
fn a_daemon_killed_with_a_second_envelope_in_use_loses_neither() {
    let setup = Setup { envelopes: 4, authority: true, cards: &[sample::ID_CARD], ..Setup::default() };
    let counter = Counter::built(&setup, |_| "[signature_area]\npin = \"own-envelope\"\n".to_owned());
    let mut codes = counter.codes.clone().into_iter();
    let mut killing = Killing::new(counter);
    let mut settled = 0;
    for (case, signature) in [(Case::Standard, true), (Case::NewCodes, false)] {
        (killing.code, killing.signature_code) = (codes.next().unwrap(), codes.next().unwrap());
        killing.wants_signature = signature;
        settled += killing.procedure(case);
        let pin = killing.counter.pin_in(&killing.signature_code);
        let sign = Sign {
            reader: killing.reader.clone(),
            insertion: None,
            key_use: KeyUse::Signature,
            mechanism: Mechanism::RsaPkcs1,
            data: vec![7; 51],
            pin: Some(text(&pin)),
            confirm_last_try: false,
        };
        let signed = killing.counter.client().call(&sign).unwrap();
        assert_eq!(signed.signature.len(), 256, "the signature PIN is its envelope's");
    }
    println!("SIGKILL with two envelopes: {} cases, {settled} settled", killing.kills);
    let mut client = killing.counter.client();
    let stock = client.call(&custody::Stock {}).unwrap();
    assert_eq!((stock.used, stock.assigned, stock.reserved, stock.void), (4, 0, 0, 0));
    client.call(&audit::Verify {}).unwrap();
    assert!(killing.counter.running.terminate().success());
}
