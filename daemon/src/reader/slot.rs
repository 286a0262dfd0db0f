//! What the rest of the daemon sees of a reader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aws_lc_rs::rand;
use cns_protocol::pin::PinName;
use cns_protocol::reader::{CardFace, Reader, ReaderKind, ReaderState, Readers};
use tokio::sync::watch;

use super::ReaderError;
use super::device::{Meter, TimeLimits};
use super::owner::{self, Event, Opener};
use super::pin_pad::{Entry, PinPadState};
use crate::card::{CardContents, CardError};

/// Jobs that may wait for one reader.
const MOST_WAITING: usize = 64;

/// All readers by name, and the counter of changes.
pub(crate) struct Slots {
    /// Tells this daemon from the one that ran before it.
    instance: String,
    slots: RwLock<BTreeMap<String, Arc<Slot>>>,
    change: watch::Sender<u64>,
    limits: TimeLimits,
    /// Above every insertion of a reader that is no more: one that comes back never repeats a number.
    retired: AtomicU64,
}

impl Slots {
    pub(crate) fn new(limits: TimeLimits) -> Result<Arc<Self>, ReaderError> {
        let mut instance = [0; 16];
        rand::fill(&mut instance).map_err(|_| ReaderError::Random)?;
        Ok(Arc::new(Self {
            instance: hex::encode(instance),
            slots: RwLock::default(),
            change: watch::Sender::new(1),
            limits,
            retired: AtomicU64::new(0),
        }))
    }

    /// Adds a reader and starts its owner.
    pub(crate) fn add(self: &Arc<Self>, name: &str, kind: ReaderKind) -> Result<Arc<Slot>, ReaderError> {
        let (events, queue) = std::sync::mpsc::channel();
        let slot = Slot::new(name, kind, self.limits, self.change.clone(), events);
        slot.lock().insertion = self.retired.load(Ordering::Relaxed);
        let slot = Arc::new(slot);
        owner::start(Arc::clone(&slot), queue).map_err(ReaderError::Thread)?;
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&slot));
        self.changed();
        Ok(slot)
    }

    /// Takes a reader away.
    pub(crate) fn remove(&self, name: &str) {
        let removed = self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(slot) = removed {
            slot.stop(Ending::Gone);
            self.retired.fetch_max(slot.insertion().saturating_add(1), Ordering::Relaxed);
            self.changed();
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.change.subscribe()
    }

    pub(crate) fn list(&self) -> Readers {
        // The counter first: what changes after it is listed too early, never too late.
        let change = *self.change.borrow();
        let readers = self.all().iter().map(|slot| slot.reader()).collect();
        Readers { instance: self.instance.clone(), change, readers }
    }

    pub(crate) fn stop(&self) {
        for slot in self.all() {
            slot.stop(Ending::Stopped);
        }
    }

    fn changed(&self) {
        self.change.send_modify(|change| *change = change.wrapping_add(1));
    }
}

/// What the chip told about the tries left on a PIN or PUK since the card came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// All of them: the right value was the last one given.
    All,
    /// So many.
    Left(u8),
}

impl Known {
    /// How many are left, where that was told.
    const fn left(self) -> Option<u8> {
        match self {
            Self::Left(tries) => Some(tries),
            Self::Nothing | Self::All => None,
        }
    }
}

/// What is known of each PIN and PUK; forgotten when the card goes.
#[derive(Clone, Copy, Default)]
struct Tries {
    cns_pin: Known,
    cns_puk: Known,
    signature_pin: Known,
    signature_puk: Known,
}

impl Tries {
    fn of(&mut self, which: PinName, is_puk: bool) -> &mut Known {
        match (which, is_puk) {
            (PinName::Cns, false) => &mut self.cns_pin,
            (PinName::Cns, true) => &mut self.cns_puk,
            (PinName::Signature, false) => &mut self.signature_pin,
            (PinName::Signature, true) => &mut self.signature_puk,
        }
    }
}

/// What is in a reader.
#[derive(Clone, Default)]
enum Inside {
    #[default]
    Nothing,
    Reading,
    Card(Arc<CardContents>),
    Unusable(Unusable),
}

/// Why the card in a reader cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The card itself is the reason: in words.
    Card(String),
    /// Another program is connected to it alone.
    Exclusive,
    /// Another program's transaction does not end.
    Held,
    /// The reader hangs.
    NotAnswering,
}

impl Unusable {
    /// As a job is told.
    pub(crate) fn error(&self) -> CardError {
        match self {
            Self::Card(words) => CardError::Unknown(words.clone()),
            Self::Exclusive => CardError::Exclusive,
            Self::Held => CardError::Held,
            Self::NotAnswering => CardError::NotAnswering,
        }
    }
}

/// Why a reader works no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The daemon stops.
    Stopped,
    /// The reader is gone.
    Gone,
}

#[derive(Default)]
struct State {
    ending: Option<Ending>,
    insertion: u64,
    inside: Inside,
    face: Option<CardFace>,
    contents_reads: u64,
    tries: Tries,
}

/// A reader.
pub(crate) struct Slot {
    name: String,
    kind: ReaderKind,
    limits: TimeLimits,
    change: watch::Sender<u64>,
    events: Sender<Event>,
    waiting: AtomicUsize,
    meter: Meter,
    pin_pad: Arc<PinPadState>,
    state: Mutex<State>,
}

impl Slot {
    fn new(
        name: &str,
        kind: ReaderKind,
        limits: TimeLimits,
        change: watch::Sender<u64>,
        events: Sender<Event>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            limits,
            pin_pad: PinPadState::new(change.clone()),
            change,
            events,
            waiting: AtomicUsize::new(0),
            meter: Meter::default(),
            state: Mutex::default(),
        }
    }

    /// A reader without an owner, of which nobody hears.
    pub(crate) fn alone(name: &str, kind: ReaderKind, limits: TimeLimits) -> Self {
        let (events, _) = std::sync::mpsc::channel();
        Self::new(name, kind, limits, watch::Sender::new(1), events)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn kind(&self) -> ReaderKind {
        self.kind
    }

    pub(crate) fn limits(&self) -> TimeLimits {
        self.limits
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The reader's keypad.
    pub(crate) fn pin_pad(&self) -> &Arc<PinPadState> {
        &self.pin_pad
    }

    /// Queues an event for the owner; not while somebody types on the reader, which may take long.
    pub(crate) fn send(&self, event: Event) -> Result<(), CardError> {
        if self.pin_pad.is_entering() { Err(CardError::PinEntry) } else { self.queue(event) }
    }

    /// Queues an event of whoever has the keypad.
    pub(crate) fn send_with(&self, _: &Entry, event: Event) -> Result<(), CardError> {
        self.queue(event)
    }

    fn queue(&self, event: Event) -> Result<(), CardError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.done();
            return Err(CardError::Busy);
        }
        self.events.send(event).map_err(|_| {
            self.done();
            self.ended()
        })
    }

    /// Why no job is to be begun any more; nothing while the reader works.
    pub(crate) fn refusal(&self) -> Option<CardError> {
        let ending = self.lock().ending;
        ending.map(|ending| match ending {
            Ending::Stopped => CardError::Stopped,
            Ending::Gone => CardError::ReaderGone,
        })
    }

    /// Why a job that was queued got no answer.
    pub(crate) fn ended(&self) -> CardError {
        self.refusal().unwrap_or(CardError::Stopped)
    }

    /// One queued event less.
    pub(crate) fn done(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the owner after the job that it works on; jobs that wait are refused.
    fn stop(&self, ending: Ending) {
        self.lock().ending.get_or_insert(ending);
        self.events.send(Event::Stop).ok();
    }

    /// A card came: gives the number of its insertion.
    pub(crate) fn inserted(&self, open: Opener) -> u64 {
        let insertion = {
            let mut state = self.lock();
            state.insertion = state.insertion.wrapping_add(1);
            state.inside = Inside::Reading;
            state.face = None;
            state.tries = Tries::default();
            state.insertion
        };
        self.changed();
        // A stopped owner needs no cards.
        self.events.send(Event::Inserted { insertion, open }).ok();
        insertion
    }

    /// The card of this insertion is gone. Told twice, it counts once.
    pub(crate) fn removed(&self, insertion: u64) {
        {
            let mut state = self.lock();
            if state.insertion != insertion || matches!(state.inside, Inside::Nothing) {
                return;
            }
            state.insertion = state.insertion.wrapping_add(1);
            state.inside = Inside::Nothing;
            state.face = None;
            state.tries = Tries::default();
        }
        self.changed();
        self.events.send(Event::Removed { insertion }).ok();
    }

    /// Counts a reading of the contents, and notes the face that is reached.
    pub(crate) fn reading(&self, insertion: u64, face: CardFace) {
        let mut state = self.lock();
        if state.insertion == insertion {
            state.face = Some(face);
            state.contents_reads = state.contents_reads.saturating_add(1);
        }
    }

    /// What reading the card of this insertion brought; tells whether that is news.
    pub(crate) fn read(&self, insertion: u64, outcome: Result<Arc<CardContents>, Unusable>) -> bool {
        {
            let mut state = self.lock();
            if state.insertion != insertion {
                return false;
            }
            state.inside = match (outcome, &state.inside) {
                (Ok(contents), _) => Inside::Card(contents),
                (Err(why), Inside::Unusable(known)) if why == *known => return false,
                (Err(why), _) => Inside::Unusable(why),
            };
        }
        self.changed();
        true
    }

    pub(crate) fn insertion(&self) -> u64 {
        self.lock().insertion
    }

    pub(crate) fn card(&self) -> Result<Arc<CardContents>, CardError> {
        match &self.lock().inside {
            Inside::Nothing | Inside::Reading => Err(CardError::NoCard),
            Inside::Card(contents) => Ok(Arc::clone(contents)),
            Inside::Unusable(why) => Err(why.error()),
        }
    }

    /// Why a job that meant this insertion cannot run any more; nothing when it can.
    pub(crate) fn judge_insertion(&self, meant: Option<u64>) -> Result<(), CardError> {
        let state = self.lock();
        match (meant, &state.inside) {
            (Some(meant), Inside::Nothing) if meant != state.insertion => Err(CardError::Removed),
            (Some(meant), _) if meant != state.insertion => Err(CardError::Swapped),
            (_, _) => Ok(()),
        }
    }

    /// Tries left as far as the chip told since the insertion.
    pub(crate) fn tries(&self, which: PinName, is_puk: bool) -> Known {
        *self.lock().tries.of(which, is_puk)
    }

    /// What the chip told about the tries left.
    pub(crate) fn set_tries(&self, insertion: u64, which: PinName, is_puk: bool, tries: Known) {
        {
            let mut state = self.lock();
            if state.insertion != insertion || *state.tries.of(which, is_puk) == tries {
                return;
            }
            *state.tries.of(which, is_puk) = tries;
        }
        self.changed();
    }

    fn reader(&self) -> Reader {
        let state = self.lock();
        let inside = match &state.inside {
            Inside::Nothing => ReaderState::Empty,
            Inside::Reading => ReaderState::Reading,
            Inside::Card(contents) => {
                let mut card = contents.card.clone();
                card.pin_tries_left = state.tries.cns_pin.left();
                card.puk_tries_left = state.tries.cns_puk.left();
                ReaderState::Card(Box::new(card))
            }
            Inside::Unusable(why) => ReaderState::Unusable(why.error().to_string()),
        };
        Reader {
            name: self.name.clone(),
            kind: self.kind,
            insertion: state.insertion,
            state: inside,
            face: state.face,
            pin_pad: self.pin_pad.get().is_some(),
            traffic: self.meter.traffic(),
            contents_reads: state.contents_reads,
        }
    }

    fn changed(&self) {
        self.change.send_modify(|change| *change = change.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
