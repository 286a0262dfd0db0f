//! Pages are given back when nobody will want them again. Alone in its process: the pages are the process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use cns_secret::Secret;

/// How much of this process is locked in memory, in KiB.
fn locked() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn pages_are_given_back_with_the_last_secret_in_them() {
    let before = locked();
    let (kept, other) = (Secret::copy_from(b"12345").unwrap(), Secret::copy_from(&[7; 300]).unwrap());
    let with_both = locked();
    assert!(with_both > before);
    drop(other);
    assert_eq!(locked(), with_both);
    cns_secret::release_pages();
    assert!(locked() < with_both);
    assert_eq!(kept.expose(), b"12345");
    drop(kept);
    assert_eq!(locked(), before);
    // Whoever wants a secret after all gets one.
    assert_eq!(Secret::copy_from(b"67890").unwrap().expose(), b"67890");
}
