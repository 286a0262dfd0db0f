//! Signing (PKCS#11 v2.40 §5.11).

use std::sync::Arc;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Sign;
use cns_protocol::pin::PinName;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::api::login;
use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::ffi::template::Mechanism;
use crate::mechanism::Scheme;
use crate::session::Session;
use crate::sign_operation::{PinSource, SignOperation};
use crate::state::{Module, lock};

/// Where a session keeps an operation.
type Place = fn(&mut Session) -> &mut Option<SignOperation>;

/// `C_SignInit`.
pub(crate) fn sign_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let scheme = || Scheme::read(mechanism.kind(), mechanism.parameter());
    init(module, session, |session| &mut session.sign, scheme, key)
}

/// `C_SignRecoverInit`.
pub(crate) fn sign_recover_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let scheme = || Scheme::read_recovering(mechanism.kind(), mechanism.parameter());
    init(module, session, |session| &mut session.sign_recover, scheme, key)
}

fn init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: Place,
    scheme: impl FnOnce() -> Result<Scheme, Error>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let mut tables = module.tables();
    if place(tables.session_mut(session)?).is_some() {
        return Err(Error::OperationActive);
    }
    let scheme = scheme()?;
    let token = tables.token_of(session)?;
    let object = token.object(key).ok_or(Error::KeyHandleInvalid)?;
    let key = object.as_private_key().ok_or(Error::KeyFunctionNotPermitted)?;
    if !token.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    let operation = SignOperation::new(Arc::clone(key), scheme)?;
    *place(tables.session_mut(session)?) = Some(operation);
    Ok(())
}

/// `C_Sign`.
pub(crate) fn sign(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
    signature: Out<'_, u8>,
) -> Result<(), Error> {
    at_once(module, session, |session| &mut session.sign, &data, signature)
}

/// `C_SignRecover`: the same signature as `C_Sign` makes, from which `C_VerifyRecover` has the data again.
pub(crate) fn sign_recover(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
    signature: Out<'_, u8>,
) -> Result<(), Error> {
    at_once(module, session, |session| &mut session.sign_recover, &data, signature)
}

/// "A call to C_Sign always terminates the active signing operation unless it returns CKR_BUFFER_TOO_SMALL or is a
/// successful call … to determine the length of the buffer."
fn at_once(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: Place,
    data: &In<'_, u8>,
    mut signature: Out<'_, u8>,
) -> Result<(), Error> {
    let operation = {
        let mut tables = module.tables();
        let place = place(tables.session_mut(session)?);
        let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
        if operation.in_parts {
            *place = None;
            return Err(Error::OperationActive);
        }
        // The length is the modulus', so asking it costs no signature.
        if signature.ask(operation.key.length)? == Asked::Length {
            return Ok(());
        }
        place.take()
    };
    let mut operation = operation.ok_or(Error::OperationNotInitialized)?;
    operation.update(data.items())?;
    finish(module, session, operation, &mut signature)
}

/// `C_SignUpdate`. An error ends the operation.
pub(crate) fn sign_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.sign;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    let updated = operation.update(part.items());
    if updated.is_err() {
        *place = None;
    }
    updated
}

/// `C_SignFinal`. Ends the operation as `C_Sign` does.
pub(crate) fn sign_final(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut signature: Out<'_, u8>,
) -> Result<(), Error> {
    let operation = {
        let mut tables = module.tables();
        let place = &mut tables.session_mut(session)?.sign;
        let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
        if signature.ask(operation.key.length)? == Asked::Length {
            return Ok(());
        }
        place.take()
    };
    finish(module, session, operation.ok_or(Error::OperationNotInitialized)?, &mut signature)
}

fn finish(
    module: &Module,
    session: CK_SESSION_HANDLE,
    operation: SignOperation,
    signature: &mut Out<'_, u8>,
) -> Result<(), Error> {
    let finished = operation.finish()?;
    let (place, confirm_last_try) = {
        let mut tables = module.tables();
        let place = tables.place_of(session)?;
        let token = tables.token_at(&place)?;
        let proved = !finished.key.pin_for_each_use || finished.pin.is_some();
        if !(token.logged_in && proved) {
            return Err(Error::UserNotLoggedIn);
        }
        (place, token.tries(pin_of(finished.key.key_use)).last_told)
    };
    let pin = finished.pin.map(PinSource::into_text).transpose()?.flatten();
    let request = Sign {
        reader: place.reader.clone(),
        insertion: Some(place.insertion),
        key_use: finished.key.key_use,
        mechanism: finished.mechanism,
        data: finished.data,
        pin,
        confirm_last_try,
    };
    let answer = lock(&place.link).work(&request);
    drop(request);
    let which = pin_of(finished.key.key_use);
    let answer = answer.map_err(|error| login::refused(module, &place, which, error))?;
    if answer.signature.len() != finished.key.length {
        return Err(Error::DeviceError);
    }
    signature.give(&answer.signature).map(drop)
}

/// The PIN that a key wants.
fn pin_of(key_use: KeyUse) -> PinName {
    match key_use {
        KeyUse::Authentication => PinName::Cns,
        KeyUse::Signature => PinName::Signature,
    }
}
