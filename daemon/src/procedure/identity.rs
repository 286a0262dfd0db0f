//! Who may have what: the identity document (§6.1.2), who acts for the holder (§6.4), age (§7-adult), the certificate's
//! term (§9.2).

use cns_protocol::card::Holder;
use cns_protocol::certificate::{Paper, PaperKind};
use cns_protocol::counter::{Applicant, Document, Person, Representative};
use time::Date;

use crate::national::mail::is_address;
use crate::procedure::ProcedureError;
use crate::procedure::clock;
use crate::procedure::fiscal_code::FiscalCode;
use crate::procedure::steps::{Age, applicant_rule};

/// From how many days before its end a certificate's term is warned of (X19).
const WARN_DAYS: i64 = 60;
/// The longest text that a field may have, in characters.
const LONGEST: usize = 64;

/// A text that says something, trimmed.
pub(crate) fn sound(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Judges an identity document, and gives it back with its texts trimmed.
pub(crate) fn check_document(document: Document, today: Date) -> Result<Document, ProcedureError> {
    let (Some(number), Some(issuer)) = (sound(&document.number), sound(&document.issuer)) else {
        return Err(ProcedureError::rule(
            "§6.1.2-data",
            format!("the document's number and issuer must be given, {LONGEST} characters at most"),
            format!("indicare numero ed ente di rilascio del documento, al massimo {LONGEST} caratteri"),
        ));
    };
    let expires = clock::parse_date(&document.expires).ok_or_else(|| {
        ProcedureError::rule(
            "§6.1.2-data",
            "the document's expiry date must be a date, YYYY-MM-DD",
            "la scadenza del documento deve essere una data, AAAA-MM-GG",
        )
    })?;
    if expires < today {
        return Err(ProcedureError::rule(
            "§6.1.2-documents",
            format!("the document expired on {}", document.expires),
            format!("il documento è scaduto il {}", document.expires),
        )
        .hinting(
            "Ask for another document that is still valid",
            "Chiedere un altro documento in corso di validità",
        ));
    }
    Ok(Document { number, issuer, ..document })
}

/// Judges who acts for the holder; `paragraph` is the rule by which they do.
pub(crate) fn check_representative(
    given: &Representative,
    holder: &Holder,
    paragraph: &'static str,
    today: Date,
) -> Result<Representative, ProcedureError> {
    let person = check_person(
        &Person {
            surname: given.surname.clone(),
            name: given.name.clone(),
            codice_fiscale: given.codice_fiscale.clone(),
        },
        paragraph,
    )?;
    if person.codice_fiscale == holder.codice_fiscale {
        return Err(ProcedureError::rule(
            paragraph,
            "who acts for the holder cannot be the holder",
            "chi agisce per il titolare non può essere il titolare stesso",
        ));
    }
    let document = check_document(given.document(), today)?;
    Ok(Representative {
        surname: person.surname,
        name: person.name,
        codice_fiscale: person.codice_fiscale,
        kind: document.kind,
        number: document.number,
        issuer: document.issuer,
        expires: document.expires,
    })
}

/// Judges a person's data, and gives them back trimmed.
pub(crate) fn check_person(person: &Person, paragraph: &'static str) -> Result<Person, ProcedureError> {
    let (Some(surname), Some(name)) = (sound(&person.surname), sound(&person.name)) else {
        return Err(ProcedureError::rule(
            paragraph,
            format!("surname and name must be given, {LONGEST} characters at most"),
            format!("indicare cognome e nome, al massimo {LONGEST} caratteri"),
        ));
    };
    let code = FiscalCode::parse(&person.codice_fiscale).ok_or_else(|| {
        ProcedureError::rule(
            paragraph,
            "this is no codice fiscale: its form or check character is wrong",
            "il codice fiscale non è valido: forma o carattere di controllo errati",
        )
    })?;
    Ok(Person { surname, name, codice_fiscale: code.as_str().to_owned() })
}

/// Judges an address of electronic mail, as far as its form shows.
pub(crate) fn check_email(email: &str) -> Result<String, ProcedureError> {
    let email = email.trim();
    let parts = email.rsplit_once('@');
    // What is no address to the mail would be refused when the request is queued, where nobody can correct it any more.
    let fits = is_address(email)
        && parts.is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len()) && domain.split('.').all(|label| !label.is_empty())
        });
    if fits {
        return Ok(email.to_owned());
    }
    Err(ProcedureError::rule(
        "§9.3.3-6",
        "this is no address of electronic mail",
        "l'indirizzo email non è valido",
    ))
}

/// Whether this is a codice fiscale in capitals, its check character among them.
pub(crate) fn is_codice_fiscale(text: &str) -> bool {
    FiscalCode::parse(text).is_some_and(|code| code.as_str() == text)
}

/// What was collected for a theft or loss, judged; it must be there where it is needed (§9.7.1).
pub(crate) fn check_collected(
    paper: Option<&Paper>,
    needed: bool,
    today: Date,
) -> Result<Option<Paper>, ProcedureError> {
    match paper {
        Some(paper) => check_paper(paper, today).map(Some),
        None if needed => Err(ProcedureError::rule(
            "§9.7.1-report",
            "for theft or loss a copy of the report or a self-declaration is needed",
            "per furto o smarrimento occorre copia della denuncia o un'autodichiarazione",
        )
        .hinting(
            "Collect it, and give its number, issuer and date",
            "Ritirarla e indicarne numero, autorità e data",
        )),
        None => Ok(None),
    }
}

/// Judges what shows that somebody reported a theft or loss (§9.7.1), and gives it back with its texts trimmed.
pub(crate) fn check_paper(paper: &Paper, today: Date) -> Result<Paper, ProcedureError> {
    let told = |text: &Option<String>| text.as_deref().and_then(sound);
    let (number, issuer) = (told(&paper.number), told(&paper.issuer));
    let whole = match paper.kind {
        PaperKind::Report => number.is_some() && issuer.is_some(),
        PaperKind::SelfDeclaration => paper.number.is_none() && paper.issuer.is_none(),
    };
    let date = paper.date.trim();
    if whole && clock::parse_date(date).is_some_and(|date| date <= today) {
        return Ok(Paper { kind: paper.kind, number, issuer, date: date.to_owned() });
    }
    Err(ProcedureError::rule(
        "§9.7.1-report",
        "a report has number, issuer and date, a self-declaration its date, none of them in the future",
        "la denuncia ha numero, autorità e data, l'autodichiarazione la sola data, non futura",
    ))
}

/// Whether the copy of the holder's document that a delegate brings agrees with the card (X5): not a stop, but shown.
pub(crate) fn copy_agrees(copy: &Person, holder: &Holder) -> bool {
    let same = |one: &str, other: &str| letters(one) == letters(other);
    copy.codice_fiscale == holder.codice_fiscale
        && same(&copy.surname, &holder.surname)
        && same(&copy.name, &holder.name)
}

/// A name's letters alone, in capitals: documents differ in apostrophes and spaces.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_uppercase).collect()
}

/// When the holder was born: the card's date, else the one in the codice fiscale.
pub(crate) fn birth(holder: &Holder, today: Date) -> Option<Date> {
    clock::parse_date(&holder.birth_date)
        .or_else(|| FiscalCode::parse(&holder.codice_fiscale).and_then(|code| code.birth(today)))
}

/// What the operator should know where the card's date of birth and its codice fiscale do not agree.
pub(crate) fn birth_warning(holder: &Holder) -> Option<&'static str> {
    let code = FiscalCode::parse(&holder.codice_fiscale)?;
    let differs = clock::parse_date(&holder.birth_date).is_some_and(|birth| !code.means(birth));
    differs.then_some("The card's date of birth is not the one in its codice fiscale (§4.2.1)")
}

/// Refuses an applicant whose right to ask does not fit the holder's age. Where the card tells no age, the operator's
/// look at the document decides.
pub(crate) fn check_age(applicant: Applicant, holder: &Holder, today: Date) -> Result<(), ProcedureError> {
    let rule = applicant_rule(applicant);
    let Some(birth) = birth(holder, today) else { return Ok(()) };
    match (rule.age, clock::is_adult(birth, today)) {
        (Age::Any, _) | (Age::OfAge, true) | (Age::Minor, false) => Ok(()),
        (Age::OfAge, false) => Err(ProcedureError::rule(
            "§6.4.1",
            "the card's holder is a minor",
            "il titolare della carta è minorenne",
        )
        .hinting(
            "A parent asks for it, or the minor shows to be emancipated (§6.4.2)",
            "La richiesta spetta a un genitore, o al minore che dimostra di essere emancipato (§6.4.2)",
        )),
        (Age::Minor, true) => Err(ProcedureError::rule(
            rule.paragraph,
            "the card's holder is of age",
            "il titolare della carta è maggiorenne",
        )
        .hinting(
            "The holder comes in person, or sends a delegate (§6.4.4)",
            "Il titolare si presenta di persona o delega un'altra persona (§6.4.4)",
        )),
    }
}

/// Refuses who is not known to be of age.
pub(crate) fn check_adult(holder: &Holder, today: Date) -> Result<(), ProcedureError> {
    match birth(holder, today) {
        Some(birth) if clock::is_adult(birth, today) => Ok(()),
        Some(_) => Err(ProcedureError::rule(
            "§7-adult",
            "only a holder of age may have the signature certificate, and the card's holder is not",
            "il certificato di firma è riservato ai maggiorenni, e il titolare della carta non lo è",
        )),
        None => Err(ProcedureError::rule(
            "§7-adult",
            "only a holder of age may have the signature certificate, and the card has no date of birth",
            "il certificato di firma è riservato ai maggiorenni, e la carta non riporta la data di nascita",
        )),
    }
}

/// What the operator should know about the certificate's term.
pub(crate) fn term_warning(not_after: &str, today: Date) -> Option<String> {
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

/// What the operator should know about a renewal long before the signature certificate's end: a warning and no refusal,
/// since the rules name no time (X2, X19).
pub(crate) fn early_renewal_warning(not_after: &str, today: Date) -> Option<String> {
    let days = clock::days_until(not_after, today).filter(|days| *days > WARN_DAYS)?;
    Some(format!(
        "The signature certificate is valid for {days} days more: it can be renewed nearer to its end (X2)"
    ))
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::DocumentKind;
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

    fn holder(birth_date: &str, codice_fiscale: &str) -> Holder {
        Holder {
            surname: "D'ANGELO".to_owned(),
            name: "MARIA LUISA".to_owned(),
            codice_fiscale: codice_fiscale.to_owned(),
            birth_date: birth_date.to_owned(),
            sex: String::new(),
            birth_place: String::new(),
        }
    }

    #[test]
    fn age() {
        assert!(check_adult(&holder("2008-11-23", ""), TODAY).is_ok());
        for young in ["2008-11-24", "2020-01-01", "", "23112008"] {
            assert_eq!(paragraph(check_adult(&holder(young, ""), TODAY)), Some("§7-adult"));
        }
        // Without a date on the card the codice fiscale tells.
        assert!(check_adult(&holder("", "RSSMRA80A01H501U"), TODAY).is_ok());
        assert!(birth_warning(&holder("1980-01-01", "RSSMRA80A01H501U")).is_none());
        assert!(birth_warning(&holder("1980-01-02", "RSSMRA80A01H501U")).is_some());
    }

    #[test]
    fn who_may_ask_depends_on_the_holders_age() {
        let (adult, minor, unknown) = (holder("1980-01-01", ""), holder("2015-01-01", ""), holder("", ""));
        let refused = |applicant, holder| paragraph(check_age(applicant, holder, TODAY));
        assert_eq!(refused(Applicant::Holder, &minor), Some("§6.4.1"));
        assert_eq!(refused(Applicant::Parent, &adult), Some("§6.4.1"));
        assert_eq!(refused(Applicant::EmancipatedMinor, &adult), Some("§6.4.2"));
        for (applicant, holder) in [
            (Applicant::Holder, &adult),
            (Applicant::Parent, &minor),
            (Applicant::EmancipatedMinor, &minor),
            (Applicant::Guardian, &adult),
            (Applicant::Guardian, &minor),
            (Applicant::Delegate, &adult),
        ] {
            assert_eq!(refused(applicant, holder), None, "{applicant:?}");
        }
        assert!(Applicant::ALL.into_iter().all(|applicant| refused(applicant, &unknown).is_none()));
    }

    #[test]
    fn representatives() {
        let given = Representative {
            surname: " Verdi".to_owned(),
            name: "Luca".to_owned(),
            codice_fiscale: "vrdlcu80a01h501g".to_owned(),
            kind: DocumentKind::Passport,
            number: "1".to_owned(),
            issuer: "Questura".to_owned(),
            expires: "2030-01-01".to_owned(),
        };
        let holder = holder("2015-01-01", "RSSMRA80A01H501U");
        let judge = |given: &Representative| check_representative(given, &holder, "§6.4.1", TODAY);
        let judged = judge(&given).unwrap();
        assert_eq!((judged.surname.as_str(), judged.codice_fiscale.as_str()), ("Verdi", "VRDLCU80A01H501G"));
        let own = Representative { codice_fiscale: "RSSMRA80A01H501U".to_owned(), ..given.clone() };
        let mistyped = Representative { codice_fiscale: "VRDLCU80A01H501Y".to_owned(), ..given.clone() };
        let nameless = Representative { name: String::new(), ..given.clone() };
        for wrong in [own, mistyped, nameless] {
            assert_eq!(paragraph(judge(&wrong)), Some("§6.4.1"));
        }
        let expired = Representative { expires: "2020-01-01".to_owned(), ..given };
        assert_eq!(paragraph(judge(&expired)), Some("§6.1.2-documents"));
    }

    #[test]
    fn a_delegates_copy_is_compared_by_letters() {
        let holder = holder("1980-01-01", "RSSMRA80A01H501U");
        let copy = |surname: &str, code: &str| Person {
            surname: surname.to_owned(),
            name: "Maria-Luisa".to_owned(),
            codice_fiscale: code.to_owned(),
        };
        assert!(copy_agrees(&copy("d angelo", "RSSMRA80A01H501U"), &holder));
        assert!(!copy_agrees(&copy("De Angelis", "RSSMRA80A01H501U"), &holder));
        assert!(!copy_agrees(&copy("D'Angelo", "VRDLCU80A01H501G"), &holder));
    }

    #[test]
    fn addresses_of_electronic_mail() {
        assert_eq!(check_email(" anna@example.it ").unwrap(), "anna@example.it");
        let long = format!("a@{}.it", "x".repeat(300));
        for wrong in ["", "anna", "@example.it", "anna@", "anna@example..it", "an na@example.it", &long] {
            assert_eq!(paragraph(check_email(wrong)), Some("§9.3.3-6"), "{wrong}");
        }
        // What the mail takes for no address is refused while it can still be corrected.
        for wrong in
            ["anna@localhost", "-anna@example.it", "anna@x@example.it", "a,b@example.it", "nicolò@example.it"]
        {
            assert!(!is_address(wrong), "{wrong}");
            assert_eq!(paragraph(check_email(wrong)), Some("§9.3.3-6"), "{wrong}");
        }
    }

    #[test]
    fn an_early_renewal_is_told() {
        assert_eq!(early_renewal_warning("2027-01-22T00:00:00Z", TODAY), None);
        let warning = early_renewal_warning("2027-01-23T00:00:00Z", TODAY);
        assert!(warning.is_some_and(|text| text.contains("61 days")));
        assert_eq!(early_renewal_warning("soon", TODAY), None);
    }

    #[test]
    fn terms() {
        assert_eq!(term_warning("2027-02-01T00:00:00Z", TODAY), None);
        assert!(term_warning("2027-01-22T00:00:00Z", TODAY).is_some_and(|text| text.contains("in 60 days")));
        assert!(term_warning("2026-11-20T00:00:00Z", TODAY).is_some_and(|text| text.contains("3 days ago")));
        assert!(term_warning("tomorrow", TODAY).is_some());
    }
}
