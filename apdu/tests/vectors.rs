//! Every vector decodes to the command of its folder and encodes to the bytes of its source.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cns_apdu::atr::Atr;
use cns_apdu::command::{NAMES, SelectFile, SelectResponse};
use cns_apdu::generation::rank;
use cns_apdu::personal_data::PersonalData;
use cns_apdu::{CardCommand, Command, CommandApdu, Form, ResponseApdu, StatusWord};
use cns_test_vectors::{Exchange, exchanges, folders, samples};

fn folder_of(command: &str) -> String {
    command.to_lowercase().replace(' ', "_")
}

fn commands() -> Vec<(String, Exchange)> {
    let folders = folders().unwrap().into_iter();
    folders
        .flat_map(|folder| exchanges(&folder).unwrap().into_iter().map(move |e| (folder.clone(), e)))
        .collect()
}

#[test]
fn every_command_has_vectors() {
    let folders = folders().unwrap();
    for name in NAMES {
        assert!(folders.contains(&folder_of(name)), "{name} has no vectors");
    }
    assert!(NAMES.is_sorted());
}

#[test]
fn commands_decode_and_encode_to_the_same_bytes() {
    let mut decoded = 0;
    let mut wrong = Vec::new();
    for (folder, exchange) in commands() {
        let label = format!("{folder}: {}", exchange.name);
        let apdu = CommandApdu::parse(&exchange.command).unwrap_or_else(|error| panic!("{label}: {error}"));
        let form = Form::of(&exchange.command);
        assert_eq!(apdu.to_bytes(form).unwrap().expose(), exchange.command, "{label}: the envelope");
        match (Command::decode(&apdu), &exchange.refused) {
            (Err(status), Some(refused)) => assert_eq!(status.to_bytes(), refused[..], "{label}"),
            (Err(status), None) => wrong.push(format!("{label}: refused with {status}")),
            (Ok(command), Some(_)) => panic!("{label}: taken for {}", command.name()),
            (Ok(command), None) => {
                decoded += 1;
                assert_eq!(folder_of(command.name()), folder, "{label}");
                let bytes = command.encode().unwrap().to_bytes(form).unwrap();
                let expected = exchange.canonical.as_ref().unwrap_or(&exchange.command);
                if bytes.expose() != *expected {
                    wrong.push(format!("{label}: written as {}", hex(bytes.expose())));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(decoded > 200, "only {decoded} vectors decoded");
}

#[test]
fn responses_decode_and_encode_to_the_same_bytes() {
    for (folder, exchange) in commands() {
        let Some(bytes) = exchange.response else { continue };
        let response = ResponseApdu::parse(&bytes).unwrap();
        assert_eq!(response.to_bytes(), bytes, "{folder}: {}", exchange.name);
    }
}

#[test]
fn file_control_information_encodes_to_what_the_card_sent() {
    let mut whole = 0;
    for exchange in exchanges("select_file").unwrap() {
        let Some(bytes) = exchange.response else { continue };
        let select = SelectFile::master_file().answering(SelectResponse::Fci);
        let Ok(Some(fci)) = select.decode_answer(ResponseApdu::parse(&bytes).unwrap()) else { continue };
        let sent = &bytes[..bytes.len() - 2];
        assert!(fci.size.is_some() && fci.file.is_some(), "{}", exchange.name);
        // The ESIGN application's tags are another language; they are skipped, not kept.
        if fci.access.is_some() {
            assert_eq!(hex(&fci.encode().unwrap()), hex(sent), "{}", exchange.name);
            whole += 1;
        }
    }
    assert_eq!(whole, 9);
}

#[test]
fn atrs_rank_their_generation_first() {
    for sample in samples("atr").unwrap() {
        let atr = Atr::parse(&sample.bytes).unwrap();
        assert_eq!(atr.historical().len(), 15, "{}", sample.name);
        assert!(atr.has_valid_check_byte(), "{}", sample.name);
        let ranked = rank(&sample.bytes);
        assert_eq!(ranked.first().unwrap().name, sample.meaning, "{}", sample.name);
        assert_eq!(ranked.len(), rank(&[]).len(), "no generation is ever ruled out");
    }
    // Over the air there are no historical bytes, or others.
    assert_eq!(rank(&[0x3B, 0x80, 0x80, 0x01, 0x01]).first().unwrap().name, "st2022-nfc");
    let idemia =
        [0x3B, 0x8B, 0x80, 0x01, 0x00, 0x31, 0xC1, 0x64, 0x08, 0x92, 0x33, 0x54, 0x00, 0x90, 0x00, 0xF3];
    assert_eq!(rank(&idemia).first().unwrap().name, "idemia-nfc");
    // Of an unknown mask nothing is assumed that only ST's has.
    assert_eq!(rank(&[]).first().unwrap().name, "classic2048");
}

#[test]
fn personal_data_decodes_and_encodes_to_the_same_file() {
    for sample in samples("personal_data").unwrap() {
        let data = PersonalData::decode(&sample.bytes).unwrap();
        assert_eq!(data.fiscal_code, sample.meaning);
        assert_eq!(data.encode().unwrap().as_slice(), sample.bytes);
        assert_eq!(format!("{data:?}"), "PersonalData(..)");
    }
}

#[test]
fn success_and_refusal_keep_their_words() {
    assert_eq!(StatusWord::retries_left(2).to_string(), "wrong PIN or PUK, 2 tries left (63C2)");
    assert_eq!(StatusWord(0x6A99).to_string(), "status 6A99");
    assert_eq!(StatusWord::BLOCKED.to_string(), "blocked (6983)");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X} ")).collect()
}
