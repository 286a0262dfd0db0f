//! Reports and recordings of cards: they hold nothing of the holder, and a card that answers from them is taken as the
//! card itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

use cns_apdu::StatusWord;
use cns_apdu::trace::{Exchange, Trace};
use cns_protocol::card::KeyUse;
use cns_protocol::key::{Hash, Mechanism};
use cns_protocol::pin::PinName;
use cns_protocol::reader::ReaderState;
use cns_virtual_card::replay::TraceCard;
use cns_virtual_card::vpcd::{Card, Endpoint, Plugged, plug_card};
use cns_virtual_card::{Generation, VirtualCard, sample};
use cnsd::card::{CardError, LastTry, pin, random, sign};
use cnsd_test_support::plugged::{Reader, sample_card, secret};

const NEW_PIN: &[u8] = b"2468013";

fn plug_any<C: Card + 'static>(reader: &Reader, card: C) -> Plugged<C> {
    plug_card(card, Endpoint::Unix(reader.socket.clone())).unwrap()
}

/// Waits until the card was looked at, whatever it is.
async fn looked_at(reader: &Reader) {
    let looked_at = |state: &ReaderState| matches!(state, ReaderState::Card(_) | ReaderState::Unusable(_));
    reader.until("a card that was looked at", |reader| looked_at(&reader.state)).await;
}

async fn empty(reader: &Reader) {
    reader.until("no card", |reader| matches!(reader.state, ReaderState::Empty)).await;
}

/// A report without the line that tells whether the daemon knew the card.
fn findings(report: &str) -> Vec<&str> {
    report.lines().filter(|line| !line.starts_with("# card:")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_made_of_a_report_gives_the_same_report() {
    let reader = Reader::start();
    let mut reported = 0;
    for generation in Generation::all() {
        let mut card = VirtualCard::create(sample::personalisation_of(generation).unwrap()).unwrap();
        // Where the generation has no place for it, it has none.
        let certificate = [&[0x30, 0x82, 0x03, 0xFC][..], &[0x5A; 0x3FC]].concat();
        card.load_certificate(&certificate).ok();
        let plugged = reader.plug(card);
        looked_at(&reader).await;
        let first = reader.readers.report(&reader.name, true).await.unwrap();
        drop(plugged);
        empty(&reader).await;
        let plugged = plug_any(&reader, TraceCard::new(&Trace::parse(&first).unwrap()).unwrap());
        looked_at(&reader).await;
        let second = reader.readers.report(&reader.name, true).await.unwrap();
        drop(plugged);
        empty(&reader).await;
        let differ = findings(&first).into_iter().zip(findings(&second)).find(|(one, other)| one != other);
        assert_eq!(differ, None, "{}", generation.name());
        assert_eq!(first.lines().count(), second.lines().count(), "{}", generation.name());
        let commands = Trace::parse(&first).unwrap().exchanges().count();
        assert!((21..=98).contains(&commands), "{first}");
        reported += 1;
    }
    assert_eq!(reported, Generation::all().count());
}

/// What must not be in a recording: digits and letters as they are, and bytes in hexadecimal.
struct Hunt(Vec<(&'static str, String)>);

impl Hunt {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// A text: as it stands, and as its bytes.
    fn text(mut self, name: &'static str, text: &str) -> Self {
        assert!(text.len() >= 4, "{name} would be found anywhere");
        self.0.push((name, text.to_owned()));
        self.0.push((name, hex::encode_upper(text)));
        self
    }

    /// Bytes: any eight in a row.
    fn bytes(mut self, name: &'static str, bytes: &[u8]) -> Self {
        self.0.extend(bytes.windows(8).map(|part| (name, hex::encode_upper(part))));
        self
    }

    fn found(&self, trace: &str) -> Option<&'static str> {
        let trace = trace.to_uppercase();
        self.0.iter().find(|(_, what)| trace.contains(&what.to_uppercase())).map(|(name, _)| *name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_a_whole_session_holds_nothing_of_the_holder() {
    let reader = Reader::start();
    let recording = reader.readers.record(&reader.name).unwrap().unwrap();
    assert!(reader.readers.record(&reader.name).unwrap().is_none(), "one at a time");
    let _plugged = reader.plug(sample_card(|_| ()));
    let contents = reader.card().await;
    let sign = reader.readers.run(&reader.name, None, |session| {
        let mechanism = Mechanism::RsaPss { hash: Hash::Sha256, mgf_hash: Hash::Sha256, salt_length: 32 };
        let pin = secret(sample::PIN);
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &[0x5C; 32])
    });
    let signature = sign.await.unwrap();
    let wrong = reader.readers.run(&reader.name, None, |session| {
        pin::verify(session, PinName::Cns, &secret(b"87651234"), LastTry::Ask)
    });
    assert!(matches!(wrong.await, Err(CardError::PinIncorrect { .. })));
    let change = reader.readers.run(&reader.name, None, |session| {
        pin::change(session, PinName::Cns, &secret(sample::PIN), &secret(NEW_PIN), LastTry::Ask)
    });
    change.await.unwrap();
    let random = reader.readers.run(&reader.name, None, |session| random::random(session, 64)).await.unwrap();

    let (text, is_full) = reader.readers.recorded(&reader.name, recording).unwrap();
    assert!(!is_full);
    let trace = Trace::parse(&text).unwrap();
    assert!(text.contains("#@ pin") && text.contains("#@ data 64 random") && text.contains("63C2"), "{text}");
    let certificate = contents.certificate(KeyUse::Authentication).unwrap();
    let hunt = Hunt::new()
        .text("surname", "ROSSI")
        .text("name", "MARIO")
        .text("codice fiscale", "RSSMRA80A01H501U")
        .text("card number", sample::ID_CARD)
        .text("PIN", std::str::from_utf8(sample::PIN).unwrap())
        .text("wrong PIN", "87651234")
        .text("new PIN", std::str::from_utf8(NEW_PIN).unwrap())
        .text("certificate's serial number", &contents.card.certificates[0].serial_number)
        .bytes("certificate", &certificate[4..])
        .bytes("signature", &signature)
        .bytes("random", &random);
    assert_eq!(hunt.found(&text), None, "{text}");

    // The hunt finds each of them where it is: in the same recording with one answer left as it was.
    let (texts, bytes) = hunt.0.split_at(16);
    for (name, what) in texts.iter().chain(bytes.iter().step_by(97)) {
        let mut careless = trace.clone();
        let bytes = hex::decode(what).unwrap_or_else(|_| what.clone().into_bytes());
        careless.sessions[0].push(Exchange::captured(
            vec![0x00, 0xB0, 0x00, 0x00],
            bytes,
            StatusWord(0x9000),
        ));
        assert!(hunt.found(&careless.to_string()).is_some(), "{name} was not found");
    }
    // And the report on the same card.
    let report = reader.readers.report(&reader.name, true).await.unwrap();
    assert_eq!(hunt.found(&report), None, "{report}");
    assert!(report.contains("# ATR: 3BFF") && !report.contains(&reader.name), "{report}");
    reader.readers.end_recording(&reader.name, recording);
    assert!(reader.readers.recorded(&reader.name, recording).is_err(), "it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_made_of_a_recording_is_taken_for_the_same_generation() {
    let reader = Reader::start();
    let recording = reader.readers.record(&reader.name).unwrap().unwrap();
    let plugged = reader.plug(sample_card(|_| ()));
    let real = reader.card().await;
    let (text, _) = reader.readers.recorded(&reader.name, recording).unwrap();
    drop(plugged);
    empty(&reader).await;
    let _plugged = plug_any(&reader, TraceCard::new(&Trace::parse(&text).unwrap()).unwrap());
    let played = reader.card().await;
    assert_eq!(played.card.generation, real.card.generation);
    assert_eq!(played.card.atr, real.card.atr);
    assert_eq!(played.card.certificates.len(), 1);
    assert_eq!(played.card.certificates[0].key_bits, 2048);
    let length =
        |contents: &cnsd::card::CardContents| contents.certificate(KeyUse::Authentication).unwrap().len();
    assert_eq!(length(&played), length(&real), "made up, of the recorded length");
    assert_ne!(played.certificate(KeyUse::Authentication), real.certificate(KeyUse::Authentication));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_reader_has_no_report() {
    let reader = Reader::start();
    let refused = reader.readers.report(&reader.name, false).await;
    assert!(matches!(refused, Err(CardError::NoCard)));
    assert!(matches!(reader.readers.report("no reader", false).await, Err(CardError::NoReader)));
}

/// A card that answers from the published trace of a model.
fn published(name: &str) -> TraceCard {
    let (_, text) = cns_test_vectors::traces().unwrap().into_iter().find(|(file, _)| file == name).unwrap();
    TraceCard::new(&Trace::parse(&text).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_lists_what_the_cards_of_whole_recordings_hold() {
    // The name, the length of the authentication certificate, the holder's code where it was recorded.
    let cards = [
        ("oberthur-cosmo7-bit4id.contact", 0x525, ""),
        ("ace2025-gd-nxp.contact", 0x75D, "RSSMRA80A01H501U"),
    ];
    for (name, length, holder) in cards {
        let reader = Reader::start();
        let _plugged = plug_any(&reader, published(name));
        looked_at(&reader).await;
        let contents = reader.readers.card(&reader.name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let uses: Vec<_> = contents.card.certificates.iter().map(|one| one.key_use).collect();
        assert_eq!(uses, [KeyUse::Authentication], "{name}");
        assert_eq!(contents.certificate(KeyUse::Authentication).unwrap().len(), length, "{name}");
        assert_eq!(contents.card.certificates[0].key_bits, 2048, "{name}");
        assert_eq!(contents.card.serial, sample::ID_CARD, "{name}");
        assert_eq!(contents.card.holder.codice_fiscale, holder, "{name}");
        let traffic = reader.readers.traffic(&reader.name);
        println!(
            "{name}: {} with {} commands, {} bytes out, {} bytes in",
            contents.card.generation, traffic.commands, traffic.bytes_sent, traffic.bytes_received
        );
        assert!(traffic.commands <= 25, "{name}: {} commands", traffic.commands);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_recordings_are_judged_without_harm() {
    for (name, text) in cns_test_vectors::traces().unwrap() {
        // Without an ATR there is no card.
        let Ok(card) = TraceCard::new(&Trace::parse(&text).unwrap()) else { continue };
        let reader = Reader::start();
        let _plugged = plug_any(&reader, card);
        looked_at(&reader).await;
        let state = reader.readers.list().readers.remove(0).state;
        let told = match &state {
            ReaderState::Card(card) => {
                format!("{}, {} certificates", card.generation, card.certificates.len())
            }
            ReaderState::Unusable(words) => words.clone(),
            ReaderState::Empty | ReaderState::Reading => panic!("{name}: {state:?}"),
        };
        println!("{name}: {told}");
        let report = reader.readers.report(&reader.name, false).await.unwrap();
        assert!(Trace::parse(&report).is_ok(), "{name}: {report}");
    }
}
