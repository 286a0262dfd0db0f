//! The thread that sees readers and cards of pcscd come and go.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cns_protocol::reader::ReaderKind;
use pcsc::{Context, Error, PNP_NOTIFICATION, ReaderState, Scope, State};

use super::connection::opener;
use super::left_behind::LeftBehind;
use super::power_up::PowerUp;
use super::watched::{Report, Watched};
use crate::reader::{ReaderError, Slot, Slots, Stopper};

/// How long one wait for a change lasts at most: what pcscd does not report (a cancellation between two waits, a card
/// that was found gone, a reader that became empty without an event) is noticed then. So is what another connection's
/// answer has covered up: libpcsclite has one table of reader states for all of a process. Costs six requests to pcscd
/// and four answers of 2,944 bytes.
const WAIT: Duration = Duration::from_secs(2);
/// The shortest such wait.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// Readers that pcscd has at most, and entries that one wait takes (`PCSCLITE_MAX_READERS_CONTEXTS`).
const MOST_READERS: usize = 16;
/// The first and the longest pause before an absent pcscd is looked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// Starts the monitor.
pub(crate) fn start(slots: &Arc<Slots>) -> Result<Stopper, ReaderError> {
    let stop = Arc::new(Stop::default());
    let mut monitor = Monitor {
        slots: Arc::clone(slots),
        stop: Arc::clone(&stop),
        known: BTreeMap::new(),
        left: Arc::default(),
    };
    let run = move || monitor.run();
    thread::Builder::new().name("pcsc".to_owned()).spawn(run).map_err(ReaderError::Thread)?;
    Ok(Box::new(move || stop.stop()))
}

/// Tells the monitor to end.
#[derive(Default)]
struct Stop {
    state: Mutex<StopState>,
    told: Condvar,
}

#[derive(Default)]
struct StopState {
    stopped: bool,
    context: Option<Context>,
}

impl Stop {
    fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
        self.told.notify_all();
        if let Some(context) = &state.context {
            let context = context.clone();
            // When pcscd is gone there is no wait to cancel either; when it hangs, this thread would hang with it.
            let cancel = move || context.cancel().unwrap_or_default();
            thread::Builder::new().name("pcsc-cancel".to_owned()).spawn(cancel).ok();
        }
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }

    fn watch(&self, context: Option<Context>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).context = context;
    }

    fn pause(&self, pause: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Woken early or late, the caller looks again.
        drop(self.told.wait_timeout_while(state, pause, |state| !state.stopped));
    }
}

/// A reader that pcscd has.
struct Known {
    slot: Arc<Slot>,
    /// The number of the last insertion that was told of.
    insertion: u64,
    watched: Watched,
    power_up: PowerUp,
}

struct Monitor {
    slots: Arc<Slots>,
    stop: Arc<Stop>,
    known: BTreeMap<CString, Known>,
    left: Arc<LeftBehind>,
}

impl Monitor {
    fn run(&mut self) {
        let (first, longest) = PAUSES;
        let mut pause = first;
        let mut last = None;
        while !self.stop.is_stopped() {
            let ended = Context::establish(Scope::System).and_then(|context| {
                pause = first;
                last = None;
                self.stop.watch(Some(context.clone()));
                self.watch(&context)
            });
            self.stop.watch(None);
            self.forget_all();
            if let Err(error) = ended
                && last.replace(error) != Some(error)
            {
                tracing::warn!(%error, "PC/SC is not there; it is looked for again");
            }
            self.stop.pause(pause);
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    fn watch(&mut self, context: &Context) -> Result<(), Error> {
        let mut states = vec![ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)];
        while !self.stop.is_stopped() {
            self.refresh(context, &mut states)?;
            for state in &mut states {
                state.sync_current_state();
            }
            // With all readers that there can be, no place is left to wait for a new one, and none can come.
            let first = usize::from(states.len() > MOST_READERS);
            let watched = states.get_mut(first..).unwrap_or_default();
            let wait = self.wait();
            match context.get_status_change(wait, watched) {
                Ok(()) | Err(Error::Timeout | Error::Cancelled) => {
                    for state in &states {
                        self.look(state);
                    }
                }
                // A reader that went between the list and the wait is seen by the next list; of the others nothing was
                // told. Should the two lists disagree for longer, pcscd is not asked without a pause.
                Err(Error::UnknownReader) => self.stop.pause(SHORTEST_WAIT),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Brings the list of readers up to date.
    fn refresh(&mut self, context: &Context, states: &mut Vec<ReaderState>) -> Result<(), Error> {
        let names = match context.list_readers_owned() {
            Ok(names) => names,
            Err(Error::NoReadersAvailable) => Vec::new(),
            Err(error) => return Err(error),
        };
        states
            .retain(|state| state.name() == PNP_NOTIFICATION() || names.iter().any(|n| **n == *state.name()));
        let gone: Vec<CString> = self.known.keys().filter(|known| !names.contains(known)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        for name in names {
            if !self.known.contains_key(&name) {
                match self.slots.add(&name.to_string_lossy(), ReaderKind::Pcsc) {
                    Ok(slot) => {
                        self.known.insert(
                            name.clone(),
                            Known {
                                slot,
                                insertion: 0,
                                watched: Watched::default(),
                                power_up: PowerUp::default(),
                            },
                        );
                    }
                    Err(error) => tracing::error!(%error, "a reader cannot be used"),
                }
            }
            if states.iter().all(|state| state.name() != name.as_c_str()) {
                states.push(ReaderState::new(name, State::UNAWARE));
            }
        }
        Ok(())
    }

    /// How long to wait for a change.
    fn wait(&self) -> Duration {
        let due = self.known.values().filter_map(|known| known.watched.due()).min();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        left.map_or(WAIT, |left| left.clamp(SHORTEST_WAIT, WAIT))
    }

    /// Compares what pcscd says of a reader with what is known.
    fn look(&mut self, state: &ReaderState) {
        let Some(known) = self.known.get_mut(state.name()) else {
            return;
        };
        let event = state.event_state();
        if event.is_empty() {
            return;
        }
        let report = Report {
            present: event.contains(State::PRESENT),
            mute: event.contains(State::MUTE),
            events: state.event_count(),
        };
        let held = known.slot.insertion() == known.insertion;
        let steps = known.watched.look(report, held, Instant::now());
        if steps.removed {
            known.slot.removed(known.insertion);
        }
        if steps.inserted {
            known.insertion = known.slot.inserted(opener(
                state.name().to_owned(),
                known.slot.limits(),
                Arc::clone(&self.left),
                Arc::clone(known.slot.pin_pad()),
            ));
        }
        // Where another call hangs, this one would.
        if steps.power_up && self.left.judge(state.name()).is_ok() {
            known.power_up.start(state.name().to_owned());
        }
    }

    fn forget(&mut self, name: &CStr) {
        if let Some(known) = self.known.remove(name) {
            // Not as a card that was taken out: jobs that wait are told that the reader is gone.
            self.slots.remove(known.slot.name());
        }
    }

    fn forget_all(&mut self) {
        let names: Vec<CString> = self.known.keys().cloned().collect();
        for name in names {
            self.forget(&name);
        }
    }
}
