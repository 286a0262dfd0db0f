//! The printer's stand-in: blind envelopes with a PIN and a user code each, as letters and as a sealed batch.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use cns_secret::{Secret, SecretError};

use crate::keys;
use crate::sealed::{Content, Kind, Recipient, SealError};

/// The outside code: eight random digits, and two check digits by ISO/IEC 7064, MOD 97-10.
const CODE_DIGITS: usize = 8;
const USER_CODE_DIGITS: usize = 10;
/// One line of the batch, with every value at its longest.
const LINE: usize = 96;
/// A batch lives in locked memory, of which the usual limit is 8 MiB.
pub const MAXIMUM_BATCH: usize = 10_000;

/// Why no envelopes were made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Too many at once, or PINs of another length than the chip takes.
    #[error("a batch has 1 to {MAXIMUM_BATCH} envelopes with PINs of 5 to 8 digits")]
    Request,
    /// The operating system gave no randomness.
    #[error("random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// No locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
    /// The batch could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A letter could not be written.
    #[error("write the letters: {0}")]
    Letter(#[from] io::Error),
}

/// `count` random decimal digits, as ASCII.
///
/// # Errors
/// No randomness, or no locked memory.
pub fn random_digits(count: usize) -> Result<Secret, EnvelopeError> {
    let mut digits = Secret::zeroed(count)?;
    for digit in digits.expose_mut() {
        *digit = loop {
            let mut byte = [0];
            keys::random(&mut byte)?;
            let [value] = byte;
            // 250 is the largest multiple of ten in a byte: what is above would favour small digits.
            if value < 250 {
                break b'0' + value % 10;
            }
        };
    }
    Ok(digits)
}

/// Makes `count` envelopes: a letter each in `letters`, and the batch sealed to `recipient`.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn print(
    count: usize,
    pin_digits: usize,
    recipient: &Recipient,
    letters: &Path,
) -> Result<Vec<u8>, EnvelopeError> {
    if !(1..=MAXIMUM_BATCH).contains(&count) || !(5..=8).contains(&pin_digits) {
        return Err(EnvelopeError::Request);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(letters)?;
    let mut content = Content::with_capacity(Kind::Envelopes, count * LINE)?;
    for _ in 0..count {
        let pin = random_digits(pin_digits)?;
        let user_code = random_digits(USER_CODE_DIGITS)?;
        let code = write_letter(letters, &pin, &user_code)?;
        content.push_object(&[
            ("code", code.as_bytes()),
            ("pin", pin.expose()),
            ("user_code", user_code.expose()),
        ])?;
    }
    Ok(recipient.seal(&content)?)
}

/// Writes a letter under a code that no other letter in the folder has; gives the code.
fn write_letter(letters: &Path, pin: &Secret, user_code: &Secret) -> Result<String, EnvelopeError> {
    loop {
        let digits = random_digits(CODE_DIGITS)?;
        let code = with_check_digits(digits.expose());
        let path = letters.join(format!("{code}.txt"));
        match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
            Ok(mut letter) => {
                for part in [b"PIN: ", pin.expose(), b"\nUser code: ", user_code.expose(), b"\n"] {
                    letter.write_all(part)?;
                }
                return Ok(code);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The digits with their check digits: such that the whole number leaves 1 when divided by 97.
fn with_check_digits(digits: &[u8]) -> String {
    let remainder =
        digits.iter().fold(0, |rest, digit| (rest * 10 + u32::from(digit.wrapping_sub(b'0'))) % 97);
    let check = 98 - remainder * 100 % 97;
    let digits: String = digits.iter().copied().map(char::from).collect();
    format!("{digits}{check:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own example, and numbers computed by hand.
    #[test]
    fn check_digits_are_the_standards() {
        for (digits, code) in [("794", "79444"), ("12345678", "1234567889"), ("00000000", "0000000098")] {
            assert_eq!(with_check_digits(digits.as_bytes()), code);
        }
    }

    #[test]
    fn random_digits_are_digits_and_spread() {
        let digits = random_digits(2000).unwrap();
        let mut counts = [0u32; 10];
        digits.expose().iter().for_each(|digit| counts[usize::from(digit - b'0')] += 1);
        assert!(counts.iter().all(|count| (100..=300).contains(count)), "{counts:?}");
    }
}
