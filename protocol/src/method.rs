//! What a method is, and who may call it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A request type: the parameters of one method, tied to its name, its answer and the role that it needs.
pub trait Method: Serialize + DeserializeOwned {
    /// The JSON-RPC method name, `noun.verb`.
    const NAME: &'static str;
    /// One sentence for the OpenRPC document.
    const SUMMARY: &'static str;
    /// The role that the peer must have.
    const ROLE: Role;
    /// Other roles, each of which does as well.
    const OTHER_ROLES: &'static [Role] = &[];
    /// Whether the parameters can hold a [`SecretText`](crate::SecretText): such a request is built and read in
    /// locked memory only, and is refused in a frame that is too large for it.
    const CARRIES_SECRET: bool = false;
    /// Whether the answer holds [`SecretBytes`](crate::SecretBytes): such an answer is built, and read, in locked memory
    /// only.
    const ANSWERS_SECRET: bool = false;
    /// What the daemon answers.
    type Answer: Serialize + DeserializeOwned;
}

/// What a peer may do, given by its Unix user and groups in the daemon's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Uses cards with their PIN: browsers and signing software through PKCS#11.
    User,
    /// Runs the counter's procedures; needs an operator session as well (§9.3.2-2).
    Counter,
    /// Brings cards and envelopes into custody and assigns envelopes.
    Custodian,
    /// Reads the audit log.
    Auditor,
    /// Sees the daemon's state and configuration.
    Admin,
    /// The region's web area, for holders whom it has logged in (§6.3, §9.5.1, §9.6).
    Web,
    /// The call centre (§6.2, §9.5.2).
    CallCentre,
    /// The issuing body's own office (§9.7.2).
    IssuingBody,
    /// The connector that brings requests of other regions' counters (§8-in).
    NationalSystem,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 9] = [
        Role::User,
        Role::Counter,
        Role::Custodian,
        Role::Auditor,
        Role::Admin,
        Role::Web,
        Role::CallCentre,
        Role::IssuingBody,
        Role::NationalSystem,
    ];

    /// The name used in the configuration and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Counter => "counter",
            Role::Custodian => "custodian",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
            Role::Web => "web",
            Role::CallCentre => "call-centre",
            Role::IssuingBody => "issuing-body",
            Role::NationalSystem => "national-system",
        }
    }
}
