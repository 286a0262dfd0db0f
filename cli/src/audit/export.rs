//! The audit log for a SIEM: JSON Lines as the log has them, or ArcSight's Common Event Format (CEF, version 0).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use cns_protocol::audit::{Entry, List, Phase};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// Entries that are asked for at a time.
const PAGE: u16 = 500;

/// How an entry is written, one a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON, byte for byte as in the log
    Jsonl,
    /// Common Event Format
    Cef,
}

/// What to export, and where to.
#[derive(clap::Args)]
pub(crate) struct Export {
    /// How entries are written
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// The first entry's number
    #[arg(long, default_value_t = 1, conflicts_with = "state")]
    from: u64,
    /// Remembers in this file how far the export came, and goes on there the next time
    #[arg(long)]
    state: Option<PathBuf>,
    /// Adds to this file instead of writing to standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Exports every entry up to the present end of the log.
pub(crate) fn run(context: &mut Context, export: &Export) -> Result<(), CliError> {
    let mut from = match &export.state {
        Some(path) => reached(path)?.unwrap_or(export.from),
        None => export.from,
    };
    let mut sink = Sink::open(export.output.as_deref())?;
    loop {
        let entries = context.call(&List { from, limit: PAGE })?;
        let Some(last) = entries.last() else { break };
        from = last.number.saturating_add(1);
        for entry in &entries {
            sink.write(&match export.format {
                Format::Jsonl => serde_json::to_string(entry)?,
                Format::Cef => cef(entry),
            })?;
        }
        sink.flush()?;
        // After what it counts is written: a line may come twice after a failure, and none is left out.
        if let Some(path) = &export.state {
            remember(path, from)?;
        }
    }
    Ok(())
}

/// Where lines go.
enum Sink {
    Standard,
    File(PathBuf, BufWriter<File>),
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let failed = |source| CliError::Write { path: path.to_owned(), source };
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        Ok(Self::File(path.to_owned(), BufWriter::new(file)))
    }

    fn write(&mut self, line: &str) -> Result<(), CliError> {
        match self {
            Self::Standard => output::text(line),
            Self::File(path, file) => {
                writeln!(file, "{line}").map_err(|source| CliError::Write { path: path.clone(), source })
            }
        }
    }

    fn flush(&mut self) -> Result<(), CliError> {
        match self {
            Self::Standard => Ok(()),
            Self::File(path, file) => file
                .flush()
                .and_then(|()| file.get_ref().sync_data())
                .map_err(|source| CliError::Write { path: path.clone(), source }),
        }
    }
}

/// The number that the last export stopped before.
fn reached(path: &Path) -> Result<Option<u64>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(error) => Err(failed(io::Error::new(io::ErrorKind::InvalidData, error))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn remember(path: &Path, next: u64) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    let mut draft = path.to_owned().into_os_string();
    draft.push(".new");
    fs::write(&draft, format!("{next}\n")).and_then(|()| fs::rename(&draft, path)).map_err(failed)
}

/// An entry as a CEF event: header fields, then `key=value` pairs of the format's own dictionary where it has one.
fn cef(entry: &Entry) -> String {
    let severity = match entry.phase {
        Phase::Fact => 3,
        Phase::Intention | Phase::Outcome => 5,
    };
    let phase = match entry.phase {
        Phase::Intention => "intention",
        Phase::Outcome => "outcome",
        Phase::Fact => "fact",
    };
    let mut fields = vec![
        ("externalId", entry.number.to_string()),
        ("rt", milliseconds(&entry.at).unwrap_or_else(|| entry.at.clone())),
        ("cat", phase.to_owned()),
        ("msg", entry.text.clone()),
        ("cs1Label", "link".to_owned()),
        ("cs1", entry.hash.clone()),
    ];
    let mut labelled = |key: &'static str, label_key: &'static str, label: &str, value: &Option<String>| {
        if let Some(value) = value {
            fields.push((label_key, label.to_owned()));
            fields.push((key, value.clone()));
        }
    };
    labelled("cs2", "cs2Label", "paragraph", &entry.paragraph);
    labelled("cs3", "cs3Label", "card", &entry.card);
    labelled("cs4", "cs4Label", "procedure", &entry.procedure);
    fields.extend(entry.user.map(|user| ("suid", user.to_string())));
    fields.extend(entry.operator.clone().map(|operator| ("suser", operator)));
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{key}={}", in_field(value))).collect();
    let (version, act) = (env!("CARGO_PKG_VERSION"), in_header(&entry.act));
    format!("CEF:0|Open CNS middleware|cnsd|{version}|{act}|{act} {phase}|{severity}|{}", fields.join(" "))
}

/// Milliseconds since 1970, as the format wants times.
fn milliseconds(at: &str) -> Option<String> {
    let at = time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339).ok()?;
    Some((at.unix_timestamp_nanos() / 1_000_000).to_string())
}

fn in_header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\r', '\n'], " ")
}

fn in_field(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\r', "\\r").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_as_cef() {
        let entry = Entry {
            number: 7,
            at: "2026-01-02T03:04:05.678Z".into(),
            user: Some(1000),
            operator: Some("op|1".into()),
            act: "pin-set|\n".into(),
            phase: Phase::Outcome,
            paragraph: Some("§9.3.2-7".into()),
            card: Some("6999000000001230".into()),
            procedure: None,
            text: "a=b\\c\nCEF:0|forged".into(),
            previous: "00".into(),
            hash: "ab".into(),
            signature: None,
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            cef(&entry),
            format!(
                "CEF:0|Open CNS middleware|cnsd|{version}|pin-set\\| |pin-set\\|  outcome|5|externalId=7 \
                 rt=1767323045678 cat=outcome msg=a\\=b\\\\c\\nCEF:0|forged cs1Label=link cs1=ab \
                 cs2Label=paragraph cs2=§9.3.2-7 cs3Label=card cs3=6999000000001230 suid=1000 suser=op|1"
            )
        );
    }
}
