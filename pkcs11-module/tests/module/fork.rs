//! A child of the application is another application (PKCS#11 v2.40 §5.4).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, ptr, thread};

use cryptoki_sys::*;

use crate::library::Library;
use crate::peers::Peer;

/// Runs `body` in a child process and gives back what it answers, 0 to 255.
fn in_child(body: impl FnOnce() -> u8) -> i32 {
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(20); // a child that waits for a lock for ever is ended
            libc::_exit(i32::from(body()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
    }
}

fn count_slots(functions: &CK_FUNCTION_LIST) -> CK_RV {
    let mut count = 0;
    unsafe { (functions.C_GetSlotList.unwrap())(CK_FALSE, ptr::null_mut(), &raw mut count) }
}

/// What the child sees: nothing is initialised, then it can initialise for itself.
fn start_over(functions: &CK_FUNCTION_LIST) -> u8 {
    let steps = unsafe {
        [
            count_slots(functions) == CKR_CRYPTOKI_NOT_INITIALIZED,
            (functions.C_Finalize.unwrap())(ptr::null_mut()) == CKR_CRYPTOKI_NOT_INITIALIZED,
            (functions.C_Initialize.unwrap())(ptr::null_mut()) == CKR_OK,
            count_slots(functions) == CKR_OK,
            (functions.C_Finalize.unwrap())(ptr::null_mut()) == CKR_OK,
        ]
    };
    // 0 when all went well, else one more than the number of the first step that did not.
    steps.iter().position(|step| !step).map_or(0, |step| u8::try_from(step).unwrap() + 1)
}

#[test]
fn a_child_starts_over_and_the_parent_goes_on() {
    let peer = Peer::without_readers();
    let library = Library::initialize(peer.socket());
    assert_eq!(count_slots(library.functions()), CKR_OK);
    assert_eq!(peer.connections(), 1);
    assert_eq!(in_child(|| start_over(library.functions())), 0);
    // The child had a connection of its own, and has not closed the parent's.
    assert_eq!(count_slots(library.functions()), CKR_OK);
    assert_eq!(peer.connections(), 2);
}

#[test]
fn a_child_does_not_wait_for_locks_of_the_parents_threads() {
    let library = Library::initialize(Path::new("/nonexistent/cnsd.sock"));
    let functions = *library.functions();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    count_slots(&functions);
                }
            });
        }
        for _ in 0..100 {
            let answer = in_child(|| start_over(&functions));
            if answer != 0 {
                done.store(true, Ordering::Relaxed);
            }
            assert_eq!(answer, 0);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A child has one thread, so that any other there were the module's.
#[test]
fn no_thread_is_started() {
    let peer = Peer::without_readers();
    let library = Library::load(peer.socket());
    let threads = in_child(|| {
        let answer = start_over(library.functions());
        let threads = fs::read_dir("/proc/self/task").unwrap().count();
        if answer == 0 { u8::try_from(threads).unwrap() } else { 100 + answer }
    });
    assert_eq!(threads, 1);
    assert_eq!(peer.connections(), 1);
}
