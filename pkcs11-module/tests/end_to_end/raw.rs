//! The module's functions themselves, where the `cryptoki` crate has no method for them or asks in one way only.

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::*;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::desk::module;

/// A function that begins an operation with a key.
pub(crate) type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
/// A function that makes one thing of another.
pub(crate) type Turn =
    unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

/// The library that the application has loaded, once more: the state is the same.
pub(crate) struct Raw {
    loaded: Library,
}

impl Raw {
    pub(crate) fn new() -> Self {
        let loaded = unsafe { Library::open(Some(module()), RTLD_NOW | RTLD_LOCAL) }.unwrap();
        Self { loaded }
    }

    /// A function that the list of version 2.40 does not have.
    pub(crate) fn symbol<T: Copy>(&self, name: &[u8]) -> T {
        *unsafe { self.loaded.get::<T>(name) }.unwrap()
    }

    pub(crate) fn functions(&self) -> &CK_FUNCTION_LIST {
        type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
        let get = unsafe { self.loaded.get::<GetFunctionList>(b"C_GetFunctionList\0") }.unwrap();
        let mut list = std::ptr::null_mut();
        assert_eq!(unsafe { get(&raw mut list) }, CKR_OK);
        unsafe { &*list }
    }
}

/// Begins an operation with a mechanism that takes no parameter.
pub(crate) fn begin(init: Init, session: &Session, kind: CK_MECHANISM_TYPE, key: ObjectHandle) -> CK_RV {
    let mut mechanism = CK_MECHANISM { mechanism: kind, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
    unsafe { init(session.handle(), &raw mut mechanism, key.handle()) }
}

/// Asks how long the result will be.
pub(crate) fn ask(turn: Turn, session: &Session, data: &[u8]) -> (CK_RV, usize) {
    let mut length = 0xDEAD;
    let count = CK_ULONG::try_from(data.len()).unwrap();
    let code = unsafe {
        turn(session.handle(), data.as_ptr().cast_mut(), count, std::ptr::null_mut(), &raw mut length)
    };
    (code, usize::try_from(length).unwrap())
}

/// Asks for the result, with so much room for it; the length that was told stands for it where it did not fit.
pub(crate) fn get(
    turn: Turn,
    session: &Session,
    data: &[u8],
    room: usize,
) -> Result<Vec<u8>, (CK_RV, usize)> {
    // One byte more than is told, to see that it is left alone.
    let mut result = vec![0xEE; room + 1];
    let mut length = CK_ULONG::try_from(room).unwrap();
    let count = CK_ULONG::try_from(data.len()).unwrap();
    let code = unsafe {
        turn(session.handle(), data.as_ptr().cast_mut(), count, result.as_mut_ptr(), &raw mut length)
    };
    let length = usize::try_from(length).unwrap();
    assert_eq!(result[room], 0xEE, "written beyond the end");
    if code != CKR_OK {
        return Err((code, length));
    }
    result.truncate(length);
    Ok(result)
}
