//! `custody.*_envelopes` and what belongs to them: blind envelopes by the batch.

use std::sync::Arc;

use cns_protocol::custody::{
    AssignEnvelopes, Assignee, Changed, Choices, DecideVoid, EnvelopeChoices, EnvelopeStanding,
    ReturnEnvelopes, ShowEnvelope, VoidEnvelopes, VoidRequest, VoidRequests, Voided,
};
use cns_protocol::{ErrorKind, Role, RpcError};

use super::{Act, Daemon, recorded_as};
use crate::custody::{Asker, Selection, check_note};
use crate::dispatch::Call;

const PARAGRAPH: Option<&str> = Some("§9.3.2-6");

/// Who asks: a custodian, or an operator at work for what they may use themselves.
fn asker(call: &Call) -> Result<Asker, RpcError> {
    let custodian = call.caller.peer.has(Role::Custodian);
    if !custodian {
        call.operator()?;
    }
    let desk = call.session.as_ref().map(|session| (session.operator.clone(), session.counter.clone()));
    Ok(Asker { user: call.caller.peer.uid, desk, custodian })
}

fn act(name: &'static str) -> Act<'static> {
    Act { name, card: None, paragraph: PARAGRAPH }
}

fn note_text(note: Option<&str>) -> String {
    note.map(|note| format!(" ({note})")).unwrap_or_default()
}

/// `custody.assign_envelopes`.
///
/// # Errors
/// When operator or counter are not in the registry or an envelope is not available; then none was assigned.
pub async fn assign(daemon: Arc<Daemon>, call: Call, request: AssignEnvelopes) -> Result<Changed, RpcError> {
    let unknown = |what: &str| {
        RpcError::new(ErrorKind::InvalidParams, format!("no {what} is registered"))
            .hint("The registry is the list [[operator]] in cnsd.toml")
    };
    let (counter, name) = match &request.to {
        Assignee::Operator(id) => {
            let counter = daemon.operators.counter_of(id);
            (Some(counter.ok_or_else(|| unknown("operator with this identifier"))?), format!("operator {id}"))
        }
        Assignee::Counter(counter) if daemon.operators.has_counter(counter) => {
            (None, format!("counter {counter}"))
        }
        Assignee::Counter(_) => return Err(unknown("operator of a counter with this name")),
    };
    let selection = Selection::parse(&request.envelopes)?;
    let work = daemon.custody.assign_batch(&selection, &request.to, counter);
    let intention = format!("{selection} to {name}");
    recorded_as(&daemon, &call, act("custody-assign"), intention, work, |done| {
        format!("assigned {} envelopes to {name}", done.envelopes)
    })
    .await
}

/// `custody.return_envelopes`.
///
/// # Errors
/// When an envelope is not assigned, or not the asker's; then none was returned.
pub async fn give_back(
    daemon: Arc<Daemon>,
    call: Call,
    request: ReturnEnvelopes,
) -> Result<Changed, RpcError> {
    let (asker, selection) = (asker(&call)?, Selection::parse(&request.envelopes)?);
    let note = request.note.as_deref();
    check_note(note)?;
    let work = daemon.custody.return_envelopes(&selection, &asker);
    let intention = format!("{selection}{}", note_text(note));
    recorded_as(&daemon, &call, act("custody-return"), intention, work, |done| {
        format!("{} envelopes are back in the stock", done.envelopes)
    })
    .await
}

/// `custody.void_envelopes`.
///
/// # Errors
/// When an envelope is in use, or not the asker's; then none was voided.
pub async fn void(daemon: Arc<Daemon>, call: Call, request: VoidEnvelopes) -> Result<Voided, RpcError> {
    let (asker, selection) = (asker(&call)?, Selection::parse(&request.envelopes)?);
    let note = request.note.as_deref();
    check_note(note)?;
    let work = daemon.custody.void_envelopes(&selection, &asker, (request.reason, note));
    let intention = format!("{selection}, {}{}", request.reason.name(), note_text(note));
    recorded_as(&daemon, &call, act("custody-void"), intention, work, |done| match &done.request {
        None => format!("{} envelopes are void, their secrets destroyed", done.envelopes),
        Some(id) => format!("{} envelopes wait for a second person, request {id}", done.envelopes),
    })
    .await
}

/// `custody.decide_void`.
///
/// # Errors
/// When there is no such request, or who confirms is who asked.
pub async fn decide_void(daemon: Arc<Daemon>, call: Call, request: DecideVoid) -> Result<Changed, RpcError> {
    let asker = asker(&call)?;
    let id = &request.request;
    let what = daemon.custody.void_requested(id).await?;
    let verb = if request.confirm { "confirms" } else { "turns down" };
    let work = daemon.custody.decide_void(id, &asker, request.confirm);
    let intention = format!("{verb} request {id}: {what}");
    recorded_as(&daemon, &call, act("custody-void"), intention, work, |done| {
        let became = if request.confirm { "are void, their secrets destroyed" } else { "can be used again" };
        format!("{} envelopes {became}", done.envelopes)
    })
    .await
}

/// `custody.envelope_choices`.
///
/// # Errors
/// When the database fails.
pub async fn choices(daemon: Arc<Daemon>, _: Call, _: EnvelopeChoices) -> Result<Vec<Choices>, RpcError> {
    Ok(daemon.custody.envelope_choices().await?)
}

/// `custody.void_requests`.
///
/// # Errors
/// When the database fails.
pub async fn void_requests(
    daemon: Arc<Daemon>,
    call: Call,
    _: VoidRequests,
) -> Result<Vec<VoidRequest>, RpcError> {
    asker(&call)?;
    Ok(daemon.custody.void_requests().await?)
}

/// `custody.show_envelope`.
///
/// # Errors
/// When there is no such envelope.
pub async fn show(daemon: Arc<Daemon>, _: Call, request: ShowEnvelope) -> Result<EnvelopeStanding, RpcError> {
    Ok(daemon.custody.show_envelope(&request.code).await?)
}
