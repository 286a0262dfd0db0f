//! The code outside an envelope: ten digits, of which the last two are check digits.

use std::fmt;

use crate::custody::error::CustodyError;

/// Digits of a code with ISO/IEC 7064 MOD 97-10 check digits.
const DIGITS: usize = 10;
/// Digits of the codes of version 1, with one check digit by Luhn's formula.
const OLD_DIGITS: usize = 9;
/// The most characters that a scanner may send for a code.
const LONGEST_INPUT: usize = 64;

/// The code outside an envelope: eight digits and two check digits by ISO/IEC 7064, MOD 97-10, so that each wrong digit
/// and each swap of two digits is seen before anything is looked up. Ten is an even number, as Code 128 C and ITF
/// barcodes like it.
///
/// Codes of nine digits, which version 1 took into custody, are still known, but no new ones are taken in: their single
/// check digit by Luhn's formula (ISO/IEC 7812-1) does not see 09 typed for 90.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeCode(String);

impl EnvelopeCode {
    /// Judges form and check digits of what was typed, or sent by a barcode scanner, which is a keyboard: spaces,
    /// hyphens, line ends and an AIM symbology identifier (ISO/IEC 15424, `]C1` for instance) do not count.
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`].
    pub fn parse(text: &str) -> Result<Self, CustodyError> {
        if text.len() > LONGEST_INPUT {
            return Err(CustodyError::CodeInvalid);
        }
        let text = text.trim();
        let is_identifier = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let text = match text.strip_prefix(']').and_then(|rest| rest.split_at_checked(2)) {
            Some((identifier, rest)) if is_identifier(identifier) => rest,
            Some(_) | None => text,
        };
        let code: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-').collect();
        let digits = code.as_bytes();
        let fits = digits.iter().all(u8::is_ascii_digit)
            && match digits.len() {
                DIGITS => mod_97_10(digits),
                OLD_DIGITS => luhn(digits),
                _ => false,
            };
        if fits { Ok(Self(code)) } else { Err(CustodyError::CodeInvalid) }
    }

    /// A code as an import file must write it: the ten digits and nothing else.
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`].
    pub(super) fn parse_new(text: &str) -> Result<Self, CustodyError> {
        Self::parse(text)
            .ok()
            .filter(|code| code.0 == text && text.len() == DIGITS)
            .ok_or(CustodyError::CodeInvalid)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvelopeCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether the last two of these ASCII digits are the check digits of the others (ISO/IEC 7064 §7.1): 02 to 98, and the
/// whole number leaves 1 when divided by 97.
fn mod_97_10(digits: &[u8]) -> bool {
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')));
    number % 97 == 1 && (2..=98).contains(&(number % 100))
}

/// Whether the last of these ASCII digits is the check digit of the others.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0'));
            match (place % 2, value) {
                (0, _) => value,
                (_, 0..=4) => value * 2,
                (_, _) => value * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code for these eight digits, by the standard's own recipe (§7.2): append 00, and what is missing to 98.
    fn code(number: u64) -> String {
        format!("{number:08}{:02}", 98 - (number * 100) % 97)
    }

    fn is_code(text: &str) -> bool {
        EnvelopeCode::parse(text).is_ok()
    }

    #[test]
    fn codes_are_judged_by_their_check_digits() {
        for good in ["0000000098", "1234567889", "9999999952"] {
            assert_eq!(EnvelopeCode::parse(good).unwrap().as_str(), good);
            assert_eq!(EnvelopeCode::parse_new(good).unwrap().as_str(), good);
        }
        // The standard's own example: 794 has the check digits 44.
        assert!(is_code("0000079444"));
        for bad in ["1234567888", "2134567889", "123456788", "12345678890", "123456788a", "", "１234567889"]
        {
            assert!(!is_code(bad), "{bad}");
        }
        // 97 more or less leaves the same, but is no check digit.
        assert!(is_code("0000000098") && !is_code("0000000001"));
    }

    /// Each of the 90 wrong digits and of the 45 swaps of two digits, neighbours or not, in codes spread over all.
    #[test]
    fn every_wrong_digit_and_every_swap_is_seen() {
        let (mut codes, mut substitutions, mut swaps) = (0_u32, 0_u32, 0_u32);
        for number in (0..100_000_000).step_by(9973) {
            let good = code(number);
            assert!(is_code(&good));
            codes += 1;
            let mut typed = good.clone().into_bytes();
            for place in 0..DIGITS {
                let right = typed[place];
                for wrong in (b'0'..=b'9').filter(|wrong| *wrong != right) {
                    typed[place] = wrong;
                    assert!(!is_code(std::str::from_utf8(&typed).unwrap()), "{good}, digit {place}");
                    substitutions += 1;
                }
                typed[place] = right;
                for other in (place + 1..DIGITS).filter(|other| good.as_bytes()[*other] != right) {
                    typed.swap(place, other);
                    assert!(!is_code(std::str::from_utf8(&typed).unwrap()), "{good}, {place} and {other}");
                    typed.swap(place, other);
                    swaps += 1;
                }
            }
        }
        assert_eq!((codes, substitutions), (10_028, 902_520));
        assert!(swaps > 390_000, "{swaps}");
    }

    /// The remainders decide, so that what holds for each place and pair of digits holds for every code.
    #[test]
    fn no_error_leaves_the_remainder() {
        let powers: Vec<u64> =
            (0..DIGITS).map(|place| 10_u64.pow(u32::try_from(place).unwrap()) % 97).collect();
        for (place, power) in powers.iter().enumerate() {
            assert!((1..=9).all(|difference| power * difference % 97 != 0), "a wrong digit at {place}");
            for other in &powers[..place] {
                let difference = (power + 97 - other) % 97;
                assert!((1..=9).all(|digits| difference * digits % 97 != 0), "a swap with {place}");
            }
        }
    }

    #[test]
    fn a_scanner_is_a_keyboard() {
        for typed in [
            "1234567889\r\n",
            " 1234 5678 89 ",
            "]C11234567889\n",
            "12345678-89",
            "\t1234567889\r",
            "]d21234567889",
        ] {
            assert_eq!(EnvelopeCode::parse(typed).unwrap().as_str(), "1234567889", "{typed:?}");
            assert!(EnvelopeCode::parse_new(typed).is_err(), "{typed:?}");
        }
        for bad in ["]C1", "]", "]é1234567889", &" ".repeat(65), &format!("{}1234567889", " ".repeat(60))] {
            assert!(!is_code(bad), "{bad:?}");
        }
    }

    /// Codes computed by hand; 7992739871 with check digit 3 is the usual example of Luhn's formula.
    #[test]
    fn codes_of_version_1_are_known_and_no_longer_taken_in() {
        for old in ["000000000", "123456782", "999999998"] {
            assert_eq!(EnvelopeCode::parse(old).unwrap().as_str(), old);
            assert!(EnvelopeCode::parse_new(old).is_err());
        }
        assert!(!is_code("123456781"));
        assert!(luhn(b"79927398713"));
    }
}
