//! Four eyes for the replacement of keys: what one person asks for, another one confirms.

use cns_protocol::custody::{KeyState, RotatedKey, Rotation, RotationRequest};

use super::batch::{Asker, no_request, request_identifier};
use super::{Custody, CustodyError};
use crate::database::now;

/// The most requests that are listed.
const MAXIMUM_REQUESTS: i64 = 1000;

impl Custody {
    /// Replaces a key; where four eyes are demanded that is only asked for, once, until [`Custody::decide_rotation`].
    ///
    /// # Errors
    /// The old key is still the one that is needed.
    pub async fn rotate(&self, key: RotatedKey, asker: &Asker) -> Result<Rotation, CustodyError> {
        if !self.inner.policy.rotate_four_eyes {
            return Ok(Rotation { keys: self.replace(key).await?, request: None });
        }
        let waiting: Option<(String,)> =
            sqlx::query_as("SELECT id FROM rotation_request WHERE key_name = $1")
                .bind(key.name())
                .fetch_optional(self.inner.database.pool())
                .await?;
        if let Some((request,)) = waiting {
            return Ok(Rotation { keys: self.key_state().await?, request: Some(request) });
        }
        let request = request_identifier()?;
        sqlx::query(
            "INSERT INTO rotation_request (id, key_name, user_id, operator_id, requested_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&request)
        .bind(key.name())
        .bind(i64::from(asker.user))
        .bind(asker.operator())
        .bind(now())
        .execute(self.inner.database.pool())
        .await?;
        Ok(Rotation { keys: self.key_state().await?, request: Some(request) })
    }

    /// Which key a request is about.
    ///
    /// # Errors
    /// There is no such request.
    pub async fn rotation_requested(&self, request: &str) -> Result<RotatedKey, CustodyError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT key_name FROM rotation_request WHERE id = $1")
            .bind(request)
            .fetch_optional(self.inner.database.pool())
            .await?;
        let (key,) = row.ok_or_else(no_request)?;
        key_of(request, &key)
    }

    /// Confirms a request, and replaces the key, or turns it down. The request is gone then, also when the key could not be
    /// replaced: it is asked for again.
    ///
    /// # Errors
    /// There is no such request, or who confirms is who asked; or the old key is still the one that is needed.
    pub async fn decide_rotation(
        &self,
        request: &str,
        asker: &Asker,
        confirm: bool,
    ) -> Result<KeyState, CustodyError> {
        let mut transaction = self.inner.database.pool().begin().await?;
        // Deleted first: of two who decide at once, one finds it gone.
        let row: Option<(String, i64, Option<String>)> = sqlx::query_as(
            "DELETE FROM rotation_request WHERE id = $1 RETURNING key_name, user_id, operator_id",
        )
        .bind(request)
        .fetch_optional(&mut *transaction)
        .await?;
        let (key, user, operator) = row.ok_or_else(no_request)?;
        let key = key_of(request, &key)?;
        if confirm && !asker.is_another(user, operator.as_deref()) {
            return Err(CustodyError::SecondPerson);
        }
        transaction.commit().await?;
        if confirm { self.replace(key).await } else { self.key_state().await }
    }

    /// The requests that nobody has decided, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rotation_requests(&self) -> Result<Vec<RotationRequest>, CustodyError> {
        let rows: Vec<(String, String, i64, Option<String>, String)> = sqlx::query_as(
            "SELECT id, key_name, user_id, operator_id, requested_at FROM rotation_request \
             ORDER BY requested_at, id LIMIT $1",
        )
        .bind(MAXIMUM_REQUESTS)
        .fetch_all(self.inner.database.pool())
        .await?;
        rows.into_iter()
            .map(|(request, key, user, operator, requested_at)| {
                let key = key_of(&request, &key)?;
                let user = u32::try_from(user).map_err(|_| tampered(&request))?;
                Ok(RotationRequest { request, key, user, operator, requested_at })
            })
            .collect()
    }

    async fn replace(&self, key: RotatedKey) -> Result<KeyState, CustodyError> {
        match key {
            RotatedKey::Wrapping => self.rotate_wrapping_key().await.map(drop)?,
            RotatedKey::Data => self.rotate_data_key().await.map(drop)?,
        }
        self.key_state().await
    }
}

fn key_of(request: &str, name: &str) -> Result<RotatedKey, CustodyError> {
    RotatedKey::ALL.into_iter().find(|key| key.name() == name).ok_or_else(|| tampered(request))
}

fn tampered(request: &str) -> CustodyError {
    CustodyError::Tampered { record: format!("rotation_request[{request}]") }
}
