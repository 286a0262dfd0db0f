//! `card.*`.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::card::{Card, List, Recorded, Report, ReportText, Show, Trace};
use cns_protocol::reader::ReaderState;
use cns_protocol::{ErrorKind, Method, RpcError};

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
pub fn trace(
    daemon: Arc<Daemon>,
    call: Call,
    request: Trace,
) -> impl Future<Output = Result<Recorded, RpcError>> + Send {
    let Trace { reader, recording, wait_ms, end } = request;
    let is_valid = wait_ms <= LONGEST_WAIT;
    let guard = |daemon: &Arc<Daemon>, reader: &str, recording| EndOfRecording {
        daemon: Arc::clone(daemon),
        reader: reader.to_owned(),
        recording,
        ends: true,
    };
    // Made before the work begins: a client that is gone by then ends its recording as well.
    let known = recording.filter(|_| is_valid).map(|recording| guard(&daemon, &reader, recording));
    async move {
        if !is_valid {
            let told = format!("`wait_ms` is at most {LONGEST_WAIT}");
            return Err(RpcError::new(ErrorKind::InvalidParams, told));
        }
        let mut guard = match known {
            Some(known) => known,
            None => {
                let new = guard(&daemon, &reader, start(&daemon, &reader)?);
                end_with(&call, &daemon, &reader, new.recording);
                read(&daemon, &reader).await;
                new
            }
        };
        tokio::time::sleep(Duration::from_millis(wait_ms.into())).await;
        let recording = guard.recording;
        let (text, is_full) = daemon.readers.recorded(&reader, recording)?;
        guard.ends = end;
        Ok(Recorded { recording, text, is_full })
    }
}

/// Ends a recording when its client asked for that, or went away while it waited.
struct EndOfRecording {
    daemon: Arc<Daemon>,
    reader: String,
    recording: u64,
    ends: bool,
}

impl Drop for EndOfRecording {
    fn drop(&mut self) {
        if self.ends {
            self.daemon.readers.end_recording(&self.reader, self.recording);
        }
    }
}

/// Lets a recording end with the connection that it was started on: who asks again every second may be gone between two
/// requests.
fn end_with(call: &Call, daemon: &Arc<Daemon>, reader: &str, recording: u64) {
    let (daemon, reader) = (Arc::clone(daemon), reader.to_owned());
    let name = format!("{}: {reader}", Trace::NAME);
    call.caller.at_end.set(name, move || daemon.readers.end_recording(&reader, recording));
}

/// Starts a recording.
fn start(daemon: &Daemon, reader: &str) -> Result<u64, RpcError> {
    daemon.readers.record(reader)?.ok_or_else(|| {
        RpcError::new(ErrorKind::Busy, "the exchanges with this reader are being recorded already")
            .hint("Try again when that recording is over")
    })
}

/// Reads the card, so that the recording begins as an insertion does.
async fn read(daemon: &Daemon, reader: &str) {
    // Without a card there is one to come; a card that is unknown is recorded all the same.
    if let Err(error) = daemon.readers.reread(reader).await {
        tracing::debug!(reader, %error, "a recording begins without a card that can be used");
    }
}

fn card_in(state: ReaderState) -> Option<Card> {
    match state {
        ReaderState::Card(card) => Some(*card),
        ReaderState::Empty | ReaderState::Reading | ReaderState::Unusable(_) => None,
    }
}
