//! The queue of a reader's owner, and who may come into a transaction that is open.
//!
//! Behind pcscd a transaction costs far more than its commands: the card is selected anew, the PIN presented, and all is
//! reset in the end, which takes a reader some 50 to 200 ms. So one that a login's use has opened waits a moment for the
//! next use of a login. It stays closed to every other program meanwhile, and what it opened is reset when it ends.

use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::owner::{Event, Job};
use super::slot::Slot;

/// How long an open transaction waits for the next use of a login.
const LINGER: Duration = Duration::from_millis(100);

/// How long it is open in all: no further use of a login is begun after this, so that another program's turn comes too.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// How long the reader is then left to others: pcsc-lite's clients that wait for a transaction ask every 100 ms.
const TURN: Duration = Duration::from_millis(150);

/// What an owner is told, in order.
pub(crate) struct Queue {
    events: Receiver<Event>,
    /// What was taken out and has to wait until the transaction has ended.
    put_back: Option<Event>,
    /// Whether it is another program's turn.
    owes_turn: bool,
}

impl Queue {
    /// A queue of these events.
    pub(crate) const fn new(events: Receiver<Event>) -> Self {
        Self { events, put_back: None, owes_turn: false }
    }

    /// The next event, waiting until `limit`, or for ever.
    pub(crate) fn next(&mut self, limit: Option<Instant>) -> Result<Event, RecvTimeoutError> {
        if std::mem::take(&mut self.owes_turn) {
            thread::sleep(TURN);
        }
        // However many jobs come: the time is kept.
        let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(RecvTimeoutError::Timeout);
        }
        match (self.put_back.take(), left) {
            (Some(event), _) => Ok(event),
            (None, Some(left)) => self.events.recv_timeout(left),
            (None, None) => self.events.recv().map_err(|RecvError| RecvTimeoutError::Disconnected),
        }
    }

    /// The next use of a login to the card of this insertion, if nothing else comes before it, and not after `ends`.
    pub(crate) fn next_use(&mut self, slot: &Slot, insertion: u64, ends: Instant) -> Option<Job> {
        let left = ends.saturating_duration_since(Instant::now()).min(LINGER);
        if left.is_zero() {
            self.owes_turn = true;
            return None;
        }
        match self.events.recv_timeout(left) {
            Ok(Event::Job { insertion: meant, job, uses_login: true })
                if meant.is_none_or(|meant| meant == insertion)
                    && slot.insertion() == insertion
                    && slot.refusal().is_none() =>
            {
                Some(job)
            }
            Ok(Event::Release) => {
                slot.done();
                None
            }
            Ok(event) => {
                self.put_back = Some(event);
                None
            }
            // When its senders are gone the owner learns of it next.
            Err(_) => None,
        }
    }
}
