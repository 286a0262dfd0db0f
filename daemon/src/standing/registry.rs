//! The table of the certificates of cards.

use cns_protocol::card::{Card, Certificate as OnCard, Holder, KeyUse};
use cns_protocol::certificate::Standing;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::custody::{Custody, Sealer};
use crate::database::{Database, now};
use crate::standing::StandingError;
use crate::standing::row::{Certificate, Personal, open, read_word, record, seal, word};

const TABLE: &str = "card_certificate";
const COLUMNS: &str = "sha256, key_use, sealed, not_after, standing, since, removed_at";

/// The certificates of cards.
#[derive(Clone)]
pub(super) struct Registry {
    database: Database,
    custody: Custody,
}

impl Registry {
    pub(super) fn new(database: Database, custody: Custody) -> Self {
        Self { database, custody }
    }

    fn sealer(&self) -> &Sealer {
        self.custody.sealer()
    }

    /// Notes the certificates that a card has now; `activated` says that its codes were just set. One that another has
    /// taken the place of is no longer on it. The same again writes nothing.
    pub(super) async fn note(
        &self,
        card: &Card,
        certificates: &[&OnCard],
        activated: bool,
    ) -> Result<(), StandingError> {
        self.refuse_other_holder(card, certificates).await?;
        for certificate in certificates {
            if self.is_noted(&card.serial, certificate).await? {
                continue;
            }
            self.insert(&card.serial, &card.holder, certificate, None).await?;
            sqlx::query(
                "UPDATE card_certificate SET removed_at = $4 \
                 WHERE card = $1 AND key_use = $2 AND sha256 <> $3 AND removed_at IS NULL",
            )
            .bind(&card.serial)
            .bind(word(certificate.key_use)?)
            .bind(&certificate.sha256)
            .bind(now())
            .execute(self.database.pool())
            .await?;
        }
        if activated {
            sqlx::query(
                "UPDATE card_certificate SET activated_at = $2 \
                 WHERE card = $1 AND activated_at IS NULL AND removed_at IS NULL",
            )
            .bind(&card.serial)
            .bind(now())
            .execute(self.database.pool())
            .await?;
        }
        Ok(())
    }

    /// Notes a certificate that is not on its card yet; one that is noted stays as it is.
    pub(super) async fn note_issued(
        &self,
        card: &str,
        holder: &Holder,
        certificate: &OnCard,
    ) -> Result<(), StandingError> {
        let noted: Option<(String,)> = sqlx::query_as("SELECT card FROM card_certificate WHERE sha256 = $1")
            .bind(&certificate.sha256)
            .fetch_optional(self.database.pool())
            .await?;
        if noted.is_some() {
            return Ok(());
        }
        self.insert(card, holder, certificate, Some(now())).await
    }

    /// Refuses a card or a certificate that is noted as another holder's, and a certificate that is another card's.
    pub(super) async fn refuse_other_holder(
        &self,
        card: &Card,
        certificates: &[&OnCard],
    ) -> Result<(), StandingError> {
        let holder = self.tag(&card.holder)?;
        let others: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM card_certificate WHERE card = $1 AND holder <> $2")
                .bind(&card.serial)
                .bind(&holder)
                .fetch_one(self.database.pool())
                .await?;
        let mut refused = others > 0;
        for certificate in certificates {
            let noted: Option<(String, String)> =
                sqlx::query_as("SELECT card, holder FROM card_certificate WHERE sha256 = $1")
                    .bind(&certificate.sha256)
                    .fetch_optional(self.database.pool())
                    .await?;
            refused |= noted.is_some_and(|(on, of)| on != card.serial || of != holder);
        }
        if refused { Err(StandingError::OtherHolder) } else { Ok(()) }
    }

    /// What stands for a holder in the table.
    fn tag(&self, holder: &Holder) -> Result<String, StandingError> {
        Ok(self.custody.holder_tag(&holder.codice_fiscale.to_ascii_uppercase())?)
    }

    async fn is_noted(&self, card: &str, certificate: &OnCard) -> Result<bool, StandingError> {
        let found: Option<(String,)> = sqlx::query_as(
            "SELECT sha256 FROM card_certificate WHERE sha256 = $1 AND card = $2 AND removed_at IS NULL",
        )
        .bind(&certificate.sha256)
        .bind(card)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(found.is_some())
    }

    /// `removed`: since when it is not on the card.
    async fn insert(
        &self,
        card: &str,
        holder: &Holder,
        certificate: &OnCard,
        removed: Option<String>,
    ) -> Result<(), StandingError> {
        let personal = Personal { certificate: hex::encode(&certificate.der), holder: holder.clone() };
        let sealed = seal(self.sealer(), record(TABLE, &certificate.sha256), &personal)?;
        let at = now();
        let written = sqlx::query(
            "INSERT INTO card_certificate (sha256, card, holder, key_use, sealed, not_after, standing, since, noted_at, removed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9) \
             ON CONFLICT (sha256) DO UPDATE SET sealed = $5, removed_at = $9 \
             WHERE card_certificate.card = $2 AND card_certificate.holder = $3",
        )
        .bind(&certificate.sha256)
        .bind(card)
        .bind(self.tag(holder)?)
        .bind(word(certificate.key_use)?)
        .bind(sealed)
        .bind(&certificate.not_after)
        .bind(word(Standing::Good)?)
        .bind(at)
        .bind(removed)
        .execute(self.database.pool())
        .await?;
        // Another program on the same database was quicker.
        if written.rows_affected() == 0 { Err(StandingError::OtherHolder) } else { Ok(()) }
    }

    /// The certificate of this use is no longer on the card.
    pub(super) async fn removed(&self, card: &str, key_use: KeyUse) -> Result<(), StandingError> {
        sqlx::query(
            "UPDATE card_certificate SET removed_at = $3 WHERE card = $1 AND key_use = $2 AND removed_at IS NULL",
        )
        .bind(card)
        .bind(word(key_use)?)
        .bind(now())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// The certificates of a card, the authentication certificate first.
    pub(super) async fn of_card(&self, card: &str) -> Result<Vec<Certificate>, StandingError> {
        let query =
            format!("SELECT {COLUMNS} FROM {TABLE} WHERE card = $1 ORDER BY key_use, noted_at, sha256");
        let rows = sqlx::query(&query).bind(card).fetch_all(self.database.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// The cards of a holder with certificates that are not revoked; where there is none, those with revoked ones.
    pub(super) async fn cards_of(&self, codice_fiscale: &str) -> Result<Vec<String>, StandingError> {
        let holder = self.custody.holder_tag(&codice_fiscale.to_ascii_uppercase())?;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT card, standing FROM card_certificate WHERE holder = $1 ORDER BY card")
                .bind(holder)
                .fetch_all(self.database.pool())
                .await?;
        let revoked = word(Standing::Revoked)?;
        let cards = |alive: bool| {
            let kept = rows.iter().filter(|(_, standing)| !alive || *standing != revoked);
            let mut cards: Vec<String> = kept.map(|(card, _)| card.clone()).collect();
            cards.dedup();
            cards
        };
        let alive = cards(true);
        Ok(if alive.is_empty() { cards(false) } else { alive })
    }

    /// The certificate itself, and whose it is.
    pub(super) fn personal(&self, certificate: &Certificate) -> Result<Personal, StandingError> {
        open(self.sealer(), record(TABLE, &certificate.sha256), &certificate.sealed)
    }
}

fn read(row: &AnyRow) -> Result<Certificate, StandingError> {
    Ok(Certificate {
        sha256: row.try_get("sha256")?,
        key_use: read_word(row.try_get("key_use")?)?,
        sealed: row.try_get("sealed")?,
        not_after: row.try_get("not_after")?,
        standing: read_word(row.try_get("standing")?)?,
        since: row.try_get("since")?,
        removed: row.try_get::<Option<String>, _>("removed_at")?.is_some(),
    })
}
