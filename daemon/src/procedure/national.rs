//! Cards of another region (§8, §9.3.3): the counter's request, and the national system's answer.
//!
//! What is true if the power fails: the request's key is persisted before the request is queued, and the request is a row of
//! its own ([`crate::national`]) before the national system hears of it, so that a repetition is one request and not two.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Applicant, ProcedureState, Reason};
use cns_protocol::national::{FirstPart, Request, RequestKind, RequestState, RevocationReason};

use crate::national::{Asker, Withdrawn};
use crate::procedure::dossier::{Dossier, Ends, Intent};
use crate::procedure::steps::StepRule;
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

/// How much of what the national system says is kept.
const LONGEST_MESSAGE: usize = 200;
/// Also for the procedure that takes the place of the one that sent it.
pub(super) const MAY_HAVE_COME: &str =
    "The request may have reached the national system, which then does what was asked for";
/// Also for who takes the procedure over.
pub(super) const WAS_ACCEPTED: &str =
    "The national system has accepted the request, and does what was asked for";
const NO_FIRST_PART: &str =
    "The national system has sent no first part of the codes: ask it by other means (§8.2)";

impl Engine {
    /// §8-out: the request goes out once, however often the step is answered.
    pub(super) async fn ask_national_system(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
    ) -> Result<(), ProcedureError> {
        let national = self.national.get().ok_or(ProcedureError::NoNationalSystem)?;
        let meter = Meter::start(&self.readers, None);
        let id = match &dossier.intent {
            Some(Intent::National { transaction }) => transaction.clone(),
            Some(Intent::SetPin(_) | Intent::Signature(_) | Intent::Close { .. } | Intent::Status { .. })
            | None => random::hexadecimal::<16>()?,
        };
        let request = request_of(dossier)?;
        let codes = request.email.is_some();
        let act = |phase| ("national-request", phase, step.paragraph);
        self.record(actor, dossier, act(Phase::Intention), format!("request {id}")).await?;
        dossier.intent = Some(Intent::National { transaction: id.clone() });
        self.store.update(dossier).await?;
        let asker = Asker { user: actor.user, operator: &dossier.operator, counter: &dossier.counter };
        let asked = national.ask(asker, &id, request).await;
        let standing = match asked {
            Ok(standing) => standing,
            Err(error) => {
                self.record(actor, dossier, act(Phase::Outcome), format!("not sent: {error}")).await?;
                return Err(error.into());
            }
        };
        let said = printable(&standing.message);
        match standing.state {
            RequestState::Queued => {
                self.record(actor, dossier, act(Phase::Outcome), "no answer yet").await?;
                Err(ProcedureError::NationalWaits(said))
            }
            RequestState::Refused => {
                self.record(actor, dossier, act(Phase::Outcome), "refused").await?;
                self.note(dossier, step, format!("refused: {said}"), &meter);
                self.close(dossier, ProcedureState::Cancelled, Ends::default()).await?;
                Err(ProcedureError::NationalRefused(said))
            }
            RequestState::Accepted => {
                let text = format!("request {id} was accepted");
                self.record(actor, dossier, act(Phase::Outcome), text.clone()).await?;
                self.note(dossier, step, text, &meter);
                if codes && standing.first_part.is_none() {
                    dossier.warn(NO_FIRST_PART);
                }
                if let Some(request) = &mut dossier.national_request {
                    request.id = Some(id);
                }
                dossier.intent = None;
                Ok(self.store.update(dossier).await?)
            }
        }
    }

    /// Whether another region has accepted the request of a procedure, at the counter or later.
    pub(super) async fn request_was_accepted(&self, dossier: &Dossier) -> Result<bool, ProcedureError> {
        let Some(Intent::National { transaction }) = &dossier.intent else {
            return Ok(dossier.national_request.as_ref().is_some_and(|request| request.id.is_some()));
        };
        match self.national.get() {
            Some(national) => Ok(national.was_accepted(transaction).await?),
            None => Ok(false),
        }
    }

    /// Takes back the request of a procedure that ends with it on its way, as far as that can be, and tells what had become
    /// of it. Safe to repeat.
    pub(super) async fn withdraw_request(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
    ) -> Result<Option<Withdrawn>, ProcedureError> {
        let Some(Intent::National { transaction }) = &dossier.intent else { return Ok(None) };
        let act = |phase| ("national-withdraw", phase, dossier.rule().paragraph);
        let text = format!("request {transaction} is taken back");
        self.record(actor, dossier, act(Phase::Intention), text).await?;
        let withdrawn = match self.national.get() {
            Some(national) => national.withdraw(transaction).await?,
            None => Withdrawn::MayBeSent,
        };
        let (became, warning) = match withdrawn {
            Withdrawn::NeverSent => ("nobody has heard of it", None),
            Withdrawn::MayBeSent => ("it may have reached the national system", Some(MAY_HAVE_COME)),
            Withdrawn::Accepted => ("it was accepted and stays", Some(WAS_ACCEPTED)),
            Withdrawn::Refused => ("it was refused", None),
        };
        self.record(actor, dossier, act(Phase::Outcome), became).await?;
        if let Some(warning) = warning {
            dossier.warn(warning);
        }
        Ok(Some(withdrawn))
    }

    /// The first part of the codes, for the form (§9.3.3-6): what the national system answered to this procedure.
    pub(super) async fn first_part(&self, dossier: &Dossier) -> Result<Option<FirstPart>, ProcedureError> {
        let id = dossier.national_request.as_ref().and_then(|request| request.id.as_ref());
        match (id, self.national.get()) {
            (Some(id), Some(national)) => Ok(national.show(id).await?.first_part),
            (_, _) => Ok(None),
        }
    }
}

/// What goes out of what was entered.
fn request_of(dossier: &Dossier) -> Result<Request, ProcedureError> {
    let entered = dossier.national_request.as_ref().ok_or(ProcedureError::Internal)?;
    Ok(Request {
        kind: entered.request,
        card: dossier.card.clone(),
        codice_fiscale: dossier.holder.codice_fiscale.clone(),
        email: entered.email.clone().filter(|_| entered.request != RequestKind::Revocation),
        delegate: dossier.applicant == Some(Applicant::Delegate),
        reason: dossier.reason.map(reason),
    })
}

/// A reason as other regions know it.
fn reason(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Theft | Reason::Loss => RevocationReason::LossOrTheft,
        Reason::CodesCompromised => RevocationReason::CompromisedCodes,
        Reason::Malfunction => RevocationReason::Malfunction,
        // The last three are the issuing body's, and never stated at a counter (§9.7.2).
        Reason::WrongData | Reason::NotDelivered | Reason::Death | Reason::EntitlementEnded => {
            RevocationReason::WrongData
        }
    }
}

/// What a peer says is short and printable before anybody reads it.
fn printable(message: &str) -> String {
    message.chars().filter(|sign| !sign.is_control()).take(LONGEST_MESSAGE).collect()
}
