use std::sync::{Arc, Mutex};

use super::*;
use crate::reader::TimeLimits;

/// What was done with a card, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A card that answers each SELECT FILE with 61xx, and each READ BINARY with 6Cxx until that is asked for.
struct Awkward(Log);

impl Awkward {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

impl Device for Awkward {
    fn atr(&self) -> &[u8] {
        &[0x3B, 0x00]
    }

    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError> {
        self.note("begin");
        let end = work(self);
        self.note(format!("end: {end:?}"));
        Ok(())
    }
}

impl Link for Awkward {
    fn exchange(&mut self, command: &[u8], _limit: Duration) -> Result<Vec<u8>, CardError> {
        self.note(hex::encode(command));
        Ok(match *command {
            [_, 0xA4, ..] => vec![0x61, 0x04],
            [_, 0xC0, .., 0x04] => vec![0x6F, 0x02, 0x80, 0x00, 0x90, 0x00],
            [_, 0xB0, .., 0x02] => vec![0x00, 0x00, 0x90, 0x00],
            [_, 0xB0, ..] => vec![0x6C, 0x02],
            _ => vec![0x6D, 0x00],
        })
    }

    fn reset(&mut self, _limit: Duration) -> Result<(), CardError> {
        self.note("reset");
        Ok(())
    }
}

impl Drop for Awkward {
    fn drop(&mut self) {
        self.note("closed");
    }
}

#[test]
fn a_report_is_one_transaction_between_two_resets_and_follows_61xx_and_6cxx() {
    let log = Log::default();
    let card = Arc::clone(&log);
    let slot = Slot::alone("awkward", ReaderKind::Pcsc, TimeLimits::default());
    let mut present = Present {
        insertion: 1,
        open: Box::new(move || Ok(Box::new(Awkward(Arc::clone(&card))))),
        device: None,
        contents: None,
        survey: None,
        standing: Standing::Unknown,
        face: None,
        failures: 0,
        silenced: false,
    };
    let text = present.report(&slot, false).unwrap();
    let log = log.lock().unwrap();
    assert_eq!(log.iter().take(2).collect::<Vec<_>>(), ["begin", "reset"]);
    assert_eq!(log.iter().rev().take(2).collect::<Vec<_>>(), ["closed", "end: Reset"]);
    assert_eq!(log.iter().filter(|what| *what == "begin").count(), 1);
    assert!(log.iter().any(|what| what == "00c0000004"), "{log:?}");
    assert!(log.iter().any(|what| what == "00b0000002"), "{log:?}");
    assert!(text.contains("> 00C0000004") && text.contains("> 00B0000002"), "{text}");
}
