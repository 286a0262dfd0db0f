//! The readers: one owner per reader, and what is in each.
//!
//! A reader is a [`slot::Slot`] (what the rest of the daemon sees), an [`owner`] thread that alone talks to the card,
//! and whoever watches for cards: [`pcsc`]'s monitor or [`vpcd`]'s listener. Public contents are read once per
//! insertion; everything else is a job, queued by [`Readers::run`] and executed inside one transaction.

mod device;
pub mod direct;
mod owner;
pub mod pcsc;
mod pin_pad;
mod queue;
mod recording;
mod slot;
mod spec;
mod vpcd;

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::reader;
use cns_protocol::rpc::Traffic;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

pub use self::device::{Budget, TimeLimits};
pub(crate) use self::device::{Disposition, Metered};
use self::owner::Event;
pub(crate) use self::pin_pad::PinOrder;
use self::slot::Unusable;
pub(crate) use self::slot::{Known, Slot, Slots};
pub use self::spec::{ReaderSpec, VpcdAddress};
use crate::card::{CardContents, CardError, CardSession, report};

/// Why the readers cannot be started.
#[derive(Debug, Error)]
pub enum ReaderError {
    /// A reader's text in the configuration makes no sense.
    #[error("`{0}` is no reader: write `pcsc`, `vpcd:HOST:PORT` or `vpcd:/path/to/socket`")]
    Spec(String),
    /// A vpcd listener for other machines.
    #[error("`{0}` is not on loopback: a vpcd reader may only listen there")]
    NotLoopback(String),
    /// The same reader twice.
    #[error("the reader `{0}` is configured twice")]
    Twice(String),
    /// A live program holds the socket.
    #[error("another program listens on {0}")]
    InUse(String),
    /// Something that is no socket stands in the place of the socket.
    #[error("{0} exists and is no socket")]
    NotASocket(String),
    /// The listener cannot be made.
    #[error("cannot listen on {name}: {source}")]
    Listen {
        /// The reader's name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a reader's thread: {0}")]
    Thread(std::io::Error),
    /// The system gives no random numbers.
    #[error("no random numbers can be had")]
    Random,
}

/// Ends what watches for cards.
type Stopper = Box<dyn Fn() + Send + Sync>;

/// All readers of the daemon.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

struct Shared {
    slots: Arc<Slots>,
    stoppers: Vec<Stopper>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn stop(&self) {
        for stop in &self.stoppers {
            stop();
        }
        self.slots.stop();
    }
}

impl Readers {
    /// Starts every configured reader with the usual time limits.
    ///
    /// # Errors
    /// When a reader is configured twice, or a vpcd listener cannot be made. An absent pcscd is no error: it is
    /// waited for.
    pub fn start(specs: &[ReaderSpec]) -> Result<Self, ReaderError> {
        Self::start_with(specs, TimeLimits::default())
    }

    /// Starts every configured reader.
    ///
    /// # Errors
    /// As [`Readers::start`].
    pub fn start_with(specs: &[ReaderSpec], limits: TimeLimits) -> Result<Self, ReaderError> {
        let mut shared = Shared { slots: Slots::new(limits)?, stoppers: Vec::new() };
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().take(index).any(|earlier| earlier == spec) {
                return Err(ReaderError::Twice(spec.to_string()));
            }
            let stopper = match spec {
                ReaderSpec::Pcsc => pcsc::start(&shared.slots)?,
                ReaderSpec::Vpcd(address) => vpcd::start(&shared.slots, &spec.to_string(), address)?,
            };
            shared.stoppers.push(stopper);
        }
        Ok(Self(Arc::new(shared)))
    }

    /// Stops all readers; jobs in work end, jobs that wait get [`CardError::Stopped`].
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The readers and what is in them, from what is known already.
    #[must_use]
    pub fn list(&self) -> reader::Readers {
        self.0.slots.list()
    }

    /// The readers as soon as they differ from `change`, or after `timeout`.
    pub async fn wait(&self, change: u64, timeout: Duration) -> reader::Readers {
        let mut changes = self.changes();
        let differs = changes.wait_for(|now| *now != change);
        // Neither a passed time nor the daemon's stop is an error here: the list says how things are.
        tokio::time::timeout(timeout, differs).await.ok();
        self.list()
    }

    /// The card in a reader.
    ///
    /// # Errors
    /// When there is no such reader, no card in it, or one that is no CNS. While a card is being read it counts as
    /// none.
    pub fn card(&self, reader: &str) -> Result<Arc<CardContents>, CardError> {
        self.slot(reader)?.card()
    }

    /// The card with this serial number, in whichever reader it is.
    #[must_use]
    pub fn find_card(&self, serial: &str) -> Option<Arc<CardContents>> {
        self.0.slots.all().iter().filter_map(|slot| slot.card().ok()).find(|card| card.card.serial == serial)
    }

    /// The counter of changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.slots.changes()
    }

    /// Runs a job on the card in a reader: after the jobs before it, on the reader's own thread, inside one
    /// transaction. When the job presented a PIN or PUK, the card is reset at the end, so that no other program can
    /// use what was opened.
    ///
    /// # Errors
    /// The job's own, and [`CardError::NoReader`], [`CardError::NoCard`], [`CardError::Swapped`] or
    /// [`CardError::Removed`] (the latter two when `insertion` is named and over), [`CardError::Exclusive`] or
    /// [`CardError::Held`] by another program, [`CardError::NotAnswering`], [`CardError::ReaderGone`],
    /// [`CardError::Busy`], [`CardError::Stopped`].
    pub async fn run<T: Send + 'static>(
        &self,
        reader: &str,
        insertion: Option<u64>,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, CardError> {
        self.enqueue(reader, insertion, job, false).await
    }

    /// As [`Readers::run`], for a job that logs in or uses a login. Behind pcscd the transaction, if the job has left the
    /// login open ([`CardSession::has_login`]), waits 100 ms for the next such job, and five seconds in all; the card
    /// is reset then, or with [`Readers::release`].
    ///
    /// # Errors
    /// As [`Readers::run`].
    pub async fn run_with_login<T: Send + 'static>(
        &self,
        reader: &str,
        insertion: Option<u64>,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, CardError> {
        self.enqueue(reader, insertion, job, true).await
    }

    async fn enqueue<T: Send + 'static>(
        &self,
        reader: &str,
        insertion: Option<u64>,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
        uses_login: bool,
    ) -> Result<T, CardError> {
        let (reply, answer) = oneshot::channel();
        let job = owner::job(job, reply);
        let slot = self.slot(reader)?;
        slot.send(Event::Job { insertion, job, uses_login })?;
        answer.await.unwrap_or_else(|_| Err(slot.ended()))
    }

    /// Ends a transaction that waits for the next use of a login.
    pub fn release(&self, reader: &str) {
        // A reader that is gone, or has too much to do to be told, waits for nothing.
        drop(self.slot(reader).map(|slot| slot.send(Event::Release)));
    }

    /// Whether a reader has a keypad that is believed.
    #[must_use]
    pub fn has_pin_pad(&self, reader: &str) -> bool {
        self.slot(reader).is_ok_and(|slot| slot.pin_pad().get().is_some())
    }

    /// As [`Readers::run`], for a job that lets a person type on the reader. Until it ends, other work for this reader is
    /// refused with [`CardError::PinEntry`].
    ///
    /// # Errors
    /// As [`Readers::run`], and [`CardError::NoPinPad`] where the reader has no keypad that is believed.
    pub async fn run_at_pin_pad<T: Send + 'static>(
        &self,
        reader: &str,
        insertion: Option<u64>,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, CardError> {
        let (reply, answer) = oneshot::channel();
        let slot = self.slot(reader)?;
        let entry = Arc::new(slot.pin_pad().begin()?);
        let held = Arc::clone(&entry);
        let job = owner::job(
            move |session| {
                let outcome = job(session);
                drop(held);
                outcome
            },
            reply,
        );
        slot.send_with(&entry, Event::Job { insertion, job, uses_login: false })?;
        drop(entry);
        answer.await.unwrap_or_else(|_| Err(slot.ended()))
    }

    /// What was exchanged through a reader since the daemon started; nothing for an unknown reader.
    #[must_use]
    pub fn traffic(&self, reader: &str) -> Traffic {
        self.slot(reader).map(|slot| slot.meter().traffic()).unwrap_or_default()
    }

    /// Reads a card's public contents anew, after something was loaded onto it.
    ///
    /// # Errors
    /// As [`Readers::run`], and when the card cannot be read any more.
    pub async fn reread(&self, reader: &str) -> Result<Arc<CardContents>, CardError> {
        let (reply, answer) = oneshot::channel();
        let slot = self.slot(reader)?;
        slot.send(Event::Reread(reply))?;
        answer.await.unwrap_or_else(|_| Err(slot.ended()))
    }

    /// Looks at the card in a reader, also at one that is no CNS, and writes the report on it as text. The card is reset
    /// before and after.
    ///
    /// # Errors
    /// As [`Readers::run`], but not for a card that is unknown.
    pub async fn report(&self, reader: &str, ask_tries: bool) -> Result<String, CardError> {
        let (reply, answer) = oneshot::channel();
        self.slot(reader)?.send(Event::Report { ask_tries, reply })?;
        answer.await.unwrap_or(Err(CardError::Stopped))
    }

    /// Starts to record what is exchanged with the cards in a reader; gives the recording's number,
    /// nothing while there is another one.
    ///
    /// # Errors
    /// [`CardError::NoReader`].
    pub fn record(&self, reader: &str) -> Result<Option<u64>, CardError> {
        Ok(self.slot(reader)?.meter().recording().start())
    }

    /// What was recorded so far as text, and whether the recording can hold no more.
    ///
    /// # Errors
    /// [`CardError::NoReader`], and [`CardError::NoSuchObject`] when the recording is over.
    pub fn recorded(&self, reader: &str, number: u64) -> Result<(String, bool), CardError> {
        let slot = self.slot(reader)?;
        let recorded = slot.meter().recording().recorded(number);
        let recorded = recorded.ok_or(CardError::NoSuchObject("recording"))?;
        let text = report::text(&slot, recorded.atr.as_deref(), "cnsctl card trace", recorded.sessions);
        Ok((text, recorded.is_full))
    }

    /// Ends a recording.
    pub fn end_recording(&self, reader: &str, number: u64) {
        if let Ok(slot) = self.slot(reader) {
            slot.meter().recording().end(number);
        }
    }

    fn slot(&self, reader: &str) -> Result<Arc<Slot>, CardError> {
        self.0.slots.get(reader).ok_or(CardError::NoReader)
    }
}
