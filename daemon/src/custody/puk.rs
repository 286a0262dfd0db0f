//! Cards' PUKs: kept sealed while the card lives, lent to one use at a time.

use cns_secret::Secret;

use crate::custody::data_key::DataKeys;
use crate::custody::error::CustodyError;
use crate::custody::seal::RecordName;
use crate::database::{Pool, now};

/// Digits of EF_ID_Carta, which name a card.
pub(super) const SERIAL_DIGITS: usize = 16;
const MAXIMUM_PUK: usize = 64;

/// Which PUK of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PukKind {
    /// The one that unblocks the card's PIN.
    Cns,
    /// The one of the signature area.
    Signature,
}

impl PukKind {
    /// The name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cns => "cns",
            Self::Signature => "signature",
        }
    }
}

/// A secret lent for one use, and wiped after it. It can be neither read nor copied outside of that use.
pub struct Lent(Secret);

impl Lent {
    pub(super) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Lends the secret to `use_it`, and wipes it.
    pub fn lend<R>(self, use_it: impl FnOnce(&Secret) -> R) -> R {
        use_it(&self.0)
    }
}

/// The PUKs in the database.
#[derive(Clone)]
pub(super) struct Puks {
    pool: Pool,
    keys: DataKeys,
}

impl Puks {
    pub(super) fn new(pool: Pool, keys: DataKeys) -> Self {
        Self { pool, keys }
    }

    pub(super) async fn has(&self, serial: &str, kind: PukKind) -> Result<bool, CustodyError> {
        Ok(self.row(serial, kind).await?.is_some_and(|row| row.refused_at.is_none()))
    }

    pub(super) async fn lend(&self, serial: &str, kind: PukKind) -> Result<Lent, CustodyError> {
        let row =
            self.row(serial, kind).await?.ok_or_else(|| CustodyError::NoPuk { serial: serial.to_owned() })?;
        if row.refused_at.is_some() {
            let tries_left = row.tries_left.and_then(|tries| u8::try_from(tries).ok());
            return Err(CustodyError::PukRefused { serial: serial.to_owned(), tries_left });
        }
        Ok(Lent(self.open(serial, kind, &row.sealed).await?))
    }

    /// Stores a PUK that the daemon is about to set on the chip. The same again is no error; another one is, because
    /// the first may be on the chip already.
    pub(super) async fn store(&self, serial: &str, kind: PukKind, puk: &Secret) -> Result<(), CustodyError> {
        if !is_serial(serial) {
            return Err(CustodyError::Invalid("the card's serial number"));
        }
        if puk.is_empty() || puk.len() > MAXIMUM_PUK {
            return Err(CustodyError::Invalid("the PUK"));
        }
        let sealed = self.keys.sealer().seal(puk_name(&key(serial, kind)), puk)?;
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO card (serial, created_at) VALUES ($1, $2) ON CONFLICT (serial) DO NOTHING")
            .bind(serial)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        let inserted = sqlx::query(
            "INSERT INTO puk (serial, kind, sealed, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (serial, kind) DO NOTHING",
        )
        .bind(serial)
        .bind(kind.name())
        .bind(sealed)
        .bind(now())
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        if inserted == 1 {
            return Ok(());
        }
        let known =
            self.row(serial, kind).await?.ok_or_else(|| CustodyError::NoPuk { serial: serial.to_owned() })?;
        if self.open(serial, kind, &known.sealed).await?.ct_eq(puk) {
            Ok(())
        } else {
            Err(CustodyError::PukKnown { serial: serial.to_owned() })
        }
    }

    /// Marks a PUK that the chip refused. The first mark stays.
    pub(super) async fn refused(
        &self,
        serial: &str,
        kind: PukKind,
        tries_left: Option<u8>,
    ) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE puk SET refused_at = COALESCE(refused_at, $1), tries_left = COALESCE(tries_left, $2) \
             WHERE serial = $3 AND kind = $4",
        )
        .bind(now())
        .bind(tries_left.map(i64::from))
        .bind(serial)
        .bind(kind.name())
        .execute(&self.pool)
        .await?
        .rows_affected();
        if changed == 1 { Ok(()) } else { Err(CustodyError::NoPuk { serial: serial.to_owned() }) }
    }

    async fn open(&self, serial: &str, kind: PukKind, sealed: &[u8]) -> Result<Secret, CustodyError> {
        self.keys.open_record(puk_name(&key(serial, kind)), sealed).await
    }

    async fn row(&self, serial: &str, kind: PukKind) -> Result<Option<Row>, CustodyError> {
        let row: Option<(Vec<u8>, Option<String>, Option<i64>)> =
            sqlx::query_as("SELECT sealed, refused_at, tries_left FROM puk WHERE serial = $1 AND kind = $2")
                .bind(serial)
                .bind(kind.name())
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(sealed, refused_at, tries_left)| Row { sealed, refused_at, tries_left }))
    }
}

struct Row {
    sealed: Vec<u8>,
    refused_at: Option<String>,
    tries_left: Option<i64>,
}

/// Whether this is the number in an EF_ID_Carta.
pub(super) fn is_serial(text: &str) -> bool {
    text.len() == SERIAL_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The primary key of a PUK's record, in one word.
pub(super) fn key(serial: &str, kind: PukKind) -> String {
    format!("{serial}/{}", kind.name())
}

/// The record of a sealed PUK.
pub(super) fn puk_name(key: &str) -> RecordName<'_> {
    RecordName { table: "puk", column: "sealed", key }
}
