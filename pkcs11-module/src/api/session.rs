//! Session management (PKCS#11 v2.40 §5.6), logins apart.

use cryptoki_sys as ck;
use cryptoki_sys::{
    CK_FLAGS, CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SESSION_VALIDATION_FLAGS_TYPE, CK_SLOT_ID,
};

use crate::error::Error;
use crate::ffi::buffer::Put;
use crate::session::Session;
use crate::state::{Module, Tables};

/// `C_OpenSession`. The notification callback is never called: no function here runs side by side with another.
pub(crate) fn open_session(
    module: &Module,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    mut handle: Put<'_, CK_SESSION_HANDLE>,
) -> Result<(), Error> {
    if flags & ck::CKF_SERIAL_SESSION == 0 {
        return Err(Error::SessionParallelNotSupported);
    }
    if flags & ck::CKF_ASYNC_SESSION != 0 {
        return Err(Error::SessionAsyncNotSupported);
    }
    module.refresh()?;
    let mut tables = module.tables();
    let read_write = flags & ck::CKF_RW_SESSION != 0;
    if tables.slot(slot)?.token()?.puk.is_some() && !read_write {
        return Err(Error::SessionReadWriteSoExists);
    }
    handle.put(tables.open(Session::new(slot, read_write)));
    Ok(())
}

/// `C_CloseSession`. The login ends with the last session.
pub(crate) fn close_session(module: &Module, handle: CK_SESSION_HANDLE) -> Result<(), Error> {
    let mut tables = module.tables();
    let slot = tables.close(handle)?;
    let place = if tables.sessions_of(slot).next().is_none() { tables.end_login(slot) } else { None };
    drop(tables);
    place.iter().for_each(Module::log_out);
    Ok(())
}

/// `C_CloseAllSessions`.
pub(crate) fn close_all_sessions(module: &Module, slot: CK_SLOT_ID) -> Result<(), Error> {
    let mut tables = module.tables();
    tables.slot(slot)?;
    tables.close_all(slot);
    let place = tables.end_login(slot);
    drop(tables);
    place.iter().for_each(Module::log_out);
    Ok(())
}

/// `C_GetSessionInfo`.
pub(crate) fn get_session_info(
    module: &Module,
    handle: CK_SESSION_HANDLE,
    mut info: Put<'_, CK_SESSION_INFO>,
) -> Result<(), Error> {
    module.refresh_session(handle)?;
    info.put(describe(&module.tables(), handle)?);
    Ok(())
}

/// `C_SessionCancel` (PKCS#11 v3.2 §5.6). What is not active is cancelled already.
pub(crate) fn session_cancel(
    module: &Module,
    handle: CK_SESSION_HANDLE,
    flags: CK_FLAGS,
) -> Result<(), Error> {
    module.tables().session_mut(handle)?.cancel(flags);
    Ok(())
}

/// `C_SignInit` and its like without a mechanism: ends the active operation (PKCS#11 v3.2 §5.8 and others). Without one
/// there is nothing that null could mean.
pub(crate) fn cancel_by_init(
    module: &Module,
    handle: CK_SESSION_HANDLE,
    flag: CK_FLAGS,
) -> Result<(), Error> {
    if module.tables().session_mut(handle)?.cancel(flag) { Ok(()) } else { Err(Error::ArgumentsBad) }
}

/// `C_GetSessionValidationFlags` (PKCS#11 v3.2 §5.6). No operation of a token without validation objects was ever
/// validated.
pub(crate) fn get_session_validation_flags(
    module: &Module,
    handle: CK_SESSION_HANDLE,
    kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
    mut flags: Put<'_, CK_FLAGS>,
) -> Result<(), Error> {
    module.tables().session(handle)?;
    if kind != ck::CKS_LAST_VALIDATION_OK {
        return Err(Error::ArgumentsBad);
    }
    flags.put(0);
    Ok(())
}

fn describe(tables: &Tables, handle: CK_SESSION_HANDLE) -> Result<CK_SESSION_INFO, Error> {
    let session = tables.session(handle)?;
    let token = tables.token_of(handle)?;
    let (state, read_write) = match (token.logged_in, session.read_write) {
        // All its sessions are read-write ones.
        _ if token.puk.is_some() => (ck::CKS_RW_SO_FUNCTIONS, ck::CKF_RW_SESSION),
        (false, false) => (ck::CKS_RO_PUBLIC_SESSION, 0),
        (false, true) => (ck::CKS_RW_PUBLIC_SESSION, ck::CKF_RW_SESSION),
        (true, false) => (ck::CKS_RO_USER_FUNCTIONS, 0),
        (true, true) => (ck::CKS_RW_USER_FUNCTIONS, ck::CKF_RW_SESSION),
    };
    let flags = ck::CKF_SERIAL_SESSION | read_write;
    Ok(CK_SESSION_INFO { slotID: session.slot, state, flags, ulDeviceError: 0 })
}
