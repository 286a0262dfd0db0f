//! What a function leaves on the stack is there until something else is written there; unless the stack is wiped.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;

use cns_secret::on_wiped_stack;

/// The mark, inverted: so it is nowhere but where it is left.
const INVERTED: [u8; 16] = *b"it was left here";

/// As a cipher does: works on a block among its own variables, and returns. It is far down, out of the way of what the
/// search itself does.
#[inline(never)]
fn leave_mark() -> usize {
    let mut block = [0_u8; 20 * 1024];
    for (place, byte) in block.iter_mut().skip(100).zip(INVERTED) {
        *place = !byte;
    }
    black_box(&mut block).len()
}

/// How often the mark is on this thread's stack.
fn marks() -> usize {
    let here = 0_u8;
    let here = (&raw const here).addr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().map(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap())
    });
    let (start, end) = ranges.into_iter().find(|(start, end)| (start..end).contains(&&here)).unwrap();
    let mut stack = vec![0; usize::try_from(end - start).unwrap()];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut stack, start).unwrap();
    let is_mark = |window: &&[u8]| window.iter().zip(INVERTED).all(|(byte, inverted)| *byte == !inverted);
    stack.windows(INVERTED.len()).filter(is_mark).count()
}

#[test]
fn what_was_left_on_the_stack_is_wiped() {
    assert_eq!(marks(), 0);
    assert!(leave_mark() > 0);
    let left = marks();
    assert!(on_wiped_stack(leave_mark) > 0);
    assert!(left > 0, "the search finds nothing");
    assert_eq!(marks(), 0);
}

/// As a cipher that panics over its block.
#[inline(never)]
fn leave_mark_and_panic() -> usize {
    let mut block = [0_u8; 20 * 1024];
    for (place, byte) in block.iter_mut().skip(100).zip(INVERTED) {
        *place = !byte;
    }
    assert!(black_box(&mut block).is_empty(), "as it should");
    block.len()
}

#[test]
fn what_was_left_by_a_panic_is_wiped() {
    assert!(catch_unwind(leave_mark_and_panic).is_err());
    let left = marks();
    assert!(catch_unwind(|| on_wiped_stack(leave_mark_and_panic)).is_err());
    assert!(left > 0, "the search finds nothing");
    assert_eq!(marks(), 0);
}
