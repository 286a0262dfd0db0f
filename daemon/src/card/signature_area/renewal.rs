//! The next key and certificate, beside those in use (X2): [`prepare`], [`generate_key`], [`lock`], [`sign_request`],
//! [`load_certificate`], [`finish`].
//!
//! The area has two slots. The new key is made in the one that is not in use, is locked before the authority hears of
//! it, and gets its certificate there; until that is loaded whole the old ones serve, whatever happens: of two
//! certificates that of the first slot is used, and [`finish`] takes the other one away. PIN and PUK stay.

use cns_apdu::file_map::SIGNATURE_DF;
use cns_apdu::signature_area::Slot;
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::RsaPublicKey;

use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::create::make_room;
use super::state::{AreaState, Stage, inspect, inspect_slot};
use super::{Steps, certificate, current, key, lock as locking, remove};

/// The slot that the next key goes into.
fn next(session: &CardSession<'_>) -> Slot {
    current(session).other()
}

/// How the slot of the next key stands.
///
/// # Errors
/// As [`super::inspect`].
pub fn inspect_next(session: &mut CardSession<'_>) -> Result<AreaState, CardError> {
    let slot = next(session);
    inspect_slot(session, slot)
}

/// Makes the place for the next key and its certificate. What an interrupted renewal left there is deleted.
///
/// If the power fails, the old key and certificate are as before, and a new call does all of it again.
///
/// # Errors
/// [`CardError::AreaNotReady`] without a certificate to renew, or with an area that is not locked; those of
/// [`super::create`].
pub fn prepare(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let mut steps = Steps::new(progress, 4);
    steps.next("inspect-area", "looking at the signature area");
    let state = inspect(session)?;
    if state.stage != Stage::Certificate {
        return Err(CardError::AreaNotReady("there is no certificate to renew"));
    }
    if !state.locked {
        return Err(CardError::AreaNotReady("it is not locked"));
    }
    let slot = next(session);
    let stage = inspect_slot(session, slot)?.stage;
    steps.next("empty-slot", "deleting what an interrupted renewal left behind");
    remove::empty(session, slot, stage, cns_pin, area_pin)?;
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    session.chip().select(&SIGNATURE_DF)?;
    make_room(session, slot, &mut steps)
}

/// As [`super::generate_key`], of the next key.
///
/// # Errors
/// The same.
pub fn generate_key(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RsaPublicKey, CardError> {
    let slot = next(session);
    key::generate_in(session, slot, cns_pin, area_pin, progress)
}

/// As [`super::lock`], of the next key.
///
/// # Errors
/// The same.
pub fn lock(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let slot = next(session);
    locking::lock_slot(session, slot, cns_pin, progress)
}

/// As [`super::sign_request`], with the next key.
///
/// # Errors
/// The same.
pub fn sign_request(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    digest: &[u8],
) -> Result<Vec<u8>, CardError> {
    let slot = next(session);
    key::sign_in(session, slot, area_pin, digest)
}

/// As [`super::load_certificate`], of the next key.
///
/// # Errors
/// The same.
pub fn load_certificate(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    der: &[u8],
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let slot = next(session);
    certificate::load_in(session, slot, cns_pin, der, progress)
}

/// Ends the renewal with the certificate that was loaded: the old certificate is emptied and its key deleted, so that the
/// new ones are used from the next reading of the card on.
///
/// If the power fails, the old certificate serves until it is gone, and the new one from then on; a new call deletes
/// what is left of the old key.
///
/// # Errors
/// [`CardError::AreaNotReady`] before [`load_certificate`], those of [`pin::verify`] for both PINs, or what the reader
/// says.
pub fn finish(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    der: &[u8],
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let mut steps = Steps::new(progress, 2);
    steps.next("inspect-area", "looking at the new key and certificate");
    let in_use = current(session);
    let holds = |state: &AreaState| state.locked && state.certificate.as_deref() == Some(der);
    // After a cut the old certificate may be gone, so that the new one is in use already.
    let old = if holds(&inspect_slot(session, in_use)?) {
        in_use.other()
    } else if holds(&inspect_slot(session, in_use.other())?) {
        in_use
    } else {
        return Err(CardError::AreaNotReady("the new certificate is not loaded"));
    };
    let stage = inspect_slot(session, old)?.stage;
    steps.next("empty-slot", "deleting the old certificate and its key");
    remove::empty(session, old, stage, cns_pin, area_pin)
}
