//! The readers of pcscd.
//!
//! One monitor thread watches readers and cards; each connection to a card has a [`worker`] thread and a context of
//! its own, so that a call that does not come back holds up nobody ([`left_behind`]). Cards are shared with other
//! programs (`SCARD_SHARE_SHARED`), so every piece of work is one transaction, and what a transaction does to the
//! card at its end is always said: the `pcsc` crate resets when a `Card` is dropped and leaves it when a
//! `Transaction` is.

mod connection;
mod left_behind;
mod monitor;
mod pin_pad;
mod power_up;
mod watched;
mod worker;

use std::{fs, io};

use pcsc::Error;

pub(super) use self::monitor::start;
use crate::card::CardError;

fn failed(error: Error) -> CardError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "PC/SC's many other errors have one meaning here")]
    match error {
        Error::RemovedCard | Error::NoSmartcard | Error::ReaderUnavailable | Error::UnknownReader => {
            CardError::Removed
        }
        Error::ResetCard => CardError::Reset,
        Error::SharingViolation => CardError::Exclusive,
        Error::Timeout => CardError::TimedOut,
        Error::NotTransacted => CardError::NoAnswer,
        Error::NoService | Error::ServiceStopped | Error::CommError => {
            CardError::Reader("pcscd has ended, or does not run; it is looked for again".to_owned())
        }
        // What libpcsclite says when pcscd closes a connection that it has not read from.
        Error::SecurityViolation => CardError::Reader(
            "pcscd refuses the connection: its policy forbids it, or it serves as many as it may".to_owned(),
        ),
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
    use super::{Error, asks_for_log, failed};

    #[test]
    fn a_connection_that_pcscd_refuses_is_not_told_as_a_broken_card() {
        let words = failed(Error::SecurityViolation).to_string();
        assert!(words.contains("pcscd refuses") && words.contains("as many as it may"), "{words}");
    }

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
