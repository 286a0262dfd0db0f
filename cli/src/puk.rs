//! `cnsctl puk …`: the holder's own way to the PUK (§6.3).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use cns_protocol::pin::{PinName, Verify};
use cns_protocol::puk::{Deliver, MAX_MESSAGE, Open};

use crate::context::Context;
use crate::error::CliError;
use crate::prompt::{self, Source};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Get the card's PUK as a file that only the card and its PIN open
    Get {
        /// Where the file is written
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
        /// Read the PIN from standard input instead of the terminal
        #[arg(long)]
        pin_stdin: bool,
    },
    /// Have the card open such a file, and print the PUK
    Open {
        /// The file
        file: PathBuf,
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
        /// Read the PIN from standard input instead of the terminal
        #[arg(long)]
        pin_stdin: bool,
    },
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Get { output, reader, pin_stdin } => {
            let (reader, insertion) = context.place(reader)?;
            let pin = Some(prompt::secret(Source::from_flag(pin_stdin), "the card's PIN")?);
            let which = PinName::Cns;
            let login = Verify { reader: reader.clone(), insertion, which, pin, confirm_last_try: false };
            context.call(&login)?;
            let delivered = context.call(&Deliver { reader, insertion })?;
            fs::write(&output, &delivered.message)
                .map_err(|source| CliError::Write { path: output.clone(), source })?;
            context.show(&delivered, |delivered| {
                format!(
                    "The PUK of card {} is in {}: keep it apart from the card.",
                    delivered.card,
                    output.display()
                )
            })
        }
        Verb::Open { file, reader, pin_stdin } => {
            let message = read(&file)?;
            let (reader, insertion) = context.place(reader)?;
            let pin = Some(prompt::secret(Source::from_flag(pin_stdin), "the card's PIN")?);
            let request = Open { reader, insertion, message, pin, confirm_last_try: false };
            let puk = context.call(&request)?.puk.into_secret();
            // Past the standard library's buffer, which would keep a copy.
            write_all(puk.expose())?;
            write_all(b"\n")
        }
    }
}

fn write_all(mut bytes: &[u8]) -> Result<(), CliError> {
    while !bytes.is_empty() {
        let written = rustix::io::write(rustix::stdio::stdout(), bytes).map_err(io::Error::from)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let limit = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX);
    if fs::metadata(path).map_err(failed)?.len() > limit {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}
