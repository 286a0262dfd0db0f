//! Base security objects (BSO) and security environments: how they are addressed and described (`cns-card` §3).

use cns_secret::{Secret, SecretError};

use crate::bytes::concat;

/// The identifier of a security object: 1 to 1E. The same one may exist in several classes and DFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(u8);

impl ObjectId {
    /// The secure messaging key that enciphers, in the MF.
    pub const ENCRYPTION_KEY: Self = Self(0x06);
    /// The secure messaging key that signs, in the MF.
    pub const AUTHENTICATION_KEY: Self = Self(0x07);
    /// The holder's PIN, in the MF.
    pub const CNS_PIN: Self = Self(0x10);
    /// The PUK of the holder's PIN, in the MF.
    pub const CNS_PUK: Self = Self(0x11);
    /// The authentication key (Kpri), in the MF.
    pub const CNS_KEY: Self = Self(0x01);
    /// The issuer's administration key, in the MF.
    pub const ISSUER_KEY: Self = Self(0x05);
    /// The signature PIN, in the signature DF.
    pub const SIGNATURE_PIN: Self = Self(0x1A);
    /// The PUK of the signature PIN, in the signature DF.
    pub const SIGNATURE_PUK: Self = Self(0x1B);
    /// The signature key, in its own DF.
    pub const SIGNATURE_KEY: Self = Self(0x10);
    /// The key of IDEMIA's 2021 chips.
    pub const IDEMIA_KEY: Self = Self(0x02);
    /// The key of the one Cosmo V7 that was seen.
    pub const COSMO_7_KEY: Self = Self(0x0E);

    /// From its number; `None` for 0, 1F (both reserved) and above.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        match value {
            0x01..=0x1E => Some(Self(value)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// What an object is for (`cns-card` §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectClass {
    /// 00: PIN, or key for EXTERNAL AUTHENTICATE; its first or only component.
    Test,
    /// 01: second component (RSA exponent) of a test key.
    TestExponent,
    /// 10: secure messaging key.
    SecureMessaging,
    /// 20: key for PERFORM SECURITY OPERATION; RSA modulus or symmetric key.
    Key,
    /// 21: second component (RSA private exponent) of such a key.
    KeyExponent,
}

impl ObjectClass {
    /// From its byte.
    #[must_use]
    pub const fn new(byte: u8) -> Option<Self> {
        match byte {
            0x00 => Some(Self::Test),
            0x01 => Some(Self::TestExponent),
            0x10 => Some(Self::SecureMessaging),
            0x20 => Some(Self::Key),
            0x21 => Some(Self::KeyExponent),
            _ => None,
        }
    }

    /// Its byte.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::Test => 0x00,
            Self::TestExponent => 0x01,
            Self::SecureMessaging => 0x10,
            Self::Key => 0x20,
            Self::KeyExponent => 0x21,
        }
    }
}

/// Class and identifier: tag 83 of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectAddress {
    /// What it is for.
    pub class: ObjectClass,
    /// Which one.
    pub id: ObjectId,
}

impl ObjectAddress {
    /// From class and identifier.
    #[must_use]
    pub const fn new(class: ObjectClass, id: ObjectId) -> Self {
        Self { class, id }
    }

    /// From the two bytes of tag 83.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        let [class, id] = bytes;
        Some(Self { class: ObjectClass::new(class)?, id: ObjectId::new(id)? })
    }

    /// The two bytes of tag 83.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.class.value(), self.id.value()]
    }
}

/// What an object is made for: byte 2 of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// 87: PIN or PUK.
    Pin,
    /// 0C: RSA, raw block in and out.
    RsaRaw,
    /// 88: RSA signature; the chip adds PKCS#1 block type 1 padding.
    RsaSignature,
    /// 03: triple DES.
    TripleDes,
    /// 82: retail MAC.
    RetailMac,
    /// 7F: AND/OR of other objects.
    Logical,
    /// Anything else, kept.
    Other(u8),
}

impl Algorithm {
    /// From its byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0x87 => Self::Pin,
            0x0C => Self::RsaRaw,
            0x88 => Self::RsaSignature,
            0x03 => Self::TripleDes,
            0x82 => Self::RetailMac,
            0x7F => Self::Logical,
            other => Self::Other(other),
        }
    }

    /// Its byte.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Pin => 0x87,
            Self::RsaRaw => 0x0C,
            Self::RsaSignature => 0x88,
            Self::TripleDes => 0x03,
            Self::RetailMac => 0x82,
            Self::Logical => 0x7F,
            Self::Other(byte) => byte,
        }
    }
}

/// The eight attribute bytes of an object (tag 85, `cns-card` §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectAttributes {
    /// 02; bit 5 set when a further component follows.
    pub options: u8,
    /// For a PIN the initial error counter in the low nibble.
    pub flags: u8,
    /// What it is made for.
    pub algorithm: Algorithm,
    /// Wrong tries allowed, in the low nibble; 0 and F stand for no limit.
    pub tries: u8,
    /// How often it may be used; FF for no limit.
    pub uses: u8,
    /// Reserved.
    pub reserved: u8,
    /// How many operations one verification covers; 0 and FF for no limit.
    pub validity: u8,
    /// For a PIN its least length; for a challenge-response key the length of the challenge.
    pub minimum_length: u8,
}

impl ObjectAttributes {
    /// Of a PIN or PUK with this many tries and this least length.
    #[must_use]
    pub const fn pin(tries: u8, minimum_length: u8) -> Self {
        Self {
            options: 0x02,
            flags: tries & 0x0F,
            algorithm: Algorithm::Pin,
            tries: tries & 0x0F,
            uses: 0xFF,
            reserved: 0x00,
            validity: 0x00,
            minimum_length,
        }
    }

    /// Of the modulus component of an RSA key.
    #[must_use]
    pub const fn modulus(algorithm: Algorithm) -> Self {
        Self {
            options: 0x22,
            flags: 0x00,
            algorithm,
            tries: 0x0F,
            uses: 0xFF,
            reserved: 0xFF,
            validity: 0x00,
            minimum_length: 0x00,
        }
    }

    /// Of the exponent component of an RSA key.
    #[must_use]
    pub const fn exponent(algorithm: Algorithm) -> Self {
        Self { options: 0x02, ..Self::modulus(algorithm) }
    }

    /// From the bytes of tag 85.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let [options, flags, algorithm, tries, uses, reserved, validity, minimum_length] = bytes;
        let algorithm = Algorithm::from_byte(algorithm);
        Self { options, flags, algorithm, tries, uses, reserved, validity, minimum_length }
    }

    /// The bytes of tag 85.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        [
            self.options,
            self.flags,
            self.algorithm.to_byte(),
            self.tries,
            self.uses,
            self.reserved,
            self.validity,
            self.minimum_length,
        ]
    }

    /// Wrong tries allowed; `None` for no limit.
    #[must_use]
    pub const fn tries_allowed(&self) -> Option<u8> {
        match self.tries & 0x0F {
            0x00 | 0x0F => None,
            tries => Some(tries),
        }
    }
}

/// The body of an RSA component (tag 8F): `len+1 || 00 || value`, and `FF 00 || value` where `len+1` does not fit
/// a byte, as for 2048 bits (`cns-card` §3.2).
///
/// # Errors
/// When there is no locked memory.
pub fn rsa_component(value: &[u8]) -> Result<Secret, SecretError> {
    let length = u8::try_from(value.len().saturating_add(1)).unwrap_or(0xFF);
    concat(&[&[length, 0x00], value])
}

/// The value inside the body of an RSA component.
#[must_use]
pub fn rsa_component_value(body: &[u8]) -> Option<&[u8]> {
    match body {
        [0xFF, 0x00, value @ ..] if value.len() >= 0xFE => Some(value),
        [length, 0x00, value @ ..] if usize::from(*length) == value.len() + 1 => Some(value),
        _ => None,
    }
}
