//! Sealed orders, made and checked with the commands of `docs/orders.md`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cns_protocol::certificate::{Channel, Status};
use cns_protocol::order::{Certificates, Execute, Executed, OrderResult, Receipt};
use cns_protocol::{Client, ErrorKind, audit, reader};
use cns_virtual_authority::{Authority as Certifier, InitOptions, Profile};
use cns_virtual_card::fault::{Fault, Trigger};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cnsd::database::Database;
use der::{Decode, Encode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use x509_cert::request::CertReq;

use crate::database;
use crate::kill::{CITIZEN, Counter};
use crate::rig::{refuse_writes, takes_pin};
use crate::running::{PATIENCE, Running, access, kind, refusal};

const RESET_RETRY_COUNTER: u8 = 0x2C;

/// The commands of the page, block by block.
fn documented() -> Vec<String> {
    let page = include_str!("../../../docs/orders.md");
    let blocks = page.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn shell(folder: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A CMS system with its key, the daemon that takes its orders, a citizen's card.
struct Desk {
    counter: Counter,
    card: Plugged,
    cms: TempDir,
}

impl Desk {
    fn new() -> Self {
        let cms = tempfile::tempdir().unwrap();
        shell(cms.path(), &documented()[0]);
        let text = |name: &str| fs::read_to_string(cms.path().join(name)).unwrap();
        let mut counter = Counter::configured(|_: &Running| {
            format!(
                "{}[orders]\ntrust_anchors = {:?}\n[[orders.signer]]\nname = \"cms\"\ncertificate_sha256 = \"{}\"\n",
                access(&["issuing-body"]),
                cms.path().join("ca.pem"),
                text("cms.sha256").trim()
            )
        });
        let chip = counter.chip.take().unwrap();
        let card = plug(chip, Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
        counter.running.card_in(CITIZEN);
        let certificates = counter.running.client().call(&Certificates {}).unwrap();
        fs::write(cms.path().join("order.pem"), certificates.order).unwrap();
        fs::write(cms.path().join("receipt.pem"), certificates.receipt).unwrap();
        Self { counter, card, cms }
    }

    /// The order of the page, with its script changed.
    fn order(&self, changes: &[(&str, &str)]) -> Vec<u8> {
        let script = changes.iter().fold(documented()[1].clone(), |script, (from, to)| {
            assert!(script.contains(from), "{from}");
            script.replace(from, to)
        });
        shell(self.cms.path(), &script);
        fs::read(self.cms.path().join("order.cms")).unwrap()
    }

    fn execute(&self, order: Vec<u8>) -> Execute {
        Execute { reader: self.counter.running.reader(CITIZEN), order }
    }

    /// What the receipt says, once `openssl` has found it good.
    fn receipt(&self, executed: &Executed) -> Value {
        fs::write(self.cms.path().join("receipt.cms"), &executed.receipt).unwrap();
        shell(self.cms.path(), &documented()[2]);
        serde_json::from_slice(&fs::read(self.cms.path().join("receipt.json")).unwrap()).unwrap()
    }

    /// PIN and PUK tries, and the commands that the card has been sent.
    fn card_state(&self, client: &mut Client) -> (u8, u8, u64) {
        let summary = self.card.with_card(|card| card.card().summary());
        let name = self.counter.running.reader(CITIZEN);
        let readers = client.call(&reader::List {}).unwrap().readers;
        let commands = readers.iter().find(|reader| reader.name == name).unwrap().traffic.commands;
        (summary.pin_tries, summary.puk_tries, commands)
    }

    fn takes_pin(&self, pin: &[u8]) -> bool {
        takes_pin(&self.card, pin)
    }
}

#[test]
fn an_order_made_with_openssl_is_carried_out_and_its_receipt_is_good() {
    let desk = Desk::new();
    let mut client = desk.counter.client();
    let order = desk.order(&[]);
    let digest = hex::encode(Sha256::digest(&order));
    let request = desk.execute(order);
    let executed = client.call(&request).unwrap();
    assert_eq!((executed.result, executed.number.as_str()), (OrderResult::Done, "2026-000001"));
    assert!(desk.takes_pin(b"24680"), "the PIN is the order's");
    let receipt = desk.receipt(&executed);
    for (member, value) in [
        ("format", "cns-receipt"),
        ("number", "2026-000001"),
        ("signer", "cms"),
        ("order_sha256", &digest),
        ("card", sample::ID_CARD),
        ("action", "set-pin"),
        ("result", "done"),
    ] {
        assert_eq!(receipt[member], value, "{member}");
    }
    assert_eq!(client.call(&Receipt { sha256: digest.to_uppercase() }).unwrap(), executed);
    // The card can be suspended from now on when it is lost.
    let card = Some(sample::ID_CARD.to_owned());
    let look = Status { channel: Some(Channel::IssuingBody), card, ..Status::default() };
    assert_eq!(client.call(&look).unwrap().certificates.len(), 1);
    let none = Receipt { sha256: "00".repeat(32) };
    assert_eq!(kind(&mut client, &none), ErrorKind::NoSuchOrder);

    // Three wrong PINs block the card; an order opens it with the PIN that it had.
    assert!((0..3).all(|_| !desk.takes_pin(b"11111")));
    assert!(!desk.takes_pin(b"24680"));
    let unblock =
        desk.order(&[("2026-000001", "2026-000002"), ("set-pin", "unblock"), (",\"pin\":\"24680\"", "")]);
    let unblocked = client.call(&desk.execute(unblock)).unwrap();
    assert_eq!(desk.receipt(&unblocked)["action"], "unblock");
    assert!(desk.takes_pin(b"24680"));

    // A PUK that the chip refuses: one try, and a receipt that says so.
    let wrong = desk.order(&[("2026-000001", "2026-000003"), ("87654321", "11223344")]);
    let refused = client.call(&desk.execute(wrong)).unwrap();
    assert_eq!(refused.result, OrderResult::PukRefused);
    assert_eq!(desk.receipt(&refused)["puk_tries_left"], 2);
    let audited = desk.counter.running.audited("order");
    assert!(audited.contains(&"Intention: order 2026-000001 of cms: set-pin".to_owned()), "{audited:?}");
    assert!(audited.contains(&"Outcome: order 2026-000003 of cms: puk-refused".to_owned()), "{audited:?}");
    for secret in ["87654321", "24680", "11223344"] {
        assert!(!desk.counter.running.log().contains(secret), "{secret} is in the log");
        assert!(!audited.iter().any(|line| line.contains(secret)));
    }
}

/// What is no good order, each with the reason that is told.
fn bad_orders(desk: &Desk, good: &[u8]) -> Vec<(&'static str, ErrorKind, Vec<u8>)> {
    shell(desk.cms.path(), &documented()[0].replace("ca.", "ca2.").replace("cms.", "cms2."));
    let flipped = |place: usize| {
        let mut order = good.to_vec();
        order[place] ^= 1;
        order
    };
    let made = |from: &str, to: &str| desk.order(&[("2026-000001", "2026-000002"), (from, to)]);
    let stranger =
        desk.order(&[("2026-000001", "2026-000002"), ("cms.pem", "cms2.pem"), ("cms.key", "cms2.key")]);
    let not_signed = fs::read(desk.cms.path().join("order.env")).unwrap();
    let (invalid, signer) = (ErrorKind::OrderInvalid, ErrorKind::OrderSigner);
    vec![
        ("wrong signer", signer, stranger),
        ("altered", invalid, flipped(good.len() / 3)),
        ("forged signature", signer, flipped(good.len() - 20)),
        ("not signed", invalid, not_signed),
        ("cut off", invalid, good[..good.len() - 1].to_vec()),
        ("longer", invalid, [good, &[0]].concat()),
        ("too large", invalid, vec![0x30; 64 * 1024 + 1]),
        ("BER", invalid, made("-nodetach", "-nodetach -stream")),
        ("BER inside", invalid, made("-aes256", "-aes256 -stream")),
        ("detached", invalid, made("-nodetach", "")),
        ("no attributes", invalid, made("-nodetach", "-nodetach -noattr")),
        ("SHA-1", invalid, made("sha256", "sha1")),
        ("no certificate", invalid, made("-nodetach", "-nodetach -nocerts")),
        ("other daemon", invalid, made("order.pem", "ca.pem")),
        ("content", invalid, made("cns-order", "cns-odrer")),
        ("expired", ErrorKind::OrderExpired, made("2099-12", "2020-12")),
        ("other card", ErrorKind::OrderOtherCard, made("6999000000001230", "6999000000001248")),
    ]
}

#[test]
fn what_is_no_good_order_is_refused_and_the_card_is_not_touched() {
    let mut desk = Desk::new();
    let mut client = desk.counter.client();
    let done = desk.execute(desk.order(&[]));
    client.call(&done).unwrap();
    let same_number = desk.execute(desk.order(&[("24680", "13579")]));
    let good = desk.order(&[("2026-000001", "2026-000002")]);
    let before = desk.card_state(&mut client);
    let bad = bad_orders(&desk, &good);
    let refused = bad.len() + 2;
    for (what, expected, order) in bad {
        let refused = refusal(&mut client, &desk.execute(order));
        assert_eq!(refused.kind, expected, "{what}: {refused}");
        assert_eq!(desk.card_state(&mut client), before, "{what}");
    }
    for replay in [&done, &same_number] {
        assert_eq!(kind(&mut client, replay), ErrorKind::OrderReplayed);
    }
    assert_eq!(desk.card_state(&mut client), before);
    let audited = desk.counter.running.audited("order");
    assert_eq!(audited.iter().filter(|line| line.starts_with("Fact: refused: ")).count(), refused);

    desk.counter.running.kill();
    desk.counter.running.launch();
    desk.counter.running.card_in(CITIZEN);
    let mut client = desk.counter.client();
    let before = desk.card_state(&mut client);
    for replay in [&done, &same_number] {
        assert_eq!(kind(&mut client, replay), ErrorKind::OrderReplayed, "after a restart");
    }
    assert_eq!(desk.card_state(&mut client), before);
    assert!(desk.takes_pin(b"24680"));
    client.call(&desk.execute(good)).expect("none of the refused ones has used its number up");
}

/// The card is pulled out right when it obeys: the order goes on by itself when the card is back.
#[test]
fn an_order_that_was_cut_off_goes_on_when_the_card_is_back() {
    let desk = Desk::new();
    let mut client = desk.counter.client();
    let request = desk.execute(desk.order(&[]));
    let trigger = Trigger::Instruction { ins: RESET_RETRY_COUNTER, after: 0 };
    desk.card.with_card(|card| card.plan_at(trigger, Fault::PullOutAfter));
    let error = refusal(&mut client, &request);
    assert!(error.message.contains("was begun"), "{error}");
    let digest = hex::encode(Sha256::digest(&request.order));
    assert_eq!(kind(&mut client, &Receipt { sha256: digest.clone() }), ErrorKind::NoSuchOrder);
    while desk.card.is_connected() {
        std::thread::sleep(Duration::from_millis(5));
    }
    desk.card.put_in();
    desk.counter.running.card_in(CITIZEN);
    let ends = Instant::now() + PATIENCE;
    let executed = loop {
        if let Ok(executed) = client.call(&Receipt { sha256: digest.clone() }) {
            break executed;
        }
        assert!(Instant::now() < ends, "the order is never settled");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(desk.receipt(&executed)["result"], "done");
    assert!(desk.takes_pin(b"24680"));
    assert_eq!(kind(&mut client, &request), ErrorKind::OrderReplayed);
}

/// A card of the same serial number that somebody else has certified comes instead, with the same order: its PUK counter
/// tells nothing about the attempt on the other one, and the order goes on with the card that it was begun on alone.
#[test]
fn an_order_that_was_begun_is_not_carried_on_with_another_card_of_that_number() {
    let desk = Desk::new();
    let mut client = desk.counter.client();
    let request = desk.execute(desk.order(&[]));
    let trigger = Trigger::Instruction { ins: RESET_RETRY_COUNTER, after: 0 };
    desk.card.with_card(|card| card.plan_at(trigger, Fault::PullOutBefore));
    let error = refusal(&mut client, &request);
    assert!(error.message.contains("was begun"), "{error}");
    while desk.card.is_connected() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let own = desk.counter.certifier.list().unwrap().pop().unwrap().certificate;
    let options = InitOptions { key_bits: 2048, ..InitOptions::new("another secret") };
    let stranger = Certifier::init(&desk.cms.path().join("stranger"), &options).unwrap();
    desk.card.with_card(|card| {
        let asked = card.card().certificate_request("Regione di prova").unwrap();
        let other = stranger.issue(Profile::Authentication, &CertReq::from_der(&asked).unwrap()).unwrap();
        card.card().load_certificate(&other.to_der().unwrap()).unwrap();
    });
    desk.card.put_in();
    desk.counter.running.card_in(CITIZEN);
    // Would the PUK be presented now, the plan would tell.
    desk.card.with_card(|card| card.plan_at(trigger, Fault::PullOutBefore));
    assert_eq!(kind(&mut client, &request), ErrorKind::OrderOtherCard);
    assert_eq!(desk.card.with_card(|card| card.pending()), 1, "the PUK was not presented");
    desk.card.with_card(|card| card.clear_plan());
    assert!(!desk.takes_pin(b"24680"));

    // The right one is settled: by itself, or by the order that comes again.
    desk.card.pull_out();
    desk.card.with_card(|card| card.card().load_certificate(&own)).unwrap();
    while desk.card.is_connected() {
        std::thread::sleep(Duration::from_millis(5));
    }
    desk.card.put_in();
    desk.counter.running.card_in(CITIZEN);
    let digest = hex::encode(Sha256::digest(&request.order));
    let ends = Instant::now() + PATIENCE;
    while client.call(&Receipt { sha256: digest.clone() }).is_err() {
        assert!(Instant::now() < ends, "the order is never settled");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(desk.takes_pin(b"24680"));
}

#[test]
fn an_order_ends_also_when_the_cards_certificates_cannot_be_noted() {
    let desk = Desk::new();
    let mut client = desk.counter.client();
    let state = desk.counter.running.path("state");
    Runtime::new().unwrap().block_on(async {
        let database = Database::open(&database::address(&state), &state).await.unwrap();
        refuse_writes(&database, "card_certificate").await;
        database.close().await;
    });
    let order = desk.order(&[]);
    let executed = client.call(&desk.execute(order)).unwrap();
    assert_eq!(executed.result, OrderResult::Done);
    assert_eq!(desk.receipt(&executed)["result"], "done");
    assert!(desk.takes_pin(b"24680"));
    let entries = client.call(&audit::List { from: 1, limit: 1000 }).unwrap();
    let phases: Vec<_> =
        entries.iter().filter(|entry| entry.act == "order").map(|entry| entry.phase).collect();
    assert_eq!(phases, [audit::Phase::Intention, audit::Phase::Outcome]);
}
