//! `custody.*`: sealed PUKs and blind envelopes. Nothing here gives a secret back.

mod envelopes;
mod imports;
mod upkeep;

use serde::{Deserialize, Serialize};

pub use self::envelopes::{
    AssignEnvelopes, Assignee, Changed, Choices, DecideVoid, EnvelopeChoices, EnvelopeStanding, Envelopes,
    ReturnEnvelopes, ShowEnvelope, VoidEnvelopes, VoidReason, VoidRequest, VoidRequests, Voided,
};
pub use self::imports::{ImportBegin, ImportChunk, ImportDrop, ImportFinish, ImportPlace};
pub use self::upkeep::{
    Backup, BackupMade, DecideRotation, Erase, Erased, KeyState, Keys, RotateKey, RotatedKey, Rotation,
    RotationRequest, RotationRequests, Verify, VerifyReport,
};
use crate::encoding::base64_bytes;
use crate::pin::Done;
use crate::{Method, Role};

/// `custody.import_certificate`: the certificate to which import files are encrypted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportCertificate {}

/// A certificate as PEM text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct PemCertificate {
    /// PEM.
    pub pem: String,
}

impl Method for ImportCertificate {
    const NAME: &'static str = "custody.import_certificate";
    const SUMMARY: &'static str = "Gives the certificate to which import files must be encrypted.";
    const ROLE: Role = Role::Custodian;
    type Answer = PemCertificate;
}

/// `custody.import`: takes a small sealed file of cards or envelopes into custody, all of it or nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// RFC 5652 EnvelopedData, DER or BER; at most 1 MiB. [`ImportBegin`] is for larger ones.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub file: Vec<u8>,
}

/// What an import brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Imported {
    /// Cards taken in.
    pub cards: u64,
    /// Envelopes taken in.
    pub envelopes: u64,
    /// Whether they are in custody since an earlier import of this very file, so that nothing was done.
    #[serde(default)]
    pub already: bool,
}

impl Method for Import {
    const NAME: &'static str = "custody.import";
    const SUMMARY: &'static str = "Takes a sealed file of cards' PUKs or of blind envelopes into custody.";
    const ROLE: Role = Role::Custodian;
    type Answer = Imported;
}

/// `custody.assign`: gives available envelopes to an operator (§9.3.2-6). [`AssignEnvelopes`] can do more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// The operator's identifier in the registry.
    pub operator: String,
    /// The outside codes; at most 300 at a time.
    pub codes: Vec<String>,
}

impl Method for Assign {
    const NAME: &'static str = "custody.assign";
    const SUMMARY: &'static str = "Assigns blind envelopes to an operator, all or none.";
    const ROLE: Role = Role::Custodian;
    type Answer = Done;
}

/// `custody.stock`: how many there are of what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stock {}

/// Counts of what is in custody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct StockReport {
    /// Cards with a PUK.
    pub cards: u64,
    /// Envelopes that nobody holds.
    pub available: u64,
    /// Envelopes assigned to an operator or a counter.
    pub assigned: u64,
    /// Envelopes in use by a procedure.
    pub reserved: u64,
    /// Envelopes whose PIN was set on a card.
    pub used: u64,
    /// Envelopes that must not be used.
    pub void: u64,
    /// Whether fewer envelopes are available than `custody.low_stock` of the configuration: order new ones.
    #[serde(default)]
    pub low: bool,
    /// The counters and operators that have, or had, envelopes.
    #[serde(default)]
    pub holders: Vec<HolderStock>,
}

/// What a counter or an operator has, and had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct HolderStock {
    /// The counter; absent where envelopes were assigned before counters were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<String>,
    /// The operator; absent for what everybody at the counter may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Envelopes that can be used.
    pub assigned: u64,
    /// Envelopes in use by a procedure.
    pub reserved: u64,
    /// Envelopes whose PIN was set on a card.
    pub used: u64,
    /// Envelopes that were voided.
    pub void: u64,
    /// Whether the holder works with envelopes and has fewer than `custody.low_stock_holder`: assign some.
    #[serde(default)]
    pub low: bool,
}

impl Method for Stock {
    const NAME: &'static str = "custody.stock";
    const SUMMARY: &'static str = "Counts cards, and envelopes by state, counter and operator.";
    const ROLE: Role = Role::Custodian;
    type Answer = StockReport;
}
