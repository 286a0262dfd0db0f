//! The life of certificates (§9.5–§9.7): which ones the holders' cards have, how they stand, and what the authority is told.
//!
//! A card that is lost is in no reader, so the certificates of every card that is activated here are noted ([`registry`]).
//! What is asked for a card is written down, one row for each of its certificates with the CMP transaction of it ([`queue`]),
//! before the authority hears of anything; from there it is told, at once and, where it does not answer, again and again in
//! the background with longer and longer pauses, over restarts, always with the same transaction. So nothing is lost, nothing
//! is asked twice, and never stays a card half suspended (X10). A certificate's requests are told in the order in which they
//! were made.
//!
//! [`desk`] is for those who ask from outside, by the rules of [`rules`].

mod concern;
pub mod desk;
mod error;
mod genuine;
mod order;
mod queue;
mod registry;
mod row;
pub mod rules;
mod tell;
mod view;

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use cns_protocol::audit::Phase;
use cns_protocol::card::{Holder, KeyUse};
use cns_protocol::certificate::{Act, CardStanding, ChangeState, Standing};
use time::OffsetDateTime;
use tokio::sync::Notify;

use self::concern::{concerns, is_to_be_sent};
pub use self::error::StandingError;
pub use self::order::{Order, Outcome};
use self::queue::Queue;
use self::registry::Registry;
use self::row::{Certificate, Change};
use crate::audit::{Audit, Record};
use crate::authority::Signer;
use crate::card::{CardContents, contents};
use crate::custody::Custody;
use crate::database::Database;
use crate::procedure::labels;
use crate::procedure::locks::Locks;
use crate::procedure::status::{StatusAuthority, StatusChange, StatusSource};

/// What is recorded.
const ACT: &str = "certificate-status";
/// Certificates and their standing. Clones share them.
#[derive(Clone)]
pub struct Standings(Arc<Inner>);

struct Inner {
    registry: Registry,
    queue: Queue,
    audit: Audit,
    /// Nobody, until one is linked.
    authority: OnceLock<Arc<dyn StatusAuthority>>,
    source: OnceLock<Arc<dyn StatusSource>>,
    /// One at a time tells the authority of a card.
    locks: Locks,
    work: Notify,
}

impl Standings {
    /// The certificates noted in `database`.
    #[must_use]
    pub fn open(database: &Database, custody: &Custody, audit: &Audit) -> Self {
        Self(Arc::new(Inner {
            registry: Registry::new(database.clone(), custody.clone()),
            queue: Queue::new(database.clone(), custody.sealer().clone()),
            audit: audit.clone(),
            authority: OnceLock::new(),
            source: OnceLock::new(),
            locks: Locks::default(),
            work: Notify::new(),
        }))
    }

    /// Has `authority` told. There is one: a second is not taken.
    pub fn tell(&self, authority: Arc<dyn StatusAuthority>) {
        if self.0.authority.set(authority).is_err() {
            tracing::error!("there is an authority for certificates' status already");
        }
    }

    /// Has `source` asked where the authority's answer does not tell how a certificate stands, and told to forget what it
    /// knows of each that may stand otherwise now. There is one: a second is not taken.
    pub fn ask_status_of(&self, source: Arc<dyn StatusSource>) {
        if self.0.source.set(source).is_err() {
            tracing::error!("there is a source of certificates' status already");
        }
    }

    /// Where acts are recorded.
    pub(crate) fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// Whether there is anybody to be told.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        self.0.authority.get().is_some()
    }

    /// Whether the authority wants each request signed on the operator's card (§7), so that nothing can be told without.
    #[must_use]
    pub fn wants_officer(&self) -> bool {
        self.0.authority.get().is_some_and(|authority| authority.wants_officer())
    }

    /// Notes the certificates that a card has now; `activated` says that its codes were just set. A signature certificate
    /// that is not the authority's is left out; says whether none was.
    ///
    /// # Errors
    /// See [`StandingError`]: [`StandingError::NotIssued`] and [`StandingError::OtherHolder`] are the card's fault (§4.2.1),
    /// and nothing is noted then.
    pub async fn note(&self, contents: &CardContents, activated: bool) -> Result<bool, StandingError> {
        let (own, whole) = self.genuine(&contents.card)?;
        self.0.registry.note(&contents.card, &own, activated).await?;
        Ok(whole)
    }

    /// Notes a signature certificate that was issued for a card and is not on it yet, so that what is asked for the card
    /// meanwhile concerns it too (X10). One that is noted stays as it is.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn note_issued(&self, card: &str, holder: &Holder, der: &[u8]) -> Result<(), StandingError> {
        // It was judged: it can be read.
        let Some(certificate) = contents::parse(der) else { return Ok(()) };
        self.0.registry.note_issued(card, holder, &certificate.describe(KeyUse::Signature)).await
    }

    /// Whether [`Standings::note`] would note the card's certificates.
    ///
    /// # Errors
    /// As that; of a card that is another holder's and not the authority's either, the former.
    pub async fn may_note(&self, contents: &CardContents) -> Result<bool, StandingError> {
        self.0.registry.refuse_other_holder(&contents.card, &[]).await?;
        let (own, whole) = self.genuine(&contents.card)?;
        self.0.registry.refuse_other_holder(&contents.card, &own).await?;
        Ok(whole)
    }

    /// Notes that the signature certificate is no longer on the card.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn signature_removed(&self, card: &str) -> Result<(), StandingError> {
        self.0.registry.removed(card, KeyUse::Signature).await
    }

    /// How the certificates of a card stand; nothing where none is known.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn of_card(&self, card: &str) -> Result<Option<CardStanding>, StandingError> {
        // In this order: an answer that comes in between is then seen as pending, and never as done without its standing.
        let changes = self.0.queue.last_of_card(card).await?;
        let certificates = self.0.registry.of_card(card).await?;
        let told = |certificate: &Certificate| {
            let change = last_of(&changes, certificate);
            Ok::<_, StandingError>(view::certificate(
                certificate,
                &self.0.registry.personal(certificate)?,
                change,
            ))
        };
        let told: Vec<_> = certificates.iter().map(told).collect::<Result<_, _>>()?;
        Ok((!told.is_empty()).then(|| CardStanding { card: card.to_owned(), certificates: told }))
    }

    /// The holder of a card, as it was when its certificates were noted.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn holder(&self, card: &str) -> Result<Option<Holder>, StandingError> {
        let certificates = self.0.registry.of_card(card).await?;
        let Some(certificate) = certificates.first() else { return Ok(None) };
        Ok(Some(self.0.registry.personal(certificate)?.holder))
    }

    /// The holder's cards whose certificates are noted, those that are not revoked before others.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn cards_of(&self, codice_fiscale: &str) -> Result<Vec<String>, StandingError> {
        self.0.registry.cards_of(codice_fiscale).await
    }

    /// Writes down what is asked for a card, and records the intention. What is asked already, or was done a moment ago, is
    /// not asked anew.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn ask(&self, order: &Order) -> Result<(), StandingError> {
        let changes = self.0.queue.last_of_card(&order.card).await?;
        let certificates = self.0.registry.of_card(&order.card).await?;
        let concerned: Vec<Certificate> = certificates
            .into_iter()
            .filter(|certificate| concerns(order.change, certificate, last_of(&changes, certificate)))
            .collect();
        let reason = order.reason.map_or("no reason stated", |reason| labels::reason(reason).0);
        let text = format!("{}: {} certificates, {reason}", words(order.change), concerned.len());
        self.record(order.user, order.operator.as_deref(), order, Phase::Intention, text).await?;
        let now = OffsetDateTime::now_utc();
        self.0
            .queue
            .ask(order, &concerned, |certificate, last| is_to_be_sent(order, certificate, last, now))
            .await?;
        self.0.work.notify_one();
        Ok(())
    }

    /// Tells the authority what it was not told yet of a card's certificates, and says how far an order is. What it does not
    /// answer is left for later.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn deliver(
        &self,
        order: &Order,
        officer: Option<&dyn Signer>,
    ) -> Result<Outcome, StandingError> {
        let failed = self.tell_of_card(&order.card, officer).await?;
        let mut outcome = self.outcome(order).await?;
        outcome.officer = failed;
        Ok(outcome)
    }

    /// How far an order is.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn outcome(&self, order: &Order) -> Result<Outcome, StandingError> {
        let changes = self.0.queue.last_of_card(&order.card).await?;
        let certificates = self.0.registry.of_card(&order.card).await?;
        let mut outcome = Outcome::default();
        for certificate in &certificates {
            let last = last_of(&changes, certificate);
            if !concerns(order.change, certificate, last) {
                continue;
            }
            let name = view::key_use(certificate.key_use);
            let revoked = certificate.standing == Standing::Revoked;
            let is_reactivation = order.change == StatusChange::Reactivate;
            match last.map(|last| (last.state, last.said.as_deref().unwrap_or_default())) {
                Some((ChangeState::Pending, said)) => outcome.pending.push(format!("{name}: {said}")),
                _ if revoked && is_reactivation => {
                    outcome.refused.push(format!("{name}: revoked for ever (§9.7)"));
                }
                Some((ChangeState::Refused, said)) if !revoked => {
                    outcome.refused.push(format!("{name}: {said}"));
                }
                Some((ChangeState::Done | ChangeState::Refused, _)) | None => {
                    outcome.done = outcome.done.saturating_add(1);
                }
            }
        }
        Ok(outcome)
    }

    /// Whether the authority was not told something yet of this card.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn is_pending(&self, card: &str) -> Result<bool, StandingError> {
        Ok(!self.0.queue.next_of_card(card).await?.is_empty())
    }

    /// Whether a card's certificates are suspended or revoked, or were asked to be and the authority was not told yet. What
    /// it has answered counts if somebody told how they stand at `heard`, and it was later; always where nobody did.
    ///
    /// # Errors
    /// See [`StandingError`].
    pub async fn out_of_force(
        &self,
        card: &str,
        heard: Option<SystemTime>,
    ) -> Result<Option<Standing>, StandingError> {
        let changes = self.0.queue.last_of_card(card).await?;
        let certificates = self.0.registry.of_card(card).await?;
        let stands = |certificate: &Certificate| {
            let pending = |change: &&Change| {
                change.sha256 == certificate.sha256 && change.state == ChangeState::Pending
            };
            match changes.iter().find(pending).map(Change::act) {
                Some(Act::Suspend) => Standing::Suspended,
                Some(Act::Revoke) => Standing::Revoked,
                Some(Act::Reactivate) => Standing::Good,
                None if heard.is_none_or(|heard| certificate.is_since(heard)) => certificate.standing,
                None => Standing::Good,
            }
        };
        let all: Vec<Standing> = certificates.iter().filter(|one| !one.removed).map(stands).collect();
        let worst = [Standing::Revoked, Standing::Suspended].into_iter().find(|worst| all.contains(worst));
        Ok(worst)
    }

    async fn record(
        &self,
        user: Option<u32>,
        operator: Option<&str>,
        order: &Order,
        phase: Phase,
        text: String,
    ) -> Result<(), StandingError> {
        let mut record = Record::new(ACT, phase, text).card(&order.card).paragraph(order.paragraph);
        record.user = user;
        record.operator = operator.map(str::to_owned);
        record.procedure = Some(order.request.clone());
        self.0.audit.record(record).await?;
        Ok(())
    }
}

/// What was asked last for a certificate.
fn last_of<'c>(changes: &'c [Change], certificate: &Certificate) -> Option<&'c Change> {
    changes.iter().find(|change| change.sha256 == certificate.sha256)
}

/// What was done, in words.
fn words(change: StatusChange) -> &'static str {
    match change {
        StatusChange::Suspend(_) => "suspended",
        StatusChange::Reactivate => "reactivated",
        StatusChange::Revoke(_) => "revoked",
    }
}
