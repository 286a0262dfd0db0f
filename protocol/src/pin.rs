//! `pin.*`: the holder's PINs.

use serde::{Deserialize, Serialize};

use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// Which PIN of the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PinName {
    /// The CNS PIN.
    #[default]
    Cns,
    /// The PIN of the signature area.
    Signature,
}

/// Nothing to tell but success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Done {}

/// `pin.verify`: logs this connection in to the card. The login ends with `pin.logout`, with the connection, and
/// when the card is removed; it opens nothing to other connections.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The reader.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// Which PIN.
    #[serde(default)]
    pub which: PinName,
    /// The PIN: 5 to 8 digits. Left out, it is typed on the reader's PIN pad.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub pin: Option<SecretText>,
    /// Go on although one try is known to be left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

impl Method for Verify {
    const NAME: &'static str = "pin.verify";
    const SUMMARY: &'static str = "Logs this connection in to the card with the holder's PIN.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    type Answer = Done;
}

/// `pin.logout`: ends this connection's login.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Logout {
    /// The reader.
    pub reader: String,
}

impl Method for Logout {
    const NAME: &'static str = "pin.logout";
    const SUMMARY: &'static str = "Ends this connection's login.";
    const ROLE: Role = Role::User;
    type Answer = Done;
}

/// `pin.change`: the holder changes the PIN, knowing the old one.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The reader.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure that the card was not swapped meanwhile.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// Which PIN.
    #[serde(default)]
    pub which: PinName,
    /// The PIN as it is. Left out together with `new_pin`, both are typed on the reader's PIN pad.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub old_pin: Option<SecretText>,
    /// The PIN as it shall be: 5 to 8 digits.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub new_pin: Option<SecretText>,
    /// Go on although one try is known to be left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

impl Method for Change {
    const NAME: &'static str = "pin.change";
    const SUMMARY: &'static str = "Changes a PIN, given the old one.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    type Answer = Done;
}

/// `pin.unblock`: a holder who owns their PUK sets a new PIN.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Unblock {
    /// The reader.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure that the card was not swapped meanwhile.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// Which PIN.
    #[serde(default)]
    pub which: PinName,
    /// The PUK: 8 digits. Left out together with `new_pin`, both are typed on the reader's PIN pad.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub puk: Option<SecretText>,
    /// The PIN as it shall be: 5 to 8 digits.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub new_pin: Option<SecretText>,
    /// Go on although one try is known to be left on the PUK.
    #[serde(default)]
    pub confirm_last_try: bool,
}

impl Method for Unblock {
    const NAME: &'static str = "pin.unblock";
    const SUMMARY: &'static str = "Sets a new PIN with the holder's own PUK.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    type Answer = Done;
}

/// `pin.status`: asks the chip for the tries left, without spending one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The reader.
    pub reader: String,
}

/// What is known of one PIN or PUK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct PinState {
    /// Which PIN.
    pub which: PinName,
    /// True for its PUK, false for the PIN itself.
    pub is_puk: bool,
    /// Whether it is blocked; absent when the chip does not tell.
    pub blocked: Option<bool>,
    /// Tries left; absent when the chip does not tell.
    pub tries_left: Option<u8>,
}

impl Method for Status {
    const NAME: &'static str = "pin.status";
    const SUMMARY: &'static str = "Tells the tries left on the card's PINs and PUKs, without spending one.";
    const ROLE: Role = Role::User;
    type Answer = Vec<PinState>;
}
