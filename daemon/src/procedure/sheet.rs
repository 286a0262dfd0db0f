//! §9.3.2-11, §2.4: the information sheet on what was done; §7-form, §6.4: the form that is signed. HTML that prints on
//! A4, in Italian. A dossier holds no secret, so neither can they.

use askama::Template;
use cns_protocol::certificate::{Paper, PaperKind};
use cns_protocol::counter::{Applicant, Case, Reason, Sheet, SheetDocument, SheetKind};
use cns_protocol::national::{FirstPart, RequestKind};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::config::CounterConfig;
use crate::procedure::dossier::Dossier;
use crate::procedure::steps::StepName;
use crate::procedure::{Engine, ProcedureError, clock, labels};

/// What stands on every sheet.
struct Head {
    issuing_body: String,
    contacts: Vec<String>,
    counter: String,
    date: String,
    holder: String,
    codice_fiscale: String,
    card: String,
    case: &'static str,
    paragraph: &'static str,
    applicant: &'static str,
    procedure: String,
    rules: String,
}

/// A step that was done.
struct Line {
    paragraph: String,
    text: String,
}

#[derive(Template)]
#[template(path = "information.html")]
struct Information {
    title: &'static str,
    head: Head,
    done: Vec<Line>,
    envelope: Option<String>,
    /// That of the signature PIN, where it has one of its own.
    signature_envelope: Option<String>,
    /// Whether an envelope holds the codes.
    new_codes: bool,
    signature: bool,
    renewed: bool,
    not_after: String,
    no_user_code: bool,
}

/// The document that was shown.
struct Shown {
    kind: &'static str,
    number: String,
    issuer: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "request.html")]
struct Request {
    title: &'static str,
    head: Head,
    representative: Option<String>,
    document: Option<Shown>,
    statements: Vec<String>,
    /// The first part of the codes of another region's card (§9.3.3-6), by what it is of. It tells nothing alone.
    first_part: Vec<(&'static str, String)>,
    operator: String,
}

impl Engine {
    /// A sheet of a procedure, as it now stands.
    pub(super) async fn sheet(&self, request: &Sheet) -> Result<SheetDocument, ProcedureError> {
        let dossier = self.load(&request.procedure).await?;
        let default = CounterConfig::default();
        let config = self.config.get().unwrap_or(&default);
        let (title, html) = match request.kind {
            SheetKind::Information => {
                let sheet = information(&dossier, config);
                (sheet.title, sheet.render())
            }
            SheetKind::Request => {
                let sheet = form(&dossier, config, self.first_part(&dossier).await?)?;
                (sheet.title, sheet.render())
            }
        };
        let html = html.map_err(|_| ProcedureError::Internal)?;
        Ok(SheetDocument { title: title.to_owned(), html })
    }
}

fn head(dossier: &Dossier, config: &CounterConfig) -> Head {
    let rule = dossier.rule();
    Head {
        issuing_body: config.issuing_body.clone(),
        contacts: config.contacts.clone(),
        counter: dossier.counter.clone(),
        date: day_of(&dossier.started),
        holder: format!("{} {}", dossier.holder.surname, dossier.holder.name),
        codice_fiscale: dossier.holder.codice_fiscale.clone(),
        card: dossier.card.clone(),
        case: rule.text_it,
        paragraph: rule.paragraph,
        applicant: labels::applicant(dossier.applicant.unwrap_or(Applicant::Holder)).1,
        procedure: dossier.id.clone(),
        rules: dossier.rules.clone(),
    }
}

fn information(dossier: &Dossier, config: &CounterConfig) -> Information {
    let path = dossier.path();
    let made = [StepName::SignatureWork, StepName::SignatureWithHolderPin];
    let signature = made.into_iter().any(|name| dossier.has_done(name));
    let set_again = dossier.has_done(StepName::AreaEnvelopeForCodes) && dossier.has_done(StepName::PinSet);
    let has_area_pin = signature || set_again;
    let line = |paragraph: &String| {
        let step = path.steps().find(|step| step.paragraph == *paragraph)?;
        Some(Line { paragraph: paragraph.clone(), text: done(dossier, step.name) })
    };
    Information {
        title: "Foglio informativo",
        head: head(dossier, config),
        done: dossier.done.iter().filter_map(|step| line(&step.paragraph)).collect(),
        envelope: dossier.envelope.clone().filter(|_| dossier.has_done(StepName::PinSet)),
        signature_envelope: dossier.area_code().map(str::to_owned).filter(|_| has_area_pin),
        new_codes: dossier.has_done(StepName::PinSet),
        signature,
        renewed: dossier.has_done(StepName::RenewalWork),
        not_after: day_of(&dossier.certificate_not_after),
        no_user_code: path.step(StepName::NationalWork).is_some(),
    }
}

/// What was done in a step, with what was chosen in it.
fn done(dossier: &Dossier, step: StepName) -> String {
    let wanted = |wanted: bool| if wanted { "sì" } else { "no" };
    let text = labels::done(step);
    if step == StepName::SignatureWanted {
        format!("{text}: {}", wanted(dossier.signature_wanted))
    } else if step == StepName::ReaderRequest {
        format!("{text}: {}", wanted(dossier.reader_requested.unwrap_or_default()))
    } else if let (StepName::Reason, Some(reason)) = (step, dossier.reason) {
        format!("{text}: {}", labels::reason(reason).1)
    } else {
        text.to_owned()
    }
}

/// The form that is signed: what is asked for, and what is declared.
fn form(
    dossier: &Dossier,
    config: &CounterConfig,
    first_part: Option<FirstPart>,
) -> Result<Request, ProcedureError> {
    let statements = statements(dossier);
    if statements.is_empty() {
        return Err(ProcedureError::rule(
            "§7-form",
            "this procedure has no form to be signed",
            "questa procedura non prevede un modulo da firmare",
        ));
    }
    let representative = dossier.representative.as_ref();
    let document = representative.map(cns_protocol::counter::Representative::document);
    let document = document.or_else(|| dossier.document.clone()).map(|document| Shown {
        kind: labels::document(document.kind).1,
        number: document.number,
        issuer: document.issuer,
        expires: clock::parse_date(&document.expires).map(written).unwrap_or(document.expires),
    });
    Ok(Request {
        title: "Modulo di richiesta",
        head: head(dossier, config),
        representative: representative
            .map(|person| format!("{} {}, {}", person.surname, person.name, person.codice_fiscale)),
        document,
        statements,
        first_part: first_part.map(first_part_rows).unwrap_or_default(),
        operator: dossier.operator.clone(),
    })
}

fn first_part_rows(part: FirstPart) -> Vec<(&'static str, String)> {
    let rows = [("PIN", part.pin), ("PUK", part.puk)];
    rows.into_iter().filter_map(|(name, digits)| Some((name, digits?))).collect()
}

/// What who signs asks and declares.
fn statements(dossier: &Dossier) -> Vec<String> {
    let mut statements = Vec::new();
    if let Some(person) = &dossier.representative {
        let who =
            format!("Il/La sottoscritto/a {} {} ({})", person.surname, person.name, person.codice_fiscale);
        let holder = format!("{} {}", dossier.holder.surname, dossier.holder.name);
        match dossier.applicant {
            Some(Applicant::Parent) => {
                statements.push(format!("{who} dichiara di esercitare la responsabilità genitoriale su {holder}."));
            }
            Some(Applicant::Guardian) => {
                statements.push(format!("{who} dichiara di essere il rappresentante legale di {holder}."));
            }
            Some(Applicant::Delegate) => statements.push(format!(
                "{who} agisce per delega scritta di {holder}, di cui consegna l'originale con copia del documento."
            )),
            Some(Applicant::Holder | Applicant::EmancipatedMinor) | None => {}
        }
    }
    if dossier.case == Case::Renewal {
        statements.push(
            "Il titolare chiede il rinnovo del certificato di firma digitale sulla propria carta, con una nuova chiave che \
             sostituisce la precedente, e ne accetta le condizioni d'uso."
                .to_owned(),
        );
    } else if dossier.signature_wanted {
        statements.push(
            "Il titolare chiede il rilascio gratuito del certificato di firma digitale sulla propria carta e ne accetta \
             le condizioni d'uso."
                .to_owned(),
        );
    }
    if let Some(reason) = dossier.reason {
        statements.push(format!("Motivo della richiesta: {}.", labels::reason(reason).1));
        if matches!(reason, Reason::Theft | Reason::Loss) {
            statements.push(dossier.paper.as_ref().map_or_else(
                || "Si allega copia della denuncia, o si autodichiara il fatto.".to_owned(),
                reported,
            ));
        }
    }
    if let Some(request) = &dossier.national_request {
        statements.push(format!("Si chiede al sistema nazionale: {}.", labels::request(request.request).1));
        if let Some(email) = &request.email {
            statements.push(format!("La seconda parte dei codici è inviata a {email}."));
        }
        if request.request == RequestKind::Revocation {
            statements.push("La revoca è definitiva.".to_owned());
        }
    }
    if dossier.reader_requested == Some(true) {
        let household = dossier.household.as_ref().map(|key| format!(" ({key})")).unwrap_or_default();
        statements.push(format!("Si chiede un lettore gratuito, uno per nucleo familiare{household}."));
    }
    statements
}

/// What was collected for a theft or loss.
fn reported(paper: &Paper) -> String {
    let day = clock::parse_date(&paper.date).map_or_else(|| paper.date.clone(), written);
    match (paper.kind, &paper.number, &paper.issuer) {
        (PaperKind::Report, Some(number), Some(issuer)) => {
            format!("Si allega copia della denuncia n. {number} del {day}, presentata a: {issuer}.")
        }
        (PaperKind::Report | PaperKind::SelfDeclaration, _, _) => {
            format!("Si autodichiara il fatto, con dichiarazione del {day}.")
        }
    }
}

/// The day of a time as it is written in Italy.
fn day_of(time: &str) -> String {
    OffsetDateTime::parse(time, &Rfc3339).map_or_else(|_| time.to_owned(), |time| written(time.date()))
}

fn written(day: Date) -> String {
    // Every date has a day, a month and a year.
    day.format(format_description!("[day]/[month]/[year]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cns_protocol::card::Holder;
    use cns_protocol::counter::{DocumentKind, ProcedureState, Representative};
    use cns_protocol::operator::CounterKind;

    use super::*;
    use crate::procedure::dossier::{AreaEnvelope, VERSION};

    /// What would be markup if it were not escaped, in every text that a person or a card gives.
    const HOSTILE: &str = "<script>alert(\"1\")</script>&'";

    fn hostile(case: Case) -> Dossier {
        let text = || HOSTILE.to_owned();
        Dossier {
            version: VERSION,
            id: "0123456789abcdef".to_owned(),
            case,
            rules: text(),
            card: text(),
            holder: Holder {
                surname: text(),
                name: text(),
                codice_fiscale: text(),
                birth_date: text(),
                sex: text(),
                birth_place: text(),
            },
            certificate_subject: text(),
            certificate_not_after: text(),
            certificate_sha256: None,
            virtual_reader: None,
            operator: text(),
            counter: text(),
            counter_kind: CounterKind::Pharmacy,
            started: text(),
            state: ProcedureState::Open,
            last: None,
            done: Vec::new(),
            warnings: Vec::new(),
            envelope: Some(text()),
            area_envelope: Some(AreaEnvelope { code: Some(text()), ..AreaEnvelope::default() }),
            document: None,
            signature_wanted: true,
            reader_requested: Some(true),
            household: Some(text()),
            applicant: Some(Applicant::Parent),
            representative: Some(Representative {
                surname: text(),
                name: text(),
                codice_fiscale: text(),
                kind: DocumentKind::Passport,
                number: text(),
                issuer: text(),
                expires: text(),
            }),
            evidence: None,
            reason: Some(Reason::Theft),
            paper: Some(Paper {
                kind: PaperKind::Report,
                number: Some(text()),
                issuer: Some(text()),
                date: text(),
            }),
            national_request: None,
            renews: None,
            intent: None,
            revision: 0,
        }
    }

    #[test]
    fn no_text_of_a_card_or_a_person_is_markup() {
        let config = CounterConfig {
            issuing_body: HOSTILE.to_owned(),
            contacts: vec![HOSTILE.to_owned()],
            ..CounterConfig::default()
        };
        let dossier = hostile(Case::Revocation);
        for html in [
            information(&dossier, &config).render().unwrap(),
            form(&dossier, &config, None).unwrap().render().unwrap(),
        ] {
            assert!(!html.contains("<script") && !html.contains("alert(\"1\")"), "{html}");
            assert!(html.contains("&#60;script&#62;") || html.contains("&lt;script&gt;"), "{html}");
        }
    }

    #[test]
    fn a_procedure_in_which_nothing_is_declared_has_no_form() {
        let plain = Dossier {
            representative: None,
            reason: None,
            signature_wanted: false,
            reader_requested: None,
            ..hostile(Case::Standard)
        };
        let refused = form(&plain, &CounterConfig::default(), None).err().unwrap();
        assert_eq!(refused.paragraph(), Some("§7-form"));
    }

    #[test]
    fn days_are_written_as_in_italy() {
        assert_eq!(day_of("2026-11-03T08:00:00Z"), "03/11/2026");
        assert_eq!(day_of("soon"), "soon");
    }
}
