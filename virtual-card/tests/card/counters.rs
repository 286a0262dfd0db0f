//! Retry counters on disk: a try once taken stays taken.

use cns_virtual_card::{VirtualCard, sample};
use proptest::prelude::*;

use crate::{EMPTY_VERIFY, VERIFY_PIN, WRONG_PIN, card, expect, run, send};

#[test]
fn a_try_is_on_disk_before_the_answer_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let mut card = VirtualCard::create_in(&path, sample::personalisation().unwrap()).unwrap();
    expect(&mut card, WRONG_PIN, "63C2");
    drop(card);
    let mut card = VirtualCard::open(&path).unwrap();
    expect(&mut card, "00200090", "63C2");
    run(&mut card, &[(WRONG_PIN, "63C1"), (WRONG_PIN, "63C0")]);
    drop(card);
    let mut card = VirtualCard::open(&path).unwrap();
    run(&mut card, &[(VERIFY_PIN, "6983"), ("002C019008 3837363534333231", "9000")]);
    drop(card);
    expect(&mut VirtualCard::open(&path).unwrap(), VERIFY_PIN, "9000");
}

/// With a state that cannot be written nothing may be compared, or the power could be cut after each guess.
#[test]
fn no_comparison_without_a_stored_try() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let mut card = VirtualCard::create_in(&path, sample::personalisation().unwrap()).unwrap();
    // A directory where the new state would go makes every write fail, even for root.
    std::fs::create_dir(path.join("card.json.new")).unwrap();
    run(&mut card, &[(WRONG_PIN, "6581"), (VERIFY_PIN, "6581")]);
    std::fs::remove_dir(path.join("card.json.new")).unwrap();
    drop(card);
    run(&mut VirtualCard::open(&path).unwrap(), &[("00200090", "63C3"), (VERIFY_PIN, "9000")]);
}

/// What anybody can do to the PIN, with right and wrong values.
#[derive(Clone, Copy, Debug)]
enum Act {
    Verify(bool),
    Change(bool),
    Unblock(bool),
    UnblockKeepingTheValue(bool),
    UnblockAfterVerifying,
    VerifyPuk(bool),
    Reset,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => any::<bool>().prop_map(Act::Verify),
        2 => any::<bool>().prop_map(Act::Change),
        2 => any::<bool>().prop_map(Act::Unblock),
        1 => any::<bool>().prop_map(Act::UnblockKeepingTheValue),
        1 => any::<bool>().prop_map(Act::VerifyPuk),
        1 => Just(Act::UnblockAfterVerifying),
        1 => Just(Act::Reset),
    ]
}

/// The rules of the counters, written down once more and without a card.
struct Model {
    pin_tries: u8,
    puk_tries: u8,
    pin_verified: bool,
    puk_verified: bool,
}

impl Model {
    /// Presents a value to one counter; the status word if it is refused.
    fn present(tries: &mut u8, verified: &mut bool, right: bool) -> Result<(), String> {
        if *tries == 0 {
            return Err("6983".to_owned());
        }
        if right {
            *tries = 3;
            return Ok(());
        }
        *tries -= 1;
        *verified = false;
        Err(format!("63C{tries}"))
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Verify(right) => {
                Self::present(&mut self.pin_tries, &mut self.pin_verified, right)?;
                self.pin_verified = true;
            }
            Act::Change(right) => Self::present(&mut self.pin_tries, &mut self.pin_verified, right)?,
            Act::Unblock(right) | Act::UnblockKeepingTheValue(right) => {
                Self::present(&mut self.puk_tries, &mut self.puk_verified, right)?;
                (self.pin_tries, self.pin_verified) = (3, false);
            }
            Act::UnblockAfterVerifying if self.puk_verified => {
                (self.pin_tries, self.pin_verified) = (3, false);
            }
            Act::UnblockAfterVerifying => return Err("6982".to_owned()),
            Act::VerifyPuk(right) => {
                Self::present(&mut self.puk_tries, &mut self.puk_verified, right)?;
                self.puk_verified = true;
            }
            Act::Reset => (self.pin_verified, self.puk_verified) = (false, false),
        }
        Ok(())
    }

    fn empty_verify(&self) -> String {
        match (self.pin_verified, self.pin_tries) {
            (true, _) => "9000".to_owned(),
            (false, 0) => "6983".to_owned(),
            (false, tries) => format!("63C{tries}"),
        }
    }
}

fn perform(card: &mut VirtualCard, act: Act) -> String {
    let pin = |right| if right { "3132333435FFFFFF" } else { "3939393939FFFFFF" };
    let puk = |right| if right { "3837363534333231" } else { "3030303030303030" };
    let command = match act {
        Act::Verify(right) => format!("0020009008{}", pin(right)),
        Act::Change(right) => format!("0024009010{}{}", pin(right), pin(true)),
        Act::Unblock(right) => format!("002C009010{}{}", puk(right), pin(true)),
        Act::UnblockKeepingTheValue(right) => format!("002C019008{}", puk(right)),
        Act::UnblockAfterVerifying => "002C0390".to_owned(),
        Act::VerifyPuk(right) => format!("0020009108{}", puk(right)),
        Act::Reset => {
            card.reset();
            return "9000".to_owned();
        }
    };
    send(card, &command)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_follow_their_rules_in_any_session(session in proptest::collection::vec(acts(), 1..60)) {
        let mut card = card();
        let mut model = Model { pin_tries: 3, puk_tries: 3, pin_verified: false, puk_verified: false };
        for act in session {
            let told = model.act(act).map_or_else(|status| status, |()| "9000".to_owned());
            prop_assert_eq!(perform(&mut card, act), told, "{:?}", act);
            prop_assert_eq!(send(&mut card, EMPTY_VERIFY), model.empty_verify(), "after {:?}", act);
        }
    }
}
