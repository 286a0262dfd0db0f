//! Why an order is not carried out. Nothing here holds a secret.

use const_oid::ObjectIdentifier;

use crate::audit::AuditError;
use crate::authority::checks::CheckError;
use crate::card::CardError;
use crate::custody::CustodyError;
use crate::operator::TrustError;
use crate::procedure::ProcedureError;

/// Why an order is not carried out. But for [`OrderError::Unsettled`] the card is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No CMS system is configured.
    #[error("no CMS system's orders are taken here")]
    Off,
    /// Longer than an order may be.
    #[error("an order has at most {} bytes", cns_protocol::order::MAX_ORDER)]
    TooLarge,
    /// Not what an order is, outside.
    #[error("the order is not RFC 5652 SignedData in DER (a streamed one is BER and is not accepted): {0}")]
    NotSignedData(der::Error),
    /// Not what an order is, inside.
    #[error(
        "what the order's signer signed is not RFC 5652 EnvelopedData in DER (a streamed one is BER and is not accepted): {0}"
    )]
    NotEnvelopedData(der::Error),
    /// It has no signer, or several.
    #[error("the order must have one signer, with signed attributes, and carry that signer's certificate")]
    Signers,
    /// It is signed in a way that is not accepted.
    #[error(
        "the order is signed with the algorithm {0}, which is not accepted: use RSA or ECDSA with SHA-256"
    )]
    Algorithm(ObjectIdentifier),
    /// What was signed is not what is there.
    #[error("the order is not what its signer signed")]
    Altered,
    /// The signature is not the signer's.
    #[error("the order's signature is not its signer's")]
    Signature,
    /// The signer is not on the allow list.
    #[error("the order's signer is not on the allow list")]
    NotAllowed,
    /// The signer's certificate is not good.
    #[error("the certificate of the order's signer is refused: {0}")]
    Signer(CheckError),
    /// The signer's certificate is revoked or suspended.
    #[error("the certificate of the order's signer is revoked or suspended")]
    Revoked,
    /// The configured trust cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What is inside is not encrypted to this daemon, or not RFC 5652.
    #[error("inside, the order cannot be opened: {0}")]
    Sealed(#[source] CustodyError),
    /// It decrypts to something else.
    #[error("the order decrypts, but its content is not that of an order of version 1")]
    Content,
    /// Its time is over.
    #[error("the order was good until {0}")]
    Expired(String),
    /// The card in the reader is another one.
    #[error("the order is for another card than the one in the reader")]
    OtherCard,
    /// It, or another one of its number, is over or was begun.
    #[error("order {number} of {signer} {what}")]
    Replayed {
        /// The number.
        number: String,
        /// The signer's name.
        signer: String,
        /// What became of it.
        what: &'static str,
    },
    /// No such order is over.
    #[error("no such order is over")]
    Unknown,
    /// A counter's procedure is open for the card.
    #[error("a counter's procedure is open for this card: finish or cancel it first")]
    ProcedureOpen,
    /// The chip's answer was lost.
    #[error("the order was begun, and the card's answer was lost: {cause}")]
    Unsettled {
        /// What happened.
        cause: CardError,
    },
    /// The card or the reader; nothing was changed.
    #[error(transparent)]
    Card(#[from] CardError),
    /// What the counter's procedures refuse as well.
    #[error(transparent)]
    Procedure(#[from] ProcedureError),
    /// The daemon's keys.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The audit log. Nothing is done that cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The database.
    #[error("the database of orders: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored order cannot be read.
    #[error("the stored order {0} is damaged")]
    Damaged(String),
    /// A receipt could not be made.
    #[error("the receipt cannot be made: {0}")]
    Receipt(der::Error),
    /// The task that did the work was stopped.
    #[error("the daemon is stopping")]
    Stopped,
}

impl OrderError {
    /// Whether the order itself is refused, which is recorded.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::TooLarge
            | Self::NotSignedData(_)
            | Self::NotEnvelopedData(_)
            | Self::Signers
            | Self::Algorithm(_)
            | Self::Altered
            | Self::Signature
            | Self::NotAllowed
            | Self::Signer(_)
            | Self::Revoked
            | Self::Trust(_)
            | Self::Sealed(_)
            | Self::Content
            | Self::Expired(_)
            | Self::OtherCard
            | Self::Replayed { .. }
            | Self::ProcedureOpen
            | Self::Procedure(_) => true,
            Self::Off
            | Self::Unknown
            | Self::Unsettled { .. }
            | Self::Card(_)
            | Self::Custody(_)
            | Self::Audit(_)
            | Self::Database(_)
            | Self::Damaged(_)
            | Self::Receipt(_)
            | Self::Stopped => false,
        }
    }
}
