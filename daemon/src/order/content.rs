//! What an order says: a flat JSON object, read without a copy of its secrets outside locked memory.

use cns_protocol::order::Action;
use cns_secret::Secret;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::OrderError;
use crate::custody::CustodyError;
use crate::custody::import_line::{Value, members};

const LONGEST_NUMBER: usize = 64;
const CARD_DIGITS: usize = 16;
const PUK_DIGITS: usize = 8;
const WITHOUT_PIN: [&str; 7] = ["format", "version", "number", "card", "action", "not_after", "puk"];
const WITH_PIN: [&str; 8] = ["format", "version", "number", "card", "action", "not_after", "puk", "pin"];

/// An order, opened.
pub(super) struct Content {
    pub(super) number: String,
    pub(super) card: String,
    pub(super) not_after: String,
    pub(super) until: OffsetDateTime,
    pub(super) act: Act,
}

/// What is to be done, with what it takes.
pub(super) enum Act {
    SetPin { puk: Secret, pin: Secret },
    SetSignaturePin { puk: Secret, pin: Secret },
    Unblock { puk: Secret },
}

impl Act {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::SetPin { .. } => Action::SetPin,
            Self::SetSignaturePin { .. } => Action::SetSignaturePin,
            Self::Unblock { .. } => Action::Unblock,
        }
    }
}

/// Reads the decrypted content. What is wrong with it is not told: the parser's messages would quote it.
pub(super) fn read(content: &Secret) -> Result<Content, OrderError> {
    let text = content.expose().trim_ascii();
    let (values, pin) = match members(text, WITH_PIN) {
        Some([values @ .., Value::Text(pin)]) => (values, Some(pin)),
        Some(_) => return Err(OrderError::Content),
        None => (members(text, WITHOUT_PIN).ok_or(OrderError::Content)?, None),
    };
    let [
        Value::Text("cns-order"),
        Value::Number(1),
        Value::Text(number),
        Value::Text(card),
        Value::Text(action),
        Value::Text(not_after),
        Value::Text(puk),
    ] = values
    else {
        return Err(OrderError::Content);
    };
    let until = OffsetDateTime::parse(not_after, &Rfc3339).map_err(|_| OrderError::Content)?;
    let fits = is_number(number) && is_digits(card, CARD_DIGITS..=CARD_DIGITS);
    if !fits || !is_digits(puk, PUK_DIGITS..=PUK_DIGITS) || pin.is_some_and(|pin| !is_digits(pin, 5..=8)) {
        return Err(OrderError::Content);
    }
    let secret = |digits: &str| {
        Secret::copy_from(digits.as_bytes()).map_err(|error| OrderError::Custody(CustodyError::Memory(error)))
    };
    let act = match (action, pin) {
        ("set-pin", Some(pin)) => Act::SetPin { puk: secret(puk)?, pin: secret(pin)? },
        ("set-signature-pin", Some(pin)) => Act::SetSignaturePin { puk: secret(puk)?, pin: secret(pin)? },
        ("unblock", None) => Act::Unblock { puk: secret(puk)? },
        (_, _) => return Err(OrderError::Content),
    };
    let (number, card, not_after) = (number.to_owned(), card.to_owned(), not_after.to_owned());
    Ok(Content { number, card, not_after, until, act })
}

/// Letters, digits and a few marks: a number stands in records and in the log.
fn is_number(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_NUMBER && text.bytes().all(fits)
}

fn is_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"format":"cns-order","version":1,"number":"A-1/2026","card":"6999000000001230",
        "action":"set-pin","not_after":"2026-12-01T10:00:00Z","puk":"87654321","pin":"24680"}"#;

    fn parse(text: &str) -> Result<Content, OrderError> {
        read(&Secret::copy_from(text.as_bytes()).unwrap())
    }

    #[test]
    fn an_order_is_read() {
        let order = parse(GOOD).unwrap();
        assert_eq!((order.number.as_str(), order.card.as_str()), ("A-1/2026", "6999000000001230"));
        let Act::SetPin { puk, pin } = order.act else { panic!() };
        assert_eq!((puk.expose(), pin.expose()), (b"87654321".as_slice(), b"24680".as_slice()));
        let signature = parse(&GOOD.replace("set-pin", "set-signature-pin")).unwrap();
        assert_eq!(signature.act.action(), Action::SetSignaturePin);
        let unblock = GOOD.replace("set-pin", "unblock").replace(r#","pin":"24680""#, "");
        assert_eq!(parse(&unblock).unwrap().act.action(), Action::Unblock);
    }

    #[test]
    fn everything_else_is_refused_without_being_repeated() {
        let wrong = [
            (r#""version":1"#, r#""version":2"#),
            ("cns-order", "cns-import"),
            ("A-1/2026", ""),
            ("A-1/2026", "A 1"),
            ("A-1/2026", "\\u0041"),
            ("6999000000001230", "699900000000123"),
            ("2026-12-01T10:00:00Z", "2026-12-01"),
            ("2026-12-01T10:00:00Z", "2026-13-01T10:00:00Z"),
            ("87654321", "8765432"),
            ("\"87654321\"", "87654321"),
            ("24680", "2468"),
            ("24680", "246801357"),
            ("24680", "2468a"),
            (r#","pin":"24680""#, ""),
            ("set-pin", "unblock"),
            ("set-pin", "erase"),
            (r#""pin":"24680""#, r#""pin":"24680","extra":"x""#),
        ];
        for (from, to) in wrong {
            let Err(error) = parse(&GOOD.replacen(from, to, 1)) else { panic!("{from} {to}") };
            assert!(matches!(error, OrderError::Content), "{to}: {error}");
            assert!(!format!("{error} {error:?}").contains("87654321"));
        }
    }
}
