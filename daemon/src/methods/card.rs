//! `card.*`.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::card::{Card, List, Recorded, Report, ReportText, Show, Trace};
use cns_protocol::reader::ReaderState;
use cns_protocol::{ErrorKind, RpcError};

use super::Daemon;
use crate::dispatch::Call;

/// The longest that `card.trace` waits, in milliseconds.
const LONGEST_WAIT: u32 = 10_000;

/// `card.list`.
///
/// # Errors
/// None.
pub async fn list(daemon: Arc<Daemon>, _: Call, _: List) -> Result<Vec<Card>, RpcError> {
    let readers = daemon.readers.list().readers.into_iter();
    Ok(readers.filter_map(|reader| card_in(reader.state)).collect())
}

/// `card.show`.
///
/// # Errors
/// When there is no such reader, or no CNS in it.
pub async fn show(daemon: Arc<Daemon>, _: Call, request: Show) -> Result<Card, RpcError> {
    let mut readers = daemon.readers.list().readers.into_iter();
    let found = readers.find(|reader| reader.name == request.reader).and_then(|reader| card_in(reader.state));
    match found {
        Some(card) => Ok(card),
        None => Ok(daemon.readers.card(&request.reader)?.card.clone()),
    }
}

/// `card.report`.
///
/// # Errors
/// When there is no such reader, no card in it, or the card went or stopped answering.
pub async fn report(daemon: Arc<Daemon>, _: Call, request: Report) -> Result<ReportText, RpcError> {
    let text = daemon.readers.report(&request.reader, request.ask_tries).await?;
    Ok(ReportText { text })
}

/// `card.trace`.
///
/// # Errors
/// When there is no such reader, another recording runs, or the one that was named is over.
pub async fn trace(daemon: Arc<Daemon>, _: Call, request: Trace) -> Result<Recorded, RpcError> {
    if request.wait_ms > LONGEST_WAIT {
        return Err(RpcError::new(ErrorKind::InvalidParams, format!("`wait_ms` is at most {LONGEST_WAIT}")));
    }
    let recording = match request.recording {
        Some(recording) => recording,
        None => start(&daemon, &request.reader).await?,
    };
    tokio::time::sleep(Duration::from_millis(request.wait_ms.into())).await;
    let (text, is_full) = daemon.readers.recorded(&request.reader, recording)?;
    if request.end {
        daemon.readers.end_recording(&request.reader, recording);
    }
    Ok(Recorded { recording, text, is_full })
}

/// Starts a recording and reads the card, so that the recording begins as an insertion does.
async fn start(daemon: &Daemon, reader: &str) -> Result<u64, RpcError> {
    let recording = daemon.readers.record(reader)?.ok_or_else(|| {
        RpcError::new(ErrorKind::Busy, "the exchanges with this reader are being recorded already")
            .hint("Try again when that recording is over")
    })?;
    // Without a card there is one to come; a card that is unknown is recorded all the same.
    if let Err(error) = daemon.readers.reread(reader).await {
        tracing::debug!(reader, %error, "a recording begins without a card that can be used");
    }
    Ok(recording)
}

fn card_in(state: ReaderState) -> Option<Card> {
    match state {
        ReaderState::Card(card) => Some(*card),
        ReaderState::Empty | ReaderState::Reading | ReaderState::Unusable(_) => None,
    }
}
