//! The threads that hang in PC/SC and were left behind.
//!
//! No call of PC/SC can be given up from outside: a mute card, a hung driver or another program's endless transaction
//! keeps the calling thread for as long as it likes. So each connection has a thread of its own ([`super::worker`]),
//! which is left behind when it takes too long. It cleans up after itself when the call comes back. Until then the
//! reader is not connected to again, so that there is at most one such thread per reader, and there are at most
//! [`MOST`] in all.

use std::ffi::{CStr, CString};
use std::sync::{Mutex, PoisonError, Weak};

use crate::card::CardError;

/// As many as pcscd has readers (`PCSCLITE_MAX_READERS_CONTEXTS`).
const MOST: usize = 16;

/// What a thread was doing when it was left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connecting: pcscd waits for the driver, or for the end of another program's transaction.
    Connect,
    /// Waiting for the end of another program's transaction.
    Begin,
    /// Waiting for the card and the reader's driver.
    Work,
}

impl Stage {
    /// The error of whoever wants the reader meanwhile.
    fn error(self) -> CardError {
        match self {
            Self::Begin => CardError::Held,
            Self::Connect | Self::Work => CardError::NotAnswering,
        }
    }
}

/// Those that have not come back yet.
#[derive(Default)]
pub(super) struct LeftBehind(Mutex<Vec<Hanging>>);

struct Hanging {
    reader: CString,
    stage: Stage,
    /// The thread owns the other end: when it has ended, nothing is left to upgrade to.
    thread: Weak<()>,
}

impl LeftBehind {
    /// Remembers a thread that hangs.
    pub(super) fn add(&self, reader: &CStr, stage: Stage, thread: Weak<()>) {
        let mut hanging = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.push(Hanging { reader: reader.to_owned(), stage, thread });
    }

    /// Whether a reader may be connected to.
    ///
    /// # Errors
    /// Why not: a thread hangs in this reader, or too many hang in others.
    pub(super) fn judge(&self, reader: &CStr) -> Result<(), CardError> {
        let mut hanging = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain(|hanging| hanging.thread.strong_count() > 0);
        if let Some(here) = hanging.iter().find(|hanging| hanging.reader.as_c_str() == reader) {
            return Err(here.stage.error());
        }
        if hanging.len() >= MOST { Err(CardError::NotAnswering) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_reader_is_closed_until_its_thread_is_back_and_there_is_an_end_to_them() {
        let left = LeftBehind::default();
        let threads: Vec<Arc<()>> = (0..MOST).map(|_| Arc::default()).collect();
        left.add(c"a", Stage::Begin, Arc::downgrade(&threads[0]));
        assert!(matches!(left.judge(c"a"), Err(CardError::Held)));
        assert!(left.judge(c"b").is_ok());
        for (number, thread) in threads.iter().enumerate().skip(1) {
            let name = CString::new(format!("reader {number}")).unwrap();
            left.add(&name, Stage::Work, Arc::downgrade(thread));
        }
        assert!(matches!(left.judge(c"b"), Err(CardError::NotAnswering)));
        drop(threads);
        assert!(left.judge(c"a").is_ok() && left.judge(c"b").is_ok());
        assert!(left.0.lock().unwrap().is_empty());
    }
}
