//! The readers of pcscd.
//!
//! One monitor thread watches readers and cards; each reader's owner has its own context. Cards are shared with other
//! programs (`SCARD_SHARE_SHARED`), so every piece of work is one transaction, and what a transaction does to the
//! card at its end is always said: the `pcsc` crate resets when a `Card` is dropped and leaves it when a
//! `Transaction` is.

mod monitor;

use std::ffi::CString;
use std::time::Duration;
use std::{fs, io};

use pcsc::{Context, Error, Protocols, Scope, ShareMode};

pub(super) use self::monitor::start;
use super::device::{Device, Disposition, Link};
use super::owner::Opener;
use crate::card::CardError;

/// The longest response APDU, and a little more than pcscd ever gives.
const LONGEST_RESPONSE: usize = 65_536 + 2;
/// How often a card that keeps being reset by another program is taken up again before giving up.
const RECONNECTS: u32 = 3;

/// How the owner of a reader connects to the card in it.
fn opener(reader: CString) -> Opener {
    Box::new(move || {
        let context = Context::establish(Scope::System).map_err(failed)?;
        let card = context.connect(&reader, ShareMode::Shared, Protocols::ANY).map_err(failed)?;
        let atr = match card.status2_owned() {
            Ok(status) => status.atr().to_vec(),
            Err(error) => {
                leave(card, pcsc::Disposition::LeaveCard);
                return Err(failed(error));
            }
        };
        Ok(Box::new(Connection { card: Some(card), atr, unclean: false }))
    })
}

/// A card in a PC/SC reader.
struct Connection {
    /// Absent only while it is dropped.
    card: Option<pcsc::Card>,
    atr: Vec<u8>,
    /// Whether a reset was wanted that could not be had; the disconnection makes up for it.
    unclean: bool,
}

impl Device for Connection {
    fn atr(&self) -> &[u8] {
        &self.atr
    }

    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError> {
        let mut card = self.card.as_mut().ok_or(CardError::Removed)?;
        let mut reconnects = 0;
        let transaction = loop {
            match card.transaction2() {
                Ok(transaction) => break transaction,
                Err((same, Error::ResetCard)) if reconnects < RECONNECTS => {
                    reconnects += 1;
                    // What was verified is lost, which is all that the next piece of work expects.
                    same.reconnect(ShareMode::Shared, Protocols::ANY, pcsc::Disposition::LeaveCard)
                        .map_err(failed)?;
                    card = same;
                }
                Err((_, error)) => return Err(failed(error)),
            }
        };
        let disposition = work(&mut Exchange { card: &transaction });
        let wanted = match disposition {
            Disposition::Leave => pcsc::Disposition::LeaveCard,
            Disposition::Reset => pcsc::Disposition::ResetCard,
        };
        let ended = transaction.end(wanted).map_err(|(transaction, error)| {
            drop(transaction);
            failed(error)
        });
        self.unclean = ended.is_err() && disposition == Disposition::Reset;
        ended
    }

    fn is_usable(&self) -> bool {
        !self.unclean
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let end = if self.unclean { pcsc::Disposition::ResetCard } else { pcsc::Disposition::LeaveCard };
        if let Some(card) = self.card.take() {
            leave(card, end);
        }
    }
}

/// Disconnects, saying what happens to the card; `Card`'s own drop would reset it.
fn leave(card: pcsc::Card, end: pcsc::Disposition) {
    if let Err((card, error)) = card.disconnect(end) {
        tracing::debug!(%error, "a card could not be disconnected");
        // Nothing is left that dropping could reset, but a handle that the failure has made useless.
        drop(card);
    }
}

/// A card inside a transaction.
struct Exchange<'a> {
    card: &'a pcsc::Card,
}

impl Link for Exchange<'_> {
    /// PC/SC has no time limit of its own per command: the reader's driver keeps the card's waiting times.
    fn exchange(&mut self, command: &[u8], _limit: Duration) -> Result<Vec<u8>, CardError> {
        let mut answer = vec![0; LONGEST_RESPONSE];
        #[expect(clippy::disallowed_methods, reason = "the one door")]
        let length = self.card.transmit(command, &mut answer).map_err(failed)?.len();
        answer.truncate(length);
        Ok(answer)
    }
}

fn failed(error: Error) -> CardError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "PC/SC's many other errors have one meaning here")]
    match error {
        Error::RemovedCard | Error::NoSmartcard | Error::ReaderUnavailable | Error::UnknownReader => {
            CardError::Removed
        }
        Error::ResetCard => CardError::Reset,
        Error::SharingViolation => CardError::Busy,
        Error::Timeout => CardError::TimedOut,
        Error::UnresponsiveCard | Error::UnpoweredCard | Error::UnsupportedCard => {
            CardError::Unknown("the card does not answer: is it the right way round?".to_owned())
        }
        error => CardError::Reader(error.to_string()),
    }
}

/// Whether a running pcscd was told to log APDUs (`--apdu`, `--debug`): its log would then hold PINs and PUKs, so the
/// counter's work refuses. What cannot be looked at counts as logging. A pcscd that is hidden altogether (`hidepid`,
/// another container) is not seen: as root, all of this machine are.
#[must_use]
pub fn logs_apdus() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    processes.filter_map(Result::ok).any(|process| {
        let folder = process.path();
        let named = fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim_end() == "pcscd");
        // A process that ended meanwhile logs nothing any more.
        named
            && fs::read(folder.join("cmdline"))
                .map_or_else(|e| e.kind() != io::ErrorKind::NotFound, |l| asks_for_log(&l))
    })
}

/// Whether a command line, its arguments ended by zero bytes, makes pcscd log APDUs.
fn asks_for_log(command_line: &[u8]) -> bool {
    let arguments = command_line.split(|byte| *byte == 0).skip(1);
    arguments.map(String::from_utf8_lossy).any(|argument| match argument.strip_prefix("--") {
        // getopt_long takes every beginning of a name that no other option shares.
        Some(name) => !name.is_empty() && ("apdu".starts_with(name) || "debug".starts_with(name)),
        None => argument.strip_prefix('-').is_some_and(|letters| letters.contains(['a', 'd'])),
    })
}

#[cfg(test)]
mod tests {
    use super::asks_for_log;

    #[test]
    fn options_that_log_apdus_are_seen() {
        for line in [
            "pcscd\0--apdu\0",
            "pcscd\0-f\0-a\0",
            "pcscd\0--debug\0",
            "pcscd\0-fd\0",
            "/usr/sbin/pcscd\0--foreground\0--ap\0",
        ] {
            assert!(asks_for_log(line.as_bytes()), "{line:?}");
        }
        for line in ["pcscd\0-f\0", "pcscd\0--foreground\0--info\0", "pcscd\0--auto-exit\0", "-a\0", ""] {
            assert!(!asks_for_log(line.as_bytes()), "{line:?}");
        }
    }
}
