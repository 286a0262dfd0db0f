//! `card.*`.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::card::{
    Card, CertificateStatus, List, Recorded, Report, ReportText, Show, StatusSource, Trace,
};
use cns_protocol::reader::ReaderState;
use cns_protocol::{ErrorKind, Method, RpcError};

use super::{Act, Daemon, recorded_as};
use crate::authority::checks::{Revocation, reason_name};
use crate::authority::status::{Known, Source, StatusError, StatusService, rfc3339};
use crate::dispatch::Call;

/// The longest that `card.trace` waits, in milliseconds.
const LONGEST_WAIT: u32 = 10_000;
/// How long `card.show` waits for those who know how certificates stand.
const STATUS_WAIT: Duration = Duration::from_secs(5);

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
    let mut card = match found {
        Some(card) => card,
        None => daemon.readers.card(&request.reader)?.card.clone(),
    };
    // Only on demand: programs that list certificates must not make the daemon ask the network.
    if request.status
        && let Some(status) = &daemon.outside.status
    {
        tell_status(status, &mut card).await;
    }
    Ok(card)
}

/// Tells how the certificates of a card stand. All are asked about at the same time.
async fn tell_status(status: &Arc<StatusService>, card: &mut Card) {
    let ask = |der: &Vec<u8>| {
        let (status, der) = (Arc::clone(status), der.clone());
        tokio::spawn(async move { status.standing_within(der, STATUS_WAIT).await })
    };
    let asked: Vec<_> = card.certificates.iter().map(|certificate| ask(&certificate.der)).collect();
    for (certificate, asked) in card.certificates.iter_mut().zip(asked) {
        let known = asked.await.unwrap_or(Err(StatusError::Internal));
        if let Err(error) = &known {
            tracing::info!(%error, "the status of a certificate that is shown is not known");
        }
        certificate.status = Some(known.map_or_else(|error| unknown(&error), |known| shown(&known)));
    }
}

fn shown(known: &Known) -> CertificateStatus {
    let (since, reason) = match known.standing {
        Revocation::Good => (None, None),
        Revocation::Revoked { since, reason, .. } => {
            (Some(rfc3339(since)), reason.map(|reason| reason_name(reason).to_owned()))
        }
    };
    CertificateStatus {
        standing: Some(known.standing.into()),
        since,
        reason,
        source: Some(match known.source {
            Source::Ocsp => StatusSource::Ocsp,
            Source::List => StatusSource::List,
        }),
        as_of: Some(rfc3339(known.at)),
        valid_until: Some(rfc3339(known.until)),
        why_unknown: None,
    }
}

fn unknown(error: &StatusError) -> CertificateStatus {
    CertificateStatus {
        standing: None,
        since: None,
        reason: None,
        source: None,
        as_of: None,
        valid_until: None,
        why_unknown: Some(error.for_clients()),
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
                let card = daemon.readers.card(&reader).ok().map(|contents| contents.card.serial.clone());
                let act = Act { name: "card-trace", card: card.as_deref(), paragraph: None };
                let begin = async {
                    let new = guard(&daemon, &reader, start(&daemon, &reader)?);
                    end_with(&call, &daemon, &reader, new.recording);
                    Ok::<_, RpcError>(new)
                };
                let intention = format!("the exchanges with {reader} are recorded");
                let new = recorded_as(&daemon, &call, act, intention, begin, |new| {
                    format!("recording {} begins", new.recording)
                });
                let new = new.await?;
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
