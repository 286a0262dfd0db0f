//! Planned faults, through the transport that other crates' tests use.

use cns_apdu::transmit::Transport;
use cns_virtual_card::fault::{Fault, FaultyCard, NoAnswer};

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
