//! Steps 1 to 9 and 15: the codes, the place for the key, the room for the certificate.

use cns_apdu::access::ObjectConditions;
use cns_apdu::command::{ObjectSettings, PinReference, PutData, Verify};
use cns_apdu::file_map::SIGNATURE_DF;
use cns_apdu::signature_area::{self, KeySize, PIN_CONDITIONS, PUK_CONDITIONS};
use cns_apdu::{Status, StatusWord};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;

use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::state::{Stage, inspect};
use super::{Steps, change, key_size, place, put};
use crate::reader::Known;

/// The tries of the area's codes (`cns-card` §8.2).
const TRIES: u8 = 3;

/// Makes the area with its own PIN and PUK and the place for a key (`cns-card` §8.3, steps 1 to 9), and
/// reserves the room for the certificate (step 15). What an interrupted run left behind is replaced: codes get the new
/// values, a place for a key is deleted and made anew. An area that is locked already gets its PIN by its PUK.
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
    let place = place(session)?;
    let size = key_size(place)?;
    let (new_pin, new_puk) = (pin::digits(area_pin)?, pin::digits(area_puk)?);
    if new_puk.unpadded_length() != area_puk.len() || area_puk.len() != 8 {
        return Err(CardError::PinInvalid);
    }
    let mut steps = Steps::new(progress, 5);
    steps.next("inspect-area", "looking at the card's place for signatures");
    let state = inspect(session)?;
    if state.stage == Stage::Certificate {
        return Err(CardError::AreaExists);
    }
    if state.locked {
        take_back(session, area_pin, area_puk, &mut steps)?;
    }
    if let Some(reason) = state.forbidden {
        return Err(CardError::AreaForbidden(reason));
    }
    steps.next("verify-pin", "presenting the CNS PIN");
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    session.chip().select(&SIGNATURE_DF)?;
    steps.next("create-codes", "creating the signature PIN and its PUK");
    let puk = signature_area::create_puk(&new_puk)?;
    put_code(session, place.puk, puk, signature_area::replace_puk(&new_puk)?, PUK_CONDITIONS)?;
    let pin = signature_area::create_pin(&new_pin)?;
    put_code(session, place.pin, pin, signature_area::replace_pin(&new_pin)?, PIN_CONDITIONS)?;
    session.set_tries(PinName::Signature, false, Known::Nothing);
    session.set_tries(PinName::Signature, true, Known::Nothing);
    steps.next("create-key-place", "creating the place for the key");
    if state.stage != Stage::Absent {
        delete_key_place(session, area_pin)?;
    }
    create_key_place(session, size)?;
    steps.next("create-certificate-place", "reserving the room for the certificate");
    reserve_certificate(session)
}

/// An area that an earlier run locked and left without a certificate is opened again by its PUK, and made anew like any
/// other: whoever knows the CNS PIN may have changed it before it was locked. Any other PUK is refused by the chip, and
/// that area stays closed.
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

/// Takes away the place for a key that an interrupted run left behind. Where it was interrupted between its two locks,
/// only the signature PIN, which has its new value already, may do that.
fn delete_key_place(session: &mut CardSession<'_>, area_pin: &Secret) -> Result<(), CardError> {
    match change(session, &signature_area::delete_key_df()) {
        Err(CardError::AreaForbidden(_)) => {}
        outcome => return outcome,
    }
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    session.chip().select(&SIGNATURE_DF)?;
    change(session, &signature_area::delete_key_df())
}

/// Steps 6 to 9. Without memory for all of it the part that was made is taken away again.
fn create_key_place(session: &mut CardSession<'_>, size: KeySize) -> Result<(), CardError> {
    change(session, &signature_area::create_key_df())?;
    let mut fill = || {
        put(session, &signature_area::create_modulus(size)?)?;
        put(session, &signature_area::create_exponent(size)?)?;
        change(session, &signature_area::create_public_key_file(size))
    };
    let outcome = fill();
    if matches!(outcome, Err(CardError::AreaForbidden(_))) {
        session.chip().select(&SIGNATURE_DF)?;
        change(session, &signature_area::delete_key_df())?;
    }
    outcome
}

/// Makes the certificate's file now, so that no certificate is asked for that the card has no room for.
fn reserve_certificate(session: &mut CardSession<'_>) -> Result<(), CardError> {
    session.chip().select(&SIGNATURE_DF)?;
    match change(session, &signature_area::create_certificate_file()) {
        Err(CardError::Refused { status: StatusWord::ALREADY_EXISTS, .. }) => Ok(()),
        outcome => outcome,
    }
}
