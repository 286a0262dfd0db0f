//! Cards' errors as clients see them.

use cns_apdu::command::{ChangeReferenceData, PerformSecurityOperation, ResetRetryCounter, Verify};
use cns_apdu::{CardCommand, StatusWord};
use cns_protocol::{ErrorKind, RpcError};

use super::internal;
use crate::card::CardError;

impl From<CardError> for RpcError {
    #[expect(clippy::too_many_lines, reason = "a table: one entry an error")]
    fn from(error: CardError) -> Self {
        let say = |kind| RpcError::new(kind, error.to_string());
        match &error {
            CardError::NoReader => say(ErrorKind::NoReader).hint("`reader.list` names the readers"),
            CardError::NoCard => say(ErrorKind::NoCard).hint("Put the card into the reader"),
            CardError::Removed | CardError::Swapped => {
                say(ErrorKind::CardRemoved).hint("Put the card back into the reader and try again")
            }
            CardError::Reset => {
                say(ErrorKind::CardReset).hint("Close other programs that use the card, and try again")
            }
            CardError::Unknown(_) => say(ErrorKind::UnknownCard).hint("Only CNS cards can be used here"),
            CardError::Reader(_) | CardError::NoAnswer => say(ErrorKind::ReaderFailed).hint("Check the reader's cable and pcscd"),
            CardError::Exclusive => say(ErrorKind::CardInUse)
                .hint("Close the other program, or set it to share the card; it is tried again by itself"),
            CardError::Held => say(ErrorKind::CardInUse)
                .hint("Wait for the other program or close it: the card can be used as soon as it lets go"),
            CardError::NotAnswering => say(ErrorKind::ReaderFailed)
                .hint("Take the card out and put it back; if that does not help, unplug the reader or restart pcscd"),
            CardError::ReaderGone => {
                say(ErrorKind::ReaderFailed).hint("Plug the reader in again; when pcscd is back, so is the reader")
            }
            CardError::Busy => say(ErrorKind::Busy).hint("Try again in a moment"),
            CardError::TimedOut => say(ErrorKind::TimedOut).hint("Take the card out, put it back, try again"),
            CardError::Stopped => say(ErrorKind::Busy).hint("The daemon is stopping; connect again later"),
            CardError::Panicked | CardError::Command(_) => internal(&error),
            CardError::Refused { command, status } if demands_secure_messaging(command, *status) => {
                say(ErrorKind::CardRefused)
                    .status_word(status.0)
                    .hint("The card demands secure messaging for this: only its issuer has the keys")
            }
            CardError::Refused { status, .. } => say(ErrorKind::CardRefused).status_word(status.0),
            CardError::Answer { .. } | CardError::TooMuch => say(ErrorKind::CardAnswerInvalid),
            CardError::PinIncorrect { tries_left } => {
                say(ErrorKind::PinIncorrect).tries_left(*tries_left).hint(after_wrong_pin(*tries_left))
            }
            CardError::PinBlocked => say(ErrorKind::PinBlocked)
                .tries_left(Some(0))
                .hint("Unblock it with the PUK, or get a new envelope at a counter (§9.4)"),
            CardError::PinInvalid => say(ErrorKind::PinInvalid).hint("No try was spent"),
            CardError::LastTry => say(ErrorKind::LastTry)
                .tries_left(Some(1))
                .hint("A wrong code now blocks it. Repeat with `confirm_last_try` to spend the try"),
            CardError::NoPinPad => {
                say(ErrorKind::NoPinPad).hint("Give the PIN with the request: it is typed on the computer")
            }
            CardError::PinPadUnproved => say(ErrorKind::NoPinPad)
                .hint("Log in to the card at the PIN pad first (`pin.verify`), or give the codes with the request"),
            CardError::PinEntry => say(ErrorKind::Busy).hint("Finish or cancel the entry there, and try again"),
            CardError::PinEntryTimedOut => {
                say(ErrorKind::PinEntryTimedOut).hint("Try again and type on the reader, then press OK there")
            }
            CardError::PinEntryCancelled => say(ErrorKind::PinEntryCancelled).hint("Nothing was changed"),
            CardError::PinEntriesDiffer => {
                say(ErrorKind::PinEntriesDiffer).hint("Nothing was changed; try again")
            }
            CardError::PinPadFailed { tries_left, .. } => say(ErrorKind::PinPadFailed)
                .tries_left(*tries_left)
                .hint("Type the PIN on the computer; the PIN pad is tried again when the reader was unplugged and plugged in"),
            CardError::PukIncorrect { tries_left } => say(ErrorKind::PukIncorrect)
                .tries_left(*tries_left)
                .hint("A blocked PUK cannot be unblocked: check it before the next try"),
            CardError::PukBlocked => {
                say(ErrorKind::PukBlocked).tries_left(Some(0)).hint("The card can only be replaced (§9.7)")
            }
            CardError::NoSuchObject(_) => say(ErrorKind::NoSuchObject),
            CardError::Mechanism(_) => say(ErrorKind::MechanismInvalid),
            CardError::Ciphertext(_) => say(ErrorKind::CiphertextInvalid),
            CardError::WrongSignature => say(ErrorKind::CardAnswerInvalid)
                .hint("The card computed wrongly or is damaged; nothing was given out"),
            CardError::AreaExists | CardError::AreaForbidden(_) | CardError::AreaNotReady(_) => {
                say(ErrorKind::SignatureAreaRefused)
            }
            CardError::WeakKey(_) => {
                say(ErrorKind::SignatureAreaRefused).hint("This card must not make signatures; replace it")
            }
            CardError::CertificateMismatch(_) => say(ErrorKind::CertificateRefused),
            CardError::Memory(_) => {
                tracing::error!(%error, "no locked memory");
                no_memory()
            }
        }
    }
}

/// What a chip answers to a plain use of a code or key that demands secure messaging (`cns-card` §4, §7).
fn demands_secure_messaging(command: &str, status: StatusWord) -> bool {
    let uses =
        [Verify::NAME, ChangeReferenceData::NAME, ResetRetryCounter::NAME, PerformSecurityOperation::NAME];
    let answers = [StatusWord::CLASS_NOT_SUPPORTED, StatusWord::SECURE_MESSAGING_OBJECT_MISSING];
    uses.contains(&command) && answers.contains(&status)
}

fn after_wrong_pin(tries_left: Option<u8>) -> &'static str {
    match tries_left {
        Some(1) => {
            "One try is left: a wrong PIN now blocks it. Repeat with `confirm_last_try` if you are sure"
        }
        Some(_) | None => "Type the PIN again; too many wrong ones block it",
    }
}

fn no_memory() -> RpcError {
    RpcError::new(ErrorKind::Busy, "the daemon has no locked memory left for a secret")
        .hint("Ask the administrator to raise RLIMIT_MEMLOCK of cnsd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_arrive() {
        let incorrect = RpcError::from(CardError::PinIncorrect { tries_left: Some(1) });
        assert_eq!((incorrect.kind, incorrect.tries_left), (ErrorKind::PinIncorrect, Some(1)));
        assert!(incorrect.hint.is_some_and(|hint| hint.contains("confirm_last_try")));
        let refused =
            RpcError::from(CardError::Refused { command: "READ BINARY", status: StatusWord(0x6982) });
        assert_eq!(refused.kind, ErrorKind::CardRefused);
        for status in [0x6E00, 0x6987] {
            let status = StatusWord(status);
            let demanded = RpcError::from(CardError::Refused { command: "RESET RETRY COUNTER", status });
            assert!(demanded.hint.is_some_and(|hint| hint.contains("secure messaging")), "{status}");
        }
        assert_eq!(refused.status_word.as_deref(), Some("6982"));
        assert!(refused.message.contains("READ BINARY"));
    }

    #[test]
    fn what_only_the_log_may_know_stays_there() {
        let panicked = RpcError::from(CardError::Panicked);
        assert_eq!(panicked.kind, ErrorKind::Internal);
        assert_eq!(panicked.message, "the daemon failed; its log knows more");
    }

    #[test]
    fn every_refusal_by_pin_says_what_to_do() {
        for error in [
            CardError::PinIncorrect { tries_left: None },
            CardError::PinBlocked,
            CardError::PinInvalid,
            CardError::LastTry,
            CardError::PukIncorrect { tries_left: Some(3) },
            CardError::PukBlocked,
            CardError::NoCard,
            CardError::Removed,
            CardError::Reset,
            CardError::Exclusive,
            CardError::Held,
            CardError::NotAnswering,
            CardError::ReaderGone,
            CardError::NoPinPad,
            CardError::PinPadUnproved,
            CardError::PinEntry,
            CardError::PinEntryTimedOut,
            CardError::PinEntryCancelled,
            CardError::PinEntriesDiffer,
            CardError::PinPadFailed { why: String::new(), tries_left: None },
        ] {
            let sentence = error.to_string();
            assert!(RpcError::from(error).hint.is_some(), "{sentence}");
        }
    }
}
