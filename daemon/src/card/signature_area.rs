//! The signature area on the chip (`cns-card` §8): made, filled, locked, and resumed from wherever a run was
//! interrupted.
//!
//! The order is [`create`], [`generate_key`], [`lock`], [`sign_request`], [`load_certificate`]; between them the caller
//! may lose the card, the power or the authority, ask [`inspect`] how things stand and go on. Until [`lock`] whoever
//! knows the CNS PIN could have put objects of their own into the area, so [`create`] trusts nothing that it finds,
//! [`generate_key`] always makes a fresh key, and the lock comes before the authority hears of that key: earlier than
//! in §8.3, whose steps 17 and 18 leave room for the certificate all the same.

mod certificate;
mod create;
mod key;
mod lock;
mod state;
mod weak_key;

use cns_apdu::command::PutData;
use cns_apdu::generation::KeyPlace;
use cns_apdu::signature_area::KeySize;
use cns_apdu::{CardCommand, Status, StatusWord};
use cns_protocol::rpc::Progress;

pub use self::certificate::load_certificate;
pub use self::create::create;
pub use self::key::{generate_key, sign_request};
pub use self::lock::lock;
pub use self::state::{AreaState, Stage, inspect};
pub use self::weak_key::judge as judge_key;
use super::{CardError, CardSession};

/// The manual's paragraph that asks for the area.
const PARAGRAPH: &str = "§9.1.3";

/// Where the area is on this generation of cards. A signature key that a card brings in an object store is no area: it
/// has no codes of its own, and the daemon did not make it.
fn place(session: &CardSession<'_>) -> Result<&'static KeyPlace, CardError> {
    let forbidden = CardError::AreaForbidden("no signature area can be made on this generation of cards");
    let generation = session.contents().generation;
    generation.signature.as_ref().filter(|_| generation.makes_signature_area).ok_or(forbidden)
}

/// The size of its key.
fn key_size(place: &KeyPlace) -> Result<KeySize, CardError> {
    match place.modulus_bits {
        1024 => Ok(KeySize::Rsa1024),
        2048 => Ok(KeySize::Rsa2048),
        _ => Err(CardError::AreaForbidden("the size of this card's keys is unknown")),
    }
}

/// Runs a command that changes the area; a refusal for lack of rights or memory gets its own words.
fn change<C: CardCommand>(session: &mut CardSession<'_>, command: &C) -> Result<C::Answer, CardError> {
    session.run(command).map_err(|error| match error.status().map(StatusWord::meaning) {
        Some(Status::SecurityNotSatisfied) => {
            CardError::AreaForbidden("the holder's PIN does not allow the change on this card")
        }
        Some(Status::NoMemory) => CardError::AreaForbidden("the card has not enough memory left"),
        _ => error,
    })
}

/// PUT DATA, a secret inside.
fn put(session: &mut CardSession<'_>, command: &PutData) -> Result<(), CardError> {
    session.open();
    change(session, command)
}

/// Tells how far a function has come.
struct Steps<'a> {
    progress: &'a dyn Fn(Progress),
    done: u32,
    total: u32,
}

impl<'a> Steps<'a> {
    fn new(progress: &'a dyn Fn(Progress), total: u32) -> Self {
        Self { progress, done: 0, total }
    }

    /// Says what is done next.
    fn next(&mut self, step: &str, message: &str) {
        (self.progress)(Progress {
            request: None,
            step: step.to_owned(),
            paragraph: Some(PARAGRAPH.to_owned()),
            message: message.to_owned(),
            done: self.done,
            total: Some(self.total),
        });
        self.done = self.done.saturating_add(1).min(self.total);
    }
}
