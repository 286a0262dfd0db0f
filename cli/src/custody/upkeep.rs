//! `cnsctl custody rotate`, `keys`, `verify`, `backup`, `erase`.

use clap::ValueEnum;
use cns_protocol::custody::{Backup, Erase, KeyState, Keys, RotateKey, RotatedKey, Verify};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// A key that can be replaced.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Key {
    /// The key-encryption key, in the key file or the HSM; no record changes
    Wrapping,
    /// The data key; records are sealed anew little by little
    Data,
}

pub(super) fn rotate(context: &mut Context, key: Key) -> Result<(), CliError> {
    let key = match key {
        Key::Wrapping => RotatedKey::Wrapping,
        Key::Data => RotatedKey::Data,
    };
    let state = context.call(&RotateKey { key })?;
    context.show(&state, |state| match key {
        RotatedKey::Wrapping => format!("{}Back the new key up, apart from the database.", told(state)),
        RotatedKey::Data => format!("{}`cnsctl custody keys` tells how far it has come.", told(state)),
    })
}

pub(super) fn keys(context: &mut Context) -> Result<(), CliError> {
    let state = context.call(&Keys {})?;
    context.show(&state, told)
}

fn told(state: &KeyState) -> String {
    output::fields(&[
        ("Key-encryption key", state.wrapping_key.clone()),
        ("Data key", state.data_key.to_string()),
        ("Records under older data keys", state.older_records.to_string()),
    ])
}

pub(super) fn verify(context: &mut Context) -> Result<(), CliError> {
    let report = context.call(&Verify {})?;
    context.show(&report, |report| {
        let mut text = format!("{} records, {} damaged.", report.records, report.damaged);
        for name in &report.named {
            text += &format!("\n{name}");
        }
        text
    })?;
    if report.damaged == 0 { Ok(()) } else { Err(CliError::Damaged(report.damaged)) }
}

pub(super) fn backup(context: &mut Context) -> Result<(), CliError> {
    let made = context.call(&Backup {})?;
    context.show(&made, |made| {
        format!("{} ({} bytes). The key file is not in it: back it up apart.", made.path, made.bytes)
    })
}

pub(super) fn erase(context: &mut Context, codice_fiscale: String) -> Result<(), CliError> {
    let erased = context.call(&Erase { codice_fiscale })?;
    context.show(&erased, |erased| {
        format!(
            "Erased: {} cards, {} procedures; {} envelopes no longer tell whose they were.",
            erased.cards.len(),
            erased.procedures,
            erased.envelopes
        )
    })
}
