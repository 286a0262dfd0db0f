//! Why a request to or from another region is not taken, as clients see it.

use cns_protocol::{ErrorKind, RpcError};

use super::internal;
use crate::national::NationalError;

impl From<NationalError> for RpcError {
    fn from(error: NationalError) -> Self {
        let say = |kind, hint: &str| RpcError::new(kind, error.to_string()).hint(hint);
        match error {
            NationalError::Off => {
                say(ErrorKind::NationalOff, "The administrator configures [national] and [mail]")
            }
            NationalError::Rule { paragraph, hint, .. } => {
                say(ErrorKind::RuleRefuses, hint).paragraph(paragraph)
            }
            NationalError::Procedure(error) => (*error).into(),
            NationalError::Invalid(_) | NationalError::OtherRequest => {
                say(ErrorKind::InvalidParams, "See `national.*` in docs/interoperability.md")
            }
            NationalError::Unknown => {
                say(ErrorKind::NoSuchRequest, "Look at its identifier; one that was decided waits no more")
            }
            NationalError::Custody(error) => error.into(),
            NationalError::Audit(error) => error.into(),
            NationalError::Damaged(_) | NationalError::Database(_) => internal(&error),
        }
    }
}
