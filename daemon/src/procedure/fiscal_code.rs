//! The codice fiscale (ministerial decree of 23 December 1976): its check character, and the date of birth in it.

use time::{Date, Month};

/// The letters that stand for the months, January first.
const MONTHS: &[u8; 12] = b"ABCDEHLMPRST";
/// What stands for a digit where two people would have the same code (omocodia), 0 first.
const SUBSTITUTES: &[u8; 10] = b"LMNPQRSTUV";
/// Where digits stand.
const DIGITS: [usize; 7] = [6, 7, 9, 10, 12, 13, 14];
/// The values of characters at odd places, by the letter's or digit's rank.
const ODD: [u32; 26] =
    [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
/// Added to the day of a woman's birth.
const FEMALE: u8 = 40;

/// A codice fiscale whose form and check character are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FiscalCode {
    text: String,
    year: u8,
    month: Month,
    day: u8,
    /// `M` or `F`.
    pub(super) sex: char,
}

impl FiscalCode {
    /// Judges form and check character; small letters and spaces around it do not matter.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let bytes = text.as_bytes();
        if bytes.len() != 16 || !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut plain = bytes.to_vec();
        for (place, byte) in plain.iter_mut().enumerate() {
            if DIGITS.contains(&place) {
                *byte = digit(*byte)?;
            } else if !byte.is_ascii_uppercase() {
                return None;
            }
        }
        let (body, check) = bytes.split_at_checked(15)?;
        if check.first() != Some(&check_character(body)?) {
            return None;
        }
        let value = |place: usize| plain.get(place).map(|byte| byte.wrapping_sub(b'0'));
        let two = |place: usize| value(place)?.checked_mul(10)?.checked_add(value(place + 1)?);
        let rank = MONTHS.iter().position(|letter| Some(letter) == bytes.get(8))?;
        let month = Month::try_from(u8::try_from(rank + 1).ok()?).ok()?;
        let day = two(9)?;
        let (day, sex) = if day > FEMALE { (day - FEMALE, 'F') } else { (day, 'M') };
        Some(Self { year: two(6)?, month, day, sex, text })
    }

    /// The sixteen characters.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The latest day of birth, not after `today`, that the code can mean: it has the year's last two digits only.
    pub(super) fn birth(&self, today: Date) -> Option<Date> {
        let century = today.year().div_euclid(100) * 100;
        [century, century - 100]
            .into_iter()
            .filter_map(|century| {
                Date::from_calendar_date(century + i32::from(self.year), self.month, self.day).ok()
            })
            .find(|birth| *birth <= today)
    }

    /// Whether the code can mean this day of birth.
    pub(super) fn means(&self, birth: Date) -> bool {
        let year = birth.year().rem_euclid(100);
        year == i32::from(self.year) && birth.month() == self.month && birth.day() == self.day
    }
}

/// The digit that stands there, itself or by its substitute.
fn digit(byte: u8) -> Option<u8> {
    if byte.is_ascii_digit() {
        return Some(byte);
    }
    let rank = SUBSTITUTES.iter().position(|letter| *letter == byte)?;
    Some(b'0' + u8::try_from(rank).ok()?)
}

fn check_character(body: &[u8]) -> Option<u8> {
    let mut sum: u32 = 0;
    for (index, byte) in body.iter().enumerate() {
        let rank = if byte.is_ascii_digit() { byte - b'0' } else { byte.checked_sub(b'A')? };
        // The first place is odd.
        sum += if index % 2 == 0 { *ODD.get(usize::from(rank))? } else { u32::from(rank) };
    }
    Some(b'A' + u8::try_from(sum % 26).ok()?)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const TODAY: Date = date!(2026 - 11 - 23);

    #[test]
    fn codes_are_judged_by_form_and_check_character() {
        for good in ["RSSMRA80A01H501U", " rssmra80a01h501u ", "VRDLCU80A01H501G"] {
            assert!(FiscalCode::parse(good).is_some(), "{good}");
        }
        for bad in [
            "RSSMRA80A01H501A",
            "RSSMRA80A01H501",
            "RSSMRA80A01H501UU",
            "RSSMRA80F01H501G",
            "",
            "RSSMR180A01H501U",
            "ÀSSMRA80A01H501U",
        ] {
            assert!(FiscalCode::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_date_of_birth_is_the_latest_possible_one() {
        let code = FiscalCode::parse("RSSMRA80A01H501U").unwrap();
        assert_eq!((code.birth(TODAY), code.sex), (Some(date!(1980 - 01 - 01)), 'M'));
        assert!(code.means(date!(1980 - 01 - 01)) && !code.means(date!(1980 - 01 - 02)));
        // 26 is this year before the birthday and a hundred years ago after it.
        let with = |day: &str| {
            let body = format!("RSSMRA26{day}H501");
            let check = char::from(check_character(body.as_bytes()).unwrap());
            FiscalCode::parse(&format!("{body}{check}")).unwrap()
        };
        assert_eq!(with("S23").birth(TODAY), Some(date!(2026 - 11 - 23)));
        assert_eq!(with("S24").birth(TODAY), Some(date!(1926 - 11 - 24)));
        assert_eq!(with("S63").sex, 'F');
        assert_eq!(with("S63").birth(TODAY), Some(date!(2026 - 11 - 23)));
    }

    #[test]
    fn substitutes_of_digits_are_read() {
        // The last digit of the birth place, 1, replaced by M.
        let body = "RSSMRA80A01H50M";
        let check = char::from(check_character(body.as_bytes()).unwrap());
        let code = FiscalCode::parse(&format!("{body}{check}")).unwrap();
        assert_eq!(code.birth(TODAY), Some(date!(1980 - 01 - 01)));
    }
}
