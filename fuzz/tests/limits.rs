//! The bounds that hold whatever a card says: memory and commands of one card, measured on the daemon's own code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test"
)]

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cns_apdu::certificate_container::LONGEST;
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, Fid, PERSONAL_DATA, PUBLIC_OBJECT_DIRECTORY, PUBLIC_OBJECTS_DF,
    SIGNATURE_CERTIFICATE,
};
use cns_apdu::tlv;
use cns_fuzz::input::Input;
use cns_fuzz::liar::{CERTIFICATE, FileCard, Liar, answer_to_reset};
use cns_fuzz::{MOST_MEMORY, peak_memory};
use cns_protocol::card::KeyUse;
use cnsd::card::random;
use cnsd::reader::Budget;
use cnsd::reader::direct::DirectCard;

/// The memory that is counted is that of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What reading a card costs.
struct Cost {
    commands: u32,
    memory: usize,
    certificates: usize,
}

fn read(mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> Cost {
    let commands = Cell::new(0);
    let mut certificates = 0;
    let ((), memory) = peak_memory(|| {
        let mut card = DirectCard::new(&answer_to_reset(0), |command| {
            commands.set(commands.get() + 1);
            Ok(answer(command))
        });
        if let Ok(contents) = card.read() {
            certificates = contents.card.certificates.len();
            // A job that a hostile card could keep going: it takes as many answers as they are short.
            _ = card.run(&contents, |session| random::random(session, u16::MAX).map(drop));
        }
    });
    println!("{} commands, {memory} bytes, {certificates} certificates", commands.get());
    assert!(memory <= MOST_MEMORY, "{memory} bytes held for one card");
    assert!(commands.get() <= Budget::RECOGNITION.commands + Budget::JOB.commands);
    Cost { commands: commands.get(), memory, certificates }
}

/// An honest card whose answers to one instruction are others.
fn lying(instruction: u8, lie: impl Fn(&[u8]) -> Vec<u8>) -> impl FnMut(&[u8]) -> Vec<u8> {
    let mut card = FileCard::sample();
    move |command| if command[1] == instruction { lie(command) } else { card.answer(command) }
}

const SELECT: u8 = 0xA4;
const READ_BINARY: u8 = 0xB0;
const GET_RESPONSE: u8 = 0xC0;
const GET_CHALLENGE: u8 = 0x84;

#[test]
fn an_honest_card_is_read_whole_and_cheaply() {
    let _alone = alone();
    let mut card = FileCard::sample();
    card.put(&SIGNATURE_CERTIFICATE, CERTIFICATE);
    let mut answers = 0;
    let cost = read(|command| {
        answers += usize::from(command[1] == READ_BINARY);
        card.answer(command)
    });
    assert!(cost.certificates >= 1, "the sample's certificate is not listed");
    assert!(answers > 0 && cost.memory < MOST_MEMORY / 2);
}

#[test]
fn endless_answers_end() {
    let _alone = alone();
    let words: [(&str, [u8; 2]); 3] =
        [("61xx", [0x61, 0x00]), ("6Cxx", [0x6C, 0x10]), ("9000", [0x90, 0x00])];
    for (name, word) in words {
        for length in [0, 1, 2, 255, 256, 65_000, 65_536] {
            println!("{name}, {length} bytes each");
            let say = |byte: u8| [&vec![byte; length][..], &word].concat();
            // Everything, from the first command on.
            read(|_| say(0x30));
            // Only one instruction, after an honest beginning.
            for instruction in [SELECT, READ_BINARY, GET_RESPONSE, GET_CHALLENGE] {
                read(lying(instruction, |_| say(0x30)));
                read(lying(instruction, |_| say(0x41)));
            }
        }
    }
}

#[test]
fn files_in_crumbs_cost_a_bounded_number_of_commands() {
    let _alone = alone();
    // One byte of the right content at a time.
    let mut card = FileCard::sample();
    let cost = read(|command| {
        let mut answer = card.answer(command);
        if command[1] == READ_BINARY && answer.len() > 3 {
            answer.drain(1..answer.len() - 2);
        }
        answer
    });
    assert!(cost.commands <= Budget::RECOGNITION.commands + Budget::JOB.commands);
    // Everything is there, and it never ends.
    read(lying(READ_BINARY, |_| [&[0x30, 0x82, 0x1F, 0x00][..], &[0x90, 0x00]].concat()));
    read(lying(READ_BINARY, |_| b"FFFFFF\x90\x00".to_vec()));
    read(lying(READ_BINARY, |command| {
        [&[0x78, 0x9C][..], &vec![0x00; usize::from(command[4])], &[0x90, 0x00]].concat()
    }));
}

#[test]
fn claims_of_size_are_not_believed() {
    let _alone = alone();
    // File control information of files that are as large as a number can say.
    for size in [&[0x7F, 0xFF][..], &[0xFF, 0xFF], &[0xFF, 0xFF, 0xFF, 0xFF]] {
        let fci = tlv::encode(0x6F, &[tlv::encode(0x80, size), tlv::encode(0x81, size)].concat());
        read(lying(SELECT, move |_| [&fci[..], &[0x90, 0x00]].concat()));
    }
    // Personal data that claim 16 MiB.
    let mut card = FileCard::sample();
    card.put(&PERSONAL_DATA, b"FFFFFF02AB");
    read(|command| card.answer(command));
}

/// Certificates that take much more memory than they have bytes.
#[test]
fn certificates_that_swell_stay_within_the_memory_of_a_card() {
    let _alone = alone();
    let der = |tag: u32, value: &[u8]| tlv::encode(tag, value);
    // As many names, and as many extensions, as fit: a decoder makes a structure of each.
    let mut sample = CERTIFICATE.to_vec();
    let name = der(0x31, &der(0x30, &[0x06, 0x03, 0x55, 0x04, 0x03, 0x0C, 0x00]));
    let names = der(0x30, &name.repeat((LONGEST - 1300) / name.len()));
    let certificate = swollen(&sample, &names);
    assert!(certificate.len() <= LONGEST, "{}", certificate.len());
    for (first, second) in [(&certificate, &certificate), (&certificate, &sample)] {
        let mut card = FileCard::sample();
        card.put(&AUTHENTICATION_CERTIFICATE, first);
        card.put(&SIGNATURE_CERTIFICATE, second);
        let cost = read(|command| card.answer(command));
        assert!(cost.certificates >= 1, "the swollen certificate was not read, so nothing was measured");
    }
    // A store that lists 48 of them.
    let mut card = FileCard::sample();
    card.remove(&AUTHENTICATION_CERTIFICATE);
    let mut directory = Vec::new();
    for number in 0..48_u8 {
        card.put(&PUBLIC_OBJECTS_DF.child(Fid(u16::from_be_bytes([0x20, number]))), &certificate);
        directory.extend([0xFF, 0x20, number, 0x1F, 0x00]);
    }
    card.put(&PUBLIC_OBJECT_DIRECTORY, &directory);
    assert!(read(|command| card.answer(command)).certificates >= 1);
    // A compression bomb, and a string that claims five million bytes.
    sample[259] = 0x83;
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0x30; 8 << 20], 9);
    for content in [sample, bomb] {
        let mut card = FileCard::sample();
        card.put(&AUTHENTICATION_CERTIFICATE, &content);
        assert_eq!(read(|command| card.answer(command)).certificates, 0);
    }
}

/// The sample's certificate with another issuer, its lengths put right.
fn swollen(certificate: &[u8], issuer: &[u8]) -> Vec<u8> {
    // SEQUENCE { tbsCertificate SEQUENCE { version, serial, algorithm: 24 bytes; issuer: 142 bytes; rest }, rest }
    let tbs_end = 8 + usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    let tbs = [&certificate[8..32], issuer, &certificate[32 + 142..tbs_end]].concat();
    tlv::encode(0x30, &[&tlv::encode(0x30, &tbs)[..], &certificate[tbs_end..]].concat())
}

#[test]
fn sessions_with_a_liar_stay_within_the_budgets() {
    let _alone = alone();
    // Decisions of every kind, with their habits, at the first hundred places.
    for decision in 0..=0xFF_u8 {
        let bytes = [&[decision][..], &[0x61, 0x00, 0x90, 0x00, 0x30, 0x82, 0x20, 0x00]].concat().repeat(100);
        let mut liar = Liar::new(FileCard::sample(), Input::new(&bytes));
        read(|command| liar.answer(command));
    }
}

/// The key is the sample's, so that signing with the sample's certificate is possible at all.
#[test]
fn the_sample_is_whole() {
    let _alone = alone();
    let mut card = FileCard::sample();
    let mut direct = DirectCard::new(&answer_to_reset(0), |command| Ok(card.answer(command)));
    let contents = direct.read().unwrap();
    assert!(contents.public_key(KeyUse::Authentication).is_some());
    assert_eq!(contents.certificate(KeyUse::Authentication), Some(CERTIFICATE));
}
