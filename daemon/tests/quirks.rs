//! The quirks of real cards (`real-cards` §4), each with its number. Quirk 23, which is the reader's, is tested with
//! the readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

#[path = "support/plugged.rs"]
mod plugged;
#[path = "support/wire.rs"]
mod wire;

use cns_apdu::access::{AccessConditions, Condition, EfOperation};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::Fid;
use cns_apdu::object::ObjectId;
use cns_apdu::personal_data::PersonalData;
use cns_protocol::card::{KeyUse, PlaceContent};
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::vpcd::Plugged;
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardError, CardSession, LastTry, pin, random, sign};
use plugged::{Reader, secret};
use wire::{Wire, card_of, connect, connect_changed, plain_card_of, run, settled, take, unusable};

/// A classic ATR of the card of 2021 by ST, and one without historical bytes.
const ST_ATR: &str = "3BFF1800FF8131FE55006B02091617011101434E531131808D";
const SILENT_ATR: &str = "3B00";
/// An ATR of Oberthur's classic cards.
const OBERTHUR_ATR: &str = "3BFF1800008131FE45006B04050100012101434E5310318059";

type Answer = Box<dyn FnMut(&[u8], &mut VirtualCard) -> Option<Vec<u8>> + Send>;

fn is(command: &[u8], start: &[u8]) -> bool {
    command.starts_with(start)
}

async fn sign(reader: &Reader, key_use: KeyUse, digits: &'static [u8]) -> Result<Vec<u8>, CardError> {
    run(reader, move |session| {
        sign::sign(session, key_use, &secret(digits), LastTry::Ask, &Mechanism::RsaPkcs1, &[7; 20])
    })
    .await
}

async fn log_in(reader: &Reader, digits: &'static [u8]) -> Result<(), CardError> {
    run(reader, move |session| pin::verify(session, PinName::Cns, &secret(digits), LastTry::Ask)).await
}

/// A card that was listed; what went over the wire for it is forgotten.
async fn listed(card: VirtualCard) -> (Reader, Plugged<Wire>) {
    let reader = Reader::start();
    let plugged = connect(&reader, card);
    settled(&reader).await;
    take(&plugged);
    (reader, plugged)
}

async fn listed_changed(card: VirtualCard, atr: Option<&str>, change: Answer) -> (Reader, Plugged<Wire>) {
    let reader = Reader::start();
    let plugged = connect_changed(&reader, card, atr, change);
    settled(&reader).await;
    (reader, plugged)
}

/// What was sent for one signature.
async fn sent_for_signature(card: VirtualCard) -> Vec<String> {
    let (reader, plugged) = listed(card).await;
    sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    take(&plugged).into_iter().map(|(sent, _)| sent).collect()
}

#[tokio::test]
async fn quirk_01_an_answer_to_reset_neither_makes_nor_unmakes_a_cns() {
    let reader = Reader::start();
    let _plugged = connect_changed(&reader, card_of("cie3"), Some(ST_ATR), Box::new(|_, _| None));
    assert!(unusable(&reader).await.contains("not a CNS"));
    let (reader, _plugged) =
        listed_changed(plain_card_of("st2021"), Some(SILENT_ATR), Box::new(|_, _| None)).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    // Another profile than CNS, the same files.
    let (reader, _plugged) = listed(card_of("hpc")).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_02_an_empty_or_absent_certificate_file_is_not_the_end() {
    // By this ATR the classic place comes first: it is there and full of zeros.
    let reader = Reader::start();
    let plugged =
        connect_changed(&reader, plain_card_of("idemia2021"), Some(OBERTHUR_ATR), Box::new(|_, _| None));
    let contents = settled(&reader).await;
    assert_eq!((contents.card.certificates.len(), contents.generation.store), (1, true));
    assert!(
        take(&plugged).iter().any(|(sent, _)| sent.ends_with("11001101")),
        "the classic place was looked at"
    );
    // On ACe 2025 it is absent.
    let (reader, _plugged) = listed(card_of("ace2025")).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_03_a_certificate_ends_where_its_der_ends() {
    let reader = Reader::start();
    let plugged = connect(&reader, plain_card_of("incard10"));
    let contents = settled(&reader).await;
    let der = contents.authentication_certificate.clone().unwrap();
    assert_eq!(der.len(), 4 + usize::from(u16::from_be_bytes([der[2], der[3]])));
    // The file has 2,048 bytes: the pieces behind the certificate are not read.
    let log = take(&plugged);
    let from = log.iter().position(|(sent, _)| sent.ends_with("11001101")).unwrap() + 1;
    let pieces = log[from..].iter().take_while(|(sent, _)| sent.starts_with("00B0")).count();
    assert_eq!(pieces, der.len().div_ceil(256));
}

#[tokio::test]
async fn quirk_04_no_file_control_information_is_needed() {
    for card in ["st2021", "idemia2021", "ace2025"] {
        let mute: Answer = Box::new(|command, card| {
            is(command, &[0x00, 0xA4])
                .then(|| card.transmit(command))
                .map(|answer| answer[answer.len() - 2..].to_vec())
        });
        let (reader, _plugged) = listed_changed(card_of(card), None, mute).await;
        let keys: Vec<_> =
            reader.card().await.card.certificates.iter().map(|certificate| certificate.key_use).collect();
        assert!(!keys.is_empty());
        for key_use in keys {
            let own = key_use == KeyUse::Signature && card == "st2021";
            let digits = if own { sample::SIGNATURE_PIN } else { sample::PIN };
            sign(&reader, key_use, digits)
                .await
                .unwrap_or_else(|error| panic!("{card} {key_use:?}: {error}"));
        }
    }
}

#[tokio::test]
async fn quirk_05_files_are_named_step_by_step_where_paths_are_refused() {
    for status in [[0x6A, 0x86], [0x6A, 0x81]] {
        let refuse: Answer =
            Box::new(move |command, _| is(command, &[0x00, 0xA4, 0x08]).then(|| status.to_vec()));
        let (reader, plugged) = listed_changed(card_of("idemia2021"), None, refuse).await;
        assert_eq!(reader.card().await.card.certificates.len(), 2);
        // The second key's attributes are looked at, too.
        for key_use in [KeyUse::Signature, KeyUse::Authentication] {
            sign(&reader, key_use, sample::PIN).await.unwrap();
        }
        assert!(take(&plugged).iter().any(|(sent, _)| sent.starts_with("00A40000021400")));
    }
}

#[tokio::test]
async fn quirk_06_an_application_is_selected_again_after_resets_and_other_programs() {
    for (card, foreign) in
        [("ace2025", "00A4040C0CA000000530000B104001021A"), ("st2022-nfc", "00A4000C023F00")]
    {
        let (reader, plugged) = listed(card_of(card)).await;
        for _ in 0..2 {
            sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
            plugged.with_card(|wire| wire.card.reset());
            sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
            plugged.with_card(|wire| wire.card.transmit(&hex::decode(foreign).unwrap()));
        }
    }
}

#[test]
fn quirk_07_file_control_information_is_read_in_every_form() {
    let decode = |text: &str| FileControlInformation::decode(&hex::decode(text).unwrap()).unwrap();
    // `real-cards` §2.1: three bytes of tag 82, nine of tag 86, 24 of tag CB.
    let ef = decode(
        "6F3880020190820301000083021102850101860900FFFFFFFFFFFFFFFF8A0105CB18FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!((ef.size, ef.file, ef.is_dedicated()), (Some(400), Some(Fid(0x1102)), false));
    // ESIGN: one byte of tag 82, a short identifier, and conditions in compact form.
    let esign = decode("6F1B8002075D8201018801088302C0018A0105A1088C0201009C020100");
    assert_eq!((esign.size, esign.file, esign.access), (Some(0x075D), Some(Fid(0xC001)), None));
    // §2.3: the size of a DF under tag 81, tag 85 with 00 or 01.
    let df = decode(
        "6F358102007F8203380000830290028501018609FF1010FFFFFFFF10FFCB18FFFF03040304FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!((df.size, df.is_dedicated()), (Some(0x7F), true));
    // The application of ACe 2025, as SELECT by its name answers.
    let application = decode(
        "6F468102702C8203380000840CA000000530000B104001021A83023F008501018609FFFFFFFFFFFFFFFFFF8A0105CB18FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!(application.name.unwrap().len(), 12);
}

#[test]
fn quirk_08_an_access_byte_is_always_never_or_an_object() {
    let access = AccessConditions([0x00, 0xFF, 0x66, 0x10, 0x1F, 0x1A, 0x20, 0x05, 0x80]);
    let read = access.ef(EfOperation::Read);
    let others = [EfOperation::Update, EfOperation::Append, EfOperation::Activate, EfOperation::Admin];
    assert_eq!(read, Condition::Always);
    assert!(others.iter().all(|operation| access.ef(*operation) == Condition::Never));
    assert_eq!(access.ef(EfOperation::Deactivate), Condition::Verified(ObjectId::CNS_PIN));
    assert_eq!(access.ef(EfOperation::Delete), Condition::Verified(ObjectId::SIGNATURE_PIN));
}

#[tokio::test]
async fn quirk_09_a_file_ends_in_three_ways() {
    // Data with 6282 where it is short; nothing and 6B00 behind the end are the virtual card's own ways.
    let warn: Answer = Box::new(|command, card| {
        is(command, &[0x00, 0xB0]).then(|| {
            let mut answer = card.transmit(command);
            if answer.ends_with(&[0x90, 0x00]) {
                let at = answer.len() - 2;
                answer[at..].copy_from_slice(&[0x62, 0x82]);
            }
            answer
        })
    });
    let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, warn).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    assert_eq!(reader.card().await.card.holder.surname, sample::holder().surname);
    // A file that ends inside the certificate it announces: the end is found, and it is no certificate.
    let cut: Answer = Box::new(|command, _| match command {
        [0x00, 0xB0, 0x00, 0x00, ..] => None,
        [0x00, 0xB0, ..] => Some(vec![0x6B, 0x00]),
        _ => None,
    });
    let (reader, _plugged) = listed_changed(plain_card_of("incard10"), None, cut).await;
    assert!(reader.card().await.card.certificates.is_empty());
}

#[tokio::test]
async fn quirk_10_a_read_that_is_too_long_is_made_shorter() {
    // Extended length is refused, by the chip or by a reader that reports an error.
    for refusal in [&[0x67, 0x00][..], &[0x6F, 0x00], &[0x6D, 0x00], &[0x90]] {
        let refuse: Answer = Box::new(move |command, _| {
            (command.len() == 7 && is(command, &[0x00, 0xB0])).then(|| refusal.to_vec())
        });
        let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, refuse).await;
        assert_eq!(reader.card().await.card.certificates.len(), 1, "{refusal:02X?}");
        // Tried in full, and then in steps of 256 bytes.
        let log = take(&plugged);
        assert!(log.iter().any(|(sent, _)| sent.starts_with("00B0") && sent.len() == 14), "{log:#?}");
        assert!(log.iter().any(|(sent, _)| sent == "00B0010000"), "{log:#?}");
    }
    // The right length is told.
    let shorter: Answer = Box::new(|command, _| match command {
        [0x00, 0xB0, _, _, 0x00] => Some(vec![0x6C, 0x80]),
        _ => None,
    });
    let (reader, _plugged) = listed_changed(plain_card_of("incard10"), None, shorter).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_11_restore_goes_without_its_fifth_byte_where_that_is_refused() {
    let refuse: Answer =
        Box::new(|command, _| (*command == [0x00, 0x22, 0xF3, 0x03, 0x00]).then(|| vec![0x67, 0x00]));
    let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, refuse).await;
    sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    assert!(take(&plugged).iter().any(|(sent, answer)| sent == "0022F303" && answer == "9000"));
    // Elsewhere it is not tried.
    assert!(!sent_for_signature(plain_card_of("st2021")).await.iter().any(|sent| sent == "0022F303"));
}

#[tokio::test]
async fn quirk_12_the_login_key_signs_as_a_bare_private_operation() {
    for card in ["st2021", "idemia2021", "oberthur-cosmo7"] {
        let sent = sent_for_signature(plain_card_of(card)).await;
        assert!(sent.iter().any(|sent| sent.starts_with("0022F1B8038301")), "{card} {sent:?}");
        assert!(sent.iter().any(|sent| sent.starts_with("002A8086")), "{card} {sent:?}");
        assert!(
            !sent.iter().any(|sent| sent.starts_with("0022F1B6") || sent.starts_with("002A9E9A")),
            "{card}"
        );
    }
}

#[tokio::test]
async fn quirk_13_a_padding_indicator_goes_before_the_block() {
    for card in ["st2021", "idemia2021", "ace2025"] {
        let sent = sent_for_signature(card_of(card)).await;
        let operation = sent.iter().find(|sent| sent.starts_with("002A8086")).unwrap();
        // Extended length, 257 bytes: the indicator 00, then the block 00 01 FF…
        assert!(
            operation.starts_with("002A80860001010000") && operation[14..22] == *"000001FF",
            "{card} {operation}"
        );
    }
    // ChipDoc wants none; its keys are behind PACE anyway, and the token is told not to be usable.
    let reader = Reader::start();
    let _plugged = connect(&reader, card_of("chipdoc"));
    assert!(unusable(&reader).await.contains("PACE"));
}

#[tokio::test]
async fn quirk_14_each_card_has_its_own_key_numbers() {
    let expected = [
        ("st2021", KeyUse::Authentication, "0022F1B803830101"),
        ("st2021", KeyUse::Signature, "0022F1B603830110"),
        ("idemia2021", KeyUse::Authentication, "0022F1B803830102"),
        ("idemia2021", KeyUse::Signature, "0022F1B803830105"),
        ("oberthur-cosmo7", KeyUse::Authentication, "0022F1B80383010E"),
        ("oberthur-cosmo7", KeyUse::Signature, "0022F1B80383010F"),
        ("ace2025", KeyUse::Authentication, "0022F1B803830101"),
    ];
    for (card, key_use, set) in expected {
        let (reader, plugged) = listed(card_of(card)).await;
        let own = key_use == KeyUse::Signature && card == "st2021";
        sign(&reader, key_use, if own { sample::SIGNATURE_PIN } else { sample::PIN }).await.unwrap();
        let log = take(&plugged);
        assert!(log.iter().any(|(sent, _)| sent == set), "{card} {key_use:?} {log:#?}");
    }
}

#[tokio::test]
async fn quirk_15_the_directory_of_the_key_is_current_before_it_is_used() {
    let sent = sent_for_signature(plain_card_of("idemia2021")).await;
    let from = sent.iter().position(|sent| sent.starts_with("0020001008")).unwrap();
    assert!(sent[from + 1].contains("14009002"), "{sent:?}");
    assert_eq!(sent[from + 2..from + 4], ["0022F30300", "0022F1B803830102"]);
    assert!(sent[from + 4].starts_with("002A8086"));
    assert_eq!(sent.len(), from + 5);
}

#[tokio::test]
async fn quirk_16_long_commands_are_chained_only_where_extended_length_is_refused_and_chains_are_taken() {
    let refuse = || -> Answer {
        Box::new(|command, _| is(command, &[0x00, 0x2A, 0x80, 0x86, 0x00]).then(|| vec![0x67, 0x00]))
    };
    let (reader, plugged) = listed_changed(plain_card_of("idemia2021"), None, refuse()).await;
    sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    assert!(take(&plugged).iter().any(|(sent, _)| sent.starts_with("102A8086")));
    // ST 2021 answers 6E00 to a chain: none is sent.
    let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, refuse()).await;
    assert!(matches!(
        sign(&reader, KeyUse::Authentication, sample::PIN).await,
        Err(CardError::Refused { .. })
    ));
    assert!(!take(&plugged).iter().any(|(sent, _)| sent.starts_with("10")));
}

#[tokio::test]
async fn quirk_17_codes_are_digits_filled_up_to_eight_bytes() {
    for card in ["st2021", "idemia2021", "athena", "ace2025", "st2022-nfc"] {
        let (reader, plugged) = listed(plain_card_of(card)).await;
        log_in(&reader, sample::PIN).await.unwrap();
        drop(log_in(&reader, b"12345678").await);
        let sent: Vec<_> = take(&plugged).into_iter().map(|(sent, _)| sent).collect();
        let values: Vec<_> = sent
            .iter()
            .filter(|sent| sent.starts_with("0020") && sent.len() > 10)
            .map(|sent| &sent[8..])
            .collect();
        assert_eq!(values, ["083132333435FFFFFF", "083132333435363738"], "{card}");
    }
}

#[tokio::test]
async fn quirk_18_codes_are_searched_upward_on_sts_chips_alone() {
    let expected = [
        ("st2021", "90"),
        ("incard10", "90"),
        ("jsign2048", "90"),
        ("st2022-nfc", "10"),
        ("idemia2021", "10"),
        ("athena", "10"),
        ("cardos", "10"),
        ("oberthur", "10"),
        ("ace2025", "10"),
    ];
    for (card, reference) in expected {
        let (reader, plugged) = listed(plain_card_of(card)).await;
        log_in(&reader, sample::PIN).await.unwrap();
        let log = take(&plugged);
        let verify = log.iter().rfind(|(sent, _)| sent.starts_with("0020")).unwrap();
        assert_eq!(verify.0[6..8], *reference, "{card}");
    }
    let (reader, plugged) = listed(card_of("st2021")).await;
    sign(&reader, KeyUse::Signature, sample::SIGNATURE_PIN).await.unwrap();
    assert!(take(&plugged).iter().any(|(sent, _)| sent.starts_with("0020009A08")));
}

#[tokio::test]
async fn quirk_19_tries_are_asked_for_and_told_only_where_the_chip_is_known_to_tell() {
    for card in ["athena", "cardos", "oberthur", "incard10", "ace2025"] {
        let (reader, plugged) = listed(plain_card_of(card)).await;
        let states = run(&reader, pin::status).await.unwrap();
        assert!(
            states.iter().all(|state| state.tries_left.is_none() && state.blocked.is_none()),
            "{card} {states:?}"
        );
        log_in(&reader, sample::PIN).await.unwrap();
        let empty = |sent: &str| sent.starts_with("0020") && sent.len() <= 10;
        assert!(!take(&plugged).iter().any(|(sent, _)| empty(sent)), "{card}");
    }
    let (reader, _plugged) = listed(plain_card_of("oberthur-cosmo7")).await;
    let states = run(&reader, pin::status).await.unwrap();
    let told: Vec<_> = states.iter().map(|state| (state.is_puk, state.tries_left)).collect();
    assert_eq!(told, [(false, Some(3)), (true, Some(8))]);
    // A chip that answers otherwise tells nothing: neither "0 left" nor "blocked".
    let mute: Answer =
        Box::new(|command, _| (is(command, &[0x00, 0x20]) && command.len() <= 5).then(|| vec![0x6A, 0x86]));
    let (reader, _plugged) = listed_changed(plain_card_of("idemia2021"), None, mute).await;
    let states = run(&reader, pin::status).await.unwrap();
    assert!(states.iter().all(|state| state.tries_left.is_none() && state.blocked.is_none()), "{states:?}");
    log_in(&reader, sample::PIN).await.unwrap();
}

#[tokio::test]
async fn quirk_20_a_challenge_has_at_most_32_bytes_on_idemias_chips() {
    let (reader, plugged) = listed(plain_card_of("idemia2021")).await;
    let bytes = run(&reader, |session| random::random(session, 100)).await.unwrap();
    assert_eq!(bytes.len(), 100);
    let lengths: Vec<_> = take(&plugged).into_iter().map(|(sent, _)| sent).collect();
    assert_eq!(lengths, ["0084000020", "0084000020", "0084000020", "0084000004"]);
}

#[tokio::test]
async fn quirk_21_a_pin_that_has_two_places_is_not_changed_in_one() {
    // ChipDoc: one place is behind PACE. The token is not used at all, so neither is changed.
    let reader = Reader::start();
    let plugged = connect(&reader, card_of("chipdoc"));
    unusable(&reader).await;
    take(&plugged);
    let changed = run(&reader, |session| {
        pin::change(session, PinName::Cns, &secret(sample::PIN), &secret(b"24680"), LastTry::Ask)
    });
    assert!(matches!(changed.await, Err(CardError::Unknown(_))));
    assert!(take(&plugged).is_empty());
}

#[tokio::test]
async fn quirk_22_without_a_keypad_that_is_believed_nothing_is_sent_without_a_pin() {
    // The reader that announces a keypad and has none is judged in `src/reader/pcsc/pin_pad.rs`, and met behind a real
    // pcscd in `pcsc/pin_pad.rs`. This one has none and says none.
    let reader = Reader::start();
    let plugged = connect(&reader, card_of("st2021"));
    reader.card().await;
    take(&plugged);
    assert!(!reader.readers.list().readers[0].pin_pad);
    let at_pad = reader.readers.run_at_pin_pad(&reader.name, None, |session| {
        sign::verify_at_pad(session, PinName::Cns, LastTry::Ask)
    });
    assert!(matches!(at_pad.await, Err(CardError::NoPinPad)));
    // Nor by a job that got past that door.
    for job in [
        |session: &mut CardSession<'_>| sign::verify_at_pad(session, PinName::Cns, LastTry::Confirmed),
        |session: &mut CardSession<'_>| {
            sign::sign_at_pad(
                session,
                KeyUse::Authentication,
                LastTry::Confirmed,
                &Mechanism::RsaPkcs1,
                &[1; 20],
            )
            .map(drop)
        },
    ] {
        let refused = run(&reader, job).await;
        assert!(matches!(refused, Err(CardError::NoPinPad)), "{refused:?}");
    }
    let unproved = run(&reader, |session| pin::reset_at_pad(session, PinName::Cns, LastTry::Ask)).await;
    assert!(matches!(unproved, Err(CardError::PinPadUnproved)), "{unproved:?}");
    let sent = take(&plugged);
    let presents = |sent: &str| sent.starts_with("0024") || (sent.starts_with("0020") && sent.len() > 10);
    assert!(sent.iter().all(|(sent, _)| !presents(sent)), "{sent:?}");
}

#[tokio::test]
async fn quirk_24_no_directory_of_pkcs15_is_looked_for() {
    for card in ["st2021", "idemia2021", "ace2025", "cardos", "st2022-nfc", "cie3"] {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(card));
        reader
            .until("an end", |reader| {
                !matches!(
                    reader.state,
                    cns_protocol::reader::ReaderState::Reading | cns_protocol::reader::ReaderState::Empty
                )
            })
            .await;
        assert!(
            !take(&plugged).iter().any(|(sent, _)| sent.starts_with("00A4") && sent.contains("2F00")),
            "{card}"
        );
    }
}

#[tokio::test]
async fn quirk_25_a_card_number_is_whatever_the_card_says() {
    for (number, told) in [
        (b"0123456789012345", "0123456789012345"),
        (b"TOKENME000000042", "TOKENME000000042"),
        (b"TOKENME 00000042", "544F4B454E4D45203030303030303432"),
    ] {
        let mut is_number = false;
        let other: Answer = Box::new(move |command, _| {
            if is(command, &[0x00, 0xA4]) {
                is_number = command.ends_with(&[0x10, 0x03]);
            }
            (is_number && is(command, &[0x00, 0xB0])).then(|| [&number[..], &[0x90, 0x00]].concat())
        });
        let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, other).await;
        assert_eq!(reader.card().await.card.serial, told);
    }
    // Eight bytes of BCD behind two others.
    let (reader, _plugged) = listed(card_of("ace2025")).await;
    assert_eq!(reader.card().await.card.serial, sample::ID_CARD);
}

#[tokio::test]
async fn quirk_26_personal_data_is_read_as_far_as_it_goes() {
    // Two-digit lengths, some of zero, the last fields absent, the file filled up with zeros.
    let fields = [
        "6999",
        "15012026",
        "14012032",
        "ABCD",
        "ABCDEF",
        "01011980",
        "M",
        "",
        "RSSMRA80A01H501U",
        "",
        "H501",
        "",
        "",
        "H501",
    ];
    let text: String = fields.iter().map(|field| format!("{:02X}{field}", field.len())).collect();
    let mut file = format!("{:06X}{text}", text.len()).into_bytes();
    file.resize(400, 0);
    let data = PersonalData::decode(&file).unwrap();
    assert_eq!(
        (data.fiscal_code.as_str(), data.height.as_str(), data.notes.as_str()),
        ("RSSMRA80A01H501U", "", "")
    );
    // A file that makes no sense costs the holder's data and not the card.
    let mut is_data = false;
    let noise: Answer = Box::new(move |command, _| {
        if is(command, &[0x00, 0xA4]) {
            is_data = command.ends_with(&[0x11, 0x02]);
        }
        (is_data && is(command, &[0x00, 0xB0])).then(|| [&b"zz-no-length"[..], &[0x90, 0x00]].concat())
    });
    let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, noise).await;
    let card = reader.card().await;
    assert_eq!((card.card.certificates.len(), card.card.holder.surname.as_str()), (1, ""));
}

#[tokio::test]
async fn quirk_27_what_changes_nothing_is_sent_again_a_few_times_and_codes_never() {
    let mut last = Vec::new();
    let hesitate: Answer = Box::new(move |command, _| {
        let again = last == command;
        last = command.to_vec();
        let idempotent = is(command, &[0x00, 0xA4]) || is(command, &[0x00, 0xB0]);
        (idempotent && !again).then(|| vec![0x6F, 0x00])
    });
    let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, hesitate).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    // A few times, and not for ever.
    let never: Answer = Box::new(|command, _| command.ends_with(&[0x11, 0x02]).then(|| vec![0x6F, 0x00]));
    let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, never).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    assert_eq!(take(&plugged).iter().filter(|(sent, _)| sent.ends_with("11001102")).count(), 3);
    let refuse: Answer =
        Box::new(|command, _| (is(command, &[0x00, 0x20]) && command.len() > 5).then(|| vec![0x6F, 0x00]));
    let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, refuse).await;
    assert!(log_in(&reader, sample::PIN).await.is_err());
    let presented = |sent: &str| sent.starts_with("0020") && sent.len() > 10;
    assert_eq!(take(&plugged).iter().filter(|(sent, _)| presented(sent)).count(), 1);
}

#[tokio::test]
async fn quirk_28_a_packed_certificate_is_told_and_not_taken_for_one() {
    for tag in [0x5A, 0x7A] {
        let mut is_second = false;
        let packed: Answer = Box::new(move |command, _| {
            if is(command, &[0x00, 0xA4]) {
                is_second = command.windows(2).any(|fid| fid == [0x20, 0x04]);
            }
            (is_second && is(command, &[0x00, 0xB0]))
                .then(|| [&[tag, 0x82, 0x05, 0x21][..], &[0xAB; 200], &[0x90, 0x00]].concat())
        });
        let (reader, _plugged) = listed_changed(card_of("idemia2021"), None, packed).await;
        let card = reader.card().await;
        assert_eq!(card.card.certificates.len(), 1);
        let finding =
            card.card.findings.iter().find(|finding| finding.content == PlaceContent::Container).unwrap();
        assert_eq!(finding.place, "3F00/1400/9001/2004");
        assert_eq!(finding.detail, format!("container {tag:02X}82, not readable"));
        // The login is not touched by it.
        sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    }
}

#[tokio::test]
async fn quirk_29_bytes_behind_the_status_word_make_a_card_unusable_and_nothing_else() {
    let reader = Reader::start();
    let append: Answer =
        Box::new(|command, card| Some([&card.transmit(command)[..], &[0xDE, 0xAD]].concat()));
    let plugged = connect_changed(&reader, plain_card_of("st2021"), None, append);
    assert!(!unusable(&reader).await.is_empty());
    assert!(take(&plugged).iter().all(|(sent, _)| sent.starts_with("00A4") || sent.starts_with("00B0")));
}
