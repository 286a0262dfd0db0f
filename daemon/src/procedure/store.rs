//! Procedures in the database. One row each; the whole of it is written at every transition, before the answer.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::{Database, DatabaseError};
use crate::procedure::clock;
use crate::procedure::dossier::{Dossier, Intent, VERSION};
use cns_protocol::counter::ProcedureState;

/// Why a procedure could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the procedure could not be stored or read: {0}")]
    Database(DatabaseError),
    /// The stored JSON cannot be read or written.
    #[error("a stored procedure cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Another daemon on the same database has written the procedure since it was read.
    #[error("another daemon has meanwhile gone on with the procedure")]
    Changed,
    /// Written by a newer program.
    #[error("a stored procedure has form {0}, which this version of cnsd does not know")]
    Newer(u32),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The table of procedures.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

impl Store {
    /// The table in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Adds a procedure. The database refuses a second one that is not over for the same card.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert(&self, dossier: &Dossier) -> Result<(), StoreError> {
        let (document, intent) = texts(dossier)?;
        sqlx::query(
            "INSERT INTO procedures (id, card, operator, state, intent, document, started, changed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&dossier.id)
        .bind(&dossier.card)
        .bind(&dossier.operator)
        .bind(state_name(dossier.state))
        .bind(intent)
        .bind(document)
        .bind(&dossier.started)
        .bind(clock::now())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Writes a procedure as it now stands, unless somebody else has written it since it was read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn update(&self, dossier: &mut Dossier) -> Result<(), StoreError> {
        let (document, intent) = texts(dossier)?;
        let written = sqlx::query(
            "UPDATE procedures SET operator = $2, state = $3, intent = $4, document = $5, changed = $6, \
             revision = revision + 1 WHERE id = $1 AND revision = $7",
        )
        .bind(&dossier.id)
        .bind(&dossier.operator)
        .bind(state_name(dossier.state))
        .bind(intent)
        .bind(document)
        .bind(clock::now())
        .bind(dossier.revision)
        .execute(self.database.pool())
        .await?;
        if written.rows_affected() != 1 {
            return Err(StoreError::Changed);
        }
        dossier.revision = dossier.revision.saturating_add(1);
        Ok(())
    }

    /// Notes that a household, told by its tag, asks for a reader in a procedure; whether it has asked in another one that was
    /// not given up.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ask_for_reader(&self, household: &str, dossier: &Dossier) -> Result<bool, StoreError> {
        sqlx::query(
            "INSERT INTO reader_request (household, procedure_id, card, asked_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (household, procedure_id) DO NOTHING",
        )
        .bind(household)
        .bind(&dossier.id)
        .bind(&dossier.card)
        .bind(clock::now())
        .execute(self.database.pool())
        .await?;
        let (before,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM reader_request JOIN procedures ON procedures.id = procedure_id \
             WHERE household = $1 AND procedure_id <> $2 AND state <> 'cancelled'",
        )
        .bind(household)
        .bind(&dossier.id)
        .fetch_one(self.database.pool())
        .await?;
        Ok(before > 0)
    }

    /// A procedure by its identifier.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(&self, id: &str) -> Result<Option<Dossier>, StoreError> {
        let row = sqlx::query("SELECT document, intent, revision FROM procedures WHERE id = $1")
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The procedure of a card that is not over.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn of_card(&self, card: &str) -> Result<Option<Dossier>, StoreError> {
        let row = sqlx::query(
            "SELECT document, intent, revision FROM procedures WHERE card = $1 AND state IN ('open', 'unsettled')",
        )
        .bind(card)
        .fetch_optional(self.database.pool())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The procedures that are not over, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn not_over(&self) -> Result<Vec<Dossier>, StoreError> {
        let rows = sqlx::query(
            "SELECT document, intent, revision FROM procedures WHERE state IN ('open', 'unsettled') ORDER BY started, id",
        )
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The procedures that have begun something and are not known to have finished it, oldest first.
    /// One that cannot be read is logged and left out: it must not keep the others from being settled.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn with_intent(&self) -> Result<Vec<Dossier>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, document, intent, revision FROM procedures WHERE intent IS NOT NULL ORDER BY started, id",
        )
        .fetch_all(self.database.pool())
        .await?;
        let mut dossiers = Vec::with_capacity(rows.len());
        for row in &rows {
            match read(row) {
                Ok(dossier) => dossiers.push(dossier),
                Err(error) => log_unreadable(row, &error),
            }
        }
        Ok(dossiers)
    }
}

/// The two JSON columns: the dossier without its intent, and the intent.
fn texts(dossier: &Dossier) -> Result<(String, Option<String>), StoreError> {
    let intent = dossier.intent.as_ref().map(serde_json::to_string).transpose()?;
    let bare = Dossier { intent: None, ..dossier.clone() };
    Ok((serde_json::to_string(&bare)?, intent))
}

fn read(row: &AnyRow) -> Result<Dossier, StoreError> {
    let document: String = row.try_get("document")?;
    let intent: Option<String> = row.try_get("intent")?;
    let mut dossier: Dossier = serde_json::from_str(&document)?;
    if dossier.version > VERSION {
        return Err(StoreError::Newer(dossier.version));
    }
    dossier.intent = intent.as_deref().map(serde_json::from_str::<Intent>).transpose()?;
    dossier.revision = row.try_get("revision")?;
    Ok(dossier.upgraded())
}

/// Names the procedure and what is wrong, without anything of its content: it has personal data, and errors of the
/// JSON reader quote it.
fn log_unreadable(row: &AnyRow, error: &StoreError) {
    let procedure = row.try_get::<String, _>("id").unwrap_or_default();
    let why = match error {
        StoreError::Database(_) => "a column is of another type",
        StoreError::Damaged(_) => "its JSON is damaged",
        StoreError::Changed => "it was changed meanwhile",
        StoreError::Newer(_) => "a newer version of cnsd wrote it",
    };
    tracing::error!(procedure, why, "a stored procedure cannot be read and is not settled");
}

fn state_name(state: ProcedureState) -> &'static str {
    match state {
        ProcedureState::Open => "open",
        ProcedureState::Unsettled => "unsettled",
        ProcedureState::Done => "done",
        ProcedureState::Cancelled => "cancelled",
    }
}
