//! The functions that versions 3.0 and 3.2 of the standard added, each paired with its plain counterpart.
#![allow(unsafe_code, reason = "the border to C")]

use std::ffi::c_void;
use std::ptr::NonNull;

use cryptoki_sys::*;

use crate::api::{login, refused, session, verify};
use crate::error::Error;
use crate::ffi::buffer::{Out, Put};
use crate::ffi::interface::{self, Wanted};
use crate::ffi::{entry, guard};

/// `C_GetInterfaceList`. May be called before `C_Initialize`.
///
/// # Safety
/// The pointers are as the standard wants them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(list: *mut CK_INTERFACE, count: *mut CK_ULONG) -> CK_RV {
    guard(|| {
        // SAFETY: as promised by the caller.
        let mut list = unsafe { Out::new(list, count) }?;
        list.give(interface::all()).map(drop)
    })
}

/// `C_GetInterface`. May be called before `C_Initialize`.
///
/// # Safety
/// `name` is null or a text that ends with a zero, `version` null or readable, `interface` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    guard(|| {
        // SAFETY: as promised by the caller.
        let mut interface = unsafe { Put::new(interface) }?;
        // SAFETY: as promised by the caller; a version has no alignment.
        let version = NonNull::new(version).map(|version| unsafe { version.read() });
        // SAFETY: as promised by the caller.
        let wanted = Wanted { is_standard: unsafe { interface::names_the_standard(name) }, version, flags };
        let found = interface::find(&wanted).ok_or(Error::ArgumentsBad)?;
        interface.put((&raw const *found).cast_mut());
        Ok(())
    })
}

entry! {
    /// `C_LoginUser`.
    C_LoginUser = login::login_user_by_name {
        session: CK_SESSION_HANDLE, user: CK_USER_TYPE, In(pin, length: CK_BYTE), In(name, name_length: CK_BYTE)
    }

    /// `C_SessionCancel`.
    C_SessionCancel = session::session_cancel { session: CK_SESSION_HANDLE, flags: CK_FLAGS }

    /// `C_MessageEncryptInit`.
    C_MessageEncryptInit = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE
    }

    /// `C_EncryptMessage`.
    C_EncryptMessage = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: CK_ULONG, _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_EncryptMessageBegin`.
    C_EncryptMessageBegin = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG
    }

    /// `C_EncryptMessageNext`.
    C_EncryptMessageNext = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: *mut CK_ULONG, _: CK_FLAGS
    }

    /// `C_MessageEncryptFinal`.
    C_MessageEncryptFinal = refused::in_session { session: CK_SESSION_HANDLE }

    /// `C_MessageDecryptInit`.
    C_MessageDecryptInit = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE
    }

    /// `C_DecryptMessage`.
    C_DecryptMessage = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: CK_ULONG, _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_DecryptMessageBegin`.
    C_DecryptMessageBegin = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG
    }

    /// `C_DecryptMessageNext`.
    C_DecryptMessageNext = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: *mut CK_ULONG, _: CK_FLAGS
    }

    /// `C_MessageDecryptFinal`.
    C_MessageDecryptFinal = refused::in_session { session: CK_SESSION_HANDLE }

    /// `C_MessageSignInit`.
    C_MessageSignInit = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE
    }

    /// `C_SignMessage`.
    C_SignMessage = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_SignMessageBegin`.
    C_SignMessageBegin = refused::in_session { session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG }

    /// `C_SignMessageNext`.
    C_SignMessageNext = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_MessageSignFinal`.
    C_MessageSignFinal = refused::in_session { session: CK_SESSION_HANDLE }

    /// `C_MessageVerifyInit`.
    C_MessageVerifyInit = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE
    }

    /// `C_VerifyMessage`.
    C_VerifyMessage = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: CK_ULONG
    }

    /// `C_VerifyMessageBegin`.
    C_VerifyMessageBegin = refused::in_session { session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG }

    /// `C_VerifyMessageNext`.
    C_VerifyMessageNext = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut c_void, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_BYTE, _: CK_ULONG
    }

    /// `C_MessageVerifyFinal`.
    C_MessageVerifyFinal = refused::in_session { session: CK_SESSION_HANDLE }

    /// `C_EncapsulateKey`.
    C_EncapsulateKey = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE, _: *mut CK_ATTRIBUTE,
        _: CK_ULONG, _: *mut CK_BYTE, _: *mut CK_ULONG, _: *mut CK_OBJECT_HANDLE
    }

    /// `C_DecapsulateKey`.
    C_DecapsulateKey = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE, _: *mut CK_ATTRIBUTE,
        _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG, _: *mut CK_OBJECT_HANDLE
    }

    /// `C_VerifySignatureInit`.
    C_VerifySignatureInit = verify::verify_signature_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_VERIFY), key: CK_OBJECT_HANDLE,
        In(signature, length: CK_BYTE)
    }

    /// `C_VerifySignature`.
    C_VerifySignature = verify::verify_signature { session: CK_SESSION_HANDLE, In(data, length: CK_BYTE) }

    /// `C_VerifySignatureUpdate`.
    C_VerifySignatureUpdate = verify::verify_signature_update {
        session: CK_SESSION_HANDLE, In(part, length: CK_BYTE)
    }

    /// `C_VerifySignatureFinal`.
    C_VerifySignatureFinal = verify::verify_signature_final { session: CK_SESSION_HANDLE }

    /// `C_GetSessionValidationFlags`.
    C_GetSessionValidationFlags = session::get_session_validation_flags {
        session: CK_SESSION_HANDLE, kind: CK_SESSION_VALIDATION_FLAGS_TYPE, Put(flags: CK_FLAGS)
    }

    /// `C_AsyncComplete`.
    C_AsyncComplete = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_UTF8CHAR, _: *mut CK_ASYNC_DATA
    }

    /// `C_AsyncGetID`.
    C_AsyncGetID = refused::in_session { session: CK_SESSION_HANDLE, _: *mut CK_UTF8CHAR, _: *mut CK_ULONG }

    /// `C_AsyncJoin`.
    C_AsyncJoin = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_UTF8CHAR, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG
    }

    /// `C_WrapKeyAuthenticated`.
    C_WrapKeyAuthenticated = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE, _: CK_OBJECT_HANDLE,
        _: *mut CK_BYTE, _: CK_ULONG, _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_UnwrapKeyAuthenticated`.
    C_UnwrapKeyAuthenticated = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE, _: *mut CK_BYTE, _: CK_ULONG,
        _: *mut CK_ATTRIBUTE, _: CK_ULONG, _: *mut CK_BYTE, _: CK_ULONG, _: *mut CK_OBJECT_HANDLE
    }
}
