//! The command APDU (ISO/IEC 7816-3:2006 §12.1, ISO/IEC 7816-4:2005 §5.1).

use std::fmt::{self, Debug, Formatter};

use cns_secret::Secret;

use crate::bytes::concat;
use crate::error::ApduError;

/// The longest extended command: header, three length bytes, 65,535 bytes of data, two bytes of Le.
const LONGEST: usize = 4 + 3 + 65_535 + 2;

/// A command as it travels: header, data, and how many bytes are expected back.
#[derive(Debug)]
pub struct CommandApdu {
    /// Class byte.
    pub cla: u8,
    /// Instruction byte.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Command data.
    pub data: Body,
    /// Expected length of the answer, 1 to 65,536; `None` when no data is expected.
    pub le: Option<u32>,
}

/// The data of a command, kept in locked memory when it may hold a secret.
pub enum Body {
    /// No data.
    None,
    /// Data that the public may read.
    Plain(Vec<u8>),
    /// Data that is, or may be, secret.
    Sensitive(Secret),
}

/// How lengths are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One byte each: up to 255 bytes of data, up to 256 back.
    Short,
    /// Two bytes each: up to 65,535 bytes of data, up to 65,536 back.
    Extended,
}

impl Form {
    /// The form in which these bytes of a command are written. Commands without any length count as short.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [_, _, _, _, 0, _, ..] => Self::Extended,
            _ => Self::Short,
        }
    }
}

impl Body {
    /// The bytes. Of a sensitive body they must not be copied into plain memory.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Plain(bytes) => bytes,
            Self::Sensitive(secret) => secret.expose(),
        }
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl Debug for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            // Plain data may still be personal data; its length is enough to follow a session.
            Self::Plain(bytes) => write!(f, "Plain({} bytes)", bytes.len()),
            Self::Sensitive(secret) => write!(f, "Sensitive({} bytes)", secret.len()),
        }
    }
}

impl CommandApdu {
    /// A command of the inter-industry class with neither data nor Le.
    #[must_use]
    pub fn new(ins: u8, p1: u8, p2: u8) -> Self {
        Self { cla: 0x00, ins, p1, p2, data: Body::None, le: None }
    }

    /// With this class byte.
    #[must_use]
    pub fn class(self, cla: u8) -> Self {
        Self { cla, ..self }
    }

    /// With data that the public may read; none if there are no bytes.
    #[must_use]
    pub fn plain(self, data: Vec<u8>) -> Self {
        let data = if data.is_empty() { Body::None } else { Body::Plain(data) };
        Self { data, ..self }
    }

    /// With data that may be secret; none if there are no bytes.
    #[must_use]
    pub fn sensitive(self, data: Secret) -> Self {
        let data = if data.is_empty() { Body::None } else { Body::Sensitive(data) };
        Self { data, ..self }
    }

    /// Expecting up to `le` bytes.
    #[must_use]
    pub fn expecting(self, le: u32) -> Self {
        Self { le: Some(le), ..self }
    }

    /// Whether the short form can carry it.
    #[must_use]
    pub fn fits_short(&self) -> bool {
        self.data.len() <= 255 && self.le.unwrap_or(1) <= 256
    }

    /// Decodes a command of either form. Data goes to locked memory unless the instruction is known to carry
    /// none that is secret.
    ///
    /// # Errors
    /// When the lengths contradict the bytes, or there is no locked memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApduError> {
        if bytes.len() > LONGEST {
            return Err(ApduError::TooLong(bytes.len()));
        }
        let Some((&[cla, ins, p1, p2], body)) = bytes.split_first_chunk::<4>() else {
            return Err(ApduError::TooShort(bytes.len()));
        };
        let (data, le) = split_body(body).ok_or(ApduError::LengthMismatch(bytes.len()))?;
        let data = match data {
            [] => Body::None,
            data if cla == 0 && is_public(ins) => Body::Plain(data.to_vec()),
            data => Body::Sensitive(Secret::copy_from(data)?),
        };
        Ok(Self { cla, ins, p1, p2, data, le })
    }

    /// The bytes that go to the reader.
    ///
    /// # Errors
    /// When data or Le do not fit the form, or there is no locked memory.
    pub fn to_bytes(&self, form: Form) -> Result<Secret, ApduError> {
        self.to_bytes_expecting(self.le, form)
    }

    /// As [`CommandApdu::to_bytes`], with another Le.
    pub(crate) fn to_bytes_expecting(&self, le: Option<u32>, form: Form) -> Result<Secret, ApduError> {
        let header = [self.cla, self.ins, self.p1, self.p2];
        let data = self.data.as_bytes();
        let (lc, le) = match form {
            Form::Short => (short_lc(data.len())?, le.map(short_le).transpose()?),
            Form::Extended => (extended_lc(data.len())?, le.map(|le| extended_le(le, data)).transpose()?),
        };
        Ok(concat(&[&header, &lc, data, &le.unwrap_or_default()])?)
    }
}

/// Data and Le of what follows the header; `None` when the lengths contradict.
pub(crate) fn split_body(body: &[u8]) -> Option<(&[u8], Option<u32>)> {
    match body {
        [] => Some((&[], None)),
        [le] => Some((&[], Some(at_most(u32::from(*le), 256)))),
        [0, high, low] => Some((&[], Some(at_most(word(*high, *low), 65_536)))),
        [0, high, low, rest @ ..] => {
            match split_data(rest, usize::from(u16::from_be_bytes([*high, *low])))? {
                (data, []) => Some((data, None)),
                (data, [high, low]) => Some((data, Some(at_most(word(*high, *low), 65_536)))),
                (_, _) => None,
            }
        }
        [lc, rest @ ..] => match split_data(rest, usize::from(*lc))? {
            (data, []) => Some((data, None)),
            (data, [le]) => Some((data, Some(at_most(u32::from(*le), 256)))),
            (_, _) => None,
        },
    }
}

fn split_data(rest: &[u8], lc: usize) -> Option<(&[u8], &[u8])> {
    if lc == 0 { None } else { rest.split_at_checked(lc) }
}

/// Zero stands for the most that the form can say.
fn at_most(le: u32, most: u32) -> u32 {
    if le == 0 { most } else { le }
}

fn word(high: u8, low: u8) -> u32 {
    u32::from(u16::from_be_bytes([high, low]))
}

fn short_lc(len: usize) -> Result<Vec<u8>, ApduError> {
    match u8::try_from(len) {
        Ok(0) => Ok(Vec::new()),
        Ok(lc) => Ok(vec![lc]),
        Err(_) => Err(ApduError::DataTooLong(len)),
    }
}

fn short_le(le: u32) -> Result<Vec<u8>, ApduError> {
    match le {
        256 => Ok(vec![0]),
        1..=255 => Ok(vec![le.to_be_bytes()[3]]),
        _ => Err(ApduError::LeOutOfRange(le)),
    }
}

fn extended_lc(len: usize) -> Result<Vec<u8>, ApduError> {
    match u16::try_from(len).map(u16::to_be_bytes) {
        Ok([0, 0]) => Ok(Vec::new()),
        Ok([high, low]) => Ok(vec![0, high, low]),
        Err(_) => Err(ApduError::DataTooLong(len)),
    }
}

fn extended_le(le: u32, data: &[u8]) -> Result<Vec<u8>, ApduError> {
    if !(1..=65_536).contains(&le) {
        return Err(ApduError::LeOutOfRange(le));
    }
    let [_, _, high, low] = le.to_be_bytes();
    // Without Lc the leading zero that announces the extended form is Le's.
    Ok(if data.is_empty() { vec![0, high, low] } else { vec![high, low] })
}

/// Instructions whose data holds no secret: files and their contents, selections, records.
fn is_public(ins: u8) -> bool {
    matches!(ins, 0xA4 | 0xB0 | 0xD6 | 0xB2 | 0xDC | 0xE2 | 0x22 | 0xE0 | 0xE4 | 0x46 | 0x84 | 0xCA | 0xC0)
}
