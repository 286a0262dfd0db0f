//! PIN and PUK: how they are named in P2, and how their values are padded (`cns-card` §3.3).

use cns_secret::{Secret, SecretError};
use thiserror::Error;

use crate::object::ObjectId;
use crate::status::StatusWord;

/// The length of every PIN and PUK as the chip stores it.
pub const REFERENCE_LENGTH: usize = 8;

/// Where the search for an object starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchFrom {
    /// The object is directly under the MF.
    MasterFile,
    /// From the current DF up to the MF ("backtracking").
    CurrentDf,
}

/// P2 of the commands on a PIN: which object, and where it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PinReference {
    /// Which object.
    pub id: ObjectId,
    /// Where the search starts.
    pub search: SearchFrom,
}

impl PinReference {
    /// The object of this identifier directly under the MF.
    #[must_use]
    pub const fn global(id: ObjectId) -> Self {
        Self { id, search: SearchFrom::MasterFile }
    }

    /// The object of this identifier in the current DF, or the nearest one above it.
    #[must_use]
    pub const fn local(id: ObjectId) -> Self {
        Self { id, search: SearchFrom::CurrentDf }
    }

    /// From P2: bit 8 is the search, bits 7 and 6 are zero, the rest names the object.
    ///
    /// # Errors
    /// 6A86 when P2 cannot name an object.
    pub fn from_p2(p2: u8) -> Result<Self, StatusWord> {
        let id = ObjectId::new(p2 & 0x7F).ok_or(StatusWord::WRONG_PARAMETERS)?;
        Ok(if p2 & 0x80 == 0 { Self::global(id) } else { Self::local(id) })
    }

    /// P2.
    #[must_use]
    pub const fn to_p2(self) -> u8 {
        match self.search {
            SearchFrom::MasterFile => self.id.value(),
            SearchFrom::CurrentDf => 0x80 | self.id.value(),
        }
    }
}

/// Why digits are no PIN or PUK.
#[derive(Debug, Error)]
pub enum ReferenceDataError {
    /// Not five to eight characters.
    #[error("a PIN or PUK has five to eight digits")]
    Length,
    /// Something other than an ASCII digit.
    #[error("a PIN or PUK has digits only")]
    NotDigits,
    /// No locked memory.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The value of a PIN or PUK as the chip compares it: eight bytes, padded with FF.
pub struct ReferenceData(Secret);

impl ReferenceData {
    /// From five to eight ASCII digits.
    ///
    /// # Errors
    /// When they are not that, or there is no locked memory.
    pub fn from_digits(digits: &Secret) -> Result<Self, ReferenceDataError> {
        if !(5..=REFERENCE_LENGTH).contains(&digits.len()) {
            return Err(ReferenceDataError::Length);
        }
        if !digits.expose().iter().all(u8::is_ascii_digit) {
            return Err(ReferenceDataError::NotDigits);
        }
        let mut padded = Secret::zeroed(REFERENCE_LENGTH)?;
        let value = digits.expose().iter().copied().chain(std::iter::repeat(0xFF));
        padded.expose_mut().iter_mut().zip(value).for_each(|(to, from)| *to = from);
        Ok(Self(padded))
    }

    /// From the bytes of a command, whatever they are: a chip compares, it does not judge digits.
    ///
    /// # Errors
    /// 6700 when there are not exactly eight, 6581 when there is no locked memory.
    pub fn from_command(bytes: &[u8]) -> Result<Self, StatusWord> {
        if bytes.len() != REFERENCE_LENGTH {
            return Err(StatusWord::WRONG_LENGTH);
        }
        Secret::copy_from(bytes).map(Self).map_err(|_| StatusWord::MEMORY_FAILURE)
    }

    /// Two values one after the other, as CHANGE REFERENCE DATA and RESET RETRY COUNTER carry them.
    pub(super) fn pair_from_command(bytes: &[u8]) -> Result<(Self, Self), StatusWord> {
        let (first, second) = bytes.split_at_checked(REFERENCE_LENGTH).ok_or(StatusWord::WRONG_LENGTH)?;
        Ok((Self::from_command(first)?, Self::from_command(second)?))
    }

    /// The eight bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The eight bytes, as the secret they are.
    #[must_use]
    pub fn as_secret(&self) -> &Secret {
        &self.0
    }

    /// The eight bytes, given away.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }

    /// A second one with the same value.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn duplicate(&self) -> Result<Self, SecretError> {
        self.0.duplicate().map(Self)
    }

    /// Whether both are the same, found in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0)
    }

    /// How many bytes are left when the FF padding is taken off.
    #[must_use]
    pub fn unpadded_length(&self) -> usize {
        let padding = self.expose().iter().rev().take_while(|byte| **byte == 0xFF).count();
        self.0.len() - padding
    }
}
