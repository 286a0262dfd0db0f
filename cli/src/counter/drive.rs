//! Drives a procedure from step to step until it is over, by what `counter.next` asks.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use cns_protocol::Method;
use cns_protocol::counter::{
    Answer, AnswerStep, Case, Field, Next, Procedure, ProcedureState, Question, Start, StepDone,
};
use cns_protocol::rpc::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::context::Context;
use crate::counter::answers::Answers;
use crate::counter::language::Language;
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};

/// How a procedure is driven.
#[derive(Args)]
pub(crate) struct Lead {
    /// The reader that holds the citizen's card
    #[arg(long)]
    reader: Option<String>,
    /// Stop before this step and leave the procedure open, for instance §9.3.2-8
    #[arg(long, value_name = "PARAGRAPH")]
    until: Option<String>,
    #[command(flatten)]
    pub(super) answers: Answers,
}

/// Begins or takes up a procedure on the card in `reader`, and answers its steps.
///
/// With `--json` each step that was done and each progress report is one line of JSON, and the last line is the
/// procedure.
pub(crate) fn procedure(
    context: &mut Context,
    case: Case,
    Lead { reader, until, answers }: Lead,
) -> Result<(), CliError> {
    let reader = context.reader(reader)?;
    let mut procedure = context.call(&Start { reader, case })?;
    introduce(context, &procedure);
    let mut shown = Shown::default();
    loop {
        shown.go_on(context, &procedure)?;
        let question = context.call(&Next { procedure: procedure.id.clone() })?;
        let Some(step) = question.step.clone() else { break };
        if until.as_ref() == Some(&step.paragraph) {
            break;
        }
        let language = answers.language();
        show_data(context, language, &question);
        let answer = Answer::Fields(answers.values(&question, &step)?);
        let secret = |name: &str| {
            let wanted = question.fields.iter().find(|field| field.secret && field.name == name);
            let ask = |field: &Field| {
                let what = language.of(&field.text, &field.text_it);
                prompt::secret_with(
                    Source::from_flag(answers.pin_stdin),
                    language.of("Enter", "Digitare"),
                    what,
                )
            };
            wanted.map(ask).transpose()
        };
        let request = AnswerStep {
            procedure: procedure.id.clone(),
            paragraph: step.paragraph.clone(),
            answer,
            pin: secret("pin")?,
            signature_pin: secret("signature_pin")?,
            // The request to the certifier is signed on the operator's own card (§7).
            operator_pin: secret("operator_pin")?,
        };
        procedure = call_long(context, &request)?;
    }
    finish(context, &procedure)
}

/// What the operator needs before their eyes at a step.
fn show_data(context: &Context, language: Language, question: &Question) {
    if context.json {
        return;
    }
    if let (Some(note), Some(note_it)) = (&question.note, &question.note_it) {
        output::note(language.of(note, note_it));
    }
    for line in &question.shown {
        output::note(&format!("  {}: {}", language.of(&line.text, &line.text_it), line.value));
    }
    // What is asked in the open is asked with the step's text.
    if let Some(step) = question.step.as_ref().filter(|_| question.fields.iter().all(|field| field.secret)) {
        output::note(language.of(&step.text, &step.text_it));
    }
}

/// Calls the daemon for long work, and shows how far it has come.
pub(super) fn call_long<M: Method>(context: &mut Context, request: &M) -> Result<M::Answer, CliError> {
    let json = context.json;
    let bar =
        if json || !io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let result = context.call_with_progress(request, |progress| show_progress(&bar, progress, json));
    bar.finish_and_clear();
    result
}

fn show_progress(bar: &ProgressBar, progress: &Progress, json: bool) {
    if json {
        // A reader that went away is noticed when the procedure itself is written.
        output::json_line(&json!({ "progress": progress })).unwrap_or_default();
    }
    let of = progress.total.map(|total| format!(" ({}/{total})", progress.done)).unwrap_or_default();
    bar.set_message(format!("{}{of}", progress.message));
}

fn introduce(context: &Context, procedure: &Procedure) {
    if context.json {
        return;
    }
    output::note(&format!("Procedure {} — {}", procedure.id, procedure.rules));
    output::note(&format!("Holder: {}", super::holder(&procedure.holder)));
    output::note(&format!(
        "Certificate: {} (until {})",
        procedure.certificate_subject, procedure.certificate_not_after
    ));
}

/// How much of a procedure the operator has seen.
#[derive(Default)]
struct Shown {
    steps: usize,
    warnings: usize,
}

impl Shown {
    /// Shows what is new: warnings, which with `--json` stand in the procedure, and steps.
    fn go_on(&mut self, context: &Context, procedure: &Procedure) -> Result<(), CliError> {
        for step in procedure.done.iter().skip(self.steps) {
            if context.json {
                output::json_line(&json!({ "step": step }))?;
            } else {
                output::note(&line(step));
            }
        }
        for warning in procedure.warnings.iter().skip(self.warnings).filter(|_| !context.json) {
            output::note(&super::warning(warning));
        }
        *self = Self { steps: procedure.done.len(), warnings: procedure.warnings.len() };
        Ok(())
    }
}

fn line(step: &StepDone) -> String {
    let work = if step.traffic.commands == 0 {
        String::new()
    } else {
        format!(" ({} APDUs, {} ms)", step.traffic.commands, step.milliseconds)
    };
    format!("  ✓ {:<12} {}{work}", step.paragraph, step.outcome)
}

fn finish(context: &Context, procedure: &Procedure) -> Result<(), CliError> {
    if context.json {
        return output::json_line(&json!({ "procedure": procedure }));
    }
    output::text(&match procedure.state {
        ProcedureState::Done => "The procedure is done.".into(),
        ProcedureState::Cancelled => "The procedure has ended early.".into(),
        ProcedureState::Unsettled => {
            "The card was taken out in the middle. Put it back: the daemon settles what was begun.".into()
        }
        ProcedureState::Open => format!("The procedure stays open; go on with procedure {}.", procedure.id),
    })
}
