//! What an application may do wrong.

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::ptr;

use cryptoki_sys::*;

use crate::library::Library;

const NOWHERE: &str = "/nonexistent/cnsd.sock";

/// The order of the function list, for messages.
fn name(index: usize) -> &'static str {
    let source = include_str!("../../src/ffi/function_list.rs");
    source
        .lines()
        .filter_map(|line| line.trim().strip_suffix("),")?.split("Some(").nth(1))
        .nth(index)
        .unwrap()
}

#[test]
fn the_function_list_is_complete() {
    let library = Library::load(Path::new(NOWHERE));
    let version = library.functions().version;
    assert_eq!((version.major, version.minor), (2, 40));
    assert_eq!(library.words().len(), 68);
    assert!(library.words().iter().all(|word| *word != 0));
}

#[test]
fn nothing_works_before_c_initialize() {
    let library = Library::load(Path::new(NOWHERE));
    for index in 0..library.words().len() {
        let expected = match name(index) {
            "C_Initialize" => continue,
            "C_GetFunctionList" => CKR_ARGUMENTS_BAD,
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
fn the_arguments_of_c_initialize_are_judged() {
    unsafe extern "C" fn create(_: *mut *mut c_void) -> CK_RV {
        CKR_OK
    }
    unsafe extern "C" fn other(_: *mut c_void) -> CK_RV {
        CKR_OK
    }
    let none = CK_C_INITIALIZE_ARGS::default();
    let all = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(other),
        LockMutex: Some(other),
        UnlockMutex: Some(other),
        ..none
    };
    let cases = [
        ("nothing", none, CKR_OK),
        ("system locks", CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..none }, CKR_OK),
        ("no threads", CK_C_INITIALIZE_ARGS { flags: CKF_LIBRARY_CANT_CREATE_OS_THREADS, ..none }, CKR_OK),
        ("either lock", CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all }, CKR_OK),
        ("only its own locks", all, CKR_CANT_LOCK),
        ("half of its locks", CK_C_INITIALIZE_ARGS { LockMutex: None, ..all }, CKR_ARGUMENTS_BAD),
        ("reserved", CK_C_INITIALIZE_ARGS { pReserved: ptr::dangling_mut(), ..none }, CKR_ARGUMENTS_BAD),
    ];
    let library = Library::load(Path::new(NOWHERE));
    for (case, mut arguments, expected) in cases {
        let answer = unsafe { (library.functions().C_Initialize.unwrap())((&raw mut arguments).cast()) };
        assert_eq!(answer, expected, "{case}");
        if answer == CKR_OK {
            let again = unsafe { (library.functions().C_Initialize.unwrap())((&raw mut arguments).cast()) };
            assert_eq!(again, CKR_CRYPTOKI_ALREADY_INITIALIZED);
            let reserved = unsafe { (library.functions().C_Finalize.unwrap())(ptr::dangling_mut()) };
            assert_eq!(reserved, CKR_ARGUMENTS_BAD);
            assert_eq!(unsafe { (library.functions().C_Finalize.unwrap())(ptr::null_mut()) }, CKR_OK);
        }
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
    let nowhere = unsafe { open(0, CKF_SERIAL_SESSION, ptr::null_mut(), None, &raw mut session) };
    assert_eq!(nowhere, CKR_SLOT_ID_INVALID);
}

#[test]
fn information_is_padded_with_blanks() {
    let library = Library::initialize(Path::new(NOWHERE));
    let mut info = CK_INFO::default();
    assert_eq!(unsafe { (library.functions().C_GetInfo.unwrap())(&raw mut info) }, CKR_OK);
    assert_eq!(&info.libraryDescription, b"CNS smart cards through cnsd    ");
    assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor, info.flags), (2, 40, 0));
}

#[test]
fn the_library_can_be_loaded_again_and_again() {
    let mut library = Library::load(Path::new(NOWHERE));
    for round in 0..50 {
        let initialize = library.functions().C_Initialize.unwrap();
        assert_eq!(unsafe { initialize(ptr::null_mut()) }, CKR_OK, "round {round}");
        let mut count = 0;
        let list = library.functions().C_GetSlotList.unwrap();
        assert_eq!(unsafe { list(CK_FALSE, ptr::null_mut(), &raw mut count) }, CKR_OK);
        assert_eq!(unsafe { (library.functions().C_Finalize.unwrap())(ptr::null_mut()) }, CKR_OK);
        library.reload();
    }
}

/// The application's signal handling is its own (`/proc/self/status`: blocked, ignored and caught signals).
#[test]
fn signals_are_left_as_they_are() {
    let signals = || -> Vec<String> {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        // `SigQ` counts the pending signals of all programs of this user.
        let of_process = |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
        status.lines().filter(of_process).map(str::to_owned).collect()
    };
    let before = signals();
    let library = Library::initialize(Path::new(NOWHERE));
    let mut count = 0;
    let list = library.functions().C_GetSlotList.unwrap();
    assert_eq!(unsafe { list(CK_FALSE, ptr::null_mut(), &raw mut count) }, CKR_OK);
    assert_eq!(signals(), before);
}
