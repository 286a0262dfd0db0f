//! `daemon.*` and `rpc.*`: the daemon about itself.

use serde::{Deserialize, Serialize};

use crate::{Method, Role};

/// `daemon.status`: version and state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// The daemon's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct DaemonStatus {
    /// The daemon's version.
    pub version: String,
    /// [`VERSION`](crate::VERSION) of the protocol.
    pub protocol: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// The caller's roles.
    pub roles: Vec<Role>,
}

impl Method for Status {
    const NAME: &'static str = "daemon.status";
    const SUMMARY: &'static str = "Tells the daemon's version and the caller's roles.";
    const ROLE: Role = Role::User;
    type Answer = DaemonStatus;
}

/// `rpc.discover`: the OpenRPC document of this daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Discover {}

impl Method for Discover {
    const NAME: &'static str = "rpc.discover";
    const SUMMARY: &'static str = "Gives the OpenRPC document that describes every method.";
    const ROLE: Role = Role::User;
    type Answer = serde_json::Value;
}
