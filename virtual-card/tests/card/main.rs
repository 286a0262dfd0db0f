//! The whole chip, through nothing but its APDUs and its directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails may panic, and a figure is printed"
)]

mod access_rules;
mod any_bytes;
mod authenticate;
mod counters;
mod documentation;
mod faults;
mod generations;
mod guards;
mod host;
mod persistence;
mod personalisation;
mod real_cards;
mod records;
mod replay;
mod sealed;
mod secure_messaging;
mod shared_vectors;
mod signature_area;
mod status_words;
mod torn;
mod vectors;
mod vpcd;

use cns_virtual_card::{Behaviour, Personalisation, VirtualCard, sample};

/// The card of the vectors.
pub(crate) fn card() -> VirtualCard {
    VirtualCard::create(sample::personalisation().unwrap()).unwrap()
}

/// The card of the vectors with other switches.
pub(crate) fn behaving(behaviour: Behaviour) -> VirtualCard {
    VirtualCard::create(Personalisation { behaviour, ..sample::personalisation().unwrap() }).unwrap()
}

/// Sends hexadecimal digits, spaces ignored; gives the response in the same form.
pub(crate) fn send(card: &mut VirtualCard, command: &str) -> String {
    hex::encode_upper(card.transmit(&bytes(command)))
}

/// Sends a command and insists on its response.
#[track_caller]
pub(crate) fn expect(card: &mut VirtualCard, command: &str, response: &str) {
    let answer = send(card, command);
    assert_eq!(answer, response.replace(' ', ""), "to {command}");
}

/// Sends many commands, each with its response.
#[track_caller]
pub(crate) fn run(card: &mut VirtualCard, exchanges: &[(&str, &str)]) {
    for (command, response) in exchanges {
        expect(card, command, response);
    }
}

pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace([' ', '\n'], "")).unwrap()
}

pub(crate) const SELECT_MF: &str = "00A40000023F0000";
pub(crate) const VERIFY_PIN: &str = "0020009008 3132333435FFFFFF";
pub(crate) const WRONG_PIN: &str = "0020009008 3939393939FFFFFF";
pub(crate) const EMPTY_VERIFY: &str = "00200090";
pub(crate) const SELECT_SIGNATURE_DF: &str = "00A4080002140000";
