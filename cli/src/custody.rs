//! `cnsctl custody …`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use cns_protocol::custody::{Assign, Import, ImportCertificate, Stock, StockReport};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print the certificate to which import files must be encrypted (PEM)
    ImportCertificate,
    /// Take a sealed file of PUKs or of blind envelopes into custody
    Import {
        /// RFC 5652 EnvelopedData, DER, to the import certificate
        file: PathBuf,
    },
    /// Assign envelopes to an operator
    Assign {
        /// The operator's identifier
        #[arg(long)]
        operator: String,
        /// The codes outside the envelopes
        #[arg(required = true)]
        codes: Vec<String>,
    },
    /// Count cards and envelopes by state
    Stock,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::ImportCertificate => {
            let certificate = context.call(&ImportCertificate {})?;
            context.show(&certificate, |certificate| certificate.pem.clone())
        }
        Verb::Import { file } => {
            let imported = context.call(&Import { file: read(&file)? })?;
            context.show(&imported, |n| format!("Taken in: {} cards, {} envelopes.", n.cards, n.envelopes))
        }
        Verb::Assign { operator, codes } => {
            let count = codes.len();
            let done = context.call(&Assign { operator: operator.clone(), codes })?;
            context.show(&done, |_| format!("{count} envelopes are assigned to {operator}."))
        }
        Verb::Stock => {
            let report = context.call(&Stock {})?;
            context.show(&report, stock_text)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

fn stock_text(report: &StockReport) -> String {
    output::fields(&[
        ("Cards", report.cards.to_string()),
        ("Envelopes available", report.available.to_string()),
        ("Envelopes assigned", report.assigned.to_string()),
        ("Envelopes reserved", report.reserved.to_string()),
        ("Envelopes used", report.used.to_string()),
        ("Envelopes void", report.void.to_string()),
    ])
}
