//! Message digesting (PKCS#11 v2.40 §5.10), in software.

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::ffi::template::Mechanism;
use crate::mechanism::{hash_of, hasher};
use crate::session::{DigestOperation, Session};
use crate::state::Module;

/// `C_DigestInit`.
pub(crate) fn digest_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let session = tables.session_mut(session)?;
    if session.digest.is_some() {
        return Err(Error::OperationActive);
    }
    let hash = hash_of(mechanism.kind())?;
    if !mechanism.parameter().is_empty() {
        return Err(Error::MechanismParamInvalid);
    }
    session.digest = Some(DigestOperation { hasher: hasher(hash), in_parts: false });
    Ok(())
}

/// `C_Digest`. Ends the operation unless the length is asked or the buffer too small.
pub(crate) fn digest(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
    mut digest: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let session = tables.session_mut(session)?;
    let operation = session.digest.as_mut().ok_or(Error::OperationNotInitialized)?;
    if operation.in_parts {
        session.digest = None;
        return Err(Error::OperationActive);
    }
    if digest.ask(operation.hasher.output_size())? == Asked::Items {
        operation.hasher.update(data.items());
        finish(session, &mut digest)?;
    }
    Ok(())
}

/// `C_DigestUpdate`.
pub(crate) fn digest_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let session = tables.session_mut(session)?;
    let operation = session.digest.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    operation.hasher.update(part.items());
    Ok(())
}

/// `C_DigestKey`: the value of a secret key; that of no other key can be read. An error ends the operation.
pub(crate) fn digest_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let operation = tables.session_mut(session)?.digest.take();
    let mut operation = operation.ok_or(Error::OperationNotInitialized)?;
    let object = tables.token_of(session)?.visible_object(key).ok_or(Error::KeyHandleInvalid)?;
    operation.hasher.update(object.as_secret_key().ok_or(Error::KeyIndigestible)?.value.expose());
    operation.in_parts = true;
    tables.session_mut(session)?.digest = Some(operation);
    Ok(())
}

/// `C_DigestFinal`.
pub(crate) fn digest_final(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut digest: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let session = tables.session_mut(session)?;
    let operation = session.digest.as_ref().ok_or(Error::OperationNotInitialized)?;
    if digest.ask(operation.hasher.output_size())? == Asked::Items {
        finish(session, &mut digest)?;
    }
    Ok(())
}

fn finish(session: &mut Session, digest: &mut Out<'_, u8>) -> Result<(), Error> {
    let operation = session.digest.take().ok_or(Error::OperationNotInitialized)?;
    digest.give(&operation.hasher.finalize()).map(drop)
}
