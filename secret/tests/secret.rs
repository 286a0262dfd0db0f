//! What a secret promises, asked of the kernel where the kernel can tell.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::thread;

use cns_secret::{Secret, SecretError};

/// The flags that `/proc/self/smaps` reports for the mapping that holds `address`.
fn flags_of_mapping(address: usize) -> String {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        if let Some((range, _)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&address);
        }
        if inside && line.starts_with("VmFlags:") {
            return line.to_owned();
        }
    }
    panic!("no mapping holds the address");
}

#[test]
fn pages_are_locked_undumpable_and_wiped_on_fork() {
    for len in [8, 300, 5000] {
        let secret = Secret::zeroed(len).unwrap();
        let flags = flags_of_mapping(secret.expose().as_ptr().addr());
        for flag in [" lo", " dd", " wf"] {
            assert!(flags.contains(flag), "{len} bytes: {flags}");
        }
    }
}

#[test]
fn take_wipes_its_source() {
    let mut source = *b"12345";
    let secret = Secret::take(&mut source).unwrap();
    assert_eq!(source, [0; 5]);
    assert_eq!(secret.expose(), b"12345");
    assert_eq!(secret.len(), 5);
    assert!(!secret.is_empty());
}

#[test]
fn truncated_wipes_the_tail_and_never_grows() {
    let secret = Secret::copy_from(b"123456789").unwrap();
    let address = secret.expose().as_ptr();
    let secret = secret.truncated(4);
    assert_eq!(secret.expose(), b"1234");
    assert_eq!(secret.expose().as_ptr(), address);
    let secret = secret.truncated(9);
    assert_eq!(secret.expose(), b"1234");
}

#[test]
fn comparison_is_by_value() {
    let pin = Secret::copy_from(b"12345").unwrap();
    assert!(pin.ct_eq(&pin.duplicate().unwrap()));
    assert!(!pin.ct_eq(&Secret::copy_from(b"12346").unwrap()));
    assert!(!pin.ct_eq(&Secret::copy_from(b"1234").unwrap()));
    assert!(Secret::zeroed(0).unwrap().is_empty());
}

#[test]
fn threads_never_share_a_slot() {
    thread::scope(|scope| {
        for id in 0u8..8 {
            scope.spawn(move || {
                for _ in 0..500 {
                    let secrets: Vec<_> = (0..16).map(|_| Secret::copy_from(&[id; 32]).unwrap()).collect();
                    assert!(secrets.iter().all(|secret| secret.expose() == [id; 32]));
                }
            });
        }
    });
}

#[test]
fn impossible_sizes_are_refused() {
    assert!(matches!(Secret::zeroed(usize::MAX), Err(SecretError::Map(_))));
    assert!(matches!(Secret::zeroed(usize::MAX / 4), Err(SecretError::Map(_) | SecretError::Lock(_))));
}

#[test]
#[allow(unsafe_code, reason = "there is no safe way to fork")]
fn a_forked_child_finds_zeros_and_locks_its_own() {
    let parent = Secret::copy_from(b"12345").unwrap();
    // SAFETY: the child calls nothing but this crate, memory mapping and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let wiped = parent.expose() == [0; 5];
        let own = Secret::copy_from(b"54321");
        let fresh = own
            .is_ok_and(|own| own.expose() == b"54321" && own.expose().as_ptr() != parent.expose().as_ptr());
        // SAFETY: ends the child at once, without running the test harness's exit handlers.
        unsafe { libc::_exit(if wiped && fresh { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call, which waits for the child made above.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert_eq!(parent.expose(), b"12345");
}
