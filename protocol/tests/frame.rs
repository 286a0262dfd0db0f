//! Frames: what is written is read back, and no bytes from a peer do harm.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

use std::io::{Cursor, Write};

use cns_protocol::frame::{
    self, Body, FrameError, HeaderReader, LockedWriter, MAX_BODY, MAX_HEADER, MAX_LOCKED_BODY,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Body, FrameError> {
    frame::read(&mut Cursor::new(bytes))
}

#[test]
fn two_frames_in_one_stream_are_read_one_by_one() {
    let mut stream = Vec::new();
    frame::write(&mut stream, b"{}").unwrap();
    frame::write(&mut stream, b"[1]").unwrap();
    let mut stream = Cursor::new(stream);
    assert_eq!(frame::read(&mut stream).unwrap().bytes(), b"{}");
    assert_eq!(frame::read(&mut stream).unwrap().bytes(), b"[1]");
    assert!(matches!(frame::read(&mut stream), Err(FrameError::Closed)));
}

#[test]
fn other_headers_and_any_case_are_allowed() {
    let body = read(b"content-type: application/json\r\nCONTENT-LENGTH:  2 \r\n\r\n{}").unwrap();
    assert_eq!(body.bytes(), b"{}");
}

#[test]
fn headers_that_say_no_usable_length_are_refused() {
    for header in [
        "\r\n\r\n",
        "Content-Length\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +1\r\n\r\n",
        "Content-Length: 0x10\r\n\r\n",
        "Content-Length: 1 2\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "Content-Type: x\r\n\r\n",
    ] {
        assert!(matches!(read(header.as_bytes()), Err(FrameError::Header)), "{header:?}");
    }
    let not_text = [b"Content-Length: \xFF".as_slice(), b"\r\n\r\n"].concat();
    assert!(matches!(read(&not_text), Err(FrameError::Header)));
}

#[test]
fn lengths_beyond_the_limit_are_refused_before_the_body() {
    for length in ["2097153", "18446744073709551615", "99999999999999999999999999"] {
        let header = format!("Content-Length: {length}\r\n\r\n");
        assert!(matches!(read(header.as_bytes()), Err(FrameError::BodyTooLong(_))), "{length}");
    }
}

#[test]
fn a_header_without_end_is_cut_off() {
    let endless = vec![b'A'; 1 << 20];
    let mut stream = Cursor::new(endless);
    assert!(matches!(frame::read(&mut stream), Err(FrameError::HeaderTooLong)));
    assert!(stream.position() <= MAX_HEADER as u64 + 1, "read no further than needed");
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_no_clean_end() {
    for cut in ["Content-Le", "Content-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\n{}"] {
        assert!(matches!(read(cut.as_bytes()), Err(FrameError::Io(_))), "{cut:?}");
    }
}

#[test]
fn small_bodies_are_locked_and_large_ones_are_not() {
    assert!(matches!(Body::zeroed(0).unwrap(), Body::Locked(_)));
    assert!(matches!(Body::zeroed(MAX_LOCKED_BODY).unwrap(), Body::Locked(_)));
    assert!(matches!(Body::zeroed(MAX_LOCKED_BODY + 1).unwrap(), Body::Bulk(_)));
    assert!(matches!(Body::zeroed(MAX_BODY).unwrap(), Body::Bulk(_)));
    assert!(matches!(Body::zeroed(MAX_BODY + 1), Err(FrameError::BodyTooLong(_))));
}

#[test]
fn a_locked_writer_refuses_instead_of_growing() {
    let mut writer = LockedWriter::new().unwrap();
    writer.write_all(&vec![1; MAX_LOCKED_BODY]).unwrap();
    assert!(writer.write_all(&[2]).is_err());
    assert_eq!(writer.written().len(), MAX_LOCKED_BODY);
    assert!(writer.written().iter().all(|byte| *byte == 1));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        drop(read(&bytes));
    }

    #[test]
    fn any_header_line_is_read_or_refused(line in "[ -~]{0,80}", body in vec(any::<u8>(), 0..64)) {
        drop(read(&[line.as_bytes(), b"\r\n\r\n", &body].concat()));
    }

    #[test]
    fn what_is_written_is_read_back(body in vec(any::<u8>(), 0..40_000)) {
        let mut stream = Vec::new();
        frame::write(&mut stream, &body).unwrap();
        let read = read(&stream).unwrap();
        prop_assert_eq!(read.bytes(), body.as_slice());
    }

    #[test]
    fn the_header_is_read_up_to_its_last_byte(length in 0..=MAX_BODY) {
        let mut reader = HeaderReader::default();
        let header = frame::header(length);
        let (last, before) = header.as_bytes().split_last().unwrap();
        for byte in before {
            prop_assert!(reader.push(*byte).unwrap().is_none());
        }
        prop_assert_eq!(reader.push(*last).unwrap(), Some(length));
    }
}
