//! What an owner needs of a reader: a transaction, and APDUs inside it.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cns_apdu::StatusWord;
use cns_apdu::transmit::Transport;
use cns_protocol::rpc::Traffic;
use zeroize::Zeroizing;

use super::pin_pad::PinOrder;
use super::recording::Recording;
use crate::card::CardError;

/// How long a card may work on one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// For every command but the next.
    pub command: Duration,
    /// For GENERATE KEY PAIR: real chips take up to a minute.
    pub key_generation: Duration,
    /// How long a person may take for one entry on a reader's keypad, in whole seconds from 1 to 255.
    pub pin_entry: Duration,
}

impl TimeLimits {
    /// How long another program's transaction is waited for: twice a command's time, so that a neighbour's few
    /// commands are outlasted.
    pub(crate) fn neighbour(&self) -> Duration {
        self.command.saturating_mul(2)
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(10),
            key_generation: Duration::from_secs(120),
            pin_entry: Duration::from_secs(30),
        }
    }
}

/// What happens to the card when a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Nothing: nothing was opened.
    Leave,
    /// It is reset, so that nobody can use what a PIN or PUK opened.
    Reset,
}

/// A card inside a transaction.
pub(crate) trait Link {
    /// Sends a command and gives the answer, within a time.
    fn exchange(&mut self, command: &[u8], limit: Duration) -> Result<Vec<u8>, CardError>;

    /// Lets a person type on the reader, which sends the command to the card itself; gives the card's status word, or
    /// the reader's own ([`cns_apdu::pin_pad::answer`]).
    fn enter_pin(&mut self, _: PinOrder) -> Result<StatusWord, CardError> {
        Err(CardError::NoPinPad)
    }

    /// Resets the card inside the transaction: nobody else gets hold of it in between.
    fn reset(&mut self, limit: Duration) -> Result<(), CardError>;
}

/// A card in a reader.
pub(crate) trait Device: Send {
    /// The answer to reset.
    fn atr(&self) -> &[u8];

    /// Runs work inside one transaction and ends it as the work says. When no transaction can be had, the work is not
    /// run and the error says why. When only its end fails, the work was done and the card is as good as removed.
    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError>;

    /// Whether it can be used again; otherwise it is dropped and the card opened anew.
    fn is_usable(&self) -> bool {
        true
    }
}

/// Counts what a reader exchanged.
#[derive(Default)]
pub(crate) struct Meter {
    commands: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    silences: AtomicU64,
    recording: Recording,
}

impl Meter {
    /// Where what is exchanged can be recorded.
    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }

    /// How many commands had no answer.
    pub(crate) fn silences(&self) -> u64 {
        self.silences.load(Ordering::Relaxed)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            commands: self.commands.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
        }
    }

    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What work may exchange at most, so that a hostile card cannot keep a reader busy for ever.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Command APDUs, each GET RESPONSE and repetition included.
    pub commands: u32,
    /// Bytes of commands and answers together.
    pub bytes: usize,
}

impl Budget {
    /// For one recognition, or one search of a card. A classic card takes ten commands and about 3 KiB, in short steps
    /// about twenty. The most that a card can be asked for is an object store of eight certificates, each of which takes
    /// its whole [`Budget::CERTIFICATE`], and the few commands around them.
    pub const RECOGNITION: Self = Self { commands: 400, bytes: 256 * 1024 };
    /// For one certificate: 8 KiB in short steps are 33 commands.
    pub const CERTIFICATE: Self = Self { commands: 40, bytes: 12 * 1024 };
    /// For a directory of an object store: 240 bytes, in one command or a few.
    pub const DIRECTORY: Self = Self { commands: 6, bytes: 2 * 1024 };
    /// For the personal data: 4 KiB in short steps are 17 commands. Real files have 400 bytes.
    pub const PERSONAL_DATA: Self = Self { commands: 20, bytes: 6 * 1024 };
    /// For one job. Making a signature area takes about forty commands.
    pub const JOB: Self = Self { commands: 1024, bytes: 1024 * 1024 };

    /// One command more.
    fn begin(&mut self) -> Result<(), CardError> {
        self.commands = self.commands.checked_sub(1).ok_or(CardError::TooMuch)?;
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), CardError> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or_default();
        left.map(drop).ok_or(CardError::TooMuch)
    }
}

/// A link that counts, and that ends when its budget is spent.
pub(crate) struct Metered<'a> {
    link: &'a mut dyn Link,
    meter: &'a Meter,
    budget: Budget,
    /// What a part of the work may take, which the card can be used without.
    allowance: Option<Budget>,
    limits: TimeLimits,
    slow: bool,
}

impl<'a> Metered<'a> {
    pub(crate) fn new(link: &'a mut dyn Link, meter: &'a Meter, budget: Budget, limits: TimeLimits) -> Self {
        Self { link, meter, budget, allowance: None, limits, slow: false }
    }

    /// Bounds the next commands more narrowly than the budget, or no more.
    pub(crate) fn set_allowance(&mut self, allowance: Option<Budget>) {
        self.allowance = allowance;
    }

    /// Resets the card.
    pub(crate) fn reset(&mut self) -> Result<(), CardError> {
        self.link.reset(self.limits.command)?;
        self.meter.recording.reset();
        Ok(())
    }

    /// Begins a new budget.
    pub(crate) const fn renew(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Whether the next commands may take as long as a key generation.
    pub(crate) fn set_slow(&mut self, slow: bool) {
        self.slow = slow;
    }

    /// Lets a person type on the reader. Counted and recorded as the command that the reader sends, without the digits.
    pub(crate) fn enter_pin(&mut self, order: PinOrder) -> Result<StatusWord, CardError> {
        self.budget.commands = self.budget.commands.checked_sub(1).ok_or(CardError::TooMuch)?;
        let command = order.command();
        Meter::add(&self.meter.commands, 1);
        Meter::add(&self.meter.sent, command.len());
        let status = self.link.enter_pin(order)?;
        let answer = status.0.to_be_bytes();
        Meter::add(&self.meter.received, answer.len());
        self.meter.recording.exchange(&command, &answer);
        Ok(status)
    }
}

impl Transport for Metered<'_> {
    type Error = CardError;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
        self.budget.begin()?;
        self.allowance.as_mut().map_or(Ok(()), Budget::begin)?;
        Meter::add(&self.meter.commands, 1);
        Meter::add(&self.meter.sent, command.len());
        let limit = if self.slow { self.limits.key_generation } else { self.limits.command };
        let answer = self.link.exchange(command, limit);
        if matches!(answer, Err(CardError::NoAnswer)) {
            Meter::add(&self.meter.silences, 1);
        }
        // What is too much is wiped too.
        let mut answer = Zeroizing::new(answer?);
        Meter::add(&self.meter.received, answer.len());
        self.meter.recording.exchange(command, &answer);
        let bytes = command.len().saturating_add(answer.len());
        let within = self.allowance.as_mut().map_or(Ok(()), |allowance| allowance.spend(bytes));
        self.budget.spend(bytes)?;
        within.map(|()| mem::take(&mut *answer))
    }
}
