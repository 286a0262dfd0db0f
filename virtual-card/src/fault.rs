//! A card that misbehaves on demand: pulled out, torn, mute, slow, reset by a neighbour, or answering something else at
//! the n-th command; and its time, if somebody wants to know it.

mod spec;

use std::time::Duration;

use cns_apdu::transmit::Transport;

pub use self::spec::{Order, SpecError};
use crate::card::VirtualCard;
use crate::memory::Tear;
use crate::timing::{Elapsed, Meter, Model, Timing};

/// What goes wrong at one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The card leaves the reader before it has done anything.
    PullOutBefore,
    /// The card has executed the command and leaves before answering.
    PullOutAfter,
    /// The card leaves the reader inside a write; where the command does not write that often, it is executed and
    /// answered as if nothing were.
    Tear(Tear),
    /// The card never answers, until it is reset.
    Mute,
    /// The card executes the command and answers this much later.
    Slow(Duration),
    /// The command is not executed; this status word is the answer.
    Status(u16),
    /// Another program resets the card before the command, which is then executed: what was selected and verified is
    /// no more.
    Reset,
    /// The card executes the command and answers something else.
    Garbage(Garbage),
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Only its first bytes come; with 0 nothing at all, in a frame of its own.
    Cut(usize),
    /// Only the status word comes.
    StatusOnly,
    /// So many bytes too much come between the data and the status word.
    Longer(u16),
}

impl Garbage {
    fn of(self, mut answer: Vec<u8>) -> Vec<u8> {
        let data = answer.len().saturating_sub(2);
        match self {
            Self::Cut(length) => answer.truncate(length),
            Self::StatusOnly => drop(answer.drain(..data)),
            Self::Longer(more) => drop(answer.splice(data..data, vec![0xA5; more.into()])),
        }
        answer
    }
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At the command that comes after so many others from now on: 0 is the next one.
    After(u64),
    /// At a command with this instruction byte, after so many others with it from now on.
    Instruction {
        /// INS.
        ins: u8,
        /// How many are left alone.
        after: u64,
    },
}

/// What came of one command.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The card answered.
    Answer(Vec<u8>),
    /// The card stays silent.
    Silence,
    /// The card has left the reader.
    Gone,
}

/// A command got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The card stays silent.
    #[error("the card does not answer")]
    Silence,
    /// The card has left the reader.
    #[error("the card has been pulled out")]
    Gone,
}

/// A virtual card with a plan of faults; without one it is the card itself.
pub struct FaultyCard {
    card: VirtualCard,
    plan: Vec<(Trigger, Fault)>,
    commands: u64,
    mute: bool,
    out: bool,
    meter: Option<Meter>,
    /// How much of the metered time is to be waited for.
    factor: f64,
    /// What is to be waited for before the last answer is given.
    delay: Duration,
}

impl From<VirtualCard> for FaultyCard {
    fn from(card: VirtualCard) -> Self {
        Self {
            card,
            plan: Vec::new(),
            commands: 0,
            mute: false,
            out: false,
            meter: None,
            factor: 0.0,
            delay: Duration::ZERO,
        }
    }
}

impl FaultyCard {
    /// Plans `fault` for the command that comes after `after` others from now on: 0 is the next one.
    pub fn plan(&mut self, after: u64, fault: Fault) {
        self.plan_at(Trigger::After(after), fault);
    }

    /// Plans `fault`. Where several would happen at one command, the one planned first does, and the others are over
    /// as well.
    pub fn plan_at(&mut self, trigger: Trigger, fault: Fault) {
        self.plan.push((trigger, fault));
    }

    /// Does what an order says, as `cns-card vpcd --fault` takes it.
    pub fn apply(&mut self, order: Order) {
        match order {
            Order::At(trigger, fault) => self.plan_at(trigger, fault),
            Order::WearOut { writes } => self.card.wear_out_after(writes),
            Order::LeaveMemory { bytes } => self.card.leave_memory(bytes),
        }
    }

    /// Forgets every fault that has not happened yet.
    pub fn clear_plan(&mut self) {
        self.plan.clear();
    }

    /// How many planned faults have not happened yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.plan.len()
    }

    /// How many commands have arrived so far.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Accounts a real card's time from now on, from zero; [`FaultyCard::take_delay`] tells what of it to wait for.
    pub fn set_timing(&mut self, timing: Timing) {
        let meter = || Some(Meter::new(Model::of(&self.card.answer_to_reset())));
        (self.meter, self.factor) = match timing {
            Timing::None => (None, 0.0),
            Timing::Account => (meter(), 0.0),
            Timing::Real(factor) => (meter(), factor),
        };
        // What was done before counts for nobody.
        drop(self.card.take_work());
    }

    /// The time accounted so far; `None` without [`FaultyCard::set_timing`].
    #[must_use]
    pub fn elapsed(&self) -> Option<Elapsed> {
        self.meter.as_ref().map(Meter::elapsed)
    }

    /// How long whoever carries the last answer has to wait before giving it: a planned delay, and a real card's time
    /// where that was asked for.
    pub fn take_delay(&mut self) -> Duration {
        std::mem::take(&mut self.delay)
    }

    /// The card inside.
    pub fn card(&mut self) -> &mut VirtualCard {
        &mut self.card
    }

    /// Whether a fault has pulled the card out.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.out
    }

    /// Puts a pulled card back; it is powered on again, without memory of its session.
    pub fn insert(&mut self) {
        self.out = false;
        self.mute = false;
        self.card.power_off();
        let _answer_to_reset = self.card.power_on();
    }

    /// Supplies power; gives the answer to reset.
    pub fn power_on(&mut self) -> Vec<u8> {
        self.mute = false;
        self.account_reset();
        self.card.power_on()
    }

    /// The answer to reset, without resetting.
    #[must_use]
    pub fn answer_to_reset(&self) -> Vec<u8> {
        self.card.answer_to_reset()
    }

    /// Takes the power away.
    pub fn power_off(&mut self) {
        self.mute = false;
        self.card.power_off();
    }

    /// Resets the card.
    pub fn reset(&mut self) {
        self.mute = false;
        self.account_reset();
        self.card.reset();
    }

    /// Executes one command, or what the plan has for it.
    pub fn execute(&mut self, command: &[u8]) -> Outcome {
        if self.out {
            return Outcome::Gone;
        }
        self.commands = self.commands.saturating_add(1);
        let fault = self.due(command);
        if self.mute {
            return Outcome::Silence;
        }
        match fault {
            None => self.answer(command),
            Some(Fault::PullOutBefore) => self.leave(),
            Some(Fault::PullOutAfter) => {
                let _lost = self.card.transmit(command);
                self.leave()
            }
            Some(Fault::Tear(tear)) => match self.card.transmit_torn(command, tear) {
                Some(answer) => self.account(command, answer),
                None => self.leave(),
            },
            Some(Fault::Mute) => {
                self.mute = true;
                Outcome::Silence
            }
            Some(Fault::Slow(delay)) => {
                self.delay = self.delay.saturating_add(delay);
                self.answer(command)
            }
            Some(Fault::Status(status)) => self.account(command, status.to_be_bytes().to_vec()),
            Some(Fault::Reset) => {
                self.card.reset();
                self.answer(command)
            }
            Some(Fault::Garbage(garbage)) => {
                let answer = garbage.of(self.card.transmit(command));
                self.account(command, answer)
            }
        }
    }

    /// Takes one command off every trigger that counts it; gives the first fault that is due.
    fn due(&mut self, command: &[u8]) -> Option<Fault> {
        let mut due = None;
        self.plan.retain_mut(|(trigger, fault)| {
            let left = match trigger {
                Trigger::After(left) => left,
                Trigger::Instruction { ins, after } if command.get(1) == Some(ins) => after,
                Trigger::Instruction { .. } => return true,
            };
            if *left == 0 {
                due.get_or_insert(*fault);
                return false;
            }
            *left -= 1;
            true
        });
        due
    }

    fn answer(&mut self, command: &[u8]) -> Outcome {
        let answer = self.card.transmit(command);
        self.account(command, answer)
    }

    fn account(&mut self, command: &[u8], answer: Vec<u8>) -> Outcome {
        if let Some(meter) = &mut self.meter {
            let took = meter.exchange(command.len(), answer.len(), &self.card.take_work());
            self.delay = self.delay.saturating_add(took.mul_f64(self.factor));
        }
        Outcome::Answer(answer)
    }

    fn account_reset(&mut self) {
        if let Some(meter) = &mut self.meter {
            let took = meter.reset(self.card.answer_to_reset().len());
            self.delay = self.delay.saturating_add(took.mul_f64(self.factor));
        }
    }

    fn leave(&mut self) -> Outcome {
        self.card.power_off();
        self.out = true;
        Outcome::Gone
    }
}

impl Transport for FaultyCard {
    type Error = NoAnswer;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        match self.execute(command) {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Silence => Err(NoAnswer::Silence),
            Outcome::Gone => Err(NoAnswer::Gone),
        }
    }
}
