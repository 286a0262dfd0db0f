//! BER-TLV (ISO/IEC 7816-4:2005 §5.2.2), capped, and the one door to the `iso7816-tlv` crate.
//!
//! That crate recurses as deep as the bytes tell it to; a card could end the process. So [`parse`] first walks
//! the bytes without recursion and refuses what is longer than [`MAX_LENGTH`] or nested deeper than [`MAX_DEPTH`].

use iso7816_tlv::ber::{Tag, Tlv, Value};
use thiserror::Error;

/// The longest object that is decoded.
pub const MAX_LENGTH: usize = 4096;
/// The deepest nesting that is decoded.
pub const MAX_DEPTH: usize = 8;

/// Why bytes are no TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlvError {
    /// Longer than [`MAX_LENGTH`].
    #[error("the TLV object is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the TLV object is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The bytes end inside an object.
    #[error("the TLV object is cut short")]
    Truncated,
    /// A tag of zero or of more than three bytes.
    #[error("the TLV object has an invalid tag")]
    InvalidTag,
    /// A length of more than two bytes, or of the indefinite form.
    #[error("the TLV object has an invalid length")]
    InvalidLength,
    /// Bytes follow the object.
    #[error("bytes follow the TLV object")]
    TrailingBytes,
    /// The lengths inside contradict those outside.
    #[error("the TLV object is inconsistent")]
    Inconsistent,
}

/// How the lengths of a list of objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// BER: below 80, or `81 xx`, or `82 xx xx`.
    Ber,
    /// One plain byte, 00 to FF, as Incard's encoder writes in PUT DATA.
    OneByte,
}

/// One object of a list, its value still in the caller's buffer: secrets are not copied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag, its bytes read as a number.
    pub tag: u32,
    /// The value.
    pub value: &'a [u8],
}

/// Decodes one object that fills the bytes exactly.
///
/// # Errors
/// When it is malformed, too long or too deep.
pub fn parse(bytes: &[u8]) -> Result<Tlv, TlvError> {
    scan(bytes)?;
    #[expect(clippy::disallowed_methods, reason = "the one door: length and depth were checked above")]
    let object = Tlv::from_bytes(bytes);
    object.map_err(|_| TlvError::Inconsistent)
}

/// The objects inside a constructed object; none inside a primitive one.
#[must_use]
pub fn children(object: &Tlv) -> &[Tlv] {
    match object.value() {
        Value::Constructed(children) => children,
        Value::Primitive(_) => &[],
    }
}

/// The value of the first primitive object with this tag in a list.
#[must_use]
pub fn find(objects: &[Tlv], tag: u32) -> Option<&[u8]> {
    let tag = Tag::try_from(tag).ok()?;
    objects.iter().filter(|object| *object.tag() == tag).find_map(|object| match object.value() {
        Value::Primitive(value) => Some(value.as_slice()),
        Value::Constructed(_) => None,
    })
}

/// Splits a list of objects that fills the bytes exactly; what is inside constructed objects is left alone.
///
/// # Errors
/// When a tag or a length is malformed, or the bytes are too long.
pub fn elements(bytes: &[u8], lengths: Lengths) -> Result<Vec<Element<'_>>, TlvError> {
    if bytes.len() > MAX_LENGTH {
        return Err(TlvError::TooLong);
    }
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (element, after) = split_first(rest, lengths)?;
        found.push(element);
        rest = after;
    }
    Ok(found)
}

/// The first object of a list, and what follows it; without an allocation.
pub(crate) fn split_first(bytes: &[u8], lengths: Lengths) -> Result<(Element<'_>, &[u8]), TlvError> {
    let (tag, after) = read_tag(bytes)?;
    let (len, after) = match lengths {
        Lengths::Ber => read_length(after)?,
        Lengths::OneByte => {
            after.split_first().map(|(len, rest)| (usize::from(*len), rest)).ok_or(TlvError::Truncated)?
        }
    };
    let (value, after) = after.split_at_checked(len).ok_or(TlvError::Truncated)?;
    Ok((Element { tag, value }, after))
}

/// The value of the first element with this tag.
#[must_use]
pub fn value_of<'a>(elements: &[Element<'a>], tag: u32) -> Option<&'a [u8]> {
    elements.iter().find(|element| element.tag == tag).map(|element| element.value)
}

/// Tag, BER length and value. Values longer than 65,535 bytes have no place in this crate and are cut there.
#[must_use]
pub fn encode(tag: u32, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let mut bytes = header(tag, length);
    bytes.extend(value.iter().take(usize::from(length)));
    bytes
}

/// Tag and BER length; the value is the caller's to add.
pub(crate) fn header(tag: u32, length: u16) -> Vec<u8> {
    let mut bytes: Vec<u8> = tag.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    match length.to_be_bytes() {
        [0, len @ 0..=0x7F] => bytes.push(len),
        [0, len] => bytes.extend([0x81, len]),
        [high, low] => bytes.extend([0x82, high, low]),
    }
    bytes
}

/// Walks all objects without recursion.
fn scan(bytes: &[u8]) -> Result<(), TlvError> {
    if bytes.len() > MAX_LENGTH {
        return Err(TlvError::TooLong);
    }
    // What is still to be read of each enclosing object, the innermost last.
    let mut open: Vec<usize> = vec![bytes.len()];
    let mut rest = bytes;
    let mut objects_at_top = 0;
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        let (constructed, header, len) = read_header(rest.get(..*left).ok_or(TlvError::Truncated)?)?;
        let size = header + len;
        *left = left.checked_sub(size).ok_or(TlvError::Truncated)?;
        objects_at_top += usize::from(open.len() == 1);
        if objects_at_top > 1 {
            return Err(TlvError::TrailingBytes);
        }
        if constructed && open.len() > MAX_DEPTH {
            return Err(TlvError::TooDeep);
        }
        let skip = if constructed { header } else { size };
        rest = rest.get(skip..).ok_or(TlvError::Truncated)?;
        if constructed {
            open.push(len);
        }
    }
    if objects_at_top == 0 { Err(TlvError::Truncated) } else { Ok(()) }
}

/// Whether the object is constructed, and the lengths of its header and value.
fn read_header(bytes: &[u8]) -> Result<(bool, usize, usize), TlvError> {
    let constructed = bytes.first().is_some_and(|first| first & 0x20 != 0);
    let (_, after) = read_tag(bytes)?;
    let (len, after) = read_length(after)?;
    Ok((constructed, bytes.len() - after.len(), len))
}

fn read_tag(bytes: &[u8]) -> Result<(u32, &[u8]), TlvError> {
    match bytes {
        [] => Err(TlvError::Truncated),
        [0, ..] => Err(TlvError::InvalidTag),
        [first, rest @ ..] if first & 0x1F != 0x1F => Ok((u32::from(*first), rest)),
        [first, second, rest @ ..] if second & 0x80 == 0 => {
            Ok((u32::from_be_bytes([0, 0, *first, *second]), rest))
        }
        [first, second, third, rest @ ..] if third & 0x80 == 0 => {
            Ok((u32::from_be_bytes([0, *first, *second, *third]), rest))
        }
        [_] | [_, _] => Err(TlvError::Truncated),
        [_, _, _, ..] => Err(TlvError::InvalidTag),
    }
}

fn read_length(bytes: &[u8]) -> Result<(usize, &[u8]), TlvError> {
    match bytes {
        [] | [0x81] | [0x82] | [0x82, _] => Err(TlvError::Truncated),
        [len @ 0..=0x7F, rest @ ..] => Ok((usize::from(*len), rest)),
        [0x81, len, rest @ ..] => Ok((usize::from(*len), rest)),
        [0x82, high, low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        [_, ..] => Err(TlvError::InvalidLength),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Lengths, MAX_DEPTH, TlvError, elements, encode, parse, value_of};

    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(vec![0x80, 0x00], |inner, _| encode(0x70, &inner))
    }

    #[test]
    fn depth_is_capped() {
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(TlvError::TooDeep));
        assert_eq!(parse(&nested(900)), Err(TlvError::TooDeep));
        assert_eq!(parse(&nested(8000)), Err(TlvError::TooLong));
    }

    #[test]
    fn malformed_objects_are_named() {
        assert_eq!(parse(&[]), Err(TlvError::Truncated));
        assert_eq!(parse(&[0x6F]), Err(TlvError::Truncated));
        assert_eq!(parse(&[0x6F, 0x02, 0x80]), Err(TlvError::Truncated));
        assert_eq!(parse(&[0x80, 0x01, 0x00, 0x00]), Err(TlvError::InvalidTag));
        assert_eq!(parse(&[0x80, 0x01, 0x00, 0x81, 0x00]), Err(TlvError::TrailingBytes));
        assert_eq!(parse(&[0x80, 0x80, 0x00, 0x00]), Err(TlvError::InvalidLength));
        // The inner object reaches beyond the outer one.
        assert_eq!(parse(&[0x70, 0x03, 0x80, 0x05, 1, 2, 3, 4, 5]), Err(TlvError::Truncated));
    }

    #[test]
    fn one_byte_lengths_reach_255() {
        let mut bytes = vec![0x8F, 0x82, 0x81, 0x00];
        bytes.extend([0xFF; 128]);
        assert_eq!(elements(&bytes, Lengths::Ber).err(), Some(TlvError::Truncated));
        let found = elements(&bytes, Lengths::OneByte).unwrap();
        assert_eq!(value_of(&found, 0x8F).unwrap().len(), 130);
    }

    #[test]
    fn the_worst_that_fits_is_quick() {
        // Each child of an object makes the library count all of its brothers again.
        let widest = (0..MAX_DEPTH).fold([0x80, 0x00].repeat(2000), |inner, _| encode(0x70, &inner));
        let start = Instant::now();
        assert!(parse(&widest).is_ok());
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
