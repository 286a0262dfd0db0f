//! Keys, environments, long commands, challenges, repetitions.

use cns_protocol::card::KeyUse;
use cns_virtual_card::sample;
use cnsd::card::{CardError, random};

use super::{Answer, is, listed, listed_changed, log_in, sent_for_signature, sign};
use crate::plugged::Reader;
use crate::wire::{card_of, connect, plain_card_of, take, unusable};

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
async fn quirk_20_a_challenge_has_at_most_32_bytes_on_idemias_chips() {
    let (reader, plugged) = listed(plain_card_of("idemia2021")).await;
    let bytes = reader.run(|session| random::random(session, 100)).await.unwrap();
    assert_eq!(bytes.len(), 100);
    let lengths: Vec<_> = take(&plugged).into_iter().map(|(sent, _)| sent).collect();
    assert_eq!(lengths, ["0084000020", "0084000020", "0084000020", "0084000004"]);
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
