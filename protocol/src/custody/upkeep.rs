//! `custody.*`: new keys, backups, and what is to be forgotten.

use serde::{Deserialize, Serialize};

use crate::{Method, Role};

/// `custody.rotate_key`: replaces a key while everybody goes on working.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Which key.
    pub key: RotatedKey,
}

/// A key that can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RotatedKey {
    /// The key-encryption key, in the key file or the HSM. No record changes.
    Wrapping,
    /// The data key. Records are sealed anew little by little; both keys serve meanwhile.
    Data,
}

/// Which keys are in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct KeyState {
    /// The identifier of the key-encryption key; one in an HSM begins with `hsm:`.
    pub wrapping_key: String,
    /// The number of the data key that seals.
    pub data_key: u32,
    /// Records that are still sealed under an older data key.
    pub older_records: u64,
}

impl Method for RotateKey {
    const NAME: &'static str = "custody.rotate_key";
    const SUMMARY: &'static str = "Replaces the key-encryption key or the data key.";
    const ROLE: Role = Role::Admin;
    type Answer = KeyState;
}

/// `custody.keys`: which keys are in use, and how far a rotation has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Keys {}

impl Method for Keys {
    const NAME: &'static str = "custody.keys";
    const SUMMARY: &'static str = "Tells which keys are in use, and how far a rotation has come.";
    const ROLE: Role = Role::Admin;
    type Answer = KeyState;
}

/// `custody.verify`: opens every sealed record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Verify {}

/// What a look at every record found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct VerifyReport {
    /// Sealed records.
    pub records: u64,
    /// How many of them were changed, truncated or moved.
    pub damaged: u64,
    /// Their names, `table.column[key]`; the first 100.
    pub named: Vec<String>,
}

impl Method for Verify {
    const NAME: &'static str = "custody.verify";
    const SUMMARY: &'static str = "Opens every sealed record, and names those that were changed or moved.";
    const ROLE: Role = Role::Admin;
    type Answer = VerifyReport;
}

/// `custody.backup`: copies the SQLite database, without the key file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Backup {}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct BackupMade {
    /// The file, in the folder `backup` of the state folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

impl Method for Backup {
    const NAME: &'static str = "custody.backup";
    const SUMMARY: &'static str = "Copies the database while it is in use; the key file is backed up apart.";
    const ROLE: Role = Role::Admin;
    type Answer = BackupMade;
}

/// `custody.erase`: forgets a holder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The holder's codice fiscale.
    pub codice_fiscale: String,
}

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Erased {
    /// The serial numbers of the holder's cards.
    pub cards: Vec<String>,
    /// Procedures.
    pub procedures: u64,
    /// Envelopes that no longer tell whose they were.
    pub envelopes: u64,
}

impl Method for Erase {
    const NAME: &'static str = "custody.erase";
    const SUMMARY: &'static str =
        "Erases what custody and the procedures keep of a holder; the audit log stays.";
    const ROLE: Role = Role::Custodian;
    type Answer = Erased;
}
