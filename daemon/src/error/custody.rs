//! Custody's errors as clients see them.

use cns_protocol::{ErrorKind, RpcError};

use super::internal;
use crate::custody::CustodyError;
use crate::database::DatabaseError;

impl From<CustodyError> for RpcError {
    fn from(error: CustodyError) -> Self {
        let say = |kind| RpcError::new(kind, error.to_string());
        match &error {
            CustodyError::Import(_) => say(ErrorKind::ImportRefused)
                .hint("Nothing was taken in. Correct the file and import it again"),
            CustodyError::NoPuk { .. } => {
                say(ErrorKind::NoPuk).hint("Have the custodian import the manufacturer's file for this card")
            }
            CustodyError::PukRefused { tries_left, .. } => say(ErrorKind::PukIncorrect)
                .tries_left(*tries_left)
                .hint("The card must be replaced unless its right PUK is found and imported"),
            CustodyError::CodeInvalid | CustodyError::EnvelopeUnknown { .. } => {
                say(ErrorKind::EnvelopeUnknown)
                    .hint("Read the code outside the envelope again")
                    .paragraph("§9.3.2-6")
            }
            CustodyError::SecondPerson => say(ErrorKind::SecondPersonNeeded).hint(
                "Have a second custodian, or a second operator with their own card, confirm the request",
            ),
            CustodyError::EnvelopeUnavailable { .. } | CustodyError::PinDestroyed { .. } => {
                say(ErrorKind::EnvelopeUnavailable)
                    .hint("Take another one of the envelopes assigned to you")
                    .paragraph("§9.3.2-6")
            }
            CustodyError::InProcedure { .. } | CustodyError::Waits { .. } => {
                say(ErrorKind::InvalidParams).hint("Finish or end what it names, or wait until that is over")
            }
            CustodyError::BackupElsewhere => {
                say(ErrorKind::InvalidParams).hint("docs/operations.md has the commands")
            }
            CustodyError::Invalid(_) | CustodyError::Count(_) | CustodyError::PukKnown { .. } => {
                say(ErrorKind::InvalidParams)
            }
            CustodyError::KeyFile { .. }
            | CustodyError::KeyFileFault { .. }
            | CustodyError::KeyFileMissing { .. }
            | CustodyError::WrongKey { .. }
            | CustodyError::HsmNotConfigured { .. }
            | CustodyError::Hsm(_)
            | CustodyError::Tampered { .. } => {
                tracing::error!(%error, "custody is damaged");
                RpcError::new(ErrorKind::CustodyDamaged, "custody's records or keys are damaged")
                    .hint("Stop, and ask the administrator to look at the log of cnsd")
            }
            CustodyError::Memory(_) => {
                RpcError::new(ErrorKind::Busy, "no locked memory is left for a secret")
                    .hint("Ask the administrator to raise RLIMIT_MEMLOCK of cnsd")
            }
            CustodyError::Stopped => say(ErrorKind::Busy).hint("The daemon is stopping; connect again later"),
            CustodyError::Database(DatabaseError::Unreachable(_)) => {
                tracing::error!(%error, "custody's database");
                RpcError::new(ErrorKind::Busy, "custody's database cannot be reached")
                    .hint("Ask again: what was done is not done twice. Tell the administrator if it stays so")
            }
            CustodyError::Backup { .. }
            | CustodyError::ImportFile(_)
            | CustodyError::Database(_)
            | CustodyError::Cryptography(_)
            | CustodyError::Certificate(_) => internal(&error),
        }
    }
}
