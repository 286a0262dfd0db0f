//! The newest lists that were ever believed.

use std::time::UNIX_EPOCH;

use crate::authority::status::StatusError;
use crate::authority::status::list::RevocationList;
use crate::database::Database;

/// The table `revocation_list_seen`.
pub(super) struct Seen {
    database: Database,
}

impl Seen {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Refuses a list that is older than one of the same issuer and kind, and notes it.
    pub(super) async fn admit(&self, issuer: &str, list: &RevocationList) -> Result<(), StatusError> {
        let name = format!("{}:{issuer}", if list.is_delta() { "delta" } else { "complete" });
        let number = list.number().unwrap_or_default();
        let seconds = list.this_update().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let made = i64::try_from(seconds).unwrap_or(i64::MAX);
        let seen: Option<(String, i64)> =
            sqlx::query_as("SELECT number, this_update FROM revocation_list_seen WHERE name = $1")
                .bind(&name)
                .fetch_optional(self.database.pool())
                .await?;
        match seen {
            Some((before, at)) if number < before || made < at => return Err(StatusError::Replayed),
            Some((before, at)) if number == before && made == at => return Ok(()),
            Some(_) | None => {}
        }
        sqlx::query(
            "INSERT INTO revocation_list_seen (name, number, this_update) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET number = excluded.number, this_update = excluded.this_update",
        )
        .bind(&name)
        .bind(&number)
        .bind(made)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }
}
