//! Writing answers and errors.

use std::io::{self, Write};

use cns_protocol::RpcError;
use cns_protocol::client::ClientError;
use serde::Serialize;
use serde_json::json;

use crate::error::CliError;

/// Writes a line or more of text to standard output.
pub(crate) fn text(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}

/// Writes an answer as indented JSON to standard output.
pub(crate) fn json<T: Serialize>(answer: &T) -> Result<(), CliError> {
    text(&serde_json::to_string_pretty(answer)?)
}

/// Writes an event as one line of JSON to standard output.
pub(crate) fn json_line<T: Serialize>(event: &T) -> Result<(), CliError> {
    text(&serde_json::to_string(event)?)
}

/// Writes a line to standard error. A closed standard error is no reason to stop work on a card.
pub(crate) fn note(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Writes an error with what to do next.
pub(crate) fn error(error: &CliError, as_json: bool) {
    let refusal =
        if let CliError::Client(ClientError::Refused(refusal)) = error { Some(refusal) } else { None };
    if as_json {
        let value = json!({ "error": error.to_string(), "hint": error.hint(), "refusal": refusal });
        return note(&value.to_string());
    }
    // The hint stands on a line of its own.
    let sentence =
        refusal.map_or_else(|| error.to_string(), |r| RpcError { hint: None, ..r.clone() }.to_string());
    note(&format!("cnsctl: {sentence}"));
    if let Some(hint) = error.hint() {
        note(&format!("        {hint}."));
    }
}

/// Lines of `name: value`, with the values in one column. Empty values are left out.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let rows: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |text, (name, value)| {
        let padding = " ".repeat(width.saturating_sub(name.chars().count()));
        text + &format!("{name}:{padding}  {value}\n")
    })
}
