//! Whoever changes or unblocks a PIN presents another value to do so: that is a use of the object that guards it, under
//! the guard's own conditions and within its use counter, as if it came with VERIFY.

use cns_virtual_card::VirtualCard;

use crate::{SELECT_MF, SELECT_SIGNATURE_DF, VERIFY_PIN, expect, run, send};

const PIN: &str = "00DA016E21 8302001A 8508020387 03FF000005 8607001A1BFFFFFFFF 8F08 3534333231FFFFFF";
const UNBLOCK: &str = "002C009A10 3131323233333434 3635343332FFFFFF";

/// A signature PIN and its PUK, put with these commands.
fn card(puk: &str, pin: &str) -> VirtualCard {
    let mut card = crate::card();
    for command in [SELECT_MF, VERIFY_PIN, SELECT_SIGNATURE_DF, puk, pin] {
        let answer = send(&mut card, command);
        assert!(answer.ends_with("9000"), "{command}: {answer}");
    }
    card
}

#[test]
fn each_unblocking_is_a_use_of_the_puk() {
    let mut card =
        card("00DA016E21 8302001B 8508020387 0302000008 8607001BFFFFFFFFFF 8F08 3131323233333434", PIN);
    run(&mut card, &[(UNBLOCK, "9000"), ("002C019A08 3131323233333434", "9000"), (UNBLOCK, "6985")]);
    // The PIN was set twice, and nothing has happened to it since.
    expect(&mut card, "0020009A08 3635343332FFFFFF", "9000");
    expect(&mut card, "0020009B", "63C3");
}

#[test]
fn each_change_is_a_use_of_the_pin() {
    let puk = "00DA016E21 8302001B 8508020387 03FF000008 8607001BFFFFFFFFFF 8F08 3131323233333434";
    let pin = "00DA016E21 8302001A 8508020387 0302000005 8607001A1BFFFFFFFF 8F08 3534333231FFFFFF";
    let mut card = card(puk, pin);
    // Wrong or right: the use is counted before the value is compared. A new value brings new uses.
    let wrong = ("0024009A10 3939393939FFFFFF 3635343332FFFFFF", "63C2");
    let right = ("0024009A10 3534333231FFFFFF 3534333231FFFFFF", "9000");
    run(&mut card, &[wrong, right, wrong, ("0020009A08 3534333231FFFFFF", "9000")]);
    run(&mut card, &[(right.0, "6985"), ("0020009A08 3534333231FFFFFF", "6985"), (UNBLOCK, "9000")]);
}

#[test]
fn a_puk_that_nobody_may_use_unblocks_nothing() {
    let mut card =
        card("00DA016E21 8302001B 8508020387 03FF000008 8607FF1BFFFFFFFFFF 8F08 3131323233333434", PIN);
    run(&mut card, &[(UNBLOCK, "6982"), ("002C019A08 3131323233333434", "6982"), ("0020009B", "63C3")]);
}

#[test]
fn a_puk_that_demands_secure_messaging_demands_it_of_unblocking_too() {
    let conditions = "CB10 0607 FFFFFFFFFFFFFFFFFFFFFFFFFFFF";
    let puk = format!(
        "00DA016E33 8302001B 8508020387 03FF000008 8607001BFFFFFFFFFF {conditions} 8F08 3131323233333434"
    );
    let mut card = card(&puk, PIN);
    run(&mut card, &[(UNBLOCK, "6E00"), ("002C019A08 3030303030303030", "6E00")]);
    expect(&mut card, "0020009A08 3534333231FFFFFF", "9000");
}
