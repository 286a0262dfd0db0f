//! Planned faults, through the transport that other crates' tests use.

use std::time::Duration;

use cns_apdu::transmit::Transport;
use cns_virtual_card::Tear;
use cns_virtual_card::fault::{Fault, FaultyCard, Garbage, NoAnswer, Trigger};
use cns_virtual_card::timing::Timing;

use crate::{VERIFY_PIN, WRONG_PIN, bytes, card};

#[test]
fn a_card_pulled_before_or_after_the_command() {
    for (fault, tries) in [(Fault::PullOutBefore, "63C3"), (Fault::PullOutAfter, "63C2")] {
        let mut card = FaultyCard::from(card());
        card.plan(1, fault);
        assert_eq!(card.exchange(&bytes(VERIFY_PIN)).unwrap(), [0x90, 0x00]);
        assert_eq!(card.exchange(&bytes(WRONG_PIN)), Err(NoAnswer::Gone));
        assert_eq!(card.exchange(&bytes(VERIFY_PIN)), Err(NoAnswer::Gone));
        assert!(card.is_out());
        card.insert();
        assert_eq!(hex::encode_upper(card.exchange(&bytes("00200090")).unwrap()), tries);
    }
}

#[test]
fn mute_until_reset_and_forged_status() {
    let mut card = FaultyCard::from(card());
    card.plan(0, Fault::Mute);
    card.plan(3, Fault::Status(0x6F00));
    assert_eq!(card.exchange(&bytes("00200090")), Err(NoAnswer::Silence));
    assert_eq!(card.exchange(&bytes("00200090")), Err(NoAnswer::Silence));
    card.reset();
    assert_eq!(card.exchange(&bytes("00200090")).unwrap(), [0x63, 0xC3]);
    assert_eq!(card.exchange(&bytes(WRONG_PIN)).unwrap(), [0x6F, 0x00]);
    assert_eq!(card.exchange(&bytes("00200090")).unwrap(), [0x63, 0xC3]);
    assert_eq!(card.commands(), 5);
}

#[test]
fn a_torn_verify_takes_the_card_out_with_its_try_gone() {
    for (tear, tries) in [
        (Tear { write: 0, done: false }, "63C3"),
        (Tear { write: 0, done: true }, "63C2"),
        (Tear { write: 1, done: false }, "63C2"),
        (Tear { write: 1, done: true }, "63C3"),
    ] {
        let mut card = FaultyCard::from(card());
        card.plan(0, Fault::Tear(tear));
        assert_eq!(card.exchange(&bytes(VERIFY_PIN)), Err(NoAnswer::Gone));
        assert!(card.is_out());
        card.insert();
        assert_eq!(hex::encode_upper(card.exchange(&bytes("00200090")).unwrap()), tries, "{tear:?}");
    }
    // A command that does not write is not torn.
    let mut card = FaultyCard::from(card());
    card.plan(0, Fault::Tear(Tear { write: 0, done: false }));
    assert_eq!(card.exchange(&bytes("00200090")).unwrap(), [0x63, 0xC3]);
    assert!(!card.is_out());
}

#[test]
fn a_neighbours_reset_takes_the_session_and_nothing_else() {
    let mut card = FaultyCard::from(card());
    card.plan(2, Fault::Reset);
    assert_eq!(card.exchange(&bytes(VERIFY_PIN)).unwrap(), [0x90, 0x00]);
    assert_eq!(card.exchange(&bytes("00200090")).unwrap(), [0x90, 0x00]);
    assert_eq!(card.exchange(&bytes("00200090")).unwrap(), [0x63, 0xC3]);
}

#[test]
fn answers_cut_bare_or_too_long() {
    let random = "0084000008";
    for (garbage, length) in
        [(Garbage::Cut(0), 0), (Garbage::Cut(3), 3), (Garbage::StatusOnly, 2), (Garbage::Longer(300), 310)]
    {
        let mut card = FaultyCard::from(card());
        card.plan_at(Trigger::Instruction { ins: 0x84, after: 1 }, Fault::Garbage(garbage));
        assert_eq!(card.exchange(&bytes("00200090")).unwrap().len(), 2);
        for expected in [10, length, 10] {
            let answer = card.exchange(&bytes(random)).unwrap();
            assert_eq!(answer.len(), expected, "{garbage:?}");
            assert!(expected < 2 || expected == 3 || answer.ends_with(&[0x90, 0x00]), "{garbage:?}");
        }
    }
}

#[test]
fn time_is_accounted_and_the_same_each_time() {
    let run = |timing| {
        let mut card = FaultyCard::from(card());
        card.set_timing(timing);
        let mut delays = Vec::new();
        card.power_on();
        card.plan(2, Fault::Slow(Duration::from_secs(15)));
        for command in [VERIFY_PIN, "00A4080C0411001101", "00B0000000"] {
            card.exchange(&bytes(command)).unwrap();
            delays.push(card.take_delay());
        }
        (card.elapsed(), delays)
    };
    let (elapsed, delays) = run(Timing::Account);
    let elapsed = elapsed.unwrap();
    assert_eq!((elapsed.exchanges, elapsed.resets, elapsed.sent), (3, 1, 13 + 9 + 5));
    // VERIFY writes twice.
    assert!(elapsed.chip > Duration::from_millis(2 * 15 + 3 * 5) && elapsed.chip < Duration::from_millis(60));
    assert_eq!(delays, [Duration::ZERO, Duration::ZERO, Duration::from_secs(15)]);
    assert_eq!(run(Timing::Account).0, Some(elapsed));
    let (real, delays) = run(Timing::Real(0.5));
    assert_eq!(real, Some(elapsed));
    let waited: Duration = delays.iter().sum();
    let half = elapsed.total() / 2 + Duration::from_secs(15);
    assert!(waited.abs_diff(half) < Duration::from_micros(1), "{waited:?} {half:?}");
    assert_eq!(run(Timing::None), (None, vec![Duration::ZERO, Duration::ZERO, Duration::from_secs(15)]));
}
