//! `cnsctl custody rotate`, `rotations`, `keys`, `verify`, `backup`, `erase`.

use clap::{Subcommand, ValueEnum};
use cns_protocol::custody::{
    Backup, DecideRotation, Erase, KeyState, Keys, RotateKey, RotatedKey, RotationRequest, RotationRequests,
    Verify,
};

use super::asker;
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
    let rotation = context.call(&RotateKey { key })?;
    context.show(&rotation, |rotation| {
        rotation.request.as_ref().map_or_else(
            || replaced(key, &rotation.keys),
            |id| {
                format!(
                    "No key was replaced yet.\n\
                     A second person must confirm: cnsctl custody rotations confirm {id}"
                )
            },
        )
    })
}

/// Requests to replace a key, where four eyes are demanded.
#[derive(Subcommand)]
pub(crate) enum Rotations {
    /// List what was asked for and waits for a second person
    List,
    /// Confirm, as a second person: the key is replaced
    Confirm {
        /// The request
        request: String,
    },
    /// Turn a request down: no key is replaced
    TurnDown {
        /// The request
        request: String,
    },
}

pub(super) fn rotations(context: &mut Context, verb: Rotations) -> Result<(), CliError> {
    match verb {
        Rotations::List => {
            let requests = context.call(&RotationRequests {})?;
            context.show(&requests, |requests| requests_text(requests))
        }
        Rotations::Confirm { request } => {
            // The answer does not tell of which key it was.
            let asked = context.call(&RotationRequests {})?;
            let key = asked.into_iter().find(|asked| asked.request == request).map(|asked| asked.key);
            let state = context.call(&DecideRotation { request, confirm: true })?;
            context.show(&state, |state| key.map_or_else(|| told(state), |key| replaced(key, state)))
        }
        Rotations::TurnDown { request } => {
            let state = context.call(&DecideRotation { request, confirm: false })?;
            context.show(&state, |state| format!("{}No key was replaced.", told(state)))
        }
    }
}

fn requests_text(requests: &[RotationRequest]) -> String {
    if requests.is_empty() {
        return "Nothing waits for a second person.".into();
    }
    let lines = requests.iter().map(|request| {
        let who = asker(request.user, request.operator.as_deref());
        let key = match request.key {
            RotatedKey::Wrapping => "key-encryption key",
            RotatedKey::Data => "data key",
        };
        format!("{}  {}  {who}: {key}", request.request, request.requested_at)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What was done, and what is to be done now.
fn replaced(key: RotatedKey, state: &KeyState) -> String {
    let next = match key {
        RotatedKey::Wrapping => "The key-encryption key is a new one: back it up, apart from the database.",
        RotatedKey::Data => "The data key is a new one: records are sealed anew little by little.",
    };
    format!("{}{next}", told(state))
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
