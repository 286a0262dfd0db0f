//! All sealed records, one after the other: to seal them anew under a new data key, and to look whether they open.
//!
//! Both go by primary key, a few at a time, so that neither memory nor anybody else at work feels how many there are.
//! Sealing anew keeps no account of where it is: a record names its key, so what is left to do is seen in the records, and
//! a daemon that was killed in the middle goes on at its next start. A record is replaced only if it is still what was
//! read.

use std::time::Duration;

use crate::custody::data_key::DataKeys;
use crate::custody::error::CustodyError;
use crate::custody::seal::{Parts, RecordName};
use crate::database::Database;

/// Records at a time.
const BATCH: usize = 500;
/// What others get between two batches: SQLite has one writer.
const PAUSE: Duration = Duration::from_millis(5);
/// Damaged records that are named.
const MAXIMUM_NAMED: usize = 100;

/// A column of sealed values. The queries take and give a key of two parts; the second is empty where there is one.
struct Column {
    table: &'static str,
    column: &'static str,
    /// The records after the key ($1, $2), in its order, $3 at most.
    select: &'static str,
    /// Replaces $4 by $1 at the key ($2, $3).
    update: &'static str,
    /// Counts the records whose key's number is not $1.
    older: &'static str,
}

const COLUMNS: [Column; 7] = [
    Column {
        table: "puk",
        column: "sealed",
        select: "SELECT serial, kind, sealed FROM puk WHERE (serial, kind) > ($1, $2) \
                 ORDER BY serial, kind LIMIT $3",
        update: "UPDATE puk SET sealed = $1 WHERE serial = $2 AND kind = $3 AND sealed = $4",
        older: "SELECT COUNT(*) FROM puk WHERE substr(sealed, 2, 4) <> $1",
    },
    Column {
        table: "envelope",
        column: "sealed_pin",
        select: "SELECT code, '', sealed_pin FROM envelope WHERE code > $1 AND $2 = '' \
                 AND sealed_pin IS NOT NULL ORDER BY code LIMIT $3",
        update: "UPDATE envelope SET sealed_pin = $1 WHERE code = $2 AND $3 = '' AND sealed_pin = $4",
        older: "SELECT COUNT(*) FROM envelope WHERE sealed_pin IS NOT NULL AND substr(sealed_pin, 2, 4) <> $1",
    },
    Column {
        table: "daemon_secret",
        column: "sealed",
        select: "SELECT name, '', sealed FROM daemon_secret WHERE name > $1 AND $2 = '' ORDER BY name LIMIT $3",
        update: "UPDATE daemon_secret SET sealed = $1 WHERE name = $2 AND $3 = '' AND sealed = $4",
        older: "SELECT COUNT(*) FROM daemon_secret WHERE substr(sealed, 2, 4) <> $1",
    },
    Column {
        table: "national_mail",
        column: "sealed",
        select: "SELECT id, '', sealed FROM national_mail WHERE id > $1 AND $2 = '' \
                 AND sealed IS NOT NULL ORDER BY id LIMIT $3",
        update: "UPDATE national_mail SET sealed = $1 WHERE id = $2 AND $3 = '' AND sealed = $4",
        older: "SELECT COUNT(*) FROM national_mail WHERE sealed IS NOT NULL AND substr(sealed, 2, 4) <> $1",
    },
    Column {
        table: "national_request",
        column: "sealed",
        select: "SELECT direction, id, sealed FROM national_request WHERE (direction, id) > ($1, $2) \
                 AND sealed IS NOT NULL ORDER BY direction, id LIMIT $3",
        update: "UPDATE national_request SET sealed = $1 WHERE direction = $2 AND id = $3 AND sealed = $4",
        older: "SELECT COUNT(*) FROM national_request WHERE sealed IS NOT NULL AND substr(sealed, 2, 4) <> $1",
    },
    Column {
        table: "card_certificate",
        column: "sealed",
        select: "SELECT sha256, '', sealed FROM card_certificate WHERE sha256 > $1 AND $2 = '' \
                 ORDER BY sha256 LIMIT $3",
        update: "UPDATE card_certificate SET sealed = $1 WHERE sha256 = $2 AND $3 = '' AND sealed = $4",
        older: "SELECT COUNT(*) FROM card_certificate WHERE substr(sealed, 2, 4) <> $1",
    },
    Column {
        table: "standing_request",
        column: "sealed",
        select: "SELECT id, '', sealed FROM standing_request WHERE id > $1 AND $2 = '' \
                 AND sealed IS NOT NULL ORDER BY id LIMIT $3",
        update: "UPDATE standing_request SET sealed = $1 WHERE id = $2 AND $3 = '' AND sealed = $4",
        older: "SELECT COUNT(*) FROM standing_request WHERE sealed IS NOT NULL AND substr(sealed, 2, 4) <> $1",
    },
];

/// A record: its key's two parts, and the sealed value.
type Row = (String, String, Vec<u8>);

/// What a look at all records found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verified {
    /// Records that were opened or did not open.
    pub(super) records: u64,
    /// Those that did not open: how many, and the names of the first ones.
    pub(super) damaged: u64,
    pub(super) named: Vec<String>,
}

/// Seals what is sealed under an older data key anew under the newest one. Returns how many records it was.
pub(super) async fn reseal(database: &Database, keys: &DataKeys) -> Result<u64, CustodyError> {
    let mut count = 0_u64;
    for column in &COLUMNS {
        let mut walk = Walk::new(database, column);
        loop {
            let batch = walk.next().await?;
            if batch.is_empty() {
                break;
            }
            let Some(newest) = keys.sealer().identifiers().last().copied() else { return Ok(count) };
            let is_older = |sealed: &[u8]| Parts::of(sealed).is_some_and(|parts| parts.key_id != newest);
            let older: Vec<&Row> = batch.iter().filter(|(_, _, sealed)| is_older(sealed)).collect();
            if !older.is_empty() {
                count = count.saturating_add(column.reseal(database, keys, &older).await?);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(count)
}

/// How many records are sealed under another key than the newest.
pub(super) async fn older(database: &Database, keys: &DataKeys) -> Result<u64, CustodyError> {
    let newest = keys.sealer().identifiers().last().copied().unwrap_or_default();
    let mut count = 0_u64;
    for column in &COLUMNS {
        let (found,): (i64,) = sqlx::query_as(column.older)
            .bind(newest.to_be_bytes().to_vec())
            .fetch_one(database.pool())
            .await?;
        count = count.saturating_add(u64::try_from(found).unwrap_or_default());
    }
    Ok(count)
}

/// Opens every record.
pub(super) async fn verify(database: &Database, keys: &DataKeys) -> Result<Verified, CustodyError> {
    let mut verified = Verified::default();
    for column in &COLUMNS {
        let mut walk = Walk::new(database, column);
        loop {
            let batch = walk.next().await?;
            if batch.is_empty() {
                break;
            }
            for (first, second, sealed) in &batch {
                verified.records = verified.records.saturating_add(1);
                let key = joined(first, second);
                match keys.open_record(column.name(&key), sealed).await {
                    Ok(_) => {}
                    Err(CustodyError::Tampered { record }) => {
                        verified.damaged = verified.damaged.saturating_add(1);
                        if verified.named.len() < MAXIMUM_NAMED {
                            verified.named.push(record);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(verified)
}

impl Column {
    fn name<'a>(&self, key: &'a str) -> RecordName<'a> {
        RecordName { table: self.table, column: self.column, key }
    }

    async fn reseal(&self, database: &Database, keys: &DataKeys, rows: &[&Row]) -> Result<u64, CustodyError> {
        let mut count = 0_u64;
        let mut transaction = database.pool().begin().await?;
        for (first, second, sealed) in rows {
            let key = joined(first, second);
            let name = self.name(&key);
            let secret = match keys.sealer().open(name, sealed) {
                Ok(secret) => secret,
                Err(CustodyError::Tampered { record }) => {
                    tracing::error!(record, "the record does not open and is left as it is");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let changed = sqlx::query(self.update)
                .bind(keys.sealer().seal(name, &secret)?)
                .bind(first)
                .bind(second)
                .bind(sealed)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            count = count.saturating_add(changed);
        }
        transaction.commit().await?;
        Ok(count)
    }
}

/// Goes through a column by its key.
struct Walk<'a> {
    database: &'a Database,
    column: &'a Column,
    after: (String, String),
}

impl<'a> Walk<'a> {
    fn new(database: &'a Database, column: &'a Column) -> Self {
        Self { database, column, after: (String::new(), String::new()) }
    }

    /// The next records; none when all were seen.
    async fn next(&mut self) -> Result<Vec<Row>, CustodyError> {
        let rows: Vec<Row> = sqlx::query_as(self.column.select)
            .bind(&self.after.0)
            .bind(&self.after.1)
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .fetch_all(self.database.pool())
            .await?;
        if let Some((first, second, _)) = rows.last() {
            self.after = (first.clone(), second.clone());
        }
        Ok(rows)
    }
}

/// A record's key in one word, as its seal names it.
fn joined(first: &str, second: &str) -> String {
    if second.is_empty() { first.to_owned() } else { format!("{first}/{second}") }
}
