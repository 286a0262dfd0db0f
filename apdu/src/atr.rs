//! Answer to reset (ISO/IEC 7816-3:2006 §8.2) and the historical bytes of a CNS (`cns-card` §1).

use thiserror::Error;

/// Why bytes are no answer to reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AtrError {
    /// Not 2 to 33 bytes.
    #[error("an answer to reset has 2 to 33 bytes")]
    Length,
    /// The bytes end before what they announce.
    #[error("the answer to reset is cut short")]
    Truncated,
}

/// An answer to reset, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atr {
    bytes: Vec<u8>,
    historical_start: usize,
    historical_len: usize,
}

/// What the historical bytes of a CNS tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CnsHistorical {
    /// H3: maker of the chip (ISO/IEC 7816-6 register).
    pub chip_maker: u8,
    /// H4: maker of the operating system.
    pub mask_maker: u8,
    /// H5, H6: version of the operating system.
    pub mask_version: [u8; 2],
    /// H8: kind of card in the low nibble.
    pub card_kind: u8,
    /// H10 to H12: `CNS`, `HPC`, `DSD` and others.
    pub profile: [u8; 3],
    /// H13: version of the CNS, high nibble and low nibble.
    pub version: u8,
}

impl Atr {
    /// Takes the bytes apart.
    ///
    /// # Errors
    /// When they are not what they announce.
    pub fn parse(bytes: &[u8]) -> Result<Self, AtrError> {
        if !(2..=33).contains(&bytes.len()) {
            return Err(AtrError::Length);
        }
        let format = bytes.get(1).copied().ok_or(AtrError::Truncated)?;
        let mut interface = format >> 4;
        let mut position = 2usize;
        // Each round consumes at least the byte that announces the next, so 33 bytes bound the loop.
        while interface & 0x08 != 0 {
            position += usize::try_from((interface & 0x07).count_ones()).map_err(|_| AtrError::Truncated)?;
            interface = bytes.get(position).ok_or(AtrError::Truncated)? >> 4;
            position += 1;
        }
        position += usize::try_from(interface.count_ones()).map_err(|_| AtrError::Truncated)?;
        let historical_len = usize::from(format & 0x0F);
        if position + historical_len > bytes.len() {
            return Err(AtrError::Truncated);
        }
        Ok(Self { bytes: bytes.to_vec(), historical_start: position, historical_len })
    }

    /// All bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The historical bytes.
    #[must_use]
    pub fn historical(&self) -> &[u8] {
        self.bytes
            .get(self.historical_start..)
            .and_then(|rest| rest.get(..self.historical_len))
            .unwrap_or_default()
    }

    /// Whether the check byte, if there is one, fits (ISO/IEC 7816-3:2006 §8.2.5).
    #[must_use]
    pub fn has_valid_check_byte(&self) -> bool {
        self.bytes.len() == self.historical_start + self.historical_len
            || self.bytes.iter().skip(1).fold(0, |sum, byte| sum ^ byte) == 0
    }

    /// What the historical bytes tell if they have the form of a CNS: fifteen that begin with `00 6B`. The name in
    /// H10 to H12 is not asked for: health professionals' cards say "HPC" there and signature cards "DSD", with the
    /// same files, and cards of other countries say "CNS" (`real-cards` §1.2).
    #[must_use]
    pub fn cns(&self) -> Option<CnsHistorical> {
        match *self.historical() {
            [0x00, 0x6B, chip, mask, high, low, _, kind, _, first, second, third, version, _, _] => {
                Some(CnsHistorical {
                    chip_maker: chip,
                    mask_maker: mask,
                    mask_version: [high, low],
                    card_kind: kind,
                    profile: [first, second, third],
                    version,
                })
            }
            _ => None,
        }
    }
}

impl CnsHistorical {
    /// The name of the operating system's maker, where the register knows it.
    #[must_use]
    pub const fn mask_maker_name(&self) -> Option<&'static str> {
        Some(match self.mask_maker {
            0x01 => "Kaitech",
            0x02 => "Gemplus",
            0x03 => "Ghirlanda",
            0x04 => "Giesecke & Devrient",
            0x05 => "Oberthur/IDEMIA",
            0x06 => "Orga",
            0x07 => "Axalto",
            0x08 => "Siemens",
            0x09 => "STIncard",
            0x0A => "GEP",
            0x0B => "EPS Corp",
            0x0C => "Athena",
            0x0D => "Gemalto",
            _ => return None,
        })
    }

    /// The name of the chip's maker, where the register knows it.
    #[must_use]
    pub const fn chip_maker_name(&self) -> Option<&'static str> {
        Some(match self.chip_maker {
            0x01 => "Motorola",
            0x02 => "STMicroelectronics",
            0x03 => "Hitachi",
            0x04 => "NXP",
            0x05 => "Infineon",
            0x08 => "Fujitsu",
            0x0E => "Samsung",
            0x15 => "Atmel",
            0x40 => "Gemalto",
            _ => return None,
        })
    }
}
