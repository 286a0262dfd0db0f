//! Large import files: they arrive in chunks, and are taken in as a whole or not at all.

use serde::{Deserialize, Serialize};

use super::Imported;
use crate::encoding::base64_bytes;
use crate::pin::Done;
use crate::{Method, Role};

/// `custody.import_begin`: announces an import file, or asks how much of it has arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportBegin {
    /// SHA-256 of the whole file, 64 hexadecimal digits.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct ImportPlace {
    /// Bytes that have arrived: where the next chunk begins.
    pub received: u64,
    /// The most bytes of a chunk.
    pub chunk: u64,
    /// What the file brought, if it is in custody already; then nothing need be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Imported>,
}

impl Method for ImportBegin {
    const NAME: &'static str = "custody.import_begin";
    const SUMMARY: &'static str = "Announces a large import file, or tells how much of it has arrived.";
    const ROLE: Role = Role::Custodian;
    type Answer = ImportPlace;
}

/// `custody.import_chunk`: the next bytes of an import file, as it was encrypted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportChunk {
    /// The file.
    pub sha256: String,
    /// Where the bytes begin.
    pub offset: u64,
    /// The bytes; at most 1 MiB.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub bytes: Vec<u8>,
}

impl Method for ImportChunk {
    const NAME: &'static str = "custody.import_chunk";
    const SUMMARY: &'static str = "Takes the next bytes of a large import file.";
    const ROLE: Role = Role::Custodian;
    type Answer = ImportPlace;
}

/// `custody.import_finish`: takes a file that has arrived into custody, all of it or nothing; sends progress. Cut off, it
/// goes on when it is called again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportFinish {
    /// The file.
    pub sha256: String,
}

impl Method for ImportFinish {
    const NAME: &'static str = "custody.import_finish";
    const SUMMARY: &'static str = "Takes an import file that has arrived into custody, all of it or nothing.";
    const ROLE: Role = Role::Custodian;
    type Answer = Imported;
}

/// `custody.import_drop`: forgets what has arrived of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportDrop {
    /// The file.
    pub sha256: String,
}

impl Method for ImportDrop {
    const NAME: &'static str = "custody.import_drop";
    const SUMMARY: &'static str = "Forgets what has arrived of an import file.";
    const ROLE: Role = Role::Custodian;
    type Answer = Done;
}
