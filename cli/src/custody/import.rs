//! `cnsctl custody import`: a file of any size, in chunks.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::Path;

use cns_protocol::custody::{ImportBegin, ImportChunk, ImportFinish, Imported};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::error::CliError;

/// Sends the file, from where an earlier attempt ended, and has it taken in. `expected` is the SHA-256 that the sender
/// told on another way than the file came.
pub(super) fn run(context: &mut Context, path: &Path, expected: Option<&str>) -> Result<(), CliError> {
    let imported = import(context, path, expected)?;
    context.show(&imported, text)
}

fn text(imported: &Imported) -> String {
    let Imported { cards, envelopes, already } = imported;
    if *already {
        format!("This file is in custody already ({cards} cards, {envelopes} envelopes): nothing was done.")
    } else {
        format!("Taken in: {cards} cards, {envelopes} envelopes.")
    }
}

fn import(context: &mut Context, path: &Path, expected: Option<&str>) -> Result<Imported, CliError> {
    let unreadable = |source: io::Error| CliError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let (sha256, size) = digest(&mut file).map_err(unreadable)?;
    if expected.is_some_and(|expected| !expected.trim().eq_ignore_ascii_case(&sha256)) {
        return Err(CliError::OtherFile { found: sha256 });
    }
    let place = context.call(&ImportBegin { sha256: sha256.clone(), size })?;
    if let Some(done) = place.done {
        return Ok(done);
    }
    let bar = bar(size, !context.json);
    bar.set_message("sending");
    file.seek(SeekFrom::Start(place.received)).map_err(unreadable)?;
    let mut offset = place.received;
    while offset < size {
        bar.set_position(offset);
        let mut bytes = Vec::new();
        let length = (&mut file).take(place.chunk).read_to_end(&mut bytes).map_err(unreadable)?;
        if length == 0 {
            // It has become shorter since its digest was computed: the daemon will say that it is another file.
            break;
        }
        offset = context.call(&ImportChunk { sha256: sha256.clone(), offset, bytes })?.received;
    }
    bar.set_message("taking in");
    let imported = context.call_with_progress(&ImportFinish { sha256 }, |progress| {
        bar.set_position(u64::from(progress.done) << 10);
    });
    bar.finish_and_clear();
    imported
}

fn digest(file: &mut File) -> io::Result<(String, u64)> {
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok((hex::encode(hasher.finalize()), size));
        }
        hasher.update(buffer.get(..length).unwrap_or_default());
        size += length as u64;
    }
}

fn bar(size: u64, wanted: bool) -> ProgressBar {
    if !wanted || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("  {msg} {bar:30} {bytes}/{total_bytes} {eta:.dim}") {
        bar.set_style(style);
    }
    bar
}
