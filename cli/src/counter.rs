//! `cnsctl counter …`: a thin client of the procedures. It knows no rule of the manual: the daemon tells each step.

mod answers;
mod drive;
mod language;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cns_protocol::card::Holder;
use cns_protocol::counter::{
    Cancel, Case, CaseInfo, Cases, List, Next, Procedure, ProcedureState, Question, RemoveSignature, Sheet,
    SheetKind, Show,
};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};
use drive::Lead;
use language::Language;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Activate a card, or give an activated one new codes (§9.3.2, §9.4); goes on where an earlier try stopped
    Activate(Activate),
    /// Add the signature certificate (§7, §9.1.3), in the open activation or later
    Signature(Lead),
    /// Renew the signature certificate, with a new key (X2); where the configuration allows it
    Renewal(Lead),
    /// Delete a signature certificate that has expired, and its key (§9.1.3)
    RemoveSignature(Remove),
    /// Any case of the manual, by its name in `cnsctl counter cases`
    Run(Run),
    /// List the cases of the manual: who may ask, and whether this counter may
    Cases {
        /// The language; by default that of the terminal
        #[arg(long, value_enum)]
        language: Option<Language>,
    },
    /// Tell what a procedure asks now
    Next {
        /// Its identifier
        procedure: String,
    },
    /// Print the information sheet, or the form that is signed, to an HTML file
    Sheet {
        /// The procedure's identifier
        procedure: String,
        /// The form that is signed, not the information sheet
        #[arg(long)]
        request: bool,
        /// The file; it must not exist
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Show a procedure
    Show {
        /// Its identifier
        procedure: String,
    },
    /// List the procedures that are open or unsettled
    List,
    /// End a procedure early
    Cancel {
        /// Its identifier
        procedure: String,
    },
}

#[derive(Args)]
pub(crate) struct Remove {
    /// The reader that holds the citizen's card
    #[arg(long)]
    reader: Option<String>,
    /// The explicit word: also a certificate that is valid. Its key is lost for ever
    #[arg(long)]
    even_if_valid: bool,
    /// The signature PIN is another than the card's: ask for it too
    #[arg(long)]
    own_pin: bool,
    /// Read the holder's PINs from standard input, one a line
    #[arg(long)]
    pin_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Activate {
    /// New codes for a card that is active already (§9.4)
    #[arg(long)]
    new_codes: bool,
    #[command(flatten)]
    lead: Lead,
}

#[derive(Args)]
pub(crate) struct Run {
    /// The case, for instance minor
    #[arg(value_parser = case)]
    case: Case,
    #[command(flatten)]
    lead: Lead,
}

/// A case by the name that it has in the protocol.
fn case(name: &str) -> Result<Case, String> {
    serde_json::from_value(name.into())
        .map_err(|_| "there is no such case: `cnsctl counter cases` lists them".to_owned())
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Activate(Activate { new_codes, lead }) => {
            drive::procedure(context, if new_codes { Case::NewCodes } else { Case::Standard }, lead)
        }
        Verb::Signature(mut lead) => {
            lead.answers.signature.get_or_insert(answers::YesNo::Yes);
            drive::procedure(context, Case::Signature, lead)
        }
        Verb::Renewal(lead) => drive::procedure(context, Case::Renewal, lead),
        Verb::Run(Run { case, lead }) => drive::procedure(context, case, lead),
        Verb::RemoveSignature(options) => remove_signature(context, options),
        Verb::Cases { language } => {
            let language = language.unwrap_or_else(Language::of_terminal);
            let cases = context.call(&Cases {})?;
            context.show(&cases, |cases| cases.iter().map(|case| case_text(case, language)).collect())
        }
        Verb::Next { procedure } => {
            let question = context.call(&Next { procedure })?;
            context.show(&question, question_text)
        }
        Verb::Sheet { procedure, request, output } => sheet(context, procedure, request, &output),
        Verb::Show { procedure } => {
            let procedure = context.call(&Show { procedure })?;
            context.show(&procedure, text)
        }
        Verb::List => {
            let procedures = context.call(&List {})?;
            context.show(&procedures, |list| match list.as_slice() {
                [] => "No procedure is open.".into(),
                list => list.iter().map(text).collect::<Vec<_>>().join("\n"),
            })
        }
        Verb::Cancel { procedure } => {
            let procedure = context.call(&Cancel { procedure })?;
            context.show(&procedure, text)
        }
    }
}

fn remove_signature(context: &mut Context, options: Remove) -> Result<(), CliError> {
    let reader = context.reader(options.reader)?;
    let source = Source::from_flag(options.pin_stdin);
    let pin = prompt::secret(source, "the holder's PIN")?;
    let signature_pin =
        options.own_pin.then(|| prompt::secret(source, "the holder's signature PIN")).transpose()?;
    let request = RemoveSignature { reader, pin, signature_pin, even_if_valid: options.even_if_valid };
    let removed = drive::call_long(context, &request)?;
    context.show(&removed, |removed| match &removed.certificate_not_after {
        Some(end) => format!("The signature certificate (valid until {end}) and its key are deleted."),
        None => "The card has no signature certificate, and no key of one.".into(),
    })
}

/// Writes a sheet to a file of the operator's own: it has personal data.
fn sheet(context: &mut Context, procedure: String, request: bool, path: &Path) -> Result<(), CliError> {
    let kind = if request { SheetKind::Request } else { SheetKind::Information };
    let sheet = context.call(&Sheet { procedure, kind })?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(sheet.html.as_bytes())
    };
    write().map_err(|source| CliError::Write { path: path.to_owned(), source })?;
    context.show(&json!({ "title": sheet.title, "file": path }), |_| {
        format!("{} is in {}.", sheet.title, path.display())
    })
}

fn case_text(info: &CaseInfo, language: Language) -> String {
    // Every case has a name in the protocol.
    let name = serde_json::to_value(info.case).ok().and_then(|name| name.as_str().map(str::to_owned));
    let mut text = format!(
        "{:<18} {:<8} {}\n",
        name.unwrap_or_default(),
        info.paragraph,
        language.of(&info.text, &info.text_it)
    );
    for who in &info.applicants {
        text += &format!("{:27} {} {}\n", "", who.paragraph, language.of(&who.text, &who.text_it));
    }
    if let Some(refusal) = &info.refusal {
        let (not_here, why) =
            (language.of("not here", "non qui"), language.of(&refusal.text, &refusal.text_it));
        text += &format!("{:27} {not_here}: {why}\n", "");
    }
    text
}

fn question_text(question: &Question) -> String {
    let language = Language::of_terminal();
    let Some(step) = &question.step else {
        return language.of("The procedure is over.", "La procedura è terminata.").to_owned();
    };
    let mut text = format!("{} {}\n", step.paragraph, language.of(&step.text, &step.text_it));
    for line in &question.shown {
        text += &format!("  {}: {}\n", language.of(&line.text, &line.text_it), line.value);
    }
    for field in &question.fields {
        let allowed: Vec<_> = field.allowed.iter().map(|allowed| allowed.value.as_str()).collect();
        let allowed = if allowed.is_empty() { String::new() } else { format!(": {}", allowed.join(", ")) };
        text += &format!("  {} ({}){allowed}\n", field.name, language.of(&field.text, &field.text_it));
    }
    text
}

fn text(procedure: &Procedure) -> String {
    let state = match procedure.state {
        ProcedureState::Open => "open",
        ProcedureState::Unsettled => {
            "unsettled: put the card back; if it stays so, start the procedure again and read why"
        }
        ProcedureState::Done => "done",
        ProcedureState::Cancelled => "ended early",
    };
    let next =
        procedure.next.as_ref().map(|step| format!("{} {}", step.paragraph, step.text)).unwrap_or_default();
    let mut text = output::fields(&[
        ("Procedure", procedure.id.clone()),
        ("State", state.to_owned()),
        ("Card", procedure.card.clone()),
        ("Holder", holder(&procedure.holder)),
        ("Operator", format!("{}, {}", procedure.operator, procedure.counter)),
        ("Envelope", procedure.envelope.clone().unwrap_or_default()),
        ("Signature envelope", procedure.signature_envelope.clone().unwrap_or_default()),
        ("Next", next),
    ]);
    for step in &procedure.done {
        text += &format!("  {:<12} {}\n", step.paragraph, step.outcome);
    }
    for said in &procedure.warnings {
        text += &format!("{}\n", warning(said));
    }
    text
}

/// What the operator should know of a procedure.
fn warning(said: &str) -> String {
    format!("Note: {said}")
}

fn holder(holder: &Holder) -> String {
    format!("{} {}, {}, born {}", holder.name, holder.surname, holder.codice_fiscale, holder.birth_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_procedure_that_was_given_up_is_shown() {
        let procedure = json!({
            "id": "0011223344556677", "case": "renewal", "rules": "1.2", "card": "6170010012345678",
            "holder": {
                "codice_fiscale": "MLSGRZ85A41B354B", "name": "GRAZIA", "surname": "MELIS",
                "sex": "F", "birth_date": "1985-01-01", "birth_place": "B354"
            },
            "certificate_subject": "CN=x", "certificate_not_after": "2030-01-01T00:00:00Z",
            "operator": "op1", "counter": "ASL", "state": "cancelled", "done": [],
            "warnings": ["have the authority revoke the new one (§9.7)"]
        });
        let shown = text(&serde_json::from_value(procedure).unwrap());
        assert!(shown.ends_with("Note: have the authority revoke the new one (§9.7)\n"), "{shown}");
    }
}
