//! `puk.*`: the holder's own way to the PUK (§4.1, §6.3): a message that only the card and its PIN open.

use serde::{Deserialize, Serialize};

use crate::encoding::base64_bytes;
use crate::secret_text::{self, SecretText};
use crate::{Method, Role, SecretBytes};

/// The most bytes of a message.
pub const MAX_MESSAGE: usize = 8 * 1024;

/// `puk.deliver`: the PUK of the card that this connection is logged in to, encrypted to the card's own certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Deliver {
    /// The reader that holds the card.
    pub reader: String,
    /// The insertion that is meant, where the client has seen it.
    #[serde(default)]
    pub insertion: Option<u64>,
}

/// A PUK that only its card opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct PukMessage {
    /// The card's serial number.
    pub card: String,
    /// RFC 5652 EnvelopedData to the card's authentication certificate, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub message: Vec<u8>,
}

impl Method for Deliver {
    const NAME: &'static str = "puk.deliver";
    const SUMMARY: &'static str =
        "Gives the PUK of the card that is logged in, encrypted so that only this card and its PIN open it.";
    const ROLE: Role = Role::User;
    type Answer = PukMessage;
}

/// `puk.open`: has the card in a reader open what `puk.deliver` gave.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The reader that holds the card.
    pub reader: String,
    /// The insertion that is meant, where the client has seen it.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// The message; at most 8 KiB.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub message: Vec<u8>,
    /// The card's PIN; without it the connection's login is used.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub pin: Option<SecretText>,
    /// Go on although one try is left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

/// What was in the message.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct OpenedPuk {
    /// The PUK.
    pub puk: SecretBytes,
}

impl Method for Open {
    const NAME: &'static str = "puk.open";
    const SUMMARY: &'static str =
        "Has the card open what `puk.deliver` gave, with its PIN or the connection's login.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    const ANSWERS_SECRET: bool = true;
    type Answer = OpenedPuk;
}
