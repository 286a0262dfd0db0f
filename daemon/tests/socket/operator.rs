//! Operator sessions: opened by the operator's own card, judged before its PIN is presented, over with the card.

use std::fs;
use std::path::Path;

use cns_protocol::operator::{Login, Logout, Session, Status};
use cns_protocol::reader::ReaderState;
use cns_protocol::{Client, ErrorKind, counter};
use cns_secret::Secret;
use cns_virtual_authority::Reason;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cnsd::card::LastTry;
use cnsd::config::{OperatorEntry, OperatorsConfig};
use cnsd::operator::{OperatorError, Operators, Trust, TrustError};
use sha2::{Digest, Sha256};

use crate::plugged::{self, Reader, authority, sample_card};
use crate::running::{EVERYTHING, Running, access, kind, refusal, text};

const READER: &str = "operator";
const PIN: &str = "12345";

/// A card with its certificate.
fn card() -> (cns_virtual_card::VirtualCard, Vec<u8>) {
    let mut der = Vec::new();
    let mut card = sample_card(|_| {});
    let request = card.certificate_request("Regione di prova").unwrap();
    der.extend(plugged::issue(cns_virtual_authority::Profile::Authentication, &request));
    card.load_certificate(&der).unwrap();
    (card, der)
}

fn registered(certificate: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(certificate));
    format!(
        "[[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{digest}\"\n\
         counter = \"ASL Cagliari, sportello 1\"\ncounter_kind = \"health-authority\"\n"
    )
}

fn trusting(anchors: &Path) -> String {
    format!("{}[operators]\ntrust_anchors = {anchors:?}\n", access(EVERYTHING))
}

/// A daemon with a registered operator's card in its reader.
fn with_operator() -> (Running, Plugged) {
    let (card, der) = card();
    let anchors = authority().folder().join("ca.pem");
    let running = Running::start_with(&[READER], &format!("{}{}", trusting(&anchors), registered(&der)));
    let plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    (running, plugged)
}

fn login(running: &Running, pin: &str) -> Login {
    Login { reader: running.reader(READER), insertion: None, pin: text(pin), confirm_last_try: false }
}

fn session(client: &mut Client) -> Option<Session> {
    client.call(&Status {}).unwrap()
}

#[test]
fn a_registered_card_opens_a_session_and_taking_it_out_ends_it() {
    let (running, plugged) = with_operator();
    let mut client = running.client();
    assert_eq!(session(&mut client), None);
    let refused = refusal(&mut client, &counter::List {});
    assert_eq!(refused.kind, ErrorKind::NoOperator);
    assert_eq!(refused.paragraph.as_deref(), Some("§9.3.2-2"));

    let opened = client.call(&login(&running, PIN)).unwrap();
    assert_eq!((opened.operator.as_str(), opened.name.as_str()), ("op1", "Anna Serra"));
    assert_eq!(session(&mut running.client()), Some(opened), "the session is the Unix user's");
    assert!(client.call(&counter::List {}).unwrap().is_empty());

    plugged.pull_out();
    running.until(READER, |state| *state == ReaderState::Empty);
    assert_eq!(session(&mut client), None);
    assert_eq!(kind(&mut client, &counter::List {}), ErrorKind::NoOperator);
    plugged.put_in();
    running.card_in(READER);
    assert_eq!(session(&mut client), None, "the same card put in again is another insertion");
    let audited = running.audited("operator-logout");
    assert_eq!(audited, ["Fact: the operator's card was taken out"]);

    client.call(&login(&running, PIN)).unwrap();
    client.call(&Logout {}).unwrap();
    assert_eq!(session(&mut client), None);
    assert_eq!(running.audited("operator-login").len(), 2);
    assert_eq!(running.audited("operator-logout").len(), 2);
}

#[test]
fn a_wrong_pin_opens_nothing_and_is_recorded() {
    let (running, _plugged) = with_operator();
    let mut client = running.client();
    let refused = refusal(&mut client, &login(&running, "54321"));
    assert_eq!((refused.kind, refused.tries_left), (ErrorKind::PinIncorrect, Some(2)));
    assert_eq!(session(&mut client), None);
    assert_eq!(running.audited("operator-login"), ["Fact: refused: the PIN is wrong"]);
    assert_eq!(refusal(&mut client, &login(&running, "54321")).tries_left, Some(1));
    assert_eq!(kind(&mut client, &login(&running, PIN)), ErrorKind::LastTry);
    client.call(&Login { confirm_last_try: true, ..login(&running, PIN) }).unwrap();
}

#[test]
fn a_card_that_is_not_registered_is_refused_before_its_pin_is_presented() {
    let (card, _) = card();
    let anchors = authority().folder().join("ca.pem");
    let other = registered(b"another operator's certificate");
    let running = Running::start_with(&[READER], &format!("{}{other}", trusting(&anchors)));
    let _plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    let mut client = running.client();
    // The right PIN: whether it was presented shows in the exchanges with the chip.
    let before = client.call(&cns_protocol::reader::List {}).unwrap().readers[0].traffic;
    let refused = refusal(&mut client, &login(&running, PIN));
    assert_eq!(refused.kind, ErrorKind::OperatorRefused);
    assert!(refused.hint.is_some());
    let after = client.call(&cns_protocol::reader::List {}).unwrap().readers[0].traffic;
    assert_eq!(before, after);
}

#[test]
fn trust_takes_issuer_validity_and_revocation_list_into_account() {
    let (_, der) = card();
    let folder = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    let anchors = authority().folder().join("ca.pem");
    let crl = folder.path().join("crl.der");
    let without = OperatorsConfig { trust_anchors: anchors, crl: None, session_minutes: 1 };
    let with = OperatorsConfig { crl: Some(crl.clone()), ..without.clone() };

    assert!(matches!(Trust::none().check(&der, now), Err(TrustError::Refused(_))));
    let trust = Trust::read(&without).unwrap();
    trust.check(&der, now).unwrap();
    let later = now + std::time::Duration::from_secs(20 * 365 * 86_400);
    assert!(matches!(trust.check(&der, later), Err(TrustError::Refused(_))), "expired");
    let mut changed = der.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert!(matches!(trust.check(&changed, now), Err(TrustError::Refused(_))), "its signature is broken");

    let trust = Trust::read(&with).unwrap();
    assert!(matches!(trust.check(&der, now), Err(TrustError::Read { .. })), "no list, no trust");
    fs::write(&crl, b"nonsense").unwrap();
    assert!(matches!(trust.check(&der, now), Err(TrustError::Crl(_))));
    fs::write(&crl, authority().crl().unwrap()).unwrap();
    trust.check(&der, now).unwrap();
    let serial = serial_of(&der);
    authority().revoke(&serial, Reason::CertificateHold).unwrap();
    trust.check(&der, now).unwrap();
    fs::write(&crl, authority().crl().unwrap()).unwrap();
    assert!(matches!(trust.check(&der, now), Err(TrustError::Suspended)));
    authority().revoke(&serial, Reason::KeyCompromise).unwrap();
    fs::write(&crl, authority().crl().unwrap()).unwrap();
    assert!(matches!(trust.check(&der, now), Err(TrustError::Revoked)));

    fs::write(&crl, b"").unwrap();
    let nothing = OperatorsConfig { trust_anchors: crl, ..without };
    assert!(matches!(Trust::read(&nothing), Err(TrustError::Anchors(_))));
}

fn serial_of(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    let records = authority().list().unwrap();
    records.into_iter().find(|record| Sha256::digest(&record.certificate) == digest).unwrap().serial
}

/// In this process, where a session can be made that is over at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_over_when_its_time_is() {
    let (card, der) = card();
    let reader = Reader::start();
    let _plugged = reader.plug(card);
    let contents = reader.card().await;
    assert_eq!(contents.card.serial, sample::ID_CARD);
    let entry: OperatorEntry = toml::from_str(registered(&der).trim_start_matches("[[operator]]\n")).unwrap();
    let open = |session_minutes| {
        let anchors = authority().folder().join("ca.pem");
        let config = OperatorsConfig { trust_anchors: anchors, crl: None, session_minutes };
        Operators::open(&config, std::slice::from_ref(&entry), &reader.readers).unwrap()
    };
    let pin = || Secret::copy_from(PIN.as_bytes()).unwrap();
    let short = open(0);
    let outcome = short.login(1000, (&reader.name, None), pin(), LastTry::Ask).await;
    assert!(matches!(outcome, Err(OperatorError::Card(_))), "over before it began");
    assert!(short.session(1000).is_none());
    assert_eq!(short.end_what_is_over().len(), 1, "and found by the sweep");

    let long = open(1);
    long.login(1000, (&reader.name, None), pin(), LastTry::Ask).await.unwrap();
    assert!(long.session(1000).is_some());
    assert!(long.session(1001).is_none(), "another Unix user has none");
    assert!(long.end_what_is_over().is_empty());
    assert!(long.counter_of("op1").is_some() && long.counter_of("op2").is_none());
    assert!(long.logout(1000).is_some());
    assert!(long.session(1000).is_none());
}
