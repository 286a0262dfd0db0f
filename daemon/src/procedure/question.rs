//! `counter.next`: a step as a form, and what was filled in as an answer.
//!
//! One table says which fields a step wants ([`fields`]); the answer is read by the same table, so a client that sends
//! what was asked for is always understood.

use std::collections::BTreeMap;

use cns_protocol::certificate::PaperKind;
use cns_protocol::counter::{
    Allowed, Answer, Evidence, Field, FieldKind, FieldValue, Question, Shown, Verdict, Wants,
};
use cns_protocol::national::RequestKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::procedure::dossier::{Dossier, Intent};
use crate::procedure::labels::{self, Label};
use crate::procedure::steps::{CaseRule, StepName, StepRule};
use crate::procedure::{ProcedureError, identity};

/// The field for what tells one household from another (X17).
const HOUSEHOLD: &str = "household";

/// What the operator must know of a card whose PIN may or may not be set.
const UNSETTLED: Label = (
    "The setting of the PIN was cut off. Put the same card into the reader and answer the step again: the same value \
     is set again.",
    "L'impostazione del PIN è stata interrotta. Inserire la stessa carta nel lettore e rispondere di nuovo: viene \
     impostato di nuovo lo stesso valore.",
);
/// The same, when the PUK may have been refused.
const DOUBTFUL: Label = (
    "It is not known whether the card refused the PUK. To answer the step again presents it once more: if it is \
     wrong, that costs a try.",
    "Non è noto se la carta abbia rifiutato il PUK. Rispondendo di nuovo il PUK viene presentato ancora una volta: se \
     è errato, si perde un tentativo.",
);

/// What a procedure asks now; `officer` says whether the operator's card signs what the step sends to the authority (§7),
/// `household` what tells one household from another (X17), or nothing.
pub(super) fn question(dossier: &Dossier, officer: bool, household: &str) -> Question {
    let step = dossier.next();
    let note = match &dossier.intent {
        Some(Intent::SetPin(set_pin)) if set_pin.told.is_some() => Some(DOUBTFUL),
        Some(Intent::SetPin(_)) => Some(UNSETTLED),
        Some(
            Intent::Signature(_) | Intent::Close { .. } | Intent::Status { .. } | Intent::National { .. },
        )
        | None => None,
    };
    Question {
        procedure: dossier.id.clone(),
        state: dossier.state,
        step: step.map(StepRule::to_step),
        note: note.map(|(text, _)| text.to_owned()),
        note_it: note.map(|(_, text)| text.to_owned()),
        shown: step.map(|step| shown(dossier, step)).unwrap_or_default(),
        fields: step.map(|step| asked(step, dossier.path().case, officer, household)).unwrap_or_default(),
        works_on_card: step.is_some_and(|step| matches!(step.wants, Wants::Work | Wants::Pin | Wants::Pins)),
    }
}

/// The fields of a step, with the operator's PIN where the authority wants the operator's signature, and the household where
/// it is asked.
fn asked(step: &StepRule, case: &CaseRule, officer: bool, household: &str) -> Vec<Field> {
    let mut fields = fields(step.wants, case);
    if step.name == StepName::ReaderRequest && !household.is_empty() {
        let label = Field {
            optional: true,
            text: household.to_owned(),
            text_it: household.to_owned(),
            ..plain(HOUSEHOLD, FieldKind::Text, ("household", "nucleo familiare"))
        };
        fields.push(label);
    }
    if officer {
        fields.push(secret(
            "operator_pin",
            ("the PIN of the operator's card", "PIN della carta dell'operatore"),
        ));
    }
    fields
}

/// Takes the household out of the values of a form: what was filled in, trimmed.
pub(super) fn household(values: &mut BTreeMap<String, FieldValue>) -> Result<Option<String>, ProcedureError> {
    let wrong = || wrong(&plain(HOUSEHOLD, FieldKind::Text, ("household", "nucleo familiare")));
    match values.remove(HOUSEHOLD) {
        None => Ok(None),
        Some(FieldValue::Text(text)) if text.trim().is_empty() => Ok(None),
        Some(FieldValue::Text(text)) => identity::sound(&text).map(Some).ok_or_else(wrong),
        Some(FieldValue::Flag(_)) => Err(wrong()),
    }
}

/// The data that the operator needs before their eyes at a step.
fn shown(dossier: &Dossier, step: &StepRule) -> Vec<Shown> {
    let line = |(text, text_it): Label, value: &str| Shown {
        text: text.to_owned(),
        text_it: text_it.to_owned(),
        value: value.to_owned(),
    };
    let holder = &dossier.holder;
    let mut lines = Vec::new();
    if matches!(step.name, StepName::Comparison | StepName::CardComparison) {
        lines.extend([
            line(("surname", "cognome"), &holder.surname),
            line(("given name", "nome"), &holder.name),
            line(("codice fiscale", "codice fiscale"), &holder.codice_fiscale),
            line(("date of birth", "data di nascita"), &holder.birth_date),
            line(("sex", "sesso"), &holder.sex),
            line(("place of birth", "luogo di nascita"), &holder.birth_place),
        ]);
    }
    if step.name == StepName::Comparison {
        lines.push(line(
            ("subject of the certificate", "soggetto del certificato"),
            &dossier.certificate_subject,
        ));
    }
    if matches!(step.name, StepName::PinSet | StepName::HandOver)
        && let Some(code) = &dossier.envelope
    {
        lines.push(line(("envelope", "busta"), code));
    }
    let sets_area = matches!(step.name, StepName::SignatureWork | StepName::SignatureWithHolderPin);
    if (sets_area || matches!(step.name, StepName::PinSet | StepName::HandOver))
        && let Some(code) = dossier.area_code()
    {
        lines.push(line(("envelope of the signature PIN", "busta del PIN di firma"), code));
    }
    lines.retain(|line| !line.value.is_empty());
    lines
}

/// The fields of a step that wants this.
pub(super) fn fields(wants: Wants, case: &CaseRule) -> Vec<Field> {
    match wants {
        Wants::Work => Vec::new(),
        Wants::Confirmation => {
            vec![plain("confirmed", FieldKind::Confirmation, ("it was done", "operazione eseguita"))]
        }
        Wants::Document => document(),
        Wants::Verdict => {
            let verdicts = [Verdict::Match, Verdict::Mismatch];
            vec![choice("verdict", ("comparison", "confronto"), &verdicts, labels::verdict)]
        }
        Wants::EnvelopeCode => {
            vec![plain(
                "code",
                FieldKind::EnvelopeCode,
                ("code outside the envelope", "codice esterno della busta"),
            )]
        }
        Wants::Choice => {
            vec![plain("wanted", FieldKind::YesNo, ("the citizen wants it", "il cittadino lo richiede"))]
        }
        Wants::Pin => vec![secret("pin", ("the holder's PIN", "PIN del titolare"))],
        Wants::Pins => vec![
            secret("pin", ("the PIN of the holder's card", "PIN della carta del titolare")),
            secret(
                "signature_pin",
                (
                    "the holder's signature PIN (at first as the card's)",
                    "PIN di firma del titolare (all'inizio quello della carta)",
                ),
            ),
        ],
        Wants::Applicant => {
            let question = ("who is at the counter", "chi si presenta allo sportello");
            vec![choice("applicant", question, case.applicants, labels::applicant)]
        }
        Wants::Representative => [person(), document()].concat(),
        Wants::HolderCopy => person(),
        Wants::Evidence => {
            vec![choice("evidence", ("evidence", "prova"), &Evidence::ALL, labels::evidence)]
        }
        Wants::Reason => vec![choice("reason", ("reason", "motivo"), case.reasons, labels::reason)],
        Wants::NationalRequest => {
            vec![choice("request", ("request", "richiesta"), &RequestKind::ALL, labels::request)]
        }
        Wants::Email => {
            let question = ("address for the second part", "email per la seconda parte");
            vec![plain("email", FieldKind::Email, question)]
        }
        Wants::Paper => paper(),
    }
}

fn plain(name: &str, kind: FieldKind, (text, text_it): Label) -> Field {
    Field {
        name: name.to_owned(),
        kind,
        secret: false,
        optional: false,
        allowed: Vec::new(),
        text: text.to_owned(),
        text_it: text_it.to_owned(),
    }
}

/// A field whose value is the request's parameter of that name.
fn secret(name: &str, label: Label) -> Field {
    Field { secret: true, ..plain(name, FieldKind::Pin, label) }
}

fn choice<T: Serialize + Copy>(name: &str, label: Label, values: &[T], called: impl Fn(T) -> Label) -> Field {
    let allowed = values.iter().map(|value| {
        let (text, text_it) = called(*value);
        Allowed { value: wire_name(value), text: text.to_owned(), text_it: text_it.to_owned() }
    });
    Field { allowed: allowed.collect(), ..plain(name, FieldKind::Choice, label) }
}

/// A value of a closed list as it travels.
pub(super) fn wire_name(value: &impl Serialize) -> String {
    // Every closed list of the protocol travels as a text.
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn person() -> Vec<Field> {
    vec![
        plain("surname", FieldKind::Text, ("surname", "cognome")),
        plain("name", FieldKind::Text, ("given name", "nome")),
        plain("codice_fiscale", FieldKind::CodiceFiscale, ("codice fiscale", "codice fiscale")),
    ]
}

fn document() -> Vec<Field> {
    let kinds = labels::DOCUMENTS.map(|(kind, _)| kind);
    vec![
        choice("kind", ("kind of document", "tipo di documento"), &kinds, labels::document),
        plain("number", FieldKind::Text, ("number of the document", "numero del documento")),
        plain("issuer", FieldKind::Text, ("issued by", "rilasciato da")),
        plain("expires", FieldKind::Date, ("expires on", "scadenza")),
    ]
}

/// Of the names, that the daemon's clients can tell them from a document's.
fn paper() -> Vec<Field> {
    let optional = |name: &str, label: Label| Field { optional: true, ..plain(name, FieldKind::Text, label) };
    let number = (
        "number of the report, none for a self-declaration",
        "numero della denuncia, non per l'autodichiarazione",
    );
    let issuer = (
        "who took the report, none for a self-declaration",
        "autorità che ha ricevuto la denuncia, non per l'autodichiarazione",
    );
    vec![
        choice("paper", ("what was collected", "documento ritirato"), &PaperKind::ALL, labels::paper),
        optional("paper_number", number),
        optional("paper_issuer", issuer),
        plain("paper_date", FieldKind::Date, ("date", "data")),
    ]
}

/// The answer that the values of a step's fields make.
pub(super) fn answer(
    wants: Wants,
    case: &CaseRule,
    mut values: BTreeMap<String, FieldValue>,
) -> Result<Answer, ProcedureError> {
    let mut object = serde_json::Map::new();
    // A secret is no value: the request has it beside the others.
    for field in fields(wants, case).iter().filter(|field| !field.secret) {
        match values.remove(&field.name) {
            None if field.optional => {}
            // What an empty line of a form leaves.
            Some(FieldValue::Text(text)) if field.optional && text.trim().is_empty() => {}
            value => {
                let value = value.ok_or_else(|| wrong(field))?;
                object.insert(field.name.clone(), judged(field, value)?);
            }
        }
    }
    if let Some((name, _)) = values.first_key_value() {
        // The name is not repeated: it may be anything.
        tracing::debug!(length = name.len(), "an answer has a field that the step does not want");
        return Err(ProcedureError::FieldUnknown);
    }
    let object = Value::Object(object);
    let one = |name: &str| object.get(name).cloned().unwrap_or_default();
    match wants {
        Wants::Work | Wants::Pin | Wants::Pins => Ok(Answer::Confirmed),
        Wants::Confirmation => Ok(Answer::Confirmed),
        Wants::Document => read(object).map(Answer::Document),
        Wants::Verdict => read(one("verdict")).map(Answer::Verdict),
        Wants::EnvelopeCode => read(one("code")).map(Answer::Envelope),
        Wants::Choice => read(one("wanted")).map(Answer::Wanted),
        Wants::Applicant => read(one("applicant")).map(Answer::Applicant),
        Wants::Representative => read(object).map(Answer::Representative),
        Wants::HolderCopy => read(object).map(Answer::HolderCopy),
        Wants::Evidence => read(one("evidence")).map(Answer::Evidence),
        Wants::Reason => read(one("reason")).map(Answer::Reason),
        Wants::NationalRequest => read(one("request")).map(Answer::NationalRequest),
        Wants::Email => read(one("email")).map(Answer::Email),
        Wants::Paper => {
            let members =
                ["number", "issuer", "date"].map(|member| (member, one(&format!("paper_{member}"))));
            let members = [("kind", one("paper"))].into_iter().chain(members);
            read(members.map(|(member, value)| (member.to_owned(), value)).collect()).map(Answer::Paper)
        }
    }
}

fn judged(field: &Field, value: FieldValue) -> Result<Value, ProcedureError> {
    match (field.kind, value) {
        (FieldKind::Confirmation, FieldValue::Flag(true)) => Ok(Value::Bool(true)),
        (FieldKind::YesNo, FieldValue::Flag(flag)) => Ok(Value::Bool(flag)),
        (FieldKind::Choice, FieldValue::Text(text)) => {
            if field.allowed.iter().any(|allowed| allowed.value == text) {
                Ok(Value::String(text))
            } else {
                Err(wrong(field))
            }
        }
        (
            FieldKind::Text
            | FieldKind::Date
            | FieldKind::EnvelopeCode
            | FieldKind::CodiceFiscale
            | FieldKind::Email,
            FieldValue::Text(text),
        ) => Ok(Value::String(text)),
        (_, FieldValue::Flag(_) | FieldValue::Text(_)) => Err(wrong(field)),
    }
}

fn wrong(field: &Field) -> ProcedureError {
    ProcedureError::FieldInvalid {
        name: field.name.clone(),
        text: field.text.clone(),
        italian: field.text_it.clone(),
    }
}

/// Every value was judged: what cannot be read now is a fault of the table.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, ProcedureError> {
    serde_json::from_value(value).map_err(|_| ProcedureError::Internal)
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::{Applicant, Case};

    use super::*;
    use crate::procedure::steps::{Path, case_rule};

    fn sample(field: &Field) -> FieldValue {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        match field.kind {
            FieldKind::Confirmation | FieldKind::YesNo => FieldValue::Flag(true),
            FieldKind::Choice => FieldValue::Text(field.allowed[0].value.clone()),
            FieldKind::Text => text("x"),
            FieldKind::Date => text("2030-01-01"),
            FieldKind::EnvelopeCode => text("123456782"),
            FieldKind::CodiceFiscale => text("RSSMRA80A01H501U"),
            FieldKind::Email => text("anna@example.it"),
            FieldKind::Pin => unreachable!("it is secret"),
        }
    }

    fn filled(fields: &[Field]) -> BTreeMap<String, FieldValue> {
        let open = fields.iter().filter(|field| !field.secret);
        open.map(|field| (field.name.clone(), sample(field))).collect()
    }

    #[test]
    fn what_every_step_asks_for_is_understood_and_what_it_does_not_is_refused() {
        let mut asked = 0;
        for case in Case::ALL {
            for applicant in Applicant::ALL {
                for step in Path::of(case, Some(applicant)).steps() {
                    let fields = fields(step.wants, case_rule(case));
                    let values = filled(&fields);
                    answer(step.wants, case_rule(case), values.clone()).unwrap();
                    for field in fields.iter().filter(|field| !field.secret) {
                        let mut missing = values.clone();
                        missing.remove(&field.name);
                        if field.optional {
                            let mut empty = values.clone();
                            empty.insert(field.name.clone(), FieldValue::Text(" ".to_owned()));
                            let left_out = answer(step.wants, case_rule(case), missing.clone()).unwrap();
                            assert_eq!(answer(step.wants, case_rule(case), empty).unwrap(), left_out);
                            missing.insert(field.name.clone(), FieldValue::Flag(true));
                        }
                        let mut other = values.clone();
                        let another = match &values[&field.name] {
                            FieldValue::Flag(_) => FieldValue::Text("yes".to_owned()),
                            FieldValue::Text(_) => FieldValue::Flag(true),
                        };
                        other.insert(field.name.clone(), another);
                        for wrong in [missing, other] {
                            let refused = answer(step.wants, case_rule(case), wrong).unwrap_err();
                            assert!(
                                matches!(&refused, ProcedureError::FieldInvalid { name, .. } if *name == field.name)
                            );
                        }
                    }
                    let mut more = values;
                    more.insert("pin".to_owned(), FieldValue::Text("12345".to_owned()));
                    let refused = answer(step.wants, case_rule(case), more).unwrap_err();
                    assert!(matches!(refused, ProcedureError::FieldUnknown));
                    asked += 1;
                }
            }
        }
        assert!(asked > 300, "{asked}");
    }

    #[test]
    fn a_confirmation_that_is_refused_and_a_value_outside_the_list_do_not_pass() {
        let case = case_rule(Case::Revocation);
        let no = BTreeMap::from([("confirmed".to_owned(), FieldValue::Flag(false))]);
        assert!(answer(Wants::Confirmation, case, no).is_err());
        let other = BTreeMap::from([("reason".to_owned(), FieldValue::Text("death".to_owned()))]);
        assert!(answer(Wants::Reason, case, other).is_err(), "a reason of the issuing body only (§9.7.2)");
    }
}
