//! A CNS chip in software: file system, security objects, every command, retry counters, persistence, faults.
//!
//! [`VirtualCard`] takes command APDUs and answers them as the chip does; [`vpcd`] plugs one in to a reader.
//! [`fault`] makes it misbehave on demand, [`timing`] tells what a real card's time would be. Around it is what a bureau and a printer do: [`holder`] and
//! [`Personalisation`] make the contents, [`envelopes`] the blind envelopes, [`sealed`] the files in which PUKs
//! and envelopes travel.
//!
//! For development and tests: this is no protection for anybody's real key.
#![forbid(unsafe_code)]

mod access;
mod card;
mod conditions;
pub mod envelopes;
pub mod fault;
mod filesystem;
mod generation;
mod handler;
mod hexadecimal;
pub mod holder;
mod keys;
mod memory;
mod objects;
mod personalise;
pub mod replay;
mod request;
pub mod sample;
pub mod sealed;
mod secure_messaging;
mod session;
mod state;
mod summary;
pub mod timing;
pub mod vpcd;

pub use crate::card::VirtualCard;
pub use crate::generation::{Generation, Grade};
pub use crate::keys::KeyError;
pub use crate::memory::{Snapshot, Tear};
pub use crate::personalise::{CreateError, Personalisation, SecureMessagingKeys, SignatureArea};
pub use crate::request::RequestError;
pub use crate::state::{Behaviour, StateError};
pub use crate::summary::{SignatureAreaState, Summary};
