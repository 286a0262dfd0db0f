//! Suspension, reactivation and revocation at a counter: all certificates of the card (X10).
//!
//! What is asked is written down under the procedure's identifier before the authority hears of it, and told from there
//! ([`crate::standing`]): a repetition asks with the same transactions and for what is left only, and what the authority
//! could not be told it is told in the background.

use std::time::SystemTime;

use cns_protocol::certificate::{Act, Channel, Standing};

use crate::authority::Signer;
use crate::card::CardContents;
use crate::procedure::dossier::Dossier;
use crate::procedure::signature::Pins;
use crate::procedure::status::{StatusChange, StatusError};
use crate::procedure::steps::cases::Needs;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError};
use crate::standing::desk::ASK_AGAIN;
use crate::standing::{Order, Outcome, StandingError, rules};

/// A certificate of which nobody here can be told.
const NOT_THE_AUTHORITYS: &str = "A certificate on the card is not the configured authority's: its own certifier must be \
                                  told to suspend or revoke it (§9.5–§9.7)";

/// A card that is not known cannot be suspended while it is in no reader.
const NOT_NOTED: &str = "The card's certificates could not be noted: until the card comes to a counter again they cannot be \
                         suspended or revoked from afar (§9.5)";

impl Engine {
    /// Suspends, reactivates or revokes all certificates of the card, from wherever an earlier attempt got to.
    pub(in crate::procedure) async fn change_status(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        pins: Pins,
    ) -> Result<(), ProcedureError> {
        if !self.standings.has_authority() {
            return Err(ProcedureError::NoStatusAuthority);
        }
        let contents = self.card_of(dossier, actor)?;
        let officer = self.officer(self.standings.wants_officer(), actor, pins.operator)?;
        let officer: Option<&dyn Signer> = match &officer {
            Some(officer) => Some(officer),
            None => None,
        };
        let meter = Meter::start(&self.readers, None);
        let order = order(actor, dossier, step.name)?;
        if !self.standings.note(&contents, false).await? {
            dossier.warn(NOT_THE_AUTHORITYS);
        }
        self.standings.ask(&order).await?;
        let text = judge(order.change, self.standings.deliver(&order, officer).await?, officer.is_some())?;
        self.note(dossier, step, text, &meter);
        dossier.intent = None;
        self.store.update(dossier).await?;
        Ok(())
    }
}

impl Engine {
    /// §4.2.1: nothing is done with a card that is known as another holder's, and no status changed of one whose
    /// authentication certificate is not the authority's: either may be forged. Other work with certificates of another
    /// authority goes on, but the operator is told that they cannot be suspended here.
    pub(in crate::procedure) async fn judge_certificates(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
    ) -> Result<(), ProcedureError> {
        match self.standings.may_note(contents).await {
            Ok(true) => Ok(()),
            Err(StandingError::NotIssued) if dossier.rule().needs == Needs::StatusAuthority => {
                Err(StandingError::NotIssued.into())
            }
            Ok(false) | Err(StandingError::NotIssued) => {
                dossier.warn(NOT_THE_AUTHORITYS);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the certificates of a card on which the work is done and written down: what goes wrong now ends nothing, and
    /// the operator is told.
    pub(in crate::procedure) async fn note_certificates(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
        activated: bool,
    ) {
        match self.standings.note(contents, activated).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("a signature certificate that is not the authority's is not noted"),
            // It was judged before.
            Err(error @ (StandingError::NotIssued | StandingError::OtherHolder)) => {
                tracing::warn!(%error, "the card's certificates are not noted");
            }
            Err(error) => {
                tracing::error!(%error, "the card's certificates could not be noted");
                dossier.warn(NOT_NOTED);
                if let Err(error) = self.store.update(dossier).await {
                    tracing::error!(%error, "the operator could not be warned of it");
                }
            }
        }
    }

    /// Notes a signature certificate that was issued and is to be loaded (X10). What goes wrong ends nothing: it is noted
    /// again when it is on the card, and the operator is told.
    pub(in crate::procedure) async fn note_issued(&self, dossier: &mut Dossier, certificate: &[u8]) {
        if let Err(error) = self.standings.note_issued(&dossier.card, &dossier.holder, certificate).await {
            tracing::error!(%error, "the signature certificate that was issued could not be noted");
            dossier.warn(NOT_NOTED);
        }
    }

    /// X12: no codes for a card that was suspended or revoked here, also while the authority does not know it yet. What it
    /// has done up to `heard` is for the source to tell, where there is one that knows.
    pub(in crate::procedure) async fn refuse_out_of_force(
        &self,
        card: &str,
        heard: Option<SystemTime>,
    ) -> Result<(), ProcedureError> {
        match self.standings.out_of_force(card, heard).await? {
            None => Ok(()),
            Some(Standing::Revoked) => Err(ProcedureError::rule(
                "§9.3b",
                "the card's certificates are revoked",
                "i certificati della carta sono revocati",
            )
            .hinting(
                "The citizen may ask for a new card (§9.7)",
                "Il cittadino può richiedere una nuova carta (§9.7)",
            )),
            Some(Standing::Suspended | Standing::Good) => Err(ProcedureError::rule(
                "§9.3b",
                "the suspension of the card was asked for",
                "è stata richiesta la sospensione della carta",
            )
            .hinting(
                "Reactivate it first (§9.6.2), in the same visit",
                "Riattivarla prima (§9.6.2), nella stessa visita",
            )),
        }
    }
}

/// What is asked for the card of a procedure.
fn order(actor: &Actor, dossier: &Dossier, step: StepName) -> Result<Order, ProcedureError> {
    let reason = || dossier.reason.ok_or(ProcedureError::Internal);
    let (act, change) = if step == StepName::ReactivationWork {
        (Act::Reactivate, StatusChange::Reactivate)
    } else if step == StepName::SuspensionWork {
        (Act::Suspend, StatusChange::Suspend(Some(reason()?)))
    } else if step == StepName::RevocationWork {
        (Act::Revoke, StatusChange::Revoke(reason()?))
    } else {
        return Err(ProcedureError::Internal);
    };
    let rule = rules::rule(act, Channel::Counter).ok_or(ProcedureError::Internal)?;
    Ok(Order {
        request: dossier.id.clone(),
        card: dossier.card.clone(),
        change,
        reason: dossier.reason,
        channel: Channel::Counter,
        paragraph: rule.paragraph,
        user: actor.user,
        operator: actor.operator.clone(),
        // Who was identified, and by what, stands in the procedure.
        identified: None,
        paper: None,
    })
}

/// What the operator is told. The step is done once the authority has answered for every certificate. Where it is told
/// with the operator's card, nobody tells it of the rest but the operator.
fn judge(change: StatusChange, outcome: Outcome, by_officer: bool) -> Result<String, StatusError> {
    let name = match change {
        StatusChange::Suspend(_) => "suspended",
        StatusChange::Reactivate => "reactivated",
        StatusChange::Revoke(_) => "revoked",
    };
    let Outcome { done, pending, refused, officer } = outcome;
    if let Some(error) = officer {
        return Err(error);
    }
    if !refused.is_empty() {
        let rest = refused.iter().chain(&pending).map(String::as_str).collect::<Vec<_>>().join("; ");
        return Err(StatusError::Refused(format!("{rest} ({done} certificates are {name})")));
    }
    if !pending.is_empty() {
        let rest = pending.join("; ");
        let next = if by_officer { ASK_AGAIN } else { "the rest is told on" };
        let told = format!("not yet {name}: {rest} ({done} certificates are {name}; {next})");
        return Err(StatusError::Failed(told));
    }
    Ok(format!("{done} certificates: {name}"))
}
