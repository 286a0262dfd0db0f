//! Suspension, reactivation and revocation at a counter: all certificates of the card, one after the other.
//!
//! Always all of them (X10). What is true if the power fails: the transactions are persisted before the authority hears
//! of them, and each certificate is noted as soon as the authority has answered; so a repetition asks again with the same
//! transaction, and for what is left only.

use cns_protocol::audit::Phase;
use sha2::{Digest, Sha256};

use crate::authority::Signer;
use crate::card::CardContents;
use crate::procedure::dossier::{CertificateChange, Dossier, Intent};
use crate::procedure::signature::Pins;
use crate::procedure::status::StatusChange;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

impl Engine {
    /// Suspends, reactivates or revokes all certificates of the card, from wherever an earlier attempt got to.
    pub(in crate::procedure) async fn change_status(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        pins: Pins,
    ) -> Result<(), ProcedureError> {
        let authority = self.status_authority.get().ok_or(ProcedureError::NoStatusAuthority)?;
        let contents = self.card_of(dossier, actor)?;
        let officer = self.officer(authority.wants_officer(), actor, pins.operator)?;
        let officer: Option<&dyn Signer> = match &officer {
            Some(officer) => Some(officer),
            None => None,
        };
        let meter = Meter::start(&self.readers, None);
        let change = change_of(step.name, dossier)?;
        let act = ("certificate-status", Phase::Intention, step.paragraph);
        self.record(actor, dossier, act, format!("all certificates: {}", name(change))).await?;
        let changed = self.change_all(dossier, &contents, change, officer).await;
        let act = ("certificate-status", Phase::Outcome, step.paragraph);
        match changed {
            Ok(count) => {
                let text = format!("{count} certificates: {}", name(change));
                self.record(actor, dossier, act, text.clone()).await?;
                self.note(dossier, step, text, &meter);
                dossier.intent = None;
                self.store.update(dossier).await?;
                Ok(())
            }
            Err(error) => {
                self.record(actor, dossier, act, format!("not finished: {error}")).await?;
                Err(error)
            }
        }
    }

    async fn change_all(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
        change: StatusChange,
        officer: Option<&dyn Signer>,
    ) -> Result<usize, ProcedureError> {
        let authority = self.status_authority.get().ok_or(ProcedureError::NoStatusAuthority)?;
        let held = [&contents.authentication_certificate, &contents.signature_certificate];
        let held: Vec<_> = held.into_iter().flatten().collect();
        let mut changes = match dossier.intent.take() {
            Some(Intent::Status { certificates }) => certificates,
            Some(
                Intent::SetPin(_) | Intent::Signature(_) | Intent::Close { .. } | Intent::National { .. },
            )
            | None => Vec::new(),
        };
        for certificate in &held {
            let sha256 = hex::encode(Sha256::digest(certificate));
            if !changes.iter().any(|known| known.sha256 == sha256) {
                let transaction = random::hexadecimal::<16>()?;
                changes.push(CertificateChange { sha256, transaction, done: false });
            }
        }
        dossier.intent = Some(Intent::Status { certificates: changes.clone() });
        self.store.update(dossier).await?;
        for certificate in &held {
            let sha256 = hex::encode(Sha256::digest(certificate));
            let open = changes.iter().find(|known| known.sha256 == sha256 && !known.done).cloned();
            let Some(open) = open else { continue };
            let transaction = hex::decode(&open.transaction).ok().and_then(|bytes| bytes.try_into().ok());
            let transaction = transaction.ok_or(ProcedureError::Internal)?;
            let changed = authority.change(transaction, (*certificate).clone(), change, officer).await;
            // Also when the answer was lost: what was heard before counts no more.
            if let Some(source) = self.status_source.get() {
                source.forget(certificate);
            }
            changed?;
            changes.iter_mut().filter(|known| known.sha256 == sha256).for_each(|known| known.done = true);
            dossier.intent = Some(Intent::Status { certificates: changes.clone() });
            self.store.update(dossier).await?;
        }
        Ok(held.len())
    }
}

fn change_of(step: StepName, dossier: &Dossier) -> Result<StatusChange, ProcedureError> {
    if step == StepName::ReactivationWork {
        return Ok(StatusChange::Reactivate);
    }
    let reason = dossier.reason.ok_or(ProcedureError::Internal)?;
    if step == StepName::SuspensionWork {
        Ok(StatusChange::Suspend(Some(reason)))
    } else if step == StepName::RevocationWork {
        Ok(StatusChange::Revoke(reason))
    } else {
        Err(ProcedureError::Internal)
    }
}

fn name(change: StatusChange) -> &'static str {
    match change {
        StatusChange::Suspend(_) => "suspended",
        StatusChange::Reactivate => "reactivated",
        StatusChange::Revoke(_) => "revoked",
    }
}
