//! Random bytes from the chip.

use cns_apdu::command::GetChallenge;

use super::{CardError, CardSession};

/// Random bytes from the chip's own generator (GET CHALLENGE), in as many steps as the chip needs.
///
/// # Errors
/// When the chip refuses.
pub fn random(session: &mut CardSession<'_>, length: u16) -> Result<Vec<u8>, CardError> {
    let wanted = usize::from(length);
    let step = session.contents().generation.challenge_length.min(256);
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let left = u32::try_from(wanted - bytes.len()).unwrap_or(step);
        bytes.extend(session.run(&GetChallenge { length: left.min(step) })?);
    }
    Ok(bytes)
}
