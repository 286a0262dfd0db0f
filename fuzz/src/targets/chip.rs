//! The virtual chip takes any commands: each is answered, and tries come back only to who knows a code.

use cns_secret::Secret;
use cns_virtual_card::{Generation, VirtualCard, sample};

use crate::input::Input;

/// Makes a key pair: seconds of work, and nothing of the input gets into it.
const GENERATE_KEY_PAIR: u8 = 0x46;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(mut card) = card(input.byte()) else { return };
    let mut knows = false;
    while !input.is_empty() {
        let command = match input.byte() {
            0xFF => {
                card.power_on();
                continue;
            }
            length => input.take(usize::from(length)),
        };
        if command.get(1) == Some(&GENERATE_KEY_PAIR) {
            continue;
        }
        knows |= [sample::PIN, sample::PUK]
            .iter()
            .any(|code| command.windows(code.len()).any(|window| window == *code));
        let before = card.summary();
        let answer = card.transmit(command);
        assert!((2..=65_538).contains(&answer.len()));
        let status = answer[answer.len() - 2];
        assert!(matches!(status, 0x61..=0x6F | 0x90), "status {status:02X}");
        let after = card.summary();
        if !knows {
            assert!(after.pin_tries <= before.pin_tries, "a try of the PIN came back");
            assert!(after.puk_tries <= before.puk_tries, "a try of the PUK came back");
        }
    }
}

/// The sample card on any chip, its second key made or not, with or without the issuer's key.
fn card(choice: u8) -> Option<VirtualCard> {
    let chips: Vec<_> = Generation::all().collect();
    let generation = *chips.get(usize::from(choice >> 3) % chips.len().max(1))?;
    let mut order = sample::personalisation_of(generation).ok()?;
    order.behaviour.strict_incard = choice & 0x01 != 0;
    if choice & 0x02 != 0 {
        order.signature_area = cns_virtual_card::SignatureArea::Absent;
    }
    if choice & 0x04 != 0 {
        order.issuer_key = Some(Secret::copy_from(&[0x42; 16]).expect("locked memory"));
    }
    // Not every chip has every one of these.
    VirtualCard::create(order).ok()
}
