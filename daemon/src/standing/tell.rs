//! Telling the authority what was asked: at once, and in the background until it has answered (X10).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cns_protocol::audit::Phase;
use cns_protocol::certificate::{Act, Standing};
use time::OffsetDateTime;

use crate::audit::Record;
use crate::authority::Signer;
use crate::custody::CustodyError;
use crate::procedure::status::{Heard, StatusAuthority, StatusChange, StatusError};
use crate::standing::queue::Told;
use crate::standing::row::{Certificate, Change};
use crate::standing::{ACT, StandingError, Standings, rules, view, words};

/// How often the queue is looked at when nothing wakes it.
const TICK: Duration = Duration::from_secs(5);
/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE: i64 = 300;

/// For so long a record that cannot be read is left alone, in seconds.
const UNREADABLE_PAUSE: i64 = 3600;

/// What came of telling the authority of one certificate.
enum Answer {
    /// It has answered.
    Told(Told),
    /// It has not, for this reason.
    Unanswered(String),
    /// The operator's card did not sign.
    Unsigned(StatusError),
}

impl Standings {
    /// Tells the authority what is due, now and on and on, until it is dropped.
    pub async fn work_loop(self) {
        loop {
            if let Err(error) = self.work().await {
                tracing::error!(%error, "the authority cannot be told of certificates");
            }
            tokio::time::timeout(TICK, self.0.work.notified()).await.ok();
        }
    }

    /// Tells the authority once what is due. A card whose records cannot be read is left alone for an hour, so that it does
    /// not hold up others.
    ///
    /// # Errors
    /// See [`StandingError`]: what would fail for the next card as well.
    pub async fn work(&self) -> Result<(), StandingError> {
        if !self.has_authority() || self.wants_officer() {
            return Ok(());
        }
        for card in self.0.queue.due_cards(OffsetDateTime::now_utc().unix_timestamp()).await? {
            match self.tell_of_card(&card, None).await {
                Ok(_) => {}
                Err(error) if is_of_record(&error) => {
                    tracing::error!(%error, "a card's certificates: the authority is told of others meanwhile");
                    self.0.queue.leave_alone(&card, in_seconds(UNREADABLE_PAUSE)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the authority all that is open of a card. A certificate without an answer waits, with what was asked for it
    /// later; the card's others are told all the same. The operator's card may have failed.
    pub(super) async fn tell_of_card(
        &self,
        card: &str,
        officer: Option<&dyn Signer>,
    ) -> Result<Option<StatusError>, StandingError> {
        let Some(authority) = self.0.authority.get() else { return Ok(None) };
        let _guard = self.0.locks.lock(card).await;
        let mut waiting = HashSet::new();
        loop {
            let mut changes = self.0.queue.next_of_card(card).await?;
            changes.retain(|change| !waiting.contains(&change.sha256));
            if changes.is_empty() {
                return Ok(None);
            }
            let certificates = self.0.registry.of_card(card).await?;
            for change in &changes {
                let certificate = certificates.iter().find(|found| found.sha256 == change.sha256);
                let certificate = certificate.ok_or(StandingError::Damaged("standing_change"))?;
                match self.tell_of(authority, certificate, change, officer).await {
                    Ok(Answer::Told(told)) => self.note_answer(card, certificate, change, told).await?,
                    Ok(Answer::Unanswered(said)) => {
                        self.put_off(change, said, pause(change.attempts.saturating_add(1))).await?;
                        waiting.insert(change.sha256.clone());
                    }
                    Ok(Answer::Unsigned(error)) => return Ok(Some(error)),
                    Err(error) if is_of_record(&error) => {
                        self.put_off(change, error.to_string(), pause_after(&error, change.attempts)).await?;
                        waiting.insert(change.sha256.clone());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn tell_of(
        &self,
        authority: &Arc<dyn StatusAuthority>,
        certificate: &Certificate,
        change: &Change,
        officer: Option<&dyn Signer>,
    ) -> Result<Answer, StandingError> {
        let der = self.certificate(certificate)?;
        let transaction = hex::decode(&change.transaction).ok().and_then(|bytes| bytes.try_into().ok());
        let transaction = transaction.ok_or(StandingError::Damaged("standing_change"))?;
        let answer = authority.change(transaction, der.clone(), change.change, officer).await;
        // Also when the answer was lost.
        if let Some(source) = self.0.source.get() {
            source.forget(&der).await;
        }
        Ok(match answer {
            Ok(standing) => Answer::Told(Told::Done(standing, None)),
            Err(StatusError::Refused(said)) => Answer::Told(refused(certificate, change, said)),
            Err(StatusError::Failed(said) | StatusError::Unknown(said)) => Answer::Unanswered(said),
            Err(StatusError::Already(said)) => {
                already(certificate.standing, change.change, self.news(der, change).await, said)
            }
            Err(error @ StatusError::Officer(_)) => Answer::Unsigned(error),
        })
    }

    /// What the source says of a certificate since a change of it was asked for. What it knew before is no answer to that,
    /// but a revocation is for ever.
    async fn news(&self, certificate: Vec<u8>, change: &Change) -> News {
        let Some(source) = self.0.source.get() else { return News::NoSource };
        match source.status(certificate).await {
            Ok(Heard { standing: Standing::Revoked, .. }) => News::Standing(Standing::Revoked),
            Ok(heard) if change.is_asked_by(heard.at) => News::Standing(heard.standing),
            Ok(_) | Err(_) => News::Nothing,
        }
    }

    fn certificate(&self, certificate: &Certificate) -> Result<Vec<u8>, StandingError> {
        let personal = self.0.registry.personal(certificate)?;
        hex::decode(&personal.certificate).map_err(|_| StandingError::Damaged("card_certificate"))
    }

    /// The authority gave no answer: it is asked again after a pause, in seconds.
    async fn put_off(&self, change: &Change, said: String, pause: i64) -> Result<(), StandingError> {
        tracing::warn!(request = %change.request, said, "the authority is told again later");
        self.0.queue.told(change, Told::Later(said, in_seconds(pause))).await
    }

    /// Records the authority's answer, and then writes it down.
    async fn note_answer(
        &self,
        card: &str,
        certificate: &Certificate,
        change: &Change,
        told: Told,
    ) -> Result<(), StandingError> {
        let what = words(change.change);
        let name = view::key_use(certificate.key_use);
        let text = match &told {
            Told::Done(Standing::Revoked, _) if change.act() != Act::Revoke => {
                format!("{name} certificate: it is revoked already")
            }
            Told::Done(_, _) | Told::Later(_, _) => format!("{name} certificate: {what}"),
            Told::Refused(said) => format!("{name} certificate: not {what}: the authority refuses: {said}"),
        };
        let mut record = Record::new(ACT, Phase::Outcome, text).card(card);
        record.operator.clone_from(&change.operator);
        record.procedure = Some(change.request.clone());
        record.paragraph = rules::rule(change.act(), change.channel).map(|rule| rule.paragraph);
        self.0.audit.record(record).await?;
        self.0.queue.told(change, told).await
    }
}

/// What the source says of a certificate since it was asked for a change of it.
#[derive(Clone, Copy)]
enum News {
    /// There is none.
    NoSource,
    /// It does not know.
    Nothing,
    /// This.
    Standing(Standing),
}

/// What follows when the authority says that it is so already, which leaves open how the certificate stands: an earlier
/// answer was lost, somebody else asked, or it is suspended and the authority has one word for both.
fn already(before: Standing, change: StatusChange, news: News, said: String) -> Answer {
    let now = match (change, news) {
        (_, News::Standing(Standing::Revoked)) => Standing::Revoked,
        (StatusChange::Suspend(_), _) if before == Standing::Revoked => Standing::Revoked,
        // It is out of force, which is all that was wanted.
        (StatusChange::Suspend(_), _) => Standing::Suspended,
        (StatusChange::Reactivate, News::Standing(Standing::Good)) => Standing::Good,
        (StatusChange::Reactivate, News::NoSource | News::Standing(Standing::Suspended)) => {
            return Answer::Told(Told::Refused(said));
        }
        (StatusChange::Revoke(_), News::Standing(Standing::Suspended)) => return on_hold(&said),
        (StatusChange::Revoke(_), News::NoSource) if before == Standing::Suspended => return on_hold(&said),
        (StatusChange::Revoke(_), News::NoSource) => Standing::Revoked,
        (StatusChange::Revoke(_), News::Standing(Standing::Good)) | (_, News::Nothing) => {
            return Answer::Unanswered(format!("{said}, but its status does not tell so yet"));
        }
    };
    Answer::Told(Told::Done(now, Some(said)))
}

/// A revocation that the authority does not make of what is suspended.
fn on_hold(said: &str) -> Answer {
    let told = format!(
        "{said}: the certificate is suspended, and the authority revokes none that is; reactivate it and revoke it right after"
    );
    Answer::Told(Told::Refused(told))
}

/// A refusal. Of a certificate that was brought to this standing before, it says no more than that it is so already.
fn refused(certificate: &Certificate, change: &Change, said: String) -> Told {
    if certificate.standing == change.change.leads_to() && change.act() == Act::Suspend {
        Told::Done(certificate.standing, Some(said))
    } else {
        Told::Refused(said)
    }
}

/// Whether an error is of one record, and others may be well.
fn is_of_record(error: &StandingError) -> bool {
    match error {
        StandingError::Damaged(_) | StandingError::Certificate | StandingError::Custody(_) => true,
        StandingError::Database(error) => {
            matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
        }
        StandingError::Audit(_)
        | StandingError::NotIssued
        | StandingError::OtherHolder
        | StandingError::Random => false,
    }
}

/// Seconds until a certificate whose record could not be read is tried again. Memory may be free in a moment; what is
/// damaged stays so until somebody mends it.
fn pause_after(error: &StandingError, attempts: u32) -> i64 {
    if matches!(error, StandingError::Custody(CustodyError::Memory(_))) {
        pause(attempts.saturating_add(1))
    } else {
        UNREADABLE_PAUSE
    }
}

/// The time after a pause, in seconds since 1970.
fn in_seconds(pause: i64) -> i64 {
    OffsetDateTime::now_utc().unix_timestamp().saturating_add(pause)
}

/// Seconds until the next attempt: 1, 2, 4 and so on.
fn pause(attempts: u32) -> i64 {
    1_i64.checked_shl(attempts.saturating_sub(1).min(12)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::Reason;
    use cns_secret::Secret;

    use super::*;

    #[test]
    fn want_of_memory_passes_and_damage_stays() {
        let memory = Secret::zeroed(usize::MAX).err().unwrap();
        let memory = StandingError::Custody(CustodyError::Memory(memory));
        let damaged = StandingError::Damaged("card_certificate");
        for (attempts, soon) in [(0, 1), (3, 8), (100, LONGEST_PAUSE)] {
            assert_eq!(pause_after(&memory, attempts), soon);
            assert_eq!(pause_after(&damaged, attempts), UNREADABLE_PAUSE);
        }
    }

    /// What "it is so already" comes to: by what the certificate was here, what was asked, and what the source says since.
    #[test]
    fn already_is_what_the_source_says_and_never_more() {
        use Standing::{Good, Revoked, Suspended};
        let revoke = StatusChange::Revoke(Reason::Loss);
        let suspend = StatusChange::Suspend(None);
        let done = |standing| format!("done, {standing:?}");
        for (before, change, news, expected) in [
            (Good, suspend, News::NoSource, done(Suspended)),
            (Good, suspend, News::Nothing, done(Suspended)),
            (Good, suspend, News::Standing(Revoked), done(Revoked)),
            (Suspended, StatusChange::Reactivate, News::NoSource, "refused".to_owned()),
            (Suspended, StatusChange::Reactivate, News::Nothing, "unanswered".to_owned()),
            (Suspended, StatusChange::Reactivate, News::Standing(Suspended), "refused".to_owned()),
            (Suspended, StatusChange::Reactivate, News::Standing(Good), done(Good)),
            (Suspended, StatusChange::Reactivate, News::Standing(Revoked), done(Revoked)),
            (Good, revoke, News::NoSource, done(Revoked)),
            (Suspended, revoke, News::NoSource, "refused".to_owned()),
            (Good, revoke, News::Nothing, "unanswered".to_owned()),
            (Good, revoke, News::Standing(Good), "unanswered".to_owned()),
            (Good, revoke, News::Standing(Suspended), "refused".to_owned()),
            (Suspended, revoke, News::Standing(Revoked), done(Revoked)),
        ] {
            let told = match already(before, change, news, "certRevoked".to_owned()) {
                Answer::Told(Told::Done(standing, _)) => done(standing),
                Answer::Told(Told::Refused(_)) => "refused".to_owned(),
                Answer::Unanswered(_) => "unanswered".to_owned(),
                Answer::Told(Told::Later(..)) | Answer::Unsigned(_) => "something else".to_owned(),
            };
            assert_eq!(told, expected, "{before:?}, {change:?}");
        }
    }
}
