//! The channel against a scripted chip: what it sends, what it follows, and where it stops.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::convert::Infallible;

use cns_apdu::chaining::{Assembled, Assembler};
use cns_apdu::command::{
    GetChallenge, PerformSecurityOperation, PinReference, ReadBinary, ReferenceData, SelectFile, Verify,
};
use cns_apdu::object::ObjectId;
use cns_apdu::transmit::{Channel, Limits, Traffic, TransmitError, Transport};
use cns_apdu::{Command, CommandApdu, StatusWord};
use cns_secret::Secret;

/// Answers in the order given, and again from the last when they run out.
struct Script {
    answers: VecDeque<Vec<u8>>,
    commands: Vec<Vec<u8>>,
}

impl Script {
    fn new(answers: &[&[u8]]) -> Self {
        Self { answers: answers.iter().map(|answer| answer.to_vec()).collect(), commands: Vec::new() }
    }
}

impl Transport for Script {
    type Error = Infallible;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
        self.commands.push(command.to_vec());
        let answer = self.answers.pop_front().unwrap();
        if self.answers.is_empty() {
            self.answers.push_back(answer.clone());
        }
        Ok(answer)
    }
}

fn decipher() -> PerformSecurityOperation {
    PerformSecurityOperation::Decipher { block: Secret::copy_from(&[0x5A; 256]).unwrap() }
}

fn with_status(len: usize, status: u16) -> Vec<u8> {
    [vec![0xAB; len], status.to_be_bytes().to_vec()].concat()
}

#[test]
fn extended_where_allowed() {
    let mut channel = Channel::new(Script::new(&[&with_status(256, 0x9000)]), Limits::EXTENDED_OR_CHAINED);
    assert_eq!(channel.run(&decipher()).unwrap().len(), 256);
    assert_eq!(channel.traffic(), Traffic { commands: 1, sent: 266, received: 258 });
    let commands = channel.into_transport().commands;
    assert_eq!(commands[0][..8], [0x00, 0x2A, 0x80, 0x86, 0x00, 0x01, 0x01, 0x00]);
    assert_eq!(commands[0][264..], [0x01, 0x00]);
}

#[test]
fn a_chain_where_only_that_is_allowed_and_the_chip_puts_it_together() {
    let answers = [with_status(0, 0x9000), with_status(256, 0x9000)];
    let mut channel = Channel::new(Script::new(&[&answers[0], &answers[1]]), Limits::SHORT_CHAINED);
    assert_eq!(channel.run(&decipher()).unwrap().len(), 256);
    let commands = channel.into_transport().commands;
    // As OpenSC sends it (`cns-card` §12, row 25).
    assert_eq!(commands[0][..6], [0x10, 0x2A, 0x80, 0x86, 0xFF, 0x00]);
    assert_eq!(commands[1], [0x00, 0x2A, 0x80, 0x86, 0x02, 0x5A, 0x5A, 0x00]);

    let mut assembler = Assembler::default();
    let first = assembler.push(CommandApdu::parse(&commands[0]).unwrap()).unwrap();
    assert!(matches!(first, Assembled::Partial));
    let Assembled::Whole(whole) = assembler.push(CommandApdu::parse(&commands[1]).unwrap()).unwrap() else {
        panic!("the chain has ended");
    };
    assert_eq!((whole.data.len(), whole.le), (257, Some(256)));
    assert!(matches!(
        Command::decode(&whole),
        Ok(Command::PerformSecurityOperation(PerformSecurityOperation::Decipher { .. }))
    ));
}

#[test]
fn another_command_forgets_the_chain() {
    let mut assembler = Assembler::default();
    let part = || CommandApdu::new(0x2A, 0x80, 0x86).class(0x10).plain(vec![0; 8]);
    let last = |p2| CommandApdu::new(0x2A, 0x80, p2).plain(vec![0; 2]);
    assert!(matches!(assembler.push(part()).unwrap(), Assembled::Partial));
    let Assembled::Whole(other) = assembler.push(last(0x9A)).unwrap() else { panic!("not a part") };
    assert_eq!(other.data.len(), 2);
    let Assembled::Whole(alone) = assembler.push(last(0x86)).unwrap() else { panic!("not a part") };
    assert_eq!(alone.data.len(), 2);
}

#[test]
fn too_long_is_refused_before_anything_is_sent() {
    let mut channel = Channel::new(Script::new(&[&[0x90, 0x00]]), Limits::SHORT);
    assert!(matches!(channel.run(&decipher()), Err(TransmitError::Apdu(_))));
    assert_eq!(channel.traffic(), Traffic::default());
}

#[test]
fn a_refused_part_ends_the_chain() {
    let mut channel = Channel::new(Script::new(&[&[0x6E, 0x00]]), Limits::SHORT_CHAINED);
    let error = channel.run(&decipher()).unwrap_err();
    assert_eq!(error.status(), Some(StatusWord::CLASS_NOT_SUPPORTED));
    assert_eq!(channel.traffic().commands, 1);
}

#[test]
fn get_response_collects_the_rest() {
    let answers = [with_status(0, 0x6110), with_status(16, 0x6108), with_status(8, 0x9000)];
    let script = Script::new(&[&answers[0], &answers[1], &answers[2]]);
    let mut channel = Channel::new(script, Limits::SHORT);
    assert_eq!(channel.run(&ReadBinary { offset: 0, length: 24 }).unwrap().len(), 24);
    let commands = channel.into_transport().commands;
    assert_eq!(commands[1..], [vec![0x00, 0xC0, 0x00, 0x00, 0x10], vec![0x00, 0xC0, 0x00, 0x00, 0x08]]);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let mut channel = Channel::new(Script::new(&[&with_status(256, 0x6100)]), Limits::SHORT);
    assert!(matches!(channel.run(&ReadBinary { offset: 0, length: 256 }), Err(TransmitError::Endless)));
    assert!(channel.traffic().commands < 300);
    let mut channel = Channel::new(Script::new(&[&[0x61, 0x00]]), Limits::SHORT);
    assert!(matches!(channel.run(&ReadBinary { offset: 0, length: 256 }), Err(TransmitError::Endless)));
    assert_eq!(channel.traffic().commands, 2);
}

#[test]
fn wrong_le_is_repeated_once() {
    let answers = [with_status(0, 0x6C08), with_status(8, 0x9000)];
    let mut channel = Channel::new(Script::new(&[&answers[0], &answers[1]]), Limits::SHORT);
    assert_eq!(channel.run(&GetChallenge { length: 32 }).unwrap().len(), 8);
    let mut channel = Channel::new(Script::new(&[&[0x6C, 0x08]]), Limits::SHORT);
    assert!(channel.run(&GetChallenge { length: 32 }).is_err());
    assert_eq!(channel.traffic().commands, 2);
}

#[test]
fn a_pin_is_never_sent_twice() {
    let digits = Secret::copy_from(b"12345").unwrap();
    let value = ReferenceData::from_digits(&digits).ok();
    let verify = Verify { reference: PinReference::local(ObjectId::CNS_PIN), value };
    for status in [0x6C08u16, 0x6CFF, 0x63C2, 0x6300, 0x6283, 0x6F00] {
        let mut channel = Channel::new(Script::new(&[&status.to_be_bytes()]), Limits::EXTENDED_OR_CHAINED);
        assert_eq!(channel.run(&verify).unwrap_err().status(), Some(StatusWord(status)));
        assert_eq!(channel.traffic().commands, 1);
    }
}

#[test]
fn responses_that_are_none_are_errors() {
    for answer in [vec![], vec![0x90], vec![0; 65_539]] {
        let mut channel = Channel::new(Script::new(&[&answer]), Limits::SHORT);
        assert!(matches!(channel.run(&SelectFile::master_file()), Err(TransmitError::Response(_))));
    }
}

#[test]
fn files_are_read_to_their_end() {
    let answers = [with_status(256, 0x9000), with_status(93, 0x9000), with_status(0, 0x6B00)];
    let script = Script::new(&[&answers[0], &answers[1], &answers[2]]);
    let mut channel = Channel::new(script, Limits::SHORT);
    assert_eq!(channel.read_current_file(2048).unwrap().len(), 349);
    // A chip that brings nothing ends the loop; one that never had anything to give is refused.
    let mut channel = Channel::new(Script::new(&[&[0x90, 0x00]]), Limits::SHORT);
    assert_eq!(channel.read_current_file(400).unwrap(), [0; 0]);
    let mut channel = Channel::new(Script::new(&[&[0x6B, 0x00]]), Limits::SHORT);
    assert!(channel.read_current_file(400).is_err());
    assert!(channel.read_current_file(0x8001).is_err());
    let mut channel = Channel::new(Script::new(&[&[0xAB, 0x90, 0x00]]), Limits::SHORT);
    assert!(matches!(channel.read_current_file(0x8000), Err(TransmitError::Endless)));
    assert!(channel.traffic().commands < 600);
    assert_eq!(channel.read_current_file(2).unwrap(), [0xAB; 2]);
}

#[test]
fn files_are_written_in_pieces() {
    let mut channel = Channel::new(Script::new(&[&[0x90, 0x00]]), Limits::SHORT);
    channel.update_current_file(&[0x30; 500]).unwrap();
    let sent: Vec<_> = channel.into_transport().commands.iter().map(|c| (c[2], c[3], c[4])).collect();
    assert_eq!(sent, [(0x00, 0x00, 240), (0x00, 0xF0, 240), (0x01, 0xE0, 20)]);
}

#[test]
fn nothing_of_a_command_is_printed() {
    let digits = Secret::copy_from(b"12345").unwrap();
    let value = ReferenceData::from_digits(&digits).ok();
    let verify = Verify { reference: PinReference::local(ObjectId::CNS_PIN), value };
    let printed = format!("{:?}", cns_apdu::CardCommand::encode(&verify).unwrap());
    assert!(printed.contains("Sensitive(8 bytes)"), "{printed}");
    assert!(!printed.contains("49") && !printed.contains("0x31"), "{printed}");
    // A command that came as bytes and is not known to be harmless is taken for sensitive.
    let parsed = CommandApdu::parse(&[0x00, 0x20, 0x00, 0x90, 0x05, 0x31, 0x32, 0x33, 0x34, 0x35]).unwrap();
    assert!(format!("{parsed:?}").contains("Sensitive(5 bytes)"));
}
