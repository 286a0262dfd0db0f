//! The tables that an import file's lines wait in, and their way into custody: all of them in one transaction.
//!
//! Lines are staged in their order, without an index on card or envelope, so that a line costs the same in a file of ten
//! and of a million; what is there twice is found by one sorted pass at the end.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_lc_rs::rand;
use cns_protocol::custody::Imported;
use sqlx::{Any, Transaction};

use crate::custody::error::CustodyError;
use crate::custody::import::{Fault, Faults, Kind, MAXIMUM_FAULTS, Record};
use crate::custody::puk::PukKind;
use crate::database::{Pool, now};

/// Staged lines that are removed at a time, so that others who write get their turn in between.
const REMOVED_AT_A_TIME: i64 = 20_000;

/// How an import file stands in the database.
pub(super) struct Standing {
    pub(super) id: i64,
    /// What it brought, once it is in custody.
    pub(super) done: Option<Imported>,
    /// The last line that is staged.
    pub(super) last_line: u64,
}

/// The staging tables.
#[derive(Clone)]
pub(super) struct Staging {
    pool: Pool,
}

/// Lines on their way into the tables; what is not committed is lost with it.
pub(super) struct Stage<'a> {
    transaction: Transaction<'a, Any>,
    id: i64,
    /// The statements by how many records they take: nearly all batches have one size.
    statements: HashMap<(Kind, usize), String>,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cards => "cards",
            Self::Envelopes => "envelopes",
        }
    }

    fn imported(self, records: u64) -> Imported {
        match self {
            Self::Cards => Imported { cards: records, ..Imported::default() },
            Self::Envelopes => Imported { envelopes: records, ..Imported::default() },
        }
    }
}

impl Staging {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// How the file stands, if it was ever begun.
    pub(super) async fn find(&self, digest: &str) -> Result<Option<Standing>, CustodyError> {
        let row: Option<(i64, String, Option<String>, i64)> =
            sqlx::query_as("SELECT id, state, kind, records FROM import_file WHERE digest = $1")
                .bind(digest)
                .fetch_optional(&self.pool)
                .await?;
        let Some((id, state, kind, records)) = row else { return Ok(None) };
        let kind =
            [Kind::Cards, Kind::Envelopes].into_iter().find(|known| Some(known.name()) == kind.as_deref());
        let tampered = || CustodyError::Tampered { record: format!("import_file[{id}]") };
        let done = match (state.as_str(), kind) {
            ("done", Some(kind)) => Some(Imported { already: true, ..kind.imported(records.unsigned_abs()) }),
            ("staging", _) => None,
            (_, _) => return Err(tampered()),
        };
        let mut last_line = 0;
        for table in [
            "SELECT MAX(line) FROM import_card WHERE import_id = $1",
            "SELECT MAX(line) FROM import_envelope WHERE import_id = $1",
        ] {
            let (line,): (Option<i64>,) = sqlx::query_as(table).bind(id).fetch_one(&self.pool).await?;
            last_line = last_line.max(line.unwrap_or_default().unsigned_abs());
        }
        Ok(Some(Standing { id, done, last_line }))
    }

    /// Begins a file, or finds it.
    pub(super) async fn begin(&self, digest: &str) -> Result<Standing, CustodyError> {
        let mut random = [0; 8];
        rand::fill(&mut random).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
        sqlx::query(
            "INSERT INTO import_file (id, digest, state, records, started_at) VALUES ($1, $2, 'staging', 0, $3) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(i64::from_be_bytes(random) & i64::MAX)
        .bind(digest)
        .bind(now())
        .execute(&self.pool)
        .await?;
        self.find(digest).await?.ok_or(CustodyError::Stopped)
    }

    /// Begins to stage lines.
    pub(super) async fn stage(&self, id: i64) -> Result<Stage<'_>, CustodyError> {
        Ok(Stage { transaction: self.pool.begin().await?, id, statements: HashMap::new() })
    }

    /// Lines that name what an earlier line names, and lines that name what is in custody.
    pub(super) async fn conflicts(
        &self,
        id: i64,
        kind: Kind,
        faults: &mut Faults,
    ) -> Result<(), CustodyError> {
        let (repeated, known) = match kind {
            Kind::Cards => (
                "SELECT line FROM (SELECT line, ROW_NUMBER() OVER (PARTITION BY serial ORDER BY line) AS place \
                 FROM import_card WHERE import_id = $1) AS ordered WHERE place > 1 ORDER BY line",
                "SELECT line FROM import_card AS new WHERE import_id = $1 AND EXISTS \
                 (SELECT 1 FROM puk WHERE puk.serial = new.serial AND puk.kind = 'cns') ORDER BY line",
            ),
            Kind::Envelopes => (
                "SELECT line FROM (SELECT line, ROW_NUMBER() OVER (PARTITION BY code ORDER BY line) AS place \
                 FROM import_envelope WHERE import_id = $1) AS ordered WHERE place > 1 ORDER BY line",
                "SELECT line FROM import_envelope AS new WHERE import_id = $1 AND EXISTS \
                 (SELECT 1 FROM envelope WHERE envelope.code = new.code) ORDER BY line",
            ),
        };
        for (query, fault) in [(repeated, Fault::Repeated), (known, Fault::Known)] {
            let first: Vec<(i64,)> = sqlx::query_as(&format!("{query} LIMIT {MAXIMUM_FAULTS}"))
                .bind(id)
                .fetch_all(&self.pool)
                .await?;
            if first.is_empty() {
                continue;
            }
            let (total,): (i64,) = sqlx::query_as(&format!("SELECT COUNT(*) FROM ({query}) AS conflicts"))
                .bind(id)
                .fetch_one(&self.pool)
                .await?;
            faults.add(first.into_iter().map(|(line,)| line.unsigned_abs()), total.unsigned_abs(), fault);
        }
        Ok(())
    }

    /// Moves all lines into custody. Nothing, and nothing is moved, when one of them is there already.
    pub(super) async fn take_in(
        &self,
        id: i64,
        kind: Kind,
        records: u64,
    ) -> Result<Option<Imported>, CustodyError> {
        let mut transaction = self.pool.begin().await?;
        let at = now();
        if kind == Kind::Cards {
            sqlx::query(
                "INSERT INTO card (serial, codice_fiscale, created_at) \
                 SELECT serial, codice_fiscale, $2 FROM import_card WHERE import_id = $1 ORDER BY serial \
                 ON CONFLICT (serial) \
                 DO UPDATE SET codice_fiscale = COALESCE(card.codice_fiscale, excluded.codice_fiscale)",
            )
            .bind(id)
            .bind(&at)
            .execute(&mut *transaction)
            .await?;
        }
        let query = match kind {
            Kind::Cards => {
                "INSERT INTO puk (serial, kind, sealed, created_at) \
                 SELECT serial, $3, sealed, $2 FROM import_card WHERE import_id = $1 ORDER BY serial \
                 ON CONFLICT (serial, kind) DO NOTHING"
            }
            Kind::Envelopes => {
                "INSERT INTO envelope (code, state, sealed_pin, user_code_salt, user_code_verifier, created_at) \
                 SELECT code, $3, sealed_pin, user_code_salt, user_code_verifier, $2 \
                 FROM import_envelope WHERE import_id = $1 ORDER BY code ON CONFLICT (code) DO NOTHING"
            }
        };
        let third = match kind {
            Kind::Cards => PukKind::Cns.name(),
            Kind::Envelopes => "available",
        };
        let moved = sqlx::query(query).bind(id).bind(&at).bind(third).execute(&mut *transaction).await?;
        if moved.rows_affected() != records {
            transaction.rollback().await?;
            return Ok(None);
        }
        sqlx::query(
            "UPDATE import_file SET state = 'done', kind = $2, records = $3, ended_at = $4 WHERE id = $1",
        )
        .bind(id)
        .bind(kind.name())
        .bind(i64::try_from(records).unwrap_or(i64::MAX))
        .bind(&at)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(kind.imported(records)))
    }

    /// Removes the staged lines of a file, and what is known of it if it is not in custody.
    pub(super) async fn clear(&self, id: i64) -> Result<(), CustodyError> {
        for query in [
            "DELETE FROM import_card WHERE import_id = $1 AND line <= \
             (SELECT MIN(line) FROM import_card WHERE import_id = $1) + $2",
            "DELETE FROM import_envelope WHERE import_id = $1 AND line <= \
             (SELECT MIN(line) FROM import_envelope WHERE import_id = $1) + $2",
        ] {
            while sqlx::query(query)
                .bind(id)
                .bind(REMOVED_AT_A_TIME)
                .execute(&self.pool)
                .await?
                .rows_affected()
                > 0
            {}
        }
        sqlx::query("DELETE FROM import_file WHERE id = $1 AND state = 'staging'")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Files whose staging was begun before this time and never finished.
    pub(super) async fn begun_before(&self, time: &str) -> Result<Vec<(i64, String)>, CustodyError> {
        let query = "SELECT id, digest FROM import_file WHERE state = 'staging' AND started_at < $1";
        Ok(sqlx::query_as(query).bind(time).fetch_all(&self.pool).await?)
    }
}

impl Stage<'_> {
    /// Stages the records of some lines. What is staged already stays.
    pub(super) async fn put(&mut self, records: Vec<Record>) -> Result<(), CustodyError> {
        let kind = match records.first() {
            Some(Record::Card(_)) => Kind::Cards,
            Some(Record::Envelope(_)) => Kind::Envelopes,
            None => return Ok(()),
        };
        let statement =
            self.statements.entry((kind, records.len())).or_insert_with(|| statement(kind, records.len()));
        let mut query = sqlx::query(statement);
        for record in records {
            query = query.bind(self.id);
            query = match record {
                Record::Card(card) => query
                    .bind(i64::try_from(card.line).unwrap_or(i64::MAX))
                    .bind(card.serial)
                    .bind(card.codice_fiscale)
                    .bind(card.puk),
                Record::Envelope(envelope) => query
                    .bind(i64::try_from(envelope.line).unwrap_or(i64::MAX))
                    .bind(envelope.code.to_string())
                    .bind(envelope.pin)
                    .bind(envelope.user_code_salt)
                    .bind(envelope.user_code_verifier),
            };
        }
        query.execute(&mut *self.transaction).await?;
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), CustodyError> {
        Ok(self.transaction.commit().await?)
    }
}

fn statement(kind: Kind, records: usize) -> String {
    let (head, columns) = match kind {
        Kind::Cards => {
            ("INSERT INTO import_card (import_id, line, serial, codice_fiscale, sealed) VALUES ", 5)
        }
        Kind::Envelopes => (
            "INSERT INTO import_envelope \
             (import_id, line, code, sealed_pin, user_code_salt, user_code_verifier) VALUES ",
            6,
        ),
    };
    let mut text = head.to_owned();
    for record in 0..records {
        text.push_str(if record == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            // Writing to a string does not fail.
            write!(text, "{comma}${}", record * columns + column).unwrap_or_default();
        }
        text.push(')');
    }
    text.push_str(" ON CONFLICT (import_id, line) DO NOTHING");
    text
}
