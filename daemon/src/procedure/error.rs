//! Why a procedure does not go on.

mod italian;

use cns_protocol::counter::Wants;
use cns_secret::SecretError;

use crate::audit::AuditError;
use crate::card::CardError;
use crate::custody::CustodyError;
use crate::national::NationalError;
use crate::procedure::certifier::CertifierError;
use crate::procedure::status::StatusError;
use crate::procedure::store::StoreError;

/// Why a procedure does not go on. A rule of the manual is always named by its paragraph.
#[derive(Debug, thiserror::Error)]
pub enum ProcedureError {
    /// No such procedure.
    #[error("there is no procedure {0}")]
    NotFound(String),
    /// It is over.
    #[error("procedure {0} is over")]
    Over(String),
    /// Another step is next.
    #[error("the procedure is at another step: {expected}")]
    WrongStep {
        /// The paragraph of the step that is next.
        expected: &'static str,
    },
    /// The answer is not of the kind that the step wants, or lacks something.
    #[error("the step wants another answer: {wants:?}")]
    WrongAnswer {
        /// What it wants.
        wants: Wants,
    },
    /// A rule of the manual forbids it.
    #[error("{message}")]
    Rule {
        /// The rule.
        paragraph: &'static str,
        /// What is forbidden, and why.
        message: String,
        /// The same in Italian.
        italian: String,
        /// What to do next, in English and Italian.
        hint: Option<(&'static str, &'static str)>,
    },
    /// The signature certificate has not expired, and nobody said that it is to go all the same.
    #[error("the card's signature certificate is valid until {not_after}")]
    CertificateValid {
        /// Its end, RFC 3339.
        not_after: String,
    },
    /// A field's value is missing or not of its kind.
    #[error("the field `{name}` ({text}) is missing or has no value of its kind")]
    FieldInvalid {
        /// The field.
        name: String,
        /// Its label.
        text: String,
        /// Its label in Italian.
        italian: String,
    },
    /// A field that the step does not want.
    #[error("the answer has a field that the step does not want")]
    FieldUnknown,
    /// Nobody is configured who suspends, reactivates and revokes certificates.
    #[error("no certification authority is configured that suspends, reactivates and revokes certificates")]
    NoStatusAuthority,
    /// No connection to the national system is configured.
    #[error("no connection to the national system is configured: cards of another region cannot be served")]
    NoNationalSystem,
    /// The status of a certificate.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The request to the national system could not be queued or looked at.
    #[error(transparent)]
    National(#[from] NationalError),
    /// The national system refuses the request, in its words; the procedure has ended.
    #[error("the national system refuses the request; the procedure has ended: {0}")]
    NationalRefused(String),
    /// The national system has not answered yet: why, in words.
    #[error("the national system has not answered yet: {0}")]
    NationalWaits(String),
    /// The PC/SC daemon writes the APDUs of its readers to its log, the PUK among them.
    #[error("pcscd logs the commands that cards receive: a PUK would be written down")]
    ReaderLogs,
    /// Custody has no PUK for this card.
    #[error("custody has no PUK for this card")]
    NoPuk,
    /// The PUK of custody was refused by the card; the procedure has ended, the PIN is as it was.
    #[error("the card refused the PUK that custody holds for it; the procedure has ended")]
    PukRefused {
        /// Tries left on the PUK, when the chip tells.
        tries_left: Option<u8>,
    },
    /// An attempt was cut off, and the chip's counter does not show that the PUK was not refused in it. Nothing was
    /// presented; the procedure is unsettled until the operator decides.
    #[error("the setting of the PIN was cut off, and {}", doubt(*.tries_left))]
    PukDoubtful {
        /// Tries left on the PUK, when the chip tells.
        tries_left: Option<u8>,
    },
    /// The PUK is blocked; the procedure has ended, the PIN is as it was.
    #[error("the card's PUK is blocked: its PIN can never be set again; the procedure has ended")]
    PukBlocked,
    /// The card was lost while its PIN was set: it may hold the old or the new value until it is settled.
    #[error("the card's PIN may or may not be set: {cause}")]
    Unsettled {
        /// What happened.
        cause: CardError,
    },
    /// The card of this procedure is in no reader.
    #[error("the card of this procedure is in no reader")]
    CardElsewhere,
    /// No authority is configured.
    #[error("no certification authority is configured: this counter cannot make signature certificates")]
    NoAuthority,
    /// The certifier wants the operator's own card to sign the request (§7), and no PIN was typed for that.
    #[error("the request to the certifier is signed on the operator's own card, whose PIN was not given")]
    OfficerPin,
    /// The card or the reader.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Custody.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The audit log. Nothing is done that cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The certification authority, or the certificate that it issued.
    #[error(transparent)]
    Certifier(#[from] CertifierError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No locked memory.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
    /// The certificate request could not be built from the card's data.
    #[error("the certificate request cannot be made: {0}")]
    Request(spki::Error),
    /// The daemon failed inside; its log knows where.
    #[error("the procedure failed inside the daemon")]
    Internal,
}

impl ProcedureError {
    /// A refusal by a rule.
    #[must_use]
    pub fn rule(paragraph: &'static str, message: impl Into<String>, italian: impl Into<String>) -> Self {
        Self::Rule { paragraph, message: message.into(), italian: italian.into(), hint: None }
    }

    /// Says what to do next, in English and Italian.
    #[must_use]
    pub fn hinting(mut self, next: &'static str, next_it: &'static str) -> Self {
        if let Self::Rule { hint, .. } = &mut self {
            *hint = Some((next, next_it));
        }
        self
    }

    /// The manual's rule behind the error, where there is one.
    #[must_use]
    pub fn paragraph(&self) -> Option<&'static str> {
        match self {
            Self::Rule { paragraph, .. } => Some(paragraph),
            Self::ReaderLogs
            | Self::NoPuk
            | Self::PukRefused { .. }
            | Self::PukDoubtful { .. }
            | Self::PukBlocked
            | Self::Unsettled { .. } => Some("§9.3.2-7"),
            Self::CardElsewhere => Some("§9.3.2-4"),
            Self::NoAuthority | Self::CertificateValid { .. } => Some("§9.1.3"),
            Self::NoNationalSystem
            | Self::National(_)
            | Self::NationalRefused(_)
            | Self::NationalWaits(_) => Some("§8-out"),
            Self::NoStatusAuthority => Some("§9.5.3"),
            Self::Status(StatusError::Unknown(_)) => Some("§9.3b"),
            Self::OfficerPin | Self::Status(StatusError::Officer(_)) => Some("§7"),
            Self::NotFound(_)
            | Self::Over(_)
            | Self::WrongStep { .. }
            | Self::WrongAnswer { .. }
            | Self::FieldInvalid { .. }
            | Self::FieldUnknown
            | Self::Status(StatusError::Failed(_) | StatusError::Refused(_) | StatusError::Already(_))
            | Self::Card(_)
            | Self::Custody(_)
            | Self::Audit(_)
            | Self::Certifier(_)
            | Self::Store(_)
            | Self::Memory(_)
            | Self::Request(_)
            | Self::Internal => None,
        }
    }

    /// What to do next, where it can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Rule { hint, .. } => hint.map(|(hint, _)| hint),
            Self::NotFound(_) | Self::Over(_) => Some("Start a new procedure on the card"),
            Self::ReaderLogs => Some("Start pcscd without --apdu and --debug"),
            Self::NoPuk => Some("Have the custodian import the manufacturer's file for this card"),
            Self::PukRefused { .. } => {
                Some("The envelope stays yours. The card must be replaced unless its PUK is found")
            }
            Self::PukDoubtful { .. } => {
                Some("Answer the step again to present the PUK once more: if it is wrong, that costs a try")
            }
            Self::PukBlocked => {
                Some("The envelope stays yours. The card must be revoked and issued again (§9.7)")
            }
            Self::Unsettled { .. } => {
                Some("Put the same card into a reader again: the procedure goes on with the same envelope")
            }
            Self::CardElsewhere => Some("Put the citizen's card into a reader of this daemon"),
            Self::NoAuthority => Some(
                "Go on without a signature certificate, or ask the administrator to configure [authority]",
            ),
            Self::CertificateValid { .. } => Some(
                "Say the explicit word to delete it all the same: the key is lost for ever, and the authority must be asked to revoke the certificate (§9.7)",
            ),
            Self::OfficerPin => Some("Answer the step again with `operator_pin`"),
            Self::NoStatusAuthority => Some("Ask the administrator to configure [authority]"),
            Self::NoNationalSystem => Some("Send the citizen to a counter that is connected"),
            Self::Status(StatusError::Unknown(_)) => Some(
                "Nothing was done. Try again later; if it stays so, ask the administrator to look at [status] in cnsd.toml",
            ),
            Self::NationalRefused(_) => Some("Begin again where something was entered wrongly"),
            Self::NationalWaits(_) => {
                Some("Answer the step again later: it stays one request, however often it is sent")
            }
            Self::Status(_) | Self::National(_) => {
                Some("Try again later: the procedure goes on where it stands")
            }
            Self::WrongStep { .. }
            | Self::FieldInvalid { .. }
            | Self::FieldUnknown
            | Self::Store(StoreError::Changed) => {
                Some("Ask for the procedure's next step (`counter.next`) and answer that")
            }
            Self::Card(CardError::LastTry) => Some(
                "One try is left, and nothing was presented. Have the holder prove the PIN first (`pin.verify` with `confirm_last_try`; `cnsctl pin verify --confirm-last-try`, with `--which signature` for the signature PIN): the right one brings all tries back. Then answer the step again",
            ),
            Self::WrongAnswer { .. }
            | Self::Card(_)
            | Self::Custody(_)
            | Self::Audit(_)
            | Self::Certifier(_)
            | Self::Store(_)
            | Self::Memory(_)
            | Self::Request(_)
            | Self::Internal => None,
        }
    }
}

/// What the counter says of a PUK whose answer was lost.
fn doubt(tries_left: Option<u8>) -> String {
    match tries_left {
        Some(left) => {
            format!(
                "the PUK, now with {left} tries left, may have been refused or entered wrongly by somebody else"
            )
        }
        None => "the card does not tell whether the PUK was refused".to_owned(),
    }
}
