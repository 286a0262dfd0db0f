//! The status of a card's certificates: looked at before an activation (§9.3b), changed at a counter (§9.5–9.7).
//!
//! Always all certificates of the card (X10). What is true if the power fails: the transactions are persisted before
//! the authority hears of them, and each certificate is noted as soon as the authority has answered; so a repetition
//! asks again with the same transaction, and for what is left only.

use std::pin::Pin;

use cns_protocol::audit::Phase;
use cns_protocol::counter::Reason;
use sha2::{Digest, Sha256};

use crate::card::CardContents;
use crate::procedure::dossier::{CertificateChange, Dossier, Intent};
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

/// How a certificate stands with its authority (§1.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Neither suspended nor revoked.
    Good,
    /// Suspended: it may be reactivated.
    Suspended,
    /// Revoked for ever.
    Revoked,
}

/// What becomes of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// It is suspended (§9.5; CMP `rr` with certificateHold).
    Suspend(Reason),
    /// It is reactivated (§9.6; CMP `rr` with removeFromCRL).
    Reactivate,
    /// It is revoked for ever (§9.7).
    Revoke(Reason),
}

impl StatusChange {
    /// How a certificate stands afterwards.
    #[must_use]
    pub fn leads_to(self) -> CertificateStatus {
        match self {
            Self::Suspend(_) => CertificateStatus::Suspended,
            Self::Reactivate => CertificateStatus::Good,
            Self::Revoke(_) => CertificateStatus::Revoked,
        }
    }
}

/// Why the status is not known, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Neither the list nor the authority could be reached or believed: in words.
    #[error("the status of the certificate is not known: {0}")]
    Unknown(String),
    /// The authority could not be reached, or answered nonsense: in words.
    #[error("the certification authority: {0}")]
    Failed(String),
    /// The authority refused: in words.
    #[error("the certification authority refuses: {0}")]
    Refused(String),
}

/// What comes of asking.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, StatusError>> + Send + 'a>>;

/// Whoever knows the status of certificates: a revocation list, OCSP.
pub trait StatusSource: Send + Sync {
    /// How a certificate, DER, stands now.
    fn status(&self, certificate: Vec<u8>) -> Asked<'_, CertificateStatus>;
}

/// Whoever suspends, reactivates and revokes certificates.
pub trait StatusAuthority: Send + Sync {
    /// Changes the status of a certificate, DER. A repetition comes with the same transaction. A certificate that has
    /// the wanted status already is no error.
    fn change(&self, transaction: [u8; 16], certificate: Vec<u8>, change: StatusChange) -> Asked<'_, ()>;
}

impl Engine {
    /// §9.3b: no codes for a card whose authentication certificate is revoked, or suspended (X12). Without a source
    /// the operator is warned; a source that does not answer stops the procedure before anything is done.
    pub(super) async fn check_status(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
    ) -> Result<(), ProcedureError> {
        let Some(source) = self.status_source.get() else {
            dossier.warn("The certificate's status was not checked: no source is configured (§9.3b)");
            return Ok(());
        };
        let Some(certificate) = contents.authentication_certificate.clone() else {
            return Err(ProcedureError::Internal);
        };
        match source.status(certificate).await? {
            CertificateStatus::Good => Ok(()),
            CertificateStatus::Suspended => {
                Err(ProcedureError::rule("§9.3b", "the card is suspended", "la carta è sospesa").hinting(
                    "Reactivate it first (§9.6.2), in the same visit",
                    "Riattivarla prima (§9.6.2), nella stessa visita",
                ))
            }
            CertificateStatus::Revoked => Err(ProcedureError::rule(
                "§9.3b",
                "the card's certificate is revoked",
                "il certificato della carta è revocato",
            )
            .hinting(
                "The citizen may ask for a new card (§9.7)",
                "Il cittadino può richiedere una nuova carta (§9.7)",
            )),
        }
    }

    /// Suspends, reactivates or revokes all certificates of the card, from wherever an earlier attempt got to.
    pub(super) async fn change_status(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
    ) -> Result<(), ProcedureError> {
        let contents = self.card_of(dossier, actor)?;
        let meter = Meter::start(&self.readers, None);
        let change = change_of(step.name, dossier)?;
        let act = ("certificate-status", Phase::Intention, step.paragraph);
        self.record(actor, dossier, act, format!("all certificates: {}", name(change))).await?;
        let changed = self.change_all(dossier, &contents, change).await;
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
            authority.change(transaction, (*certificate).clone(), change).await?;
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
        Ok(StatusChange::Suspend(reason))
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
