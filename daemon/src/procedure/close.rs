//! The end of a procedure: done, cancelled or refused. What custody has to do is persisted first, so that a power cut
//! neither loses an envelope nor leaves a PIN behind that nobody needs any more.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Procedure, ProcedureState};

use crate::custody::{CustodyError, EnvelopeState, Unavailable};
use crate::procedure::dossier::{Dossier, Ends, EnvelopeEnd, Intent};
use crate::procedure::steps::cases::Needs;
use crate::procedure::store::StoreError;
use crate::procedure::{Actor, Engine, ProcedureError};

/// What goes on when a change of status is given up before the authority has answered for all certificates (X10).
const STILL_TOLD: &str = "The authority was not told of all certificates of the card yet: it goes on being told, and \
                          `certificate.status` says how far it is";

/// The same, where the authority is told with the operator's card only (§7).
const NOT_TOLD: &str = "The authority was not told of all certificates of the card: it is told of the rest when the change is \
                        asked for again, with `operator_pin`";

/// What the operator should know when the envelope is void whose PIN the signature area may have.
const AREA_PIN_UNKNOWN: &str = "The signature PIN may be unknown: where the card has a signature certificate, give the citizen new \
                                codes with other envelopes (§9.4)";

impl Engine {
    pub(super) async fn cancel(&self, actor: &Actor, id: &str) -> Result<Procedure, ProcedureError> {
        let card = self.load(id).await?.card;
        let _guard = self.locks.lock(&card).await;
        let mut dossier = self.load(id).await?;
        refuse_other_operator(&dossier, actor)?;
        if dossier.is_over() {
            return Err(ProcedureError::Over(dossier.id));
        }
        let ends = dossier.ends();
        let paragraph = dossier.rule().paragraph;
        self.record(actor, &dossier, ("procedure-cancelled", Phase::Fact, paragraph), cancelled(ends))
            .await?;
        if ends.card == EnvelopeEnd::Void {
            dossier
                .warn("The card's PIN is unknown: give the citizen new codes with another envelope (§9.4)");
        }
        if ends.area == EnvelopeEnd::Void {
            dossier.warn(AREA_PIN_UNKNOWN);
        }
        let mut seen = None;
        if let Some(begun) = dossier.certificate_request().cloned() {
            let (warning, contents) = self.what_is_left(&dossier, &begun).await;
            dossier.warn(warning);
            seen = contents;
        }
        if dossier.rule().needs == Needs::StatusAuthority && self.standings.is_pending(&dossier.card).await? {
            dossier.warn(if self.standings.wants_officer() { NOT_TOLD } else { STILL_TOLD });
        }
        self.withdraw_request(actor, &mut dossier).await?;
        self.close(&mut dossier, ProcedureState::Cancelled, ends).await?;
        if let Some(contents) = seen {
            self.note_certificates(&mut dossier, &contents, false).await;
        }
        Ok(dossier.to_procedure())
    }

    /// Ends a procedure: persists the end, then lets custody follow.
    pub(super) async fn close(
        &self,
        dossier: &mut Dossier,
        state: ProcedureState,
        ends: Ends,
    ) -> Result<(), ProcedureError> {
        dossier.state = state;
        dossier.intent = Some(Intent::Close { envelope: ends.card, area: ends.area });
        self.store.update(dossier).await?;
        self.finish_close(dossier, ends).await
    }

    /// What custody does at the end. Safe to repeat.
    pub(super) async fn finish_close(&self, dossier: &mut Dossier, ends: Ends) -> Result<(), ProcedureError> {
        let area = dossier.area_envelope.as_ref().and_then(|area| area.code.as_ref());
        for (code, end) in [(dossier.envelope.as_ref(), ends.card), (area, ends.area)] {
            let Some(code) = code else { continue };
            match end {
                EnvelopeEnd::None | EnvelopeEnd::Used => {}
                EnvelopeEnd::Release => self.release(code, &dossier.id).await?,
                EnvelopeEnd::Void => {
                    self.custody.void(code, &dossier.id, "its PIN may be on a card").await?;
                }
            }
        }
        self.custody.consume(&dossier.id).await?;
        dossier.intent = None;
        match self.store.update(dossier).await {
            // Another daemon on the same database may have found the same end waiting: it did the same.
            Err(StoreError::Changed) => {
                *dossier = self.load(&dossier.id).await?;
                if dossier.intent.is_some() { Err(StoreError::Changed.into()) } else { Ok(()) }
            }
            outcome => Ok(outcome?),
        }
    }
}

impl Engine {
    /// Gives an envelope back to its operator. Repeated, it may already serve another procedure: that is not undone.
    /// An envelope that this procedure never got to reserve has nothing to be given back.
    pub(super) async fn release(&self, code: &str, procedure: &str) -> Result<(), ProcedureError> {
        let free = Unavailable::State(EnvelopeState::Available);
        match self.custody.release(code, procedure).await {
            Err(CustodyError::EnvelopeUnknown { .. }) => Ok(()),
            Err(CustodyError::EnvelopeUnavailable { reason, .. })
                if reason == Unavailable::OtherProcedure || reason == free =>
            {
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }
}

/// What becomes of a cancelled procedure's envelopes, in words.
fn cancelled(ends: Ends) -> String {
    let card = match ends.card {
        EnvelopeEnd::None => "cancelled before an envelope was chosen",
        EnvelopeEnd::Release => "cancelled; the card was not touched, the envelope is free again",
        EnvelopeEnd::Void => "cancelled; the envelope's PIN may be on the card, the envelope is void",
        EnvelopeEnd::Used => "closed after the envelope was handed over",
    };
    let area = match ends.area {
        EnvelopeEnd::None => return card.to_owned(),
        EnvelopeEnd::Release => "is free again",
        EnvelopeEnd::Void => "is void",
        EnvelopeEnd::Used => "was handed over",
    };
    let card = if ends.card == EnvelopeEnd::None { "cancelled" } else { card };
    format!("{card}; the envelope of the signature PIN {area}")
}

/// A procedure is its operator's until another takes it over with `counter.start` on the card.
pub(super) fn refuse_other_operator(dossier: &Dossier, actor: &Actor) -> Result<(), ProcedureError> {
    if actor.operator.as_deref() == Some(dossier.operator.as_str()) {
        return Ok(());
    }
    Err(ProcedureError::rule(
        "§9.3.2-2",
        format!("procedure {} belongs to operator {}", dossier.id, dossier.operator),
        format!("la procedura {} è dell'operatore {}", dossier.id, dossier.operator),
    )
    .hinting(
        "Start a procedure on the card: that takes over or replaces the open one",
        "Avviare una procedura sulla carta: quella aperta viene rilevata o sostituita",
    ))
}
