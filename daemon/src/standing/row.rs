//! What the tables hold, and how it is written there.

use std::time::SystemTime;

use cns_protocol::card::{Holder, KeyUse};
use cns_protocol::certificate::{Act, ChangeState, Channel, Standing};
use cns_protocol::counter::Reason;
use cns_secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::custody::{CustodyError, RecordName, Sealer};
use crate::procedure::status::StatusChange;
use crate::standing::StandingError;

/// A certificate of a card.
pub(super) struct Certificate {
    pub(super) sha256: String,
    pub(super) key_use: KeyUse,
    pub(super) not_after: String,
    pub(super) standing: Standing,
    pub(super) since: String,
    pub(super) removed: bool,
    pub(super) sealed: Vec<u8>,
}

impl Certificate {
    /// Whether its standing is from after a moment. One whose time cannot be read is.
    pub(super) fn is_since(&self, moment: SystemTime) -> bool {
        OffsetDateTime::parse(&self.since, &Rfc3339).map_or(true, |since| SystemTime::from(since) > moment)
    }
}

/// What of a certificate is personal, or leads to a person.
#[derive(Serialize, Deserialize)]
pub(super) struct Personal {
    /// DER, hexadecimal.
    pub(super) certificate: String,
    pub(super) holder: Holder,
}

/// What was asked for a certificate, with the request that it belongs to.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) sha256: String,
    pub(super) number: i64,
    pub(super) request: String,
    pub(super) change: StatusChange,
    pub(super) reason: Option<Reason>,
    pub(super) paragraph: String,
    pub(super) channel: Channel,
    pub(super) operator: Option<String>,
    pub(super) asked: String,
    pub(super) transaction: String,
    pub(super) state: ChangeState,
    pub(super) said: Option<String>,
    pub(super) attempts: u32,
    pub(super) answered: Option<String>,
}

impl Change {
    pub(super) fn act(&self) -> Act {
        act_of(self.change)
    }

    /// Whether it had been asked for at this moment. One whose time cannot be read had not.
    pub(super) fn is_asked_by(&self, moment: SystemTime) -> bool {
        OffsetDateTime::parse(&self.asked, &Rfc3339).is_ok_and(|asked| SystemTime::from(asked) <= moment)
    }
}

/// What a change does.
pub(super) fn act_of(change: StatusChange) -> Act {
    match change {
        StatusChange::Suspend(_) => Act::Suspend,
        StatusChange::Reactivate => Act::Reactivate,
        StatusChange::Revoke(_) => Act::Revoke,
    }
}

/// A word of a closed list, as the tables have it and as it stands in JSON.
pub(super) fn word<T: Serialize>(value: T) -> Result<String, StandingError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(_) | Err(_) => Err(StandingError::Damaged("a word")),
    }
}

/// A word of a closed list, read back.
pub(super) fn read_word<T: DeserializeOwned>(word: String) -> Result<T, StandingError> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|_| StandingError::Damaged("a word"))
}

/// The sealed column of a table.
pub(super) fn record<'a>(table: &'static str, key: &'a str) -> RecordName<'a> {
    RecordName { table, column: "sealed", key }
}

/// Seals JSON.
pub(super) fn seal<T: Serialize>(
    sealer: &Sealer,
    name: RecordName<'_>,
    value: &T,
) -> Result<Vec<u8>, StandingError> {
    let text = serde_json::to_vec(value).map_err(|_| StandingError::Damaged("a record"))?;
    let secret = Secret::copy_from(&text).map_err(CustodyError::from)?;
    Ok(sealer.seal(name, &secret)?)
}

/// Opens sealed JSON.
pub(super) fn open<T: DeserializeOwned>(
    sealer: &Sealer,
    name: RecordName<'_>,
    sealed: &[u8],
) -> Result<T, StandingError> {
    let secret = sealer.open(name, sealed)?;
    serde_json::from_slice(secret.expose()).map_err(|_| StandingError::Damaged("a sealed record"))
}
