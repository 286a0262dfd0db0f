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
    let operation = VerifyOperation { key, scheme, input, in_parts: false, signature: None };
    *place(tables.session_mut(session)?) = Some(operation);
    Ok(())
}

/// `C_VerifySignatureInit` (PKCS#11 v3.2 §5.15): the signature comes first.
pub(crate) fn verify_signature_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
    signature: In<'_, u8>,
) -> Result<(), Error> {
    verify_init(module, session, mechanism, key)?;
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.verify;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    let signature = signature.items();
    if signature.len() != operation.key.length {
        *place = None;
        return Err(Error::SignatureLenRange);
    }
    operation.signature = Some(signature.to_vec());
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
    let operation = take(module, session, Family::SignatureLast)?;
    at_once(operation, &data, signature.items())
}

/// `C_VerifySignature`. Always ends the operation.
pub(crate) fn verify_signature(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
) -> Result<(), Error> {
    let mut operation = take(module, session, Family::SignatureFirst)?;
    let signature = operation.signature.take().ok_or(Error::OperationNotInitialized)?;
    at_once(operation, &data, &signature)
}

fn at_once(mut operation: VerifyOperation, data: &In<'_, u8>, signature: &[u8]) -> Result<(), Error> {
    if operation.in_parts {
        return Err(Error::OperationActive);
    }
    operation.input.update(data.items(), Error::DataLenRange)?;
    finish(operation, signature)
}

/// `C_VerifyUpdate`. An error ends the operation.
pub(crate) fn verify_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
) -> Result<(), Error> {
    update(module, session, &part, Family::SignatureLast)
}

/// `C_VerifySignatureUpdate`. An error ends the operation.
pub(crate) fn verify_signature_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
) -> Result<(), Error> {
    update(module, session, &part, Family::SignatureFirst)
}

fn update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: &In<'_, u8>,
    family: Family,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.verify;
    let operation = place.as_mut().filter(|operation| Family::of(operation) == family);
    let operation = operation.ok_or(Error::OperationNotInitialized)?;
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
    finish(take(module, session, Family::SignatureLast)?, signature.items())
}

/// `C_VerifySignatureFinal`. Always ends the operation.
pub(crate) fn verify_signature_final(module: &Module, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    let mut operation = take(module, session, Family::SignatureFirst)?;
    let signature = operation.signature.take().ok_or(Error::OperationNotInitialized)?;
    finish(operation, &signature)
}

fn finish(operation: VerifyOperation, signature: &[u8]) -> Result<(), Error> {
    let VerifyOperation { key, scheme, input, .. } = operation;
    key.verify(scheme, &input.finish(), signature)
}

/// Which functions go on with an operation; those of the other family find none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `C_VerifyInit` and its like.
    SignatureLast,
    /// `C_VerifySignatureInit` and its like.
    SignatureFirst,
}

impl Family {
    fn of(operation: &VerifyOperation) -> Self {
        if operation.signature.is_some() { Self::SignatureFirst } else { Self::SignatureLast }
    }
}

fn take(module: &Module, session: CK_SESSION_HANDLE, family: Family) -> Result<VerifyOperation, Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.verify;
    place.take_if(|operation| Family::of(operation) == family).ok_or(Error::OperationNotInitialized)
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
