//! A card that misbehaves on demand: pulled out, mute, or answering a status word at the n-th command.

use std::collections::BTreeMap;

use cns_apdu::transmit::Transport;

use crate::card::VirtualCard;

/// What goes wrong at one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The card leaves the reader before it has done anything.
    PullOutBefore,
    /// The card has executed the command and leaves before answering.
    PullOutAfter,
    /// The card never answers, until it is reset.
    Mute,
    /// The command is not executed; this status word is the answer.
    Status(u16),
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
    plan: BTreeMap<u64, Fault>,
    commands: u64,
    mute: bool,
    out: bool,
}

impl From<VirtualCard> for FaultyCard {
    fn from(card: VirtualCard) -> Self {
        Self { card, plan: BTreeMap::new(), commands: 0, mute: false, out: false }
    }
}

impl FaultyCard {
    /// Plans `fault` for the command that comes after `after` others from now on: 0 is the next one.
    pub fn plan(&mut self, after: u64, fault: Fault) {
        self.plan.insert(self.commands.saturating_add(after), fault);
    }

    /// Forgets every fault that has not happened yet.
    pub fn clear_plan(&mut self) {
        self.plan.clear();
    }

    /// How many commands have arrived so far.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
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
        self.card.reset();
    }

    /// Executes one command, or what the plan has for it.
    pub fn execute(&mut self, command: &[u8]) -> Outcome {
        if self.out {
            return Outcome::Gone;
        }
        let number = self.commands;
        self.commands = self.commands.saturating_add(1);
        match self.plan.remove(&number) {
            Some(Fault::PullOutBefore) => self.leave(),
            Some(Fault::PullOutAfter) => {
                let _lost = self.card.transmit(command);
                self.leave()
            }
            Some(Fault::Mute) => {
                self.mute = true;
                Outcome::Silence
            }
            Some(Fault::Status(status)) => Outcome::Answer(status.to_be_bytes().to_vec()),
            None if self.mute => Outcome::Silence,
            None => Outcome::Answer(self.card.transmit(command)),
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
