//! The chip's non-volatile memory: every write is whole or not done, whatever happens to it.
//!
//! A write replaces the state of before by the state of now. It can be cut off ([`Tear`]), refused because the memory
//! is worn out, or refused by the operating system that keeps the card's directory; in each case the chip goes on with
//! what the memory holds, never with a state that is in neither.

use zeroize::Zeroizing;

use crate::state::{self, CardState, StateDirectory, StateError};

/// Where, in the writes of one command, the power is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tear {
    /// The write that is cut off; 0 is the command's first. A VERIFY has two: the try is taken, then given back.
    pub write: u32,
    /// Whether that write is done all the same, and only nobody hears of it.
    pub done: bool,
}

/// A write was not done, or not acknowledged.
#[derive(Debug)]
pub(crate) struct NotWritten;

/// Everything that a chip keeps without power, to compare it with another such image or to go back to it. Holds the
/// chip's secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot(Zeroizing<Vec<u8>>);

impl Snapshot {
    pub(crate) fn of(state: &CardState) -> Result<Self, StateError> {
        state::serialise(state).map(Self).map_err(StateError::from)
    }

    pub(crate) fn state(&self) -> Result<CardState, StateError> {
        serde_json::from_slice(&self.0).map_err(StateError::from)
    }
}

/// The chip's non-volatile memory.
#[derive(Default)]
pub(crate) struct Memory {
    storage: Option<StateDirectory>,
    /// Writes until it is worn out.
    endurance: Option<u32>,
    tear: Option<Tear>,
    /// Whether the power was lost inside a write: nothing is written any more.
    torn: bool,
    /// What the memory holds, kept apart while something above may need it.
    held: Option<Snapshot>,
}

impl Memory {
    pub(crate) fn new(storage: Option<StateDirectory>) -> Self {
        Self { storage, ..Self::default() }
    }

    /// Lets `writes` more writes be done and no other.
    pub(crate) fn wear_out_after(&mut self, writes: u32, state: &CardState) {
        self.endurance = Some(writes);
        self.hold(state);
    }

    /// Cuts off one of the coming writes.
    pub(crate) fn tear(&mut self, tear: Tear, state: &CardState) {
        self.tear = Some(tear);
        self.hold(state);
    }

    /// Ends what [`Memory::tear`] began; tells whether the power was lost.
    pub(crate) fn mend(&mut self) -> bool {
        self.tear = None;
        std::mem::take(&mut self.torn)
    }

    /// Replaces what the memory holds; when this returns, it is there to stay.
    pub(crate) fn write(&mut self, state: &CardState) -> Result<(), NotWritten> {
        if self.torn {
            return Err(NotWritten);
        }
        match &mut self.tear {
            Some(Tear { write: 0, done }) => {
                self.torn = true;
                if *done {
                    self.store(state)?;
                }
                return Err(NotWritten);
            }
            Some(tear) => tear.write -= 1,
            None => {}
        }
        match &mut self.endurance {
            Some(0) => return Err(NotWritten),
            Some(left) => *left -= 1,
            None => {}
        }
        self.store(state)
    }

    fn store(&mut self, state: &CardState) -> Result<(), NotWritten> {
        if let Some(storage) = &self.storage {
            storage.write(state).map_err(|_| NotWritten)?;
        }
        if self.held.is_some() {
            self.hold(state);
        }
        Ok(())
    }

    fn hold(&mut self, state: &CardState) {
        // A state that was read or made can be written.
        self.held = Snapshot::of(state).ok();
    }

    /// What the memory holds; nothing for a chip without a directory that no fault was planned for.
    pub(crate) fn held(&self) -> Option<CardState> {
        match (&self.held, &self.storage) {
            (Some(held), _) => held.state().ok(),
            (None, Some(storage)) => storage.read_again().ok(),
            (None, None) => None,
        }
    }

    /// Writes without regard to faults: what a bureau does, not the chip.
    pub(crate) fn store_as_bureau(&mut self, state: &CardState) -> Result<(), StateError> {
        self.storage.as_ref().map_or(Ok(()), |storage| storage.write(state))?;
        if self.held.is_some() {
            self.hold(state);
        }
        Ok(())
    }
}
