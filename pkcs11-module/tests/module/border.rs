//! What an application may do wrong.

use std::ffi::CStr;
use std::path::Path;
use std::{ptr, slice};

use cryptoki_sys::*;

use crate::features;
use crate::library::Library;

const NOWHERE: &str = "/nonexistent/cnsd.sock";

/// The order of the function list, for messages.
fn name(index: usize) -> &'static str {
    features::listed()[index]
}

#[test]
fn the_function_lists_are_complete() {
    let library = Library::load(Path::new(NOWHERE));
    let version = library.functions().version;
    assert_eq!((version.major, version.minor), (2, 40));
    let newest = library.words();
    assert_eq!(newest.len(), 104);
    assert!(newest.iter().all(|word| *word != 0));
    // Each version begins with the whole of the one before it.
    for (version, length) in [((2, 40), 68), ((3, 0), 92), ((3, 2), 104)] {
        let list = library.interface(Some(version), 0).unwrap().pFunctionList;
        let list = unsafe { slice::from_raw_parts(list.cast::<usize>(), length + 1) };
        assert_eq!(list[0].to_ne_bytes()[..2], [version.0, version.1]);
        assert_eq!(&list[1..], &newest[..length]);
    }
    // What C_GetFunctionList gives is the interface of version 2.40.
    let oldest = library.interface(Some((2, 40)), 0).unwrap().pFunctionList;
    assert!(ptr::eq(oldest.cast(), library.functions()));
}

#[test]
fn the_newest_interface_comes_first_and_by_default() {
    let library = Library::load(Path::new(NOWHERE));
    let mut count = 0;
    let list = library.newest().C_GetInterfaceList.unwrap();
    assert_eq!(unsafe { list(ptr::null_mut(), &raw mut count) }, CKR_OK);
    assert_eq!(count, 3);
    let mut interfaces = [CK_INTERFACE::default(); 4];
    count = 2;
    assert_eq!(unsafe { list(interfaces.as_mut_ptr(), &raw mut count) }, CKR_BUFFER_TOO_SMALL);
    assert_eq!((count, interfaces[0].pFunctionList), (3, ptr::null_mut()));
    count = 4;
    assert_eq!(unsafe { list(interfaces.as_mut_ptr(), &raw mut count) }, CKR_OK);
    let versions = interfaces[..3].iter().map(|interface| {
        let name = unsafe { CStr::from_ptr(interface.pInterfaceName.cast()) };
        assert_eq!((name, interface.flags), (c"PKCS 11", 0));
        let version = unsafe { interface.pFunctionList.cast::<CK_VERSION>().read() };
        (version.major, version.minor)
    });
    assert_eq!(versions.collect::<Vec<_>>(), [(3, 2), (3, 0), (2, 40)]);
    let default = library.interface(None, 0).unwrap().pFunctionList;
    assert_eq!(default, interfaces[0].pFunctionList);
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    let library = Library::load(Path::new(NOWHERE));
    for version in [(2, 39), (3, 1), (3, 3), (4, 0), (0, 0)] {
        assert_eq!(library.interface(Some(version), 0).unwrap_err(), CKR_ARGUMENTS_BAD);
    }
    assert_eq!(library.interface(None, CKF_INTERFACE_FORK_SAFE).unwrap_err(), CKR_ARGUMENTS_BAD);
    let get = library.newest().C_GetInterface.unwrap();
    for (name, expected) in [
        (c"PKCS 11", CKR_OK),
        (c"PKCS 1", CKR_ARGUMENTS_BAD),
        (c"PKCS 11 ", CKR_ARGUMENTS_BAD),
        (c"pkcs 11", CKR_ARGUMENTS_BAD),
        (c"", CKR_ARGUMENTS_BAD),
        (c"Vendor", CKR_ARGUMENTS_BAD),
    ] {
        let mut found = ptr::null_mut();
        let name_pointer = name.as_ptr().cast_mut().cast();
        let answer = unsafe { get(name_pointer, ptr::null_mut(), &raw mut found, 0) };
        assert_eq!((answer, found.is_null()), (expected, expected != CKR_OK), "{name:?}");
    }
    assert_eq!(unsafe { get(ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) }, CKR_ARGUMENTS_BAD);
}

#[test]
fn nothing_works_before_c_initialize() {
    let library = Library::load(Path::new(NOWHERE));
    for index in 0..library.words().len() {
        let expected = match name(index) {
            "C_Initialize" => continue,
            "C_GetFunctionList" | "C_GetInterfaceList" | "C_GetInterface" => CKR_ARGUMENTS_BAD,
            _ => CKR_CRYPTOKI_NOT_INITIALIZED,
        };
        assert_eq!(library.call_with_zeros(index), expected, "{}", name(index));
    }
}

#[test]
fn zeros_for_arguments_are_refused_everywhere() {
    let library = Library::initialize(Path::new(NOWHERE));
    for index in 0..library.words().len() {
        let answer = library.call_with_zeros(index);
        let expected: &[CK_RV] = match name(index) {
            "C_Initialize" => &[CKR_CRYPTOKI_ALREADY_INITIALIZED],
            "C_Finalize" => {
                assert_eq!(answer, CKR_OK);
                assert_eq!(unsafe { (library.functions().C_Initialize.unwrap())(ptr::null_mut()) }, CKR_OK);
                continue;
            }
            _ => &[CKR_ARGUMENTS_BAD, CKR_SESSION_HANDLE_INVALID, CKR_SLOT_ID_INVALID],
        };
        assert!(expected.contains(&answer), "{} answered {answer:#x}", name(index));
    }
}

#[test]
fn without_a_daemon_there_are_no_slots_and_no_failure() {
    let library = Library::initialize(Path::new(NOWHERE));
    for present in [CK_FALSE, CK_TRUE] {
        let mut count = 99;
        let list = library.functions().C_GetSlotList.unwrap();
        assert_eq!(unsafe { list(present, ptr::null_mut(), &raw mut count) }, CKR_OK);
        assert_eq!(count, 0);
    }
    let mut slot = 0;
    let wait = library.functions().C_WaitForSlotEvent.unwrap();
    assert_eq!(unsafe { wait(CKF_DONT_BLOCK, &raw mut slot, ptr::null_mut()) }, CKR_NO_EVENT);
    assert_eq!(unsafe { wait(CKF_DONT_BLOCK, &raw mut slot, ptr::dangling_mut()) }, CKR_ARGUMENTS_BAD);
    let mut session = 0;
    let open = library.functions().C_OpenSession.unwrap();
    let parallel = unsafe { open(0, CKF_RW_SESSION, ptr::null_mut(), None, &raw mut session) };
    assert_eq!(parallel, CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    let asynchronous = CKF_SERIAL_SESSION | CKF_ASYNC_SESSION;
    let asynchronous = unsafe { open(0, asynchronous, ptr::null_mut(), None, &raw mut session) };
    assert_eq!(asynchronous, CKR_SESSION_ASYNC_NOT_SUPPORTED);
    let nowhere = unsafe { open(0, CKF_SERIAL_SESSION, ptr::null_mut(), None, &raw mut session) };
    assert_eq!(nowhere, CKR_SLOT_ID_INVALID);
}

#[test]
fn information_is_padded_with_blanks() {
    let library = Library::initialize(Path::new(NOWHERE));
    let mut info = CK_INFO::default();
    assert_eq!(unsafe { (library.functions().C_GetInfo.unwrap())(&raw mut info) }, CKR_OK);
    assert_eq!(&info.libraryDescription, b"CNS smart cards through cnsd    ");
    assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor, info.flags), (3, 2, 0));
}
