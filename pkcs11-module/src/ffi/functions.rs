//! The functions of the standard, each paired with its plain counterpart.
#![allow(unsafe_code, reason = "the border to C")]

use std::ffi::c_void;
use std::ptr::NonNull;

use cryptoki_sys::*;

use crate::api::slot::Reserved;
use crate::api::{
    counter, decrypt, digest, dual, encrypt, general, login, make, object, officer, random, refused, session,
    sign, slot, verify, wrap,
};
use crate::error::Error;
use crate::ffi::application_lock::{ApplicationLock, MutexFunctions};
use crate::ffi::buffer::Put;
use crate::ffi::function_list::V2_40;
use crate::ffi::{entry, guard, process};

/// `C_Initialize`.
///
/// # Safety
/// `arguments` is null or points to a `CK_C_INITIALIZE_ARGS`, whose functions are what the standard says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    guard(|| {
        let arguments = NonNull::new(arguments.cast::<CK_C_INITIALIZE_ARGS>());
        let functions = match arguments {
            Some(arguments) if arguments.is_aligned() => {
                // SAFETY: not null and aligned; the caller promised that it can be read.
                let arguments = unsafe { arguments.read() };
                if !arguments.pReserved.is_null() {
                    return Err(Error::ArgumentsBad);
                }
                // Where either kind of lock will do, it is the system's.
                let functions = MutexFunctions::read(&arguments)?;
                functions.filter(|_| arguments.flags & CKF_OS_LOCKING_OK == 0)
            }
            Some(_) => return Err(Error::ArgumentsBad),
            None => None,
        };
        // A panic must not print anything into the application's output; `guard` reports it.
        #[cfg(not(test))]
        std::panic::set_hook(Box::new(|_| {}));
        process::initialize(|| {
            // SAFETY: the standard wants of the application what the constructor wants, until `C_Finalize`.
            functions.map(|functions| unsafe { ApplicationLock::new(functions) }).transpose()
        })
    })
}

/// `C_Finalize`.
///
/// # Safety
/// None: the pointer is not followed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    guard(|| if reserved.is_null() { process::finalize() } else { Err(Error::ArgumentsBad) })
}

/// `C_GetFunctionList`. May be called before `C_Initialize`. The standard wants version 2.40 here: later versions are
/// interfaces.
///
/// # Safety
/// `list` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    guard(|| {
        // SAFETY: as promised by the caller.
        let mut list = unsafe { Put::new(list) }?;
        list.put((&raw const V2_40).cast_mut());
        Ok(())
    })
}

/// `C_WaitForSlotEvent`.
///
/// # Safety
/// `slot` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_WaitForSlotEvent(
    flags: CK_FLAGS,
    slot: *mut CK_SLOT_ID,
    reserved: *mut c_void,
) -> CK_RV {
    guard(|| {
        let module = process::module()?;
        // SAFETY: as promised by the caller.
        let slot = unsafe { Put::new(slot) }?;
        let reserved = if reserved.is_null() { Reserved::Unused } else { Reserved::Used };
        slot::wait_for_slot_event(&module, flags, slot, reserved)
    })
}

entry! {
    /// `C_GetInfo`.
    C_GetInfo = general::get_info { Put(info: CK_INFO) }

    /// `C_GetSlotList`.
    C_GetSlotList = slot::get_slot_list { token_present: CK_BBOOL, Out(list, count: CK_SLOT_ID) }

    /// `C_GetSlotInfo`.
    C_GetSlotInfo = slot::get_slot_info { slot: CK_SLOT_ID, Put(info: CK_SLOT_INFO) }

    /// `C_GetTokenInfo`.
    C_GetTokenInfo = slot::get_token_info { slot: CK_SLOT_ID, Put(info: CK_TOKEN_INFO) }

    /// `C_GetMechanismList`.
    C_GetMechanismList = slot::get_mechanism_list { slot: CK_SLOT_ID, Out(list, count: CK_MECHANISM_TYPE) }

    /// `C_GetMechanismInfo`.
    C_GetMechanismInfo = slot::get_mechanism_info {
        slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, Put(info: CK_MECHANISM_INFO)
    }

    /// `C_InitToken`.
    C_InitToken = refused::in_slot { slot: CK_SLOT_ID, _: *mut CK_UTF8CHAR, _: CK_ULONG, _: *mut CK_UTF8CHAR }

    /// `C_InitPIN`.
    C_InitPIN = officer::init_pin { session: CK_SESSION_HANDLE, In(pin, length: CK_BYTE) }

    /// `C_SetPIN`.
    C_SetPIN = login::set_pin {
        session: CK_SESSION_HANDLE, In(old, old_length: CK_BYTE), In(new, new_length: CK_BYTE)
    }

    /// `C_OpenSession`.
    C_OpenSession = session::open_session {
        slot: CK_SLOT_ID, flags: CK_FLAGS, _: *mut c_void, _: CK_NOTIFY, Put(session: CK_SESSION_HANDLE)
    }

    /// `C_CloseSession`.
    C_CloseSession = session::close_session { session: CK_SESSION_HANDLE }

    /// `C_CloseAllSessions`.
    C_CloseAllSessions = session::close_all_sessions { slot: CK_SLOT_ID }

    /// `C_GetSessionInfo`.
    C_GetSessionInfo = session::get_session_info { session: CK_SESSION_HANDLE, Put(info: CK_SESSION_INFO) }

    /// `C_GetOperationState`.
    C_GetOperationState = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_BYTE, _: *mut CK_ULONG
    }

    /// `C_SetOperationState`.
    C_SetOperationState = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_BYTE, _: CK_ULONG, _: CK_OBJECT_HANDLE, _: CK_OBJECT_HANDLE
    }

    /// `C_Login`.
    C_Login = login::login { session: CK_SESSION_HANDLE, user: CK_USER_TYPE, In(pin, length: CK_BYTE) }

    /// `C_Logout`.
    C_Logout = login::logout { session: CK_SESSION_HANDLE }

    /// `C_CreateObject`.
    C_CreateObject = make::create_object {
        session: CK_SESSION_HANDLE, Template(template, count), Put(object: CK_OBJECT_HANDLE)
    }

    /// `C_CopyObject`.
    C_CopyObject = make::copy_object {
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, Template(template, count), Put(copy: CK_OBJECT_HANDLE)
    }

    /// `C_DestroyObject`.
    C_DestroyObject = make::destroy_object { session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE }

    /// `C_GetObjectSize`.
    C_GetObjectSize = object::get_object_size {
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, Put(size: CK_ULONG)
    }

    /// `C_GetAttributeValue`.
    C_GetAttributeValue = object::get_attribute_value {
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, Blanks(template, count)
    }

    /// `C_SetAttributeValue`.
    C_SetAttributeValue = make::set_attribute_value {
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, Template(template, count)
    }

    /// `C_FindObjectsInit`.
    C_FindObjectsInit = object::find_objects_init { session: CK_SESSION_HANDLE, Template(template, count) }

    /// `C_FindObjects`.
    C_FindObjects = object::find_objects {
        session: CK_SESSION_HANDLE, Fill(objects, room: CK_OBJECT_HANDLE), Put(count: CK_ULONG)
    }

    /// `C_FindObjectsFinal`.
    C_FindObjectsFinal = object::find_objects_final { session: CK_SESSION_HANDLE }

    /// `C_EncryptInit`.
    C_EncryptInit = encrypt::encrypt_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_ENCRYPT), key: CK_OBJECT_HANDLE
    }

    /// `C_Encrypt`.
    C_Encrypt = encrypt::encrypt {
        session: CK_SESSION_HANDLE, In(data, data_length: CK_BYTE), Out(encrypted, length: CK_BYTE)
    }

    /// `C_EncryptUpdate`.
    C_EncryptUpdate = encrypt::encrypt_update {
        session: CK_SESSION_HANDLE, In(part, part_length: CK_BYTE), Out(encrypted, length: CK_BYTE)
    }

    /// `C_EncryptFinal`.
    C_EncryptFinal = encrypt::encrypt_final { session: CK_SESSION_HANDLE, Out(encrypted, length: CK_BYTE) }

    /// `C_DecryptInit`.
    C_DecryptInit = decrypt::decrypt_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_DECRYPT), key: CK_OBJECT_HANDLE
    }

    /// `C_Decrypt`.
    C_Decrypt = decrypt::decrypt {
        session: CK_SESSION_HANDLE, In(encrypted, encrypted_length: CK_BYTE), Out(data, length: CK_BYTE)
    }

    /// `C_DecryptUpdate`.
    C_DecryptUpdate = decrypt::decrypt_update {
        session: CK_SESSION_HANDLE, In(part, part_length: CK_BYTE), Out(data, length: CK_BYTE)
    }

    /// `C_DecryptFinal`.
    C_DecryptFinal = decrypt::decrypt_final { session: CK_SESSION_HANDLE, Out(data, length: CK_BYTE) }

    /// `C_DigestInit`.
    C_DigestInit = digest::digest_init { session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_DIGEST) }

    /// `C_Digest`.
    C_Digest = digest::digest {
        session: CK_SESSION_HANDLE, In(data, data_length: CK_BYTE), Out(digest, length: CK_BYTE)
    }

    /// `C_DigestUpdate`.
    C_DigestUpdate = digest::digest_update { session: CK_SESSION_HANDLE, In(part, length: CK_BYTE) }

    /// `C_DigestKey`.
    C_DigestKey = digest::digest_key { session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE }

    /// `C_DigestFinal`.
    C_DigestFinal = digest::digest_final { session: CK_SESSION_HANDLE, Out(digest, length: CK_BYTE) }

    /// `C_SignInit`.
    C_SignInit = sign::sign_init { session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_SIGN), key: CK_OBJECT_HANDLE }

    /// `C_Sign`.
    C_Sign = sign::sign {
        session: CK_SESSION_HANDLE, In(data, data_length: CK_BYTE), Out(signature, length: CK_BYTE)
    }

    /// `C_SignUpdate`.
    C_SignUpdate = sign::sign_update { session: CK_SESSION_HANDLE, In(part, length: CK_BYTE) }

    /// `C_SignFinal`.
    C_SignFinal = sign::sign_final { session: CK_SESSION_HANDLE, Out(signature, length: CK_BYTE) }

    /// `C_SignRecoverInit`.
    C_SignRecoverInit = sign::sign_recover_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_SIGN_RECOVER), key: CK_OBJECT_HANDLE
    }

    /// `C_SignRecover`.
    C_SignRecover = sign::sign_recover {
        session: CK_SESSION_HANDLE, In(data, data_length: CK_BYTE), Out(signature, length: CK_BYTE)
    }

    /// `C_VerifyInit`.
    C_VerifyInit = verify::verify_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_VERIFY), key: CK_OBJECT_HANDLE
    }

    /// `C_Verify`.
    C_Verify = verify::verify {
        session: CK_SESSION_HANDLE, In(data, data_length: CK_BYTE), In(signature, length: CK_BYTE)
    }

    /// `C_VerifyUpdate`.
    C_VerifyUpdate = verify::verify_update { session: CK_SESSION_HANDLE, In(part, length: CK_BYTE) }

    /// `C_VerifyFinal`.
    C_VerifyFinal = verify::verify_final { session: CK_SESSION_HANDLE, In(signature, length: CK_BYTE) }

    /// `C_VerifyRecoverInit`.
    C_VerifyRecoverInit = verify::verify_recover_init {
        session: CK_SESSION_HANDLE, Mechanism(mechanism, session, CKF_VERIFY_RECOVER), key: CK_OBJECT_HANDLE
    }

    /// `C_VerifyRecover`.
    C_VerifyRecover = verify::verify_recover {
        session: CK_SESSION_HANDLE, In(signature, signature_length: CK_BYTE), Out(data, length: CK_BYTE)
    }

    /// `C_DigestEncryptUpdate`.
    C_DigestEncryptUpdate = dual::digest_encrypt_update {
        session: CK_SESSION_HANDLE, In(part, part_length: CK_BYTE), Out(encrypted, length: CK_BYTE)
    }

    /// `C_DecryptDigestUpdate`.
    C_DecryptDigestUpdate = dual::decrypt_digest_update {
        session: CK_SESSION_HANDLE, In(encrypted, encrypted_length: CK_BYTE), Out(part, length: CK_BYTE)
    }

    /// `C_SignEncryptUpdate`.
    C_SignEncryptUpdate = dual::sign_encrypt_update {
        session: CK_SESSION_HANDLE, In(part, part_length: CK_BYTE), Out(encrypted, length: CK_BYTE)
    }

    /// `C_DecryptVerifyUpdate`.
    C_DecryptVerifyUpdate = dual::decrypt_verify_update {
        session: CK_SESSION_HANDLE, In(encrypted, encrypted_length: CK_BYTE), Out(part, length: CK_BYTE)
    }

    /// `C_GenerateKey`.
    C_GenerateKey = make::generate_key {
        session: CK_SESSION_HANDLE, Mechanism(mechanism), Template(template, count), Put(key: CK_OBJECT_HANDLE)
    }

    /// `C_GenerateKeyPair`.
    C_GenerateKeyPair = counter::generate_key_pair {
        session: CK_SESSION_HANDLE, Mechanism(mechanism), Template(public, public_count),
        Template(private, private_count), Put(public_key: CK_OBJECT_HANDLE), Put(private_key: CK_OBJECT_HANDLE)
    }

    /// `C_WrapKey`.
    C_WrapKey = wrap::wrap_key {
        session: CK_SESSION_HANDLE, Mechanism(mechanism), wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE,
        Out(wrapped, length: CK_BYTE)
    }

    /// `C_UnwrapKey`.
    C_UnwrapKey = wrap::unwrap_key {
        session: CK_SESSION_HANDLE, Mechanism(mechanism), unwrapping_key: CK_OBJECT_HANDLE,
        In(wrapped, length: CK_BYTE), Template(template, count), Put(object: CK_OBJECT_HANDLE)
    }

    /// `C_DeriveKey`.
    C_DeriveKey = refused::in_session {
        session: CK_SESSION_HANDLE, _: *mut CK_MECHANISM, _: CK_OBJECT_HANDLE, _: *mut CK_ATTRIBUTE,
        _: CK_ULONG, _: *mut CK_OBJECT_HANDLE
    }

    /// `C_SeedRandom`.
    C_SeedRandom = random::seed_random { session: CK_SESSION_HANDLE, In(seed, length: CK_BYTE) }

    /// `C_GenerateRandom`.
    C_GenerateRandom = random::generate_random { session: CK_SESSION_HANDLE, Fill(random, length: CK_BYTE) }

    /// `C_GetFunctionStatus`.
    C_GetFunctionStatus = refused::parallel { session: CK_SESSION_HANDLE }

    /// `C_CancelFunction`.
    C_CancelFunction = refused::parallel { session: CK_SESSION_HANDLE }
}

#[cfg(test)]
mod tests;
