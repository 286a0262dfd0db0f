//! `custody.*`: new keys, backups, and what is to be forgotten.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::audit::Phase;
use cns_protocol::custody::{
    Backup, BackupMade, Erase, Erased, KeyState, Keys, RotateKey, RotatedKey, Verify, VerifyReport,
};

use super::{Act, Daemon, recorded};
use crate::audit::Record;
use crate::dispatch::Call;

/// `custody.rotate_key`. Records are sealed anew after the answer.
///
/// # Errors
/// When the key could not be replaced; then the old one serves.
pub async fn rotate_key(daemon: Arc<Daemon>, call: Call, request: RotateKey) -> Result<KeyState, RpcError> {
    let act = Act { name: "custody-rotate-key", card: None, paragraph: None };
    let custody = daemon.custody.clone();
    let work = async {
        match request.key {
            RotatedKey::Wrapping => custody.rotate_wrapping_key().await.map(drop)?,
            RotatedKey::Data => custody.rotate_data_key().await.map(drop)?,
        }
        custody.key_state().await
    };
    let state = recorded(&daemon, &call, act, work, |state| {
        format!(
            "data key {}, wrapped by key {}; {} records to be sealed anew",
            state.data_key, state.wrapping_key, state.older_records
        )
    })
    .await?;
    if request.key == RotatedKey::Data {
        tokio::spawn(reseal(daemon));
    }
    Ok(state)
}

/// What is not done when the daemon stops is done when it starts again.
async fn reseal(daemon: Arc<Daemon>) {
    let text = match daemon.custody.reseal().await {
        Ok(records) => format!("{records} records were sealed anew"),
        Err(error) => {
            tracing::error!(%error, "records could not be sealed anew; it is tried again");
            return;
        }
    };
    let record = Record::new("custody-resealed", Phase::Fact, text);
    if let Err(error) = daemon.audit.record(record).await {
        tracing::error!(%error, "that records were sealed anew could not be recorded");
    }
}

/// `custody.keys`.
///
/// # Errors
/// When the database fails.
pub async fn keys(daemon: Arc<Daemon>, _: Call, _: Keys) -> Result<KeyState, RpcError> {
    Ok(daemon.custody.key_state().await?)
}

/// `custody.verify`.
///
/// # Errors
/// When the database fails.
pub async fn verify(daemon: Arc<Daemon>, call: Call, _: Verify) -> Result<VerifyReport, RpcError> {
    let act = Act { name: "custody-verify", card: None, paragraph: None };
    recorded(&daemon, &call, act, daemon.custody.verify(), |report| {
        format!("{} records, {} damaged", report.records, report.damaged)
    })
    .await
}

/// `custody.backup`.
///
/// # Errors
/// When the copy could not be written, or the database is a server's.
pub async fn backup(daemon: Arc<Daemon>, call: Call, _: Backup) -> Result<BackupMade, RpcError> {
    let act = Act { name: "custody-backup", card: None, paragraph: None };
    recorded(&daemon, &call, act, daemon.custody.backup(), |made| format!("{} bytes", made.bytes)).await
}

/// `custody.erase`. The audit log says that it was done and for which cards, and keeps what it said before.
///
/// # Errors
/// While a procedure of the holder is not over.
pub async fn erase(daemon: Arc<Daemon>, call: Call, request: Erase) -> Result<Erased, RpcError> {
    let act = Act { name: "custody-erase", card: None, paragraph: None };
    recorded(&daemon, &call, act, daemon.custody.erase(&request.codice_fiscale), |erased| {
        format!(
            "erased the holder of {} cards ({}), {} procedures, {} envelopes",
            erased.cards.len(),
            erased.cards.join(", "),
            erased.procedures,
            erased.envelopes
        )
    })
    .await
}
