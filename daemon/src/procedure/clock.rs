//! Dates: what today is, whether a document has expired, who is of age.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime};

pub use crate::database::now;

/// Today, in UTC.
#[must_use]
pub fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

/// A date written `YYYY-MM-DD`.
#[must_use]
pub fn parse_date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

/// Days from `today` until the day of a time written as in RFC 3339; negative when it is past.
#[must_use]
pub fn days_until(time: &str, today: Date) -> Option<i64> {
    let then = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    Some((then.date() - today).whole_days())
}

/// Whether a time written as in RFC 3339 is over. One that cannot be read is not.
#[must_use]
pub fn is_past(time: &str) -> bool {
    OffsetDateTime::parse(time, &Rfc3339).is_ok_and(|time| time < OffsetDateTime::now_utc())
}

/// Whether somebody born on `birth` has completed 18 years on `today`.
#[must_use]
pub fn is_adult(birth: Date, today: Date) -> bool {
    let year = birth.year().saturating_add(18);
    let (month, day) = (birth.month(), birth.day());
    // Born on 29 February: of age on 1 March of a common year.
    let birthday = Date::from_calendar_date(year, month, day)
        .or_else(|_| Date::from_calendar_date(year, Month::March, 1));
    birthday.is_ok_and(|birthday| birthday <= today)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn an_adult_is_one_from_the_eighteenth_birthday_on() {
        let birth = date!(2008 - 03 - 15);
        assert!(!is_adult(birth, date!(2026 - 03 - 14)));
        assert!(is_adult(birth, date!(2026 - 03 - 15)));
        let leap = date!(2008 - 02 - 29);
        assert!(!is_adult(leap, date!(2026 - 02 - 28)));
        assert!(is_adult(leap, date!(2026 - 03 - 01)));
    }

    #[test]
    fn dates_are_read_strictly() {
        assert_eq!(parse_date("2026-11-23"), Some(date!(2026 - 11 - 23)));
        for wrong in ["", "23/11/2026", "2026-13-01", "2026-02-30", "2026-11-23T00:00:00Z"] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
        assert_eq!(days_until("2026-12-01T10:00:00Z", date!(2026 - 11 - 23)), Some(8));
        assert_eq!(days_until("2026-11-22T10:00:00Z", date!(2026 - 11 - 23)), Some(-1));
    }
}
