//! The tables of what was asked, and of what the authority is told.

use cns_protocol::certificate::{Act, ChangeState, Standing};
use cns_protocol::counter::Reason;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::custody::Sealer;
use crate::database::{Database, now};
use crate::papers::Papers;
use crate::procedure::random::hexadecimal;
use crate::procedure::status::StatusChange;
use crate::standing::row::{Certificate, Change, act_of, read_word, record, word};
use crate::standing::{Order, StandingError};

const CHANGES: &str = "SELECT standing_change.sha256, number, request, standing_change.act, reason, paragraph, channel, \
                       operator, asked_at, cmp_transaction, state, said, attempts, answered_at \
                       FROM standing_change JOIN standing_request ON standing_request.id = standing_change.request";

/// The longest text of an authority that is kept, in characters.
const LONGEST: usize = 500;

/// What was asked.
#[derive(Clone)]
pub(super) struct Queue {
    database: Database,
    sealer: Sealer,
}

/// What became of telling the authority once.
pub(super) enum Told {
    /// It did it, or had done it before.
    Done(Standing, Option<String>),
    /// It refused.
    Refused(String),
    /// It could not be asked: again at this time.
    Later(String, i64),
}

impl Queue {
    pub(super) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    /// Writes down what is asked for these certificates, all of it or nothing. `wanted` says for which of them something
    /// is to be sent, from what was asked for it last.
    pub(super) async fn ask(
        &self,
        order: &Order,
        certificates: &[Certificate],
        wanted: impl Fn(&Certificate, Option<&Change>) -> bool,
    ) -> Result<(), StandingError> {
        let mut transaction = self.database.alone().await?;
        let mut due = Vec::new();
        for certificate in certificates {
            let last = last(&mut transaction, &certificate.sha256).await?;
            if wanted(certificate, last.as_ref()) {
                due.push((certificate, last.map_or(1, |last| last.number.saturating_add(1))));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        self.insert_request(&mut transaction, order).await?;
        for (certificate, number) in due {
            sqlx::query(
                "INSERT INTO standing_change (sha256, number, request, act, cmp_transaction, state, attempts, next_at) \
                 VALUES ($1, $2, $3, $4, $5, 'open', 0, 0)",
            )
            .bind(&certificate.sha256)
            .bind(number)
            .bind(&order.request)
            .bind(word(act_of(order.change))?)
            .bind(hexadecimal::<16>().map_err(|_| StandingError::Random)?)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn insert_request(
        &self,
        transaction: &mut Transaction<'_, Any>,
        order: &Order,
    ) -> Result<(), StandingError> {
        let papers = Papers { identified: order.identified.clone(), paper: order.paper.clone() };
        let sealed = papers.seal(&self.sealer, record("standing_request", &order.request))?;
        let reason = order.reason.map(word).transpose()?;
        sqlx::query(
            "INSERT INTO standing_request (id, card, act, reason, paragraph, channel, uid, operator, sealed, asked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&order.request)
        .bind(&order.card)
        .bind(word(act_of(order.change))?)
        .bind(reason)
        .bind(order.paragraph)
        .bind(word(order.channel)?)
        .bind(order.user.map(i64::from))
        .bind(&order.operator)
        .bind(sealed)
        .bind(now())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// What was asked for a card's certificates: for each the last.
    pub(super) async fn last_of_card(&self, card: &str) -> Result<Vec<Change>, StandingError> {
        let query = format!(
            "{CHANGES} JOIN card_certificate ON card_certificate.sha256 = standing_change.sha256 \
             WHERE card_certificate.card = $1 AND number = (SELECT MAX(other.number) FROM standing_change AS other \
             WHERE other.sha256 = standing_change.sha256)"
        );
        let rows = sqlx::query(&query).bind(card).fetch_all(self.database.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// What the authority is to be told next of a card's certificates: for each the first that is open, so that it hears
    /// of them in the order in which they were asked.
    pub(super) async fn next_of_card(&self, card: &str) -> Result<Vec<Change>, StandingError> {
        let query = format!(
            "{CHANGES} JOIN card_certificate ON card_certificate.sha256 = standing_change.sha256 \
             WHERE card_certificate.card = $1 AND state = 'open' AND number = \
             (SELECT MIN(other.number) FROM standing_change AS other \
             WHERE other.sha256 = standing_change.sha256 AND other.state = 'open') \
             ORDER BY card_certificate.key_use, standing_change.sha256"
        );
        let rows = sqlx::query(&query).bind(card).fetch_all(self.database.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// The cards of which the authority is to be told something at this time.
    pub(super) async fn due_cards(&self, now: i64) -> Result<Vec<String>, StandingError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT card FROM standing_change \
             JOIN card_certificate ON card_certificate.sha256 = standing_change.sha256 \
             WHERE state = 'open' AND next_at <= $1 LIMIT 100",
        )
        .bind(now)
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows.into_iter().map(|(card,)| card).collect())
    }

    /// Writes down what became of telling the authority, and how the certificate stands by that. Whoever was quicker has
    /// heard the same answer.
    pub(super) async fn told(&self, change: &Change, told: Told) -> Result<(), StandingError> {
        let (state, said) = match &told {
            Told::Done(_, said) => (ChangeState::Done, said.clone()),
            Told::Refused(said) => (ChangeState::Refused, Some(said.clone())),
            Told::Later(said, next_at) => return self.later(change, said, *next_at).await,
        };
        let (at, mut transaction) = (now(), self.database.pool().begin().await?);
        let updated = sqlx::query(
            "UPDATE standing_change SET state = $3, said = $4, answered_at = $5, attempts = attempts + 1 \
             WHERE sha256 = $1 AND number = $2 AND state = 'open'",
        )
        .bind(&change.sha256)
        .bind(change.number)
        .bind(state_word(state))
        .bind(said.map(shortened))
        .bind(&at)
        .execute(&mut *transaction)
        .await?;
        if let Told::Done(standing, _) = told
            && updated.rows_affected() == 1
        {
            sqlx::query("UPDATE card_certificate SET standing = $2, since = $3 WHERE sha256 = $1")
                .bind(&change.sha256)
                .bind(word(standing)?)
                .bind(&at)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What is open of a card is not due before this time.
    pub(super) async fn leave_alone(&self, card: &str, next_at: i64) -> Result<(), StandingError> {
        sqlx::query(
            "UPDATE standing_change SET next_at = $2 WHERE state = 'open' AND sha256 IN \
             (SELECT sha256 FROM card_certificate WHERE card = $1)",
        )
        .bind(card)
        .bind(next_at)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    async fn later(&self, change: &Change, said: &str, next_at: i64) -> Result<(), StandingError> {
        sqlx::query(
            "UPDATE standing_change SET said = $3, next_at = $4, attempts = attempts + 1 \
             WHERE sha256 = $1 AND number = $2 AND state = 'open'",
        )
        .bind(&change.sha256)
        .bind(change.number)
        .bind(shortened(said.to_owned()))
        .bind(next_at)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }
}

/// What was asked for a certificate last.
async fn last(transaction: &mut Transaction<'_, Any>, sha256: &str) -> Result<Option<Change>, StandingError> {
    let query = format!("{CHANGES} WHERE standing_change.sha256 = $1 ORDER BY number DESC LIMIT 1");
    let row = sqlx::query(&query).bind(sha256).fetch_optional(&mut **transaction).await?;
    row.as_ref().map(read).transpose()
}

fn shortened(said: String) -> String {
    said.chars().take(LONGEST).collect()
}

fn state_word(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Pending => "open",
        ChangeState::Done => "done",
        ChangeState::Refused => "refused",
    }
}

fn read(row: &AnyRow) -> Result<Change, StandingError> {
    let damaged = || StandingError::Damaged("standing_change");
    let reason: Option<Reason> = row.try_get::<Option<String>, _>("reason")?.map(read_word).transpose()?;
    let act: Act = read_word(row.try_get("act")?)?;
    let change = match act {
        Act::Suspend => StatusChange::Suspend(reason),
        Act::Reactivate => StatusChange::Reactivate,
        Act::Revoke => StatusChange::Revoke(reason.ok_or_else(damaged)?),
    };
    let state: String = row.try_get("state")?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(Change {
        sha256: row.try_get("sha256")?,
        number: row.try_get("number")?,
        request: row.try_get("request")?,
        change,
        reason,
        paragraph: row.try_get("paragraph")?,
        channel: read_word(row.try_get("channel")?)?,
        operator: row.try_get("operator")?,
        asked: row.try_get("asked_at")?,
        transaction: row.try_get("cmp_transaction")?,
        state: match state.as_str() {
            "open" => ChangeState::Pending,
            "done" => ChangeState::Done,
            "refused" => ChangeState::Refused,
            _ => return Err(damaged()),
        },
        said: row.try_get("said")?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        answered: row.try_get("answered_at")?,
    })
}
