//! The library in somebody else's process: its locks, its memory, its threads.

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, ptr, thread};

use cryptoki_sys::*;

use crate::library::{self, Library};

const NOWHERE: &str = "/nonexistent/cnsd.sock";

static CREATED: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);
static LOCKED: AtomicUsize = AtomicUsize::new(0);
static INSIDE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn create(place: *mut *mut c_void) -> CK_RV {
    CREATED.fetch_add(1, Ordering::SeqCst);
    let mutex = Box::new(libc::PTHREAD_MUTEX_INITIALIZER);
    unsafe { place.write(Box::into_raw(mutex).cast()) };
    CKR_OK
}

unsafe extern "C" fn destroy(mutex: *mut c_void) -> CK_RV {
    DESTROYED.fetch_add(1, Ordering::SeqCst);
    drop(unsafe { Box::from_raw(mutex.cast::<libc::pthread_mutex_t>()) });
    CKR_OK
}

unsafe extern "C" fn lock(mutex: *mut c_void) -> CK_RV {
    assert_eq!(unsafe { libc::pthread_mutex_lock(mutex.cast()) }, 0);
    LOCKED.fetch_add(1, Ordering::SeqCst);
    assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0);
    CKR_OK
}

unsafe extern "C" fn unlock(mutex: *mut c_void) -> CK_RV {
    assert_eq!(INSIDE.fetch_sub(1, Ordering::SeqCst), 1);
    assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex.cast()) }, 0);
    CKR_OK
}

unsafe extern "C" fn create_nothing(_: *mut *mut c_void) -> CK_RV {
    CKR_HOST_MEMORY
}

fn own_locks() -> CK_C_INITIALIZE_ARGS {
    CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(destroy),
        LockMutex: Some(lock),
        UnlockMutex: Some(unlock),
        ..CK_C_INITIALIZE_ARGS::default()
    }
}

fn initialize(library: &Library, mut arguments: CK_C_INITIALIZE_ARGS) -> CK_RV {
    unsafe { (library.functions().C_Initialize.unwrap())((&raw mut arguments).cast()) }
}

fn finalize(library: &Library) {
    assert_eq!(unsafe { (library.functions().C_Finalize.unwrap())(ptr::null_mut()) }, CKR_OK);
}

fn count_slots(functions: &CK_FUNCTION_LIST) -> CK_RV {
    let mut count = 0;
    unsafe { (functions.C_GetSlotList.unwrap())(CK_FALSE, ptr::null_mut(), &raw mut count) }
}

#[test]
fn the_arguments_of_c_initialize_are_judged() {
    let none = CK_C_INITIALIZE_ARGS::default();
    let all = own_locks();
    let cases = [
        ("nothing", none, CKR_OK),
        ("system locks", CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..none }, CKR_OK),
        ("no threads", CK_C_INITIALIZE_ARGS { flags: CKF_LIBRARY_CANT_CREATE_OS_THREADS, ..none }, CKR_OK),
        ("either lock", CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all }, CKR_OK),
        ("only its own locks", all, CKR_OK),
        (
            "a mutex that cannot be made",
            CK_C_INITIALIZE_ARGS { CreateMutex: Some(create_nothing), ..all },
            CKR_CANT_LOCK,
        ),
        ("half of its locks", CK_C_INITIALIZE_ARGS { LockMutex: None, ..all }, CKR_ARGUMENTS_BAD),
        ("reserved", CK_C_INITIALIZE_ARGS { pReserved: ptr::dangling_mut(), ..none }, CKR_ARGUMENTS_BAD),
    ];
    let library = Library::load(Path::new(NOWHERE));
    for (case, arguments, expected) in cases {
        let answer = initialize(&library, arguments);
        assert_eq!(answer, expected, "{case}");
        if answer == CKR_OK {
            assert_eq!(initialize(&library, arguments), CKR_CRYPTOKI_ALREADY_INITIALIZED);
            let reserved = unsafe { (library.functions().C_Finalize.unwrap())(ptr::dangling_mut()) };
            assert_eq!(reserved, CKR_ARGUMENTS_BAD);
            finalize(&library);
        }
    }
}

/// Each call takes the application's mutex once and gives it back; where system locks will do, it is not even made.
#[test]
fn an_applications_own_locks_are_used_where_it_allows_no_others() {
    let library = Library::load(Path::new(NOWHERE));
    let before = CREATED.load(Ordering::SeqCst);
    let arguments = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..own_locks() };
    assert_eq!(initialize(&library, arguments), CKR_OK);
    finalize(&library);
    assert_eq!(CREATED.load(Ordering::SeqCst), before);

    assert_eq!(initialize(&library, own_locks()), CKR_OK);
    assert_eq!(CREATED.load(Ordering::SeqCst), before + 1);
    let locked = LOCKED.load(Ordering::SeqCst);
    let functions = *library.functions();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(count_slots(&functions), CKR_OK)));
        }
    });
    let mut slot = 0;
    let wait = functions.C_WaitForSlotEvent.unwrap();
    assert_eq!(unsafe { wait(CKF_DONT_BLOCK, &raw mut slot, ptr::null_mut()) }, CKR_NO_EVENT);
    assert_eq!(LOCKED.load(Ordering::SeqCst) - locked, 201);
    finalize(&library);
    assert_eq!(CREATED.load(Ordering::SeqCst), DESTROYED.load(Ordering::SeqCst));
    assert_eq!(INSIDE.load(Ordering::SeqCst), 0);
}

/// A thread that waits for an event does not keep the others out.
#[test]
fn waiting_for_an_event_leaves_the_applications_lock_free() {
    let library = Library::load(Path::new(NOWHERE));
    assert_eq!(initialize(&library, own_locks()), CKR_OK);
    let functions = *library.functions();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut slot = 0;
            unsafe { (functions.C_WaitForSlotEvent.unwrap())(0, &raw mut slot, ptr::null_mut()) }
        });
        for _ in 0..20 {
            assert_eq!(count_slots(&functions), CKR_OK);
        }
        finalize(&library);
        assert_eq!(waiting.join().unwrap(), CKR_CRYPTOKI_NOT_INITIALIZED);
    });
    assert_eq!(INSIDE.load(Ordering::SeqCst), 0);
}

/// Whether the library's code is in this process.
fn is_mapped() -> bool {
    fs::read_to_string("/proc/self/maps").unwrap().contains(library::path().to_str().unwrap())
}

#[test]
fn the_library_can_be_loaded_again_and_again() {
    let mut library = Library::load(Path::new(NOWHERE));
    for round in 0..50 {
        assert_eq!(initialize(&library, CK_C_INITIALIZE_ARGS::default()), CKR_OK, "round {round}");
        assert_eq!(count_slots(library.functions()), CKR_OK);
        // An application that forgets C_Finalize is as good as one that does not.
        if round % 2 == 0 {
            finalize(&library);
        }
        assert!(is_mapped());
        library.reload(|| assert!(!is_mapped()));
    }
}

/// The application's signal handling is its own (`/proc/thread-self/status`: blocked, ignored and caught signals), and so are
/// its environment and its working directory.
#[test]
fn what_belongs_to_the_process_is_left_as_it_is() {
    let look = || {
        // Of this thread: that of `/proc/self` is the harness', which blocks signals while it starts the next test.
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        // `SigQ` counts the pending signals of all programs of this user.
        let of_process = |line: &str| line.starts_with("Sig") && !line.starts_with("SigQ");
        let kept = |line: &&str| of_process(line) || line.starts_with("Umask");
        let kept = status.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>();
        let environment = std::env::vars_os().collect::<Vec<_>>();
        (kept, environment, std::env::current_dir().unwrap())
    };
    let library = Library::load(Path::new(NOWHERE));
    let before = look();
    assert_eq!(initialize(&library, CK_C_INITIALIZE_ARGS::default()), CKR_OK);
    assert_eq!(count_slots(library.functions()), CKR_OK);
    assert_eq!(look(), before);
}
