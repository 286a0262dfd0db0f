//! Holders as the web area and the call centre know them: by codice fiscale and user code (§6.2, §6.3).
//!
//! A wrong code and an unknown holder are one answer, after one time: both cost the same hash, and the answer waits for
//! [`PATIENCE`]. Attempts are counted in the database before the code is looked at, for each holder, known or not, and for
//! each peer; a restart forgets none.

use std::time::Duration;

use cns_secret::Secret;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::config::UserCodesConfig;
use crate::custody::{Custody, CustodyError};
use crate::database::Database;

/// The least that an answer takes: longer than the hash and its look-ups.
const PATIENCE: Duration = Duration::from_millis(300);
const HOUR: i64 = 60 * 60;
/// Attempts that are older do not count any more.
const DAY: i64 = 24 * HOUR;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The code is the holder's; the card whose envelope it was in.
    Matches {
        /// The card's serial number.
        card: String,
    },
    /// It is not, or there is no such holder.
    Refused,
    /// It was not looked at: too many failed before, for this holder or from this peer.
    Locked,
}

/// Why an attempt could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// Custody failed.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The database failed.
    #[error("the database of attempts: {0}")]
    Database(#[from] sqlx::Error),
}

/// Judges user codes.
pub struct Holders {
    database: Database,
    custody: Custody,
    config: UserCodesConfig,
    /// One at a time: the hash takes 19 MiB.
    turn: Mutex<()>,
}

impl Holders {
    /// Judges by what is in custody.
    #[must_use]
    pub fn open(database: &Database, custody: &Custody, config: &UserCodesConfig) -> Self {
        Self {
            database: database.clone(),
            custody: custody.clone(),
            config: config.clone(),
            turn: Mutex::new(()),
        }
    }

    /// Judges a code that `peer`, a Unix user, asks about.
    ///
    /// # Errors
    /// See [`HolderError`].
    pub async fn verify(
        &self,
        peer: u32,
        codice_fiscale: &str,
        user_code: Secret,
    ) -> Result<Attempt, HolderError> {
        let nothing_else = |_| async { Ok::<_, HolderError>(true) };
        self.verify_with(peer, codice_fiscale, user_code, nothing_else).await
    }

    /// Judges a code together with what else was told of the holder: `agrees` says of the right code's card whether that is
    /// right as well. What is not counts as a wrong code does.
    ///
    /// # Errors
    /// See [`HolderError`], and what `agrees` fails with.
    pub async fn verify_with<F, E>(
        &self,
        peer: u32,
        codice_fiscale: &str,
        user_code: Secret,
        agrees: impl FnOnce(String) -> F,
    ) -> Result<Attempt, E>
    where
        F: Future<Output = Result<bool, E>>,
        E: From<HolderError>,
    {
        let begun = Instant::now();
        let now = OffsetDateTime::now_utc();
        let outcome = self.judge(peer, codice_fiscale, user_code, now, agrees).await;
        sleep_until(begun + PATIENCE).await;
        outcome
    }

    /// As [`Holders::verify`], at a time that a test chooses, and as fast as it goes.
    ///
    /// # Errors
    /// See [`HolderError`].
    pub async fn verify_at(
        &self,
        peer: u32,
        codice_fiscale: &str,
        user_code: Secret,
        now: OffsetDateTime,
    ) -> Result<Attempt, HolderError> {
        self.judge(peer, codice_fiscale, user_code, now, |_| async { Ok(true) }).await
    }

    async fn judge<F, E>(
        &self,
        peer: u32,
        codice_fiscale: &str,
        user_code: Secret,
        now: OffsetDateTime,
        agrees: impl FnOnce(String) -> F,
    ) -> Result<Attempt, E>
    where
        F: Future<Output = Result<bool, E>>,
        E: From<HolderError>,
    {
        let now = now.unix_timestamp();
        let codice_fiscale = codice_fiscale.to_ascii_uppercase();
        let holder =
            format!("holder/{}", self.custody.holder_tag(&codice_fiscale).map_err(HolderError::from)?);
        let peer = format!("peer/{peer}");
        let _turn = self.turn.lock().await;
        let lock = i64::from(self.config.lock_minutes).saturating_mul(60);
        // The peer first: a flood from one peer locks no holder.
        let by_peer = self.count(&peer, now, HOUR, (self.config.peer_attempts_per_hour, HOUR)).await?;
        if !by_peer || !self.count(&holder, now, DAY, (self.config.attempts, lock)).await? {
            return Ok(Attempt::Locked);
        }
        let found = self.custody.holder_code_matches(&codice_fiscale, user_code).await;
        match found.map_err(HolderError::from)? {
            Some(card) if agrees(card.clone()).await? => {
                self.forgive(&holder, &peer).await?;
                Ok(Attempt::Matches { card })
            }
            Some(_) | None => Ok(Attempt::Refused),
        }
    }

    /// Counts an attempt, unless too many were counted; tells whether it may go on. The attempt that reaches the limit may,
    /// and locks what comes after it.
    async fn count(
        &self,
        subject: &str,
        now: i64,
        window: i64,
        (limit, lock): (u32, i64),
    ) -> Result<bool, HolderError> {
        let counted: Option<(i64,)> = sqlx::query_as(
            "INSERT INTO user_code_attempt (subject, attempts, since, locked_until) VALUES ($1, 1, $2, 0) \
             ON CONFLICT (subject) DO UPDATE SET \
             attempts = CASE WHEN user_code_attempt.since < $3 THEN 1 ELSE user_code_attempt.attempts + 1 END, \
             since = CASE WHEN user_code_attempt.since < $3 THEN $2 ELSE user_code_attempt.since END, \
             locked_until = CASE WHEN user_code_attempt.since < $3 THEN 0 \
             WHEN user_code_attempt.attempts + 1 >= $4 THEN $5 ELSE 0 END \
             WHERE user_code_attempt.locked_until <= $2 RETURNING attempts",
        )
        .bind(subject)
        .bind(now)
        .bind(now.saturating_sub(window))
        .bind(i64::from(limit))
        .bind(now.saturating_add(lock))
        .fetch_optional(self.database.pool())
        .await?;
        Ok(counted.is_some())
    }

    /// A right code takes the holder's wrong ones back, and does not count for its peer. Nothing is kept of attempts that do
    /// not count any more.
    async fn forgive(&self, holder: &str, peer: &str) -> Result<(), HolderError> {
        sqlx::query("DELETE FROM user_code_attempt WHERE subject = $1")
            .bind(holder)
            .execute(self.database.pool())
            .await?;
        sqlx::query(
            "UPDATE user_code_attempt SET attempts = attempts - 1, locked_until = 0 \
             WHERE subject = $1 AND attempts > 0",
        )
        .bind(peer)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Forgets attempts that do not count any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_old(&self, now: OffsetDateTime) -> Result<(), HolderError> {
        let now = now.unix_timestamp();
        sqlx::query("DELETE FROM user_code_attempt WHERE since < $1 AND locked_until <= $2")
            .bind(now.saturating_sub(DAY))
            .bind(now)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}
