//! The tables of requests and of second parts that wait for the mail.

use cns_protocol::national::{FirstPart, Request, RequestState, Standing};
use cns_secret::Secret;
use sqlx::any::AnyRow;

use super::NationalError;
use super::connector::Outgoing;
use crate::custody::{RecordName, Sealer};
use crate::database::{Database, now};
use crate::papers::Papers;

/// What stands with a request that its counter has taken back.
const WITHDRAWN: &str = "withdrawn at the counter";

/// For how long what cannot be read is left out, in seconds.
const PUT_OFF: i64 = 3600;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// A request as it is kept.
pub(super) struct Row {
    pub(super) direction: Direction,
    pub(super) outgoing: Outgoing,
    pub(super) state: RequestState,
    pub(super) message: String,
    pub(super) attempts: u32,
    pub(super) next_at: i64,
    pub(super) first_part: Option<FirstPart>,
    /// What is to be mailed with it.
    pub(super) second: Option<Secret>,
}

/// A second part that waits.
pub(super) struct Mail {
    pub(super) id: String,
    pub(super) card: String,
    pub(super) to: String,
    pub(super) second: Secret,
    pub(super) attempts: u32,
}

impl Row {
    pub(super) fn queued(direction: Direction, outgoing: Outgoing) -> Self {
        Self {
            direction,
            outgoing,
            state: RequestState::Queued,
            message: String::new(),
            attempts: 0,
            next_at: 0,
            first_part: None,
            second: None,
        }
    }

    pub(super) fn answered(outgoing: Outgoing, state: RequestState, message: &str) -> Self {
        Self { state, message: message.to_owned(), ..Self::queued(Direction::In, outgoing) }
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            id: self.outgoing.id.clone(),
            request: self.outgoing.request.clone(),
            state: self.state,
            message: self.message.clone(),
            attempts: self.attempts,
            first_part: self.first_part.clone(),
        }
    }

    /// The answer to the same request again.
    pub(super) fn again(&self, request: &Request) -> Result<Standing, NationalError> {
        if self.outgoing.request == *request { Ok(self.standing()) } else { Err(NationalError::OtherRequest) }
    }
}

pub(super) struct Store {
    database: Database,
    sealer: Sealer,
}

const COLUMNS: &str = "direction, id, document, state, message, attempts, next_at, first_part";

impl Store {
    pub(super) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    pub(super) async fn insert(&self, row: &Row, papers: &Papers) -> Result<bool, NationalError> {
        let key = format!("{}/{}", row.direction.name(), row.outgoing.id);
        let papers = papers
            .seal(&self.sealer, RecordName { table: "national_request", column: "sealed", key: &key })?;
        let mut transaction = self.database.pool().begin().await?;
        let inserted = insert(&mut transaction, row, papers).await?;
        transaction.commit().await?;
        Ok(inserted)
    }

    /// The answer and what is to be mailed, both or neither.
    pub(super) async fn insert_answered(&self, row: &Row) -> Result<bool, NationalError> {
        let sealed = match &row.second {
            Some(second) => Some(self.sealer.seal(mail_name(&row.outgoing.id), second)?),
            None => None,
        };
        let mut transaction = self.database.pool().begin().await?;
        if !insert(&mut transaction, row, None).await? {
            return Ok(false);
        }
        if let (Some(sealed), Some(to)) = (sealed, &row.outgoing.request.email) {
            sqlx::query(
                "INSERT INTO national_mail (id, card, recipient, sealed, attempts, next_at) VALUES ($1, $2, $3, $4, 0, 0)",
            )
            .bind(&row.outgoing.id)
            .bind(&row.outgoing.request.card)
            .bind(to)
            .bind(sealed)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn load(&self, direction: Direction, id: &str) -> Result<Option<Row>, NationalError> {
        let query = format!("SELECT {COLUMNS} FROM national_request WHERE direction = $1 AND id = $2");
        let row =
            sqlx::query(&query).bind(direction.name()).bind(id).fetch_optional(self.database.pool()).await?;
        row.as_ref().map(read).transpose()
    }

    /// What is to be delivered now, oldest first.
    pub(super) async fn due(&self, now: i64) -> Result<Vec<Row>, NationalError> {
        let query = format!(
            "SELECT {COLUMNS} FROM national_request WHERE direction = 'out' AND state = 'queued' AND next_at <= $1 \
             ORDER BY created_at, id LIMIT 100"
        );
        let rows = sqlx::query(&query).bind(now).fetch_all(self.database.pool()).await?;
        self.readable(&rows, now).await
    }

    /// What came in and waits for a decision, oldest first.
    pub(super) async fn undecided(&self, now: i64) -> Result<Vec<Row>, NationalError> {
        let query = format!(
            "SELECT {COLUMNS} FROM national_request WHERE direction = 'in' AND state = 'queued' AND next_at <= $1 \
             ORDER BY created_at, id LIMIT 1000"
        );
        let rows = sqlx::query(&query).bind(now).fetch_all(self.database.pool()).await?;
        self.readable(&rows, now).await
    }

    /// The rows that can be read. One that cannot is put off, so that it neither stops the others nor fills the log.
    async fn readable(&self, rows: &[AnyRow], now: i64) -> Result<Vec<Row>, NationalError> {
        use sqlx::Row as _;
        let mut readable = Vec::with_capacity(rows.len());
        for row in rows {
            match read(row) {
                Ok(row) => readable.push(row),
                Err(error) => {
                    let (direction, id): (String, String) = (row.try_get("direction")?, row.try_get("id")?);
                    tracing::error!(direction, id, %error, "a request cannot be read and is left out for an hour");
                    sqlx::query("UPDATE national_request SET next_at = $3 WHERE direction = $1 AND id = $2")
                        .bind(direction)
                        .bind(id)
                        .bind(now.saturating_add(PUT_OFF))
                        .execute(self.database.pool())
                        .await?;
                }
            }
        }
        Ok(readable)
    }

    /// Counts an attempt at a request that waits and was not put off beyond `due`; false where there is none.
    pub(super) async fn begin(&self, id: &str, due: i64) -> Result<bool, NationalError> {
        let begun = sqlx::query(
            "UPDATE national_request SET attempts = attempts + 1 \
             WHERE direction = 'out' AND id = $1 AND state = 'queued' AND next_at <= $2",
        )
        .bind(id)
        .bind(due)
        .execute(self.database.pool())
        .await?;
        Ok(begun.rows_affected() == 1)
    }

    /// Takes back a request that waits for its answer, and tells how often it was sent, also when it is asked again; nothing
    /// where there is an answer, or no request.
    pub(super) async fn withdraw(&self, id: &str) -> Result<Option<i64>, NationalError> {
        let withdrawn: Option<(i64,)> = sqlx::query_as(
            "UPDATE national_request SET state = 'refused', message = $2 \
             WHERE direction = 'out' AND id = $1 AND (state = 'queued' OR (state = 'refused' AND message = $2)) \
             RETURNING attempts",
        )
        .bind(id)
        .bind(WITHDRAWN)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(withdrawn.map(|(attempts,)| attempts))
    }

    /// Writes what became of a request; false when it was answered or erased meanwhile.
    pub(super) async fn update(&self, row: &Row) -> Result<bool, NationalError> {
        let changed = sqlx::query(
            "UPDATE national_request SET state = $3, message = $4, attempts = $5, next_at = $6, first_part = $7 \
             WHERE direction = $1 AND id = $2 AND state = 'queued'",
        )
        .bind(row.direction.name())
        .bind(&row.outgoing.id)
        .bind(state_name(row.state))
        .bind(&row.message)
        .bind(i64::from(row.attempts))
        .bind(row.next_at)
        .bind(first_part_text(row)?)
        .execute(self.database.pool())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Second parts that are to be handed over now. One that does not open is put off, as an unreadable request is.
    pub(super) async fn due_mail(&self, now: i64) -> Result<Vec<Mail>, NationalError> {
        let rows: Vec<(String, String, String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, card, recipient, sealed, attempts FROM national_mail \
             WHERE sealed IS NOT NULL AND next_at <= $1 ORDER BY id LIMIT 100",
        )
        .bind(now)
        .fetch_all(self.database.pool())
        .await?;
        let mut mails = Vec::with_capacity(rows.len());
        for (id, card, to, sealed, attempts) in rows {
            match self.sealer.open(mail_name(&id), &sealed) {
                Ok(second) => {
                    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                    mails.push(Mail { id, card, to, second, attempts });
                }
                Err(error) => {
                    tracing::error!(id, %error, "a second part does not open and is left out for an hour");
                    self.mail_later(&id, now.saturating_add(PUT_OFF)).await?;
                }
            }
        }
        Ok(mails)
    }

    /// The second part is with the mail: it is destroyed here.
    pub(super) async fn mailed(&self, id: &str) -> Result<(), NationalError> {
        sqlx::query("UPDATE national_mail SET sealed = NULL, handed_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now())
            .execute(self.database.pool())
            .await?;
        Ok(self.database.empty_log().await?)
    }

    pub(super) async fn mail_later(&self, id: &str, next_at: i64) -> Result<(), NationalError> {
        sqlx::query("UPDATE national_mail SET attempts = attempts + 1, next_at = $2 WHERE id = $1")
            .bind(id)
            .bind(next_at)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

async fn insert(
    transaction: &mut sqlx::Transaction<'_, sqlx::Any>,
    row: &Row,
    papers: Option<Vec<u8>>,
) -> Result<bool, NationalError> {
    let document =
        serde_json::to_string(&row.outgoing).map_err(|_| NationalError::Damaged(row.outgoing.id.clone()))?;
    let inserted = sqlx::query(
        "INSERT INTO national_request (direction, id, card, document, state, message, attempts, next_at, first_part, \
         created_at, sealed) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8, $9) ON CONFLICT (direction, id) DO NOTHING",
    )
    .bind(row.direction.name())
    .bind(&row.outgoing.id)
    .bind(&row.outgoing.request.card)
    .bind(document)
    .bind(state_name(row.state))
    .bind(&row.message)
    .bind(first_part_text(row)?)
    .bind(now())
    .bind(papers)
    .execute(&mut **transaction)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

fn first_part_text(row: &Row) -> Result<Option<String>, NationalError> {
    let text = row.first_part.as_ref().map(serde_json::to_string).transpose();
    text.map_err(|_| NationalError::Damaged(row.outgoing.id.clone()))
}

fn read(row: &AnyRow) -> Result<Row, NationalError> {
    use sqlx::Row as _;
    let damaged = || NationalError::Damaged("national_request".to_owned());
    let document: String = row.try_get("document")?;
    let direction: String = row.try_get("direction")?;
    let state: String = row.try_get("state")?;
    let first_part: Option<String> = row.try_get("first_part")?;
    let attempts: i64 = row.try_get("attempts")?;
    let first_part = first_part.as_deref().map(serde_json::from_str).transpose().map_err(|_| damaged())?;
    Ok(Row {
        direction: if direction == "in" { Direction::In } else { Direction::Out },
        outgoing: serde_json::from_str(&document).map_err(|_| damaged())?,
        state: match state.as_str() {
            "queued" => RequestState::Queued,
            "accepted" => RequestState::Accepted,
            "refused" => RequestState::Refused,
            _ => return Err(damaged()),
        },
        message: row.try_get("message")?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        next_at: row.try_get("next_at")?,
        first_part,
        second: None,
    })
}

fn state_name(state: RequestState) -> &'static str {
    match state {
        RequestState::Queued => "queued",
        RequestState::Accepted => "accepted",
        RequestState::Refused => "refused",
    }
}

fn mail_name(id: &str) -> RecordName<'_> {
    RecordName { table: "national_mail", column: "sealed", key: id }
}
