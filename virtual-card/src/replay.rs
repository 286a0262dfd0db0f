//! A card that answers from a recorded trace (`docs/trace-format.md`).
//!
//! What was recorded is answered as it was recorded; what was not is refused. Between the two there is a tolerance that
//! a program needs that is not the recorded one:
//!
//! - inside a session the next recorded answer to a command comes first, then any other of the same application, file
//!   and PIN state, so that reads may be repeated and left out;
//! - a file that was selected may be selected in any spelling, with its FCI if one is known, and its known bytes may
//!   be read in any steps;
//! - removed bytes are synthetic: those of certificates, personal data and card numbers are of the sample holder and
//!   of the recorded length, others are zeros;
//! - where files were selected without an application, the one that the trace names first is taken for the card's own.
//!
//! A PIN is accepted where the trace says that one was, and nowhere else; its digits do not matter, for they were
//! removed. What was recorded after PINs is answered when the same ones were presented, else with 6982.
//! Never recorded: a file is 6A82, its content 6982, a PIN or PUK 6A88, another class 6E00, another command 6D00.

mod content;
mod files;
mod pins;
mod synthetic;

use std::cmp::Reverse;
use std::convert::Infallible;

use cns_apdu::command::{SelectBy, SelectFile};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::Fid;
use cns_apdu::trace::{Exchange, Kind, Place, Trace};
use cns_apdu::transmit::Transport;
use cns_apdu::{Command, CommandApdu, StatusWord};

use self::files::Files;
use self::pins::{Accepted, Needs, Presented, Reference};
use self::synthetic::Synthetic;

/// Why a trace cannot be answered from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Without one no reader takes the card.
    #[error("the trace has no `# ATR:` line before its first command")]
    NoAtr,
    /// Without one there is nothing to answer.
    #[error("the trace has no exchange")]
    Empty,
    /// The sample holder's data cannot be made.
    #[error("synthetic data: {0}")]
    Synthetic(#[from] synthetic::SyntheticError),
}

/// One recorded exchange and the state of the card before it.
struct Step {
    exchange: Exchange,
    session: usize,
    /// What was selected, as far as it is known.
    place: Option<Place>,
    /// The PINs that had been accepted.
    needs: Needs,
}

/// A card that answers from a trace.
pub struct TraceCard {
    atr: Vec<u8>,
    steps: Vec<Step>,
    sessions: usize,
    files: Files,
    accepted: Accepted,
    synthetic: Synthetic,
    state: State,
}

/// What the card remembers until it is reset.
#[derive(Default)]
struct State {
    place: Option<Place>,
    presented: Presented,
    session: usize,
    /// The step that comes next if the recorded program is repeated.
    next: usize,
}

impl TraceCard {
    /// A card with the first ATR of the trace.
    ///
    /// # Errors
    /// The trace has no ATR or no exchange.
    pub fn new(trace: &Trace) -> Result<Self, ReplayError> {
        let atr = trace.atrs.first().cloned().ok_or(ReplayError::NoAtr)?;
        let mut files = Files::new(own_application(trace));
        let mut accepted = Accepted::default();
        let mut steps = Vec::new();
        for (session, exchanges) in trace.sessions.iter().enumerate() {
            let mut place = Some(Place::default());
            accepted.begin_session();
            for exchange in exchanges {
                if let Some(gap) = &exchange.after_gap {
                    place = gap.application.clone().map(|name| files.own(Place::root(Some(name))));
                }
                let before = place.clone();
                let needs = accepted.needs();
                if let Some(select) = selection(&exchange.command) {
                    place = files.learn_selection(place, &select, exchange, needs);
                } else if let Some(place) = &place {
                    files.learn_content(place, exchange, needs);
                }
                let step = Step { exchange: exchange.clone(), session, place: before, needs };
                step.accepted_pin().into_iter().for_each(|pin| accepted.accept(pin));
                steps.push(step);
            }
        }
        if steps.is_empty() {
            return Err(ReplayError::Empty);
        }
        let sessions = trace.sessions.len();
        let synthetic = Synthetic::new()?;
        let mut card = Self { atr, steps, sessions, files, accepted, synthetic, state: State::default() };
        card.begin(0);
        Ok(card)
    }

    /// The answer to reset, without resetting.
    #[must_use]
    pub fn answer_to_reset(&self) -> Vec<u8> {
        self.atr.clone()
    }

    /// Resets the card: the next session of the trace is the one that is expected.
    pub fn reset(&mut self) {
        // A card may be reset several times before it is used.
        let untouched = self.state.next == self.first_of(self.state.session);
        self.begin(if untouched {
            self.state.session
        } else {
            (self.state.session + 1) % self.sessions.max(1)
        });
    }

    fn begin(&mut self, session: usize) {
        let next = self.first_of(session);
        self.state = State { place: Some(Place::default()), presented: Presented::default(), session, next };
    }

    fn first_of(&self, session: usize) -> usize {
        self.steps.iter().position(|step| step.session == session).unwrap_or_default()
    }

    /// Answers one command.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let (data, status) = self.answer(command);
        [&data[..], &status.to_bytes()].concat()
    }

    fn answer(&mut self, command: &[u8]) -> (Vec<u8>, StatusWord) {
        let Ok(apdu) = CommandApdu::parse(command) else { return refuse(StatusWord::WRONG_LENGTH) };
        let decoded = Command::decode(&apdu).ok();
        if let Some(index) = self.recorded(command, decoded.as_ref()) {
            return self.repeat(index, decoded.as_ref());
        }
        match decoded {
            Some(Command::SelectFile(select)) => self.select(&select),
            Some(Command::ReadBinary(read)) => {
                let length = usize::try_from(read.length).unwrap_or(usize::MAX);
                self.read(read.offset.into(), length)
            }
            _ => refuse(self.never_recorded(command, &apdu)),
        }
    }

    /// The recorded exchange that answers a command, if there is one.
    fn recorded(&self, command: &[u8], decoded: Option<&Command>) -> Option<usize> {
        let fits = |(index, step): &(usize, &Step)| {
            step.exchange.is_command(command)
                && self.pins_fit(step, command)
                && self.place_fits(*index, step, decoded)
        };
        let worth = |(index, step): &(usize, &Step)| {
            let expected = step.session == self.state.session && *index >= self.state.next;
            let kind = match step.exchange.kind {
                Kind::Capture => 2,
                Kind::Driver => 1,
                Kind::Inferred => 0,
            };
            // The first of equals is the nearest.
            (step.place == self.state.place, expected, kind, Reverse(*index))
        };
        let found = self.steps.iter().enumerate().filter(fits).max_by_key(worth);
        found.map(|(index, _)| index)
    }

    /// Whether the PINs that were accepted before a step are presented. To present one, none is needed; to ask about
    /// one, it must be presented now as it was then.
    fn pins_fit(&self, step: &Step, command: &[u8]) -> bool {
        let presented = &self.state.presented;
        match command {
            &[_, 0x20, _, p2] | &[_, 0x20, _, p2, _] => {
                let reference = step.reference(p2);
                presented.contains(&reference) == self.accepted.is_needed(step.needs, &reference)
            }
            [_, 0x20, ..] => true,
            _ => presented.satisfies(step.needs),
        }
    }

    /// Whether a step's command means the same here: what is of the card or of an application depends on the
    /// application, readings on the file, and everything else on the DF too. Behind a gap that can only be said of the step that comes next.
    fn place_fits(&self, index: usize, step: &Step, decoded: Option<&Command>) -> bool {
        if index == self.state.next && step.exchange.after_gap.is_some() {
            return true;
        }
        // The same gap: it is not known where, but it is where the step before was.
        let is_place =
            matches!(decoded, Some(Command::SelectFile(_) | Command::ReadBinary(_) | Command::ReadRecord(_)));
        if index == self.state.next && step.place.is_none() && !is_place {
            return true;
        }
        let both = step.place.as_ref().zip(self.state.place.as_ref());
        let same_application = || both.is_some_and(|(then, now)| then.application == now.application);
        let same_df = || same_application() && both.is_some_and(|(then, now)| then.df() == now.df());
        match decoded {
            Some(Command::SelectFile(select)) => match select.mode {
                SelectBy::Name(_) => true,
                SelectBy::Path(_) | SelectBy::File(Fid::MASTER_FILE) => same_application(),
                SelectBy::File(_)
                | SelectBy::ChildDf(_)
                | SelectBy::ChildEf(_)
                | SelectBy::Parent
                | SelectBy::RelativePath(_) => same_df(),
            },
            Some(Command::ReadBinary(_) | Command::ReadRecord(_)) => {
                both.is_some_and(|(then, now)| then == now)
            }
            _ => match step.exchange.command.as_slice() {
                // A PIN without the bit that starts the search in the current DF; GET CHALLENGE; GET DATA.
                [_, 0x20 | 0x24 | 0x2C, _, 0x00..=0x7F, ..] | [_, 0x84 | 0xCA, ..] => same_application(),
                _ => same_df(),
            },
        }
    }

    fn repeat(&mut self, index: usize, decoded: Option<&Command>) -> (Vec<u8>, StatusWord) {
        let Some(step) = self.steps.get(index) else { return refuse(StatusWord::INTERNAL_ERROR) };
        let exchange = &step.exchange;
        let data = match decoded {
            // An FCI of which a part is missing is no FCI: chips may answer without one as well.
            Some(Command::SelectFile(_)) if exchange.missing.is_some() => Vec::new(),
            Some(Command::ReadBinary(read)) => {
                let place = step.place.as_ref();
                self.files.repeat(place, read, exchange, &self.synthetic, &self.state.presented)
            }
            _ => [&exchange.data[..], &synthetic::plain(exchange.missing.as_ref())].concat(),
        };
        let status = exchange.status;
        self.state.session = step.session;
        self.state.next = index + 1;
        if let Some(pin) = step.accepted_pin() {
            self.state.presented.present(&self.accepted, pin);
        }
        if let Some(Command::SelectFile(select)) = decoded
            && files::is_accepted(status)
        {
            let fci = FileControlInformation::decode(&exchange.data).ok();
            let from = if exchange.after_gap.is_some() { &step.place } else { &self.state.place };
            let from = from.clone().unwrap_or_default();
            self.state.place = from.after(select, fci.as_ref()).map(|place| self.files.own(place));
        }
        (data, status)
    }

    fn select(&mut self, select: &SelectFile) -> (Vec<u8>, StatusWord) {
        let Some(from) = &self.state.place else { return refuse(StatusWord::FILE_NOT_FOUND) };
        match self.files.select(from, select, &self.state.presented) {
            Ok((place, data)) => {
                self.state.place = Some(place);
                (data, StatusWord::SUCCESS)
            }
            Err(status) => refuse(status),
        }
    }

    fn read(&self, offset: usize, length: usize) -> (Vec<u8>, StatusWord) {
        match &self.state.place {
            Some(place) if !place.path.files().is_empty() => {
                let presented = &self.state.presented;
                match self.files.read(place, offset, length, &self.synthetic, presented) {
                    Ok(data) => (data, StatusWord::SUCCESS),
                    Err(status) => refuse(status),
                }
            }
            _ => refuse(StatusWord::NO_CURRENT_FILE),
        }
    }

    fn never_recorded(&self, command: &[u8], apdu: &CommandApdu) -> StatusWord {
        // Recorded with a PIN only, which was not presented here.
        let presented = &self.state.presented;
        let after_pin = |step: &Step| !presented.satisfies(step.needs) && step.exchange.is_command(command);
        if apdu.ins != 0x20 && self.steps.iter().any(after_pin) {
            return StatusWord::SECURITY_NOT_SATISFIED;
        }
        let is_recorded = || self.steps.iter().any(|step| step.exchange.is_command(command));
        let class = |step: &Step| step.exchange.command.first() == Some(&apdu.cla);
        match apdu.ins {
            0x20 | 0x24 | 0x2C if apdu.cla == 0x00 => StatusWord::OBJECT_NOT_FOUND,
            0xB2 if apdu.cla == 0x00 => StatusWord::RECORD_NOT_FOUND,
            // In another application or DF.
            0x20 | 0x22 | 0x24 | 0x2C | 0xCA if is_recorded() => StatusWord::OBJECT_NOT_FOUND,
            _ if is_recorded() => StatusWord::CONDITIONS_NOT_SATISFIED,
            _ if self.steps.iter().any(class) => StatusWord::INSTRUCTION_NOT_SUPPORTED,
            _ => StatusWord::CLASS_NOT_SUPPORTED,
        }
    }
}

impl Transport for TraceCard {
    type Error = Infallible;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
        Ok(self.transmit(command))
    }
}

fn refuse(status: StatusWord) -> (Vec<u8>, StatusWord) {
    (Vec::new(), status)
}

fn selection(command: &[u8]) -> Option<SelectFile> {
    let apdu = CommandApdu::parse(command).ok()?;
    match Command::decode(&apdu) {
        Ok(Command::SelectFile(select)) => Some(select),
        _ => None,
    }
}

impl Step {
    fn reference(&self, p2: u8) -> Reference {
        Reference { application: self.place.as_ref().and_then(|place| place.application.clone()), p2 }
    }

    /// The PIN that it opens: one that was presented, in clear or under secure messaging, or changed.
    fn accepted_pin(&self) -> Option<Reference> {
        let &[_, 0x20 | 0x24, _, p2, _, _, ..] = self.exchange.command.as_slice() else { return None };
        (self.exchange.status == StatusWord::SUCCESS).then(|| self.reference(p2))
    }
}

/// The application that the trace names first, if files were selected in some session before any was named.
fn own_application(trace: &Trace) -> Option<Vec<u8>> {
    let accepted = |exchange: &&Exchange| files::is_accepted(exchange.status);
    let unnamed = trace.sessions.iter().any(|session| {
        let mut selections = session
            .iter()
            .take_while(|exchange| exchange.after_gap.is_none())
            .filter(accepted)
            .filter_map(|exchange| selection(&exchange.command))
            .take_while(|select| !matches!(select.mode, SelectBy::Name(_)));
        selections.any(|select| !matches!(select.mode, SelectBy::File(Fid::MASTER_FILE)))
    });
    let mut names = trace.exchanges().filter(accepted).filter_map(|exchange| {
        let SelectBy::Name(name) = selection(&exchange.command)?.mode else { return None };
        Some(name)
    });
    names.next().filter(|_| unnamed)
}
