//! Who may have what: the identity document (§6.1.2), age (§7-adult), the certificate's term (§9.2).

use cns_protocol::counter::{Document, DocumentKind};
use time::Date;

use crate::procedure::ProcedureError;
use crate::procedure::clock;

/// From how many days before its end a certificate's term is warned of (X19).
const WARN_DAYS: i64 = 60;
/// The longest text that a document's field may have, in characters.
const LONGEST: usize = 64;

/// Judges an identity document, and gives it back with its texts trimmed.
pub(super) fn check_document(document: Document, today: Date) -> Result<Document, ProcedureError> {
    let (number, issuer) = (document.number.trim().to_owned(), document.issuer.trim().to_owned());
    let sound =
        |text: &str| (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if !sound(&number) || !sound(&issuer) {
        let message = format!("the document's number and issuer must be given, {LONGEST} characters at most");
        return Err(ProcedureError::rule("§6.1.2-data", message));
    }
    let expires = clock::parse_date(&document.expires).ok_or_else(|| {
        ProcedureError::rule("§6.1.2-data", "the document's expiry date must be a date, YYYY-MM-DD")
    })?;
    if expires < today {
        return Err(ProcedureError::Rule {
            paragraph: "§6.1.2-documents",
            message: format!("the document expired on {}", document.expires),
            hint: Some("Ask for another document that is still valid"),
        });
    }
    Ok(Document { number, issuer, ..document })
}

/// The document's kind in words, for records that hold no personal data.
pub(super) fn document_name(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::IdentityCard => "identity card",
        DocumentKind::Passport => "passport",
        DocumentKind::DrivingLicence => "driving licence",
        DocumentKind::NauticalLicence => "nautical licence",
        DocumentKind::PensionBook => "pension book",
        DocumentKind::HeatingPlantLicence => "heating-plant operator's licence",
        DocumentKind::FirearmsLicence => "firearms licence",
        DocumentKind::OtherStateCard => "other State card",
    }
}

/// Refuses who is not of age by the date of birth on the card.
pub(super) fn check_adult(birth_date: &str, today: Date) -> Result<(), ProcedureError> {
    match clock::parse_date(birth_date) {
        Some(birth) if clock::is_adult(birth, today) => Ok(()),
        Some(_) => Err(ProcedureError::rule(
            "§7-adult",
            "only a holder of age may have the signature certificate, and the card's holder is not",
        )),
        None => Err(ProcedureError::rule(
            "§7-adult",
            "only a holder of age may have the signature certificate, and the card has no date of birth",
        )),
    }
}

/// What the operator should know about the certificate's term.
pub(super) fn term_warning(not_after: &str, today: Date) -> Option<String> {
    match clock::days_until(not_after, today) {
        None => Some("The end of the certificate's validity cannot be read (§9.2)".to_owned()),
        Some(days) if days < 0 => {
            Some(format!("The authentication certificate expired {} days ago (§9.2)", days.saturating_neg()))
        }
        Some(days) if days <= WARN_DAYS => {
            Some(format!("The authentication certificate expires in {days} days (§9.2)"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const TODAY: Date = date!(2026 - 11 - 23);

    fn document(number: &str, issuer: &str, expires: &str) -> Document {
        Document {
            kind: DocumentKind::Passport,
            number: number.to_owned(),
            issuer: issuer.to_owned(),
            expires: expires.to_owned(),
        }
    }

    fn paragraph(result: Result<impl Sized, ProcedureError>) -> Option<&'static str> {
        result.err().and_then(|error| error.paragraph())
    }

    #[test]
    fn documents() {
        let checked = check_document(document(" AB12 ", "Comune di Nuoro", "2026-11-23"), TODAY).unwrap();
        assert_eq!(checked.number, "AB12");
        assert_eq!(
            paragraph(check_document(document("1", "x", "2026-11-22"), TODAY)),
            Some("§6.1.2-documents")
        );
        for (number, issuer, expires) in [
            ("", "x", "2030-01-01"),
            ("1", " ", "2030-01-01"),
            ("1", "x", "01/01/2030"),
            ("1\n2", "x", "2030-01-01"),
        ] {
            assert_eq!(
                paragraph(check_document(document(number, issuer, expires), TODAY)),
                Some("§6.1.2-data")
            );
        }
    }

    #[test]
    fn age() {
        assert!(check_adult("2008-11-23", TODAY).is_ok());
        for young in ["2008-11-24", "2020-01-01", "", "23112008"] {
            assert_eq!(paragraph(check_adult(young, TODAY)), Some("§7-adult"));
        }
    }

    #[test]
    fn terms() {
        assert_eq!(term_warning("2027-02-01T00:00:00Z", TODAY), None);
        assert!(term_warning("2027-01-22T00:00:00Z", TODAY).is_some_and(|text| text.contains("in 60 days")));
        assert!(term_warning("2026-11-20T00:00:00Z", TODAY).is_some_and(|text| text.contains("3 days ago")));
        assert!(term_warning("tomorrow", TODAY).is_some());
    }
}
