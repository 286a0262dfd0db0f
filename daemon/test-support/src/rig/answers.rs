//! What is on the papers, and what is answered when all is well.

use cns_protocol::certificate::{Paper, PaperKind};
use cns_protocol::counter::{
    Answer, Applicant, Document, DocumentKind, Evidence, Person, Reason, Representative, Step, Verdict, Wants,
};
use cns_protocol::national::RequestKind;

pub fn document() -> Document {
    Document {
        kind: DocumentKind::IdentityCard,
        number: "CA12345AA".to_owned(),
        issuer: "Comune di prova".to_owned(),
        expires: "2099-12-31".to_owned(),
    }
}

/// Who acts for the holder.
pub fn representative() -> Representative {
    let Document { kind, number, issuer, expires } = document();
    Representative {
        surname: "Verdi".to_owned(),
        name: "Luca".to_owned(),
        codice_fiscale: "VRDLCU80A01H501G".to_owned(),
        kind,
        number,
        issuer,
        expires,
    }
}

/// What shows that the card was stolen or lost.
pub fn report() -> Paper {
    Paper {
        kind: PaperKind::Report,
        number: Some("2026/1234".to_owned()),
        issuer: Some("Questura di prova".to_owned()),
        date: "2026-01-15".to_owned(),
    }
}

/// What is answered to a step when all is well.
pub fn usual_answer(step: &Step, code: &str, wants_signature: bool) -> Answer {
    match step.wants {
        Wants::Document => Answer::Document(document()),
        Wants::Verdict => Answer::Verdict(Verdict::Match),
        Wants::EnvelopeCode => Answer::Envelope(code.to_owned()),
        Wants::Choice => Answer::Wanted(step.paragraph != "§9.3.2-8" || wants_signature),
        Wants::Confirmation | Wants::Work | Wants::Pin | Wants::Pins => Answer::Confirmed,
        Wants::Applicant => Answer::Applicant(Applicant::Holder),
        Wants::Representative => Answer::Representative(representative()),
        Wants::HolderCopy => Answer::HolderCopy(Person {
            surname: "Rossi".to_owned(),
            name: "Mario".to_owned(),
            codice_fiscale: "RSSMRA80A01H501U".to_owned(),
        }),
        Wants::Evidence => Answer::Evidence(Evidence::CourtAct),
        Wants::Reason => Answer::Reason(Reason::CodesCompromised),
        Wants::NationalRequest => Answer::NationalRequest(RequestKind::Activation),
        Wants::Email => Answer::Email("mario@example.it".to_owned()),
        Wants::Paper => Answer::Paper(report()),
    }
}
