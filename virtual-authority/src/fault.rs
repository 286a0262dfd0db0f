//! A certifier that misbehaves as told, so that its clients can be tested. Nothing here is used unless
//! [`serve_faulty`](crate::serve_faulty) is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is read, and nothing is ever answered.
    Hang,
    /// The connection is closed before anything is done.
    LoseRequest,
    /// What was asked is done, and the connection is closed instead of an answer.
    LoseAnswer,
    /// The answer is bytes that are no message.
    Garbage,
    /// The answer is cut off in the middle of the message.
    Truncated,
    /// The answer is 100 MB long.
    Huge,
    /// HTTP says 503.
    Unavailable,
    /// The answer's recipNonce is not the request's senderNonce.
    WrongNonce,
    /// The answer is of another transaction.
    WrongTransaction,
    /// The answer's protection does not fit its contents.
    WrongProtection,
    /// The answer has no protection.
    Unprotected,
    /// Instead of the answer comes an error message without protection, which anybody can send.
    UnprotectedError,
    /// The certificate is one for another key.
    OtherKey,
    /// The certificate is one for another holder.
    OtherHolder,
    /// The certificate has expired.
    Expired,
    /// The certificate is not signed by the certifier that it names.
    Forged,
}

impl FaultKind {
    /// All of them, with the names that the command line has for them.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Hang, "hang"),
        (Self::LoseRequest, "lose-request"),
        (Self::LoseAnswer, "lose-answer"),
        (Self::Garbage, "garbage"),
        (Self::Truncated, "truncated"),
        (Self::Huge, "huge"),
        (Self::Unavailable, "unavailable"),
        (Self::WrongNonce, "wrong-nonce"),
        (Self::WrongTransaction, "wrong-transaction"),
        (Self::WrongProtection, "wrong-protection"),
        (Self::Unprotected, "unprotected"),
        (Self::UnprotectedError, "unprotected-error"),
        (Self::OtherKey, "other-key"),
        (Self::OtherHolder, "other-holder"),
        (Self::Expired, "expired"),
        (Self::Forged, "forged"),
    ];
}

impl FaultKind {
    fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Hang
                | Self::LoseRequest
                | Self::LoseAnswer
                | Self::Garbage
                | Self::Truncated
                | Self::Huge
                | Self::Unavailable
        )
    }

    fn is_of_certificate(self) -> bool {
        matches!(self, Self::OtherKey | Self::OtherHolder | Self::Expired | Self::Forged)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

/// A fault, and how often it happens.
///
/// Faults of the network (up to [`FaultKind::Unavailable`]) concern all that is asked, CRL and OCSP too; the others
/// concern CMP alone, those of a certificate the messages that bring one.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    /// One count for all that share the fault.
    left: Arc<AtomicU64>,
}

impl Fault {
    /// Goes wrong each time.
    pub fn always(kind: FaultKind) -> Self {
        Self::times(kind, u64::MAX)
    }

    /// Goes wrong the first `times` times.
    pub fn times(kind: FaultKind, times: u64) -> Self {
        Self { kind, left: Arc::new(AtomicU64::new(times)) }
    }

    /// What goes wrong on the network this time, if anything does.
    pub(crate) fn on_network(&self) -> Option<FaultKind> {
        if self.kind.is_of_network() { self.strike() } else { None }
    }

    /// What goes wrong in a CMP message this time, if anything does.
    pub(crate) fn in_message(&self, brings_certificate: bool) -> Option<FaultKind> {
        let concerns = !self.kind.is_of_network() && (brings_certificate || !self.kind.is_of_certificate());
        if concerns { self.strike() } else { None }
    }

    fn strike(&self) -> Option<FaultKind> {
        let less = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok().then_some(self.kind)
    }
}

/// The command line names no fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no fault; a fault is one of {names}, with :N after it if only the first N times go wrong", names = names())]
pub struct UnknownFault(String);

fn names() -> String {
    FaultKind::ALL.map(|(_, name)| name).join(", ")
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let unknown = || UnknownFault(text.to_owned());
        let (name, times) = match text.split_once(':') {
            Some((name, times)) => (name, times.parse().map_err(|_| unknown())?),
            None => (text, u64::MAX),
        };
        let (kind, _) = FaultKind::ALL.iter().find(|(_, known)| *known == name).ok_or_else(unknown)?;
        Ok(Self::times(*kind, times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_by_name_and_number() {
        for (kind, name) in FaultKind::ALL {
            assert_eq!(kind.to_string(), name);
            let fault: Fault = name.parse().unwrap();
            assert_eq!((0..3).map(|_| fault.strike()).collect::<Vec<_>>(), [Some(kind); 3]);
            let fault: Fault = format!("{name}:2").parse().unwrap();
            assert_eq!((0..4).filter_map(|_| fault.strike()).count(), 2);
        }
        for wrong in ["", "hangs", "hang:", "hang:x", ":2"] {
            assert!(wrong.parse::<Fault>().unwrap_err().to_string().contains("lose-answer"), "{wrong}");
        }
    }
}
