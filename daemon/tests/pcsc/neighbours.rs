//! Other programs on the same card that leave something behind: an application, or fewer tries than before.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged};
use cnsd::card::{CardError, LastTry, pin, sign};
use cnsd::reader::{ReaderSpec, Readers};
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};

use super::plugged::secret;
use super::wire::{Change, Wire, card_of, plug_changed, take};
use super::{Pcscd, alone, card_in, until};

/// An application on the same chip that is no CNS, and has a PIN of the same number.
const FOREIGN: [u8; 12] = [0x00, 0xA4, 0x04, 0x0C, 0x07, 0xA0, 0x00, 0x00, 0x99, 0x99, 0x01, 0x01];
const SELECT_FOREIGN: &[u8] = &FOREIGN;

#[test]
fn a_pin_goes_to_the_cns_alone_whatever_others_selected() {
    alone("neighbours::a_pin_goes_to_the_cns_alone_whatever_others_selected", applications());
}

#[test]
fn tries_that_others_spent_are_asked_for_before_a_pin_is_presented() {
    alone("neighbours::tries_that_others_spent_are_asked_for_before_a_pin_is_presented", tries());
}

/// A chip with the foreign application: every PIN and PUK that reaches it is counted.
fn with_foreign_application(codes: Arc<AtomicU32>) -> Change {
    let mut is_inside = false;
    Box::new(move |command, _| {
        if command.is_empty() {
            is_inside = false;
            return None;
        }
        if command.starts_with(SELECT_FOREIGN) {
            is_inside = true;
            return Some(vec![0x90, 0x00]);
        }
        // Another application that the chip does not have leaves this one current.
        match command {
            _ if !is_inside => None,
            [0x00, 0xA4, _, _, 0x02, 0x3F, 0x00, ..] => Some(vec![0x90, 0x00]),
            [0x00, 0x20 | 0x24 | 0x2C, _, _, _, _, ..] => {
                codes.fetch_add(1, Ordering::Relaxed);
                Some(vec![0x63, 0xC2])
            }
            _ => Some(vec![0x6A, 0x82]),
        }
    })
}

fn plug(card: &str, change: Change) -> Plugged<Wire> {
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 35963 };
    plug_changed(endpoint, card_of(card), None, change)
}

async fn listed(readers: &Readers) -> String {
    until(readers, "a card", |readers| card_in(readers).is_some()).await;
    card_in(&readers.list().readers).unwrap().name.clone()
}

fn instructions(plugged: &Plugged<Wire>) -> Vec<String> {
    take(plugged).into_iter().map(|(sent, _)| sent[2..4].to_owned()).collect()
}

fn resets(plugged: &Plugged<Wire>) -> u32 {
    plugged.with_card(|wire| wire.resets)
}

fn select_foreign(other: &Card) {
    let mut answer = [0; 258];
    #[expect(clippy::disallowed_methods, reason = "another program")]
    let answer = other.transmit(SELECT_FOREIGN, &mut answer).unwrap();
    assert_eq!(answer, [0x90, 0x00]);
}

/// Another program's connection, taken up again after each reset.
fn neighbour(context: &Context, reader: &str) -> Card {
    let reader = CString::new(reader).unwrap();
    context.connect(&reader, ShareMode::Shared, Protocols::ANY).unwrap()
}

async fn log_in(readers: &Readers, reader: &str, digits: &'static [u8]) -> Result<(), CardError> {
    let job = move |session: &mut cnsd::card::CardSession<'_>| {
        pin::verify(session, PinName::Cns, &secret(digits), LastTry::Ask)
    };
    readers.run(reader, None, job).await
}

/// With a PIN that the card has accepted.
async fn sign_again(readers: &Readers, reader: &str) -> Result<Vec<u8>, CardError> {
    let job = |session: &mut cnsd::card::CardSession<'_>| {
        let (pin, mechanism) = (secret(sample::PIN), Mechanism::RsaPkcs1);
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Accepted, &mechanism, &[1; 20])
    };
    readers.run(reader, None, job).await
}

async fn applications() {
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    for (card, login, signature) in [
        // The chip tells the tries left at no cost.
        ("st2021", &["20", "20"][..], &["20", "22", "22", "2A"][..]),
        ("idemia2021", &["20", "20"], &["20", "A4", "22", "22", "2A"]),
        // This one is not asked.
        ("athena", &["20"], &["20", "22", "22", "2A"]),
    ] {
        let codes = Arc::new(AtomicU32::new(0));
        let plugged = plug(card, with_foreign_application(Arc::clone(&codes)));
        let name = listed(&readers).await;
        readers.run(&name, None, |_| Ok(())).await.unwrap();
        // What belongs together in a store is learned by the first signature.
        sign_again(&readers, &name).await.unwrap();
        take(&plugged);
        // Nobody else is there: no command but those that the work is made of.
        log_in(&readers, &name, sample::PIN).await.unwrap();
        assert_eq!(instructions(&plugged), login, "{card}");
        sign_again(&readers, &name).await.unwrap();
        assert_eq!(instructions(&plugged), signature, "{card}");

        // Another program leaves its application behind, again and again: no PIN goes there.
        let context = Context::establish(Scope::System).unwrap();
        for _ in 0..2 {
            let other = neighbour(&context, &name);
            select_foreign(&other);
            log_in(&readers, &name, sample::PIN).await.unwrap();
            other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
            let other = neighbour(&context, &name);
            select_foreign(&other);
            sign_again(&readers, &name).await.unwrap();
            let changed = readers.run(&name, None, |session| {
                let (old, puk) = (secret(sample::PIN), secret(sample::PUK));
                pin::change(session, PinName::Cns, &old, &secret(sample::PIN), LastTry::Ask)?;
                pin::reset(session, PinName::Cns, &puk, &secret(sample::PIN), LastTry::Ask)
            });
            changed.await.unwrap();
            other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
        }
        assert_eq!(codes.load(Ordering::Relaxed), 0, "{card}");

        // Asking for the tries ends nobody's work, unless that is in another application.
        let other = neighbour(&context, &name);
        let before = resets(&plugged);
        let told = readers.run(&name, None, pin::status).await.unwrap();
        assert_eq!(resets(&plugged), before, "{card}");
        select_foreign(&other);
        assert_eq!(readers.run(&name, None, pin::status).await.unwrap(), told, "{card}");
        assert_eq!(resets(&plugged), before + 1, "{card}");
        other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();

        // Read anew, it is still the card that it was.
        let other = neighbour(&context, &name);
        select_foreign(&other);
        let again = readers.reread(&name).await.unwrap();
        assert_eq!(again.card.serial, sample::ID_CARD, "{card}");
        other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
        plugged.pull_out();
        until(&readers, "an empty reader", |readers| card_in(readers).is_none()).await;
        drop(plugged);
    }
}

async fn tries() {
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let plugged = plug("st2021", Box::new(|_, _| None));
    let name = listed(&readers).await;
    // All tries are known to be left.
    log_in(&readers, &name, sample::PIN).await.unwrap();
    let spend = |tries: u32| {
        let wrong = [0x00, 0x20, 0x00, 0x90, 8, b'9', b'9', b'9', b'9', b'9', 0xFF, 0xFF, 0xFF];
        for _ in 0..tries {
            plugged.with_card(|wire| drop(wire.card.transmit(&wrong)));
        }
    };
    let left = || plugged.with_card(|wire| wire.card.summary().pin_tries);
    spend(2);
    let refused = log_in(&readers, &name, b"99999").await;
    assert!(matches!(refused, Err(CardError::LastTry)), "{refused:?}");
    assert_eq!(left(), 1);
    // Who gave it back is heard, too.
    let right = [0x00, 0x20, 0x00, 0x90, 8, b'1', b'2', b'3', b'4', b'5', 0xFF, 0xFF, 0xFF];
    plugged.with_card(|wire| drop(wire.card.transmit(&right)));
    log_in(&readers, &name, sample::PIN).await.unwrap();
    // The same before a change, for the old PIN, and before an unblocking, for the PUK.
    spend(2);
    let refused = readers.run(&name, None, |session| {
        pin::change(session, PinName::Cns, &secret(b"99999"), &secret(b"24680"), LastTry::Ask)
    });
    assert!(matches!(refused.await, Err(CardError::LastTry)));
    assert_eq!(left(), 1);
    readers
        .run(&name, None, |session| {
            pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(sample::PIN), LastTry::Ask)
        })
        .await
        .unwrap();
    let wrong = [
        0x00, 0x2C, 0x00, 0x90, 16, b'0', b'0', b'0', b'0', b'0', b'0', b'0', b'0', b'1', b'2', b'3', b'4',
        b'5', 0xFF, 0xFF, 0xFF,
    ];
    for _ in 0..2 {
        plugged.with_card(|wire| drop(wire.card.transmit(&wrong)));
    }
    let puk_left = || plugged.with_card(|wire| wire.card.summary().puk_tries);
    assert_eq!(puk_left(), 1);
    let refused = readers.run(&name, None, |session| {
        pin::reset(session, PinName::Cns, &secret(b"00000000"), &secret(sample::PIN), LastTry::Ask)
    });
    assert!(matches!(refused.await, Err(CardError::LastTry)));
    assert_eq!(puk_left(), 1);
}
