//! Verifying signatures (PKCS#11 v2.40 §5.12), in software, with the public keys of the certificates.

use std::sync::Arc;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::ffi::template::Mechanism;
use crate::input::Input;
use crate::mechanism::Scheme;
use crate::public_key::{PublicKey, Uses};
use crate::session::{Session, VerifyOperation};
use crate::state::{Module, Tables};

/// Where a session keeps an operation.
type Place = fn(&mut Session) -> &mut Option<VerifyOperation>;

/// `C_VerifyInit`.
pub(crate) fn verify_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let scheme = || Scheme::read(mechanism.kind(), mechanism.parameter());
    init(module, session, |session| &mut session.verify, scheme, key, |uses| uses.verify)
}

/// `C_VerifyRecoverInit`.
pub(crate) fn verify_recover_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let scheme = || Scheme::read_recovering(mechanism.kind(), mechanism.parameter());
    init(module, session, |session| &mut session.verify_recover, scheme, key, |uses| uses.verify_recover)
}

fn init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: Place,
    scheme: impl FnOnce() -> Result<Scheme, Error>,
    key: CK_OBJECT_HANDLE,
    allows: fn(&Uses) -> bool,
) -> Result<(), Error> {
    let mut tables = module.tables();
    if place(tables.session_mut(session)?).is_some() {
        return Err(Error::OperationActive);
    }
    let scheme = scheme()?;
    let key = public_key(&tables, session, key, allows)?;
    if !scheme.fits(key.length) {
        return Err(Error::MechanismParamInvalid);
    }
    let input = Input::of_scheme(scheme, key.length);
    *place(tables.session_mut(session)?) = Some(VerifyOperation { key, scheme, input, in_parts: false });
    Ok(())
}

/// The public key with this handle, when it may be used so.
pub(crate) fn public_key(
    tables: &Tables,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    allows: impl Fn(&Uses) -> bool,
) -> Result<Arc<PublicKey>, Error> {
    let object = tables.token_of(session)?.visible_object(key).ok_or(Error::KeyHandleInvalid)?;
    let key = object.as_public_key().filter(|key| allows(&key.uses));
    key.cloned().ok_or(Error::KeyFunctionNotPermitted)
}

/// `C_Verify`. "A call to C_Verify always terminates the active verification operation."
pub(crate) fn verify(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
    signature: In<'_, u8>,
) -> Result<(), Error> {
    let operation = module.tables().session_mut(session)?.verify.take();
    let mut operation = operation.ok_or(Error::OperationNotInitialized)?;
    if operation.in_parts {
        return Err(Error::OperationActive);
    }
    operation.input.update(data.items(), Error::DataLenRange)?;
    finish(operation, &signature)
}

/// `C_VerifyUpdate`. An error ends the operation.
pub(crate) fn verify_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.verify;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    let updated = operation.input.update(part.items(), Error::DataLenRange);
    if updated.is_err() {
        *place = None;
    }
    updated
}

/// `C_VerifyFinal`. Always ends the operation.
pub(crate) fn verify_final(
    module: &Module,
    session: CK_SESSION_HANDLE,
    signature: In<'_, u8>,
) -> Result<(), Error> {
    let operation = module.tables().session_mut(session)?.verify.take();
    finish(operation.ok_or(Error::OperationNotInitialized)?, &signature)
}

fn finish(operation: VerifyOperation, signature: &In<'_, u8>) -> Result<(), Error> {
    let VerifyOperation { key, scheme, input, .. } = operation;
    key.verify(scheme, &input.finish(), signature.items())
}

/// `C_VerifyRecover`. Ends the operation unless the length is asked or the buffer too small.
pub(crate) fn verify_recover(
    module: &Module,
    session: CK_SESSION_HANDLE,
    signature: In<'_, u8>,
    mut data: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.verify_recover;
    let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
    let recovered = operation.key.recover(operation.scheme, signature.items());
    let given = recovered.and_then(|recovered| data.give(&recovered));
    if !matches!(given, Ok(Asked::Length) | Err(Error::BufferTooSmall)) {
        *place = None;
    }
    given.map(drop)
}
