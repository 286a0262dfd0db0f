//! The one thread that talks to the card in a reader, and its queue.
//!
//! A job runs inside one transaction with the card. It cannot take the thread with it: a panic becomes
//! [`CardError::Panicked`], and a PIN or PUK that it presented still ends with a reset.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cns_apdu::trace::Recorder;
use cns_protocol::reader::{CardFace, ReaderKind};
use tokio::sync::oneshot;

use super::Unusable;
use super::device::{Budget, Device, Disposition, Link, Metered};
use super::queue::{self, Queue};
use super::slot::Slot;
use crate::card::contents::{Reading, Survey};
use crate::card::{CardContents, CardError, CardSession, Standing, contents, report};

/// Opens the card that was inserted; called again after a failure that may pass.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Box<dyn Device>, CardError> + Send>;
/// Hands a job's outcome to who waits for it, once the transaction is over.
type Deliver = Box<dyn FnOnce() + Send>;
/// A job, given its card or the reason why there is none.
pub(crate) type Job = Box<dyn FnOnce(Result<&mut CardSession<'_>, CardError>) -> Deliver + Send>;

/// How long to wait before a card is tried again that another program holds, or whose reader does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// How often a card is read again that did not answer, or not in time, or whose reader failed.
const MOST_FAILURES: u32 = 3;

/// What an owner is told.
pub(crate) enum Event {
    /// A card came.
    Inserted { insertion: u64, open: Opener },
    /// The card of this insertion went.
    Removed { insertion: u64 },
    /// Work for the card; whether it uses a login, so that it may follow another such in one transaction.
    Job { insertion: Option<u64>, job: Job, uses_login: bool },
    /// A transaction that waits for the next use of a login shall wait no longer.
    Release,
    /// The contents are to be read anew.
    Reread(oneshot::Sender<Result<Arc<CardContents>, CardError>>),
    /// The report on the card, known or not.
    Report { ask_tries: bool, reply: oneshot::Sender<Result<String, CardError>> },
    /// The end.
    Stop,
}

/// Wraps a job so that its panic is caught and its outcome delivered.
pub(crate) fn job<T: Send + 'static>(
    job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
    reply: oneshot::Sender<Result<T, CardError>>,
) -> Job {
    Box::new(move |session| {
        let outcome = session.and_then(|session| {
            catch_unwind(AssertUnwindSafe(|| job(session))).unwrap_or(Err(CardError::Panicked))
        });
        // Who asked may have gone; the work is done all the same.
        Box::new(move || drop(reply.send(outcome)))
    })
}

/// Starts the owner of a reader.
pub(crate) fn start(slot: Arc<Slot>, queue: Receiver<Event>) -> io::Result<()> {
    let builder = thread::Builder::new().name("reader".to_owned());
    builder.spawn(move || Owner { slot, present: None, retry: None }.run(Queue::new(queue))).map(drop)
}

/// A card in the reader.
struct Present {
    insertion: u64,
    open: Opener,
    device: Option<Box<dyn Device>>,
    contents: Option<Arc<CardContents>>,
    /// What was found where nobody knows the place of a certificate.
    survey: Option<Survey>,
    /// What is known of the chip: only where nobody else reaches the card.
    standing: Standing,
    /// Which face of it is reached, once it was connected to.
    face: Option<CardFace>,
    /// How often it could not be read in a row, for a reason that may pass.
    failures: u32,
    /// Whether a command had no answer while it was read: another card may be there since, so that what the commands
    /// after it brought is no verdict on this one.
    silenced: bool,
}

struct Owner {
    slot: Arc<Slot>,
    present: Option<Present>,
    /// When to try again, where the card could not be had for a reason that may pass.
    retry: Option<Instant>,
}

impl Owner {
    fn run(mut self, mut queue: Queue) {
        loop {
            match queue.next(self.retry) {
                Ok(Event::Inserted { insertion, open }) => {
                    self.slot.meter().recording().reset();
                    self.present = Some(Present {
                        insertion,
                        open,
                        device: None,
                        contents: None,
                        survey: None,
                        standing: Standing::Unknown,
                        face: None,
                        failures: 0,
                        silenced: false,
                    });
                    self.read_contents();
                }
                Ok(Event::Removed { insertion }) => self.forget(insertion),
                Ok(Event::Job { insertion, job, uses_login }) => {
                    self.work(&mut queue, insertion, job, uses_login)();
                    self.slot.done();
                }
                Ok(Event::Release) => self.slot.done(),
                Ok(Event::Reread(reply)) => {
                    self.read_contents();
                    drop(reply.send(self.slot.card()));
                    self.slot.done();
                }
                Ok(Event::Report { ask_tries, reply }) => {
                    drop(reply.send(self.report(ask_tries)));
                    self.slot.done();
                }
                Err(RecvTimeoutError::Timeout) => self.read_contents(),
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn forget(&mut self, insertion: u64) {
        if self.present.as_ref().is_some_and(|present| present.insertion == insertion) {
            self.present = None;
            self.retry = None;
        }
    }

    /// Reads the card's public contents; once more when another program reset the card meanwhile, for reading
    /// changes nothing on it.
    fn read_contents(&mut self) {
        let Some(present) = &mut self.present else {
            return;
        };
        let insertion = present.insertion;
        let mut outcome = present.read(&self.slot);
        if matches!(outcome, Err(CardError::Reset)) {
            outcome = present.read(&self.slot);
        }
        let again = match &outcome {
            // Other programs and the reader's driver let go at some time.
            Err(CardError::Exclusive | CardError::Held | CardError::NotAnswering | CardError::Reset) => true,
            Err(error) if present.silenced || may_pass(error) => {
                present.failures = present.failures.saturating_add(1);
                self.slot.kind() == ReaderKind::Pcsc && present.failures <= MOST_FAILURES
            }
            Ok(_) | Err(_) => false,
        };
        self.retry = again.then(|| Instant::now() + RETRY);
        match outcome {
            Ok(contents) => {
                present.failures = 0;
                present.contents = Some(Arc::clone(&contents));
                self.slot.read(insertion, Ok(contents));
                self.survey();
            }
            Err(CardError::Removed) => self.gone(insertion),
            // The card that was read before may be another one by now.
            Err(_) if present.silenced && present.contents.is_some() => self.gone(insertion),
            Err(error) => {
                // Other programs may want a card for themselves that is no use here.
                present.device = None;
                let why = unusable(error, present.face);
                let words = why.error().to_string();
                if self.slot.read(insertion, Err(why)) {
                    tracing::info!(reader = self.slot.name(), error = words, "the card cannot be used");
                }
            }
        }
    }

    fn report(&mut self, ask_tries: bool) -> Result<String, CardError> {
        let present = self.present.as_mut().ok_or(CardError::NoCard)?;
        let insertion = present.insertion;
        let report = present.report(&self.slot, ask_tries);
        if let Err(error @ (CardError::Removed | CardError::NoAnswer | CardError::TimedOut)) = &report {
            self.lost(insertion, error);
        }
        report
    }

    /// After the card was listed, and before the first job: nobody waits for it but who comes in the same moment.
    fn survey(&mut self) {
        let Some(present) = &mut self.present else {
            return;
        };
        let insertion = present.insertion;
        match present.survey(&self.slot) {
            Ok(None) => {}
            Ok(Some(contents)) => {
                self.slot.read(insertion, Ok(contents));
            }
            Err(error @ (CardError::Removed | CardError::NoAnswer | CardError::TimedOut)) => {
                self.lost(insertion, &error)
            }
            // The card is listed all the same.
            Err(error) => {
                tracing::info!(reader = self.slot.name(), %error, "the card could not be looked through");
            }
        }
    }

    fn work(&mut self, queue: &mut Queue, meant: Option<u64>, job: Job, uses_login: bool) -> Deliver {
        if let Some(error) = self.slot.refusal() {
            return job(Err(error));
        }
        if let Err(error) = self.slot.judge_insertion(meant) {
            return job(Err(error));
        }
        let Some(present) = &mut self.present else {
            return job(Err(CardError::NoCard));
        };
        let insertion = present.insertion;
        if self.slot.insertion() != insertion {
            return job(Err(CardError::Removed));
        }
        let (deliver, ended) = match self.slot.card() {
            Ok(contents) => present.work(queue, &self.slot, &contents, job, uses_login),
            Err(error) => return job(Err(error)),
        };
        match ended {
            Err(error @ (CardError::Removed | CardError::NoAnswer | CardError::TimedOut)) => {
                self.lost(insertion, &error)
            }
            Err(error) => tracing::warn!(reader = self.slot.name(), %error, "a transaction did not end well"),
            Ok(()) => {}
        }
        deliver
    }

    /// The card went, or stopped answering. In pcscd's reader it may still be there and come back; on a vpcd connection
    /// nothing is left to come back.
    fn lost(&mut self, insertion: u64, error: &CardError) {
        if matches!(error, CardError::TimedOut) && self.slot.kind() == ReaderKind::Pcsc {
            self.slot.read(insertion, Err(Unusable::NotAnswering));
            self.retry = Some(Instant::now() + RETRY);
        } else {
            self.gone(insertion);
        }
    }

    fn gone(&mut self, insertion: u64) {
        self.forget(insertion);
        self.slot.removed(insertion);
    }
}

/// The face that an answer to reset belongs to: PC/SC part 3 §3.1.3.2.3 makes up one of its own form for contactless
/// cards.
fn face(atr: &[u8]) -> CardFace {
    match atr {
        [0x3B, 0x80..=0x8F, 0x80, 0x01, ..] => CardFace::Contactless,
        _ => CardFace::Contacts,
    }
}

fn unusable(error: CardError, face: Option<CardFace>) -> Unusable {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are the card's own fault")]
    match error {
        CardError::Exclusive => Unusable::Exclusive,
        CardError::Held => Unusable::Held,
        CardError::NotAnswering => Unusable::NotAnswering,
        error if face == Some(CardFace::Contactless) => Unusable::Card(format!(
            "{error}; the reader reaches it without contacts (NFC): if it has contacts, push it fully into the slot"
        )),
        error => Unusable::Card(error.to_string()),
    }
}

/// Whether what kept a card from being read may pass by itself.
fn may_pass(error: &CardError) -> bool {
    matches!(error, CardError::TimedOut | CardError::NoAnswer | CardError::Reader(_))
}

/// What an error before or after a job means for the card: whether it is gone, or hangs.
fn consequence(error: &CardError) -> Result<(), CardError> {
    if matches!(error, CardError::Removed) {
        Err(CardError::Removed)
    } else if matches!(error, CardError::TimedOut) {
        Err(CardError::TimedOut)
    } else {
        Ok(())
    }
}

impl Present {
    fn device(&mut self) -> Result<&mut Box<dyn Device>, CardError> {
        self.device.take_if(|device| !device.is_usable());
        match &mut self.device {
            Some(device) => Ok(device),
            empty => Ok(empty.insert((self.open)()?)),
        }
    }

    fn read(&mut self, slot: &Slot) -> Result<Arc<CardContents>, CardError> {
        let insertion = self.insertion;
        self.standing = Standing::Unknown;
        self.silenced = false;
        let atr = self.device()?.atr().to_vec();
        let face = face(&atr);
        self.face = Some(face);
        slot.reading(insertion, face);
        slot.meter().recording().atr(&atr);
        let known = self.contents.is_some();
        let silences = slot.meter().silences();
        let device = self.device()?;
        let mut outcome = Err(CardError::NoCard);
        let mut standing = Standing::Unknown;
        let ended = device.transact(&mut |link| {
            let metered = Metered::new(link, slot.meter(), Budget::RECOGNITION, slot.limits());
            let kind = slot.kind();
            let place = contents::Place { reader: slot.name(), kind, insertion, atr: &atr, known };
            let read = AssertUnwindSafe(|| contents::read(metered, &place));
            let panicked = |_| Reading::cut_off(Err(CardError::Panicked));
            let read = catch_unwind(read).unwrap_or_else(panicked);
            outcome = read.outcome;
            if read.leave == Disposition::Reset {
                slot.meter().recording().reset();
            }
            standing = read.standing;
            read.leave
        });
        self.silenced = slot.meter().silences() != silences;
        ended?;
        self.stands(slot, standing);
        let mut contents = outcome?;
        if let Some(survey) = &self.survey {
            contents.add(survey);
        }
        Ok(Arc::new(contents))
    }

    /// Looks for a signature certificate where nobody knows its place, once per insertion; `None` when there is
    /// nothing to look for.
    fn survey(&mut self, slot: &Slot) -> Result<Option<Arc<CardContents>>, CardError> {
        let Some(contents) = self.contents.as_deref() else {
            return Ok(None);
        };
        if self.survey.is_some() || !contents.wants_survey() {
            return Ok(None);
        }
        let mut contents = contents.clone();
        let mut outcome = None;
        let mut standing = std::mem::take(&mut self.standing);
        self.device()?.transact(&mut |link| {
            let metered = Metered::new(link, slot.meter(), Budget::RECOGNITION, slot.limits());
            let look = AssertUnwindSafe(|| contents::survey(metered, &contents, standing));
            let look = catch_unwind(look).unwrap_or_else(|_| Reading::cut_off(Survey::panicked()));
            outcome = Some(look.outcome);
            if look.leave == Disposition::Reset {
                slot.meter().recording().reset();
            }
            standing = look.standing;
            look.leave
        })?;
        self.stands(slot, standing);
        let survey = outcome.ok_or(CardError::NoCard)?;
        // Whatever ended it: what was found stays, and it is not begun again at each listing.
        contents.add(&survey);
        let ended = survey.ended.as_ref().map_or(Ok(()), consequence);
        self.survey = Some(survey);
        ended?;
        let contents = Arc::new(contents);
        self.contents = Some(Arc::clone(&contents));
        Ok(Some(contents))
    }

    /// Keeps what is known of the chip, where nobody else reaches it.
    fn stands(&mut self, slot: &Slot, standing: Standing) {
        let is_ours = slot.kind() == ReaderKind::Vpcd;
        self.standing = if is_ours { standing } else { Standing::Unknown };
    }

    /// Looks at the card between two resets, in one transaction: nobody else selects anything in between.
    fn report(&mut self, slot: &Slot, ask_tries: bool) -> Result<String, CardError> {
        self.standing = Standing::Unknown;
        let device = self.device()?;
        let atr = device.atr().to_vec();
        let mut recorder = Recorder::new();
        let mut outcome = Err(CardError::NoCard);
        let ended = device.transact(&mut |link| {
            outcome = link.reset(slot.limits().command);
            if outcome.is_ok() {
                slot.meter().recording().reset();
                let mut metered = Metered::new(link, slot.meter(), Budget::JOB, slot.limits());
                let probe = AssertUnwindSafe(|| report::probe(&mut metered, ask_tries, &mut recorder));
                outcome = catch_unwind(probe).unwrap_or(Err(CardError::Panicked));
            }
            Disposition::Reset
        });
        slot.meter().recording().reset();
        if self.contents.is_none() {
            // Other programs may want a card for themselves that is no use here.
            self.device = None;
        }
        ended?;
        outcome?;
        Ok(report::text(slot, Some(&atr), "cnsctl card report", recorder.take()))
    }

    /// Runs a job, and behind pcscd the uses of logins that follow a use of a login at once. The second part of the answer
    /// says how the transaction ended.
    fn work(
        &mut self,
        queue: &mut Queue,
        slot: &Slot,
        contents: &CardContents,
        job: Job,
        uses_login: bool,
    ) -> (Deliver, Result<(), CardError>) {
        let insertion = self.insertion;
        let mut standing = std::mem::take(&mut self.standing);
        let device = match self.device() {
            Ok(device) => device,
            Err(error) => {
                let consequence = consequence(&error);
                return (job(Err(error)), consequence);
            }
        };
        let mut job = Some(job);
        let mut deliver: Option<Deliver> = None;
        let mut removed = false;
        let lingers = uses_login && slot.kind() == ReaderKind::Pcsc;
        let ended = device.transact(&mut |link: &mut dyn Link| {
            if slot.kind() == ReaderKind::Pcsc {
                // Others may have selected something since.
                slot.meter().recording().gap();
            }
            let metered = Metered::new(link, slot.meter(), Budget::JOB, slot.limits());
            let mut session = CardSession::new(metered, contents, slot, insertion, standing);
            let ends = Instant::now() + queue::LONGEST;
            while let Some(work) = job.take() {
                let give = work(Ok(&mut session));
                if !(lingers && session.has_login()) {
                    deliver = Some(give);
                    break;
                }
                // Its client needs the answer to go on. What the PIN opened stays closed to all others.
                give();
                deliver = Some(Box::new(|| ()));
                job = queue.next_use(slot, insertion, ends);
                if job.is_some() {
                    slot.done();
                    session.renew_budget();
                }
            }
            removed = session.lost();
            standing = session.leaves();
            let disposition = session.disposition();
            if disposition == Disposition::Reset {
                slot.meter().recording().reset();
            }
            disposition
        });
        self.stands(slot, if ended.is_ok() { standing } else { Standing::Unknown });
        let ended = match ended {
            Err(CardError::TimedOut) => Err(CardError::TimedOut),
            _ if removed => Err(CardError::Removed),
            ended => ended,
        };
        match (deliver, job) {
            (Some(deliver), _) => (deliver, ended),
            (None, Some(job)) => match ended {
                Err(error) => {
                    let consequence = consequence(&error);
                    (job(Err(error)), consequence)
                }
                Ok(()) => (job(Err(CardError::NoCard)), Ok(())),
            },
            (None, None) => (Box::new(|| ()), ended),
        }
    }
}

#[cfg(test)]
mod tests;
