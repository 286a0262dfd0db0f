//! Logins belong to clients: one client's PIN opens nothing to another, and no PIN is presented twice by itself.

use std::ops::Deref;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Mechanism, Random, Sign, Signature};
use cns_protocol::pin::{Change, Logout, PinName, Status, Unblock, Verify};
use cns_protocol::reader::ReaderState;
use cns_protocol::{Client, ErrorKind, card, reader};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use rsa::pkcs1v15;
use serde_json::json;
use sha2::{Digest, Sha256};
use signature::hazmat::PrehashVerifier;

use crate::plugged::sample_card;
use crate::running::{Running, kind, refusal, text};

const READER: &str = "citizen";
const PIN: &str = "12345";
const PUK: &str = "87654321";
/// Digits that stand nowhere else, to be looked for in the log.
const NEW_PIN: &str = "90817263";

/// DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// A daemon with a citizen's card in its reader.
struct Citizen(Running);

impl Deref for Citizen {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

fn with_card() -> (Citizen, Plugged) {
    let running = Running::start(&[READER]);
    let plugged = plug(sample_card(|_| {}), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    (Citizen(running), plugged)
}

impl Citizen {
    fn verify(&self, pin: &str) -> Verify {
        Verify {
            reader: self.reader(READER),
            insertion: None,
            which: PinName::Cns,
            pin: Some(text(pin)),
            confirm_last_try: false,
        }
    }

    fn sign(&self, key_use: KeyUse) -> Sign {
        Sign {
            reader: self.reader(READER),
            insertion: None,
            key_use,
            mechanism: Mechanism::RsaPkcs1,
            data: [DIGEST_INFO.as_slice(), &Sha256::digest(b"message")].concat(),
            pin: None,
            confirm_last_try: false,
        }
    }

    fn change(&self, old: &str, new: &str) -> Change {
        Change {
            insertion: None,
            reader: self.reader(READER),
            which: PinName::Cns,
            old_pin: Some(text(old)),
            new_pin: Some(text(new)),
            confirm_last_try: false,
        }
    }

    fn tries_left(&self) -> Option<u8> {
        let states = self.client().call(&Status { reader: self.reader(READER) }).unwrap();
        states.iter().find(|state| state.which == PinName::Cns && !state.is_puk).unwrap().tries_left
    }

    fn signs(&self, client: &mut Client) {
        let Signature { signature } = client.call(&self.sign(KeyUse::Authentication)).unwrap();
        let key = pkcs1v15::VerifyingKey::<Sha256>::new(sample::key().unwrap().to_public_key());
        let signature = pkcs1v15::Signature::try_from(signature.as_slice()).unwrap();
        key.verify_prehash(&Sha256::digest(b"message"), &signature).unwrap();
    }
}

#[test]
fn one_clients_login_never_serves_another() {
    let (running, _plugged) = with_card();
    let (mut first, mut second) = (running.client(), running.client());
    assert_eq!(kind(&mut first, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    first.call(&running.verify(PIN)).unwrap();
    running.signs(&mut first);
    assert_eq!(kind(&mut second, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    // A second user of the same program is a client of its own too.
    second.call(&running.verify(PIN)).unwrap();
    first.call(&Logout { reader: running.reader(READER) }).unwrap();
    assert_eq!(kind(&mut first, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    running.signs(&mut second);
}

#[test]
fn a_login_ends_when_the_card_is_taken_out() {
    let (running, plugged) = with_card();
    let mut client = running.client();
    client.call(&running.verify(PIN)).unwrap();
    let before = running.card_in(READER);
    plugged.pull_out();
    running.until(READER, |state| *state == ReaderState::Empty);
    assert_eq!(kind(&mut client, &running.sign(KeyUse::Authentication)), ErrorKind::NoCard);
    plugged.put_in();
    let after = running.card_in(READER);
    assert!(after > before);
    assert_eq!(kind(&mut client, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    let meant = Verify { insertion: Some(before), ..running.verify(PIN) };
    assert_eq!(kind(&mut client, &meant), ErrorKind::CardRemoved, "another insertion was meant");
    client.call(&running.verify(PIN)).unwrap();
    running.signs(&mut client);
}

#[test]
fn a_signature_key_wants_its_pin_each_time() {
    let (running, _plugged) = with_card();
    let mut client = running.client();
    client.call(&running.verify(PIN)).unwrap();
    let refused = refusal(&mut client, &running.sign(KeyUse::Signature));
    assert_eq!(refused.kind, ErrorKind::NotLoggedIn);
    assert_eq!(refused.paragraph.as_deref(), Some("§1.3.7"));
    let with_pin = Sign { pin: Some(text(PIN)), ..running.sign(KeyUse::Signature) };
    assert_eq!(kind(&mut client, &with_pin), ErrorKind::NoSuchObject, "this card has no signature area");
}

#[test]
fn a_wrong_pin_tells_the_tries_and_the_last_one_wants_a_word() {
    let (running, _plugged) = with_card();
    let mut client = running.client();
    let refused = refusal(&mut client, &running.verify("54321"));
    assert_eq!((refused.kind, refused.tries_left), (ErrorKind::PinIncorrect, Some(2)));
    assert_eq!(kind(&mut client, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    assert_eq!(kind(&mut client, &running.verify("1234")), ErrorKind::PinInvalid);
    assert_eq!(kind(&mut client, &running.verify("12a45")), ErrorKind::PinInvalid);
    assert_eq!(refusal(&mut client, &running.verify("54321")).tries_left, Some(1));
    assert_eq!(kind(&mut client, &running.verify("54321")), ErrorKind::LastTry);
    assert_eq!(running.tries_left(), Some(1), "nothing was presented");
    let confirmed = Verify { confirm_last_try: true, ..running.verify("54321") };
    let refused = refusal(&mut client, &confirmed);
    assert!(matches!(refused.kind, ErrorKind::PinIncorrect | ErrorKind::PinBlocked), "{refused}");
    assert_eq!(kind(&mut client, &running.verify(PIN)), ErrorKind::PinBlocked);
    let unblock = |puk| Unblock {
        insertion: None,
        reader: running.reader(READER),
        which: PinName::Cns,
        puk: Some(text(puk)),
        new_pin: Some(text(NEW_PIN)),
        confirm_last_try: false,
    };
    assert_eq!(kind(&mut client, &unblock("11111111")), ErrorKind::PukIncorrect);
    client.call(&unblock(PUK)).unwrap();
    client.call(&running.verify(NEW_PIN)).unwrap();
    running.signs(&mut client);
    assert_eq!(running.audited("pin-unblock").len(), 4, "intention and outcome, twice");
}

#[test]
fn a_changed_pin_ends_the_logins_that_keep_the_old_one() {
    let (running, _plugged) = with_card();
    let (mut first, mut second) = (running.client(), running.client());
    first.call(&running.verify(PIN)).unwrap();
    second.call(&running.verify(PIN)).unwrap();
    first.call(&running.change(PIN, NEW_PIN)).unwrap();
    assert_eq!(kind(&mut second, &running.sign(KeyUse::Authentication)), ErrorKind::NotLoggedIn);
    running.signs(&mut first);
    assert_eq!(running.audited("pin-change"), ["Intention: begins", "Outcome: done"]);
    let log = running.log();
    for secret in [NEW_PIN.to_owned(), hex::encode(NEW_PIN), hex::encode(PIN), hex::encode_upper(NEW_PIN)] {
        assert!(!log.contains(&secret), "the log at its loudest holds {secret}");
    }
    assert!(log.contains("pin.change"), "it is loud");
}

/// Each use that waits took its place in the queue while the login was good. Were the PIN copied then, each would present
/// it, and the last one block the card.
#[test]
fn uses_of_a_login_that_wait_present_a_changed_pin_once() {
    let (running, plugged) = with_card();
    let reader = running.reader(READER);
    let mut clients: Vec<_> = (0..4).map(|_| running.raw()).collect();
    for client in &mut clients {
        client.request(1, "pin.verify", &json!({ "reader": reader, "pin": PIN }));
        assert!(client.read()["error"].is_null());
    }
    let sign = serde_json::to_value(running.sign(KeyUse::Authentication)).unwrap();
    plugged.with_card(|card| {
        let change = hex::decode("00240090103132333435FFFFFF3930383137323633").unwrap();
        assert_eq!(card.card().transmit(&change), [0x90, 0x00], "somebody else changes the PIN");
        card.reset();
        for client in &mut clients {
            client.request(2, "key.sign", &sign);
        }
        // All that are to wait do so when the card answers again.
        std::thread::sleep(std::time::Duration::from_millis(500));
    });
    let mut kinds: Vec<String> = clients.iter_mut().map(|client| client.error()).collect();
    kinds.sort();
    assert_eq!(kinds, ["not-logged-in", "not-logged-in", "not-logged-in", "pin-incorrect"]);
    assert_eq!(running.tries_left(), Some(2));
}

#[test]
fn work_on_a_card_is_finished_when_its_client_goes() {
    let (running, plugged) = with_card();
    for (old, new) in [(PIN, NEW_PIN), (NEW_PIN, PIN), (PIN, NEW_PIN)] {
        let mut raw = running.raw();
        let params = json!({ "reader": running.reader(READER), "old_pin": old, "new_pin": new });
        plugged.with_card(|_| raw.request(1, "pin.change", &params));
        drop(raw);
    }
    // Jobs are done in the order in which they came; this one comes last, whenever the others do.
    let ends = std::time::Instant::now() + crate::running::PATIENCE;
    while running.audited("pin-change").len() < 6 {
        assert!(std::time::Instant::now() < ends, "{:?}", running.audited("pin-change"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let outcomes = running.audited("pin-change");
    let done = outcomes.iter().filter(|text| *text == "Outcome: done").count();
    let refused = outcomes.iter().filter(|text| text.starts_with("Outcome: refused")).count();
    assert_eq!(done + refused, 3, "each intention has its outcome: {outcomes:?}");
    assert!(done >= 1, "{outcomes:?}");
}

#[test]
fn cards_are_listed_and_give_random_bytes() {
    let (running, _plugged) = with_card();
    let mut client = running.client();
    let cards = client.call(&card::List {}).unwrap();
    assert_eq!(cards.len(), 1);
    assert_eq!(cards[0].serial, sample::ID_CARD);
    assert!(cards[0].is_virtual);
    let shown = client.call(&card::Show { reader: running.reader(READER), status: false }).unwrap();
    assert_eq!(shown, cards[0]);
    assert_eq!(
        kind(&mut client, &card::Show { reader: "nowhere".into(), status: false }),
        ErrorKind::NoReader
    );
    let random = |length| Random { reader: running.reader(READER), length };
    let (one, two) = (client.call(&random(300)).unwrap().bytes, client.call(&random(300)).unwrap().bytes);
    assert_eq!((one.len(), two.len()), (300, 300));
    assert_ne!(one, two);
    for length in [0, 1025] {
        assert_eq!(kind(&mut client, &random(length)), ErrorKind::InvalidParams);
    }
    let oversized = Sign { data: vec![1; 600], ..running.sign(KeyUse::Authentication) };
    assert_eq!(kind(&mut client, &oversized), ErrorKind::MechanismInvalid);
    let list = client.call(&reader::List {}).unwrap();
    assert_eq!(list.readers[0].contents_reads, 1, "read once per insertion");
}
