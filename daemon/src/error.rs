//! From the rooms' errors to what clients may see: one readable `match` per border. A sentence says what happened, a
//! hint what to do next. What clients must not see (paths, database errors, library errors) goes to the log alone.

mod card;
mod custody;
pub(crate) mod italian;
mod national;
mod order;
mod puk;
mod standing;

use cns_protocol::{ErrorKind, RpcError};

use crate::audit::AuditError;
use crate::card::CardError;
use crate::database::DatabaseError;
use crate::holder::HolderError;
use crate::operator::{OperatorError, TrustError};
use crate::procedure::ProcedureError;
use crate::procedure::certifier::CertifierError;
use crate::procedure::status::StatusError;
use crate::procedure::store::StoreError;

/// What is said to an operator whose own card is suspended or revoked.
const OUT_OF_FORCE: &str = "A revoked or suspended card opens no session (§9.5, §9.7)";

/// A failure that only the log explains.
fn internal(error: &impl std::error::Error) -> RpcError {
    tracing::error!(%error, "internal failure");
    RpcError::new(ErrorKind::Internal, "the daemon failed; its log knows more")
        .hint("Ask the administrator to look at the log of cnsd")
}

impl From<AuditError> for RpcError {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "audit log");
        let unusable = "the audit log cannot be used, and nothing is done unrecorded".to_owned();
        let (kind, sentence) = match &error {
            AuditError::Broken(fault) => {
                (ErrorKind::AuditBroken, format!("the audit log's chain is broken: {fault}"))
            }
            AuditError::Replaced { .. }
            | AuditError::Removed { .. }
            | AuditError::KeyMissing { .. }
            | AuditError::PublicKey { .. } => (ErrorKind::AuditBroken, unusable),
            AuditError::File { .. }
            | AuditError::Key(_)
            | AuditError::Entry(_)
            | AuditError::Failed
            | AuditError::Stopped => (ErrorKind::Internal, unusable),
        };
        RpcError::new(kind, sentence).hint("Ask the administrator to look at the log of cnsd")
    }
}

impl From<HolderError> for RpcError {
    fn from(error: HolderError) -> Self {
        match error {
            HolderError::Custody(error) => error.into(),
            HolderError::Database(_) => internal(&error),
        }
    }
}

impl From<OperatorError> for RpcError {
    fn from(error: OperatorError) -> Self {
        let refused = |hint: &str| {
            RpcError::new(ErrorKind::OperatorRefused, error.to_string()).hint(hint).paragraph("§9.3.2-2")
        };
        match error {
            OperatorError::Card(error) => error.into(),
            OperatorError::NoCertificate => refused("Use a CNS with its authentication certificate"),
            OperatorError::NotRegistered => {
                refused("The administrator registers operators under [[operator]] in cnsd.toml")
            }
            OperatorError::OutOfForce(_) => refused(OUT_OF_FORCE),
            OperatorError::StatusUnknown(_) => refused(
                "Try again later; if it stays so, ask the administrator to look at [status] in cnsd.toml",
            ),
            OperatorError::Signature => refused("The card is not what it says; hand it to the administrator"),
            OperatorError::System(_) => internal(&error),
            OperatorError::Trust(error) => error.into(),
        }
    }
}

impl From<TrustError> for RpcError {
    fn from(error: TrustError) -> Self {
        let refused = |hint: &str| {
            RpcError::new(ErrorKind::OperatorRefused, error.to_string()).hint(hint).paragraph("§9.3.2-2")
        };
        match &error {
            TrustError::Read { .. } | TrustError::Anchors(_) | TrustError::Crl(_) => {
                tracing::error!(%error, "an operator's certificate cannot be judged");
                RpcError::new(
                    ErrorKind::OperatorRefused,
                    "the status of the operator's certificate is not known",
                )
                .hint("Ask the administrator to look at [operators] in cnsd.toml and the log of cnsd")
                .paragraph("§9.3.2-2")
            }
            TrustError::Revoked | TrustError::Suspended => refused(OUT_OF_FORCE),
            TrustError::Refused(_) => {
                refused("Renew the card, or have its issuer named under [operators] in cnsd.toml")
            }
            TrustError::Certificate(_) | TrustError::Usage | TrustError::Key => {
                refused("Use a CNS with its authentication certificate")
            }
        }
    }
}

impl From<CertifierError> for RpcError {
    fn from(error: CertifierError) -> Self {
        let sentence = error.to_string();
        match error {
            CertifierError::Failed(_) | CertifierError::Refused(_) => {
                RpcError::new(ErrorKind::AuthorityFailed, sentence)
                    .hint("Try again later: the procedure goes on where it stands")
            }
            CertifierError::Officer(error) => {
                RpcError { message: sentence, ..RpcError::from(error) }.paragraph("§7")
            }
            CertifierError::Unfit(_) => RpcError::new(ErrorKind::CertificateRefused, sentence)
                .hint("Nothing was loaded onto the card. Tell the certification authority"),
        }
    }
}

impl From<StatusError> for RpcError {
    fn from(error: StatusError) -> Self {
        let sentence = error.to_string();
        match error {
            StatusError::Officer(error) => {
                RpcError { message: sentence, hint: None, ..RpcError::from(error) }
            }
            StatusError::Unknown(_)
            | StatusError::Failed(_)
            | StatusError::Refused(_)
            | StatusError::Already(_) => RpcError::new(ErrorKind::AuthorityFailed, sentence),
        }
    }
}

impl From<ProcedureError> for RpcError {
    fn from(error: ProcedureError) -> Self {
        let (paragraph, hint, italian) = (error.paragraph(), error.hint(), error.italian());
        let sentence = error.to_string();
        let mut answer = match error {
            ProcedureError::NotFound(_) | ProcedureError::Over(_) => {
                RpcError::new(ErrorKind::NoSuchProcedure, sentence)
            }
            ProcedureError::WrongStep { .. } => RpcError::new(ErrorKind::WrongStep, sentence),
            ProcedureError::WrongAnswer { .. } => RpcError::new(ErrorKind::InvalidParams, sentence),
            ProcedureError::FieldInvalid { .. } | ProcedureError::FieldUnknown => {
                RpcError::new(ErrorKind::FieldInvalid, sentence)
            }
            ProcedureError::NoNationalSystem
            | ProcedureError::National(_)
            | ProcedureError::NationalRefused(_)
            | ProcedureError::NationalWaits(_) => RpcError::new(ErrorKind::NationalSystemFailed, sentence),
            ProcedureError::NoStatusAuthority => RpcError::new(ErrorKind::AuthorityFailed, sentence),
            ProcedureError::Status(error) => error.into(),
            ProcedureError::Rule { .. } | ProcedureError::ReaderLogs => {
                RpcError::new(ErrorKind::RuleRefuses, sentence)
            }
            ProcedureError::CertificateValid { .. } => RpcError::new(ErrorKind::CertificateValid, sentence),
            ProcedureError::NoPuk => RpcError::new(ErrorKind::NoPuk, sentence),
            ProcedureError::PukRefused { tries_left } => {
                RpcError::new(ErrorKind::PukIncorrect, sentence).tries_left(tries_left)
            }
            ProcedureError::PukDoubtful { tries_left } => {
                RpcError::new(ErrorKind::RuleRefuses, sentence).tries_left(tries_left)
            }
            ProcedureError::PukBlocked => RpcError::new(ErrorKind::PukBlocked, sentence),
            ProcedureError::Unsettled { cause } => {
                let cause = RpcError::from(cause);
                RpcError { message: sentence, ..cause }
            }
            ProcedureError::CardElsewhere => RpcError::new(ErrorKind::NoCard, sentence),
            ProcedureError::NoAuthority => RpcError::new(ErrorKind::AuthorityFailed, sentence),
            ProcedureError::OfficerPin => RpcError::new(ErrorKind::OperatorPinWanted, sentence),
            ProcedureError::Card(error) => error.into(),
            ProcedureError::Custody(error) => error.into(),
            ProcedureError::Audit(error) => error.into(),
            ProcedureError::Certifier(error) => error.into(),
            ProcedureError::Memory(error) => CardError::Memory(error).into(),
            ProcedureError::Store(StoreError::Changed) => RpcError::new(ErrorKind::WrongStep, sentence),
            ProcedureError::Store(StoreError::Database(error @ DatabaseError::Unreachable(_))) => {
                tracing::error!(%error, "the procedures' database");
                RpcError::new(ErrorKind::Busy, "the procedures' database cannot be reached")
                    .hint("Ask again; tell the administrator if it stays so")
            }
            ProcedureError::Store(error) => internal(&error),
            ProcedureError::Request(error) => internal(&error),
            ProcedureError::Internal => internal(&error),
        };
        if let Some(paragraph) = paragraph {
            answer.paragraph = Some(paragraph.to_owned());
        }
        if let Some(hint) = hint {
            answer.hint = Some(hint.to_owned());
        }
        answer.italian = italian.map(Into::into).or_else(|| italian::sentence(answer.kind).map(Into::into));
        answer
    }
}
