//! Power lost inside writes, memory that is worn out or full: old or new, never mixed, and no try ever given back.

use std::path::Path;

use cns_apdu::Form;
use cns_apdu::access::ObjectConditions;
use cns_apdu::command::{CardCommand, ObjectSettings, PutData};
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_secret::Secret;
use cns_virtual_card::{Snapshot, Tear, VirtualCard, sample};

use crate::{EMPTY_VERIFY, SELECT_MF, SELECT_SIGNATURE_DF, VERIFY_PIN, WRONG_PIN, bytes, expect, run, send};

const CREATE_PUK: &str = "00DA016E21 8302001B 8508020387 03FF000008 8607001BFFFFFFFFFF 8F08 3131323233333434";
const CREATE_RECORD_EF: &str = "00E000001D 621B 80020010 820305FFFF 83028010 850101 8609000000FFFF1010FFFF";
const CREATE_BINARY_EF: &str = "00E000001D 621B 80020040 8203010000 83029010 850101 86090010FFFFFF1010FFFF";
const CREATE_DF: &str = "00E000001D 621B 81020800 8203380000 83028110 850101 8609FF1010FFFF101010FF";

const GET_CHALLENGE: &str = "0084000008";
/// What [`PROOF`] answers.
const CHALLENGE: &str = "0011223344556677";
/// Key 15 of DF 1400, for authentication; the same with three uses; and PIN 16 with three uses.
const CREATE_KEY: &str =
    "00DA016E29 83020015 850802008203FF000008 860700FFFFFFFFFFFF 8F100123456789ABCDEFFEDCBA9876543210";
const CREATE_LIMITED_KEY: &str =
    "00DA016E29 83020015 85080200820303000008 860700FFFFFFFFFFFF 8F100123456789ABCDEFFEDCBA9876543210";
const CREATE_LIMITED_PIN: &str =
    "00DA016E21 83020016 85080203870303000005 86070016FFFFFFFFFF 8F083534333231FFFFFF";
const PROOF: &str = "0082009508 31A7364CAC91CA39";
const WRONG_PROOF: &str = "0082009508 0000000000000000";

/// A command that writes, what comes before it in its session, and how often it writes.
struct Case {
    name: &'static str,
    /// Commands that make the card what the case starts from, each in a session with the PIN.
    before: &'static [&'static str],
    session: &'static [&'static str],
    command: &'static str,
    status: &'static str,
    writes: usize,
}

const OPEN: &[&str] = &[SELECT_MF, VERIFY_PIN, SELECT_SIGNATURE_DF];

const CASES: &[Case] = &[
    Case { name: "VERIFY", before: &[], session: &[], command: VERIFY_PIN, status: "9000", writes: 2 },
    Case { name: "wrong VERIFY", before: &[], session: &[], command: WRONG_PIN, status: "63C2", writes: 1 },
    Case {
        name: "VERIFY after a wrong one",
        before: &[WRONG_PIN],
        session: &[],
        command: VERIFY_PIN,
        status: "9000",
        writes: 2,
    },
    Case {
        name: "CHANGE REFERENCE DATA",
        before: &[],
        session: &[],
        command: "0024009010 3132333435FFFFFF 3233343536FFFFFF",
        status: "9000",
        writes: 2,
    },
    Case {
        name: "wrong CHANGE REFERENCE DATA",
        before: &[],
        session: &[],
        command: "0024009010 3939393939FFFFFF 3233343536FFFFFF",
        status: "63C2",
        writes: 1,
    },
    Case {
        name: "RESET RETRY COUNTER of a blocked PIN",
        before: &[WRONG_PIN, WRONG_PIN, WRONG_PIN],
        session: &[],
        command: "002C009010 3837363534333231 3233343536FFFFFF",
        status: "9000",
        writes: 2,
    },
    Case {
        name: "RESET RETRY COUNTER with a wrong PUK",
        before: &[WRONG_PIN],
        session: &[],
        command: "002C009010 3030303030303030 3233343536FFFFFF",
        status: "63C2",
        writes: 1,
    },
    Case {
        name: "RESET RETRY COUNTER that keeps the value",
        before: &[WRONG_PIN],
        session: &[],
        command: "002C019008 3837363534333231",
        status: "9000",
        writes: 2,
    },
    Case {
        name: "EXTERNAL AUTHENTICATE",
        before: &[CREATE_KEY],
        session: &[SELECT_SIGNATURE_DF, GET_CHALLENGE],
        command: PROOF,
        status: "9000",
        writes: 2,
    },
    Case {
        name: "wrong EXTERNAL AUTHENTICATE",
        before: &[CREATE_KEY],
        session: &[SELECT_SIGNATURE_DF, GET_CHALLENGE],
        command: WRONG_PROOF,
        status: "63C2",
        writes: 1,
    },
    Case {
        name: "EXTERNAL AUTHENTICATE of limited use",
        before: &[CREATE_LIMITED_KEY],
        session: &[SELECT_SIGNATURE_DF, GET_CHALLENGE],
        command: PROOF,
        status: "9000",
        writes: 3,
    },
    Case {
        name: "VERIFY of limited use",
        before: &[CREATE_LIMITED_PIN],
        session: &[SELECT_SIGNATURE_DF],
        command: "0020009608 3534333231FFFFFF",
        status: "9000",
        writes: 3,
    },
    Case {
        name: "wrong VERIFY of limited use",
        before: &[CREATE_LIMITED_PIN],
        session: &[SELECT_SIGNATURE_DF],
        command: "0020009608 3939393939FFFFFF",
        status: "63C2",
        writes: 2,
    },
    Case {
        name: "CHANGE REFERENCE DATA of limited use",
        before: &[CREATE_LIMITED_PIN],
        session: &[SELECT_SIGNATURE_DF],
        command: "0024009610 3534333231FFFFFF 3233343536FFFFFF",
        status: "9000",
        writes: 3,
    },
    Case {
        name: "PUT DATA, new",
        before: &[],
        session: OPEN,
        command: CREATE_PUK,
        status: "9000",
        writes: 1,
    },
    Case {
        name: "PUT DATA, another value",
        before: &[CREATE_PUK],
        session: OPEN,
        command: "00DA016E0E 8302001B 8F08 3939393939393939",
        status: "9000",
        writes: 1,
    },
    Case {
        name: "CREATE FILE, DF",
        before: &[],
        session: OPEN,
        command: CREATE_DF,
        status: "9000",
        writes: 1,
    },
    Case {
        name: "CREATE FILE, EF",
        before: &[],
        session: OPEN,
        command: CREATE_BINARY_EF,
        status: "9000",
        writes: 1,
    },
    Case {
        name: "UPDATE BINARY",
        before: &[CREATE_BINARY_EF],
        session: &[SELECT_MF, VERIFY_PIN, SELECT_SIGNATURE_DF, "00A4020C029010"],
        command: "00D6000410 000102030405060708090A0B0C0D0E0F",
        status: "9000",
        writes: 1,
    },
    Case {
        name: "APPEND RECORD",
        before: &[CREATE_RECORD_EF],
        session: &[SELECT_MF, VERIFY_PIN, SELECT_SIGNATURE_DF, "00A4020C028010"],
        command: "00E2000004 1002AABB",
        status: "9000",
        writes: 1,
    },
    Case {
        name: "DELETE FILE",
        before: &[CREATE_DF],
        session: OPEN,
        command: "00E4000002 8110",
        status: "9000",
        writes: 1,
    },
];

/// Sends commands, whose data do not matter.
fn send_all(card: &mut VirtualCard, commands: &[&str]) {
    for command in commands {
        if *command == GET_CHALLENGE {
            card.plan_randomness(&bytes(CHALLENGE));
        }
        let answer = send(card, command);
        assert!(answer.ends_with("9000") || answer.starts_with("63C"), "{command}: {answer}");
    }
}

fn tries(card: &VirtualCard) -> (u8, u8) {
    let summary = card.summary();
    (summary.pin_tries, summary.puk_tries)
}

/// The sum of all counters of the card in a directory: tries and uses that are left.
fn counters(folder: &Path) -> u64 {
    use serde_json::Value;
    fn sum(value: &Value) -> u64 {
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "tries_left" | "uses_left" => value.as_u64().unwrap(),
                    _ => sum(value),
                })
                .sum(),
            Value::Array(values) => values.iter().map(sum).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    sum(&serde_json::from_slice(&std::fs::read(folder.join("card.json")).unwrap()).unwrap())
}

/// The card that a case starts from, in a directory.
fn prepared(folder: &Path, case: &Case) -> VirtualCard {
    let mut card = VirtualCard::create_in(folder, sample::personalisation().unwrap()).unwrap();
    let wrong_pins = case.before.iter().filter(|command| **command == WRONG_PIN).count();
    if wrong_pins == 0 && !case.before.is_empty() {
        send_all(&mut card, OPEN);
    }
    send_all(&mut card, case.before);
    card.reset();
    card
}

/// Brings the card back and into the session of the case.
fn begin(card: &mut VirtualCard, start: &Snapshot, case: &Case) -> Snapshot {
    card.restore(start).unwrap();
    card.power_on();
    send_all(card, case.session);
    card.snapshot().unwrap()
}

#[test]
fn a_write_that_is_cut_off_is_done_or_not_done() {
    let mut runs = 0;
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card");
        let mut card = prepared(&path, case);
        let start = card.snapshot().unwrap();
        let command = bytes(case.command);
        // What the memory holds after so many writes; in between only counters differ.
        let mut states = vec![begin(&mut card, &start, case)];
        let before = counters(&path);
        for write in 0.. {
            let cut = |card: &mut VirtualCard, done| {
                begin(card, &start, case);
                card.transmit_torn(&command, Tear { write, done })
            };
            let lost = cut(&mut card, false);
            if let Some(answer) = lost {
                assert_eq!(hex::encode_upper(answer), case.status, "{}", case.name);
                assert!(card.snapshot().unwrap() == *states.last().unwrap(), "{}", case.name);
                break;
            }
            assert_eq!(send(&mut card, EMPTY_VERIFY), "6F00", "no power, no answer");
            assert!(card.snapshot().unwrap() == states[write as usize], "{}, write {write} lost", case.name);
            assert_eq!(cut(&mut card, true), None);
            let held = card.snapshot().unwrap();
            assert!(held != states[write as usize], "{}, write {write} done", case.name);
            // Each write but the last takes a use or a try.
            if (write as usize) + 1 < case.writes {
                assert_eq!(counters(&path) + u64::from(write) + 1, before, "{}", case.name);
            }
            states.push(held);
            // The directory agrees, and so does the chip when it has power again.
            drop(card);
            card = VirtualCard::open(&path).unwrap();
            assert!(card.snapshot().unwrap() == *states.last().unwrap(), "{} on disk", case.name);
            runs += 2;
        }
        assert_eq!(states.len(), case.writes + 1, "{}", case.name);
    }
    println!("{} commands, {runs} torn writes", CASES.len());
}

/// Whoever cuts the power at the right moment of every guess still has three of them.
#[test]
fn cutting_the_power_gives_no_try_back() {
    for tear in [(0, false), (0, true), (1, false), (1, true)].map(|(write, done)| Tear { write, done }) {
        for (guess, value) in [(WRONG_PIN, "wrong"), (VERIFY_PIN, "right")] {
            let mut card = crate::card();
            let mut least = 3;
            for _ in 0..6 {
                card.transmit_torn(&bytes(guess), tear);
                card.power_on();
                let (pin, _) = tries(&card);
                let restored = value == "right" && tear == Tear { write: 1, done: true };
                assert!(pin <= least || restored, "{tear:?} {value}: {pin} after {least}");
                least = pin;
            }
            // A guess is compared only after its try was taken: the first write lost means that nothing was compared.
            let compared = tear.write > 0 || tear.done;
            if value == "wrong" && compared {
                assert_eq!(least, 0, "{tear:?}");
            }
        }
    }
}

/// The same for whoever guesses what proves a key.
#[test]
fn cutting_the_power_gives_no_try_of_a_key_back() {
    for done in [false, true] {
        let mut card = crate::card();
        send_all(&mut card, OPEN);
        send_all(&mut card, &[CREATE_KEY]);
        let mut session = |command: &str, tear: Option<Tear>| {
            card.power_on();
            send_all(&mut card, &[SELECT_SIGNATURE_DF, GET_CHALLENGE]);
            match tear {
                Some(tear) => card.transmit_torn(&bytes(command), tear),
                None => Some(card.transmit(&bytes(command))),
            }
        };
        for _ in 0..3 {
            assert_eq!(session(PROOF, Some(Tear { write: 0, done })), None);
        }
        // The write that takes a try comes before the comparison: undone, nothing was compared.
        let then = if done { "6983" } else { "63C2" };
        assert_eq!(session(WRONG_PROOF, None), Some(bytes(then)), "done: {done}");
    }
}

#[test]
fn a_worn_out_memory_refuses_every_change_and_still_reads() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let mut card = prepared(&folder.path().join("card"), case);
        let start = card.snapshot().unwrap();
        for left in 0..case.writes {
            let old = begin(&mut card, &start, case);
            card.wear_out_after(u32::try_from(left).unwrap());
            assert_eq!(send(&mut card, case.command), "6581", "{} with {left} writes left", case.name);
            assert_eq!(card.snapshot().unwrap() == old, left == 0, "{}", case.name);
            // What was not proved is not open, and what was readable is readable.
            if case.session.is_empty() {
                assert_ne!(send(&mut card, EMPTY_VERIFY), "9000", "{}", case.name);
            }
            run(&mut card, &[("00A4080C0410001003", "9000")]);
            assert!(send(&mut card, "00B0000010").ends_with("9000"));
            card.wear_out_after(u32::MAX);
        }
    }
}

#[test]
fn a_full_memory_takes_no_new_file_or_object_and_keeps_the_old_ones() {
    let mut card = crate::card();
    send_all(&mut card, OPEN);
    for (command, needed) in [(CREATE_BINARY_EF, 0x40 + 32), (CREATE_PUK, 8 + 32), (CREATE_DF, 32)] {
        let old = card.snapshot().unwrap();
        for left in [0, needed - 1] {
            card.leave_memory(left);
            expect(&mut card, command, "6A84");
            assert!(card.snapshot().unwrap() == old, "{command}");
        }
        card.leave_memory(needed);
        expect(&mut card, command, "9000");
        expect(&mut card, CREATE_RECORD_EF, "6A84");
    }
    // What is there can be changed as before.
    send_all(&mut card, &[SELECT_SIGNATURE_DF]);
    expect(&mut card, "00DA016E0E 8302001B 8F08 3939393939393939", "9000");
    run(&mut card, &[("00A4020C029010", "9000"), ("00D6000002 AABB", "9000"), ("00B0000002", "AABB9000")]);
}

/// In the memory of the running chip and on the disk there is the same, after every command, whatever it answers.
#[test]
fn the_chip_never_knows_more_than_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let mut card = VirtualCard::create_in(&path, sample::personalisation().unwrap()).unwrap();
    let mut commands: Vec<&str> =
        CASES.iter().flat_map(|case| [case.before, case.session].concat()).collect();
    commands.extend(CASES.iter().map(|case| case.command));
    // Backwards, every other one and then all once more: most are refused somewhere.
    let others: Vec<&str> = commands.iter().rev().step_by(2).copied().collect();
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let mut done = 0;
    for command in commands.iter().chain(&others).chain(&commands) {
        let answer = send(&mut card, command);
        done += usize::from(answer.ends_with("9000"));
        std::fs::copy(path.join("card.json"), copy.join("card.json")).unwrap();
        let on_disk = VirtualCard::open(&copy).unwrap().snapshot().unwrap();
        assert!(card.snapshot().unwrap() == on_disk, "{command} answered {answer}");
    }
    assert!(done > 20, "only {done} commands were done");
}

/// A use of a key with a limit is counted before the key works: what is cut off is counted and brings nothing, or has
/// not happened.
#[test]
fn cutting_the_power_gives_no_use_back() {
    let key = PutData::Oci(ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::new(0x15).unwrap()),
        attributes: Some(ObjectAttributes { uses: 3, ..ObjectAttributes::exponent(Algorithm::RetailMac) }),
        conditions: Some(ObjectConditions([0; 7])),
        secure_messaging: None,
        body: Some(Secret::copy_from(&bytes("0123456789ABCDEFFEDCBA9876543210")).unwrap()),
    });
    let mut card = crate::card();
    send_all(&mut card, OPEN);
    assert_eq!(card.transmit(key.encode().unwrap().to_bytes(Form::Short).unwrap().expose()), [0x90, 0x00]);
    let mut use_it = |tear: Option<Tear>| {
        card.power_on();
        send_all(&mut card, &[SELECT_SIGNATURE_DF, "0022F30300", "0022F1A403830115"]);
        let command = bytes("0088000008 0011223344556677 00");
        match tear {
            Some(tear) => card.transmit_torn(&command, tear),
            None => Some(card.transmit(&command)),
        }
    };
    for _ in 0..5 {
        assert_eq!(use_it(Some(Tear { write: 0, done: false })), None);
    }
    for _ in 0..2 {
        assert_eq!(use_it(Some(Tear { write: 0, done: true })), None);
    }
    assert_eq!(use_it(None), Some(bytes("31A7364CAC91CA39 9000")), "the third use");
    assert_eq!(use_it(None), Some(bytes("6985")));
}
