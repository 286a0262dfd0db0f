//! Every method of the daemon's description, and what the audit log has of it. Each act is done through the socket of a
//! real daemon, with virtual cards, and its entries are read back: before it and after it, who, on which card, by which
//! rule. What is refused is recorded as well, so an act need not succeed to be seen here.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cns_protocol::audit::{Entry, List, Phase};
use cns_protocol::counter::{Case, Show, Start};
use cns_virtual_authority::Profile;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, plug};
use der::{Decode, Encode};
use serde_json::{Value, json};
use x509_cert::request::CertReq;

use crate::kill::{CITIZEN, Counter, Setup, step_of, until};
use crate::rig::answers::document;
use crate::rig::usual_answer;
use crate::running::{Raw, access};

/// Methods that act, and what is recorded of them, each entry by its act, its phase, `*` where it has the card's number, its
/// rule, and who asked where that is no operator.
#[rustfmt::skip]
const ACTS: &[(&str, &str)] = &[
    ("custody.import", "custody-import intention §9.1.1, custody-import outcome §9.1.1"),
    ("custody.import_begin", "custody-upload fact §9.1.1"),
    ("custody.import_finish", "custody-import intention §9.1.1, custody-import outcome §9.1.1"),
    ("custody.import_drop", "custody-import intention §9.1.1, custody-import outcome §9.1.1"),
    ("custody.assign", "custody-assign intention §9.3.2-6, custody-assign outcome §9.3.2-6"),
    ("custody.return_envelopes", "custody-return intention §9.3.2-6, custody-return outcome §9.3.2-6"),
    ("custody.assign_envelopes", "custody-assign intention §9.3.2-6, custody-assign outcome §9.3.2-6"),
    ("custody.void_envelopes", "custody-void intention §9.3.2-6, custody-void outcome §9.3.2-6"),
    ("custody.decide_void", "custody-void intention §9.3.2-6, custody-void outcome §9.3.2-6"),
    ("pin.change", "pin-change intention*, pin-change outcome*"),
    ("pin.unblock", "pin-unblock intention*, pin-unblock outcome*"),
    ("puk.deliver", "puk-delivery intention* §6.3-PUK, puk-delivery outcome* §6.3-PUK"),
    ("key.sign", "signature intention* §1.3.7, signature outcome* §1.3.7"),
    ("holder.verify_user_code", "user-code fact §6.2"),
    ("counter.start", "procedure-started fact* §9.3.2"),
    ("counter.answer", "procedure-step fact* §9.3.2-1"),
    ("counter.cancel", "procedure-cancelled fact* §9.3.2"),
    ("counter.remove_signature", "signature-removed intention* §9.1.3, signature-removed outcome* §9.1.3"),
    ("counter.generate_key", "signature-certificate intention* §9.1.3, signature-certificate outcome* §9.1.3"),
    ("counter.load_certificate", "signature-certificate intention* §9.1.3, signature-certificate outcome* §9.1.3"),
    ("certificate.suspend", "certificate-status intention* §9.5.3, certificate-status outcome* §9.5.3, certificate-status outcome* §9.5.3"),
    ("certificate.reactivate", "certificate-status intention* §9.6.2, certificate-status outcome* §9.6.2, certificate-status outcome* §9.6.2"),
    ("certificate.revoke", "certificate-status intention* §9.7.1, certificate-status outcome* §9.7.1, certificate-status outcome* §9.7.1"),
    ("card.trace", "card-trace intention*, card-trace outcome*"),
    ("order.execute", "order fact"),
    ("national.receive", "national-receive fact* §8-in by a system"),
    ("national.decide", "national-decide intention* §8-in by a system, national-decide outcome* §8-in by a system"),
    ("national.request", "national-request fact* §9.3.3-5"),
    ("custody.rotate_key", "custody-rotate-key intention, custody-rotate-key outcome"),
    ("custody.decide_rotation", "custody-rotate-key intention, custody-rotate-key outcome"),
    ("custody.verify", "custody-verify intention, custody-verify outcome"),
    ("custody.backup", "custody-backup intention, custody-backup outcome"),
    ("custody.erase", "custody-erase intention, custody-erase outcome"),
    ("audit.rotate", "audit-rotate intention, audit-rotate outcome"),
    ("operator.logout", "operator-logout fact §9.3.2-2"),
    ("operator.login", "operator-login fact §9.3.2-2"),
];

/// Methods that are no acts, and why.
const NO_ACTS: &[(&str, &str)] = &[
    ("rpc.discover", "tells what every client may know"),
    ("daemon.status", "tells what every client may know"),
    ("reader.list", "tells what is in the readers"),
    ("reader.wait", "tells what is in the readers"),
    ("card.list", "reads what a card shows to everybody"),
    ("card.show", "reads what a card shows to everybody"),
    ("card.report", "reads what a card shows to everybody"),
    ("pin.verify", "the holder's own login, which happens by the dozen; what it is used for is recorded"),
    ("pin.logout", "ends the holder's own login"),
    ("pin.status", "spends no try and changes nothing"),
    ("puk.open", "the holder's own use of the card; that the PUK was given is recorded"),
    ("key.decrypt", "the holder's own use of the card, without legal meaning"),
    ("key.random", "random numbers"),
    ("certificate.status", "asked with a user code, which is recorded as such"),
    ("operator.status", "tells the operator's own session"),
    ("counter.cases", "tables of the manual"),
    ("counter.next", "asks what is to be done"),
    ("counter.show", "shows the operator's own work"),
    ("counter.list", "shows the operator's own work"),
    ("counter.sheet", "prints what the procedure has; the hand-over is a step, which is recorded"),
    ("custody.import_certificate", "a public key"),
    ("custody.import_chunk", "a part of a file: its beginning and its end are recorded"),
    ("custody.stock", "counts"),
    ("custody.void_requests", "shows what waits for a second person; both are recorded"),
    ("custody.show_envelope", "shows an envelope's standing, no secret"),
    ("custody.envelope_choices", "counts"),
    ("custody.rotation_requests", "shows what waits for a second person; both are recorded"),
    ("custody.keys", "numbers of keys"),
    ("national.show", "shows a request, which is recorded"),
    ("national.list", "shows requests, which are recorded"),
    ("order.receipt", "gives a receipt once more"),
    ("order.certificates", "public keys"),
    ("audit.list", "reads the log, which grew without end if that were an entry"),
    ("audit.verify", "reads the log"),
];

/// A client that notes what each of its calls leaves in the log.
struct Observer {
    counter: Counter,
    raw: Raw,
    id: i64,
    seen: u64,
    noted: BTreeMap<String, String>,
}

impl Observer {
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.id += 1;
        self.raw.request(self.id, method, params);
        loop {
            let answer = self.raw.read();
            // Progress has no identifier.
            if answer["id"] == json!(self.id) {
                return answer;
            }
        }
    }

    fn new_entries(&mut self) -> Vec<Entry> {
        let list = List { from: self.seen + 1, limit: 1000 };
        let entries = self.counter.running.client().call(&list).unwrap();
        self.seen = entries.last().map_or(self.seen, |entry| entry.number);
        entries
    }

    /// Calls a method and notes its entries.
    fn act(&mut self, method: &str, params: &Value) -> Value {
        self.new_entries();
        let answer = self.call(method, params);
        let user = rustix::process::geteuid().as_raw();
        let (mut noted, mut begun) = (Vec::new(), BTreeSet::new());
        for entry in self.new_entries() {
            if entry.is_checkpoint() {
                continue;
            }
            // The daemon's own work has no user: what it ends for the caller counts, what it does beside it does not.
            match entry.user {
                Some(by) => assert_eq!(by, user, "{method}: {entry:?}"),
                None if entry.procedure.as_ref().is_some_and(|number| begun.contains(number)) => {}
                None => continue,
            }
            begun.extend(entry.procedure);
            let who = match entry.operator.as_deref() {
                Some("op1") => "",
                _ => " by a system",
            };
            let phase = match entry.phase {
                Phase::Intention => "intention",
                Phase::Outcome => "outcome",
                Phase::Fact => "fact",
            };
            let card = if entry.card.as_deref() == Some(sample::ID_CARD) { "*" } else { "" };
            let paragraph = entry.paragraph.map(|paragraph| format!(" {paragraph}")).unwrap_or_default();
            noted.push(format!("{} {phase}{card}{paragraph}{who}", entry.act));
        }
        println!("{method}: {}\n    {}", noted.join(", "), answer["error"]["message"]);
        self.noted.insert(method.to_owned(), noted.join(", "));
        answer
    }
}

fn observer() -> Observer {
    let setup = Setup {
        envelopes: 4,
        authority: true,
        cards: &[sample::ID_CARD],
        custody: "void_four_eyes = true\nrotate_four_eyes = true\n",
        ..Setup::default()
    };
    let mut counter = Counter::built(&setup, |running| {
        let anchors = running.path("ca/ca.pem");
        format!(
            "{}[national]\nurl = \"http://127.0.0.1:9/requests\"\n[puk_delivery]\ntrust_anchors = {anchors:?}\n\
             [orders]\ntrust_anchors = {anchors:?}\n[[orders.signer]]\nname = \"cms\"\ncertificate_sha256 = \"{}\"\n",
            access(&["web", "national-system", "issuing-body"]),
            "ab".repeat(32),
        )
    });
    let chip = counter.chip.take().unwrap();
    // Until the end of the process.
    std::mem::forget(plug(chip, Endpoint::Unix(counter.running.path(CITIZEN))).unwrap());
    counter.running.card_in(CITIZEN);
    drop(counter.client());
    let raw = counter.running.raw();
    Observer { counter, raw, id: 0, seen: 0, noted: BTreeMap::new() }
}

#[test]
fn every_act_is_recorded_and_every_method_is_one_or_not() {
    let mut desk = observer();
    custody(&mut desk);
    holder(&mut desk);
    counter(&mut desk);
    certificates(&mut desk);
    others(&mut desk);
    upkeep(&mut desk);

    let expected: BTreeMap<_, _> =
        ACTS.iter().map(|(method, noted)| ((*method).to_owned(), (*noted).to_owned())).collect();
    assert_eq!(desk.noted, expected);
    let document: Value = serde_json::from_str(include_str!("../../../docs/openrpc.json")).unwrap();
    let described: BTreeSet<_> = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    let mut told = BTreeSet::new();
    for (method, why) in ACTS.iter().chain(NO_ACTS) {
        assert!(told.insert(*method), "{method} is told twice");
        assert!(!why.is_empty(), "{method} leaves no entry, or has no reason why not");
    }
    assert_eq!(told, described);
    assert!(desk.counter.running.terminate().success());
}

fn custody(desk: &mut Observer) {
    let codes = desk.counter.codes.clone();
    let nothing = STANDARD.encode([0; 40]);
    desk.act("custody.import", &json!({ "file": nothing }));
    let sha256 = "ab".repeat(32);
    desk.act("custody.import_begin", &json!({ "sha256": sha256, "size": 40 }));
    desk.act("custody.import_finish", &json!({ "sha256": sha256 }));
    desk.act("custody.import_drop", &json!({ "sha256": sha256 }));
    let one = json!({ "codes": [codes[0]] });
    desk.act("custody.assign", &json!({ "operator": "op1", "codes": [codes[0]] }));
    desk.act("custody.return_envelopes", &json!({ "envelopes": one }));
    desk.act("custody.assign_envelopes", &json!({ "envelopes": one, "to": { "operator": "op1" } }));
    let asked = desk.act("custody.void_envelopes", &json!({ "envelopes": one, "reason": "damaged" }));
    // Refused: it is the same person.
    let decision = json!({ "request": asked["result"]["request"], "confirm": true });
    desk.act("custody.decide_void", &decision);
}

fn holder(desk: &mut Observer) {
    let reader = desk.counter.running.reader(CITIZEN);
    let puk = String::from_utf8(sample::PUK.to_vec()).unwrap();
    desk.act("pin.change", &json!({ "reader": reader, "old_pin": "12345", "new_pin": "54321" }));
    desk.act("pin.unblock", &json!({ "reader": reader, "puk": puk, "new_pin": "12345" }));
    desk.call("pin.verify", &json!({ "reader": reader, "pin": "12345" }));
    desk.act("puk.deliver", &json!({ "reader": reader }));
    let data = STANDARD.encode([7; 51]);
    desk.act(
        "key.sign",
        &json!({
            "reader": reader, "key_use": "signature", "mechanism": "rsa-pkcs1", "data": data, "pin": "12345"
        }),
    );
    desk.act(
        "holder.verify_user_code",
        &json!({ "codice_fiscale": "RSSMRA80A01H501U", "user_code": "0000000000" }),
    );
}

fn counter(desk: &mut Observer) {
    let reader = desk.counter.running.reader(CITIZEN);
    let started = desk.act("counter.start", &json!({ "reader": reader, "case": "standard" }));
    let procedure = started["result"]["id"].clone();
    let answer = json!({ "fields": { "confirmed": true } });
    desk.act("counter.answer", &json!({ "procedure": procedure, "paragraph": "§9.3.2-1", "answer": answer }));
    desk.act("counter.cancel", &json!({ "procedure": procedure }));
    desk.act("counter.remove_signature", &json!({ "reader": reader, "pin": "12345", "even_if_valid": true }));
    desk.act("card.trace", &json!({ "reader": reader, "end": true }));
}

/// The signature certificate, by a program of the counter, and what becomes of it.
fn certificates(desk: &mut Observer) {
    let (mut client, reader) = (desk.counter.running.client(), desk.counter.running.reader(CITIZEN));
    let code = desk.counter.codes[1].clone();
    let mut procedure = client.call(&Start { reader: reader.clone(), case: Case::Standard }).unwrap();
    while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != "§9.1.3") {
        let answer = usual_answer(&step, &code, true);
        procedure = client.call(&step_of(&procedure, &step.paragraph, answer)).unwrap();
    }
    let made = desk.act("counter.generate_key", &json!({ "reader": reader, "key_bits": 2048 }));
    let request = STANDARD.decode(made["result"]["request"].as_str().unwrap()).unwrap();
    let request = CertReq::from_der(&request).unwrap();
    let certificate = desk.counter.certifier.issue(Profile::QualifiedSignature, &request).unwrap();
    let certificate = STANDARD.encode(certificate.to_der().unwrap());
    desk.act("counter.load_certificate", &json!({ "reader": reader, "certificate": certificate }));
    let procedure = client.call(&Show { procedure: procedure.id }).unwrap();
    until(&mut client, procedure, &code, "");

    let identified = json!({ "applicant": "holder", "document": document() });
    let request = json!({
        "channel": "counter", "card": sample::ID_CARD, "reason": "codes-compromised", "reason_gone": true,
        "identified": identified
    });
    for method in ["certificate.suspend", "certificate.reactivate", "certificate.revoke"] {
        desk.act(method, &request);
    }
}

fn others(desk: &mut Observer) {
    let reader = desk.counter.running.reader(CITIZEN);
    desk.act("order.execute", &json!({ "reader": reader, "order": STANDARD.encode([0; 40]) }));
    let revocation = json!({
        "kind": "revocation", "card": sample::ID_CARD, "codice_fiscale": "RSSMRA80A01H501U", "reason": "loss-or-theft"
    });
    desk.act("national.receive", &json!({ "id": "request-0001", "request": revocation }));
    desk.act("national.decide", &json!({ "id": "request-0001", "accepted": false, "message": "no" }));
    let identified = json!({ "applicant": "holder", "document": { "kind": "passport", "number": "YA0000000",
        "issuer": "Questura", "expires": "2099-12-31" } });
    let paper = json!({ "kind": "self-declaration", "date": "2026-01-15" });
    desk.act("national.request", &json!({ "request": revocation, "identified": identified, "paper": paper }));
}

fn upkeep(desk: &mut Observer) {
    let asked = desk.act("custody.rotate_key", &json!({ "key": "wrapping" }));
    let decision = json!({ "request": asked["result"]["request"], "confirm": true });
    desk.act("custody.decide_rotation", &decision);
    desk.act("custody.verify", &json!({}));
    desk.act("custody.backup", &json!({}));
    desk.act("custody.erase", &json!({ "codice_fiscale": "RSSMRA80A01H501U" }));
    desk.act("audit.rotate", &json!({}));
    desk.act("operator.logout", &json!({}));
    let reader = desk.counter.running.reader("operator");
    desk.act("operator.login", &json!({ "reader": reader, "pin": "12345" }));
}
