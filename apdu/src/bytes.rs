//! Small helpers over byte strings.

use cns_secret::{Secret, SecretError};

/// The parts one after the other, in locked memory allocated to size.
pub(crate) fn concat(parts: &[&[u8]]) -> Result<Secret, SecretError> {
    let mut secret = Secret::zeroed(parts.iter().map(|part| part.len()).sum())?;
    let mut rest = secret.expose_mut();
    for part in parts {
        // The lengths add up, so the split never falls short.
        let (head, tail) = rest.split_at_mut(part.len().min(rest.len()));
        head.copy_from_slice(part.get(..head.len()).unwrap_or_default());
        rest = tail;
    }
    Ok(secret)
}
