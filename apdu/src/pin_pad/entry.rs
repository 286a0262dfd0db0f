//! The orders to take a PIN (part 10 §2.5.2, §2.5.3).

use super::PinPadError;
use crate::command::{PinReference, REFERENCE_LENGTH};

/// What ends an entry (`bEntryValidationCondition`).
pub mod validation {
    /// As many digits as there may be.
    pub const FULL: u8 = 0x01;
    /// The key "OK".
    pub const KEY: u8 = 0x02;
    /// The time.
    pub const TIME: u8 = 0x04;
}

/// What a change asks for (`bConfirmPIN`).
pub mod confirm {
    /// The new PIN is typed twice.
    pub const NEW_TWICE: u8 = 0x01;
    /// The present PIN, or the PUK, is typed first.
    pub const PRESENT: u8 = 0x02;
}

/// Italian, as `wLangId` names it.
pub const LANGUAGE_ITALIAN: u16 = 0x0410;

/// The fewest and the most digits of a CNS PIN.
const DIGITS: (u8, u8) = (5, 8);
/// CHANGE REFERENCE DATA.
const CHANGE: u8 = 0x24;
/// RESET RETRY COUNTER.
const RESET: u8 = 0x2C;
/// VERIFY.
const VERIFY: u8 = 0x20;
/// What fills the place of the digits that are not typed.
const PADDING: u8 = 0xFF;
const BLOCK: u8 = 8;
const _: () = assert!(BLOCK as usize == REFERENCE_LENGTH, "the block holds one PIN");

/// How the digits become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As the value of each digit, one a byte.
    Binary,
    /// As the value of each digit, two a byte.
    Bcd,
    /// As characters.
    Ascii,
    /// No coding that is defined.
    Reserved,
}

/// At which end of the block the digits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Justify {
    /// The first byte is the first digit.
    Left,
    /// The last byte is the last digit.
    Right,
}

/// Where and how the digits go into the command (`bmFormatString`, `bmPINBlockString`, `bmPINLengthFormat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    /// `bmFormatString`.
    pub format: u8,
    /// `bmPINBlockString`.
    pub block: u8,
    /// `bmPINLengthFormat`.
    pub length: u8,
}

impl BlockFormat {
    /// The one of every CNS: characters from the data's first byte on, in a block of eight, no length byte.
    pub const CNS: Self = Self { format: 0x82, block: BLOCK, length: 0x00 };

    /// How the digits become bytes.
    #[must_use]
    pub const fn coding(self) -> Coding {
        match self.format & 0x03 {
            0 => Coding::Binary,
            1 => Coding::Bcd,
            2 => Coding::Ascii,
            _ => Coding::Reserved,
        }
    }

    /// At which end of the block they stand.
    #[must_use]
    pub const fn justify(self) -> Justify {
        if self.format & 0x04 == 0 { Justify::Left } else { Justify::Right }
    }

    /// Where the block begins in the command's data, in bytes; `None` where it is told in bits that are no bytes.
    #[must_use]
    pub const fn offset(self) -> Option<usize> {
        let position = ((self.format >> 3) & 0x0F) as usize;
        match self.format & 0x80 {
            0 if !position.is_multiple_of(8) => None,
            0 => Some(position / 8),
            _ => Some(position),
        }
    }

    /// The block's length in bytes.
    #[must_use]
    pub const fn block_length(self) -> usize {
        (self.block & 0x0F) as usize
    }

    /// Whether the number of digits is to be written into the command too.
    #[must_use]
    pub const fn writes_length(self) -> bool {
        self.block & 0xF0 != 0
    }
}

/// `PIN_VERIFY_STRUCTURE` (§2.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinVerify {
    /// How long the person may take, in seconds; 0 leaves it to the reader.
    pub timeout: u8,
    /// How long after the first key, in seconds; 0 leaves it to the reader.
    pub timeout_after_first_key: u8,
    /// Where and how the digits go into the command.
    pub format: BlockFormat,
    /// The fewest and the most digits.
    pub digits: (u8, u8),
    /// What ends the entry: bits of [`validation`].
    pub validation: u8,
    /// The language of the messages (`wLangId`).
    pub language: u16,
    /// The command, with padding in the place of the digits.
    pub command: Vec<u8>,
}

impl PinVerify {
    /// VERIFY of a CNS PIN.
    #[must_use]
    pub fn cns(reference: PinReference, timeout: u8, validation: u8) -> Self {
        Self {
            timeout,
            timeout_after_first_key: timeout,
            format: BlockFormat::CNS,
            digits: DIGITS,
            validation,
            language: LANGUAGE_ITALIAN,
            command: command(VERIFY, reference, 1),
        }
    }

    /// As a reader takes it.
    ///
    /// # Errors
    /// When the command is longer than 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>, PinPadError> {
        let (fewest, most) = self.digits;
        let [language, language_high] = self.language.to_le_bytes();
        let mut bytes = vec![
            self.timeout,
            self.timeout_after_first_key,
            self.format.format,
            self.format.block,
            self.format.length,
            most,
            fewest,
            self.validation,
            1, // One message: type the PIN.
            language,
            language_high,
            0, // It is the first.
            0,
            0,
            0, // No T=1 frame: the driver makes it.
        ];
        put_command(&mut bytes, &self.command)?;
        Ok(bytes)
    }

    /// What a reader reads in it.
    ///
    /// # Errors
    /// When it is too short, or the command has not the length that is told.
    pub fn decode(bytes: &[u8]) -> Result<Self, PinPadError> {
        let (head, command) = bytes.split_first_chunk::<19>().ok_or(PinPadError::Length)?;
        let [
            timeout,
            timeout_after_first_key,
            format,
            block,
            length,
            most,
            fewest,
            validation,
            _messages,
            language,
            language_high,
            _message,
            _,
            _,
            _,
            size @ ..,
        ] = *head;
        Ok(Self {
            timeout,
            timeout_after_first_key,
            format: BlockFormat { format, block, length },
            digits: (fewest, most),
            validation,
            language: u16::from_le_bytes([language, language_high]),
            command: take_command(command, size)?,
        })
    }
}

/// `PIN_MODIFY_STRUCTURE` (§2.5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinModify {
    /// How long the person may take for each entry, in seconds; 0 leaves it to the reader.
    pub timeout: u8,
    /// How long after the first key, in seconds; 0 leaves it to the reader.
    pub timeout_after_first_key: u8,
    /// Where and how the digits go into the command.
    pub format: BlockFormat,
    /// Where the present PIN's block is, in bytes from the format's position.
    pub old_offset: u8,
    /// Where the new PIN's block is, in bytes from the format's position.
    pub new_offset: u8,
    /// The fewest and the most digits.
    pub digits: (u8, u8),
    /// What is typed: bits of [`confirm`].
    pub confirm: u8,
    /// What ends an entry: bits of [`validation`].
    pub validation: u8,
    /// The language of the messages (`wLangId`).
    pub language: u16,
    /// The command, with padding in the place of the digits.
    pub command: Vec<u8>,
}

impl PinModify {
    /// CHANGE REFERENCE DATA of a CNS PIN: the present one, then the new one twice.
    #[must_use]
    pub fn change(reference: PinReference, timeout: u8, validation: u8) -> Self {
        Self::cns(CHANGE, reference, timeout, validation)
    }

    /// RESET RETRY COUNTER of a CNS PIN: its PUK, then the new PIN twice.
    #[must_use]
    pub fn reset(reference: PinReference, timeout: u8, validation: u8) -> Self {
        Self::cns(RESET, reference, timeout, validation)
    }

    fn cns(instruction: u8, reference: PinReference, timeout: u8, validation: u8) -> Self {
        Self {
            timeout,
            timeout_after_first_key: timeout,
            format: BlockFormat::CNS,
            old_offset: 0,
            new_offset: BLOCK,
            digits: DIGITS,
            confirm: confirm::NEW_TWICE | confirm::PRESENT,
            validation,
            language: LANGUAGE_ITALIAN,
            command: command(instruction, reference, 2),
        }
    }

    /// As a reader takes it.
    ///
    /// # Errors
    /// When the command is longer than 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>, PinPadError> {
        let (fewest, most) = self.digits;
        let [language, language_high] = self.language.to_le_bytes();
        let mut bytes = vec![
            self.timeout,
            self.timeout_after_first_key,
            self.format.format,
            self.format.block,
            self.format.length,
            self.old_offset,
            self.new_offset,
            most,
            fewest,
            self.confirm,
            self.validation,
            3, // Three messages: the present PIN, the new one, the new one again.
            language,
            language_high,
            0,
            1,
            2,
            0,
            0,
            0, // No T=1 frame: the driver makes it.
        ];
        put_command(&mut bytes, &self.command)?;
        Ok(bytes)
    }

    /// What a reader reads in it.
    ///
    /// # Errors
    /// When it is too short, or the command has not the length that is told.
    pub fn decode(bytes: &[u8]) -> Result<Self, PinPadError> {
        let (head, command) = bytes.split_first_chunk::<24>().ok_or(PinPadError::Length)?;
        let [
            timeout,
            timeout_after_first_key,
            format,
            block,
            length,
            old_offset,
            new_offset,
            most,
            fewest,
            confirm,
            validation,
            _messages,
            language,
            language_high,
            _,
            _,
            _,
            _,
            _,
            _,
            size @ ..,
        ] = *head;
        Ok(Self {
            timeout,
            timeout_after_first_key,
            format: BlockFormat { format, block, length },
            old_offset,
            new_offset,
            digits: (fewest, most),
            confirm,
            validation,
            language: u16::from_le_bytes([language, language_high]),
            command: take_command(command, size)?,
        })
    }
}

/// A command with so many empty blocks.
fn command(instruction: u8, reference: PinReference, blocks: u8) -> Vec<u8> {
    let length = BLOCK.saturating_mul(blocks);
    let mut command = vec![0x00, instruction, 0x00, reference.to_p2(), length];
    command.extend(std::iter::repeat_n(PADDING, usize::from(length)));
    command
}

fn put_command(bytes: &mut Vec<u8>, command: &[u8]) -> Result<(), PinPadError> {
    let length = u32::try_from(command.len()).map_err(|_| PinPadError::TooLong)?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(command);
    Ok(())
}

fn take_command(command: &[u8], length: [u8; 4]) -> Result<Vec<u8>, PinPadError> {
    let told = usize::try_from(u32::from_le_bytes(length)).map_err(|_| PinPadError::Length)?;
    if told == command.len() { Ok(command.to_vec()) } else { Err(PinPadError::Length) }
}
