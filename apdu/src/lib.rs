//! The language of CNS chips: bytes to meaning, and meaning to bytes.
//!
//! Everything a CNS chip understands is here once, encoded and decoded, so that the host and the virtual chip
//! cannot drift apart: one file per command under [`command`], status words in [`StatusWord`], files in
//! [`file_map`] and [`fci`], security objects in [`object`], object stores in [`object_directory`], what differs
//! between chips in [`generation`]. There is no reader, no clock, no file and no log in this crate.
//!
//! Sources: ISO/IEC 7816-4, -8 and -9, and the CNS specification; the section numbers in the command files are
//! listed with the vectors in `docs/card-commands.md`.
//!
//! The bytes of a command may hold a PIN or a key, so a command is only ever written into a
//! [`Secret`](cns_secret::Secret), and nothing here prints one:
//!
//! ```compile_fail
//! # use cns_apdu::command::ReferenceData;
//! fn show(pin: &ReferenceData) -> String { format!("{pin:?}") }
//! ```
//! ```compile_fail
//! # use cns_apdu::command::Verify;
//! fn show(command: &Verify) -> String { format!("{command:?}") }
//! ```
#![forbid(unsafe_code)]

pub mod access;
pub mod atr;
mod bytes;
pub mod certificate_container;
pub mod chaining;
pub mod command;
mod command_apdu;
mod error;
pub mod fci;
pub mod file_map;
pub mod generation;
pub mod id_card;
pub mod object;
pub mod object_directory;
pub mod personal_data;
pub mod pin_pad;
pub mod public_key;
mod response_apdu;
pub mod secure_messaging;
pub mod signature_area;
mod status;
pub mod tlv;
pub mod trace;
pub mod transmit;
pub mod triple_des;

pub use crate::command::{CardCommand, Command};
pub use crate::command_apdu::{Body, CommandApdu, Form};
pub use crate::error::{ApduError, CommandError};
pub use crate::response_apdu::ResponseApdu;
pub use crate::status::{Status, StatusWord};
