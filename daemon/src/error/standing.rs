//! Why the certificates of a card are not told or not changed, as clients see it.

use cns_protocol::{ErrorKind, RpcError};

use crate::procedure::ProcedureError;
use crate::standing::StandingError;
use crate::standing::desk::DeskError;

impl From<StandingError> for RpcError {
    fn from(error: StandingError) -> Self {
        ProcedureError::from(error).into()
    }
}

impl From<DeskError> for RpcError {
    fn from(error: DeskError) -> Self {
        let say = |kind, hint: &str, italian: &str| {
            RpcError::new(kind, error.to_string()).hint(hint).italian(italian)
        };
        match error {
            DeskError::Role(_) => RpcError::new(ErrorKind::Forbidden, error.to_string())
                .hint("The administrator gives roles to users and groups under [[access]] in cnsd.toml"),
            DeskError::WhichChannel => {
                RpcError::new(ErrorKind::InvalidParams, error.to_string()).hint("Name one of your roles")
            }
            DeskError::Invalid(_) => RpcError::new(ErrorKind::InvalidParams, error.to_string())
                .hint("See `certificate.*` in docs/protocol.md"),
            DeskError::NoOperator => say(
                ErrorKind::NoOperator,
                "Log in with the operator's smart card first (`operator.login`)",
                "Nessun operatore è autenticato. Autenticarsi con la propria smart card di operatore",
            )
            .paragraph("§9.3.2-2"),
            DeskError::Unproven { paragraph } => say(
                ErrorKind::HolderUnproven,
                "At a counter the holder is identified in person (§6.1)",
                "Codice fiscale, codice utente e nome non corrispondono. Allo sportello il titolare è identificato di \
                 persona (§6.1)",
            )
            .paragraph(paragraph),
            DeskError::Locked => say(
                ErrorKind::UserCodeLocked,
                "Try again later; at a counter the holder is identified in person (§6.1)",
                "Troppi codici utente errati. Riprovare più tardi o rivolgersi a uno sportello (§6.1)",
            )
            .paragraph("§6.2"),
            DeskError::NotKnown => say(
                ErrorKind::CertificatesUnknown,
                "At a counter that has the card in a reader they are known (`counter.start`)",
                "I certificati di questa carta non sono noti. Con la carta nel lettore si procede allo sportello",
            )
            .paragraph("X10"),
            DeskError::SeveralCards(_) => say(
                ErrorKind::SeveralCards,
                "Name one of them (`card`)",
                "Il titolare ha più carte. Indicarne una",
            ),
            DeskError::OnlyOperators => say(
                ErrorKind::AuthorityFailed,
                "Send the holder to a counter, or have [authority] configured with a protection of its own",
                "L'autorità richiede la firma di un operatore. Rivolgersi a uno sportello",
            )
            .paragraph("§7"),
            DeskError::Procedure(error) => error.into(),
            DeskError::Standing(error) => error.into(),
            DeskError::Holder(error) => error.into(),
        }
    }
}
