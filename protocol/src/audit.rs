//! `audit.*`: the audit log, and the check of its chain that needs no daemon.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Method, Role};

/// One entry of the log: a line of JSON in the file. Holds no secret and no more personal data than needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Counts from 1 without gaps.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The Unix user who asked, as a number; absent for what the daemon does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The operator, where a session is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// What it is about, a stable name such as `pin-set`.
    pub act: String,
    /// `intention` before the card is touched, `outcome` after it, `fact` for the rest.
    pub phase: Phase,
    /// The manual's rule, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paragraph: Option<String>,
    /// The card's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The procedure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// The result or other facts, in English.
    pub text: String,
    /// SHA-256 link of the entry before, hexadecimal; 64 zeros in the first.
    pub previous: String,
    /// This entry's own link, see [`Entry::link`].
    pub hash: String,
    /// A signature over the text of `hash` (64 hexadecimal digits) by the daemon's audit key (Ed25519, hexadecimal),
    /// in entries of act [`CHECKPOINT`] and [`CONTINUED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Where an entry stands in relation to the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Written before the card is touched.
    Intention,
    /// Written after it, before the answer leaves.
    Outcome,
    /// Anything else.
    Fact,
}

/// The act of an entry that carries a signature, and vouches for all before it.
pub const CHECKPOINT: &str = "checkpoint";

/// The act of the first entry of a file that goes on where another one ended. It carries a signature, so that no other
/// entry can be made the beginning of a file.
pub const CONTINUED: &str = "log-continued";

/// The link before the first entry.
pub const FIRST_PREVIOUS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Entry {
    /// Whether this entry carries a signature.
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        self.act == CHECKPOINT || self.act == CONTINUED
    }

    /// The link of this entry: SHA-256 over the JSON text of the entry with `hash` empty and without `signature`.
    ///
    /// # Errors
    /// When the entry cannot be written as JSON, which no entry read from a log does.
    pub fn link(&self) -> Result<String, serde_json::Error> {
        let bare = Entry { hash: String::new(), signature: None, ..self.clone() };
        Ok(hex::encode(Sha256::digest(serde_json::to_vec(&bare)?)))
    }
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A line is not an entry.
    #[error("line {line} is not an audit entry: {reason}")]
    Unreadable {
        /// The line, from 1.
        line: u64,
        /// The parser's reason.
        reason: String,
    },
    /// An entry is missing, doubled or out of order.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Gap {
        /// The number that should stand there.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// An entry was changed, or the one before it was.
    #[error("entry {0} was changed or does not follow the entry before it")]
    Link(u64),
    /// A checkpoint's signature is missing or wrong.
    #[error("the signature of checkpoint {0} is missing or wrong")]
    Signature(u64),
}

/// Checks a chain entry by entry, from the beginning of the log or of a file that goes on where another one ended.
pub struct ChainVerifier {
    first: u64,
    next: u64,
    previous: String,
}

impl Default for ChainVerifier {
    fn default() -> Self {
        Self { first: 1, next: 1, previous: FIRST_PREVIOUS.to_owned() }
    }
}

impl ChainVerifier {
    /// Takes the next entry.
    ///
    /// # Errors
    /// Where the chain is broken.
    pub fn push(&mut self, entry: &Entry) -> Result<(), ChainError> {
        if self.next == 1 && entry.act == CONTINUED && entry.number > 1 {
            // What it continues is not at hand; whoever has it compares `first` and `continues`.
            self.first = entry.number;
            self.next = entry.number;
            self.previous.clone_from(&entry.previous);
        }
        if entry.number != self.next {
            return Err(ChainError::Gap { expected: self.next, found: entry.number });
        }
        let link = entry.link().map_err(|_| ChainError::Link(entry.number))?;
        if entry.previous != self.previous || entry.hash != link {
            return Err(ChainError::Link(entry.number));
        }
        self.next = self.next.saturating_add(1);
        self.previous = link;
        Ok(())
    }

    /// Entries checked.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }

    /// The number of the first entry that was checked: 1, unless a file was checked that goes on where another ended.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of the last entry that was checked; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// The link of the last entry: note it elsewhere, and a log that was cut short is seen.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.previous
    }
}

/// `audit.list`: entries from a number on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The first entry's number.
    pub from: u64,
    /// How many at most: 1 to 1,000.
    pub limit: u16,
}

impl Method for List {
    const NAME: &'static str = "audit.list";
    const SUMMARY: &'static str = "Lists entries of the audit log.";
    const ROLE: Role = Role::Auditor;
    type Answer = Vec<Entry>;
}

/// `audit.verify`: checks the whole chain and the checkpoints' signatures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Verify {}

/// A chain that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Verified {
    /// Entries checked.
    pub entries: u64,
    /// The number of the first of them: 1, unless the files before it were put away.
    #[serde(default = "first_of_all")]
    pub first: u64,
    /// Checkpoints whose signature holds.
    pub checkpoints: u64,
    /// The last entry's link.
    pub head: String,
    /// The audit key, Ed25519, hexadecimal.
    pub public_key: String,
}

impl Method for Verify {
    const NAME: &'static str = "audit.verify";
    const SUMMARY: &'static str = "Checks the chain of the audit log and its signatures.";
    const ROLE: Role = Role::Auditor;
    type Answer = Verified;
}

fn first_of_all() -> u64 {
    1
}

/// `audit.rotate`: closes the log's file and goes on in a new one, which continues the chain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rotate {}

/// A file of the log that was closed. It lies in the daemon's state folder, and may be put away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Rotated {
    /// Its name.
    pub file: String,
    /// The number of its first entry.
    pub first: u64,
    /// The number of its last entry.
    pub last: u64,
    /// The link of its last entry, which the first entry of the new file names as the one before it.
    pub head: String,
}

impl Method for Rotate {
    const NAME: &'static str = "audit.rotate";
    const SUMMARY: &'static str =
        "Closes the audit log's file and goes on in a new one, which continues the chain.";
    const ROLE: Role = Role::Admin;
    type Answer = Rotated;
}
