//! `cnsctl counter …`: a thin client of the procedures. It knows no rule of the manual: the daemon tells each step.

mod answers;
mod drive;

use clap::{Args, Subcommand};
use cns_protocol::card::Holder;
use cns_protocol::counter::{Cancel, Case, List, Procedure, ProcedureState, RemoveSignature, Show};

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};
use answers::Answers;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Activate a card, or give an activated one new codes (§9.3.2, §9.4); goes on where an earlier try stopped
    Activate(Activate),
    /// Add the signature certificate (§7, §9.1.3), in the open activation or later
    Signature(Activate),
    /// Delete a signature certificate that has expired, and its key (§9.1.3)
    RemoveSignature(Remove),
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
    /// The reader that holds the citizen's card
    #[arg(long)]
    reader: Option<String>,
    /// New codes for a card that is active already (§9.4)
    #[arg(long)]
    new_codes: bool,
    /// Stop before this step and leave the procedure open, for instance §9.3.2-8
    #[arg(long, value_name = "PARAGRAPH")]
    until: Option<String>,
    #[command(flatten)]
    answers: Answers,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Activate(options) => {
            let case = if options.new_codes { Case::NewCodes } else { Case::Standard };
            drive::procedure(context, case, options.reader, options.until.as_deref(), &options.answers)
        }
        Verb::Signature(mut options) => {
            options.answers.signature.get_or_insert(answers::YesNo::Yes);
            drive::procedure(
                context,
                Case::Signature,
                options.reader,
                options.until.as_deref(),
                &options.answers,
            )
        }
        Verb::RemoveSignature(options) => remove_signature(context, options),
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
        ("Next", next),
    ]);
    for step in &procedure.done {
        text += &format!("  {:<12} {}\n", step.paragraph, step.outcome);
    }
    text
}

fn holder(holder: &Holder) -> String {
    format!("{} {}, {}, born {}", holder.name, holder.surname, holder.codice_fiscale, holder.birth_date)
}
