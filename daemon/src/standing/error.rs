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
    /// The authority did not issue the card's authentication certificate.
    #[error("the certification authority did not issue the card's authentication certificate")]
    NotIssued,
    /// The card's serial number or certificate is noted as another holder's.
    #[error("this card or a certificate on it is known as another holder's")]
    OtherHolder,
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
            StandingError::NotIssued => not_the_cards(
                "the certification authority did not issue the card's authentication certificate",
                "il certificato di autenticazione della carta non è stato emesso dal certificatore",
            ),
            StandingError::OtherHolder => not_the_cards(
                "the card's number or a certificate on it is known as another holder's",
                "il numero della carta o un suo certificato risulta di un altro titolare",
            ),
            StandingError::Damaged(_) | StandingError::Certificate | StandingError::Random => {
                tracing::error!(%error, "the certificates of a card");
                Self::Internal
            }
        }
    }
}

/// A card that is not what it says.
fn not_the_cards(message: &'static str, message_it: &'static str) -> ProcedureError {
    ProcedureError::rule("§4.2.1", message, message_it).hinting(
        "The card may be forged: nothing was changed. Withdraw it and tell the issuing body; the holder's own card is \
         suspended without it, by codice fiscale (§9.5.3)",
        "La carta può essere contraffatta: nulla è stato modificato. Ritirarla e avvisare l'ente emettitore; la carta del \
         titolare si sospende senza di essa, con il codice fiscale (§9.5.3)",
    )
}
