//! Where pcscd's word on a reader is stale: a card that comes back before it looks again is used all the same, and
//! never taken for the one before.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cns_apdu::command::GetChallenge;
use cns_apdu::id_card::luhn;
use cns_protocol::reader::{Reader, ReaderState};
use cns_virtual_card::fault::{FaultyCard, Outcome};
use cns_virtual_card::vpcd::{Card, Endpoint, Plugged, plug_card};
use cns_virtual_card::{Generation, sample};
use cnsd::card::CardError;
use cnsd::reader::{ReaderSpec, Readers};
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode};

use super::plugged::{put_in_again, sample_card};
use super::{Pcscd, alone, plug_in, sign_once, until};

/// The number of the next card.
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// How often a case is tried again because pcscd looked just then.
const ATTEMPTS: u32 = 20;

/// After which a swap was not seen: several times the daemon's longest pause before a doubt is settled here.
const UNSEEN: Duration = Duration::from_secs(15);

/// A program that has nothing to do with the daemon.
struct Neighbour {
    context: Context,
    reader: CString,
}

impl Neighbour {
    fn new(reader: &str) -> Self {
        let context = Context::establish(Scope::System).unwrap();
        Self { context, reader: CString::new(reader).unwrap() }
    }

    /// How many cards came and went by pcscd's count.
    fn events(&self) -> u32 {
        let mut states = [pcsc::ReaderState::new(self.reader.clone(), pcsc::State::UNAWARE)];
        self.context.get_status_change(Duration::ZERO, &mut states).unwrap();
        let [state] = &states;
        state.event_count()
    }

    /// Whether there is a card by pcscd's word.
    fn is_full(&self) -> bool {
        let mut states = [pcsc::ReaderState::new(self.reader.clone(), pcsc::State::UNAWARE)];
        self.context.get_status_change(Duration::ZERO, &mut states).unwrap();
        states[0].event_state().contains(pcsc::State::PRESENT)
    }

    fn connect(&self) -> pcsc::Card {
        self.context.connect(&self.reader, ShareMode::Shared, Protocols::ANY).unwrap()
    }
}

/// A card that can be told to be unreliable.
struct Odd {
    card: FaultyCard,
    /// How many commands have an answer before the card goes at one.
    goes_after: Option<u32>,
    /// Whether its answer to reset is longer than any reader takes.
    mute: bool,
}

impl Card for Odd {
    fn power_on(&mut self) {
        Card::power_on(&mut self.card);
    }

    fn power_off(&mut self) {
        Card::power_off(&mut self.card);
    }

    fn reset(&mut self) {
        Card::reset(&mut self.card);
    }

    fn answer_to_reset(&self) -> Vec<u8> {
        if self.mute { vec![0x3B; 40] } else { Card::answer_to_reset(&self.card) }
    }

    fn execute(&mut self, command: &[u8]) -> Outcome {
        match self.goes_after {
            Some(0) => {
                self.goes_after = None;
                Outcome::Gone
            }
            left => {
                self.goes_after = left.map(|left| left - 1);
                Card::execute(&mut self.card, command)
            }
        }
    }
}

fn serial_of(number: u32) -> String {
    let first = format!("69990000{number:07}");
    let check = luhn(first.as_bytes()).unwrap();
    format!("{first}{}", char::from(check))
}

fn card_of(number: u32, generation: &str) -> FaultyCard {
    let generation = Generation::from_name(generation).unwrap();
    let mut order = sample::personalisation_of(generation).unwrap();
    order.holder.id_card = Some(serial_of(number));
    sample_card(|personalisation| *personalisation = order).into()
}

/// The serial number of the card in a reader.
fn serial(readers: &[Reader], name: &str) -> Option<String> {
    match &readers.iter().find(|reader| reader.name == name)?.state {
        ReaderState::Card(card) => Some(card.serial.clone()),
        ReaderState::Empty | ReaderState::Reading | ReaderState::Unusable(_) => None,
    }
}

fn is_unusable(readers: &[Reader], name: &str) -> bool {
    readers.iter().any(|reader| reader.name == name && matches!(reader.state, ReaderState::Unusable(_)))
}

async fn until_serial(readers: &Readers, name: &str, number: u32) {
    let wanted = serial_of(number);
    until(readers, &wanted, |readers| serial(readers, name).as_ref() == Some(&wanted)).await;
}

fn insertion(readers: &Readers, name: &str) -> u64 {
    readers.list().readers.iter().find(|reader| reader.name == name).unwrap().insertion
}

/// Who noticed that a card is gone, while pcscd has not looked yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noticed {
    /// The daemon, by a command.
    Daemon,
    /// Another program. Where pcscd calls the reader full again before the daemon asks, nothing tells of the swap
    /// (`docs/operations.md`): such an attempt is repeated.
    Neighbour,
}

/// Swaps the card for another one, and something happens while there is none; again, where pcscd saw it go.
async fn swapped(
    readers: &Readers,
    name: &str,
    plugged: &Plugged,
    noticed: Noticed,
    meanwhile: impl Fn(&mut pcsc::Card),
) {
    let neighbour = Neighbour::new(name);
    for _ in 0..ATTEMPTS {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (before, events) = (insertion(readers, name), neighbour.events());
        let (other, mut theirs) = (card_of(number, "st2021"), neighbour.connect());
        tokio::task::block_in_place(|| {
            plugged.pull_out();
            meanwhile(&mut theirs);
            plugged.with_card(|card| *card = other);
            plugged.put_in();
        });
        let seen = tokio::time::timeout(UNSEEN, until_serial(readers, name, number)).await;
        if seen.is_err()
            && noticed == Noticed::Neighbour
            && neighbour.events() == events
            && neighbour.is_full()
        {
            theirs.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
            tokio::task::block_in_place(|| plugged.pull_out());
            until(readers, "an empty reader", |readers| serial(readers, name).is_none()).await;
            tokio::task::block_in_place(|| plugged.put_in());
            until_serial(readers, name, number).await;
            continue;
        }
        seen.unwrap();
        sign_once(readers, name).await.unwrap();
        assert!(insertion(readers, name) > before);
        theirs.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
        if neighbour.events() == events {
            return;
        }
    }
    panic!("pcscd saw each card go");
}

#[test]
fn a_card_that_pcscd_did_not_see_go_and_come_is_a_new_one() {
    alone("stale::a_card_that_pcscd_did_not_see_go_and_come_is_a_new_one", stale());
}

async fn stale() {
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let (plugged, name) = plug_in(&readers).await;

    // A command of the daemon finds it gone.
    swapped(&readers, &name, &plugged, Noticed::Daemon, |_| {
        let job = readers.run(&name, None, |session| session.run(&GetChallenge { length: 8 }));
        let outcome = tokio::runtime::Handle::current().block_on(job);
        assert!(matches!(outcome, Err(CardError::NoAnswer)), "{outcome:?}");
    })
    .await;

    // Another program's reset finds it gone: from then on pcscd calls the reader empty.
    swapped(&readers, &name, &plugged, Noticed::Neighbour, |theirs| {
        let reset = theirs.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard);
        assert!(reset.is_err(), "{reset:?}");
    })
    .await;

    // Exchanged, and reset by another program before pcscd or the daemon noticed: another answer to reset tells.
    let neighbour = Neighbour::new(&name);
    let (before, events) = (insertion(&readers, &name), neighbour.events());
    let mut theirs = neighbour.connect();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let other = card_of(number, "idemia2021");
    plugged.with_card(|card| *card = other);
    theirs.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard).unwrap();
    let outcome = sign_once(&readers, &name).await;
    assert!(matches!(outcome, Err(CardError::Removed)), "{outcome:?}");
    until_serial(&readers, &name, number).await;
    assert!(insertion(&readers, &name) > before && neighbour.events() == events);
    sign_once(&readers, &name).await.unwrap();
    theirs.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
}

#[test]
fn a_card_that_could_not_be_read_once_is_read_again() {
    alone("stale::a_card_that_could_not_be_read_once_is_read_again", read_again());
}

async fn read_again() {
    let _daemon = Pcscd::start(&[]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    until(&readers, "vpcd's two readers", |readers| readers.len() == 2).await;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Mute when it came, as when it is still being pushed in: powered up again, without being taken out.
    let odd = Odd { card: card_of(number, "st2021"), goes_after: None, mute: true };
    let plugged = plug_card(odd, Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 35963 }).unwrap();
    until(&readers, "a mute card", |readers| readers.iter().any(|reader| is_unusable(readers, &reader.name)))
        .await;
    let list = readers.list().readers;
    let name = list.iter().find(|reader| is_unusable(&list, &reader.name)).unwrap().name.clone();
    let before = insertion(&readers, &name);
    // In the middle of its first reading it has no contact for a moment.
    plugged.with_card(|odd| (odd.mute, odd.goes_after) = (false, Some(3)));
    put_in_again(&plugged);
    until_serial(&readers, &name, number).await;
    sign_once(&readers, &name).await.unwrap();
    assert!(insertion(&readers, &name) > before);

    // A card that was read and refuses to be read again.
    let before = insertion(&readers, &name);
    plugged.with_card(|odd| odd.goes_after = Some(3));
    assert!(readers.reread(&name).await.is_err());
    put_in_again(&plugged);
    until(&readers, "the card as a new one", |readers| {
        readers.iter().any(|reader| reader.insertion > before) && serial(readers, &name).is_some()
    })
    .await;
    sign_once(&readers, &name).await.unwrap();
}
