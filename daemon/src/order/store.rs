//! The table of orders. A number is used up before the card is touched, for ever.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::OrderError;
use crate::database::{Database, now};

const COLUMNS: &str =
    "signer, number, sha256, card, certificate_sha256, state, not_after, message, puk_tries, receipt";

/// An order as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) signer: String,
    pub(super) number: String,
    pub(super) sha256: String,
    pub(super) card: String,
    /// SHA-256 of the authentication certificate of the card that it was begun on.
    pub(super) certificate_sha256: Option<String>,
    pub(super) state: String,
    pub(super) not_after: String,
    /// The order as it came; nothing once it is over.
    pub(super) message: Option<Vec<u8>>,
    /// The tries left on the card's PUK before it was presented, where the chip told.
    pub(super) puk_tries: Option<u8>,
    pub(super) receipt: Option<Vec<u8>>,
}

pub(super) const ACCEPTED: &str = "accepted";
pub(super) const BEGUN: &str = "begun";
const EXPIRED: &str = "expired";

/// The table.
pub(super) struct Store(Database);

impl Store {
    pub(super) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Takes the order's number; false when it is taken.
    pub(super) async fn accept(&self, row: &Kept) -> Result<bool, OrderError> {
        let inserted = sqlx::query(
            "INSERT INTO sealed_order (signer, number, sha256, card, certificate_sha256, state, not_after, message, \
             accepted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (signer, number) DO NOTHING",
        )
        .bind(&row.signer)
        .bind(&row.number)
        .bind(&row.sha256)
        .bind(&row.card)
        .bind(&row.certificate_sha256)
        .bind(ACCEPTED)
        .bind(&row.not_after)
        .bind(&row.message)
        .bind(now())
        .execute(self.0.pool())
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// The PUK may be presented from now on, or was surely not.
    pub(super) async fn set_state(&self, row: &Kept) -> Result<(), OrderError> {
        let changed = sqlx::query(
            "UPDATE sealed_order SET state = $3, puk_tries = $4, certificate_sha256 = $5 \
             WHERE signer = $1 AND number = $2",
        )
        .bind(&row.signer)
        .bind(&row.number)
        .bind(&row.state)
        .bind(row.puk_tries.map(i64::from))
        .bind(&row.certificate_sha256)
        .execute(self.0.pool())
        .await?;
        one(changed.rows_affected())
    }

    /// The order is over: its receipt is kept, the order itself is destroyed.
    pub(super) async fn end(&self, row: &Kept) -> Result<(), OrderError> {
        let changed = sqlx::query(
            "UPDATE sealed_order SET state = $3, receipt = $4, message = NULL, ended_at = $5 \
             WHERE signer = $1 AND number = $2",
        )
        .bind(&row.signer)
        .bind(&row.number)
        .bind(&row.state)
        .bind(&row.receipt)
        .bind(now())
        .execute(self.0.pool())
        .await?;
        one(changed.rows_affected())?;
        Ok(self.0.empty_log().await?)
    }

    pub(super) async fn of_number(&self, signer: &str, number: &str) -> Result<Option<Kept>, OrderError> {
        let query = format!("SELECT {COLUMNS} FROM sealed_order WHERE signer = $1 AND number = $2");
        let row = sqlx::query(&query).bind(signer).bind(number).fetch_optional(self.0.pool()).await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn of_digest(&self, sha256: &str) -> Result<Option<Kept>, OrderError> {
        let query = format!("SELECT {COLUMNS} FROM sealed_order WHERE sha256 = $1");
        let row = sqlx::query(&query).bind(sha256).fetch_optional(self.0.pool()).await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn begun(&self) -> Result<Vec<Kept>, OrderError> {
        let query =
            format!("SELECT {COLUMNS} FROM sealed_order WHERE state = $1 ORDER BY accepted_at, number");
        let rows = sqlx::query(&query).bind(BEGUN).fetch_all(self.0.pool()).await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn accepted(&self) -> Result<Vec<Kept>, OrderError> {
        let query =
            format!("SELECT {COLUMNS} FROM sealed_order WHERE state = $1 ORDER BY accepted_at, number");
        let rows = sqlx::query(&query).bind(ACCEPTED).fetch_all(self.0.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// Destroys an order that was never carried out and cannot be any more.
    pub(super) async fn expire(&self, row: &Kept) -> Result<(), OrderError> {
        sqlx::query(
            "UPDATE sealed_order SET state = $3, message = NULL, ended_at = $5 \
             WHERE signer = $1 AND number = $2 AND state = $4",
        )
        .bind(&row.signer)
        .bind(&row.number)
        .bind(EXPIRED)
        .bind(ACCEPTED)
        .bind(now())
        .execute(self.0.pool())
        .await?;
        Ok(self.0.empty_log().await?)
    }
}

fn one(changed: u64) -> Result<(), OrderError> {
    if changed == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

fn read(row: &AnyRow) -> Result<Kept, OrderError> {
    let puk_tries: Option<i64> = row.try_get("puk_tries")?;
    Ok(Kept {
        signer: row.try_get("signer")?,
        number: row.try_get("number")?,
        sha256: row.try_get("sha256")?,
        card: row.try_get("card")?,
        certificate_sha256: row.try_get("certificate_sha256")?,
        state: row.try_get("state")?,
        not_after: row.try_get("not_after")?,
        message: row.try_get("message")?,
        puk_tries: puk_tries.and_then(|tries| u8::try_from(tries).ok()),
        receipt: row.try_get("receipt")?,
    })
}
