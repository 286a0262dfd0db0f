//! Every generation of card, read and used under faults: whatever the daemon can do with it, it can do again afterwards.

use cns_protocol::reader::ReaderState;
use cns_virtual_card::fault::{Fault, Garbage};
use cns_virtual_card::{Generation, VirtualCard, sample};
use cnsd::card::CardError;

use crate::PATIENT;
use crate::lane::Lane;
use crate::operations::sign_authentication;
use crate::plugged::sample_card;

/// Nothing is written here, so nothing is torn; what is about time is in the other test.
const FAULTS: [Fault; 12] = [
    Fault::PullOutBefore,
    Fault::PullOutAfter,
    Fault::Reset,
    Fault::Status(0x6F00),
    Fault::Status(0x6A82),
    Fault::Status(0x6982),
    Fault::Status(0x6E00),
    Fault::Status(0x6283),
    Fault::Garbage(Garbage::Cut(0)),
    Fault::Garbage(Garbage::Cut(40)),
    Fault::Garbage(Garbage::StatusOnly),
    Fault::Garbage(Garbage::Longer(300)),
];

/// What clients are told of a card.
fn told(state: &ReaderState) -> String {
    match state {
        ReaderState::Card(card) => {
            format!("{} {}, {} certificates", card.generation, card.serial, card.certificates.len())
        }
        ReaderState::Unusable(words) => words.clone(),
        ReaderState::Empty => "empty".to_owned(),
        ReaderState::Reading => "reading".to_owned(),
    }
}

fn card_of(generation: Generation) -> VirtualCard {
    if generation.is_cns() {
        return sample_card(|order| *order = sample::personalisation_of(generation).unwrap());
    }
    VirtualCard::create(sample::personalisation_of(generation).unwrap()).unwrap()
}

/// Gives what is told of the card without a fault, and how many runs there were.
async fn run(generation: Generation) -> (String, u64) {
    let mut lane = Lane::new(card_of(generation), PATIENT);
    let start = lane.card().card().snapshot().unwrap();
    let usual = told(&lane.put_in().await);
    let reading = lane.card().commands();
    let usable = lane.run(sign_authentication).await.is_ok();
    let signing = lane.card().commands() - reading;
    let mut runs = 0;
    for (position, fault) in (0..reading).flat_map(|position| FAULTS.map(|fault| (position, fault))) {
        lane.take_out();
        lane.card().plan(position, fault);
        let state = lane.put_in().await;
        lane.card().clear_plan();
        let name = format!("{}, {fault:?} at {position} of the reading", generation.name());
        assert!(!told(&state).contains("inside the daemon"), "{name}: {}", told(&state));
        assert_eq!(told(&lane.put_in().await), usual, "{name}");
        runs += 1;
    }
    assert!(
        lane.card().card().snapshot().unwrap() == start,
        "{}: reading changes nothing",
        generation.name()
    );
    if !usable {
        return (usual, runs);
    }
    for (position, fault) in (0..signing).flat_map(|position| FAULTS.map(|fault| (position, fault))) {
        let name = format!("{}, {fault:?} at {position} of a signature", generation.name());
        lane.put_in().await;
        lane.card().plan(position, fault);
        let outcome = lane.run(sign_authentication).await;
        lane.card().clear_plan();
        assert!(!matches!(outcome, Err(CardError::Panicked | CardError::Command(_))), "{name}: {outcome:?}");
        let tries = lane.card().card().summary().pin_tries;
        assert!(tries >= 2, "{name}: {tries} tries left");
        assert_eq!(told(&lane.put_in().await), usual, "{name}");
        lane.run(sign_authentication).await.unwrap_or_else(|error| panic!("{name}: afterwards {error:?}"));
        runs += 1;
    }
    (usual, runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generation_is_read_and_used_again_after_every_fault() {
    let mut all = 0;
    let tasks: Vec<_> =
        Generation::all().map(|generation| (generation, tokio::spawn(run(generation)))).collect();
    let count = tasks.len();
    let mut failed = 0;
    for (generation, task) in tasks {
        match task.await {
            Ok((usual, runs)) => {
                println!("{}: {usual}; {runs} runs", generation.name());
                all += runs;
            }
            // The others go on, so that one look shows more than one failure.
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 0, "told above");
    println!("{count} generations × {} faults = {all} runs, all survived", FAULTS.len());
    assert!(all > 1000, "{all} runs");
}
