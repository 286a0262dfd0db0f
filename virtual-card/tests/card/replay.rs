//! A card that answers from a trace: what was recorded is answered alike, and nothing else is made up.

use cns_apdu::trace::{CommandMask, Exchange, Trace};
use cns_apdu::{Command, CommandApdu};
use cns_test_vectors::{bytes, traces};
use cns_virtual_card::replay::{ReplayError, TraceCard};
use der::Decode;
use x509_cert::Certificate;

const ESIGN: &str = "00A4040C0AA000000530455349474E";

fn trace(name: &str) -> Trace {
    let (_, text) = traces().unwrap().into_iter().find(|(file, _)| file.starts_with(name)).unwrap();
    Trace::parse(&text).unwrap()
}

fn card(name: &str) -> TraceCard {
    TraceCard::new(&trace(name)).unwrap()
}

fn send(card: &mut TraceCard, command: &str) -> String {
    hex::encode_upper(card.transmit(&bytes(command).unwrap()))
}

/// All answers, in one line.
fn answers(card: &mut TraceCard, commands: &[&str]) -> String {
    commands.iter().map(|command| send(card, command)).collect::<Vec<_>>().join(" ")
}

fn read(card: &mut TraceCard, length: usize, step: u16) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < length {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let answer = card.transmit(&[0x00, 0xB0, high, low, step.to_be_bytes()[1]]);
        let (data, status) = answer.split_at(answer.len() - 2);
        assert_eq!(status, [0x90, 0x00], "at {}", content.len());
        content.extend_from_slice(data);
    }
    content
}

/// A PIN and data of some program, where the trace has none.
fn told(exchange: &Exchange) -> Vec<u8> {
    let mut command = exchange.command.clone();
    let range = match exchange.command_mask {
        CommandMask::None => 0..0,
        CommandMask::Pin => 5..command.len(),
        CommandMask::Data => command.len() - 3..command.len() - 2,
    };
    command[range].fill(0x37);
    command
}

#[test]
fn every_exchange_of_every_trace_is_answered_as_it_was() {
    let mut compared = 0;
    for (name, text) in traces().unwrap() {
        let trace = Trace::parse(&text).unwrap();
        if trace.atrs.is_empty() {
            assert!(matches!(TraceCard::new(&trace), Err(ReplayError::NoAtr)), "{name}");
            continue;
        }
        let mut card = TraceCard::new(&trace).unwrap();
        for session in &trace.sessions {
            card.reset();
            for exchange in session {
                let answer = card.transmit(&told(exchange));
                let apdu = CommandApdu::parse(&exchange.command).unwrap();
                let selection = matches!(Command::decode(&apdu), Ok(Command::SelectFile(_)));
                let label = format!("{name}, line {}: {}", exchange.line, hex::encode_upper(&answer));
                if selection && exchange.missing.is_some() {
                    assert_eq!(answer, exchange.status.to_bytes(), "{label}");
                } else {
                    assert!(exchange.is_answer(&answer), "{label}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 131);
}

#[test]
fn a_certificate_has_the_length_that_was_recorded_whatever_the_steps() {
    let mut card = card("oberthur");
    assert_eq!(send(&mut card, "00A4080C06140090012002"), "9000");
    let whole = read(&mut card, 0x525, 0);
    assert_eq!(whole[..4], [0x30, 0x82, 0x05, 0x21]);
    assert_eq!(read(&mut card, 0x525, 97), whole);
    let certificate = Certificate::from_der(&whole).unwrap();
    assert!(certificate.tbs_certificate.subject.to_string().contains("RSSMRA80A01H501U"));
    assert_eq!(send(&mut card, "00B0052500"), "6B00");
}

#[test]
fn files_of_an_application_are_found_in_it_and_nowhere_else() {
    let mut card = card("ace2025");
    let in_esign = ["00A4080C04DA01C001", "00B0000004"];
    assert_eq!(answers(&mut card, &in_esign), "6A82 6986");
    assert_eq!(answers(&mut card, &[ESIGN, in_esign[0], in_esign[1]]), "9000 9000 308207599000");
    assert!(Certificate::from_der(&read(&mut card, 0x75D, 0)).is_ok());
    assert_eq!(
        answers(&mut card, &[ESIGN, "00A4020C02D003", "00B0000208"]),
        "9000 9000 69990000000012309000"
    );
    card.reset();
    assert_eq!(answers(&mut card, &["00A4080C04DA01C001"]), "6A82", "nothing stays selected");
    // Over the air the tree is there in the application alone.
    let mut card = self::card("st2022");
    assert_eq!(send(&mut card, "00A4080C0411001101"), "6A82");
    assert_eq!(answers(&mut card, &["00A4040C08A00000009501004D", "00A4080C0411001101"]), "9000 9000");
    assert_eq!(send(&mut card, "00CA018000"), "4A5369676E349000");
}

#[test]
fn the_personal_data_is_of_the_recorded_length() {
    let mut card = card("ace2025");
    let select = ["00A4040C0CA000000530000B104001021A", "00A4080C0411001102"];
    assert_eq!(answers(&mut card, &select), "9000 9000");
    let file = read(&mut card, 400, 0);
    assert_eq!(file[..6], *b"000065");
    let data = cns_apdu::personal_data::PersonalData::decode(&file).unwrap();
    assert_eq!(data.fiscal_code, "RSSMRA80A01H501U");
    assert!(file[6 + 0x65..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_pin_is_accepted_where_one_was_and_what_it_opens_is_closed_again() {
    let mut card = card("oberthur");
    let (tries, pin) = ("0020001000", "00200010083132333435363738");
    let sign = ["00A408000414009002", "0022F303", "0022F1B80383010E"];
    assert_eq!(answers(&mut card, &[tries, tries, tries]), "63C3 63C3 63C3", "asking again changes nothing");
    assert_eq!(send(&mut card, sign[1]), "6982", "recorded with a PIN only");
    assert_eq!(send(&mut card, "00200011083132333435363738"), "6A88", "the PUK was never presented");
    assert_eq!(send(&mut card, "002C0010083132333435363738"), "6A88");
    assert_eq!(answers(&mut card, &[pin, tries]), "9000 9000");
    assert_eq!(answers(&mut card, &sign), "9000 9000 9000");
    card.reset();
    assert_eq!(send(&mut card, tries), "63C3");
    let mut card = self::card("ace2025");
    assert_eq!(send(&mut card, "00200010083132333435363738"), "6A88", "no PIN in this trace");
}

#[test]
fn what_was_never_recorded_is_refused() {
    let mut card = card("oberthur");
    let commands =
        ["00A4080C0411001104", "00A404000400112233", "00B0000000", "00B2010404", "00840000 08", "80E0000000"];
    assert_eq!(answers(&mut card, &commands), "6A82 6A82 6986 6A83 6D00 6D00");
    assert_eq!(answers(&mut card, &["90240000", "00", "00D6000001FF"]), "6E00 6700 6D00");
    // Selected, but never read.
    assert_eq!(answers(&mut card, &["00A4080C023F01", "00B0000000"]), "9000 6982");
    // The same file in another spelling, with the FCI that is known of it.
    let select = "00A40000023F00";
    assert_eq!(answers(&mut card, &[select, "00A40000021400", "00A40000024000"]), "9000 9000 9000");
    let fci = send(&mut card, "00A408000614009001200200");
    assert_eq!(answers(&mut card, &[select, "00A4010C021400", "00A4010C029001"]), "9000 9000 9000");
    assert_eq!(send(&mut card, "00A4020002200200"), fci);
    // Where the signing depends on the file that is selected, the recorded refusal is given as well.
    let mut card = self::card("ace2021");
    let sign = format!("002A8086000101 {} 0100", "00".repeat(257));
    assert_eq!(send(&mut card, &sign), "6984");
}

/// A card from exchanges alone.
fn card_of(exchanges: &str) -> TraceCard {
    TraceCard::new(&Trace::parse(&format!("# ATR: 3B00\n#@ reset\n{exchanges}")).unwrap()).unwrap()
}

#[test]
fn what_was_read_after_a_pin_is_closed_without_it() {
    let trace = "> 00A4080C0412001201\n< 9000\n> 00B0000008\n< 6982\n\
        #@ pin\n> 00200010083030303030FFFFFF\n< 9000\n\
        > 00B0000008\n< 41424344454647489000\n> 00A40800041200120200\n< 6F048002000A9000\n\
        > 00B0000004\n#@ data 4 content\n< 9000\n#@ reset\n> 00A4080C0412001203\n< 9000\n\
        > 00B0000002\n< 41429000\n";
    let pin = "00200010083132333435FFFFFF";
    let mut card = card_of(trace);
    let select = ["00A4080C0412001201", "00A40000021200", "00A40000021201"];
    assert_eq!(
        answers(&mut card, &[select[0], "00B0000008", "00B0000004", "00B0000304"]),
        "9000 6982 6982 6982"
    );
    assert_eq!(answers(&mut card, &["00A4080C0412001202", "00A40800041200120200"]), "6982 6982");
    assert_eq!(answers(&mut card, &["00A4080C0412001203", "00B0000101"]), "9000 429000", "needs no PIN");
    assert_eq!(answers(&mut card, &[select[1], select[2], "00B0000008"]), "9000 9000 6982");
    assert_eq!(answers(&mut card, &[pin, "00B0000304"]), "9000 444546479000");
    assert_eq!(answers(&mut card, &["00A4080C0412001202", "00B0000002"]), "9000 00009000");
    card.reset();
    assert_eq!(answers(&mut card, &[select[0], "00B0000008"]), "9000 6982");
    // A PIN under secure messaging is one too.
    let mut card = card_of(
        "> 00A4080C0412001201\n< 9000\n#@ masked\n> 0C2000100400000000\n< 9000\n> 00B0000002\n< 41429000\n",
    );
    assert_eq!(answers(&mut card, &[select[0], "00B0000002", "00B0000001"]), "9000 6982 6982");
    assert_eq!(answers(&mut card, &["0C2000100401020304", "00B0000001"]), "9000 419000");
}

#[test]
fn pins_and_keys_are_those_of_their_application_and_directory() {
    let local = "> 00A4080C0414008110\n< 9000\n#@ pin\n> 0020009A083030303030FFFFFF\n< 9000\n\
        > 0022F1B603830110\n< 9000\n#@ masked\n> 002A9E9A0400000000\n< 41429000\n";
    let (pin, mse, sign) = ("0020009A083132333435FFFFFF", "0022F1B603830110", "002A9E9A0401020304");
    let mut card = card_of(local);
    assert_eq!(answers(&mut card, &[pin, mse, sign]), "6A88 6982 6982", "at the MF");
    assert_eq!(answers(&mut card, &["00A4080C0414008110", mse]), "9000 6982");
    assert_eq!(answers(&mut card, &[pin, mse, sign]), "9000 9000 41429000");
    assert_eq!(answers(&mut card, &["00A40000023F00", mse, sign]), "9000 6A88 6985");
    // Of an application, and with two PINs.
    let esign = format!(
        "> 00CA018000\n< 419000\n#@ pin\n> 00200010083030303030FFFFFF\n< 9000\n> 0022F30300\n< 9000\n\
        #@ reset\n> {ESIGN}\n< 9000\n#@ pin\n> 00200011083030303030FFFFFF\n< 9000\n\
        > 0022F30400\n< 9000\n"
    );
    let (first, second) = ("00200010083132333435FFFFFF", "00200011083132333435FFFFFF");
    let mut card = card_of(&esign);
    assert_eq!(
        answers(&mut card, &["00CA018000", second, ESIGN, "00CA018000", first]),
        "419000 6A88 9000 6A88 6A88"
    );
    assert_eq!(answers(&mut card, &["0022F30400", second, "0022F30400"]), "6982 9000 9000");
    assert_eq!(answers(&mut card, &["00A40000023F00", "0022F30300"]), "9000 6982", "the other PIN");
}

#[test]
fn a_trace_of_nothing_is_no_card() {
    let empty = Trace { atrs: vec![vec![0x3B, 0x00]], ..Trace::default() };
    assert!(matches!(TraceCard::new(&empty), Err(ReplayError::Empty)));
}

proptest::proptest! {
    #[test]
    fn any_commands_are_answered(
        name in proptest::sample::select(vec!["ace2021", "ace2025", "oberthur", "chipdoc"]),
        commands in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..20), 0..20),
    ) {
        let mut card = card(name);
        for command in commands {
            assert!(card.transmit(&command).len() >= 2);
        }
    }
}
