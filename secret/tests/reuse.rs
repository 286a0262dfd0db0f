//! Alone in its process, so that no other test takes the slot in between.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cns_secret::Secret;

#[test]
fn a_slot_is_wiped_before_it_is_used_again() {
    let mut first = Secret::zeroed(512).unwrap();
    first.expose_mut().fill(0xA5);
    let address = first.expose().as_ptr().addr();
    drop(first);
    let second = Secret::zeroed(512).unwrap();
    assert_eq!(second.expose().as_ptr().addr(), address, "the slot is reused");
    assert!(second.expose().iter().all(|byte| *byte == 0));
}
