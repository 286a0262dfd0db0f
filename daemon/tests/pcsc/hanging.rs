//! A card or a driver that does not answer: told in time, and used again when it comes back.

use std::time::{Duration, Instant};

use cns_apdu::command::GetChallenge;
use cns_protocol::reader::{ReaderKind, ReaderState};
use cns_virtual_card::fault::Fault;
use cnsd::card::CardError;
use cnsd::reader::{ReaderSpec, Readers, TimeLimits};

use super::{Pcscd, alone, card_in, plug_in, plug_into, sign_once, until};

#[test]
fn a_reader_that_hangs_holds_up_nobody_and_comes_back() {
    alone("hanging::a_reader_that_hangs_holds_up_nobody_and_comes_back", hanging());
}

async fn challenge(readers: &Readers, name: &str) -> Result<Vec<u8>, CardError> {
    readers.run(name, None, |session| session.run(&GetChallenge { length: 8 })).await
}

async fn hanging() {
    let limit = Duration::from_secs(1);
    let limits = TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() };
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start_with(&[ReaderSpec::Pcsc], limits).unwrap();
    let (plugged, name) = plug_in(&readers).await;
    let _other = plug_into(35964);
    until(&readers, "two cards", |readers| {
        readers.iter().filter(|reader| matches!(reader.state, ReaderState::Card(_))).count() == 2
    })
    .await;
    let list = readers.list().readers;
    let second = list.iter().find(|reader| reader.name != name).unwrap().name.clone();
    assert!(list.iter().all(|reader| reader.kind == ReaderKind::Pcsc));

    // The card answers in the end, after the client was told: the driver comes back by itself.
    std::thread::scope(|scope| {
        scope.spawn(|| plugged.with_card(|_| std::thread::sleep(Duration::from_secs(4))));
        std::thread::sleep(Duration::from_millis(100));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(told_in_words(&readers, &name, &second));
        });
    });
    until(&readers, "the card, which was never taken out", |readers| {
        readers.iter().any(|reader| reader.name == name && matches!(reader.state, ReaderState::Card(_)))
    })
    .await;
    sign_once(&readers, &name).await.unwrap();

    // The card never answers again: the driver comes back when it is taken out.
    plugged.with_card(|card| card.plan(0, Fault::Mute));
    told_in_words(&readers, &name, &second).await;
    plugged.pull_out();
    until(&readers, "an empty reader", |readers| {
        readers.iter().any(|reader| reader.name == name && reader.state == ReaderState::Empty)
    })
    .await;
    plugged.put_in();
    until(&readers, "the card again", |readers| {
        readers.iter().any(|reader| reader.name == name && matches!(reader.state, ReaderState::Card(_)))
    })
    .await;
    sign_once(&readers, &name).await.unwrap();
    assert!(card_in(&readers.list().readers).is_some());
}

/// The first job is told that the card was late, those after it that the reader does not answer; the other reader
/// works on.
async fn told_in_words(readers: &Readers, name: &str, other: &str) {
    let began = Instant::now();
    let late = challenge(readers, name).await;
    assert!(matches!(late, Err(CardError::TimedOut)), "{late:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "the limit of one second was not kept");
    let after = challenge(readers, name).await;
    assert!(matches!(after, Err(CardError::NotAnswering)), "{after:?}");
    until(readers, "a reader that does not answer", |readers| {
        readers.iter().any(|reader| match &reader.state {
            ReaderState::Unusable(words) => reader.name == name && words.contains("does not answer"),
            ReaderState::Empty | ReaderState::Reading | ReaderState::Card(_) => false,
        })
    })
    .await;
    sign_once(readers, other).await.unwrap();
}
