//! The signature area on the chip (`cns-card` §8): made, filled, locked, renewed, emptied, and resumed from wherever a
//! run was interrupted.
//!
//! The order is [`create`], [`generate_key`], [`lock`], [`sign_request`], [`load_certificate`]; between them the caller
//! may lose the card, the power or the authority, ask [`inspect`] how things stand and go on. Until [`lock`] whoever
//! knows the CNS PIN could have put objects of their own into the area, so [`create`] trusts nothing that it finds,
//! [`generate_key`] always makes a fresh key, and the lock comes before the authority hears of that key: earlier than
//! in §8.3, whose steps 17 and 18 leave room for the certificate all the same.
//!
//! An area with a certificate is not touched by any of them. [`renewal`] makes the next key beside it, [`remove`] empties
//! it, [`replace`] makes it anew; who calls them was told to by an explicit word.

mod certificate;
mod create;
mod key;
mod lock;
mod remove;
pub mod renewal;
mod state;
mod weak_key;

use cns_apdu::command::PutData;
use cns_apdu::generation::KeyPlace;
use cns_apdu::signature_area::{KeySize, Slot};
use cns_apdu::{CardCommand, Status, StatusWord};
use cns_protocol::rpc::Progress;

pub use self::certificate::load_certificate;
pub use self::create::{create, replace};
pub use self::key::{generate_key, sign_request};
pub use self::lock::lock;
pub use self::remove::remove;
pub use self::state::{AreaState, Stage, inspect};
pub use self::weak_key::judge as judge_key;
use super::{CardError, CardSession};

/// The manual's paragraph that asks for the area.
const PARAGRAPH: &str = "§9.1.3";
/// What is said of a full card.
const FULL: &str = "the card has not enough memory left";
/// The size of a new key. The older chips' 1,024 bits are refused by their generation.
const KEY_SIZE: KeySize = KeySize::Rsa2048;

/// Where the area is on this generation of cards, in one of its slots. A signature key that a card brings in an object
/// store is no area: it has no codes of its own, and the daemon did not make it.
fn place(session: &CardSession<'_>, slot: Slot) -> Result<&'static KeyPlace, CardError> {
    let generation = session.contents().generation;
    if let Some(reason) = generation.no_signature_area {
        return Err(CardError::AreaForbidden(reason.sentence()));
    }
    generation.signature_in(slot).ok_or(CardError::NoSuchObject("signature area"))
}

/// The slot in use: that of the certificate, the first where there is none.
fn current(session: &CardSession<'_>) -> Slot {
    session.contents().signature_slot
}

/// Runs a command that changes the area; a refusal for lack of rights or memory gets its own words.
fn change<C: CardCommand>(session: &mut CardSession<'_>, command: &C) -> Result<C::Answer, CardError> {
    session.run(command).map_err(|error| match error.status().map(StatusWord::meaning) {
        Some(Status::SecurityNotSatisfied) => {
            CardError::AreaForbidden("the holder's PIN does not allow the change on this card")
        }
        Some(Status::NoMemory) => CardError::AreaForbidden(FULL),
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
        (self.progress)(report(step, message.to_owned(), self.done, self.total));
        self.done = self.done.saturating_add(1).min(self.total);
    }
}

fn report(step: &str, message: String, done: u32, total: u32) -> Progress {
    Progress {
        request: None,
        step: step.to_owned(),
        paragraph: Some(PARAGRAPH.to_owned()),
        message,
        done,
        total: Some(total),
    }
}
