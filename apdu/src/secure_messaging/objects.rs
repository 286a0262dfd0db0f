//! The data objects of a protected command or response, read strictly and in place.

use super::{LONGEST, SecureMessagingError};
use crate::tlv::{self, Lengths, TlvError};
use crate::triple_des::MAC_LENGTH;

pub(super) const CLEAR: u32 = 0x81;
pub(super) const CRYPTOGRAM: u32 = 0x87;
pub(super) const MAC: u32 = 0x8E;
pub(super) const LENGTH: u32 = 0x96;
const AUTHENTICATED_LENGTH: u32 = 0x97;
/// The first byte of a cryptogram's object: padding method 2.
pub(super) const PADDED: u8 = 0x01;

/// What there is; each object once at most.
#[derive(Default)]
pub(super) struct Objects<'a> {
    /// Data in clear.
    pub(super) clear: Option<&'a [u8]>,
    /// The cryptogram, without the padding indicator.
    pub(super) cryptogram: Option<&'a [u8]>,
    pub(super) mac: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    /// The bytes of the objects that the MAC covers.
    pub(super) authenticated: &'a [u8],
}

impl<'a> Objects<'a> {
    /// Reads all objects. Those that the MAC covers come first, then the others in any order: so what was
    /// authenticated is one piece of the bytes, whatever form its lengths have.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, SecureMessagingError> {
        if bytes.len() > LONGEST {
            return Err(TlvError::TooLong.into());
        }
        let mut found = Self::default();
        let mut rest = bytes;
        let mut covered_end = 0;
        let mut covered = true;
        while !rest.is_empty() {
            let (object, after) = tlv::split_first(rest, Lengths::Ber)?;
            rest = after;
            if object.tag % 2 == 1 {
                if !covered {
                    return Err(SecureMessagingError::Wrong("order of the objects"));
                }
                covered_end = bytes.len() - rest.len();
            } else {
                covered = false;
            }
            found.take(object.tag, object.value)?;
        }
        found.authenticated = bytes.get(..covered_end).unwrap_or_default();
        Ok(found)
    }

    fn take(&mut self, tag: u32, value: &'a [u8]) -> Result<(), SecureMessagingError> {
        let (place, value, name) = match (tag, value) {
            (CLEAR, value) => (&mut self.clear, value, "data object"),
            (CRYPTOGRAM, [PADDED, cryptogram @ ..]) => (&mut self.cryptogram, cryptogram, "cryptogram"),
            (CRYPTOGRAM, _) => return Err(SecureMessagingError::Wrong("padding indicator")),
            (MAC, value) if value.len() == MAC_LENGTH => (&mut self.mac, value, "MAC"),
            (MAC, _) => return Err(SecureMessagingError::Wrong("length of the MAC")),
            (LENGTH | AUTHENTICATED_LENGTH, [_] | [_, _]) => (&mut self.length, value, "expected length"),
            (LENGTH | AUTHENTICATED_LENGTH, _) => return Err(SecureMessagingError::Wrong("expected length")),
            (_, _) => return Err(SecureMessagingError::Wrong("set of objects")),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(SecureMessagingError::Wrong(name)),
        }
    }

    /// The expected length, 1 to 65,536, if it is told.
    pub(super) fn expected_length(&self) -> Result<Option<u32>, SecureMessagingError> {
        match self.length {
            None => Ok(None),
            Some([0]) => Ok(Some(256)),
            Some([length]) => Ok(Some(u32::from(*length))),
            Some([0, 0]) => Ok(Some(65_536)),
            Some([high, low]) => Ok(Some(u32::from(u16::from_be_bytes([*high, *low])))),
            Some(_) => Err(SecureMessagingError::Wrong("expected length")),
        }
    }
}
