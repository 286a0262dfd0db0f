//! Emptying the area: its certificate, then its key.

use cns_apdu::command::UpdateBinary;
use cns_apdu::signature_area::{CERTIFICATE_SIZE, Slot};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;

use super::super::contents::{FIRST_PIECE, der_length};
use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::certificate::PIECE;
use super::create::delete_key_place;
use super::state::{Stage, inspect_slot};
use super::{Steps, change, current, place};

/// Empties both slots of the area: certificates are overwritten with zeros, keys are deleted. PIN and PUK stay, since no
/// command deletes them, and so does the lock: [`super::create`] makes the area anew by its PUK. For who was told to by
/// an explicit word.
///
/// If the power fails, the certificate may be gone and its key still there, which nobody finds without it; a new
/// call deletes it.
///
/// # Errors
/// [`CardError::AreaForbidden`] where this generation of cards has no area, those of [`pin::verify`] for both PINs, or
/// what the reader says.
pub fn remove(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let mut steps = Steps::new(progress, 4);
    // The codes are named from the slot in use: it goes last.
    let in_use = current(session);
    for slot in [in_use.other(), in_use] {
        steps.next("inspect-area", "looking at the signature area");
        let stage = inspect_slot(session, slot)?.stage;
        steps.next("empty-area", "deleting certificate and key");
        empty(session, slot, stage, cns_pin, area_pin)?;
    }
    Ok(())
}

/// Empties one slot, whatever is in it.
pub(super) fn empty(
    session: &mut CardSession<'_>,
    slot: Slot,
    stage: Stage,
    cns_pin: &Secret,
    area_pin: &Secret,
) -> Result<(), CardError> {
    let certificate = &place(session, slot)?.certificate.path;
    let has_file = session.chip().find(certificate)?.is_some();
    if stage == Stage::Absent && !has_file {
        return Ok(());
    }
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    if has_file {
        empty_certificate(session, slot)?;
    }
    if stage == Stage::Absent { Ok(()) } else { delete_key_place(session, slot, area_pin) }
}

/// Overwrites a certificate with zeros, the CNS PIN being verified; its file stays. From its beginning, so that nobody
/// takes the rest for a certificate if the power fails. Nothing to do where there is none.
pub(super) fn empty_certificate(session: &mut CardSession<'_>, slot: Slot) -> Result<(), CardError> {
    let path = &place(session, slot)?.certificate.path;
    let Some(file) = session.chip().inspect(path)? else {
        return Ok(());
    };
    let beginning = session.chip().read_current(FIRST_PIECE, der_length)?;
    // An answer without data tells nothing.
    if !beginning.is_empty() && beginning.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let size = file.size.unwrap_or(u32::from(CERTIFICATE_SIZE));
    let size = u16::try_from(size).unwrap_or(0x8000).min(0x8000);
    let mut offset: u16 = 0;
    while offset < size {
        let length = usize::from(size - offset).min(PIECE);
        change(session, &UpdateBinary { offset, data: vec![0; length] })?;
        offset = offset.saturating_add(u16::try_from(length).unwrap_or(u16::MAX));
    }
    Ok(())
}
