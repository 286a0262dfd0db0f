//! What is listed of cards that keep their things in unusual places, have more of them than usual, or lie about them;
//! and which of several certificates, keys and PINs are used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

use std::time::Duration;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::vpcd::Plugged;
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardContents, CardError, LastTry, pin, sign};
use cnsd_test_support::plugged::{self, Reader, secret};
use cnsd_test_support::wire::{
    Change, Wire, card_of, connect, connect_changed, plain_card_of, settled, take, unusable,
};
use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Time;

/// An ATR of ST's cards over the air, whose CNS is an application.
const NFC_ATR: &str = "3B80800101";
/// The application that it is.
const ST_CNS: &[u8] = &[0xA0, 0x00, 0x00, 0x00, 0x95, 0x01, 0x00, 0x4D];

/// A file as READ BINARY answers, with as much of it as is asked for.
fn read(file: &[u8], command: &[u8]) -> Vec<u8> {
    let from = usize::from(u16::from_be_bytes([command[2], command[3]]));
    let wanted = match command[4..] {
        [0] => 256,
        [length] => usize::from(length),
        [0, high, low] => match u16::from_be_bytes([high, low]) {
            0 => 65_536,
            length => usize::from(length),
        },
        _ => panic!("{command:02X?}"),
    };
    match file.get(from..) {
        None | Some([]) => vec![0x6B, 0x00],
        Some(rest) => [&rest[..rest.len().min(wanted)], &[0x90, 0x00]].concat(),
    }
}

/// A card with other files in some places; a file of `None` is absent. Places are the end of a path.
fn with_files(files: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Change {
    let mut current = None;
    Box::new(move |command, _| match command {
        [0x00, 0xA4, ..] => {
            let found = files.iter().find(|(place, _)| command.ends_with(place));
            current = found.and_then(|(_, file)| file.clone());
            found.map(|(_, file)| if file.is_some() { vec![0x90, 0x00] } else { vec![0x6A, 0x82] })
        }
        [0x00, 0xB0, ..] => current.as_ref().map(|file| read(file, command)),
        _ => None,
    })
}

fn directory(files: &[[u8; 2]]) -> Vec<u8> {
    let mut directory: Vec<u8> = files.iter().flat_map(|[high, low]| [0xFF, *high, *low, 0, 0]).collect();
    directory.resize(240, 0);
    directory
}

const PUBLIC_DIRECTORY: &[u8] = &[0x14, 0x00, 0x40, 0x00];
const FIRST: [u8; 2] = [0x20, 0x02];
const SECOND: [u8; 2] = [0x20, 0x04];

fn stored(file: [u8; 2]) -> Vec<u8> {
    [&[0x14, 0x00, 0x90, 0x01][..], &file].concat()
}

async fn sign_with(reader: &Reader, key_use: KeyUse, digits: &'static [u8]) -> Result<Vec<u8>, CardError> {
    reader
        .run(move |session| {
            sign::sign(session, key_use, &secret(digits), LastTry::Ask, &Mechanism::RsaPkcs1, &[7; 20])
        })
        .await
}

fn findings(contents: &CardContents) -> Vec<(&str, &str)> {
    contents.card.findings.iter().map(|found| (found.place.as_str(), found.detail.as_str())).collect()
}

/// The certificate, valid from and until so many days after 1970.
fn valid(der: &[u8], from: u64, until: u64) -> Vec<u8> {
    let mut certificate = Certificate::from_der(der).unwrap();
    let time = |days: u64| {
        Time::UtcTime(der::asn1::UtcTime::from_unix_duration(Duration::from_secs(days * 86_400)).unwrap())
    };
    certificate.tbs_certificate.validity.not_before = time(from);
    certificate.tbs_certificate.validity.not_after = time(until);
    certificate.to_der().unwrap()
}

/// The login certificate of a card of this generation.
async fn login_certificate(card: &str) -> Vec<u8> {
    let reader = Reader::start();
    let _plugged = connect(&reader, plain_card_of(card));
    settled(&reader).await.authentication_certificate.clone().unwrap()
}

async fn listed(card: VirtualCard, atr: Option<&str>, change: Change) -> (Reader, Plugged<Wire>) {
    let reader = Reader::start();
    let plugged = connect_changed(&reader, card, atr, change);
    settled(&reader).await;
    (reader, plugged)
}

#[tokio::test]
async fn what_no_application_has_is_not_looked_for_inside_of_one() {
    // By its answer to reset the CNS is an application. There is one of that name, and nothing of a CNS in it.
    let mut is_inside = false;
    let inside: Change = Box::new(move |command, _| {
        if command.is_empty() {
            is_inside = false;
        }
        if command.starts_with(&[0x00, 0xA4, 0x04]) && command.windows(8).any(|name| name == ST_CNS) {
            is_inside = true;
            return Some(vec![0x90, 0x00]);
        }
        let selects_another = command.starts_with(&[0x00, 0xA4, 0x04]);
        (is_inside && !command.is_empty() && !selects_another).then(|| vec![0x6A, 0x82])
    });
    let (reader, plugged) = listed(plain_card_of("st2021"), Some(NFC_ATR), inside).await;
    let contents = reader.card().await;
    assert_eq!(contents.card.certificates.len(), 1);
    assert!(contents.generation.authentication.application.is_none(), "{}", contents.generation.name);
    assert!(plugged.with_card(|wire| wire.resets) >= 1);
}

#[tokio::test]
async fn a_store_with_a_signature_certificate_alone_hides_no_classic_one() {
    let der = login_certificate("st2021").await;
    let files = vec![
        (PUBLIC_DIRECTORY.to_vec(), Some(directory(&[SECOND]))),
        (vec![0x11, 0x00, 0x11, 0x01], Some(der.clone())),
    ];
    let (reader, plugged) = listed(card_of("idemia2021"), None, with_files(files)).await;
    let contents = reader.card().await;
    let uses: Vec<_> = contents.card.certificates.iter().map(|certificate| certificate.key_use).collect();
    assert_eq!(uses, [KeyUse::Authentication, KeyUse::Signature], "{:?}", contents.card.findings);
    assert_eq!(contents.authentication_certificate.as_ref(), Some(&der));
    // Each has the key of the place where it was found.
    take(&plugged);
    sign_with(&reader, KeyUse::Signature, sample::PIN).await.unwrap();
    assert!(take(&plugged).iter().any(|(sent, _)| sent == "0022F1B803830105"));
    drop(sign_with(&reader, KeyUse::Authentication, sample::PIN).await);
    assert!(take(&plugged).iter().any(|(sent, _)| sent == "0022F1B803830101"));
}

#[tokio::test]
async fn files_that_claim_to_be_huge_are_left_out_and_told() {
    // Three entries of the store, each of 8 KiB, before the real ones, in short commands.
    let huge: Vec<u8> = [&[0x30, 0x82, 0x1F, 0xFC][..], &[0x05; 8188]].concat();
    let junk = [[0x20, 0x10], [0x20, 0x11], [0x20, 0x12]];
    let mut files: Vec<_> = junk.iter().map(|file| (stored(*file), Some(huge.clone()))).collect();
    let all = [junk[0], junk[1], junk[2], FIRST, SECOND];
    files.push((PUBLIC_DIRECTORY.to_vec(), Some(directory(&all))));
    let mut answers = with_files(files);
    let short: Change = Box::new(move |command, card| {
        let refused = command.len() == 7 && command.starts_with(&[0x00, 0xB0]);
        if refused { Some(vec![0x67, 0x00]) } else { answers(command, card) }
    });
    let (reader, plugged) = listed(card_of("idemia2021"), None, short).await;
    let contents = reader.card().await;
    assert_eq!(contents.card.certificates.len(), 2, "{:?}", contents.card.findings);
    assert_eq!(findings(&contents).len(), 3, "{:?}", contents.card.findings);
    println!("three files of 8 KiB in short commands: {} APDUs", take(&plugged).len());
}

#[tokio::test]
async fn files_without_an_end_are_left_out_and_told() {
    // There is always more of the first of the store's certificates, and of the signature certificate of a classic card.
    for (card, place, certificates) in
        [("idemia2021", stored(FIRST), 1), ("st2021", vec![0x14, 0x00, 0x90, 0x10], 1)]
    {
        let mut is_endless = false;
        let endless: Change = Box::new(move |command, _| {
            if command.starts_with(&[0x00, 0xA4]) {
                is_endless = command.windows(place.len()).any(|part| part == place);
            }
            (is_endless && matches!(command, [0x00, 0xB0 | 0xC0, ..])).then(|| vec![0x61, 0x00])
        });
        let (reader, _plugged) = listed(card_of(card), None, endless).await;
        let contents = reader.card().await;
        assert_eq!(contents.card.certificates.len(), certificates, "{card}");
        assert!(
            findings(&contents).iter().any(|(_, detail)| *detail == "longer than any real one, left out"),
            "{card} {:?}",
            contents.card.findings
        );
    }
}

#[tokio::test]
async fn personal_data_that_claim_to_be_huge_are_left_out_and_told() {
    let endless = [&b"FFFFFF"[..], &[b'0'; 32 * 1024]].concat();
    let files = vec![(vec![0x11, 0x00, 0x11, 0x02], Some(endless))];
    let (reader, plugged) = listed(card_of("incard10"), None, with_files(files)).await;
    let contents = reader.card().await;
    assert_eq!((contents.card.certificates.len(), contents.card.holder.surname.as_str()), (2, ""));
    let told = ("3F00/1100/1102", "longer than any real one, left out");
    assert!(findings(&contents).contains(&told), "{:?}", contents.card.findings);
    assert!(take(&plugged).len() <= 25);
    // Data that are longer than any that were seen, and not absurd, are read.
    let surname = format!("{:02X}{}", 200, "A".repeat(200));
    let fields = ["", "", ""].map(|field| format!("{:02X}{field}", field.len())).concat();
    let text = format!("{fields}{surname}");
    let file = format!("{:06X}{text}", text.len()).into_bytes();
    let files = vec![(vec![0x11, 0x00, 0x11, 0x02], Some(file))];
    let (reader, _plugged) = listed(card_of("incard10"), None, with_files(files)).await;
    let contents = reader.card().await;
    assert!(findings(&contents).iter().all(|(place, _)| *place != told.0));
}

#[tokio::test]
async fn a_search_that_fails_keeps_what_it_found_and_is_not_begun_again() {
    // The second place of the search gets half an answer.
    let broken: Change = Box::new(|command, _| {
        (command.starts_with(&[0x00, 0xA4]) && command.ends_with(PUBLIC_DIRECTORY)).then(|| vec![0x90])
    });
    let (reader, plugged) = listed(card_of("athena"), None, broken).await;
    let contents = reader.card().await;
    let told = [
        ("3F00/1400/9010", "there is no such file"),
        ("3F00/1400/4000", "the search ended here: the card did not answer as one should"),
    ];
    assert_eq!(findings(&contents), told);
    take(&plugged);
    let again = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(findings(&again), told);
    reader.run(|_| Ok(())).await.unwrap();
    assert!(!take(&plugged).iter().any(|(sent, _)| sent.ends_with("14004000")));
}

/// A store that lists two certificates for logins, and the public key of the card.
async fn two_logins(first: Vec<u8>, second: Vec<u8>) -> (Reader, Plugged<Wire>) {
    let third = [0x20, 0x09];
    // The public key of the card's own pair stays listed.
    let files = vec![
        (PUBLIC_DIRECTORY.to_vec(), Some(directory(&[[0x10, 0x02], FIRST, third]))),
        (stored(FIRST), Some(first)),
        (stored(third), Some(second)),
    ];
    listed(plain_card_of("idemia2021"), None, with_files(files)).await
}

#[tokio::test]
async fn of_two_certificates_for_one_use_the_one_that_is_valid_longest_is_used() {
    let der = login_certificate("idemia2021").await;
    let (old, new) = (valid(&der, 10_000, 12_000), valid(&der, 20_000, 22_000));
    for (first, second, other) in [(&old, &new, "3F00/1400/9001/2002"), (&new, &old, "3F00/1400/9001/2009")] {
        let (reader, _plugged) = two_logins(first.clone(), second.clone()).await;
        let contents = reader.card().await;
        assert_eq!(contents.card.certificates.len(), 1);
        assert!(contents.authentication_certificate.as_ref() == Some(&new), "{other} is not used");
        let why = "DER certificate, not used: another for the same use is valid longer";
        assert_eq!(findings(&contents), [(other, why)]);
        sign_with(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_certificates_for_one_use_the_one_whose_key_is_on_the_card_is_used() {
    let own = valid(&login_certificate("idemia2021").await, 10_000, 12_000);
    // Of another key, and valid longer.
    let other = {
        let key = sample::signature_key_of(cns_virtual_card::Generation::from_name("idemia2021").unwrap());
        let mut certificate = Certificate::from_der(&valid(&own, 20_000, 22_000)).unwrap();
        use rsa::pkcs8::EncodePublicKey;
        let spki = key.unwrap().to_public_key().to_public_key_der().unwrap();
        certificate.tbs_certificate.subject_public_key_info = Decode::from_der(spki.as_bytes()).unwrap();
        certificate.to_der().unwrap()
    };
    for (first, second, told) in
        [(&own, &other, "3F00/1400/9001/2009"), (&other, &own, "3F00/1400/9001/2002")]
    {
        let (reader, _plugged) = two_logins(first.clone(), second.clone()).await;
        let contents = reader.card().await;
        assert!(contents.authentication_certificate.as_ref() == Some(&own), "{told} is not used");
        let why = "DER certificate, not used: the card lists the key of another for the same use";
        assert_eq!(findings(&contents), [(told, why)]);
        sign_with(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    }
}

/// The PIN of the signature key alone.
const OWN_PIN: &[u8] = b"864209";

/// A store whose signature key, 05, has the PIN 1A of its own, with three tries, in the MF: the card's attributes say so,
/// VERIFY and CHANGE REFERENCE DATA know it, and the key works after it alone. `number` stands in the attributes.
fn own_pin(number: u8) -> Change {
    let padded = |digits: &[u8]| {
        let mut padded = digits.to_vec();
        padded.resize(8, 0xFF);
        padded
    };
    let (mut value, mut tries) = (padded(OWN_PIN), 3_u8);
    let (mut is_verified, mut is_theirs) = (false, false);
    Box::new(move |command, card| {
        let present = |given: &[u8], tries: &mut u8| match *tries {
            0 => vec![0x69, 0x83],
            _ if given == value => {
                *tries = 3;
                vec![0x90, 0x00]
            }
            _ => {
                *tries -= 1;
                vec![0x63, 0xC0 | *tries]
            }
        };
        match command {
            [] => {
                (is_verified, is_theirs) = (false, false);
                None
            }
            [0x00, 0xA4, 0x08, 0x00, _, .., 0x31, 0x05, 0x00]
            | [0x00, 0xA4, 0x08, 0x00, _, .., 0x31, 0x05] => {
                let mut answer = card.transmit(command);
                let at = answer.windows(2).position(|tag| tag == [0x86, 0x09]).expect("access conditions");
                answer[at + 2] = number;
                Some(answer)
            }
            [0x00, 0x20, 0x00, 0x1A] => Some(vec![0x63, 0xC0 | tries]),
            [0x00, 0x20, 0x00, 0x1A, 0x08, given @ ..] => {
                let answer = present(given, &mut tries);
                is_verified = answer == [0x90, 0x00];
                if is_verified {
                    // The chip below asks for the PIN that it knows.
                    let pin = [&[0x00, 0x20, 0x00, 0x10, 0x08][..], &padded(sample::PIN)].concat();
                    assert_eq!(card.transmit(&pin), [0x90, 0x00]);
                }
                Some(answer)
            }
            [0x00, 0x24, 0x00, 0x1A, 0x10, given @ ..] => {
                let answer = present(&given[..8], &mut tries);
                if answer == [0x90, 0x00] {
                    value = given[8..].to_vec();
                }
                Some(answer)
            }
            [0x00, 0x22, 0xF1, 0xB8, .., key] => {
                is_theirs = *key == 0x05;
                None
            }
            [0x00, 0x2A, ..] if is_theirs && !is_verified => Some(vec![0x69, 0x82]),
            _ => None,
        }
    })
}

#[tokio::test]
async fn a_signature_key_of_a_store_is_used_with_the_pin_that_its_attributes_ask_for() {
    let (reader, plugged) = listed(card_of("idemia2021"), None, own_pin(0x1A)).await;
    take(&plugged);
    assert_eq!(sign_with(&reader, KeyUse::Signature, OWN_PIN).await.unwrap().len(), 256);
    let log = take(&plugged);
    assert!(!log.iter().any(|(sent, _)| sent.starts_with("00200010")), "{log:#?}");
    sign_with(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    // What was learned is not asked for again: VERIFY, the key's DF, MSE twice, PSO.
    take(&plugged);
    sign_with(&reader, KeyUse::Signature, OWN_PIN).await.unwrap();
    let log = take(&plugged);
    let instructions: Vec<_> = log.iter().map(|(sent, _)| &sent[2..4]).collect();
    assert_eq!(instructions, ["20", "A4", "22", "22", "2A"], "{log:#?}");
    // Two PINs, each with its own tries: what is spent on one is not on the other.
    assert!(matches!(
        sign_with(&reader, KeyUse::Signature, sample::PIN).await,
        Err(CardError::PinIncorrect { tries_left: Some(2) })
    ));
    let states = reader.run(pin::status).await.unwrap();
    let told: Vec<_> = states.iter().map(|state| (state.which, state.is_puk, state.tries_left)).collect();
    assert!(told.contains(&(PinName::Cns, false, Some(3))), "{told:?}");
    assert!(told.contains(&(PinName::Signature, false, Some(2))), "{told:?}");
    // Changed on its own.
    let changed = reader.run(|session| {
        pin::change(session, PinName::Signature, &secret(OWN_PIN), &secret(b"13579"), LastTry::Ask)
    });
    assert_eq!(changed.await.unwrap(), PinName::Signature);
    sign_with(&reader, KeyUse::Signature, b"13579").await.unwrap();
    sign_with(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
}

#[tokio::test]
async fn no_other_pin_number_of_a_cards_choice_is_believed() {
    for number in [0x12, 0x11, 0x1B, 0x1F] {
        let (reader, plugged) = listed(card_of("idemia2021"), None, own_pin(number)).await;
        take(&plugged);
        // The chip wants the other one: that is the card's affair.
        drop(sign_with(&reader, KeyUse::Signature, sample::PIN).await);
        let log = take(&plugged);
        let named: Vec<_> =
            log.iter().filter(|(sent, _)| sent.starts_with("0020")).map(|(sent, _)| &sent[4..8]).collect();
        assert!(!named.is_empty() && named.iter().all(|name| *name == "0010"), "{number:02X} {log:#?}");
    }
}

#[tokio::test]
async fn a_card_that_fails_inside_an_application_is_reset() {
    // Half an answer to the selection itself, to the first file in it, and to the certificate.
    let broken: [fn(&[u8]) -> bool; 3] = [
        |command| command.starts_with(&[0x00, 0xA4, 0x04]),
        |command| command.ends_with(&[0xD0, 0x03]),
        |command| command.windows(2).any(|file| file == [0xC0, 0x01]),
    ];
    for (number, is_broken) in broken.into_iter().enumerate() {
        let reader = Reader::start();
        let change: Change = Box::new(move |command, card| {
            is_broken(command).then(|| {
                // The chip has done it.
                let _unheard = card.transmit(command);
                vec![0x90]
            })
        });
        let plugged = connect_changed(&reader, card_of("ace2025"), None, change);
        let told = unusable(&reader).await;
        assert!(told.contains("no answer"), "{number}: {told}");
        let ends = tokio::time::Instant::now() + plugged::WAIT;
        // The reset has no answer, so it is waited for.
        while plugged.with_card(|wire| wire.resets) == 0 {
            assert!(tokio::time::Instant::now() < ends, "{number}: never reset");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A certificate of an authority, each number another one; with a key on a curve where it is to have one.
fn authority_certificate(number: u8, on_curve: bool) -> Vec<u8> {
    let mut certificate = plugged::authority().ca_certificate().clone();
    certificate.tbs_certificate.serial_number = SerialNumber::new(&[number]).unwrap();
    if on_curve {
        // The base point of P-256 as a public key.
        let info = "3059301306072A8648CE3D020106082A8648CE3D030107034200046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0\
                    F4A13945D898C2964FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5";
        let info = hex::decode(info).unwrap();
        certificate.tbs_certificate.subject_public_key_info = Decode::from_der(&info).unwrap();
    }
    certificate.to_der().unwrap()
}

fn authorities(contents: &CardContents) -> Vec<Vec<u8>> {
    contents.card.authorities.iter().map(|authority| authority.der.clone()).collect()
}

#[tokio::test]
async fn certificates_of_authorities_are_listed_apart_from_the_holders() {
    for (generation, holders) in
        [("idemia2021", 2), ("idemia-nfc", 2), ("oberthur-cosmo7", 2), ("ace2025", 1)]
    {
        let (_reader, plugged) = listed(card_of(generation), None, Box::new(|_, _| None)).await;
        let without = take(&plugged).len();
        let mut card = card_of(generation);
        let loaded =
            [(1, false), (2, true), (3, false)].map(|(number, curve)| authority_certificate(number, curve));
        loaded.iter().for_each(|der| card.load_authority_certificate(der).unwrap());
        let (reader, plugged) = listed(card, None, Box::new(|_, _| None)).await;
        let contents = reader.card().await;
        assert_eq!(authorities(&contents), loaded, "{generation}");
        assert_eq!(contents.card.authorities[0].common_name, "CNS Virtual Authority (test)", "{generation}");
        assert_eq!(contents.card.authorities[1].serial_number, "02", "{generation}");
        assert_eq!(contents.card.certificates.len(), holders, "{generation}");
        assert!(contents.card.certificates.iter().all(|certificate| !loaded.contains(&certificate.der)));
        let told =
            findings(&contents).into_iter().filter(|(_, why)| *why == "DER certificate, of an authority");
        assert_eq!(told.count(), 3, "{generation} {:?}", contents.card.findings);
        let with = take(&plugged).len();
        println!("{generation}: {without} APDUs, with three certificates of authorities {with}");
        // The file and all of it where the store tells its length; where it does not, the beginning and the rest, and what
        // is not there is looked for anyway.
        assert_eq!(with - without, 6, "{generation}");
        // They are read once.
        assert_eq!(authorities(&reader.readers.reread(&reader.name).await.unwrap()), loaded, "{generation}");
    }
}

#[tokio::test]
async fn no_more_certificates_of_authorities_are_read_than_a_card_can_have() {
    let mut card = card_of("idemia2021");
    (1..=9)
        .for_each(|number| card.load_authority_certificate(&authority_certificate(number, false)).unwrap());
    let (reader, plugged) = listed(card, None, Box::new(|_, _| None)).await;
    let contents = reader.card().await;
    assert_eq!((contents.card.certificates.len(), contents.card.authorities.len()), (2, 6));
    let unread =
        findings(&contents).into_iter().filter(|(_, why)| why.contains("listed and not read")).count();
    assert_eq!(unread, 3, "{:?}", contents.card.findings);
    assert!(take(&plugged).len() <= 24);
}

#[test]
fn a_chip_without_a_place_for_them_takes_no_certificates_of_authorities() {
    for generation in ["st2021", "athena"] {
        let refused = plain_card_of(generation).load_authority_certificate(&authority_certificate(1, false));
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, format!("{generation} cannot be made with a certificate of an authority"));
    }
}
