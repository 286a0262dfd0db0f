//! EF_ID_Carta: the sixteen digits that name a card (`cns-card` §2.5).

use std::fmt::{self, Display, Formatter};

use thiserror::Error;

/// What precedes digits 2 to 13 in the number printed on the card.
const PRINTED_PREFIX: &[u8] = b"8038000";

/// Why bytes are no card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdCardError {
    /// Not of the right length.
    #[error("a card number has sixteen digits")]
    Length,
    /// Something other than an ASCII digit.
    #[error("a card number has digits only")]
    NotDigits,
    /// The last digit does not fit the others.
    #[error("the check digit of the card number is wrong")]
    CheckDigit,
}

/// The number of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdCard([u8; 16]);

/// The kind of card and of its issuer: the first digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardKind {
    /// 5: citizen, national issuer.
    CitizenNational,
    /// 6: citizen, regional issuer.
    CitizenRegional,
    /// 7: citizen, another issuer.
    CitizenOther,
    /// 8: operator, national issuer.
    OperatorNational,
    /// 9: operator, regional issuer.
    OperatorRegional,
    /// Not in the list.
    Unknown,
}

impl IdCard {
    /// From the sixteen bytes of EF_ID_Carta. The check digit is not judged: a card is not turned away for it.
    ///
    /// # Errors
    /// When there are not exactly sixteen digits.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdCardError> {
        let digits: [u8; 16] = bytes.try_into().map_err(|_| IdCardError::Length)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(Self(digits)) } else { Err(IdCardError::NotDigits) }
    }

    /// As [`IdCard::parse`], check digit included; for numbers that a person typed.
    ///
    /// # Errors
    /// When there are not exactly sixteen digits, or the last does not fit the others.
    pub fn parse_checked(bytes: &[u8]) -> Result<Self, IdCardError> {
        let card = Self::parse(bytes)?;
        if card.has_valid_check_digit() { Ok(card) } else { Err(IdCardError::CheckDigit) }
    }

    /// From the first fifteen digits.
    ///
    /// # Errors
    /// When there are not exactly fifteen digits.
    pub fn with_check_digit(first: &[u8]) -> Result<Self, IdCardError> {
        if first.len() != 15 {
            return Err(IdCardError::Length);
        }
        let check = luhn(first).ok_or(IdCardError::NotDigits)?;
        let mut digits = [check; 16];
        digits.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        Ok(Self(digits))
    }

    /// Whether the last digit fits the others.
    #[must_use]
    pub fn has_valid_check_digit(&self) -> bool {
        let [first @ .., check] = &self.0;
        luhn(first) == Some(*check)
    }

    /// The sixteen ASCII digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The sixteen digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The kind of card and issuer.
    #[must_use]
    pub const fn kind(&self) -> CardKind {
        match self.0[0] {
            b'5' => CardKind::CitizenNational,
            b'6' => CardKind::CitizenRegional,
            b'7' => CardKind::CitizenOther,
            b'8' => CardKind::OperatorNational,
            b'9' => CardKind::OperatorRegional,
            _ => CardKind::Unknown,
        }
    }

    /// The issuer's code: six digits for kind 7, else three.
    #[must_use]
    pub fn issuer_code(&self) -> &str {
        let end = if self.kind() == CardKind::CitizenOther { 7 } else { 4 };
        self.as_str().get(1..end).unwrap_or_default()
    }

    /// The twenty digits printed on the back of the card.
    #[must_use]
    pub fn printed_number(&self) -> String {
        let digits: Vec<u8> = PRINTED_PREFIX.iter().chain(self.0.iter().skip(1).take(12)).copied().collect();
        let check = luhn(&digits);
        digits.into_iter().chain(check).map(char::from).collect()
    }

    /// The content of EF_GDO: `5A 0A` and the printed number, two digits a byte.
    #[must_use]
    pub fn gdo(&self) -> [u8; 12] {
        let printed = self.printed_number();
        let (pairs, _) = printed.as_bytes().as_chunks::<2>();
        let packed = pairs.iter().map(|[high, low]| (high & 0x0F) << 4 | (low & 0x0F));
        let mut gdo = [0x5A; 12];
        gdo.iter_mut().skip(1).zip([0x0A].into_iter().chain(packed)).for_each(|(to, from)| *to = from);
        gdo
    }
}

impl Display for IdCard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The Luhn check digit (ISO/IEC 7812-1 annex B) of ASCII digits, itself in ASCII; `None` if there is anything else.
#[must_use]
pub fn luhn(digits: &[u8]) -> Option<u8> {
    let mut sum = 0u32;
    for (index, byte) in digits.iter().rev().enumerate() {
        let digit = u32::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        let weighted = if index.is_multiple_of(2) { digit * 2 } else { digit };
        sum = (sum + weighted / 10 + weighted % 10) % 10;
    }
    u8::try_from((10 - sum) % 10).ok().map(|check| b'0' + check)
}

#[cfg(test)]
mod tests {
    use super::{CardKind, IdCard, IdCardError, luhn};

    #[test]
    fn the_sample_card() {
        // `cns-card` §2.5
        let card = IdCard::with_check_digit(b"699900000000123").unwrap();
        assert_eq!(card.as_str(), "6999000000001230");
        assert_eq!(card.kind(), CardKind::CitizenRegional);
        assert_eq!(card.issuer_code(), "999");
        assert_eq!(card.printed_number(), "80380009990000000010");
        assert_eq!(card.gdo(), [0x5A, 0x0A, 0x80, 0x38, 0x00, 0x09, 0x99, 0x00, 0x00, 0x00, 0x00, 0x10]);
    }

    #[test]
    fn what_is_no_card_number() {
        assert_eq!(IdCard::parse(b"699900000000123"), Err(IdCardError::Length));
        assert_eq!(IdCard::parse(b"69990000000O1230"), Err(IdCardError::NotDigits));
        assert_eq!(IdCard::parse_checked(b"6999000000001231"), Err(IdCardError::CheckDigit));
        assert!(IdCard::parse(b"6999000000001231").is_ok());
        assert_eq!(luhn(b"12a"), None);
    }
}
