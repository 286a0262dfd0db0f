//! Each generation of card that the virtual card can be, in the daemon: recognised, listed, PIN changed, signed with;
//! and the APDUs that it takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

mod stores;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::sample;
use cnsd::card::{CardError, LastTry, pin, sign, signature_area};
use cnsd_test_support::plugged::{Reader, secret};
use cnsd_test_support::wire::{self, card_of, connect, settled, take, unusable};
use rsa::BigUint;
use rsa::traits::PublicKeyParts;

/// What is expected of one generation.
struct Row {
    /// The virtual card's name of it.
    card: &'static str,
    /// The daemon's.
    generation: &'static str,
    /// The certificates that are found.
    certificates: usize,
    /// APDUs until the generation is known: the first piece of a certificate or directory has come.
    recognition: usize,
    /// APDUs until the card is listed.
    listing: usize,
}

const fn row(
    card: &'static str,
    generation: &'static str,
    certificates: usize,
    recognition: usize,
    listing: usize,
) -> Row {
    Row { card, generation, certificates, recognition, listing }
}

/// The figures of `docs/card-generations.md`.
const ROWS: [Row; 18] = [
    row("st2021", "st2021", 2, 4, 10),
    row("st2022", "st2021", 2, 4, 10),
    row("incard10", "incard10", 2, 4, 0),
    row("incard11", "incard10", 2, 4, 0),
    row("jsign2048", "jsign2048", 2, 4, 10),
    row("st2022-nfc", "st2022-nfc", 2, 5, 11),
    row("idemia2021", "idemia2021", 2, 4, 12),
    row("idemia-nfc", "idemia-nfc", 2, 4, 12),
    row("idemia-cosmo91", "idemia2021", 2, 4, 12),
    row("hpc-idemia", "idemia2021", 2, 4, 12),
    row("oberthur-cosmo7", "oberthur-cosmo7", 2, 4, 12),
    row("ace2025", "ace2025", 1, 5, 9),
    row("athena", "athena", 1, 4, 0),
    row("cardos", "cardos", 1, 4, 0),
    row("oberthur", "oberthur", 1, 4, 0),
    row("hpc", "oberthur", 1, 4, 0),
    row("dsd", "incard10", 2, 4, 0),
    row("ts-cns-2018-dual", "classic2048", 1, 4, 7),
];

/// The most that a listing takes in short commands.
const SHORT_LISTING: usize = 25;

#[tokio::test]
async fn every_generation_is_recognised_and_listed_in_few_apdus() {
    for row in &ROWS {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(row.card));
        let contents = settled(&reader).await;
        let log = take(&plugged);
        assert_eq!(contents.generation.name, row.generation, "{}", row.card);
        let serial = &contents.card.serial;
        assert!(!serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit()), "{}", row.card);
        assert_eq!(
            contents.card.certificates.len(),
            row.certificates,
            "{} {:?}",
            row.card,
            contents.card.findings
        );
        assert_eq!(contents.card.holder.surname, sample::holder().surname, "{}", row.card);
        let is_read =
            |(sent, answer): &(String, String)| sent.starts_with("00B0") && answer.ends_with("9000");
        let reads = log.iter().enumerate().filter(|(_, exchange)| is_read(exchange));
        let recognition = 1 + reads.map(|(index, _)| index).nth(1).unwrap();
        // What follows the card's listing is not counted: it is all after the personal data and the last certificate.
        let listing = listing_length(&log, &contents.card.certificates, row);
        println!("{}: recognition {recognition}, listing {listing} APDUs", row.card);
        assert_eq!(recognition, row.recognition, "{} {log:#?}", row.card);
        assert!(recognition <= 6);
        if row.listing == 0 {
            assert!(listing <= SHORT_LISTING, "{} {listing}", row.card);
        } else {
            assert_eq!(listing, row.listing, "{} {log:#?}", row.card);
        }
        no_byte_is_read_twice(&log, row.card);
        no_byte_behind_a_certificate_is_read(&log, &contents.card.certificates, row.card);
    }
}

/// The file that SELECT FILE names, by its path, identifier or application, whatever answer is asked for.
fn selected(sent: &str) -> &str {
    let length = usize::from_str_radix(&sent[8..10], 16).unwrap();
    &sent[10..10 + 2 * length]
}

/// What was read of each certificate is its DER and nothing else.
fn no_byte_behind_a_certificate_is_read(
    log: &[(String, String)],
    certificates: &[cns_protocol::card::Certificate],
    name: &str,
) {
    let mut files: Vec<String> = Vec::new();
    for (sent, answer) in log {
        if sent.starts_with("00A4") {
            files.push(String::new());
        } else if let (Some(file), Some(data)) = (files.last_mut(), answer.strip_suffix("9000"))
            && sent.starts_with("00B0")
        {
            file.push_str(data);
        }
    }
    for certificate in certificates {
        let der = hex::encode_upper(&certificate.der);
        let read: Vec<_> = files.iter().filter(|file| file.starts_with(&der)).collect();
        assert_eq!(read, [&der], "{name} {:?}", certificate.key_use);
    }
}

/// The commands of the listing: without those of the search that follows it on some generations.
fn listing_length(
    log: &[(String, String)],
    certificates: &[cns_protocol::card::Certificate],
    row: &Row,
) -> usize {
    // The search begins with the directory of an object store, or with the first of the ESIGN certificates.
    let begins = |(sent, _): &(String, String)| match row.generation {
        "ace2025" => sent.contains("DA01C002"),
        "idemia2021" | "idemia-nfc" | "oberthur-cosmo7" | "st2021" => false,
        "athena" => sent.contains("14009010"),
        _ => sent.contains("14004000"),
    };
    let end = log.iter().position(begins).unwrap_or(log.len());
    // The search of ACe 2025 selects its application again.
    let again = usize::from(row.generation == "ace2025" && end < log.len() && certificates.len() == 1);
    end - again
}

fn no_byte_is_read_twice(log: &[(String, String)], name: &str) {
    let (mut application, mut file) = (String::new(), String::new());
    let mut read: Vec<(String, String, usize, usize)> = Vec::new();
    for (sent, answer) in log {
        if sent.starts_with("00A404") {
            application = selected(sent).to_owned();
        } else if sent.starts_with("00A4") {
            file = selected(sent).to_owned();
        } else if let Some(rest) = sent.strip_prefix("00B0") {
            let from = usize::from_str_radix(&rest[..4], 16).unwrap();
            let to = from + (answer.len() / 2).saturating_sub(2);
            let twice = read.iter().any(|(known, other, start, end)| {
                *known == application && *other == file && from < *end && *start < to
            });
            assert!(!twice, "{name}: {sent} of {file}");
            read.push((application.clone(), file.clone(), from, to));
        }
    }
}

#[tokio::test]
async fn every_generation_logs_in_signs_and_changes_its_pin() {
    for row in &ROWS {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(row.card));
        let contents = settled(&reader).await;
        for certificate in &contents.card.certificates {
            let key_use = certificate.key_use;
            let own = key_use == KeyUse::Signature && contents.generation.signature.is_some();
            let digits = if own { sample::SIGNATURE_PIN } else { sample::PIN };
            let signature = sign_with(&reader, key_use, digits).await;
            let signature = signature
                .unwrap_or_else(|error| panic!("{} {key_use:?}: {error} {:#?}", row.card, take(&plugged)));
            let key = contents.public_key(key_use).unwrap();
            assert_eq!(signature.len(), key.size(), "{} {key_use:?}", row.card);
            let opened = BigUint::from_bytes_be(&signature).modpow(key.e(), key.n()).to_bytes_be();
            assert!(opened.ends_with(&INFO), "{} {key_use:?}", row.card);
        }
        change_and_reset(&reader, row.card).await;
    }
}

const INFO: [u8; 51] = [
    0x30, 0x31, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];

async fn sign_with(reader: &Reader, key_use: KeyUse, digits: &'static [u8]) -> Result<Vec<u8>, CardError> {
    reader
        .run(move |session| {
            sign::sign(session, key_use, &secret(digits), LastTry::Ask, &Mechanism::RsaPkcs1, &INFO)
        })
        .await
}

async fn change_and_reset(reader: &Reader, name: &str) {
    let changed = reader.run(|session| {
        pin::change(session, PinName::Cns, &secret(sample::PIN), &secret(b"24680"), LastTry::Ask)
    });
    assert_eq!(changed.await.unwrap(), PinName::Cns, "{name}");
    let wrong =
        reader.run(|session| pin::verify(session, PinName::Cns, &secret(sample::PIN), LastTry::Confirmed));
    assert!(matches!(wrong.await, Err(CardError::PinIncorrect { .. })), "{name}");
    let reset = reader.run(|session| {
        pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(sample::PIN), LastTry::Ask)
    });
    assert_eq!(reset.await.unwrap(), PinName::Cns, "{name}");
    let right = reader.run(|session| pin::verify(session, PinName::Cns, &secret(sample::PIN), LastTry::Ask));
    right.await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[tokio::test]
async fn a_signature_takes_no_command_too_many() {
    for row in &ROWS {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(row.card));
        let contents = settled(&reader).await;
        for certificate in &contents.card.certificates {
            let key_use = certificate.key_use;
            let place = match key_use {
                KeyUse::Signature => contents.generation.signature.as_ref(),
                KeyUse::Authentication => None,
            };
            let digits = if place.is_some() { sample::SIGNATURE_PIN } else { sample::PIN };
            // The first may ask for the tries left, once per insertion, and on a store for what belongs together.
            sign_with(&reader, key_use, digits).await.unwrap();
            take(&plugged);
            sign_with(&reader, key_use, digits).await.unwrap();
            let log = take(&plugged);
            let sent: Vec<_> = log.iter().map(|(sent, _)| &sent[2..4]).collect();
            // Where an application holds the key it is selected before. The key's DF is selected before the PIN where that
            // is in it, after the PIN in a store, and not at all where the key is in the MF.
            let application = contents.generation.authentication.application.is_some();
            let expected: Vec<&str> = [
                &["A4"][..usize::from(application)],
                &["A4"][..usize::from(place.is_some())],
                &["20"],
                &["A4"][..usize::from(contents.generation.store)],
                &["22", "22", "2A"],
            ]
            .concat();
            assert_eq!(sent, expected, "{} {key_use:?} {log:#?}", row.card);
        }
    }
}

/// The table of `docs/card-generations.md`.
#[test]
fn the_documents_table_of_signature_areas_is_that_of_the_code() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/card-generations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| `cnsd`'s generation | area |")).skip(2);
    let told: Vec<String> = rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    let known: Vec<String> = cns_apdu::generation::TABLE
        .iter()
        .map(|generation| match generation.no_signature_area {
            None => format!("| `{}` | yes | |", generation.name),
            Some(reason) => {
                let (_, why) = reason.sentence().split_once(": ").unwrap();
                format!("| `{}` | no | {why} |", generation.name)
            }
        })
        .collect();
    assert_eq!(told, known);
}

/// Each virtual card, as it comes from its bureau without a second key: an area is made on it by the functional
/// specification's commands, or refused in words before any command.
#[tokio::test]
async fn a_signature_area_is_made_on_each_card_that_takes_one_and_refused_on_the_others() {
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for row in &ROWS {
        let reader = Reader::start();
        let _plugged = connect(&reader, wire::plain_card_of(row.card));
        let contents = settled(&reader).await;
        let before = reader.readers.traffic(&reader.name);
        let outcome = reader
            .run(|session| {
                let (pin, area_pin) = (secret(sample::PIN), secret(b"54321"));
                signature_area::create(session, &pin, &area_pin, &secret(b"11223344"), &|_| ())?;
                signature_area::lock(session, &pin, &|_| ())?;
                signature_area::inspect(session)
            })
            .await;
        match (outcome, contents.generation.no_signature_area) {
            (Ok(state), None) => {
                assert_eq!(
                    (state.stage, state.locked),
                    (signature_area::Stage::Prepared, true),
                    "{}",
                    row.card
                );
                made.push(row.card);
            }
            (Err(CardError::AreaForbidden(words)), Some(reason)) => {
                assert_eq!(words, reason.sentence(), "{}", row.card);
                assert!(words.contains("this generation"), "{words}");
                assert_eq!(reader.readers.traffic(&reader.name), before, "{}", row.card);
                refused.push(row.card);
            }
            (outcome, reason) => panic!("{}: {outcome:?}, {reason:?}", row.card),
        }
    }
    println!("made on {made:?}, refused on {refused:?}");
    assert_eq!(made, ["st2021", "st2022", "jsign2048"]);
}

#[tokio::test]
async fn what_nobody_located_is_looked_for_once_and_told() {
    for (card, places) in [
        ("ace2025", &["A000000530455349474E 3F00/DA01/C002 to C00F"][..]),
        ("athena", &["3F00/1400/9010", "3F00/1400/4000", "A00000016441534550434F5300", "415345504B4353"]),
        ("cardos", &["3F00/1400/4000", "3F00/1400/9010"]),
    ] {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(card));
        let contents = settled(&reader).await;
        let told: Vec<_> = contents.card.findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(told, places, "{card}");
        let log = take(&plugged);
        println!("{card}: {} APDUs with the search", log.len());
        assert!(log.len() <= 40, "{card} {}", log.len());
        let read_only = |sent: &str| ["A4", "B0"].contains(&&sent[2..4]);
        assert!(log.iter().all(|(sent, _)| read_only(sent)), "{card} {log:#?}");
        // Read anew, for instance after a procedure: no second search, and the findings stay.
        let again = reader.readers.reread(&reader.name).await.unwrap();
        assert_eq!(again.card.findings, contents.card.findings, "{card}");
        assert!(take(&plugged).len() <= SHORT_LISTING, "{card}");
    }
}

#[tokio::test]
async fn what_is_no_cns_is_left_alone_and_told() {
    for (card, words, most) in [("cie3", "CIE 3.0", 12), ("chipdoc", "ChipDoc", 14)] {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(card));
        let told = unusable(&reader).await;
        assert!(told.contains(words), "{card}: {told}");
        let log = take(&plugged);
        println!("{card}: {} APDUs", log.len());
        assert!(log.len() <= most, "{card} {log:#?}");
        assert!(log.iter().all(|(sent, _)| ["A4", "B0"].contains(&&sent[2..4])), "{card} {log:#?}");
        // Its own programs find it as it came. The reset has no answer, so it is waited for.
        while plugged.with_card(|wire| wire.resets) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
