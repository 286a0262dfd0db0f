//! `cnsctl order …`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use cns_protocol::order::{Certificates, Execute, Executed, MAX_ORDER, OrderResult, Receipt};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print the certificate to which orders must be encrypted (PEM), or the one that signs receipts
    Certificate {
        /// The one that signs receipts
        #[arg(long)]
        receipt: bool,
    },
    /// Carry out a sealed order on the card in a reader
    Execute {
        /// The order: RFC 5652 SignedData around EnvelopedData, DER
        file: PathBuf,
        /// Where the daemon's receipt is written
        #[arg(long, value_name = "OUT")]
        receipt: PathBuf,
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
    },
    /// Get the receipt of an order that is over, once more
    Receipt {
        /// The order
        file: PathBuf,
        /// Where the daemon's receipt is written
        #[arg(long, value_name = "OUT")]
        receipt: PathBuf,
    },
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Certificate { receipt } => {
            let certificates = context.call(&Certificates {})?;
            context.show(
                &certificates,
                |both| {
                    if receipt { both.receipt.clone() } else { both.order.clone() }
                },
            )
        }
        Verb::Execute { file, receipt, reader } => {
            let order = read(&file)?;
            let reader = context.reader(reader)?;
            let executed = context.call(&Execute { reader, order })?;
            write(context, &executed, &receipt)
        }
        Verb::Receipt { file, receipt } => {
            let sha256 = hex::encode(Sha256::digest(read(&file)?));
            let executed = context.call(&Receipt { sha256 })?;
            write(context, &executed, &receipt)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let too_large = u64::try_from(MAX_ORDER).unwrap_or(u64::MAX);
    if fs::metadata(path).map_err(failed)?.len() > too_large {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}

fn write(context: &Context, executed: &Executed, path: &Path) -> Result<(), CliError> {
    fs::write(path, &executed.receipt).map_err(|source| CliError::Write { path: path.to_owned(), source })?;
    context.show(executed, |executed| {
        let result = match executed.result {
            OrderResult::Done => "done",
            OrderResult::PukRefused => "not done: the card refused the order's PUK",
            OrderResult::PukBlocked => "not done: the card's PUK is blocked",
            OrderResult::Unknown => "not known: the card's answer was lost",
        };
        output::fields(&[
            ("Order", format!("{} of {}", executed.number, executed.signer)),
            ("Card", executed.card.clone()),
            ("Result", result.to_owned()),
            ("Receipt", path.display().to_string()),
        ])
    })
}
