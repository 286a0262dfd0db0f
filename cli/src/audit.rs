//! `cnsctl audit …`

mod export;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use cns_protocol::audit::{ChainError, ChainVerifier, Entry, List, Phase, Rotate, Rotated, Verified, Verify};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// The longest line that is read as an entry, in bytes; the daemon writes a few hundred.
const MAX_LINE: u64 = 64 * 1024;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Show the entries
    Show {
        /// The first entry's number
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at most
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Check the chain: by the daemon, or of copied files without it
    Verify {
        /// A copy of the log, checked here, without the daemon; of a log in several files all of them, in their order
        #[arg(long)]
        file: Vec<PathBuf>,
        /// With --file: the daemon's audit key (audit.pub), to check the checkpoints' signatures too
        #[arg(long, requires = "file")]
        public_key: Option<PathBuf>,
    },
    /// Write the entries for a SIEM, as JSON Lines or CEF
    Export(export::Export),
    /// Close the log's file and go on in a new one (role admin)
    Rotate,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Show { from, limit } => {
            let entries = context.call(&List { from, limit })?;
            context.show(&entries, |entries| entries.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Verb::Verify { file, public_key } => {
            let verified = if file.is_empty() {
                context.call(&Verify {})?
            } else {
                verify_files(&file, public_key.as_deref())?
            };
            context.show(&verified, text)
        }
        Verb::Export(export) => export::run(context, &export),
        Verb::Rotate => {
            let rotated = context.call(&Rotate {})?;
            context.show(&rotated, closed)
        }
    }
}

fn verify_files(paths: &[PathBuf], public_key: Option<&Path>) -> Result<Verified, CliError> {
    let key = public_key.map(read_key).transpose()?;
    let mut chain = ChainVerifier::default();
    let mut checkpoints = 0;
    for path in paths {
        verify_file(path, key.as_ref(), &mut chain, &mut checkpoints)?;
    }
    Ok(Verified {
        entries: chain.entries(),
        first: chain.first(),
        checkpoints: if key.is_some() { checkpoints } else { 0 },
        head: chain.head().to_owned(),
        public_key: key.map(|key| hex::encode(key.as_bytes())).unwrap_or_default(),
    })
}

fn verify_file(
    path: &Path,
    key: Option<&VerifyingKey>,
    chain: &mut ChainVerifier,
    checkpoints: &mut u64,
) -> Result<(), CliError> {
    let read_error = |source| CliError::Read { path: path.to_owned(), source };
    let mut log = BufReader::new(File::open(path).map_err(read_error)?);
    for number in 1_u64.. {
        let mut text = String::new();
        if log.by_ref().take(MAX_LINE).read_line(&mut text).map_err(read_error)? == 0 {
            break;
        }
        let entry: Entry = serde_json::from_str(&text)
            .map_err(|error| ChainError::Unreadable { line: number, reason: error.to_string() })?;
        chain.push(&entry)?;
        if entry.is_checkpoint() {
            if let Some(key) = key {
                check_signature(key, &entry)?;
            }
            *checkpoints += 1;
        }
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<VerifyingKey, CliError> {
    let read_error = |source| CliError::Read { path: path.to_owned(), source };
    let invalid =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "not an Ed25519 key in hexadecimal");
    let text = std::fs::read_to_string(path).map_err(read_error)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| read_error(invalid()))?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| read_error(invalid()))
}

fn check_signature(key: &VerifyingKey, entry: &Entry) -> Result<(), ChainError> {
    let broken = || ChainError::Signature(entry.number);
    let mut bytes = [0; 64];
    hex::decode_to_slice(entry.signature.as_deref().ok_or_else(broken)?, &mut bytes).map_err(|_| broken())?;
    key.verify_strict(entry.hash.as_bytes(), &Signature::from_bytes(&bytes)).map_err(|_| broken())
}

fn text(verified: &Verified) -> String {
    let mut rows =
        vec![("Chain", format!("whole: {} entries", verified.entries)), ("Last link", verified.head.clone())];
    if verified.first > 1 {
        let sentence = format!("entry {}: the files before it were not checked", verified.first);
        rows.insert(1, ("Begins with", sentence));
    }
    if !verified.public_key.is_empty() {
        rows.insert(1, ("Signed checkpoints", verified.checkpoints.to_string()));
        rows.push(("Audit key", verified.public_key.clone()));
    }
    output::fields(&rows)
}

fn closed(rotated: &Rotated) -> String {
    output::fields(&[
        ("Closed", rotated.file.clone()),
        ("Entries", format!("{} to {}", rotated.first, rotated.last)),
        ("Last link", rotated.head.clone()),
    ])
}

fn line(entry: &Entry) -> String {
    let phase = match entry.phase {
        Phase::Intention => "→",
        Phase::Outcome => "=",
        Phase::Fact => "·",
    };
    let who = match (&entry.operator, entry.user) {
        (Some(operator), _) => operator.clone(),
        (None, Some(user)) => format!("uid {user}"),
        (None, None) => "cnsd".into(),
    };
    let paragraph = entry.paragraph.as_ref().map(|p| format!(" [{p}]")).unwrap_or_default();
    let card = entry.card.as_ref().map(|c| format!(" card {c}")).unwrap_or_default();
    format!("{:>5} {} {who}: {phase} {}{paragraph}{card}: {}", entry.number, entry.at, entry.act, entry.text)
}
