//! `cnsctl card …`

use clap::Subcommand;
use cns_protocol::card::{Card, Certificate, KeyUse, List, Show};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the cards in all readers
    List,
    /// Show a card: holder, validity, certificates
    Show {
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
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
            let card = context.call(&Show { reader })?;
            context.show(&card, show_text)
        }
    }
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
    text
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
    ])
}

pub(crate) fn use_name(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Authentication => "authentication",
        KeyUse::Signature => "signature",
    }
}
