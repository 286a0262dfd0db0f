//! Why an order is not carried out, as clients see it.

use cns_protocol::{ErrorKind, RpcError};

use super::internal;
use crate::card::CardError;
use crate::custody::CustodyError;
use crate::operator::TrustError;
use crate::order::OrderError;

impl From<OrderError> for RpcError {
    fn from(error: OrderError) -> Self {
        let say = |kind, hint: &str| RpcError::new(kind, error.to_string()).hint(hint);
        let nothing = "Nothing was done with the card. Have the CMS system make the order again";
        match error {
            OrderError::Off => {
                say(ErrorKind::OrdersOff, "The administrator names them under [orders] in cnsd.toml")
            }
            OrderError::TooLarge
            | OrderError::NotSignedData(_)
            | OrderError::NotEnvelopedData(_)
            | OrderError::Signers
            | OrderError::Algorithm(_)
            | OrderError::Altered
            | OrderError::Content => say(ErrorKind::OrderInvalid, nothing),
            OrderError::Sealed(CustodyError::Import(_)) => say(ErrorKind::OrderInvalid, nothing),
            OrderError::Signature
            | OrderError::NotAllowed
            | OrderError::Signer(_)
            | OrderError::Revoked
            | OrderError::Trust(TrustError::Usage) => {
                say(ErrorKind::OrderSigner, "Nothing was done with the card. Look at [orders] in cnsd.toml")
            }
            OrderError::Trust(_) => {
                tracing::error!(%error, "the signer of an order cannot be judged");
                RpcError::new(ErrorKind::OrderSigner, "the status of the order's signer is not known")
                    .hint("Ask the administrator to look at [orders] in cnsd.toml and the log of cnsd")
            }
            OrderError::Expired(_) => say(ErrorKind::OrderExpired, nothing),
            OrderError::OtherCard => {
                say(ErrorKind::OrderOtherCard, "Put the card into the reader that the order is for")
            }
            OrderError::Replayed { .. } => {
                say(ErrorKind::OrderReplayed, "`order.receipt` gives the receipt of an order that is over")
            }
            OrderError::Unknown => {
                say(ErrorKind::NoSuchOrder, "Send the order itself: one that is not over goes on")
            }
            OrderError::ProcedureOpen => {
                say(ErrorKind::Busy, "`counter.list` shows it").paragraph("§9.3.2-7")
            }
            OrderError::Unsettled { cause } => {
                let sentence = CardError::to_string(&cause);
                let cause = RpcError::from(cause);
                RpcError {
                    message: format!("the order was begun, and the card's answer was lost: {sentence}"),
                    ..cause
                }
                .hint("Put the same card into a reader again, or send the same order again: it goes on")
            }
            OrderError::Card(error) => error.into(),
            OrderError::Procedure(error) => error.into(),
            OrderError::Sealed(error) | OrderError::Custody(error) => error.into(),
            OrderError::Audit(error) => error.into(),
            OrderError::Database(_) | OrderError::Damaged(_) | OrderError::Receipt(_) => internal(&error),
            OrderError::Stopped => say(ErrorKind::Busy, "Connect again later"),
        }
    }
}
