//! A peer that floods harms only itself; a user cannot tell whether a card is in custody.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cns_protocol::custody::{Import, ImportCertificate};
use cns_protocol::{Client, daemon, reader};
use cns_virtual_card::sample;
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cns_virtual_card::vpcd::{Endpoint, plug};
use der::DecodePem;
use serde_json::{Value, json};
use x509_cert::Certificate;

use crate::plugged::sample_card;
use crate::running::{EVERYTHING, Raw, Running, access};

const FLOOD: Duration = Duration::from_secs(3);
const PER_SECOND: u32 = 50;

/// What `a_flood_is_its_own_peers_trouble` runs as another user; does nothing otherwise.
#[test]
fn flood_as_another_user() {
    let Some(socket) = std::env::var_os("FLOOD_SOCKET") else { return };
    let (answers, begun) = (Arc::new(AtomicU32::new(0)), Instant::now());
    let flood = |_| {
        let (socket, answers) = (socket.clone(), Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut client = Client::connect(socket.as_ref()).unwrap();
            while begun.elapsed() < FLOOD {
                // More than two at work are refused, which counts as well.
                drop(client.call(&daemon::Status {}));
                answers.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let threads: Vec<_> = (0..8).map(flood).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Requests that wait take the places of the user's others.
    let mut waiting: Vec<Raw> = (0..3).map(|_| Raw::connect(socket.as_ref())).collect();
    let mut client = Client::connect(socket.as_ref()).unwrap();
    let change = client.call(&reader::List {}).unwrap().change;
    for raw in &mut waiting {
        raw.request(1, "reader.wait", &json!({ "change": change, "timeout_ms": 3000 }));
    }
    let kinds = waiting.iter_mut().map(|raw| raw.read()["error"]["data"]["kind"].clone());
    let busy = kinds.filter(|kind| kind == "busy").count();
    println!("flood: {} answers, {busy} busy", answers.load(Ordering::SeqCst));
}

#[test]
fn a_flood_is_its_own_peers_trouble() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot become another user");
        return;
    }
    let rules = format!(
        "[limits]\nuser_requests_per_second = {PER_SECOND}\nuser_requests_in_flight = 2\n\
         [[access]]\nrole = \"user\"\neveryone = true\n"
    );
    let running = Running::start_with(&[], &rules);
    let mut flood = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "quotas::flood_as_another_user", "--nocapture"])
        .env("FLOOD_SOCKET", running.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = running.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..60 {
        let begun = Instant::now();
        client.call(&daemon::Status {}).unwrap();
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(flood.wait().unwrap().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut flood.stdout.take().unwrap(), &mut said).unwrap();
    let line = said.lines().find(|line| line.contains("flood: ")).unwrap();
    let answers: u32 = line.split("flood: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Three seconds' share and the four that may come at once; on a slow machine it is the last request that is late.
    let most = PER_SECOND * 7 + PER_SECOND * 2;
    assert!((PER_SECOND..=most).contains(&answers), "{line}");
    assert!(line.contains("1 busy"), "{line}");
    assert!(slowest < Duration::from_secs(2), "we waited {slowest:?} while another flooded");
}

/// What every `user` method answers about the card, with the commands that it cost; numbers that always differ left out.
fn everything_a_user_sees(running: &Running) -> Vec<(String, Value, u64)> {
    let name = running.reader("citizen");
    let mut client = running.client();
    let mut commands = move || {
        let list = client.call(&reader::List {}).unwrap();
        list.readers.iter().map(|reader| reader.traffic.commands).sum::<u64>()
    };
    let mut raw = running.raw();
    raw.request(0, "rpc.discover", &json!({}));
    let document = raw.read()["result"].clone();
    let mut seen = Vec::new();
    for method in document["methods"].as_array().unwrap().iter().filter(|m| m["x-role"] == "user") {
        let method = method["name"].as_str().unwrap();
        let params = match method {
            "rpc.discover" | "daemon.status" | "reader.list" | "card.list" => json!({}),
            "reader.wait" => json!({ "change": 0, "timeout_ms": 1 }),
            "card.show" | "card.report" | "pin.status" | "pin.logout" | "puk.deliver" => {
                json!({ "reader": name })
            }
            "pin.verify" => json!({ "reader": name, "pin": "12345" }),
            "pin.change" => json!({ "reader": name, "which": "cns", "old_pin": "1", "new_pin": "2" }),
            "pin.unblock" => json!({ "reader": name, "which": "cns", "puk": "1", "new_pin": "2" }),
            "puk.open" => json!({ "reader": name, "message": "MAA=" }),
            "key.sign" => json!({ "reader": name, "key_use": "authentication",
                "mechanism": "rsa-pkcs1", "data": "AAAA", "pin": "12345" }),
            "key.decrypt" => json!({ "reader": name, "mechanism": "rsa-pkcs1", "data": "AAAA" }),
            "key.random" => json!({ "reader": name, "length": 8 }),
            other => panic!("{other} is new: can a user tell from it whether a card is in custody?"),
        };
        let before = commands();
        raw.request(1, method, &params);
        let mut answer = raw.read();
        mask(&mut answer);
        seen.push((method.to_owned(), answer, commands() - before));
    }
    seen
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["uptime_seconds", "traffic", "change", "bytes"] {
                members.remove(name);
            }
            members.values_mut().for_each(mask);
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_user_cannot_tell_whether_a_card_is_in_custody() {
    let running = Running::start_with(&["citizen"], &access(EVERYTHING));
    let _plugged = plug(sample_card(|_| {}), Endpoint::Unix(running.path("citizen"))).unwrap();
    running.card_in("citizen");
    // The first round also fills what is remembered of the card.
    drop(everything_a_user_sees(&running));
    let before = everything_a_user_sees(&running);
    let mut client = running.client();
    let pem = client.call(&ImportCertificate {}).unwrap().pem;
    let recipient = Recipient::from_certificate(&Certificate::from_pem(pem).unwrap()).unwrap();
    let mut content = Content::with_capacity(Kind::Cards, 200).unwrap();
    let members: [(&str, &[u8]); 3] = [
        ("id_card", sample::ID_CARD.as_bytes()),
        ("codice_fiscale", b"RSSMRA80A01H501U"),
        ("puk", sample::PUK),
    ];
    content.push_object(&members).unwrap();
    client.call(&Import { file: recipient.seal(&content).unwrap() }).unwrap();
    let after = everything_a_user_sees(&running);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after, "the same answer for the same number of the card's commands");
    }
    assert_eq!(before.len(), after.len());
}
