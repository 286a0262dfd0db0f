//! What a reader tells about its keypad (part 10 §2.5.5, §2.6.14).

use super::{PinPadError, fields};

/// `PIN_PROPERTIES_STRUCTURE` (§2.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinProperties {
    /// Lines and columns of the display; 0 without one.
    pub display: u16,
    /// What can end an entry: bits of [`super::validation`].
    pub validation: u8,
    /// Whether the time after the first key can be told.
    pub timeout_after_first_key: u8,
}

impl PinProperties {
    /// As a reader tells them.
    #[must_use]
    pub const fn encode(&self) -> [u8; 4] {
        let [low, high] = self.display.to_le_bytes();
        [low, high, self.validation, self.timeout_after_first_key]
    }

    /// From a reader's answer.
    ///
    /// # Errors
    /// When it has not the structure's length.
    pub const fn decode(bytes: &[u8]) -> Result<Self, PinPadError> {
        let [low, high, validation, timeout_after_first_key] = *bytes else {
            return Err(PinPadError::Length);
        };
        let display = u16::from_le_bytes([low, high]);
        Ok(Self { display, validation, timeout_after_first_key })
    }
}

/// The properties that a reader tells one by one (§2.6.14), as far as they matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlvProperties {
    /// What can end an entry: bits of [`super::validation`].
    pub validation: Option<u8>,
    /// The fewest digits that it takes.
    pub min_pin: Option<u8>,
    /// The most digits that it takes.
    pub max_pin: Option<u8>,
    /// The USB maker's number.
    pub vendor: Option<u16>,
    /// The maker's number of the product.
    pub product: Option<u16>,
}

const VALIDATION: u8 = 0x02;
const MIN_PIN: u8 = 0x06;
const MAX_PIN: u8 = 0x07;
const VENDOR: u8 = 0x0B;
const PRODUCT: u8 = 0x0C;

impl TlvProperties {
    /// From a reader's answer. Properties that are not known are passed over.
    ///
    /// # Errors
    /// When it is no list, names a property twice, or one that is known has not its length.
    pub fn decode(bytes: &[u8]) -> Result<Self, PinPadError> {
        let mut properties = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                VALIDATION => properties.validation = Some(byte(value)?),
                MIN_PIN => properties.min_pin = Some(byte(value)?),
                MAX_PIN => properties.max_pin = Some(byte(value)?),
                VENDOR => properties.vendor = Some(word(value)?),
                PRODUCT => properties.product = Some(word(value)?),
                _ => {}
            }
        }
        Ok(properties)
    }

    /// As a reader tells them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = [(VALIDATION, self.validation), (MIN_PIN, self.min_pin), (MAX_PIN, self.max_pin)];
        let words = [(VENDOR, self.vendor), (PRODUCT, self.product)];
        let mut list = Vec::new();
        for (tag, value) in bytes {
            list.extend(value.iter().flat_map(|value| [tag, 1, *value]));
        }
        for (tag, value) in words {
            list.extend(value.iter().flat_map(|value| {
                let [low, high] = value.to_le_bytes();
                [tag, 2, low, high]
            }));
        }
        list
    }
}

const fn byte(value: &[u8]) -> Result<u8, PinPadError> {
    if let [byte] = *value { Ok(byte) } else { Err(PinPadError::Length) }
}

const fn word(value: &[u8]) -> Result<u16, PinPadError> {
    if let [low, high] = *value { Ok(u16::from_le_bytes([low, high])) } else { Err(PinPadError::Length) }
}
