//! Why there is no PUK for its holder, as clients see it.

use cns_protocol::{ErrorKind, RpcError};

use crate::operator::TrustError;
use crate::puk::PukError;

impl From<PukError> for RpcError {
    fn from(error: PukError) -> Self {
        let say = |kind, hint: &str| RpcError::new(kind, error.to_string()).hint(hint).paragraph("§6.3-PUK");
        match error {
            PukError::Off => {
                say(ErrorKind::PukDeliveryOff, "The administrator turns it on under [puk_delivery]")
            }
            PukError::NotLoggedIn => RpcError::new(ErrorKind::NotLoggedIn, error.to_string())
                .hint("Log in first (`pin.verify`). Who has lost the PIN gets new codes at a counter (§9.4)")
                .paragraph("§6.3-PUK"),
            PukError::Disagree
            | PukError::Certificate(_)
            | PukError::Revoked
            | PukError::Usage
            | PukError::Signature
            | PukError::Trust(TrustError::Usage | TrustError::Key | TrustError::Certificate(_)) => {
                say(ErrorKind::PukDeliveryRefused, "New codes are given at a counter (§9.4)")
            }
            PukError::Trust(_) => {
                tracing::error!(%error, "a card's certificate cannot be judged");
                RpcError::new(
                    ErrorKind::PukDeliveryRefused,
                    "the status of the card's certificate is not known",
                )
                .hint("Ask the administrator to look at [puk_delivery] in cnsd.toml and the log of cnsd")
                .paragraph("§6.3-PUK")
            }
            PukError::Message => RpcError::new(ErrorKind::CiphertextInvalid, error.to_string())
                .hint("Put the card in that the message was made for"),
            PukError::Card(error) => error.into(),
            PukError::Custody(error) => error.into(),
        }
    }
}
