//! The keypad of a reader, and whether it is believed.
//!
//! A reader says itself what it can do, and some lie (`real-cards` §4, 22). What is known of a keypad belongs to the
//! reader, not to the card in it: it is asked for once, and a keypad that was caught is believed again only when the
//! reader is plugged in anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cns_apdu::command::{ChangeReferenceData, PinReference, ResetRetryCounter, Verify};
use cns_apdu::pin_pad::{PinModify, PinPadError, PinVerify};
use cns_apdu::{CardCommand, StatusWord};
use tokio::sync::watch;

use crate::card::CardError;

/// A keypad that is believed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinPad {
    /// The control code that takes a PIN and verifies it.
    pub(crate) verify: u32,
    /// The control code that takes two and changes it.
    pub(crate) modify: Option<u32>,
    /// What ends an entry on it: bits of [`cns_apdu::pin_pad::validation`].
    pub(crate) validation: u8,
}

/// What a person is to type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinOrder {
    /// The PIN.
    Verify(PinReference),
    /// The PIN, then the new one twice.
    Change(PinReference),
    /// The PUK, then the new PIN twice; the reference is the PIN's.
    Reset(PinReference),
}

impl PinOrder {
    /// How many entries it takes.
    pub(crate) const fn entries(self) -> u32 {
        match self {
            Self::Verify(_) => 1,
            Self::Change(_) | Self::Reset(_) => 3,
        }
    }

    /// The order as the reader takes it.
    pub(crate) fn encode(self, pad: &PinPad, entry: Duration) -> Result<Vec<u8>, PinPadError> {
        let seconds = u8::try_from(entry.as_secs().max(1)).unwrap_or(u8::MAX);
        match self {
            Self::Verify(reference) => PinVerify::cns(reference, seconds, pad.validation).encode(),
            Self::Change(reference) => PinModify::change(reference, seconds, pad.validation).encode(),
            Self::Reset(reference) => PinModify::reset(reference, seconds, pad.validation).encode(),
        }
    }

    /// The command's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Verify(_) => Verify::NAME,
            Self::Change(_) => ChangeReferenceData::NAME,
            Self::Reset(_) => ResetRetryCounter::NAME,
        }
    }

    /// The command that the reader sends, without the digits.
    pub(crate) fn command(self) -> Vec<u8> {
        match self {
            Self::Verify(reference) => PinVerify::cns(reference, 0, 0).command,
            Self::Change(reference) => PinModify::change(reference, 0, 0).command,
            Self::Reset(reference) => PinModify::reset(reference, 0, 0).command,
        }
    }
}

/// The status word that came back, if it is one and nothing else (ISO/IEC 7816-3:2006 §12.2.1).
pub(crate) fn status_word(answer: &[u8]) -> Option<StatusWord> {
    match *answer {
        [first @ (0x61..=0x6F | 0x90..=0x9F), second] => {
            Some(StatusWord(u16::from_be_bytes([first, second])))
        }
        _ => None,
    }
}

/// What is known of a reader's keypad.
#[derive(Default)]
enum Knowledge {
    /// The reader was not asked yet.
    #[default]
    Unasked,
    /// It has none, or the one that it claims is not believed.
    None,
    /// It has one. `proved` says that a card was seen to have got a PIN from it.
    Believed { pad: PinPad, proved: bool },
}

#[derive(Default)]
struct State {
    knowledge: Knowledge,
    /// Whether somebody is asked to type.
    entering: bool,
}

/// A reader's keypad, for whoever asks.
pub(crate) struct PinPadState {
    state: Mutex<State>,
    change: watch::Sender<u64>,
}

impl PinPadState {
    pub(crate) fn new(change: watch::Sender<u64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), change })
    }

    /// Whether the reader is to be asked now: once. A reader that hangs over the question has no keypad.
    pub(crate) fn ask(&self) -> bool {
        let mut state = self.lock();
        let first = matches!(state.knowledge, Knowledge::Unasked);
        if first {
            state.knowledge = Knowledge::None;
        }
        first
    }

    /// The question was not answered, for a reason that is not the reader's.
    pub(crate) fn forget_question(&self) {
        self.lock().knowledge = Knowledge::Unasked;
    }

    /// The reader has a keypad that can be believed.
    pub(crate) fn learn(&self, pad: PinPad) {
        self.lock().knowledge = Knowledge::Believed { pad, proved: false };
        self.changed();
    }

    /// The keypad, if it is believed.
    pub(crate) fn get(&self) -> Option<PinPad> {
        match self.lock().knowledge {
            Knowledge::Believed { pad, .. } => Some(pad),
            Knowledge::Unasked | Knowledge::None => None,
        }
    }

    /// Whether a card was seen to have got a PIN from it.
    pub(crate) fn is_proved(&self) -> bool {
        matches!(self.lock().knowledge, Knowledge::Believed { proved: true, .. })
    }

    /// A card has got a PIN from it.
    pub(crate) fn prove(&self) {
        if let Knowledge::Believed { proved, .. } = &mut self.lock().knowledge {
            *proved = true;
        }
    }

    /// It was caught: it is not believed any more.
    pub(crate) fn distrust(&self, why: &str) {
        let before = std::mem::replace(&mut self.lock().knowledge, Knowledge::None);
        if matches!(before, Knowledge::Believed { .. }) {
            tracing::warn!(why, "a reader's PIN pad is not believed any more");
            self.changed();
        }
    }

    /// Reserves the keypad for one entry; other work for the reader is refused until it is given back.
    ///
    /// # Errors
    /// [`CardError::NoPinPad`], or [`CardError::PinEntry`] while somebody types.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Entry, CardError> {
        let mut state = self.lock();
        if !matches!(state.knowledge, Knowledge::Believed { .. }) {
            return Err(CardError::NoPinPad);
        }
        if std::mem::replace(&mut state.entering, true) {
            return Err(CardError::PinEntry);
        }
        Ok(Entry(Arc::clone(self)))
    }

    /// Whether somebody is asked to type.
    pub(crate) fn is_entering(&self) -> bool {
        self.lock().entering
    }

    fn changed(&self) {
        self.change.send_modify(|change| *change = change.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask a person to type, given back when it is dropped.
pub(crate) struct Entry(Arc<PinPadState>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.lock().entering = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<PinPadState> {
        PinPadState::new(watch::Sender::new(0))
    }

    const PAD: PinPad = PinPad { verify: 1, modify: None, validation: 2 };

    #[test]
    fn a_reader_is_asked_once_and_a_caught_one_stays_caught() {
        let state = state();
        assert!(state.ask() && !state.ask());
        assert!(matches!(state.begin(), Err(CardError::NoPinPad)));
        state.learn(PAD);
        assert_eq!(state.get(), Some(PAD));
        assert!(!state.is_proved());
        state.prove();
        assert!(state.is_proved());
        let before = *state.change.borrow();
        state.distrust("a test");
        assert_ne!(*state.change.borrow(), before, "clients hear of it");
        assert_eq!(state.get(), None);
        state.prove();
        assert!(!state.is_proved() && !state.ask());
    }

    #[test]
    fn one_person_types_at_a_time() {
        let state = state();
        state.learn(PAD);
        let entry = state.begin().unwrap();
        assert!(state.is_entering());
        assert!(matches!(state.begin(), Err(CardError::PinEntry)));
        drop(entry);
        assert!(!state.is_entering() && state.begin().is_ok());
    }

    #[test]
    fn two_bytes_that_can_be_a_status_word_are_one() {
        assert_eq!(status_word(&[0x90, 0x00]), Some(StatusWord(0x9000)));
        assert_eq!(status_word(&[0x63, 0xC2]), Some(StatusWord(0x63C2)));
        for nonsense in [&[][..], &[0x90], &[0x90, 0x00, 0x00], &[0x00, 0x00], &[0x60, 0x00], &[0x12, 0x34]] {
            assert_eq!(status_word(nonsense), None, "{nonsense:02X?}");
        }
    }

    #[test]
    fn an_entry_has_a_time_that_the_reader_can_be_told() {
        let order = PinOrder::Verify(PinReference::global(cns_apdu::object::ObjectId::CNS_PIN));
        for (entry, told) in [(0, 1), (30, 30), (1000, 255)] {
            let bytes = order.encode(&PAD, Duration::from_secs(entry)).unwrap();
            assert_eq!(PinVerify::decode(&bytes).unwrap().timeout, told);
        }
    }
}
