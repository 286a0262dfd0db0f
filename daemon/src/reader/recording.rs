//! A recording of what goes over a reader, for `card.trace`. Secrets and personal data never reach it
//! ([`cns_apdu::trace::Recorder`]).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cns_apdu::trace::{Recorder, Session};

/// How long a recording goes on that nobody asks for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The place for at most one recording.
#[derive(Default)]
pub(crate) struct Recording(Mutex<State>);

#[derive(Default)]
struct State {
    /// The answer to reset of the last card that was read.
    atr: Option<Vec<u8>>,
    last: u64,
    running: Option<Running>,
}

struct Running {
    number: u64,
    recorder: Recorder,
    asked: Instant,
}

/// What was recorded so far.
pub(crate) struct Recorded {
    pub(crate) atr: Option<Vec<u8>>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) is_full: bool,
}

impl Recording {
    /// Records an exchange, if a recording runs.
    pub(crate) fn exchange(&self, command: &[u8], answer: &[u8]) {
        self.with(|recorder| recorder.exchange(command, answer));
    }

    /// A card is being read.
    pub(crate) fn atr(&self, atr: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).atr = Some(atr.to_vec());
    }

    /// The card was reset, or another one came.
    pub(crate) fn reset(&self) {
        self.with(Recorder::reset);
    }

    /// Others may have used the card.
    pub(crate) fn gap(&self) {
        self.with(Recorder::gap);
    }

    fn with(&self, action: impl FnOnce(&mut Recorder)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.take_if(|running| running.asked.elapsed() > PATIENCE);
        if let Some(running) = &mut state.running {
            action(&mut running.recorder);
        }
    }

    /// Starts a recording; `None` while another one runs.
    pub(crate) fn start(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running.as_ref().is_some_and(|running| running.asked.elapsed() <= PATIENCE) {
            return None;
        }
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        let mut recorder = Recorder::new();
        recorder.gap();
        state.running = Some(Running { number, recorder, asked: Instant::now() });
        Some(number)
    }

    /// What the recording of this number has; `None` when it is over.
    pub(crate) fn recorded(&self, number: u64) -> Option<Recorded> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = state.running.as_mut().filter(|running| running.number == number)?;
        running.asked = Instant::now();
        let (sessions, is_full) = (running.recorder.sessions(), running.recorder.is_full());
        let atr = state.atr.clone();
        Some(Recorded { atr, sessions, is_full })
    }

    /// Ends the recording of this number.
    pub(crate) fn end(&self, number: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.take_if(|running| running.number == number);
    }
}

#[cfg(test)]
mod tests {
    use cns_apdu::trace::Trace;
    use cns_protocol::card::Recorded as Answer;
    use cns_protocol::frame::MAX_BODY;

    use super::*;

    #[test]
    fn the_fullest_recording_fits_into_one_message() {
        // Zeros are kept as they are: in long answers, and in many short ones.
        for length in [0, 1, 256, 65_536] {
            let recording = Recording::default();
            let number = recording.start().unwrap();
            let answer: Vec<u8> = std::iter::repeat_n(0, length).chain([0x90, 0x00]).collect();
            let recorded = loop {
                for _ in 0..100 {
                    recording.reset();
                    recording.exchange(&[0x00, 0xB0, 0x00, 0x00, 0x00], &answer);
                }
                let recorded = recording.recorded(number).unwrap();
                if recorded.is_full {
                    break recorded;
                }
            };
            let trace = Trace { sessions: recorded.sessions, ..Trace::default() };
            let answer = Answer { recording: number, text: trace.to_string(), is_full: true };
            let message = serde_json::to_vec(&answer).unwrap().len();
            assert!(message + 4096 < MAX_BODY, "{length}: {message}");
        }
    }
}
