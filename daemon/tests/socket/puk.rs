//! `puk.deliver` and `puk.open`: the holder's PUK, for the card and its PIN alone (§6.3-PUK).

use std::fs;
use std::process::Command;

use cns_protocol::custody::{Import, ImportCertificate};
use cns_protocol::pin::{PinName, Verify};
use cns_protocol::puk::{Deliver, Open};
use cns_protocol::{Client, ErrorKind};
use cns_virtual_card::sample;
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use der::{DecodePem, EncodePem};
use rsa::pkcs1::EncodeRsaPrivateKey;
use x509_cert::Certificate;

use crate::plugged::{authority, sample_card};
use crate::running::{EVERYTHING, Running, access, kind, text};

const READER: &str = "citizen";

/// A daemon that delivers PUKs to cards of this authority, and the sample card.
fn delivering(anchor: &str, more: &str) -> (Running, Plugged) {
    let mut running = Running::prepare(&[READER], "");
    fs::write(running.path("anchors.pem"), anchor).unwrap();
    let text = format!(
        "{}{}[puk_delivery]\ntrust_anchors = {:?}\n{more}",
        fs::read_to_string(running.path("cnsd.toml")).unwrap(),
        access(EVERYTHING),
        running.path("anchors.pem")
    );
    fs::write(running.path("cnsd.toml"), text).unwrap();
    running.launch();
    let plugged = plug(sample_card(|_| {}), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    (running, plugged)
}

fn anchor() -> String {
    authority().ca_certificate().to_pem(der::pem::LineEnding::LF).unwrap()
}

fn import(running: &Running) {
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
}

fn logged_in(running: &Running) -> Client {
    let mut client = running.client();
    let (reader, pin) = (running.reader(READER), Some(text("12345")));
    let login = Verify { reader, insertion: None, which: PinName::Cns, pin, confirm_last_try: false };
    client.call(&login).unwrap();
    client
}

fn deliver(running: &Running) -> Deliver {
    Deliver { reader: running.reader(READER), insertion: None }
}

fn open(running: &Running, message: &[u8], pin: Option<&str>) -> Open {
    Open {
        reader: running.reader(READER),
        insertion: None,
        message: message.to_vec(),
        pin: pin.map(text),
        confirm_last_try: false,
    }
}

#[test]
fn the_holder_gets_a_puk_that_only_the_card_opens() {
    let (running, _plugged) = delivering(&anchor(), "");
    assert_eq!(kind(&mut running.client(), &deliver(&running)), ErrorKind::NotLoggedIn);
    let mut holder = logged_in(&running);
    assert_eq!(kind(&mut holder, &deliver(&running)), ErrorKind::NoPuk);
    import(&running);
    let delivered = holder.call(&deliver(&running)).unwrap();
    assert_eq!(delivered.card, sample::ID_CARD);
    assert_ne!(holder.call(&deliver(&running)).unwrap().message, delivered.message, "another key each time");

    let by_login = holder.call(&open(&running, &delivered.message, None)).unwrap();
    assert_eq!(by_login.puk.into_secret().expose(), sample::PUK);
    let mut other = running.client();
    let by_pin = other.call(&open(&running, &delivered.message, Some("12345"))).unwrap();
    assert_eq!(by_pin.puk.into_secret().expose(), sample::PUK);
    assert_eq!(kind(&mut other, &open(&running, &delivered.message, None)), ErrorKind::NotLoggedIn);
    let wrong = open(&running, &delivered.message, Some("11111"));
    assert_eq!(kind(&mut other, &wrong), ErrorKind::PinIncorrect);
    for place in [20, delivered.message.len() - 5] {
        let mut altered = delivered.message.clone();
        altered[place] ^= 1;
        assert_eq!(kind(&mut holder, &open(&running, &altered, None)), ErrorKind::CiphertextInvalid);
    }
    let too_long = vec![0x30; 9000];
    assert_eq!(kind(&mut holder, &open(&running, &too_long, None)), ErrorKind::CiphertextInvalid);

    // Whoever had the card's key could open it with other software: it is RFC 5652.
    let folder = running.path("opened");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("puk.cms"), &delivered.message).unwrap();
    fs::write(folder.join("key.der"), sample::key().unwrap().to_pkcs1_der().unwrap().as_bytes()).unwrap();
    let output = Command::new("openssl")
        .args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in", "puk.cms", "-keyform", "DER"])
        .args(["-inkey", "key.der"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let content: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(content["puk"], "87654321");

    let audited = running.audited("puk-delivery");
    assert_eq!(audited.len(), 6, "{audited:?}");
    assert!(!running.log().contains("87654321"));
}

#[test]
fn a_puk_is_not_delivered_unless_configured_and_to_no_card_that_is_not_trusted() {
    let running = Running::start(&[READER]);
    let _plugged = plug(sample_card(|_| {}), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    import(&running);
    assert_eq!(kind(&mut logged_in(&running), &deliver(&running)), ErrorKind::PukDeliveryOff);
    drop(running);

    // What a card of the same number would be that somebody made.
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "ca.pem"])
        .args(["-subj", "/CN=Another authority"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    let another = fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    for (anchors, more) in [(another.as_str(), ""), (&anchor(), "demand_key_encipherment = true\n")] {
        let (running, _plugged) = delivering(anchors, more);
        // The refusal is the same whether custody has the card or not.
        assert_eq!(kind(&mut logged_in(&running), &deliver(&running)), ErrorKind::PukDeliveryRefused);
        import(&running);
        assert_eq!(kind(&mut logged_in(&running), &deliver(&running)), ErrorKind::PukDeliveryRefused);
    }
}
