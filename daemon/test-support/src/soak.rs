//! Many readers whose cards come and go at random while clients list and sign: no owner sticks, no event is lost, and
//! nothing is left behind.
//!
//! `CNS_SOAK_SEED` repeats a run; `CNS_SOAK_MINUTES` makes it long.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::reader::{Reader, ReaderState};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cnsd::card::{CardError, LastTry, sign};
use cnsd::reader::Readers;

use crate::plugged::{sample_card, secret};

/// As many as one pcscd has at most.
pub const READERS: usize = 16;

/// How long one event may take to be seen; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that sign.
const CLIENTS: u64 = 4;

/// What may grow, in bytes: far less than what any leak per step would take in a minute.
const TOLERANCE: u64 = 32 * 1024 * 1024;

/// SplitMix64: repeatable, and good enough to pick a reader.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    handles: usize,
    threads: usize,
    resident: u64,
}

impl Held {
    fn now() -> Self {
        let count = |folder| std::fs::read_dir(folder).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = resident.trim().trim_end_matches(" kB").trim().parse().unwrap();
        Self {
            handles: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            resident: kibibytes * 1024,
        }
    }
}

/// What a client that waits for changes has seen of each reader: its insertion's number, and whether a card is in it.
#[derive(Default)]
struct Seen {
    readers: BTreeMap<String, (u64, bool)>,
    changes: u64,
    wrong: Vec<String>,
}

impl Seen {
    fn note(&mut self, reader: &Reader) {
        let now = (reader.insertion, reader.state != ReaderState::Empty);
        if let Some(before) = self.readers.insert(reader.name.clone(), now) {
            if now.0 < before.0 || (now.1 != before.1 && now.0 == before.0) {
                self.wrong.push(format!("{}: {before:?} was followed by {now:?}", reader.name));
            }
            self.changes += u64::from(now != before);
        }
    }
}

/// How long cards come and go.
#[derive(Clone, Copy)]
pub enum Length {
    Steps(u64),
    Time(Duration),
}

/// What somebody else says who sees the same readers: in which of them there is a card.
pub type Witness = fn() -> BTreeMap<String, bool>;

/// What was done to the cards.
#[derive(Debug, Default)]
struct Moves {
    insertions: u64,
    removals: u64,
    /// Those of them that lasted until they were seen.
    lasted: u64,
}

struct Field {
    readers: Readers,
    witness: Option<Witness>,
    names: Vec<String>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
    signed: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
}

async fn sign_once(readers: &Readers, reader: &str) -> Result<Vec<u8>, CardError> {
    let job = |session: &mut cnsd::card::CardSession<'_>| {
        let (pin, mechanism) = (secret(sample::PIN), Mechanism::RsaPkcs1);
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &[1; 20])
    };
    readers.run(reader, None, job).await
}

/// Plugs a card into each end point in turn, to learn which reader that is, and takes it out again.
async fn warm_up(readers: &Readers, endpoints: &[Endpoint]) -> (Vec<Plugged>, Vec<String>) {
    let (mut cards, mut names) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let card = plug(sample_card(|_| {}), endpoint.clone()).unwrap();
        let name = until(readers, "a card that was read", |readers| {
            let found = readers.iter().find(|reader| matches!(reader.state, ReaderState::Card(_)));
            found.map(|reader| reader.name.clone())
        })
        .await;
        sign_once(readers, &name).await.unwrap();
        take_out(&card).await;
        all_empty(readers).await;
        cards.push(card);
        names.push(name);
    }
    (cards, names)
}

async fn take_out(card: &Plugged) {
    tokio::task::block_in_place(|| card.pull_out());
}

async fn until<T>(readers: &Readers, what: &str, found: impl Fn(&[Reader]) -> Option<T>) -> T {
    let ends = Instant::now() + PATIENCE;
    let mut list = readers.list();
    loop {
        if let Some(found) = found(&list.readers) {
            return found;
        }
        assert!(Instant::now() < ends, "never: {what}; now {list:?}");
        list = readers.wait(list.change, Duration::from_millis(500)).await;
    }
}

async fn all_empty(readers: &Readers) {
    until(readers, "empty readers", |readers| {
        readers.iter().all(|reader| reader.state == ReaderState::Empty).then_some(())
    })
    .await;
}

/// A client that waits for changes.
async fn watch(field: Arc<Field>) {
    let mut list = field.readers.list();
    while !field.stop.load(Ordering::Relaxed) {
        {
            let mut seen = field.seen.lock().unwrap();
            list.readers.iter().for_each(|reader| seen.note(reader));
        }
        list = field.readers.wait(list.change, Duration::from_millis(200)).await;
    }
}

/// A client that signs with whatever card there is. A card that is just gone is refused in words; nothing else may
/// go wrong.
async fn client(field: Arc<Field>, mut dice: Dice) {
    while !field.stop.load(Ordering::Relaxed) {
        let name = &field.names[usize::try_from(dice.roll(READERS as u64)).unwrap()];
        match sign_once(&field.readers, name).await {
            Ok(_) => {
                field.signed.fetch_add(1, Ordering::Relaxed);
            }
            Err(
                error @ (CardError::NoCard
                | CardError::Removed
                | CardError::Swapped
                | CardError::Reset
                | CardError::NoAnswer
                | CardError::Reader(_)
                | CardError::Unknown(_)),
            ) => {
                *field.refused.lock().unwrap().entry(error.to_string()).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => {
                field.wrong.lock().unwrap().push(format!("{name}: {error}"));
                return;
            }
        }
    }
}

/// Runs the whole; at the end the readers are empty again.
pub async fn soak(readers: &Readers, endpoints: &[Endpoint], length: Length, witness: Option<Witness>) {
    let setting = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = setting("CNS_SOAK_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    let minutes = setting("CNS_SOAK_MINUTES").map(|minutes| Length::Time(Duration::from_secs(60 * minutes)));
    println!("seed {seed} (CNS_SOAK_SEED), {} readers", endpoints.len());
    let (cards, names) = warm_up(readers, endpoints).await;
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), endpoints.len());
    let before = Held::now();
    let field = Arc::new(Field {
        readers: readers.clone(),
        witness,
        names,
        seen: Mutex::default(),
        stop: AtomicBool::new(false),
        signed: AtomicU64::new(0),
        refused: Mutex::default(),
        wrong: Mutex::default(),
    });
    let mut tasks = vec![tokio::spawn(watch(Arc::clone(&field)))];
    for number in 1..=CLIENTS {
        tasks.push(tokio::spawn(client(Arc::clone(&field), Dice(seed.wrapping_add(number)))));
    }
    let moves = shuffle(&field, &cards, Dice(seed), minutes.unwrap_or(length)).await;
    everything_answers(&field, &cards).await;
    agreed(&field).await;
    field.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    for card in &cards {
        take_out(card).await;
    }
    all_empty(readers).await;
    agreed(&field).await;
    let after = settled(before).await;
    println!(
        "{moves:?}; {} changes seen; {} signatures; refused: {:?}",
        field.seen.lock().unwrap().changes,
        field.signed.load(Ordering::Relaxed),
        field.refused.lock().unwrap()
    );
    println!("before {before:?}, after {after:?}");
    assert_eq!(*field.wrong.lock().unwrap(), Vec::<String>::new());
    assert_eq!(field.seen.lock().unwrap().wrong, Vec::<String>::new());
    assert!(field.signed.load(Ordering::Relaxed) > 0, "nobody signed anything");
    assert!(after.handles <= before.handles && after.threads <= before.threads, "something was left behind");
    assert!(after.resident <= before.resident + TOLERANCE, "memory was left behind");
}

/// Takes cards out and puts them in. What lasts must be seen by the client that waits.
async fn shuffle(field: &Field, cards: &[Plugged], mut dice: Dice, length: Length) -> Moves {
    let mut inside = vec![false; cards.len()];
    let (mut moves, began) = (Moves::default(), Instant::now());
    let goes_on = |moves: &Moves| match length {
        Length::Steps(steps) => moves.insertions + moves.removals < steps,
        Length::Time(time) => began.elapsed() < time,
    };
    while goes_on(&moves) {
        let chosen = usize::try_from(dice.roll(cards.len() as u64)).unwrap();
        if inside[chosen] {
            take_out(&cards[chosen]).await;
            moves.removals += 1;
        } else {
            cards[chosen].put_in();
            moves.insertions += 1;
        }
        inside[chosen] = !inside[chosen];
        if dice.roll(3) == 0 {
            moves.lasted += 1;
            let (name, wanted) = (&field.names[chosen], inside[chosen]);
            let ends = Instant::now() + PATIENCE;
            while field.seen.lock().unwrap().readers.get(name).is_none_or(|(_, present)| *present != wanted) {
                if Instant::now() > ends {
                    let list = field.readers.list().readers;
                    let now = list.iter().find(|reader| reader.name == *name);
                    let connected = cards[chosen].is_connected();
                    let other = field.witness.and_then(|witness| witness().get(name).copied());
                    panic!(
                        "{name}: that a card is in ({wanted}, {connected}) or out was not seen; now {now:?}; the witness: {other:?}"
                    );
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            tokio::time::sleep(Duration::from_millis(dice.roll(60))).await;
        }
    }
    moves
}

/// What is listed is what the witness sees.
async fn agreed(field: &Field) {
    let Some(witness) = field.witness else { return };
    let ends = Instant::now() + PATIENCE;
    loop {
        let truth = tokio::task::block_in_place(witness);
        let list = field.readers.list().readers;
        let ours = list.iter().map(|r| (r.name.clone(), r.state != ReaderState::Empty)).collect();
        if truth == ours {
            return;
        }
        assert!(Instant::now() < ends, "the witness sees {truth:?}, and listed is {ours:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// With all cards in, each reader lists its card, at the number that the waiting client sees, and signs.
async fn everything_answers(field: &Field, cards: &[Plugged]) {
    for card in cards.iter().filter(|card| !card.is_connected()) {
        card.put_in();
    }
    until(&field.readers, "a card in each reader", |readers| {
        readers.iter().all(|reader| matches!(reader.state, ReaderState::Card(_))).then_some(())
    })
    .await;
    for name in &field.names {
        // An owner that is stuck never answers.
        sign_once(&field.readers, name).await.unwrap();
    }
    let truth: BTreeMap<_, _> =
        field.readers.list().readers.into_iter().map(|r| (r.name, r.insertion)).collect();
    let ends = Instant::now() + PATIENCE;
    loop {
        let seen: BTreeMap<_, _> =
            field.seen.lock().unwrap().readers.iter().map(|(name, (at, _))| (name.clone(), *at)).collect();
        if seen == truth {
            return;
        }
        assert!(Instant::now() < ends, "seen {seen:?}, but true is {truth:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is held once threads that are ending have ended.
async fn settled(before: Held) -> Held {
    let ends = Instant::now() + PATIENCE;
    loop {
        let now = Held::now();
        if (now.handles <= before.handles && now.threads <= before.threads) || Instant::now() > ends {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
