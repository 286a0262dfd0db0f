//! Functions of the standard that this module does not have. They answer as the standard wants it of them: first
//! that the module is not initialised, then that the session is not open, then that they are not supported.

use cryptoki_sys::{CK_SESSION_HANDLE, CK_SLOT_ID};

use crate::error::Error;
use crate::state::Module;

/// A function on a session.
pub(crate) fn in_session(module: &Module, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    module.tables().session(session)?;
    Err(Error::FunctionNotSupported)
}

/// A function on a slot.
pub(crate) fn in_slot(module: &Module, slot: CK_SLOT_ID) -> Result<(), Error> {
    module.tables().slot(slot)?;
    Err(Error::FunctionNotSupported)
}

/// A function about the parallel functions of versions before 2.0 (PKCS#11 v2.40 §5.16).
pub(crate) fn parallel(module: &Module, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    module.tables().session(session)?;
    Err(Error::FunctionNotParallel)
}
