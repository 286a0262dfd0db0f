//! The values of a step's fields: from options, else asked for at the terminal. The daemon says what is wanted and what
//! is allowed; no rule of the manual is known here.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use cns_protocol::counter::{Field, FieldKind, FieldValue, Question, Step};

use crate::counter::language::Language;
use crate::error::CliError;
use crate::output;
use crate::prompt;

/// Answers given beforehand. What is missing is asked for at the terminal.
#[derive(Args)]
pub(crate) struct Answers {
    /// Confirm the steps that only a person can do (privacy notice read, wish stated, form signed, handed over …)
    #[arg(long)]
    confirm: bool,
    /// Who is at the counter, for instance holder or parent
    #[arg(long, value_name = "WHO")]
    applicant: Option<String>,
    /// The kind of identity document, for instance identity-card
    #[arg(long, value_name = "KIND")]
    document: Option<String>,
    /// The document's number
    #[arg(long, value_name = "TEXT")]
    document_number: Option<String>,
    /// Who issued the document
    #[arg(long, value_name = "TEXT")]
    document_issuer: Option<String>,
    /// When the document expires
    #[arg(long, value_name = "YYYY-MM-DD")]
    document_expires: Option<String>,
    /// Whether the document agrees with the data it is compared with: match or mismatch (§9.3.2-5, §9.3.3-4)
    #[arg(long, value_name = "VERDICT")]
    identity: Option<String>,
    /// The code outside the envelope (§9.3.2-6)
    #[arg(long, value_name = "CODE")]
    envelope: Option<String>,
    /// The code outside the envelope of the signature PIN, where it has one of its own (§9.1.3-envelope, §9.4-envelope)
    #[arg(long, value_name = "CODE")]
    signature_envelope: Option<String>,
    /// Whether the citizen wants the signature certificate (§9.3.2-8)
    #[arg(long, value_enum)]
    pub(crate) signature: Option<YesNo>,
    /// Whether the citizen asks for a card reader (§9.3.2-10)
    #[arg(long, value_enum)]
    reader_request: Option<YesNo>,
    /// The value of any other field, for one step or for every step that has it; may be repeated
    #[arg(long, value_name = "[PARAGRAPH:]FIELD=VALUE", value_parser = setting)]
    set: Vec<Setting>,
    /// Read the holder's PINs from standard input, one a line, where a step wants them
    #[arg(long)]
    pub(crate) pin_stdin: bool,
    /// The language of what is asked; by default that of the terminal
    #[arg(long, value_enum)]
    pub(crate) language: Option<Language>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}

/// A field's value that was given with `--set`.
#[derive(Clone)]
struct Setting {
    paragraph: Option<String>,
    field: String,
    value: String,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (place, value) = text.split_once('=').ok_or("it is not FIELD=VALUE")?;
    let (paragraph, field) = match place.rsplit_once(':') {
        Some((paragraph, field)) => (Some(paragraph.to_owned()), field),
        None => (None, place),
    };
    Ok(Setting { paragraph, field: field.to_owned(), value: value.to_owned() })
}

impl Answers {
    /// The language of what is asked.
    pub(crate) fn language(&self) -> Language {
        self.language.unwrap_or_else(Language::of_terminal)
    }

    /// The values of a step's fields that are no secret.
    pub(crate) fn values(
        &self,
        question: &Question,
        step: &Step,
    ) -> Result<BTreeMap<String, FieldValue>, CliError> {
        let language = self.language();
        let mut values = BTreeMap::new();
        for field in question.fields.iter().filter(|field| !field.secret) {
            let value = match self.given(step, field) {
                Some(text) => read(field, &text),
                None => ask(language, step, field)?,
            };
            let Some(value) = value else {
                if field.optional {
                    continue;
                }
                return Err(missing(language, step, field));
            };
            values.insert(field.name.clone(), value);
        }
        Ok(values)
    }

    /// What was given for a field as an option.
    fn given(&self, step: &Step, field: &Field) -> Option<String> {
        let here = |setting: &&Setting| {
            setting.field == field.name
                && setting.paragraph.as_ref().is_none_or(|paragraph| *paragraph == step.paragraph)
        };
        // What was given for this step goes before what was given for all.
        let settings = || self.set.iter().filter(here);
        let set = settings().find(|setting| setting.paragraph.is_some()).or_else(|| settings().next());
        if let Some(setting) = set {
            return Some(setting.value.clone());
        }
        let yes_no = |answer: YesNo| if answer == YesNo::Yes { "yes" } else { "no" }.to_owned();
        match field.name.as_str() {
            "confirmed" => self.confirm.then(|| "yes".to_owned()),
            "applicant" => self.applicant.clone(),
            "kind" => self.document.clone(),
            "number" => self.document_number.clone(),
            "issuer" => self.document_issuer.clone(),
            "expires" => self.document_expires.clone(),
            "verdict" => self.identity.clone(),
            "code" if step.paragraph == "§9.3.2-6" => self.envelope.clone(),
            "code" => self.signature_envelope.clone(),
            "wanted" if step.paragraph == "§9.3.2-10" => self.reader_request.map(yes_no),
            "wanted" => self.signature.map(yes_no),
            _ => None,
        }
    }
}

/// That a field's value is missing, and how to give it.
fn missing(language: Language, step: &Step, field: &Field) -> CliError {
    let label = language.of(&field.text, &field.text_it);
    CliError::AnswerNeeded {
        paragraph: step.paragraph.clone(),
        what: format!("{label} (--set {}={})", field.name, wanted(field)),
    }
}

/// What a field takes, for the message that it is missing.
fn wanted(field: &Field) -> String {
    match field.kind {
        FieldKind::Confirmation | FieldKind::YesNo => "yes|no".to_owned(),
        FieldKind::Choice => {
            field.allowed.iter().map(|allowed| allowed.value.as_str()).collect::<Vec<_>>().join("|")
        }
        FieldKind::Date => "YYYY-MM-DD".to_owned(),
        FieldKind::Text
        | FieldKind::EnvelopeCode
        | FieldKind::CodiceFiscale
        | FieldKind::Email
        | FieldKind::Pin => "…".to_owned(),
    }
}

/// A value as it was typed; nothing when it cannot be one.
fn read(field: &Field, text: &str) -> Option<FieldValue> {
    let text = text.trim();
    match field.kind {
        FieldKind::Confirmation | FieldKind::YesNo => match text.to_lowercase().as_str() {
            "y" | "yes" | "s" | "si" | "sì" | "true" => Some(FieldValue::Flag(true)),
            "n" | "no" | "false" => Some(FieldValue::Flag(false)),
            _ => None,
        },
        FieldKind::Choice => {
            // By its value, or by its number in the list as it was shown.
            let by_number = || field.allowed.get(text.parse::<usize>().ok()?.checked_sub(1)?);
            let found = field.allowed.iter().find(|allowed| allowed.value == text).or_else(by_number)?;
            Some(FieldValue::Text(found.value.clone()))
        }
        FieldKind::Text
        | FieldKind::Date
        | FieldKind::EnvelopeCode
        | FieldKind::CodiceFiscale
        | FieldKind::Email => (!text.is_empty()).then(|| FieldValue::Text(text.to_owned())),
        FieldKind::Pin => None,
    }
}

/// Asks for a field until what is typed can be its value; nothing without a terminal or an answer.
fn ask(language: Language, step: &Step, field: &Field) -> Result<Option<FieldValue>, CliError> {
    let label = language.of(&field.text, &field.text_it);
    let question = match field.kind {
        FieldKind::Confirmation | FieldKind::YesNo => {
            format!("{} [{}]", language.of(&step.text, &step.text_it), language.of("y/n", "s/n"))
        }
        FieldKind::Choice => {
            let list = field.allowed.iter().enumerate().map(|(place, allowed)| {
                format!("  {}. {}\n", place + 1, language.of(&allowed.text, &allowed.text_it))
            });
            format!("{label}:\n{}{}", list.collect::<String>(), language.of("number:", "numero:"))
        }
        FieldKind::Date => format!("{label} ({}):", language.of("YYYY-MM-DD", "AAAA-MM-GG")),
        FieldKind::Text
        | FieldKind::EnvelopeCode
        | FieldKind::CodiceFiscale
        | FieldKind::Email
        | FieldKind::Pin => format!("{label}:"),
    };
    loop {
        match prompt::question(&question)? {
            None => return Ok(None),
            Some(answer) if answer.is_empty() => return Ok(None),
            Some(answer) => match read(field, &answer) {
                Some(value) => return Ok(Some(value)),
                None => output::note(language.of("This cannot be the answer.", "Risposta non valida.")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::Allowed;

    use super::*;

    fn field(kind: FieldKind, allowed: &[&str]) -> Field {
        let allow = |value: &&str| Allowed {
            value: (*value).to_owned(),
            text: String::new(),
            text_it: String::new(),
        };
        Field {
            name: "f".to_owned(),
            kind,
            secret: false,
            optional: false,
            allowed: allowed.iter().map(allow).collect(),
            text: String::new(),
            text_it: String::new(),
        }
    }

    #[test]
    fn values_are_read_by_their_kind() {
        let choice = field(FieldKind::Choice, &["passport", "identity-card"]);
        let text = |text: &str| Some(FieldValue::Text(text.to_owned()));
        assert_eq!(read(&choice, "identity-card"), text("identity-card"));
        assert_eq!(read(&choice, "2"), text("identity-card"));
        for wrong in ["0", "3", "library card", ""] {
            assert_eq!(read(&choice, wrong), None, "{wrong}");
        }
        assert_eq!(read(&field(FieldKind::YesNo, &[]), "Sì"), Some(FieldValue::Flag(true)));
        assert_eq!(read(&field(FieldKind::YesNo, &[]), "maybe"), None);
        assert_eq!(read(&field(FieldKind::Pin, &[]), "12345"), None, "a secret is no value");
    }

    #[test]
    fn settings_name_a_step_or_none() {
        let given = setting("§6.4.4:surname=De=Angelis").unwrap();
        assert_eq!(
            (given.paragraph.as_deref(), given.field.as_str(), given.value.as_str()),
            (Some("§6.4.4"), "surname", "De=Angelis")
        );
        assert!(setting("email=a@example.it").unwrap().paragraph.is_none());
        assert!(setting("email").is_err());
    }
}
