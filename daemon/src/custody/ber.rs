//! A reader of BER (ITU-T X.690) from a stream: definite and indefinite lengths, in bounded memory.
//!
//! It holds no more than one small element at a time, whatever lengths are announced. Tags of more than one byte, which
//! RFC 5652 does not use, are refused.

use std::io::{self, Read};

/// How deep elements may be nested. RFC 5652 needs six levels around the content.
const DEPTH: usize = 16;
const CONSTRUCTED: u8 = 0x20;
const INDEFINITE: u8 = 0x80;

/// Why there is no next element.
#[derive(Debug, thiserror::Error)]
pub(super) enum BerError {
    /// The bytes are not what they should be.
    #[error("{0}")]
    Malformed(&'static str),
    /// The stream ends in the middle.
    #[error("it ends in the middle")]
    Truncated,
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The beginning of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Class, constructed bit and number.
    pub(super) tag: u8,
    /// The length of the contents; nothing where their end is marked instead.
    pub(super) length: Option<u64>,
}

/// An element that was read whole, or passed over because it is longer than was asked for.
pub(super) struct Element {
    pub(super) tag: u8,
    /// Header and contents.
    pub(super) bytes: Option<Vec<u8>>,
}

/// The reader, and the constructed elements that it is in.
pub(super) struct Ber<R> {
    input: R,
    position: u64,
    peeked: Option<u8>,
    /// Where each open element ends; nothing where its end is marked.
    open: Vec<Option<u64>>,
}

impl<R: Read> Ber<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, position: 0, peeked: None, open: Vec::new() }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Goes into a constructed element, which must have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Result<(), BerError> {
        let header = self.header()?;
        if header.tag == tag {
            self.enter_read(header)
        } else {
            Err(BerError::Malformed("an element has another tag"))
        }
    }

    /// Goes into the constructed element whose header was just read.
    pub(super) fn enter_read(&mut self, header: Header) -> Result<(), BerError> {
        if header.tag & CONSTRUCTED == 0 || self.open.len() == DEPTH {
            return Err(BerError::Malformed("an element is not nested as it should be"));
        }
        self.open.push(header.length.map(|length| self.position.saturating_add(length)));
        Ok(())
    }

    /// Whether the innermost open element ends here, or the stream where none is open.
    pub(super) fn at_end(&mut self) -> Result<bool, BerError> {
        match self.open.last() {
            Some(Some(end)) => Ok(self.position >= *end),
            // End-of-contents is a primitive element of tag 0 and length 0, and nothing else has tag 0.
            Some(None) => Ok(self.peek()?.ok_or(BerError::Truncated)? == 0),
            None => Ok(self.peek()?.is_none()),
        }
    }

    /// Leaves the innermost open element, which must end here.
    pub(super) fn leave(&mut self) -> Result<(), BerError> {
        let end = self.open.pop().ok_or(BerError::Malformed("nothing is open"))?;
        let ends_here = match end {
            Some(end) => self.position == end,
            None => self.byte()? == 0 && self.byte()? == 0,
        };
        if ends_here { Ok(()) } else { Err(BerError::Malformed("an element does not end where it should")) }
    }

    /// The next header. A length that does not fit into the elements around it is refused.
    pub(super) fn header(&mut self) -> Result<Header, BerError> {
        let tag = self.byte()?;
        if tag & 0x1F == 0x1F {
            return Err(BerError::Malformed("a tag has more than one byte"));
        }
        let length = match self.byte()? {
            short @ ..INDEFINITE => Some(u64::from(short)),
            INDEFINITE if tag & CONSTRUCTED != 0 => None,
            long @ 0x81..=0x88 => {
                let mut length = 0_u64;
                for _ in INDEFINITE..long {
                    length = (length << 8) | u64::from(self.byte()?);
                }
                Some(length)
            }
            _ => return Err(BerError::Malformed("a length is not valid")),
        };
        let around = self.open.iter().rev().flatten().next();
        if let (Some(length), Some(end)) = (length, around)
            && self.position.checked_add(length).is_none_or(|own_end| own_end > *end)
        {
            return Err(BerError::Malformed("an element is longer than what is around it"));
        }
        Ok(Header { tag, length })
    }

    /// The next element whole, if it has no more than `maximum` bytes; a longer one is passed over. Its length must be
    /// told.
    pub(super) fn element(&mut self, maximum: usize) -> Result<Element, BerError> {
        let Header { tag, length } = self.header()?;
        let length =
            length.ok_or(BerError::Malformed("an element of indefinite length where none may be"))?;
        let fits = usize::try_from(length).ok().filter(|length| *length <= maximum);
        let Some(contents) = fits else {
            self.skip(length)?;
            return Ok(Element { tag, bytes: None });
        };
        let mut bytes = vec![tag];
        push_length(&mut bytes, length);
        let start = bytes.len();
        bytes.resize(start + contents, 0);
        self.fill(bytes.get_mut(start..).unwrap_or_default())?;
        Ok(Element { tag, bytes: Some(bytes) })
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, mut length: u64) -> Result<(), BerError> {
        let mut buffer = [0; 4096];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(buffer.get_mut(..part).unwrap_or_default())?;
            length -= part as u64;
        }
        Ok(())
    }

    /// Fills `buffer` with contents.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BerError> {
        let Some(first) = buffer.first_mut() else { return Ok(()) };
        let mut filled = 0;
        if let Some(byte) = self.peeked.take() {
            *first = byte;
            filled = 1;
        }
        self.input.read_exact(buffer.get_mut(filled..).unwrap_or_default()).map_err(|error| {
            let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
            if is_cut { BerError::Truncated } else { BerError::Read(error) }
        })?;
        self.position = self.position.saturating_add(buffer.len() as u64);
        Ok(())
    }

    /// The tag that comes next; nothing at the end of the stream.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, BerError> {
        if self.peeked.is_none() {
            let mut byte = [0];
            self.peeked = loop {
                match self.input.read(&mut byte) {
                    Ok(0) => break None,
                    Ok(_) => break byte.first().copied(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            };
        }
        Ok(self.peeked)
    }

    fn byte(&mut self) -> Result<u8, BerError> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }
}

/// The length in DER (X.690 §10.1).
fn push_length(bytes: &mut Vec<u8>, length: u64) {
    match u8::try_from(length) {
        Ok(short @ ..INDEFINITE) => bytes.push(short),
        Ok(_) | Err(_) => {
            let long = length.to_be_bytes();
            let digits = long.iter().skip_while(|byte| **byte == 0);
            let count = digits.clone().count();
            bytes.push(INDEFINITE | u8::try_from(count).unwrap_or(8));
            bytes.extend(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ber(bytes: &[u8]) -> Ber<&[u8]> {
        Ber::new(bytes)
    }

    #[test]
    fn definite_and_indefinite_elements_are_walked_through() {
        for bytes in [
            [0x30, 6, 0x30, 4, 4, 2, 7, 8].as_slice(),
            &[0x30, 0x80, 0x30, 0x80, 4, 2, 7, 8, 0, 0, 0, 0],
            &[0x30, 0x80, 0x30, 4, 4, 2, 7, 8, 0, 0],
            &[0x30, 0x81, 8, 0x30, 0x82, 0, 4, 4, 2, 7, 8],
        ] {
            let mut ber = ber(bytes);
            ber.enter(0x30).unwrap();
            assert!(!ber.at_end().unwrap());
            ber.enter(0x30).unwrap();
            assert_eq!(ber.element(2).unwrap().bytes.unwrap(), [4, 2, 7, 8]);
            for _ in 0..2 {
                assert!(ber.at_end().unwrap());
                ber.leave().unwrap();
            }
            assert!(ber.at_end().unwrap());
            assert_eq!((ber.position(), ber.depth()), (bytes.len() as u64, 0));
        }
    }

    #[test]
    fn what_is_no_ber_is_refused() {
        let malformed = |bytes: &[u8]| {
            let mut ber = ber(bytes);
            let walked = ber.enter(0x30).and_then(|()| ber.element(9).map(drop)).and_then(|()| ber.leave());
            matches!(walked, Err(BerError::Malformed(_)))
        };
        assert!(malformed(&[0x31, 0]));
        assert!(malformed(&[0x30, 4, 4, 3, 1, 2, 3]), "longer than what is around it");
        assert!(malformed(&[0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0]), "no length where one must be");
        assert!(malformed(&[0x30, 0x80, 4, 0x80, 0, 0, 0, 0]), "a primitive element without a length");
        assert!(malformed(&[0x30, 5, 4, 1, 9, 4, 0]), "more in it");
        assert!(malformed(&[0x30, 0x80, 4, 1, 9, 4, 0]), "no end of contents");
        assert!(malformed(&[0x30, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 1, 9]));
        assert!(malformed(&[0x30, 0xFF]));
        assert!(malformed(&[0x3F, 0x30, 0]));
        assert!(malformed(&[
            0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 4, 0x88, 255, 255, 255, 255, 255,
            255, 255, 255
        ]));
        assert!(matches!(ber(&[0x30, 0x80, 4]).enter(0x30), Ok(())));
        let mut cut = ber(&[4, 9, 1]);
        assert!(matches!(cut.element(9), Err(BerError::Truncated)));
    }

    #[test]
    fn elements_are_nested_as_deep_as_they_may_be_and_no_deeper() {
        let bytes = [0x30, 0x80].repeat(DEPTH + 1);
        let mut deep = ber(&bytes);
        for depth in 1..=DEPTH {
            deep.enter(0x30).unwrap();
            assert_eq!(deep.depth(), depth);
        }
        assert!(matches!(deep.enter(0x30), Err(BerError::Malformed(_))));
    }

    /// A length is only believed as far as there are bytes.
    #[test]
    fn a_long_element_is_passed_over_in_little_memory() {
        let mut ber = Ber::new([4_u8, 0x84, 0x10, 0, 0, 0].chain(io::repeat(7).take(0x1000_0000)));
        assert!(ber.element(1 << 20).unwrap().bytes.is_none());
        assert!(ber.at_end().unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut ber = ber(&bytes);
            while let Ok(header) = ber.header() {
                if ber.enter_read(header).is_err() && ber.skip(header.length.unwrap_or(0)).is_err() {
                    break;
                }
                while ber.depth() > 0 && ber.at_end().unwrap_or(false) && ber.leave().is_ok() {}
            }
            prop_assert!(ber.position() <= bytes.len() as u64);
        }

        #[test]
        fn lengths_are_written_as_they_are_read(length in 0_u64..70_000) {
            let mut bytes = vec![4];
            push_length(&mut bytes, length);
            prop_assert_eq!(ber(&bytes).header().unwrap(), Header { tag: 4, length: Some(length) });
        }
    }
}
