//! Why the certificates of a card are not known or not changed.

use crate::audit::AuditError;
use crate::custody::CustodyError;
use crate::database::DatabaseError;
use crate::procedure::ProcedureError;
use crate::procedure::store::StoreError;

/// What goes wrong inside, whoever asks.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The database.
    #[error("the database of certificates: {0}")]
    Database(#[from] sqlx::Error),
    /// What is sealed there.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The audit log. Nothing is done that cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A row cannot be read.
    #[error("the stored record {0} is damaged")]
    Damaged(&'static str),
    /// The certificate on the card cannot be read.
    #[error("a certificate of the card cannot be read")]
    Certificate,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

impl From<StandingError> for ProcedureError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::Database(error) => StoreError::Database(DatabaseError::from(error)).into(),
            StandingError::Custody(error) => error.into(),
            StandingError::Audit(error) => error.into(),
            StandingError::Damaged(_) | StandingError::Certificate | StandingError::Random => {
                tracing::error!(%error, "the certificates of a card");
                Self::Internal
            }
        }
    }
}
