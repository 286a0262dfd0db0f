//! `custody.import_*`: large import files.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::audit::Phase;
use cns_protocol::custody::{ImportBegin, ImportChunk, ImportDrop, ImportFinish, ImportPlace, Imported};
use cns_protocol::pin::Done;
use cns_protocol::rpc::Progress;

use super::custody::imported_text;
use super::{Act, Daemon, record_of, recorded_as};
use crate::custody::{FileDigest, MAXIMUM_CHUNK};
use crate::dispatch::Call;

const ACT: Act<'static> = Act { name: "custody-import", card: None, paragraph: Some("§9.1.1") };

fn place(received: u64, done: Option<Imported>) -> ImportPlace {
    ImportPlace { received, chunk: MAXIMUM_CHUNK as u64, done }
}

/// `custody.import_begin`.
///
/// # Errors
/// When the file is too large, or too many are being uploaded.
pub async fn begin(daemon: Arc<Daemon>, call: Call, request: ImportBegin) -> Result<ImportPlace, RpcError> {
    let digest = FileDigest::parse(&request.sha256)?;
    let text = format!("file {} of {} bytes is announced", digest.as_str(), request.size);
    let record = record_of(&call, "custody-upload", Phase::Fact, text).paragraph("§9.1.1");
    daemon.audit.record(record).await?;
    let arrived = daemon.custody.import_begin(&digest, request.size).await?;
    Ok(place(arrived.bytes, arrived.done))
}

/// `custody.import_chunk`.
///
/// # Errors
/// When it is not the next chunk of a file that was announced.
pub async fn chunk(daemon: Arc<Daemon>, _: Call, request: ImportChunk) -> Result<ImportPlace, RpcError> {
    let digest = FileDigest::parse(&request.sha256)?;
    Ok(place(daemon.custody.import_chunk(&digest, request.offset, request.bytes).await?, None))
}

/// `custody.import_finish`.
///
/// # Errors
/// When the file is refused; then nothing of it was taken in.
pub async fn finish(daemon: Arc<Daemon>, call: Call, request: ImportFinish) -> Result<Imported, RpcError> {
    let digest = FileDigest::parse(&request.sha256)?;
    let sender = call.progress.clone();
    let progress = move |done: u64, total: u64| {
        let kibibytes = |bytes: u64| u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        sender.send(Progress {
            request: None,
            step: "import".into(),
            paragraph: Some("§9.1.1".into()),
            message: "Sealing the file's lines (KiB)".into(),
            done: kibibytes(done),
            total: Some(kibibytes(total)),
        });
    };
    let work = daemon.custody.import_finish(&digest, progress);
    let intention = format!("takes in file {}", digest.as_str());
    recorded_as(&daemon, &call, ACT, intention, work, imported_text).await
}

/// `custody.import_drop`.
///
/// # Errors
/// When the disk or the database fails.
pub async fn forget(daemon: Arc<Daemon>, call: Call, request: ImportDrop) -> Result<Done, RpcError> {
    let digest = FileDigest::parse(&request.sha256)?;
    let work = daemon.custody.import_drop(&digest);
    let intention = format!("drops what has arrived of file {}", digest.as_str());
    recorded_as(&daemon, &call, ACT, intention, work, |()| "dropped".to_owned()).await?;
    Ok(Done {})
}
