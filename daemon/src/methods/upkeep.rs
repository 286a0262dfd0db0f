//! `custody.*`: new keys, backups, and what is to be forgotten.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::audit::Phase;
use cns_protocol::custody::{
    Backup, BackupMade, DecideRotation, Erase, Erased, KeyState, Keys, RotateKey, RotatedKey, Rotation,
    RotationRequest, RotationRequests, Verify, VerifyReport,
};

use super::{Act, Daemon, recorded, recorded_as};
use crate::audit::Record;
use crate::custody::Asker;
use crate::dispatch::Call;

const ROTATE: Act<'static> = Act { name: "custody-rotate-key", card: None, paragraph: None };

/// Who asks for a key to be replaced, or decides on it.
fn asker(call: &Call) -> Asker {
    let desk = call.session.as_ref().map(|session| (session.operator.clone(), session.counter.clone()));
    Asker { user: call.caller.peer.uid, desk, custodian: true }
}

fn keys_text(state: &KeyState) -> String {
    format!(
        "data key {}, wrapped by key {}; {} records to be sealed anew",
        state.data_key, state.wrapping_key, state.older_records
    )
}

/// `custody.rotate_key`. Records are sealed anew after the answer.
///
/// # Errors
/// When the key could not be replaced; then the old one serves.
pub async fn rotate_key(daemon: Arc<Daemon>, call: Call, request: RotateKey) -> Result<Rotation, RpcError> {
    let asker = asker(&call);
    let work = daemon.custody.rotate(request.key, &asker);
    let intention = format!("{} key", request.key.name());
    let rotation = recorded_as(&daemon, &call, ROTATE, intention, work, |done| match &done.request {
        None => keys_text(&done.keys),
        Some(id) => format!("waits for a second person, request {id}"),
    })
    .await?;
    if rotation.request.is_none() && request.key == RotatedKey::Data {
        tokio::spawn(reseal(daemon));
    }
    Ok(rotation)
}

/// `custody.decide_rotation`. Records are sealed anew after the answer.
///
/// # Errors
/// When there is no such request, or who confirms is who asked; when the key could not be replaced, the old one serves.
pub async fn decide_rotation(
    daemon: Arc<Daemon>,
    call: Call,
    request: DecideRotation,
) -> Result<KeyState, RpcError> {
    let (asker, id) = (asker(&call), &request.request);
    let key = daemon.custody.rotation_requested(id).await?;
    let verb = if request.confirm { "confirms" } else { "turns down" };
    let work = daemon.custody.decide_rotation(id, &asker, request.confirm);
    let intention = format!("{verb} request {id}: {} key", key.name());
    let state = recorded_as(&daemon, &call, ROTATE, intention, work, |state| {
        if request.confirm { keys_text(state) } else { "no key was replaced".to_owned() }
    })
    .await?;
    if request.confirm && key == RotatedKey::Data {
        tokio::spawn(reseal(daemon));
    }
    Ok(state)
}

/// `custody.rotation_requests`.
///
/// # Errors
/// When the database fails.
pub async fn rotation_requests(
    daemon: Arc<Daemon>,
    _: Call,
    _: RotationRequests,
) -> Result<Vec<RotationRequest>, RpcError> {
    Ok(daemon.custody.rotation_requests().await?)
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
