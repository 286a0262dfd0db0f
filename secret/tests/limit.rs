//! Where the kernel refuses to lock, there is an error and no secret.
#![allow(unsafe_code, reason = "there is no safe way to fork and to give up privileges")]

use cns_secret::{Secret, SecretError};

#[test]
fn without_the_right_to_lock_there_is_no_secret() {
    // SAFETY: the child calls nothing but `refused_without_right` and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = refused_without_right();
        // SAFETY: ends the child at once, without running the test harness's exit handlers.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call, which waits for the child made above.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

fn refused_without_right() -> bool {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid limit that outlives the call.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) } == 0;
    // SAFETY: changes only this process's identity. Root may lock whatever the limit; nobody may not. A process
    // that is not root already cannot and need not.
    unsafe { libc::setuid(65_534) };
    let refused = |len| matches!(Secret::zeroed(len), Err(SecretError::Lock(_)));
    limited && refused(8) && refused(512) && refused(5000)
}
