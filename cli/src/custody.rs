//! `cnsctl custody …`

mod envelopes;
mod import;
mod upkeep;

use std::path::PathBuf;

use clap::Subcommand;
use cns_protocol::custody::{Assign, HolderStock, ImportCertificate, Stock, StockReport};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print the certificate to which import files must be encrypted (PEM)
    ImportCertificate,
    /// Take a sealed file of PUKs or of blind envelopes into custody
    Import {
        /// RFC 5652 EnvelopedData, DER or BER, to the import certificate
        file: PathBuf,
        /// The SHA-256 that the sender told on another way than the file came: another file is refused
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
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
    /// Count cards, and envelopes by state, counter and operator
    Stock,
    /// Assign, return and void blind envelopes by the batch
    #[command(subcommand)]
    Envelopes(envelopes::Verb),
    /// Replace a key while everybody goes on working
    Rotate {
        /// Which key
        #[arg(value_enum)]
        key: upkeep::Key,
    },
    /// Requests to replace a key, where a second person must confirm
    #[command(subcommand)]
    Rotations(upkeep::Rotations),
    /// Tell which keys are in use, and how far a rotation has come
    Keys,
    /// Open every sealed record, and name those that were changed or moved
    Verify,
    /// Copy the database while it is in use (SQLite); back the key file up apart
    Backup,
    /// Erase what is kept of a holder; the audit log stays
    Erase {
        /// The holder's codice fiscale
        codice_fiscale: String,
    },
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::ImportCertificate => {
            let certificate = context.call(&ImportCertificate {})?;
            context.show(&certificate, |certificate| certificate.pem.clone())
        }
        Verb::Import { file, sha256 } => import::run(context, &file, sha256.as_deref()),
        Verb::Assign { operator, codes } => {
            let count = codes.len();
            let done = context.call(&Assign { operator: operator.clone(), codes })?;
            context.show(&done, |_| format!("{count} envelopes are assigned to {operator}."))
        }
        Verb::Stock => {
            let report = context.call(&Stock {})?;
            context.show(&report, stock_text)
        }
        Verb::Envelopes(verb) => envelopes::run(context, verb),
        Verb::Rotate { key } => upkeep::rotate(context, key),
        Verb::Rotations(verb) => upkeep::rotations(context, verb),
        Verb::Keys => upkeep::keys(context),
        Verb::Verify => upkeep::verify(context),
        Verb::Backup => upkeep::backup(context),
        Verb::Erase { codice_fiscale } => upkeep::erase(context, codice_fiscale),
    }
}

/// Who asked for what a second person must confirm.
fn asker(user: u32, operator: Option<&str>) -> String {
    operator.map_or_else(|| format!("user {user}"), |operator| format!("operator {operator}"))
}

fn stock_text(report: &StockReport) -> String {
    let hint = |low: bool, text: &str| if low { format!("  ({text})") } else { String::new() };
    let available = format!("{}{}", report.available, hint(report.low, "low: order envelopes"));
    let mut text = output::fields(&[
        ("Cards", report.cards.to_string()),
        ("Envelopes available", available),
        ("Envelopes assigned", report.assigned.to_string()),
        ("Envelopes reserved", report.reserved.to_string()),
        ("Envelopes used", report.used.to_string()),
        ("Envelopes void", report.void.to_string()),
    ]);
    for holder in &report.holders {
        let names: Vec<&str> =
            [&holder.counter, &holder.operator].into_iter().filter_map(Option::as_deref).collect();
        let HolderStock { assigned, reserved, used, void, .. } = holder;
        text += &format!(
            "{}: {assigned} assigned, {reserved} reserved, {used} used, {void} void{}\n",
            names.join(", "),
            hint(holder.low, "low: assign some"),
        );
    }
    text
}
