//! PINs and PUKs: how they are padded, searched, counted and changed.

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::sample;
use cnsd::card::{CardError, CardSession, LastTry, pin};

use super::{Answer, is, listed, listed_changed, log_in, sign};
use crate::plugged::{Reader, secret};
use crate::wire::{card_of, connect, plain_card_of, take, unusable};

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
        let states = reader.run(pin::status).await.unwrap();
        assert!(
            states.iter().all(|state| state.tries_left.is_none() && state.blocked.is_none()),
            "{card} {states:?}"
        );
        log_in(&reader, sample::PIN).await.unwrap();
        let empty = |sent: &str| sent.starts_with("0020") && sent.len() <= 10;
        assert!(!take(&plugged).iter().any(|(sent, _)| empty(sent)), "{card}");
    }
    let (reader, _plugged) = listed(plain_card_of("oberthur-cosmo7")).await;
    let states = reader.run(pin::status).await.unwrap();
    let told: Vec<_> = states.iter().map(|state| (state.is_puk, state.tries_left)).collect();
    assert_eq!(told, [(false, Some(3)), (true, Some(8))]);
    // A chip that answers otherwise tells nothing: neither "0 left" nor "blocked".
    let mute: Answer =
        Box::new(|command, _| (is(command, &[0x00, 0x20]) && command.len() <= 5).then(|| vec![0x6A, 0x86]));
    let (reader, _plugged) = listed_changed(plain_card_of("idemia2021"), None, mute).await;
    let states = reader.run(pin::status).await.unwrap();
    assert!(states.iter().all(|state| state.tries_left.is_none() && state.blocked.is_none()), "{states:?}");
    log_in(&reader, sample::PIN).await.unwrap();
}

#[tokio::test]
async fn quirk_21_a_pin_that_has_two_places_is_not_changed_in_one() {
    // ChipDoc: one place is behind PACE. The token is not used at all, so neither is changed.
    let reader = Reader::start();
    let plugged = connect(&reader, card_of("chipdoc"));
    unusable(&reader).await;
    take(&plugged);
    let changed = reader.run(|session| {
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
        let refused = reader.run(job).await;
        assert!(matches!(refused, Err(CardError::NoPinPad)), "{refused:?}");
    }
    let unproved = reader.run(|session| pin::reset_at_pad(session, PinName::Cns, LastTry::Ask)).await;
    assert!(matches!(unproved, Err(CardError::PinPadUnproved)), "{unproved:?}");
    let sent = take(&plugged);
    let presents = |sent: &str| sent.starts_with("0024") || (sent.starts_with("0020") && sent.len() > 10);
    assert!(sent.iter().all(|(sent, _)| !presents(sent)), "{sent:?}");
}
