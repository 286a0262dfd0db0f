//! `cnsctl reader …`

use clap::Subcommand;
use cns_protocol::reader::{CardFace, List, Reader, ReaderKind, ReaderState, Readers};

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the readers and what is in them
    List,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::List => {
            let readers = context.call(&List {})?;
            context.show(&readers, text)
        }
    }
}

fn text(readers: &Readers) -> String {
    if readers.readers.is_empty() {
        return "No reader. Connect one, and see that pcscd runs.".into();
    }
    readers.readers.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(reader: &Reader) -> String {
    let state = match &reader.state {
        ReaderState::Empty => "empty".to_owned(),
        ReaderState::Reading => "reading the card…".to_owned(),
        ReaderState::Card(card) => {
            format!("{} {}, card {}", card.holder.name, card.holder.surname, card.serial)
        }
        ReaderState::Unusable(why) => why.clone(),
    };
    let kind = match reader.kind {
        ReaderKind::Pcsc => "",
        ReaderKind::Vpcd => " (virtual)",
    };
    let face = match reader.face {
        Some(CardFace::Contactless) => " (contactless)",
        Some(CardFace::Contacts) | None => "",
    };
    let pad = if reader.pin_pad { " (PIN pad)" } else { "" };
    let traffic = reader.traffic;
    format!(
        "{}{kind}{face}{pad}: {state} — {} APDUs, {} bytes out, {} bytes in",
        reader.name, traffic.commands, traffic.bytes_sent, traffic.bytes_received
    )
}
