//! `operator.*`: the operator's session, opened with the operator's own smart card (§9.3.2-2).

use serde::{Deserialize, Serialize};

use crate::pin::Done;
use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// The kind of counter (§3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CounterKind {
    /// A health authority (ASL).
    HealthAuthority,
    /// A participating pharmacy.
    Pharmacy,
    /// An authorised regional office.
    RegionalOffice,
}

/// `operator.login`: the card in this reader signs a challenge; its certificate must be on the allow list.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The reader that holds the operator's card.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure that the card was not swapped meanwhile.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// The PIN of the operator's card.
    #[serde(serialize_with = "secret_text::write")]
    pub pin: SecretText,
    /// Go on although one try is known to be left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

/// An operator at work. The session belongs to the Unix user that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Session {
    /// The operator's identifier in the registry.
    pub operator: String,
    /// The operator's name.
    pub name: String,
    /// The counter.
    pub counter: String,
    /// Its kind.
    pub counter_kind: CounterKind,
    /// The reader that holds the operator's card; the session ends when the card is taken out.
    pub reader: String,
    /// When the session ends at the latest, RFC 3339.
    pub expires: String,
    /// What the operator should know: that nobody told how their certificate stands, for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Method for Login {
    const NAME: &'static str = "operator.login";
    const SUMMARY: &'static str = "Opens an operator session with the operator's own smart card.";
    const ROLE: Role = Role::Counter;
    const CARRIES_SECRET: bool = true;
    type Answer = Session;
}

/// `operator.logout`: ends the session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Logout {}

impl Method for Logout {
    const NAME: &'static str = "operator.logout";
    const SUMMARY: &'static str = "Ends the operator session.";
    const ROLE: Role = Role::Counter;
    type Answer = Done;
}

/// `operator.status`: the session of this Unix user, if one is open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Status {}

impl Method for Status {
    const NAME: &'static str = "operator.status";
    const SUMMARY: &'static str = "Tells whether an operator session is open.";
    const ROLE: Role = Role::Counter;
    type Answer = Option<Session>;
}
