//! A client that knows nothing of the manual: it asks `counter.next` what is wanted, fills in the fields by their type,
//! and sends them, until nothing is asked any more. So every case is driven from its beginning to its end, on the real
//! daemon, through its socket, in plain JSON.

use cns_protocol::counter::Case;
use cns_protocol::reader::ReaderState;
use cns_virtual_card::vpcd::{Endpoint, plug};
use cns_virtual_card::{SignatureAreaState, sample};
use serde_json::{Map, Value, json};

use crate::kill::{CITIZEN, Counter, Setup};
use crate::rig::personalise;
use crate::running::Raw;

/// The other card, of a minor.
const MINOR: &str = "6999000000001248";

/// What stands on the papers that lie on the counter, and what people say; nothing of rules.
pub(crate) struct Papers {
    /// Who came, where the case lets several come.
    pub(crate) applicant: &'static str,
    pub(crate) envelope: String,
    pub(crate) pin: String,
}

impl Papers {
    /// Fills in one field by its type, as somebody does who reads labels only.
    fn value(&self, field: &Value) -> Value {
        let name = field["name"].as_str().unwrap();
        match field["kind"].as_str().unwrap() {
            "confirmation" | "yes-no" => json!(true),
            "choice" if name == "applicant" => json!(self.applicant),
            "choice" => field["allowed"][0]["value"].clone(),
            "date" if name == "expires" => json!("2099-12-31"),
            "date" => json!("2026-01-15"),
            "envelope-code" => json!(self.envelope),
            "codice-fiscale" => json!("VRDLCU80A01H501G"),
            "email" => json!("luca@example.it"),
            "text" => json!("Verdi"),
            other => panic!("a field of an unknown kind {other}"),
        }
    }
}

pub(crate) struct Thin {
    raw: Raw,
    id: i64,
}

impl Thin {
    pub(crate) fn new(raw: Raw) -> Self {
        Self { raw, id: 0 }
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.id += 1;
        self.raw.request(self.id, method, params);
        loop {
            let answer = self.raw.read();
            // Progress has no identifier.
            if answer["id"] != json!(self.id) {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(error["data"].clone()),
                None => Ok(answer["result"].clone()),
            };
        }
    }

    /// Drives a case to its end; the paragraphs of the steps that were asked.
    pub(crate) fn drive(&mut self, reader: &str, case: &str, papers: &Papers) -> (Value, Vec<String>) {
        let started = self.call("counter.start", &json!({ "reader": reader, "case": case })).unwrap();
        let procedure = started["id"].clone();
        let mut asked = Vec::new();
        loop {
            let question = self.call("counter.next", &json!({ "procedure": procedure })).unwrap();
            let step = &question["step"];
            let Some(paragraph) = step["paragraph"].as_str() else { break };
            for text in ["text", "text_it"] {
                assert!(step[text].as_str().is_some_and(|text| text.len() > 10), "{question}");
            }
            let mut request = json!({ "procedure": procedure, "paragraph": paragraph });
            let mut values = Map::new();
            for field in question["fields"].as_array().unwrap() {
                let name = field["name"].as_str().unwrap();
                if field["secret"] == json!(true) {
                    request[name] = json!(papers.pin);
                } else {
                    values.insert(name.to_owned(), papers.value(field));
                }
            }
            request["answer"] = json!({ "fields": values });
            asked.push(paragraph.to_owned());
            self.call("counter.answer", &request).unwrap_or_else(|error| panic!("{paragraph}: {error}"));
        }
        (self.call("counter.show", &json!({ "procedure": procedure })).unwrap(), asked)
    }
}

fn counter(envelopes: usize, cards: &[&str]) -> Counter {
    let setup = Setup { envelopes, authority: true, cards, ..Setup::default() };
    Counter::built(&setup, |_| "[counter]\nrenewal = true\n".to_owned())
}

/// What cannot be done here is said beforehand, and by the rule in both languages when it is tried.
fn refused_as_listed(thin: &mut Thin, reader: &str, listed: &[Value]) -> Vec<String> {
    let mut refused_cases = Vec::new();
    for case in listed {
        let name = case["case"].as_str().unwrap();
        let Some(refusal) = case.get("refusal") else { continue };
        assert!(refusal["text_it"].as_str().is_some_and(|text| !text.is_empty()), "{case}");
        let refused = thin.call("counter.start", &json!({ "reader": reader, "case": name })).unwrap_err();
        assert!(refused["italian"].as_str().is_some_and(|text| text.len() > 10), "{refused}");
        assert_eq!(refused["paragraph"], refusal["paragraph"]);
        refused_cases.push(name.to_owned());
    }
    refused_cases
}

#[test]
fn a_client_that_only_looks_at_counter_next_drives_every_case() {
    let mut counter = counter(12, &[sample::ID_CARD, MINOR]);
    let socket = counter.running.path(CITIZEN);
    let adult = plug(counter.chip.take().unwrap(), Endpoint::Unix(socket.clone())).unwrap();
    counter.running.card_in(CITIZEN);
    // Logged in for this Unix user.
    drop(counter.client());
    let mut thin = Thin::new(counter.running.raw());
    let reader = counter.running.reader(CITIZEN);
    let listed = thin.call("counter.cases", &json!({})).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), Case::ALL.len());
    let mut codes = counter.codes.clone().into_iter();
    let mut driven = Vec::new();

    // The PIN that the card has; the signature area's is the same.
    let mut pin = String::new();
    // The adult's card: the activation with the signature certificate comes last, so that the others find none.
    let mut drive = |thin: &mut Thin, case: &str, applicant: &'static str, uses: bool| {
        let envelope = if uses { codes.next().unwrap() } else { String::new() };
        if uses {
            pin = counter.pin_in(&envelope);
        }
        let pin = pin.clone();
        let papers = Papers { applicant, envelope, pin };
        let (procedure, asked) = thin.drive(&reader, case, &papers);
        assert_eq!(procedure["state"], json!("done"), "{procedure}");
        println!("{case}, {applicant}: {}", asked.join(" "));
        driven.push(case.to_owned());
        papers
    };
    drive(&mut thin, "ward", "guardian", true);
    drive(&mut thin, "new-codes", "guardian", true);
    drive(&mut thin, "delegation", "delegate", true);
    drive(&mut thin, "new-codes", "delegate", true);
    drive(&mut thin, "standard", "holder", true);
    let state = adult.with_card(|card| card.card().summary().signature_area);
    assert_eq!(state, SignatureAreaState::Certified, "the citizen wanted it");
    for case in ["renewal", "suspension", "reactivation", "revocation"] {
        drive(&mut thin, case, "guardian", false);
    }
    // Somebody's card is replaced by the minor's.
    adult.pull_out();
    let mut order = sample::personalisation().unwrap();
    order.holder.id_card = Some(MINOR.to_owned());
    order.holder.birth_date = "2012-05-05".to_owned();
    order.holder.codice_fiscale = "RSSMRA12E05H501Y".to_owned();
    let chip = personalise(&counter.certifier, &counter.running.path("minor-card"), order);
    counter.running.until(CITIZEN, |state| matches!(state, ReaderState::Empty));
    let minor = plug(chip, Endpoint::Unix(socket)).unwrap();
    counter.running.card_in(CITIZEN);
    drive(&mut thin, "minor", "parent", true);
    drive(&mut thin, "new-codes", "parent", true);
    let last = drive(&mut thin, "emancipated-minor", "emancipated-minor", true);
    let tries = minor.with_card(|card| card.card().summary().pin_tries);
    assert_eq!((tries, last.pin.len()), (3, 5));

    driven.extend(refused_as_listed(&mut thin, &reader, listed));
    // The rest of the cases has tests of its own below.
    driven.push("signature".to_owned());
    for case in listed {
        assert!(driven.iter().any(|done| Some(done.as_str()) == case["case"].as_str()), "{case}");
    }
    assert!(counter.running.terminate().success());
}

#[test]
fn a_later_signature_certificate_asks_for_a_secret_and_refuses_it_among_the_fields() {
    let mut counter = counter(1, &[sample::ID_CARD]);
    let socket = counter.running.path(CITIZEN);
    let _card = plug(counter.chip.take().unwrap(), Endpoint::Unix(socket)).unwrap();
    counter.running.card_in(CITIZEN);
    drop(counter.client());
    let mut thin = Thin::new(counter.running.raw());
    let reader = counter.running.reader(CITIZEN);
    let pin = String::from_utf8(sample::PIN.to_vec()).unwrap();
    let papers = Papers { applicant: "holder", envelope: String::new(), pin: pin.clone() };
    let started = thin.call("counter.start", &json!({ "reader": reader, "case": "signature" })).unwrap();
    let early = json!({
        "procedure": started["id"], "paragraph": "§9.3.2-1", "answer": { "fields": { "confirmed": true, "pin": pin } }
    });
    let refused = thin.call("counter.answer", &early).unwrap_err();
    assert_eq!(refused["kind"], json!("field-invalid"));
    assert!(!refused.to_string().contains(&pin), "{refused}");
    let missing = json!({ "procedure": started["id"], "paragraph": "§9.3.2-1", "answer": { "fields": {} } });
    let refused = thin.call("counter.answer", &missing).unwrap_err();
    assert!(refused["italian"].as_str().is_some_and(|text| text.contains("confirmed")), "{refused}");
    let (done, asked) = thin.drive(&reader, "signature", &papers);
    assert_eq!(done["state"], json!("done"));
    assert_eq!(asked, ["§9.3.2-1", "§6.1.2", "§9.3.2-5", "§7-form", "§9.1.3", "§9.3.2-11"]);
    assert!(counter.running.terminate().success());
}
