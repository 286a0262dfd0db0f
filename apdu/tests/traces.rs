//! The traces of real cards are read, their commands decode and their answers are understood.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cns_apdu::atr::Atr;
use cns_apdu::command::{SelectBy, SelectResponse};
use cns_apdu::trace::{CommandMask, Exchange, Gap, Kind, LONGEST_TEXT, Missing, Trace, TraceFault, Zeroed};
use cns_apdu::{CardCommand, Command, CommandApdu, Form, ResponseApdu, Status, StatusWord};
use cns_test_vectors::traces;
use proptest::prelude::*;

fn real_cards() -> Vec<(String, Trace)> {
    let read = |(name, text): (String, String)| {
        let trace = Trace::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, trace)
    };
    traces().unwrap().into_iter().map(read).collect()
}

#[test]
fn every_model_of_card_has_a_trace_with_its_source() {
    let cards = real_cards();
    assert_eq!(cards.len(), 11);
    for (name, trace) in &cards {
        assert!(trace.card.is_some() && trace.source.is_some(), "{name}");
        for atr in &trace.atrs {
            Atr::parse(atr).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    let count = |kind| cards.iter().flat_map(|(_, t)| t.exchanges()).filter(|e| e.kind == kind).count();
    assert_eq!((count(Kind::Capture), count(Kind::Driver), count(Kind::Inferred)), (78, 56, 2));
}

#[test]
fn every_captured_command_decodes_and_is_written_alike() {
    for (name, exchange) in captured() {
        let label = format!("{name}, line {}", exchange.line);
        let apdu = CommandApdu::parse(&exchange.command).unwrap_or_else(|error| panic!("{label}: {error}"));
        let form = Form::of(&exchange.command);
        assert_eq!(apdu.to_bytes(form).unwrap().expose(), exchange.command, "{label}");
        // A part of a chain has no meaning of its own.
        if apdu.cla != 0x10 {
            Command::decode(&apdu).map(|_| ()).unwrap_or_else(|status| panic!("{label}: {status}"));
        }
    }
}

#[test]
fn every_captured_answer_is_understood() {
    let mut fcis = 0;
    for (name, exchange) in captured() {
        let label = format!("{name}, line {}", exchange.line);
        let refused = exchange.status != StatusWord::SUCCESS;
        let unknown = matches!(exchange.status.meaning(), Status::Unknown(_));
        assert!(!unknown, "{label}: {}", exchange.status);
        if exchange.missing.is_some() {
            continue;
        }
        let apdu = CommandApdu::parse(&exchange.command).unwrap();
        let Ok(Command::SelectFile(select)) = Command::decode(&apdu) else { continue };
        let response = ResponseApdu::new(exchange.data.clone(), exchange.status);
        match select.decode_answer(response) {
            Ok(Some(fci)) => {
                fcis += 1;
                assert_eq!(select.response, SelectResponse::Fci, "{label}");
                match &select.mode {
                    SelectBy::Path(path) | SelectBy::RelativePath(path) => {
                        assert_eq!(fci.file.as_ref(), path.files().last(), "{label}");
                    }
                    SelectBy::Name(aid) => assert_eq!(fci.name.as_ref(), Some(aid), "{label}"),
                    SelectBy::File(_) | SelectBy::ChildDf(_) | SelectBy::ChildEf(_) | SelectBy::Parent => {}
                }
                assert!(fci.size.is_some() && fci.descriptor.is_some(), "{label}");
            }
            Ok(None) => assert!(exchange.data.is_empty(), "{label}"),
            Err(error) => assert!(refused, "{label}: {error}"),
        }
    }
    assert_eq!(fcis, 16);
}

fn captured() -> Vec<(String, Exchange)> {
    let cards = real_cards().into_iter();
    let exchanges = |(name, trace): (String, Trace)| {
        let exchanges: Vec<_> = trace.exchanges().cloned().map(|e| (name.clone(), e)).collect();
        exchanges
    };
    cards.flat_map(exchanges).filter(|(_, exchange)| exchange.kind == Kind::Capture).collect()
}

#[test]
fn the_example_of_the_document_is_read() {
    let document = include_str!("../../docs/trace-format.md");
    let example = document.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let trace = Trace::parse(example).unwrap();
    assert_eq!(trace.source.as_deref(), Some("an example"));
    let [select, tries, verify, read] = &trace.sessions[0][..] else { panic!("four exchanges") };
    assert_eq!(select.status, StatusWord::FILE_NOT_FOUND);
    assert_eq!(tries.notes, ["tries left"]);
    assert_eq!(verify.command_mask, CommandMask::Pin);
    assert!(verify.is_command(&[0x00, 0x20, 0x00, 0x90, 0x05, 1, 2, 3, 4, 5]));
    assert!(!verify.is_command(&[0x00, 0x20, 0x00, 0x90, 0x00]));
    assert!(read.is_answer(&[&[0x30, 0x82, 0x05, 0x21][..], &[7; 252], &[0x90, 0x00]].concat()));
    assert!(!read.is_answer(&[&[0x30, 0x82, 0x05, 0x21][..], &[7; 251], &[0x90, 0x00]].concat()));
    assert!(!read.is_answer(&[&[0x30, 0x82, 0x05, 0x22][..], &[7; 252], &[0x90, 0x00]].concat()));
    assert!(!read.is_answer(&[0x6A, 0x82]));
    assert_eq!(Trace::parse(&trace.to_string()).map(without_lines), Ok(without_lines(trace)));
}

#[test]
fn what_is_no_trace_is_refused_with_its_line() {
    let refusals: &[(&str, usize, TraceFault)] = &[
        ("hello", 1, TraceFault::Unknown),
        ("#@ kind\n", 1, TraceFault::UnknownKind),
        ("\n#@ rest", 2, TraceFault::UnknownDirective),
        ("> 00A4000", 1, TraceFault::NotHexadecimal),
        ("> 00A400", 1, TraceFault::CommandLength),
        ("> 00A40000\n< 90", 2, TraceFault::AnswerLength),
        ("> 00B00000\n#@ data 65537 x\n< 9000", 2, TraceFault::NoNumber),
        ("> 00B00000\n#@ data many\n< 9000", 2, TraceFault::NoNumber),
        ("> 00B00000\n#@ data 65536 x\n< 009000", 3, TraceFault::AnswerLength),
        ("> 00B00000\n#@ zeroed ?\n< 9000", 2, TraceFault::NoNumber),
        ("# ATR: 3B\n", 1, TraceFault::AtrLength),
        ("#@ gap here", 1, TraceFault::Gap),
        ("#@ gap application", 1, TraceFault::Gap),
        ("> 00A40000\n> 00A40000", 2, TraceFault::NoAnswer),
        ("> 00A40000", 1, TraceFault::NoAnswer),
        ("> 00A40000\n#@ reset", 2, TraceFault::NoAnswer),
        ("< 9000", 1, TraceFault::NoCommand),
        ("#@ pin\n< 9000", 2, TraceFault::NoCommand),
        ("#@ pin", 1, TraceFault::Misplaced),
        ("#@ data 3 x", 1, TraceFault::Misplaced),
        ("> 002000100531323334 35", 1, TraceFault::PinUnmarked),
        ("> 002C0010083132333435363738", 1, TraceFault::PinUnmarked),
        ("> 0C20009A148108 3534333231FFFFFF 8E080102030405060708", 1, TraceFault::PinUnmarked),
        (
            "> 0C20009A1F8709010102030405060708 81083132333435FFFFFF 8E080102030405060708",
            1,
            TraceFault::PinUnmarked,
        ),
        ("> 0C20009A12 87083132333435FFFFFF 8E080102030405060708", 1, TraceFault::PinUnmarked),
        ("> 04200010083132333435FFFFFF", 1, TraceFault::PinUnmarked),
        ("> 08200010083132333435FFFFFF", 1, TraceFault::PinUnmarked),
        ("> 042000101587090101020304050607088E080102030405060708", 1, TraceFault::PinUnmarked),
        ("#@ pin\n> 00200010053132333435", 2, TraceFault::PinInClear),
        ("#@ masked\n> 002A8080020001", 2, TraceFault::NotMasked),
    ];
    for (text, line, fault) in refusals {
        let error = Trace::parse(text).unwrap_err();
        assert_eq!((error.line, error.fault), (*line, *fault), "{text}");
        assert!(!error.to_string().contains("3132"), "{error}");
    }
    let long = "\n".repeat(LONGEST_TEXT + 1);
    assert_eq!(Trace::parse(&long).unwrap_err().fault, TraceFault::TooLong);
    let many = "> 00840000\n< 9000\n".repeat(10_001);
    assert_eq!(Trace::parse(&many).unwrap_err().fault, TraceFault::TooManyExchanges);
}

fn without_lines(mut trace: Trace) -> Trace {
    trace.sessions.iter_mut().flatten().for_each(|exchange| exchange.line = 0);
    trace
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let words = "[a-z]{1,8}( [a-z]{1,8})?";
    let missing = (prop::option::of(0usize..300), words).prop_map(|(length, what)| Missing { length, what });
    let zeroed = (0usize..300, words).prop_map(|(length, what)| Zeroed { length, what });
    let command = prop_oneof![
        any::<[u8; 3]>().prop_map(|p| (vec![0x00, 0xB0, p[0], p[1], p[2]], CommandMask::None)),
        (1u8..60).prop_map(|len| {
            let zeros = vec![0; usize::from(len)];
            ([&[0x00, 0xD6, 0x00, 0x00, len], &zeros[..]].concat(), CommandMask::Data)
        }),
        Just((b"\x00\x20\x00\x10\x0800000\xFF\xFF\xFF".to_vec(), CommandMask::Pin)),
    ];
    let kind = prop_oneof![Just(Kind::Capture), Just(Kind::Driver), Just(Kind::Inferred)];
    let answer = (prop::collection::vec(any::<u8>(), 0..40), any::<u16>());
    let gap = prop::option::of(prop::collection::vec(any::<u8>(), 1..17))
        .prop_map(|application| Gap { application });
    let marks = (prop::option::of(missing), prop::option::of(zeroed), prop::option::of(gap));
    (kind, prop::collection::vec(words, 0..2), command, answer, marks).prop_map(
        |(kind, notes, (command, command_mask), (data, status), (missing, zeroed, after_gap))| Exchange {
            kind,
            after_gap,
            notes,
            command_mask,
            missing,
            zeroed,
            ..Exchange::captured(command, data, StatusWord(status))
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        sessions in prop::collection::vec(prop::collection::vec(exchange(), 1..6), 0..4),
        card in prop::option::of("[A-Za-z0-9]{1,10}"),
        atrs in prop::collection::vec(prop::collection::vec(any::<u8>(), 2..33), 0..3),
    ) {
        let trace = Trace { card, atrs, source: Some("a test".to_owned()), sessions };
        let read = Trace::parse(&trace.to_string()).map(without_lines);
        prop_assert_eq!(read, Ok(trace));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([#<>@ 0-9a-z\n]|#@ (reset|pin|gap|data 3 x|kind)\n|> 00B00000\n|< 9000\n){0,60}") {
        if let Ok(trace) = Trace::parse(&text) {
            prop_assert!(Trace::parse(&trace.to_string()).is_ok());
        }
    }
}

#[test]
fn an_enciphered_pin_needs_no_mask() {
    let text = "> 0C2000101587090101020304050607088E080102030405060708\n< 9000";
    assert_eq!(Trace::parse(text).unwrap().exchanges().count(), 1);
}
