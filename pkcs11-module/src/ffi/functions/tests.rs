//! The exported functions with pointers of all kinds, as far as no daemon is needed: what Miri can run.
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "the application's side"
)]

use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::*;
use crate::ffi::functions_v3::{C_GetInterface, C_GetInterfaceList};

/// Mutexes that the application made, less those that it destroyed; and how often one is held.
static MADE: AtomicI32 = AtomicI32::new(0);
static HELD: AtomicI32 = AtomicI32::new(0);
static TURNS: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" fn create(place: *mut *mut c_void) -> CK_RV {
    MADE.fetch_add(1, Ordering::SeqCst);
    unsafe { place.write(Box::into_raw(Box::new(0_u8)).cast()) };
    CKR_OK
}

unsafe extern "C" fn destroy(mutex: *mut c_void) -> CK_RV {
    MADE.fetch_sub(1, Ordering::SeqCst);
    drop(unsafe { Box::from_raw(mutex.cast::<u8>()) });
    CKR_OK
}

unsafe extern "C" fn take(mutex: *mut c_void) -> CK_RV {
    // The mutex is the application's own: nobody else writes to it.
    unsafe { mutex.cast::<u8>().write(1) };
    HELD.fetch_add(1, Ordering::SeqCst);
    TURNS.fetch_add(1, Ordering::SeqCst);
    CKR_OK
}

unsafe extern "C" fn give(mutex: *mut c_void) -> CK_RV {
    unsafe { mutex.cast::<u8>().write(0) };
    HELD.fetch_sub(1, Ordering::SeqCst);
    CKR_OK
}

/// Nobody's session.
const NONE: CK_SESSION_HANDLE = 7;

#[test]
fn the_border_with_pointers_of_all_kinds() {
    let mut info = unsafe { std::mem::zeroed::<CK_INFO>() };
    assert_eq!(unsafe { C_GetInfo(&raw mut info) }, CKR_CRYPTOKI_NOT_INITIALIZED);
    let mut arguments = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(destroy),
        LockMutex: Some(take),
        UnlockMutex: None,
        flags: 0,
        pReserved: ptr::null_mut(),
    };
    let initialize =
        |arguments: &mut CK_C_INITIALIZE_ARGS| unsafe { C_Initialize((&raw mut *arguments).cast()) };
    assert_eq!(initialize(&mut arguments), CKR_ARGUMENTS_BAD, "three of four");
    arguments.UnlockMutex = Some(give);
    let crooked = (&raw mut arguments).cast::<u8>().wrapping_add(1).cast();
    assert_eq!(unsafe { C_Initialize(crooked) }, CKR_ARGUMENTS_BAD);
    assert_eq!(initialize(&mut arguments), CKR_OK);
    assert_eq!(initialize(&mut arguments), CKR_CRYPTOKI_ALREADY_INITIALIZED);

    assert_eq!(unsafe { C_GetInfo(ptr::null_mut()) }, CKR_ARGUMENTS_BAD);
    assert_eq!(unsafe { C_GetInfo(&raw mut info) }, CKR_OK);
    assert_eq!(info.cryptokiVersion.major, 3);
    interfaces();
    without_a_session();

    assert_eq!(unsafe { C_Finalize((&raw mut info).cast()) }, CKR_ARGUMENTS_BAD);
    assert_eq!(unsafe { C_Finalize(ptr::null_mut()) }, CKR_OK);
    assert_eq!(unsafe { C_GetInfo(&raw mut info) }, CKR_CRYPTOKI_NOT_INITIALIZED);
    assert!(TURNS.load(Ordering::SeqCst) > 0, "the application's mutex was not used");
    assert_eq!((MADE.load(Ordering::SeqCst), HELD.load(Ordering::SeqCst)), (0, 0));
}

/// The lists of functions, asked for in two calls, and a function called by its list.
fn interfaces() {
    let mut count = 0;
    assert_eq!(unsafe { C_GetInterfaceList(ptr::null_mut(), &raw mut count) }, CKR_OK);
    let mut interfaces = vec![unsafe { std::mem::zeroed::<CK_INTERFACE>() }; usize::try_from(count).unwrap()];
    count -= 1;
    let told = unsafe { C_GetInterfaceList(interfaces.as_mut_ptr(), &raw mut count) };
    assert_eq!(told, CKR_BUFFER_TOO_SMALL);
    assert_eq!(unsafe { C_GetInterfaceList(interfaces.as_mut_ptr(), &raw mut count) }, CKR_OK);
    let mut interface = ptr::null_mut();
    let got = unsafe { C_GetInterface(ptr::null_mut(), ptr::null_mut(), &raw mut interface, 0) };
    assert_eq!(got, CKR_OK);
    assert!(!unsafe { interface.read() }.pFunctionList.is_null());

    let mut list = ptr::null_mut();
    assert_eq!(unsafe { C_GetFunctionList(ptr::null_mut()) }, CKR_ARGUMENTS_BAD);
    assert_eq!(unsafe { C_GetFunctionList(&raw mut list) }, CKR_OK);
    let list = unsafe { list.read() };
    let mut session = unsafe { std::mem::zeroed::<CK_SESSION_INFO>() };
    let told = unsafe { list.C_GetSessionInfo.unwrap()(NONE, &raw mut session) };
    assert_eq!(told, CKR_SESSION_HANDLE_INVALID);
}

/// Pointers are judged first, and then followed no further than to find that there is no session.
fn without_a_session() {
    let (mut text, mut made, mut length) = (*b"abc", [0xEE_u8; 4], 4);
    let mut attribute = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: text.as_mut_ptr().cast(), ulValueLen: 3 };
    let mut absurd = CK_ATTRIBUTE { ulValueLen: CK_ULONG::MAX, ..attribute };
    let mut mechanism =
        CK_MECHANISM { mechanism: CKM_SHA256, pParameter: ptr::null_mut(), ulParameterLen: 0 };
    let (text, made, length) = (text.as_mut_ptr(), made.as_mut_ptr(), &raw mut length);
    let answers = unsafe {
        [
            C_Digest(NONE, text, 3, made, length),
            C_Digest(NONE, text, 3, text, length),
            C_DigestInit(NONE, &raw mut mechanism),
            C_SignInit(NONE, ptr::null_mut(), 0),
            C_FindObjectsInit(NONE, &raw mut attribute, 1),
            C_GetAttributeValue(NONE, 1, &raw mut attribute, 1),
            C_GenerateRandom(NONE, made, 4),
            C_Login(NONE, CKU_USER, text, 3),
        ]
    };
    assert_eq!(answers, [CKR_SESSION_HANDLE_INVALID; 8]);
    let refusals = unsafe {
        [
            C_Digest(NONE, ptr::null_mut(), 3, made, length),
            C_Digest(NONE, text, 3, made, ptr::null_mut()),
            C_DigestInit(NONE, ptr::null_mut::<u8>().wrapping_add(1).cast()),
            C_FindObjectsInit(NONE, ptr::null_mut(), 1),
            C_FindObjectsInit(NONE, &raw mut absurd, 1),
            C_GetAttributeValue(NONE, 1, &raw mut attribute, CK_ULONG::MAX),
            C_GenerateRandom(NONE, ptr::null_mut(), 4),
            C_Login(NONE, CKU_USER, text, CK_ULONG::MAX),
        ]
    };
    assert_eq!(refusals, [CKR_ARGUMENTS_BAD; 8]);
}
