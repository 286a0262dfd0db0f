//! `cnsctl card …`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use cns_protocol::card::{
    Card, Certificate, CertificateStatus, Finding, KeyUse, List, Report, Show, StatusSource, Trace,
};
use cns_protocol::certificate::Standing;

use crate::context::Context;
use crate::error::CliError;
use crate::{output, prompt};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the cards in all readers
    List,
    /// Show a card: holder, validity, certificates and how they stand with their authority
    Show {
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
    },
    /// Write the report on a card that the daemon does not know: no PIN, no personal data. The card is reset
    Report {
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
        /// The file for the report; it is shown first, and written if you agree
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Save without asking
        #[arg(long, requires = "save")]
        yes: bool,
        /// Also ask the card how many PIN tries are left. By the standard this costs no try; it is not proven for every chip
        #[arg(long)]
        ask_tries: bool,
    },
    /// Record what the daemon exchanges with a card, secrets and personal data removed; Ctrl-C ends it
    Trace {
        /// The file for the trace
        file: PathBuf,
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
        /// How long, in seconds
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::List => {
            let cards = context.call(&List {})?;
            context.show(&cards, |cards| list_text(cards))
        }
        Verb::Show { reader } => {
            let reader = context.reader(reader)?;
            let card = context.call(&Show { reader, status: true })?;
            context.show(&card, show_text)
        }
        Verb::Report { reader, save, yes, ask_tries } => {
            let reader = context.reader(reader)?;
            let report = context.call(&Report { reader, ask_tries })?;
            context.show(&report, |report| report.text.clone())?;
            match save {
                Some(file) if yes || agreed(&file)? => write(&file, &report.text),
                _ => Ok(()),
            }
        }
        Verb::Trace { file, reader, seconds } => trace(context, &file, reader, seconds),
    }
}

fn agreed(file: &Path) -> Result<bool, CliError> {
    let question = format!("Save this report, as it is shown, to {}?", file.display());
    match prompt::yes_or_no(&question)? {
        Some(answer) => Ok(answer),
        None => Err(CliError::NotAgreed),
    }
}

/// Writes a file whole: who reads it meanwhile sees the one before.
fn write(file: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: file.to_owned(), source };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, file)).map_err(failed)
}

/// Keeps the file up to date, so that an end by Ctrl-C loses no more than the last second.
fn trace(context: &mut Context, file: &Path, reader: Option<String>, seconds: u32) -> Result<(), CliError> {
    let reader = context.reader(reader)?;
    let mut recording = None;
    let mut last = String::new();
    for second in 1..=seconds {
        let end = second == seconds;
        let request = Trace { reader: reader.clone(), recording, wait_ms: 1000, end };
        let recorded = context.call(&request)?;
        if recording.is_none() {
            output::note(&format!("Recording {reader} for {seconds} s; Ctrl-C ends it."));
        }
        recording = Some(recorded.recording);
        if recorded.text != last {
            write(file, &recorded.text)?;
            last = recorded.text;
        }
        if recorded.is_full {
            output::note("The recording is full.");
            break;
        }
    }
    let exchanges = last.lines().filter(|line| line.starts_with('>')).count();
    output::note(&format!("{exchanges} exchanges in {}", file.display()));
    Ok(())
}

fn list_text(cards: &[Card]) -> String {
    if cards.is_empty() {
        return "No card. `cnsctl reader list` shows the readers.".into();
    }
    let line = |card: &Card| {
        let uses: Vec<_> = card.certificates.iter().map(|c| use_name(c.key_use)).collect();
        let mark = if card.is_virtual { " (virtual)" } else { "" };
        format!(
            "{}{mark}: {} {}, certificates: {} [{}]",
            card.serial,
            card.holder.name,
            card.holder.surname,
            if uses.is_empty() { "none".to_owned() } else { uses.join(", ") },
            card.reader
        )
    };
    cards.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn show_text(card: &Card) -> String {
    let holder = &card.holder;
    let mut text = output::fields(&[
        ("Reader", card.reader.clone()),
        ("Card", format!("{}{}", card.serial, if card.is_virtual { " (virtual)" } else { "" })),
        ("Generation", card.generation.clone()),
        ("Holder", format!("{} {}", holder.name, holder.surname)),
        ("Codice fiscale", holder.codice_fiscale.clone()),
        ("Born", holder.birth_date.clone()),
        ("Issued", card.issued.clone()),
        ("Expires", card.expires.clone()),
        (
            "Data agree",
            if card.data_agree { "yes" } else { "NO: files and certificate differ (§4.2.1)" }.into(),
        ),
        ("PIN tries left", card.pin_tries_left.map(|n| n.to_string()).unwrap_or_default()),
    ]);
    for certificate in &card.certificates {
        text += "\n";
        text += &certificate_text(certificate);
    }
    if !card.findings.is_empty() {
        text += "\n";
        text += &findings_text(&card.findings);
    }
    text
}

/// What lies where a certificate might be.
fn findings_text(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| format!("  {}: {}\n", finding.place, finding.detail));
    format!("Looked at as well\n{}", lines.collect::<String>())
}

fn certificate_text(certificate: &Certificate) -> String {
    output::fields(&[
        ("Certificate", use_name(certificate.key_use).to_owned()),
        ("  Subject", certificate.subject.clone()),
        ("  Issuer", certificate.issuer.clone()),
        ("  Serial number", certificate.serial_number.clone()),
        ("  Valid", format!("{} to {}", certificate.not_before, certificate.not_after)),
        ("  Key", format!("RSA, {} bits", certificate.key_bits)),
        ("  SHA-256", certificate.sha256.clone()),
        ("  Status", certificate.status.as_ref().map(status_text).unwrap_or_default()),
    ])
}

/// How a certificate stands, who says so, and of when that is.
fn status_text(status: &CertificateStatus) -> String {
    let mut text = match status.standing {
        Some(Standing::Good) => "good".to_owned(),
        Some(Standing::Suspended) => "SUSPENDED".to_owned(),
        Some(Standing::Revoked) => "REVOKED".to_owned(),
        None => "not known".to_owned(),
    };
    if let Some(since) = &status.since {
        text += &format!(" since {since}");
    }
    if let Some(reason) = &status.reason {
        text += &format!(" ({reason})");
    }
    let source = status.source.map(|source| match source {
        StatusSource::Ocsp => "OCSP",
        StatusSource::List => "the revocation list",
    });
    if let (Some(source), Some(as_of), Some(until)) = (source, &status.as_of, &status.valid_until) {
        text += &format!(", by {source} of {as_of}, which counts until {until}");
    }
    if let Some(why) = &status.why_unknown {
        text += &format!(": {why}");
    }
    text
}

pub(crate) fn use_name(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Authentication => "authentication",
        KeyUse::Signature => "signature",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_with_who_says_so_and_until_when() {
        let known = CertificateStatus {
            standing: Some(Standing::Suspended),
            since: Some("2026-03-01T10:00:00Z".into()),
            reason: Some("certificateHold".into()),
            source: Some(StatusSource::List),
            as_of: Some("2026-03-02T00:00:00Z".into()),
            valid_until: Some("2026-03-03T00:00:00Z".into()),
            why_unknown: None,
        };
        assert_eq!(
            status_text(&known),
            "SUSPENDED since 2026-03-01T10:00:00Z (certificateHold), by the revocation list of 2026-03-02T00:00:00Z, \
             which counts until 2026-03-03T00:00:00Z"
        );
        let unknown = CertificateStatus {
            standing: None,
            since: None,
            reason: None,
            source: None,
            as_of: None,
            valid_until: None,
            why_unknown: Some("no answer in time".into()),
        };
        assert_eq!(status_text(&unknown), "not known: no answer in time");
    }
}
