//! The owner's side of a connection: gives the [`worker`] its orders and waits for a limited time.

use std::ffi::CString;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use cns_apdu::StatusWord;
use cns_apdu::pin_pad::answer;
use cns_secret::Secret;

use super::left_behind::{LeftBehind, Stage};
use super::worker::{self, Done, Order, Worker};
use crate::card::CardError;
use crate::reader::TimeLimits;
use crate::reader::device::{Device, Disposition, Link};
use crate::reader::owner::Opener;
use crate::reader::pin_pad::{PinOrder, PinPadState, status_word};

/// How the owner of a reader connects to the card in it.
pub(super) fn opener(
    reader: CString,
    limits: TimeLimits,
    left: Arc<LeftBehind>,
    pin_pad: Arc<PinPadState>,
) -> Opener {
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
            pin_pad: Arc::clone(&pin_pad),
            silent: false,
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
    pin_pad: Arc<PinPadState>,
    /// Whether the last command of this transaction had no answer.
    silent: bool,
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

impl Connection {
    /// Asks the reader for its keypad, inside a transaction. A reader that does not answer that hangs.
    fn ask_for_pin_pad(&mut self) -> Result<(), CardError> {
        match self.order(Order::AskForPinPad, self.limits.command, Stage::Work) {
            Ok(Done::HasPinPad(Some(pad))) => self.pin_pad.learn(pad),
            Ok(_) => {}
            Err(error) => {
                if !matches!(error, CardError::TimedOut) {
                    // The card went: that says nothing about the reader.
                    self.pin_pad.forget_question();
                }
                if self.is_usable() {
                    self.order(Order::End(Disposition::Leave), self.limits.command, Stage::Work)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Device for Connection {
    fn atr(&self) -> &[u8] {
        &self.atr
    }

    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError> {
        self.order(Order::Begin, self.limits.neighbour(), Stage::Begin)?;
        if self.pin_pad.ask() {
            self.ask_for_pin_pad()?;
        }
        self.silent = false;
        let disposition = work(self);
        // Another card may be there already: pcscd does not see one that comes and goes between two of its looks.
        let silent = mem::take(&mut self.silent);
        let disposition = if silent { Disposition::Reset } else { disposition };
        let ended = self.order(Order::End(disposition), self.limits.command, Stage::Work);
        if ended.is_err() && disposition == Disposition::Reset {
            // The thread resets the card while it disconnects; the next piece of work waits for a new one.
            self.worker = None;
        }
        if silent && ended.is_ok() {
            self.worker = None;
            return Err(CardError::NoAnswer);
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
        let answer = match self.order(Order::Exchange(command), limit, Stage::Work) {
            Ok(Done::Answered(mut answer)) => Ok(mem::take(&mut *answer)),
            Ok(Done::Connected(_) | Done::Begun | Done::HasPinPad(_) | Done::Reset | Done::Ended) => {
                Err(CardError::Removed)
            }
            Err(error) => Err(error),
        };
        self.silent = matches!(answer, Err(CardError::NoAnswer));
        answer
    }

    fn enter_pin(&mut self, order: PinOrder) -> Result<StatusWord, CardError> {
        let failed = |why: &str| CardError::PinPadFailed { why: why.to_owned(), tries_left: None };
        let pad = self.pin_pad.get().ok_or(CardError::NoPinPad)?;
        let code = match order {
            PinOrder::Verify(_) => pad.verify,
            PinOrder::Change(_) | PinOrder::Reset(_) => pad.modify.ok_or(CardError::NoPinPad)?,
        };
        let bytes = order.encode(&pad, self.limits.pin_entry).map_err(|error| failed(&error.to_string()))?;
        let limit = self.limits.pin_entry.saturating_mul(order.entries()).saturating_add(self.limits.command);
        let outcome = match self.order(Order::EnterPin(code, bytes), limit, Stage::Work) {
            Ok(Done::Answered(answer)) => match status_word(&answer) {
                Some(answer::INVALID_STRUCTURE) => {
                    Err(failed("it does not understand the order to take a PIN"))
                }
                Some(status) => Ok(status),
                None => Err(failed("its answer makes no sense")),
            },
            Ok(Done::Connected(_) | Done::Begun | Done::HasPinPad(_) | Done::Reset | Done::Ended) => {
                Err(CardError::Removed)
            }
            Err(error) => Err(error),
        };
        if matches!(outcome, Err(CardError::TimedOut)) {
            self.pin_pad.distrust("it does not answer");
        }
        outcome
    }

    fn reset(&mut self, limit: Duration) -> Result<(), CardError> {
        self.order(Order::Reset, limit, Stage::Work).map(drop)
    }
}
