//! Drives a procedure from step to step until it is over, by what `counter.next` asks.

use std::io::{self, IsTerminal};
use std::time::Duration;

use cns_protocol::Method;
use cns_protocol::counter::{
    Answer, AnswerStep, Case, Next, Procedure, ProcedureState, Question, Start, StepDone,
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

/// Begins or takes up a procedure on the card in `reader`, and answers its steps.
///
/// With `--json` each step that was done and each progress report is one line of JSON, and the last line is the
/// procedure.
pub(crate) fn procedure(
    context: &mut Context,
    case: Case,
    reader: Option<String>,
    until: Option<&str>,
    answers: &Answers,
) -> Result<(), CliError> {
    let reader = context.reader(reader)?;
    let mut procedure = context.call(&Start { reader, case })?;
    introduce(context, &procedure);
    let mut shown = 0;
    loop {
        shown = show_new_steps(context, &procedure, shown)?;
        let question = context.call(&Next { procedure: procedure.id.clone() })?;
        let Some(step) = question.step.clone() else { break };
        if until == Some(step.paragraph.as_str()) {
            break;
        }
        show_data(context, answers.language(), &question);
        let answer = Answer::Fields(answers.values(&question, &step)?);
        let secret = |name: &str, what: &'static str| {
            let wanted = question.fields.iter().any(|field| field.secret && field.name == name);
            wanted.then(|| prompt::secret(Source::from_flag(answers.pin_stdin), what)).transpose()
        };
        let request = AnswerStep {
            procedure: procedure.id.clone(),
            paragraph: step.paragraph.clone(),
            answer,
            pin: secret("pin", "the holder's PIN")?,
            signature_pin: secret("signature_pin", "the holder's signature PIN")?,
            // The request to the certifier is signed on the operator's own card (§7).
            operator_pin: secret("operator_pin", "the operator's PIN")?,
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
    for warning in &procedure.warnings {
        output::note(&format!("Note: {warning}"));
    }
}

fn show_new_steps(context: &Context, procedure: &Procedure, shown: usize) -> Result<usize, CliError> {
    for step in procedure.done.iter().skip(shown) {
        if context.json { output::json_line(&json!({ "step": step }))? } else { output::note(&line(step)) }
    }
    Ok(procedure.done.len())
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
