#![allow(clippy::multiple_unsafe_ops_per_block, clippy::undocumented_unsafe_blocks, reason = "short tests")]

use std::ptr;

use cryptoki_sys::CK_ULONG;

use super::{Asked, Fill, In, Out, Put};
use crate::error::Error;

/// Runs one exchange over a buffer of `room` bytes of 0xEE, of which `length` are offered.
fn exchange(room: usize, mut length: CK_ULONG, given: &[u8]) -> (Result<Asked, Error>, CK_ULONG, Vec<u8>) {
    let mut buffer = vec![0xEE; room];
    let outcome = {
        // SAFETY: the buffer and the length live longer than the value; `length` is at most `room` where written.
        let mut out = unsafe { Out::new(buffer.as_mut_ptr(), &raw mut length) }.unwrap();
        out.give(given)
    };
    (outcome, length, buffer)
}

#[test]
fn an_output_that_fits_is_written_and_counted() {
    assert_eq!(exchange(4, 4, b"abcd"), (Ok(Asked::Items), 4, b"abcd".to_vec()));
    assert_eq!(exchange(4, 4, b"ab"), (Ok(Asked::Items), 2, b"ab\xEE\xEE".to_vec()));
    assert_eq!(exchange(4, 4, b""), (Ok(Asked::Items), 0, b"\xEE\xEE\xEE\xEE".to_vec()));
}

#[test]
fn a_buffer_that_is_too_small_is_left_alone() {
    // Two bytes are offered of four: writing three would go past what the caller offered.
    assert_eq!(exchange(4, 2, b"abc"), (Err(Error::BufferTooSmall), 3, vec![0xEE; 4]));
    assert_eq!(exchange(4, 0, b"a"), (Err(Error::BufferTooSmall), 1, vec![0xEE; 4]));
}

#[test]
fn without_a_buffer_only_the_length_is_told() {
    // The standard leaves what the length holds before a question open.
    for before in [0, 1, CK_ULONG::MAX] {
        let mut length = before;
        // SAFETY: the length lives longer than the value.
        let mut out = unsafe { Out::<u8>::new(ptr::null_mut(), &raw mut length) }.unwrap();
        assert!(out.is_question());
        assert_eq!(out.give(b"abc"), Ok(Asked::Length));
        assert_eq!(length, 3);
    }
}

#[test]
fn a_length_is_needed() {
    let mut byte = 0_u8;
    // SAFETY: null is refused before anything is read.
    let out = unsafe { Out::new(&raw mut byte, ptr::null_mut()) };
    assert_eq!(out.err(), Some(Error::ArgumentsBad));
}

#[test]
fn items_are_not_written_as_bytes() {
    let mut buffer = [0 as CK_ULONG; 3];
    let mut length = 3;
    {
        // SAFETY: both live longer than the value.
        let mut out = unsafe { Out::new(buffer.as_mut_ptr(), &raw mut length) }.unwrap();
        out.give(&[7, CK_ULONG::MAX]).unwrap();
    }
    assert_eq!((buffer, length), ([7, CK_ULONG::MAX, 0], 2));
}

#[test]
fn an_input_may_be_empty_but_not_absent() {
    // SAFETY: null pointers are never followed.
    let (nothing, absent) = unsafe { (In::<u8>::new(ptr::null(), 0), In::<u8>::new(ptr::null(), 1)) };
    let nothing = nothing.unwrap();
    assert!(nothing.is_null());
    assert_eq!(nothing.items(), b"");
    assert_eq!(absent.err(), Some(Error::ArgumentsBad));

    let bytes = *b"abc";
    // SAFETY: the bytes live longer than the value.
    let some = unsafe { In::new(bytes.as_ptr(), 3) }.unwrap();
    assert!(!some.is_null());
    assert_eq!(some.items(), b"abc");
}

#[test]
fn a_count_that_no_memory_can_hold_is_refused() {
    let word = 0 as CK_ULONG;
    for count in [CK_ULONG::MAX, CK_ULONG::MAX / 2, CK_ULONG::MAX / 8] {
        // SAFETY: the count is refused before anything is read.
        let input = unsafe { In::new(&raw const word, count) };
        assert_eq!(input.err(), Some(Error::ArgumentsBad), "{count}");
    }
}

#[test]
fn a_crooked_pointer_is_refused() {
    let words = [0 as CK_ULONG; 2];
    let crooked = words.as_ptr().cast::<u8>().wrapping_add(1).cast::<CK_ULONG>();
    // SAFETY: the pointers are refused before anything is read or written.
    let refusals = unsafe {
        [
            In::new(crooked, 1).err(),
            Put::new(crooked.cast_mut()).err(),
            Fill::new(crooked.cast_mut(), 1).err(),
        ]
    };
    assert_eq!(refusals, [Some(Error::ArgumentsBad); 3]);
}

#[test]
fn a_buffer_is_filled_up_to_its_end() {
    let mut buffer = [0xEE_u8; 6];
    {
        // SAFETY: the buffer lives longer than the value, and is one longer than what is offered of it.
        let mut fill = unsafe { Fill::new(buffer.as_mut_ptr(), 5) }.unwrap();
        fill.add(b"ab");
        assert_eq!(fill.room(), 3);
        fill.add(b"cdefgh");
        assert_eq!(fill.room(), 0);
        fill.add(b"x");
    }
    assert_eq!(&buffer, b"abcde\xEE");
}

#[test]
fn one_buffer_may_be_both_input_and_output() {
    let mut bytes = *b"abcd";
    let mut length = 4;
    let pointer = (&raw mut bytes).cast::<u8>();
    // SAFETY: both live longer than the values, and no slice of the input is alive when the output is written.
    let (input, output) = unsafe { (In::new(pointer, 4), Out::new(pointer, &raw mut length)) };
    let reversed: Vec<u8> = input.unwrap().items().iter().rev().copied().collect();
    output.unwrap().give(&reversed).unwrap();
    assert_eq!(&bytes, b"dcba");
}
