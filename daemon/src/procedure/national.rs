//! The national system, for cards of another region (§8, §9.3.3): the seam to a connector.
//!
//! What is true if the power fails: the transaction is persisted before the national system hears of it, so that a
//! repetition is one request and not two.

use std::pin::Pin;

use cns_protocol::audit::Phase;
use cns_protocol::card::Holder;
use cns_protocol::counter::{NationalRequest, Representative};

use crate::procedure::dossier::{Dossier, Intent};
use crate::procedure::steps::StepRule;
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

/// A request to the national system (§9.3.3-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The same in every repetition.
    pub transaction: String,
    /// The card's serial number.
    pub card: String,
    /// The holder, as the card says.
    pub holder: Holder,
    /// Who acts for the holder, if somebody does.
    pub representative: Option<Representative>,
    /// What is asked, and where the second part of the codes goes.
    pub request: NationalRequest,
    /// The counter that asks.
    pub counter: String,
}

/// Why the national system did not take a request.
#[derive(Debug, thiserror::Error)]
pub enum NationalError {
    /// It could not be reached, or answered nonsense: in words.
    #[error("the national system: {0}")]
    Failed(String),
    /// It refused: in words.
    #[error("the national system refuses: {0}")]
    Refused(String),
}

/// What comes of a request: its reference number there.
pub type Accepted<'a> = Pin<Box<dyn Future<Output = Result<String, NationalError>> + Send + 'a>>;

/// The connection to the national system. No secret comes back through it: the first part of the codes is printed by
/// other means (§9.3.3-secret).
pub trait NationalSystem: Send + Sync {
    /// Sends a request. A repetition comes with the same transaction and must lead to one request only.
    fn send(&self, request: Outgoing) -> Accepted<'_>;
}

impl Engine {
    /// §8-out.
    pub(super) async fn ask_national_system(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
    ) -> Result<(), ProcedureError> {
        let system = self.national_system.get().ok_or(ProcedureError::NoNationalSystem)?;
        let request = dossier.national_request.clone().ok_or(ProcedureError::Internal)?;
        let meter = Meter::start(&self.readers, None);
        let transaction = match &dossier.intent {
            Some(Intent::National { transaction }) => transaction.clone(),
            Some(Intent::SetPin(_) | Intent::Signature(_) | Intent::Close { .. } | Intent::Status { .. })
            | None => random::hexadecimal::<16>()?,
        };
        let act = |phase| ("national-request", phase, step.paragraph);
        self.record(actor, dossier, act(Phase::Intention), format!("transaction {transaction}")).await?;
        dossier.intent = Some(Intent::National { transaction: transaction.clone() });
        self.store.update(dossier).await?;
        let outgoing = Outgoing {
            transaction,
            card: dossier.card.clone(),
            holder: dossier.holder.clone(),
            representative: dossier.representative.clone(),
            request,
            counter: dossier.counter.clone(),
        };
        match system.send(outgoing).await {
            Ok(reference) => {
                // What a peer says is short and printable before it is kept.
                let reference: String = reference.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
                let text = format!("accepted with reference {reference}");
                self.record(actor, dossier, act(Phase::Outcome), text.clone()).await?;
                self.note(dossier, step, text, &meter);
                dossier.intent = None;
                self.store.update(dossier).await?;
                Ok(())
            }
            Err(error) => {
                self.record(actor, dossier, act(Phase::Outcome), format!("not accepted: {error}")).await?;
                Err(error.into())
            }
        }
    }
}
