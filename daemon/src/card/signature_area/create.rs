//! Steps 1 to 9 and 15: the codes, the place for the key, the room for the certificate.

use cns_apdu::access::ObjectConditions;
use cns_apdu::command::{ObjectSettings, PinReference, PutData, ReferenceData, Verify};
use cns_apdu::file_map::SIGNATURE_DF;
use cns_apdu::generation::KeyPlace;
use cns_apdu::signature_area::{self, PIN_CONDITIONS, PUK_CONDITIONS, Slot};
use cns_apdu::{Status, StatusWord};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;

use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::state::{AreaState, Stage, inspect};
use super::{FULL, KEY_SIZE, Steps, change, current, place, put, remove};
use crate::reader::Known;

/// The tries of the area's codes (`cns-card` §8.2).
const TRIES: u8 = 3;

/// What becomes of an area that has a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// Makes the place for a key and the room for its certificate, then the area's own PIN and PUK (`cns-card` §8.3, steps 6
/// to 9 and 15, then 4 and 5). What takes memory comes first, because a chip does not say surely how much it has, and
/// because no command deletes a code: a card that is too full is left as it was. What an interrupted run left behind is
/// replaced: codes get the new values, a place for a key is deleted and made anew. An area that is locked already gets its
/// PIN by its PUK.
///
/// If the power fails, either nothing was done, or a new call does all of it again.
///
/// # Errors
/// [`CardError::AreaExists`] when there is a certificate, [`CardError::PukIncorrect`] when the area was locked by
/// somebody else, [`CardError::AreaForbidden`] when the card does not let its holder do it or has no memory, those of
/// [`pin::verify`] for the CNS PIN, or what the reader says.
pub fn create(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    area_puk: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    make(session, [cns_pin, area_pin, area_puk], Existing::Keep, progress)
}

/// As [`create`], and makes an area anew that has a certificate: its key and certificate are lost for ever. For who was
/// told to by an explicit word. Nothing is lost before the chip has accepted the area's PUK, where the area is locked.
///
/// # Errors
/// As [`create`], but for [`CardError::AreaExists`].
pub fn replace(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    area_puk: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    make(session, [cns_pin, area_pin, area_puk], Existing::Replace, progress)
}

fn make(
    session: &mut CardSession<'_>,
    [cns_pin, area_pin, area_puk]: [&Secret; 3],
    existing: Existing,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let slot = current(session);
    let place = place(session, slot)?;
    let (new_pin, new_puk) = (pin::digits(area_pin)?, pin::digits(area_puk)?);
    if new_puk.unpadded_length() != area_puk.len() || area_puk.len() != 8 {
        return Err(CardError::PinInvalid);
    }
    let mut steps = Steps::new(progress, 5);
    steps.next("inspect-area", "looking at the card's place for signatures");
    let state = inspect(session)?;
    if state.stage == Stage::Certificate && existing == Existing::Keep {
        return Err(CardError::AreaExists);
    }
    if let Some(reason) = state.forbidden {
        return Err(CardError::AreaForbidden(reason));
    }
    let has_place = prepare(session, slot, &state, [cns_pin, area_pin, area_puk], &mut steps)?;
    steps.next("verify-pin", "presenting the CNS PIN");
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    if state.stage == Stage::Certificate {
        remove::empty_certificate(session, slot)?;
    }
    if has_place {
        session.chip().select(&SIGNATURE_DF)?;
        create_codes(session, place, [&new_pin, &new_puk], &mut steps)?;
        delete_key_place(session, slot, area_pin)?;
        return make_room(session, slot, &mut steps);
    }
    session.chip().select(&SIGNATURE_DF)?;
    make_room(session, slot, &mut steps)?;
    let outcome = create_codes(session, place, [&new_pin, &new_puk], &mut steps);
    if matches!(outcome, Err(CardError::AreaForbidden(FULL))) {
        session.chip().select(&SIGNATURE_DF)?;
        change(session, &signature_area::delete_certificate_file(slot))?;
        change(session, &signature_area::delete_key_df(slot))?;
    }
    outcome
}

/// Opens an area whose codes are locked. Tells whether there is a place for a key.
fn prepare(
    session: &mut CardSession<'_>,
    slot: Slot,
    state: &AreaState,
    [cns_pin, area_pin, area_puk]: [&Secret; 3],
    steps: &mut Steps<'_>,
) -> Result<bool, CardError> {
    let has_place = state.stage != Stage::Absent;
    if !state.codes_locked {
        return Ok(has_place);
    }
    if !has_place {
        // The codes are named from the place for a key, which was taken away with an old key.
        pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
        session.chip().select(&SIGNATURE_DF)?;
        change(session, &signature_area::create_key_df(slot))?;
    }
    take_back(session, area_pin, area_puk, steps)?;
    Ok(true)
}

/// PIN and PUK, the signature DF being current and the CNS PIN verified.
fn create_codes(
    session: &mut CardSession<'_>,
    place: &KeyPlace,
    [new_pin, new_puk]: [&ReferenceData; 2],
    steps: &mut Steps<'_>,
) -> Result<(), CardError> {
    steps.next("create-codes", "creating the signature PIN and its PUK");
    let puk = signature_area::create_puk(new_puk)?;
    put_code(session, place.puk, puk, signature_area::replace_puk(new_puk)?, PUK_CONDITIONS)?;
    let pin = signature_area::create_pin(new_pin)?;
    put_code(session, place.pin, pin, signature_area::replace_pin(new_pin)?, PIN_CONDITIONS)?;
    session.set_tries(PinName::Signature, false, Known::Nothing);
    session.set_tries(PinName::Signature, true, Known::Nothing);
    Ok(())
}

/// An area that an earlier run locked is opened again by its PUK, and made anew like any other: whoever knows the CNS PIN
/// may have changed it before it was locked. Any other PUK is refused by the chip, and that area stays closed.
fn take_back(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    area_puk: &Secret,
    steps: &mut Steps<'_>,
) -> Result<(), CardError> {
    steps.next("take-back", "opening the locked area with its PUK");
    pin::reset(session, PinName::Signature, area_puk, area_pin, LastTry::Ask)?;
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    session.chip().select(&SIGNATURE_DF)?;
    change(session, &signature_area::reopen_signature_df())
}

/// Creates a code, or gives the one that an interrupted run left behind its new value and its proper conditions.
fn put_code(
    session: &mut CardSession<'_>,
    reference: PinReference,
    create: PutData,
    replace: PutData,
    conditions: ObjectConditions,
) -> Result<(), CardError> {
    let replace = match replace {
        PutData::Oci(settings) => PutData::Oci(ObjectSettings { conditions: Some(conditions), ..settings }),
        PutData::Seci(_) | PutData::Fci(_) => replace,
    };
    match pin::is_there(session, reference)? {
        Some(true) => {
            put(session, &replace)?;
            judge_replaced(session, reference)
        }
        Some(false) => put(session, &create),
        // Where the chip cannot be asked, its refusal to create what exists tells.
        None => match put(session, &create) {
            Err(CardError::Refused { .. }) => put(session, &replace),
            outcome => outcome,
        },
    }
}

/// A code that was there keeps the attributes that it was made with, and whoever made it may have given it tries
/// without end.
fn judge_replaced(session: &mut CardSession<'_>, reference: PinReference) -> Result<(), CardError> {
    match session.run(&Verify { reference, value: None }) {
        Err(error) => match error.status().map(StatusWord::meaning) {
            Some(Status::RetriesLeft(left)) if (1..=TRIES).contains(&left) => Ok(()),
            Some(_) => {
                Err(CardError::AreaForbidden("the area has a PIN or PUK that allows more tries than ours"))
            }
            None => Err(error),
        },
        Ok(()) => Err(CardError::AreaForbidden("the area has a PIN or PUK that needs no value")),
    }
}

/// Takes away the place for a key that an interrupted run, or an old key, left behind. Where it is locked only the
/// signature PIN, which has its new value already, may do that. The CNS PIN is verified.
pub(super) fn delete_key_place(
    session: &mut CardSession<'_>,
    slot: Slot,
    area_pin: &Secret,
) -> Result<(), CardError> {
    session.chip().select(&SIGNATURE_DF)?;
    match change(session, &signature_area::delete_key_df(slot)) {
        Err(CardError::AreaForbidden(_)) => {}
        outcome => return outcome,
    }
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    session.chip().select(&SIGNATURE_DF)?;
    change(session, &signature_area::delete_key_df(slot))
}

/// Steps 6 to 9 and 15, the signature DF being current and the CNS PIN verified: the place for the key, and the
/// certificate's file, so that no certificate is asked for that the card has no room for. If the chip has no memory for
/// all of it (6A84), what was made is taken away again. The signature DF is current at the end.
pub(super) fn make_room(
    session: &mut CardSession<'_>,
    slot: Slot,
    steps: &mut Steps<'_>,
) -> Result<(), CardError> {
    steps.next("create-key-place", "creating the place for the key");
    change(session, &signature_area::create_key_df(slot))?;
    let outcome = fill(session, slot, steps);
    if matches!(outcome, Err(CardError::AreaForbidden(_))) {
        session.chip().select(&SIGNATURE_DF)?;
        change(session, &signature_area::delete_key_df(slot))?;
    }
    outcome
}

fn fill(session: &mut CardSession<'_>, slot: Slot, steps: &mut Steps<'_>) -> Result<(), CardError> {
    put(session, &signature_area::create_modulus(KEY_SIZE)?)?;
    put(session, &signature_area::create_exponent(KEY_SIZE)?)?;
    change(session, &signature_area::create_public_key_file(KEY_SIZE))?;
    steps.next("create-certificate-place", "reserving the room for the certificate");
    session.chip().select(&SIGNATURE_DF)?;
    match change(session, &signature_area::create_certificate_file(slot)) {
        Err(CardError::Refused { status: StatusWord::ALREADY_EXISTS, .. }) => Ok(()),
        outcome => outcome,
    }
}
