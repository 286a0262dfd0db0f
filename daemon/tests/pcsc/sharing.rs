//! Other programs on the same card: which of the ways it is held is told, and it is used again once it is let go.

use std::ffi::CString;
use std::time::Duration;

use cns_protocol::reader::ReaderState;
use cnsd::card::CardError;
use cnsd::reader::{ReaderSpec, Readers, TimeLimits};
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode};

use super::{Pcscd, alone, card_in, plug_in, sign_once, until};

#[test]
fn a_card_that_others_hold_is_told_so_and_used_once_they_let_go() {
    alone("sharing::a_card_that_others_hold_is_told_so_and_used_once_they_let_go", sharing());
}

fn says(readers: &[cns_protocol::reader::Reader], what: &str) -> bool {
    readers.iter().any(|reader| match &reader.state {
        ReaderState::Unusable(words) => words.contains(what),
        ReaderState::Empty | ReaderState::Reading | ReaderState::Card(_) => false,
    })
}

async fn sharing() {
    let limit = Duration::from_millis(500);
    let limits = TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() };
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start_with(&[ReaderSpec::Pcsc], limits).unwrap();
    let (plugged, name) = plug_in(&readers).await;
    let context = Context::establish(Scope::System).unwrap();
    let reader = CString::new(name.clone()).unwrap();
    transaction(&readers, &name, &context, &reader).await;

    // Alone, before the daemon: it waits, says so, and takes over.
    readers.stop();
    drop(readers);
    let alone = loop {
        // The daemon's own connection ends on a thread of its own.
        match context.connect(&reader, ShareMode::Exclusive, Protocols::ANY) {
            Ok(card) => break card,
            Err(pcsc::Error::SharingViolation) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let readers = Readers::start_with(&[ReaderSpec::Pcsc], limits).unwrap();
    until(&readers, "a card that is held", |readers| says(readers, "for itself")).await;
    let refused = readers.run(&name, None, |_| Ok(())).await;
    assert!(matches!(refused, Err(CardError::Exclusive)), "{refused:?}");
    alone.disconnect(Disposition::UnpowerCard).map_err(|(_, error)| error).unwrap();
    until(&readers, "the card that was let go", |readers| card_in(readers).is_some()).await;
    sign_once(&readers, &name).await.unwrap();

    // A program that keeps resetting the card between the daemon's transactions costs it nothing but time.
    let mut other = context.connect(&reader, ShareMode::Shared, Protocols::ANY).unwrap();
    for _ in 0..5 {
        other.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard).unwrap();
        sign_once(&readers, &name).await.unwrap();
        other.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::UnpowerCard).unwrap();
        sign_once(&readers, &name).await.unwrap();
    }
    other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
    drop(plugged);
}

/// A transaction that does not end: a wait with an end, and the card back as soon as it is let go.
async fn transaction(readers: &Readers, name: &str, context: &Context, reader: &CString) {
    let mut other = context.connect(reader, ShareMode::Shared, Protocols::ANY).unwrap();
    let held = other.transaction().unwrap();
    for _ in 0..3 {
        let refused = sign_once(readers, name).await;
        assert!(matches!(refused, Err(CardError::Held)), "{refused:?}");
    }
    assert!(card_in(&readers.list().readers).is_some(), "what is known of the card stays listed");
    held.end(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
    let mut signed = sign_once(readers, name).await;
    for _ in 0..100 {
        if signed.is_ok() {
            break;
        }
        // The daemon's waiting thread asks pcscd every tenth of a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
        signed = sign_once(readers, name).await;
    }
    signed.unwrap();
    other.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
}
