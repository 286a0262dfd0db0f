//! The project's common vectors: what the reference says that the sample card answers.

use cns_apdu::command::NAMES;
use cns_secret::Secret;
use cns_test_vectors::{Exchange, exchanges, folders};
use cns_virtual_card::{Behaviour, Personalisation, VirtualCard, sample};

use crate::bytes;

/// Vectors logged from other cards tell other data; those of the reference are of the sample card.
const REFERENCE: &str = "cns-card ";

/// What a card of fixed random numbers gives out first, then other numbers.
const FIXED_RANDOM: [u8; 8] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];

/// The card that a vector is about: its source names the options of a card that is not the usual one.
fn behaviour(exchange: &Exchange) -> Behaviour {
    let has = |option: &str| exchange.source.contains(&format!("option {option}"));
    Behaviour {
        strict_st: has("strict-st"),
        strict_incard: has("strict-incard"),
        select_p2_0c_refused: has("select-p2-0c"),
        lenient_decipher: has("lenient-dec"),
        strict_restore: false,
        t0: has("t0"),
        key_generation_seconds: 0,
    }
}

/// The issuer's key is the one of the secure messaging vectors.
fn card_of(exchange: &Exchange) -> VirtualCard {
    let issuer_key = exchange
        .source
        .contains("option issuer-key")
        .then(|| Secret::copy_from(&bytes("0123456789ABCDEFFEDCBA9876543210")).unwrap());
    let order =
        Personalisation { behaviour: behaviour(exchange), issuer_key, ..sample::personalisation().unwrap() };
    VirtualCard::create(order).unwrap()
}

fn as_told(exchange: &Exchange, answer: &[u8]) -> bool {
    let whole = exchange.response.as_ref().or(exchange.refused.as_ref());
    whole.is_none_or(|response| response == answer)
        && exchange
            .response_length
            .is_none_or(|length| answer.len() == length + 2 && answer[length..] == [0x90, 0x00])
}

#[test]
fn the_sample_card_answers_as_the_reference_says() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for folder in folders().unwrap() {
        for exchange in exchanges(&folder).unwrap().iter().filter(|one| one.source.starts_with(REFERENCE)) {
            let mut card = card_of(exchange);
            if exchange.source.contains("option fixed-random") {
                card.plan_randomness(&FIXED_RANDOM);
            }
            for command in &exchange.before {
                card.transmit(command);
            }
            let answer = card.transmit(&exchange.command);
            if !as_told(exchange, &answer) {
                let answer = hex::encode_upper(answer);
                wrong.push(format!("{folder}: {} ({}): {answer}", exchange.name, exchange.source));
            }
            // The reference says of each what comes back, if only how long it is.
            let told = exchange.response.is_some() || exchange.refused.is_some();
            if !told && exchange.response_length.is_none() {
                wrong.push(format!("{folder}: {}: no answer is stated", exchange.name));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 264, "only {compared} vectors");
}

/// Each command has a vector that is carried out, and one that is not.
#[test]
fn every_command_is_accepted_and_refused_by_some_vector() {
    for name in NAMES {
        let folder = name.to_lowercase().replace(' ', "_");
        let all = exchanges(&folder).unwrap();
        let ends = |good: bool| {
            all.iter().filter(|one| one.source.starts_with(REFERENCE)).any(|one| {
                let told = one.response.as_ref().or(one.refused.as_ref());
                told.is_some_and(|bytes| bytes.ends_with(&[0x90, 0x00]) == good)
                    || (good && one.response_length.is_some())
            })
        };
        assert!(ends(true), "{name}: no vector that is carried out");
        assert!(ends(false), "{name}: no vector that is refused");
    }
}
