//! The owner's side of a connection: gives the [`worker`] its orders and waits for a limited time.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use cns_secret::Secret;

use super::left_behind::{LeftBehind, Stage};
use super::worker::{self, Done, Order, Worker};
use crate::card::CardError;
use crate::reader::TimeLimits;
use crate::reader::device::{Device, Disposition, Link};
use crate::reader::owner::Opener;

/// How the owner of a reader connects to the card in it.
pub(super) fn opener(reader: CString, limits: TimeLimits, left: Arc<LeftBehind>) -> Opener {
    Box::new(move || {
        left.judge(&reader)?;
        let worker = worker::start(reader.clone())
            .map_err(|error| CardError::Reader(format!("no thread: {error}")))?;
        let mut connection = Connection {
            worker: Some(worker),
            atr: Vec::new(),
            reader: reader.clone(),
            limits,
            left: Arc::clone(&left),
        };
        if let Done::Connected(atr) = connection.wait(limits.command, Stage::Connect)? {
            connection.atr = atr;
        }
        Ok(Box::new(connection))
    })
}

/// A card in a PC/SC reader.
struct Connection {
    /// Absent once it was left behind or has ended by itself.
    worker: Option<Worker>,
    atr: Vec<u8>,
    reader: CString,
    limits: TimeLimits,
    left: Arc<LeftBehind>,
}

impl Connection {
    fn order(&mut self, order: Order, limit: Duration, stage: Stage) -> Result<Done, CardError> {
        let worker = self.worker.as_ref().ok_or(CardError::TimedOut)?;
        // A thread that is gone is noticed by the missing answer.
        worker.orders.send(order).ok();
        self.wait(limit, stage)
    }

    fn wait(&mut self, limit: Duration, stage: Stage) -> Result<Done, CardError> {
        let worker = self.worker.as_ref().ok_or(CardError::TimedOut)?;
        match worker.answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => {
                self.worker = None;
                Err(CardError::Removed)
            }
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(reader = %self.reader.to_string_lossy(), ?stage, "PC/SC does not answer in time");
                self.left.add(&self.reader, stage, worker.alive.clone());
                // Dropped with its channels, by which the thread knows.
                self.worker = None;
                Err(if stage == Stage::Begin { CardError::Held } else { CardError::TimedOut })
            }
        }
    }
}

impl Device for Connection {
    fn atr(&self) -> &[u8] {
        &self.atr
    }

    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError> {
        self.order(Order::Begin, self.limits.neighbour(), Stage::Begin)?;
        let disposition = work(self);
        let ended = self.order(Order::End(disposition), self.limits.command, Stage::Work);
        if ended.is_err() && disposition == Disposition::Reset {
            // The thread resets the card while it disconnects; the next piece of work waits for a new one.
            self.worker = None;
        }
        ended.map(drop)
    }

    fn is_usable(&self) -> bool {
        self.worker.is_some()
    }
}

impl Link for Connection {
    fn exchange(&mut self, command: &[u8], limit: Duration) -> Result<Vec<u8>, CardError> {
        let command = Secret::copy_from(command)?;
        match self.order(Order::Exchange(command), limit, Stage::Work)? {
            Done::Answered(answer) => Ok(answer),
            Done::Connected(_) | Done::Begun | Done::Ended => Err(CardError::Removed),
        }
    }
}
