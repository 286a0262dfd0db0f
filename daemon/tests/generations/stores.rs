//! Cards that list their keys and certificates in an object store.

use cns_protocol::card::KeyUse;
use cns_protocol::pin::PinName;
use cns_virtual_card::sample;
use cnsd::card::{LastTry, pin};
use cnsd_test_support::plugged::{Reader, secret};
use cnsd_test_support::wire::{self, card_of, connect, settled, take};

use super::{SHORT_LISTING, no_byte_is_read_twice, sign_with};

#[tokio::test]
async fn the_second_certificate_of_a_store_is_linked_to_its_own_key() {
    for (card, login, signature) in [("idemia2021", "02", "05"), ("oberthur-cosmo7", "0E", "0F")] {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(card));
        settled(&reader).await;
        for (key_use, number) in [(KeyUse::Signature, signature), (KeyUse::Authentication, login)] {
            take(&plugged);
            sign_with(&reader, key_use, sample::PIN).await.unwrap();
            let log = take(&plugged);
            let set = format!("0022F1B8038301{number}");
            assert!(log.iter().any(|(sent, _)| *sent == set), "{card} {log:#?}");
        }
        // One PIN for both: its tries are one number, and the status lists it once.
        let states = reader.run(pin::status).await.unwrap();
        assert!(states.iter().all(|state| state.which == PinName::Cns), "{card} {states:?}");
        let changed = reader.run(|session| {
            pin::change(session, PinName::Signature, &secret(sample::PIN), &secret(b"24680"), LastTry::Ask)
        });
        assert_eq!(changed.await.unwrap(), PinName::Cns, "{card}");
        // What was learned once is not asked for again.
        take(&plugged);
        sign_with(&reader, KeyUse::Signature, b"24680").await.unwrap();
        assert_eq!(take(&plugged).len(), 5, "{card}");
    }
}

/// The answers of a store whose directory of private objects takes the PIN.
fn guarded_directory() -> wire::Change {
    let (mut is_directory, mut is_open) = (false, false);
    Box::new(move |command, _| {
        match command {
            [0x00, 0xA4, ..] => is_directory = command.windows(2).any(|file| file == [0x50, 0x00]),
            [0x00, 0x20, _, _, 0x08, ..] => is_open = true,
            _ => {}
        }
        (is_directory && !is_open && command.starts_with(&[0x00, 0xB0])).then(|| vec![0x69, 0x82])
    })
}

#[tokio::test]
async fn keys_that_are_listed_only_to_who_has_the_pin_are_found_after_it() {
    let reader = Reader::start();
    let plugged = wire::connect_changed(&reader, card_of("oberthur-cosmo7"), None, guarded_directory());
    assert_eq!(settled(&reader).await.card.certificates.len(), 2);
    for (key_use, number) in [(KeyUse::Authentication, "0E"), (KeyUse::Signature, "0F")] {
        take(&plugged);
        sign_with(&reader, key_use, sample::PIN).await.unwrap();
        let log = take(&plugged);
        let set = format!("0022F1B8038301{number}");
        assert!(log.iter().any(|(sent, _)| *sent == set), "{log:#?}");
        // The guarded directory was asked for with the PIN presented before.
        if let Some(asked) = log.iter().position(|(sent, _)| sent.contains("14005000")) {
            assert!(log[..asked].iter().any(|(sent, _)| sent.starts_with("0020001008")), "{log:#?}");
        }
    }
}

/// Serves a certificate in the classic place, which on a store card is empty.
fn certificate_in_the_classic_place(der: Vec<u8>) -> wire::Change {
    let mut is_classic = false;
    Box::new(move |command, _| {
        if let [0x00, 0xA4, ..] = command {
            is_classic = command.ends_with(&[0x11, 0x01]);
        }
        match command {
            [0x00, 0xB0, high, low, ..] if is_classic => {
                let from = usize::from(u16::from_be_bytes([*high, *low]));
                let length = if command.len() == 7 { der.len() } else { 256 };
                let end = der.len().min(from + length);
                Some([der.get(from..end).unwrap_or_default(), &[0x90, 0x00]].concat())
            }
            _ => None,
        }
    })
}

#[tokio::test]
async fn a_store_beside_the_classic_tree_is_found_by_the_search_and_its_signature_key_used() {
    let other = Reader::start();
    let _other = connect(&other, card_of("st2021"));
    let der = settled(&other).await.authentication_certificate.clone().unwrap();
    // By this answer to reset it is one of Oberthur's classic cards.
    let atr = "3BFF1800008131FE45006B04050100012101434E5310318059";
    let reader = Reader::start();
    let plugged = wire::connect_changed(
        &reader,
        card_of("idemia2021"),
        Some(atr),
        certificate_in_the_classic_place(der.clone()),
    );
    let contents = settled(&reader).await;
    assert!(!contents.generation.store, "{}", contents.generation.name);
    assert_eq!(contents.authentication_certificate.as_ref(), Some(&der));
    let uses: Vec<_> = contents.card.certificates.iter().map(|certificate| certificate.key_use).collect();
    assert_eq!(uses, [KeyUse::Authentication, KeyUse::Signature]);
    take(&plugged);
    let signature = sign_with(&reader, KeyUse::Signature, sample::PIN).await.unwrap();
    assert_eq!(signature.len(), 256);
    assert!(take(&plugged).iter().any(|(sent, _)| sent == "0022F1B803830105"));
    // Read anew, it is the same card.
    let again = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(again.card, contents.card);
}

/// Changes the directory of public objects.
fn other_directory(entries: &'static [[u8; 5]]) -> wire::Change {
    let mut is_directory = false;
    Box::new(move |command, _| {
        if let [0x00, 0xA4, ..] = command {
            is_directory = command.windows(4).any(|path| path == [0x14, 0x00, 0x40, 0x00]);
        }
        (is_directory && command.starts_with(&[0x00, 0xB0])).then(|| {
            let mut file: Vec<u8> = entries.concat();
            file.resize(240, 0);
            file.extend([0x90, 0x00]);
            file
        })
    })
}

#[tokio::test]
async fn a_directory_that_lists_more_than_there_is_costs_little() {
    // The login certificate twice, one that is absent, and more than anybody reads.
    const ENTRIES: &[[u8; 5]] = &[
        [0xFF, 0x20, 0x02, 0x05, 0x00],
        [0xFF, 0x20, 0x02, 0x05, 0x00],
        [0xFF, 0x20, 0x09, 0x05, 0x00],
        [0xFF, 0x20, 0x0A, 0x05, 0x00],
        [0xFF, 0x20, 0x0B, 0x05, 0x00],
        [0xFF, 0x20, 0x0C, 0x05, 0x00],
        [0xFF, 0x20, 0x0D, 0x05, 0x00],
        [0xFF, 0x20, 0x0E, 0x05, 0x00],
        [0xFF, 0x20, 0x0F, 0x05, 0x00],
        [0xFF, 0x20, 0x04, 0x05, 0x00],
    ];
    let reader = Reader::start();
    let plugged = wire::connect_changed(&reader, card_of("idemia2021"), None, other_directory(ENTRIES));
    let contents = settled(&reader).await;
    assert_eq!(contents.card.certificates.len(), 1);
    let told: Vec<_> =
        contents.card.findings.iter().map(|found| (found.place.as_str(), found.detail.as_str())).collect();
    let absent = "there is no such file";
    assert_eq!(
        told,
        [
            ("3F00/1400/9001/2009", absent),
            ("3F00/1400/9001/200A", absent),
            ("3F00/1400/9001/200B", absent),
            ("3F00/1400/9001/200C", absent),
            ("3F00/1400/9001/200D", absent),
            ("3F00/1400/9001/200E", absent),
            ("3F00/1400/9001/200F", absent),
            ("3F00/1400/9001/2004", "DER certificate, listed and not read"),
        ]
    );
    assert!(take(&plugged).len() <= SHORT_LISTING);
}

#[tokio::test]
async fn a_store_is_listed_within_the_bound_of_short_commands_too() {
    // The chip, or the reader, takes no extended length.
    let short: wire::Change = Box::new(|command, _| {
        (command.len() == 7 && command.starts_with(&[0x00, 0xB0])).then(|| vec![0x67, 0x00])
    });
    let reader = Reader::start();
    let plugged = wire::connect_changed(&reader, card_of("idemia2021"), None, short);
    assert_eq!(settled(&reader).await.card.certificates.len(), 2);
    let log = take(&plugged);
    println!("idemia2021 in short commands: {} APDUs", log.len());
    assert!(log.len() <= SHORT_LISTING, "{log:#?}");
    no_byte_is_read_twice(&log, "idemia2021");
}
