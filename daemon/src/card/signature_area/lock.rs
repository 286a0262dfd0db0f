//! Steps 17 to 19: nobody can replace the area's key or codes any more.

use cns_apdu::access::AccessConditions;
use cns_apdu::command::{ObjectSettings, PutData};
use cns_apdu::file_map::{FilePath, SIGNATURE_DF};
use cns_apdu::object::{ObjectAddress, ObjectClass, ObjectId};
use cns_apdu::signature_area::{
    self, LOCKED_KEY_DF_ACCESS, LOCKED_SIGNATURE_DF_ACCESS, PIN_CONDITIONS, Slot,
};
use cns_apdu::{Status, StatusWord};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;

use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::{Steps, change, current};

/// Locks the area (steps 17 and 18) and checks that the lock holds (step 19): until then whoever knows the CNS PIN
/// could replace the signature PIN and sign.
///
/// If the power fails, one of the two directories may be locked; a new call locks the other.
///
/// # Errors
/// [`CardError::AreaForbidden`] when the lock does not hold, [`CardError::AreaNotReady`] without an area, those of
/// [`pin::verify`] for the CNS PIN, or what the reader says.
pub fn lock(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let slot = current(session);
    lock_slot(session, slot, cns_pin, progress)
}

/// As [`lock`], in either slot.
pub(super) fn lock_slot(
    session: &mut CardSession<'_>,
    slot: Slot,
    cns_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let mut steps = Steps::new(progress, 4);
    steps.next("verify-pin", "presenting the CNS PIN");
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    steps.next("lock-key", "locking the signature key");
    lock_df(session, &slot.key_df_path(), LOCKED_KEY_DF_ACCESS, &signature_area::lock_key_df())?;
    steps.next("lock-area", "locking the signature PIN and its PUK");
    lock_df(session, &SIGNATURE_DF, LOCKED_SIGNATURE_DF_ACCESS, &signature_area::lock_signature_df())?;
    steps.next("check-lock", "checking that the lock holds");
    check(session)
}

fn lock_df(
    session: &mut CardSession<'_>,
    path: &FilePath,
    locked: AccessConditions,
    lock: &PutData,
) -> Result<(), CardError> {
    let file = session.chip().inspect(path)?.ok_or(CardError::AreaNotReady("it has not been created"))?;
    if file.access == Some(locked) { Ok(()) } else { change(session, lock) }
}

/// Step 19, in a form that does no harm should the lock not hold: the signature PIN would get the conditions that it
/// has. Signature DF current, CNS PIN verified.
fn check(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let probe = PutData::Oci(ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::SIGNATURE_PIN),
        attributes: None,
        conditions: Some(PIN_CONDITIONS),
        secure_messaging: None,
        body: None,
    });
    match session.run(&probe) {
        Err(error) if error.status().map(StatusWord::meaning) == Some(Status::SecurityNotSatisfied) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(CardError::AreaForbidden("the card accepted the lock but does not keep it")),
    }
}
