//! `cnsctl doctor`: the whole way from the reader to the browser, and what is wrong with it in plain words.
//!
//! `facts` looks, `judge` says what it means; only the first touches the computer.

mod facts;
mod judge;

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::module::place::{Place, PlaceOptions};
use facts::Facts;

#[derive(Args)]
pub(crate) struct Options {
    /// Also ask the card how many PIN tries are left. By the standard this costs no try; it is not proven for every chip
    #[arg(long)]
    ask_tries: bool,
    /// Also name the card's holder; without it what is told can be shown to who helps
    #[arg(long)]
    show_holder: bool,
    #[command(flatten)]
    place: PlaceOptions,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something works not as well as it could.
    Warning,
    /// Something does not work.
    Fault,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// Which finding this is; stable, for scripts.
    id: &'static str,
    level: Level,
    /// What was found.
    what: String,
    /// Why it matters; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    /// What to do about it; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl Finding {
    fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self { id, level: Level::Ok, what: what.into(), why: String::new(), remedy: String::new() }
    }

    fn new(
        level: Level,
        id: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { id, level, what: what.into(), why: why.into(), remedy: remedy.into() }
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Whether nothing is wrong that keeps the card from being used.
    healthy: bool,
    findings: Vec<Finding>,
}

/// Tells everything; an error when there is a fault.
pub(crate) fn run(context: &mut Context, options: Options) -> Result<(), CliError> {
    let place = Place::new(options.place);
    let facts = Facts::gather(&place, context.socket(), options.ask_tries);
    let findings = judge::judge(&facts, options.show_holder);
    let faults = findings.iter().filter(|finding| finding.level == Level::Fault).count();
    context.show(&Diagnosis { healthy: faults == 0, findings }, text)?;
    if faults == 0 { Ok(()) } else { Err(CliError::Faults(faults)) }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for finding in &diagnosis.findings {
        let mark = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "WARNING",
            Level::Fault => "FAULT",
        };
        text += &format!("{mark:<8} {}\n", finding.what);
        for (name, words) in [("Why", &finding.why), ("Do", &finding.remedy)] {
            if !words.is_empty() {
                text += &format!("         {:<4} {words}\n", format!("{name}:"));
            }
        }
    }
    let attention = diagnosis.findings.iter().filter(|finding| finding.level >= Level::Warning).count();
    text += &match (diagnosis.healthy, attention) {
        (true, 0) => "\nAll is well.\n".to_owned(),
        (true, n) => format!("\nThe card can be used; {n} things could be better.\n"),
        (false, n) => format!("\n{n} things want attention.\n"),
    };
    text
}
