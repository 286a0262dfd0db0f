//! `reader.*`: the readers and what is in them.

use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::rpc::Traffic;
use crate::{Method, Role};

/// How a reader is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReaderKind {
    /// A PC/SC reader.
    Pcsc,
    /// The daemon's own vpcd listener: whatever is in it is a virtual card.
    Vpcd,
}

/// The face of a card that a reader reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CardFace {
    /// The contacts.
    Contacts,
    /// The antenna (ISO/IEC 14443): a dual reader falls back to it when the card is not pushed in.
    Contactless,
}

/// What is in a reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReaderState {
    /// Nothing.
    Empty,
    /// A card whose public contents are being read.
    Reading,
    /// A CNS.
    Card(Box<Card>),
    /// A card that is no CNS, or that could not be read: in words.
    Unusable(String),
}

/// A reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Reader {
    /// The reader's name: PC/SC's own, or `vpcd:…` as configured.
    pub name: String,
    /// How it is reached.
    pub kind: ReaderKind,
    /// Rises by one at each insertion and removal: a client can tell a card that was swapped.
    pub insertion: u64,
    /// What is in it.
    pub state: ReaderState,
    /// Which face of the card in it is reached, as the answer to reset tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face: Option<CardFace>,
    /// Whether a PIN can be typed on the reader itself. Known once a card was in it; false when the reader is not believed.
    #[serde(default)]
    pub pin_pad: bool,
    /// APDUs and bytes exchanged through this reader since the daemon started.
    pub traffic: Traffic,
    /// How often a card's public contents were read since the daemon started: once per insertion.
    pub contents_reads: u64,
}

/// `reader.list`: all readers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct List {}

/// The readers, and the counter that `reader.wait` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Readers {
    /// Which daemon tells this: 32 hexadecimal digits, drawn at each start. The counters here, and logins, are that
    /// daemon's; a client that sees another instance starts over.
    pub instance: String,
    /// Rises whenever a reader or a card comes, goes or changes.
    pub change: u64,
    /// The readers, in a stable order.
    pub readers: Vec<Reader>,
}

impl Method for List {
    const NAME: &'static str = "reader.list";
    const SUMMARY: &'static str =
        "Lists the readers and what is in them, from what the daemon already knows.";
    const ROLE: Role = Role::User;
    type Answer = Readers;
}

/// `reader.wait`: answers when something differs from `change`, or when the time is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// The counter of the list that the client has.
    pub change: u64,
    /// How long to wait at most, in milliseconds; at most 60,000.
    pub timeout_ms: u32,
}

impl Method for Wait {
    const NAME: &'static str = "reader.wait";
    const SUMMARY: &'static str = "Waits for a reader or card to come, go or change.";
    const ROLE: Role = Role::User;
    type Answer = Readers;
}
