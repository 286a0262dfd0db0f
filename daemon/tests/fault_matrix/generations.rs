//! Every generation of card, read and used under faults: whatever the daemon can do with it, it can do again afterwards.

use cns_protocol::reader::ReaderState;
use cns_virtual_card::fault::{Fault, Garbage};
use cns_virtual_card::{Generation, Snapshot, Tear};
use cnsd::card::CardError;

use crate::PATIENT;
use crate::lane::Lane;
use crate::operations::{Job, change, settle_change, sign_authentication, sign_second, unblock, verify_new};
use crate::wire::card_of;

/// What is about time is in the other test. The last three are for what writes: reading does not. What a
/// second write loses is what the first one left.
const FAULTS: [Fault; 12] = [
    Fault::PullOutBefore,
    Fault::PullOutAfter,
    Fault::Reset,
    Fault::Status(0x6F00),
    Fault::Status(0x6A82),
    Fault::Status(0x6982),
    Fault::Garbage(Garbage::Cut(40)),
    Fault::Garbage(Garbage::StatusOnly),
    Fault::Garbage(Garbage::Longer(300)),
    Fault::Tear(Tear { write: 0, done: false }),
    Fault::Tear(Tear { write: 0, done: true }),
    Fault::Tear(Tear { write: 1, done: true }),
];

/// Every fault at every one of so many commands.
fn cuts(commands: u64) -> Vec<(u64, Fault)> {
    (0..commands).flat_map(|position| FAULTS.map(|fault| (position, fault))).collect()
}

/// A thing to do, how the person goes on after a fault, and what holds in the end.
struct Use {
    name: &'static str,
    job: Job,
    settle: Job,
    done: Job,
}

const USES: [Use; 4] = [
    Use {
        name: "signature",
        job: sign_authentication,
        settle: sign_authentication,
        done: sign_authentication,
    },
    Use { name: "signature with the second key", job: sign_second, settle: sign_second, done: sign_second },
    Use { name: "change of the PIN", job: change, settle: settle_change, done: verify_new },
    Use { name: "unblocking", job: unblock, settle: unblock, done: verify_new },
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

/// Gives what is told of the card without a fault, what can be done with it, and how many runs there were.
async fn run(generation: Generation) -> (String, u64) {
    let mut lane = Lane::new(card_of(generation.name()), PATIENT);
    let start = lane.card().card().snapshot().unwrap();
    let usual = told(&lane.put_in().await);
    let reading = lane.card().commands();
    let mut runs = 0;
    for (position, fault) in cuts(reading) {
        if matches!(fault, Fault::Tear(_)) {
            continue;
        }
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
    let mut usable = Vec::new();
    for one in &USES {
        let more = use_it(&mut lane, generation, &start, &usual, one).await;
        if more > 0 {
            usable.push(one.name);
        }
        let has_second = usual.contains("2 certificates");
        assert!(
            more > 0 || one.name != "signature with the second key" || !has_second,
            "{}: the second key is not used",
            generation.name()
        );
        runs += more;
    }
    (format!("{usual}; {}", usable.join(", ")), runs)
}

/// Gives the number of runs; none where the daemon cannot do it on this card.
async fn use_it(lane: &mut Lane, generation: Generation, start: &Snapshot, usual: &str, one: &Use) -> u64 {
    lane.take_out();
    lane.card().card().restore(start).unwrap();
    lane.put_in().await;
    let before = lane.card().commands();
    if lane.run(one.job).await.is_err() {
        return 0;
    }
    let commands = lane.card().commands() - before;
    let mut runs = 0;
    for (position, fault) in cuts(commands) {
        let name = format!("{}, {fault:?} at {position} of a {}", generation.name(), one.name);
        lane.take_out();
        lane.card().card().restore(start).unwrap();
        lane.put_in().await;
        lane.card().plan(position, fault);
        let outcome = lane.run(one.job).await;
        lane.card().clear_plan();
        assert!(!matches!(outcome, Err(CardError::Panicked | CardError::Command(_))), "{name}: {outcome:?}");
        let summary = lane.card().card().summary();
        assert!(summary.pin_tries >= 2 && summary.puk_tries >= 2, "{name}: {outcome:?}");
        let settled = outcome.is_ok() || std::ptr::fn_addr_eq(one.settle, one.done);
        let steps = if settled { vec![one.done] } else { vec![one.settle, one.done] };
        for step in steps {
            assert_eq!(told(&lane.put_in().await), usual, "{name}");
            lane.run(step).await.unwrap_or_else(|error| panic!("{name}: {outcome:?}, afterwards {error:?}"));
        }
        runs += 1;
    }
    runs
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
    assert!(all > 5500, "{all} runs");
}
