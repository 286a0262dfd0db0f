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

impl RotatedKey {
    /// Every key.
    pub const ALL: [RotatedKey; 2] = [RotatedKey::Wrapping, RotatedKey::Data];

    /// The name in messages and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrapping => "wrapping",
            Self::Data => "data",
        }
    }
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

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Rotation {
    /// The keys that are in use now.
    #[serde(flatten)]
    pub keys: KeyState,
    /// The request that a second person must confirm, where the configuration demands four eyes. Until then no key was
    /// replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Method for RotateKey {
    const NAME: &'static str = "custody.rotate_key";
    const SUMMARY: &'static str =
        "Replaces the key-encryption key or the data key, or asks a second person to confirm that.";
    const ROLE: Role = Role::Admin;
    type Answer = Rotation;
}

/// `custody.decide_rotation`: a second person confirms or turns down what another asked to replace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DecideRotation {
    /// The request.
    pub request: String,
    /// Whether the key is replaced. Turning down may be done by whoever asked, too.
    pub confirm: bool,
}

impl Method for DecideRotation {
    const NAME: &'static str = "custody.decide_rotation";
    const SUMMARY: &'static str = "Confirms, as a second person, or turns down a request to replace a key.";
    const ROLE: Role = Role::Admin;
    const OTHER_ROLES: &'static [Role] = &[Role::Custodian];
    type Answer = KeyState;
}

/// `custody.rotation_requests`: the requests to replace a key that nobody has decided yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RotationRequests {}

/// A request to replace a key that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct RotationRequest {
    /// Its identifier.
    pub request: String,
    /// Which key.
    pub key: RotatedKey,
    /// The Unix user who asked.
    pub user: u32,
    /// The operator who asked, where one was at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// When.
    pub requested_at: String,
}

impl Method for RotationRequests {
    const NAME: &'static str = "custody.rotation_requests";
    const SUMMARY: &'static str =
        "Lists the requests to replace a key that wait for a second person; at most 1,000.";
    const ROLE: Role = Role::Admin;
    const OTHER_ROLES: &'static [Role] = &[Role::Custodian];
    type Answer = Vec<RotationRequest>;
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
