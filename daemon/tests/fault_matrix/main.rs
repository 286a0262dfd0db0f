//! Every operation on a card, cut at every command by every fault: the daemon answers in words and goes on, spends no
//! try that nobody gave, and what was begun can be finished with the card as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

mod conditions;
mod generations;
mod lane;
mod operations;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cns_protocol::reader::ReaderState;
use cns_virtual_card::fault::{Fault, Garbage};
use cns_virtual_card::{Tear, VirtualCard, sample};
use cnsd::card::CardError;
use cnsd_test_support::{plugged, wire};

use crate::lane::Lane;
use crate::operations::{Fixture, Operation};

/// Readers that work at the same time; most of the time is waiting.
const LANES: usize = 6;
/// What a command may take where no fault is about time: an idle machine needs some milliseconds.
const PATIENT: Duration = Duration::from_secs(30);
/// The same where the fault is that an answer does not come, or not in time.
const SHORT: Duration = Duration::from_millis(700);
/// Later than that.
const TOO_LATE: Duration = Duration::from_millis(900);

/// What goes wrong in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// At one command.
    At(u64, Fault),
    /// After so many writes the memory is worn out.
    Worn(u32),
    /// The memory takes nothing new.
    Full,
}

impl Trouble {
    /// One word for the count of runs.
    fn kind(self) -> String {
        match self {
            Self::At(_, Fault::Status(word)) => format!("status {word:04X}"),
            Self::At(_, Fault::Tear(Tear { done: false, .. })) => "torn, lost".to_owned(),
            Self::At(_, Fault::Tear(Tear { done: true, .. })) => "torn, done".to_owned(),
            Self::At(_, Fault::PullOutBefore) => "pulled before".to_owned(),
            Self::At(_, Fault::PullOutAfter) => "pulled after".to_owned(),
            Self::At(_, Fault::Mute) => "mute".to_owned(),
            Self::At(_, Fault::Slow(_)) => "too slow".to_owned(),
            Self::At(_, Fault::Reset) => "reset by another".to_owned(),
            Self::At(_, Fault::Garbage(_)) => "garbage".to_owned(),
            Self::Worn(_) => "worn out".to_owned(),
            Self::Full => "full".to_owned(),
        }
    }

    fn is_about_time(self) -> bool {
        matches!(self, Self::At(_, Fault::Mute | Fault::Slow(_)))
    }

    fn takes_the_card_out(self) -> bool {
        matches!(self, Self::At(_, Fault::PullOutBefore | Fault::PullOutAfter | Fault::Tear(_)))
    }
}

/// The faults for each command, beside those that the first pass has already: `writes` is how often it writes.
fn troubles(position: u64, writes: u32) -> Vec<Trouble> {
    let mut faults = vec![Fault::PullOutBefore, Fault::Mute, Fault::Slow(TOO_LATE), Fault::Reset];
    faults.extend([0x6F00, 0x6A84, 0x6581, 0x6982, 0x6E00].map(Fault::Status));
    let garbage = [Garbage::Cut(0), Garbage::Cut(1), Garbage::StatusOnly, Garbage::Longer(300)];
    faults.extend(garbage.map(Fault::Garbage));
    faults.extend((0..writes).flat_map(|write| [false, true].map(|done| Fault::Tear(Tear { write, done }))));
    faults.into_iter().map(|fault| Trouble::At(position, fault)).collect()
}

/// A lane with the usual time limit and one with a short one.
struct Lanes {
    patient: Lane,
    short: Lane,
}

impl Lanes {
    fn new() -> Self {
        let card = || VirtualCard::create(sample::personalisation().unwrap()).unwrap();
        Self { patient: Lane::new(card(), PATIENT), short: Lane::new(card(), SHORT) }
    }
}

/// What one run did before it was over.
struct Run {
    /// Whether the fault happened at all.
    happened: bool,
    /// Writes up to then.
    writes: u32,
}

/// Tries left on PIN, PUK and signature PIN.
fn tries(lane: &Lane) -> [u8; 3] {
    let summary = lane.card().card().summary();
    [summary.pin_tries, summary.puk_tries, summary.signature_pin_tries.unwrap_or(3)]
}

/// One operation, one trouble.
async fn run(lanes: &mut Lanes, fixture: &Fixture, operation: &Operation, trouble: Trouble) -> Run {
    let lane = if trouble.is_about_time() { &mut lanes.short } else { &mut lanes.patient };
    let told = format!("{}, {trouble:?}", operation.name);
    lane.take_out();
    {
        let mut card = lane.card();
        card.clear_plan();
        card.card().wear_out_after(u32::MAX);
        card.card().restore(fixture.snapshot(operation.start)).unwrap();
        card.card().plan_keys(fixture.keys());
    }
    let before = tries(lane);
    let conditions = lane.card().card().access_conditions();
    let outcome = match operation.job {
        Some(job) => {
            insert(lane, trouble, &told).await;
            cause(lane, trouble);
            lane.run(job).await
        }
        None => {
            cause(lane, trouble);
            match lane.put_in().await {
                ReaderState::Unusable(words) => Err(CardError::Unknown(words)),
                ReaderState::Empty | ReaderState::Reading | ReaderState::Card(_) => Ok(()),
            }
        }
    };
    let run = end(lane, trouble);
    judge_outcome(&outcome, trouble, run.happened, &told);
    let [_, puk, signature_pin] = operation.gives.map(|tries| tries > 0);
    let given = conditions::Given { puk, signature_pin };
    conditions::judge(&conditions, &lane.card().card().access_conditions(), given, &told);
    let after = tries(lane);
    for (place, gives) in operation.gives.into_iter().enumerate() {
        assert!(
            after[place] + gives >= before[place],
            "{told}: tries {before:?}, then {after:?}: {outcome:?}"
        );
    }
    assert!(after[0] > 0 || before[0] == 0, "{told}: the last try was spent unasked");
    // The owner is not stuck: it says something at once, the card being there or not.
    if let Err(error) = lane.run(|session| cnsd::card::random::random(session, 8).map(drop)).await {
        let in_words = matches!(error, CardError::NoCard | CardError::Removed | CardError::TimedOut)
            || matches!(error, CardError::Unknown(_) if operation.job.is_none());
        assert!(in_words, "{told}: afterwards {error:?}");
    }
    settle(lane, operation, outcome.is_ok(), trouble, &told).await;
    run
}

/// Puts the card in; on a busy machine the short limit may be too short for that.
async fn insert(lane: &mut Lane, trouble: Trouble, told: &str) {
    for _ in 0..10 {
        match lane.put_in().await {
            ReaderState::Card(_) => return,
            state @ (ReaderState::Empty | ReaderState::Reading | ReaderState::Unusable(_)) => {
                assert!(trouble.is_about_time(), "{told}: {state:?}");
            }
        }
    }
    panic!("{told}: the card is never read");
}

fn cause(lane: &Lane, trouble: Trouble) {
    let mut card = lane.card();
    // Counts from here.
    drop(card.card().take_work());
    match trouble {
        Trouble::At(position, fault) => card.plan(position, fault),
        Trouble::Worn(writes) => card.card().wear_out_after(writes),
        Trouble::Full => card.card().leave_memory(0),
    }
}

fn end(lane: &Lane, trouble: Trouble) -> Run {
    let mut card = lane.card();
    let happened = !matches!(trouble, Trouble::At(..)) || card.pending() == 0;
    card.clear_plan();
    let writes = card.card().take_work().writes;
    card.card().wear_out_after(u32::MAX);
    card.card().leave_memory(64 * 1024);
    Run { happened, writes }
}

fn judge_outcome(outcome: &Result<(), CardError>, trouble: Trouble, happened: bool, told: &str) {
    let Err(error) = outcome else {
        return;
    };
    let words = error.to_string();
    assert!(!matches!(error, CardError::Panicked) && !words.contains("inside the daemon"), "{told}: {words}");
    // Callers take that for a command that was never sent.
    assert!(!matches!(error, CardError::Command(_)), "{told}: {error:?}");
    assert!(happened || trouble.is_about_time(), "{told}: nothing happened, but {error:?}");
    if trouble.takes_the_card_out() {
        let gone = matches!(error, CardError::Removed | CardError::NoCard | CardError::Unknown(_));
        assert!(gone, "{told}: {error:?}");
    }
    if trouble.is_about_time() {
        let late = matches!(error, CardError::TimedOut | CardError::Removed | CardError::NoCard);
        assert!(late || matches!(error, CardError::Unknown(_)), "{told}: {error:?}");
    }
}

/// The card comes back: what the operation claimed is so, and what it did not finish can be finished.
async fn settle(lane: &mut Lane, operation: &Operation, claimed: bool, trouble: Trouble, told: &str) {
    let skip = claimed && operation.job.is_some_and(|job| std::ptr::fn_addr_eq(job, operation.settle));
    for step in [operation.settle, operation.done].into_iter().skip(usize::from(skip)) {
        for attempt in 0.. {
            insert(lane, trouble, told).await;
            lane.card().card().plan_keys(operations::spare_keys());
            match lane.run(step).await {
                Ok(()) => break,
                Err(CardError::TimedOut | CardError::Removed | CardError::NoCard)
                    if trouble.is_about_time() && attempt < 10 => {}
                Err(error) => panic!("{told}: cannot be settled: {error:?}"),
            }
        }
    }
    let [pin, puk, signature_pin] = tries(lane);
    assert_eq!(pin, 3, "{told}");
    assert!(puk >= 2 && signature_pin >= 2, "{told}");
}

/// The first pass pulls the card out after each command, and so learns how many there are and how often each writes.
async fn first_pass(fixture: &'static Fixture, operation: &Operation) -> (Vec<Trouble>, u64) {
    let mut lanes = Lanes::new();
    let mut found = Vec::new();
    let mut written = 0;
    for position in 0.. {
        let trouble = Trouble::At(position, Fault::PullOutAfter);
        let run = run(&mut lanes, fixture, operation, trouble).await;
        if !run.happened {
            found.extend((0..written).map(Trouble::Worn));
            found.push(Trouble::Full);
            return (found, position);
        }
        found.extend(troubles(position, run.writes - written));
        written = run.writes;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_survives_every_fault_at_every_command() {
    let fixture = Fixture::make().await;
    let operations: Arc<Vec<Operation>> = Arc::new(operations::all());
    let first = (0..operations.len()).map(|number| {
        let operations = Arc::clone(&operations);
        tokio::spawn(async move { first_pass(fixture, &operations[number]).await })
    });
    let mut queue = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut positions = 0;
    for (number, found) in first.collect::<Vec<_>>().into_iter().enumerate() {
        let (troubles, commands) = found.await.unwrap();
        println!("{}: {commands} commands", operations[number].name);
        positions += commands;
        *counts.entry("pulled after".to_owned()).or_default() += commands;
        queue.extend(troubles.into_iter().map(|trouble| (number, trouble)));
    }
    for (_, trouble) in &queue {
        *counts.entry(trouble.kind()).or_default() += 1;
    }
    let queue = Arc::new(Mutex::new(queue));
    let lanes = (0..LANES).map(|_| {
        let (operations, queue) = (Arc::clone(&operations), Arc::clone(&queue));
        tokio::spawn(async move {
            let mut lanes = Lanes::new();
            let next = || queue.lock().unwrap().pop();
            while let Some((number, trouble)) = next() {
                run(&mut lanes, fixture, &operations[number], trouble).await;
            }
        })
    });
    let mut failed = 0;
    for lane in lanes.collect::<Vec<_>>() {
        // The others go on, so that one look shows more than one failure.
        failed += usize::from(lane.await.is_err());
    }
    assert_eq!(failed, 0, "the matrix has failures, told above");
    let runs: u64 = counts.values().sum();
    println!(
        "{} operations × {positions} positions × {} faults = {runs} runs, all survived: {counts:?}",
        operations.len(),
        counts.len()
    );
    // Less would mean that the matrix has holes.
    assert!(operations.len() >= 28 && positions >= 80 && runs >= 1000, "{runs} runs");
}
