//! The data keys: wrapped in the database, open in locked memory, and how they are replaced while the daemon works.
//!
//! There may be several. The newest seals; the others open what is not yet sealed anew, and are kept, wrapped, for
//! backups and for the audit log's key, which each daemon seals anew at its next start. Another daemon on the same database meets a record of a key that it
//! does not know, or looks by itself once in a while, and reads the new key.

use cns_secret::Secret;
use sqlx::{Any, Transaction};

use crate::custody::error::CustodyError;
use crate::custody::kek::Source;
use crate::custody::seal::{KEY_LEN, Parts, RecordName, Sealer, random_secret};
use crate::database::{Database, now};

/// The first data key of a database.
const FIRST: u32 = 1;

/// The data keys of a database.
#[derive(Clone)]
pub(super) struct DataKeys {
    database: Database,
    source: Source,
    sealer: Sealer,
}

/// A wrapped data key.
struct Wrapped {
    number: u32,
    kek: String,
    sealed: Vec<u8>,
}

type Row = (i64, String, Vec<u8>);

impl DataKeys {
    /// Opens the data keys; makes the first one, and its key-encryption key, at the first start. Of two daemons that start
    /// together one makes them.
    pub(super) async fn open(database: &Database, source: Source) -> Result<Self, CustodyError> {
        let mut transaction = database.alone().await?;
        let rows = wrapped(&mut transaction).await?;
        let Some((newest, older)) = rows.split_last() else {
            let sealer = create(&mut transaction, &source).await?;
            transaction.commit().await?;
            return Ok(Self { database: database.clone(), source, sealer });
        };
        drop(transaction);
        let sealer = Sealer::new(newest.number, newest.unwrap(&source).await?);
        for key in older {
            sealer.add(key.number, key.unwrap(&source).await?);
        }
        Ok(Self { database: database.clone(), source, sealer })
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Opens a record, also one that another daemon has sealed under a new key.
    pub(super) async fn open_record(
        &self,
        name: RecordName<'_>,
        sealed: &[u8],
    ) -> Result<Secret, CustodyError> {
        let known = self.sealer.identifiers();
        if Parts::of(sealed).is_some_and(|parts| !known.contains(&parts.key_id)) {
            self.reload().await?;
        }
        self.sealer.open(name, sealed)
    }

    /// Reads the keys that other daemons have added.
    pub(super) async fn reload(&self) -> Result<(), CustodyError> {
        let known = self.sealer.identifiers();
        let mut transaction = self.database.pool().begin().await?;
        for key in wrapped(&mut transaction).await? {
            if !known.contains(&key.number) {
                self.sealer.add(key.number, key.unwrap(&self.source).await?);
            }
        }
        Ok(())
    }

    /// Wraps the data keys under a new key-encryption key; in the HSM, where one is configured. No record changes, and
    /// nobody waits. Returns the new key's identifier.
    pub(super) async fn rewrap(&self) -> Result<String, CustodyError> {
        let mut transaction = self.database.alone().await?;
        let keys = wrapped(&mut transaction).await?;
        // A key that waits may be the one that the database needs, after a power cut: it is put in its place before
        // another one may wait.
        for key in &keys {
            let (source, kek) = (self.source.clone(), key.kek.clone());
            blocking(move || source.adopt(&kek)).await?;
        }
        let source = self.source.clone();
        let next = blocking(move || source.next()).await?;
        for key in keys {
            let secret = key.unwrap(&self.source).await?;
            let (source, kek, number) = (self.source.clone(), next.clone(), key.number);
            let sealed = blocking(move || source.wrap(&kek, name(&number.to_string()), &secret)).await?;
            sqlx::query("UPDATE data_key SET kek_id = $1, sealed = $2 WHERE id = $3")
                .bind(&next)
                .bind(sealed)
                .bind(i64::from(key.number))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let (source, kek) = (self.source.clone(), next.clone());
        blocking(move || source.adopt(&kek)).await?;
        Ok(next)
    }

    /// Adds a new data key, which seals from now on. Returns its number.
    pub(super) async fn renew(&self) -> Result<u32, CustodyError> {
        let mut transaction = self.database.alone().await?;
        let rows = wrapped(&mut transaction).await?;
        let newest = rows.last().ok_or_else(|| CustodyError::Tampered { record: "data_key".to_owned() })?;
        let number =
            newest.number.checked_add(1).ok_or(CustodyError::Cryptography("no key number is left"))?;
        let secret = insert(&mut transaction, &self.source, number, newest.kek.clone()).await?;
        transaction.commit().await?;
        self.sealer.add(number, secret);
        Ok(number)
    }

    /// The identifier of the key-encryption key.
    pub(super) async fn wrapping_key(&self) -> Result<String, CustodyError> {
        let mut transaction = self.database.pool().begin().await?;
        let rows = wrapped(&mut transaction).await?;
        let newest = rows.last().ok_or_else(|| CustodyError::Tampered { record: "data_key".to_owned() })?;
        Ok(newest.kek.clone())
    }
}

async fn wrapped(transaction: &mut Transaction<'_, Any>) -> Result<Vec<Wrapped>, CustodyError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT id, kek_id, sealed FROM data_key ORDER BY id")
        .fetch_all(&mut **transaction)
        .await?;
    let read = |(id, kek, sealed): Row| -> Result<Wrapped, CustodyError> {
        let number =
            u32::try_from(id).map_err(|_| CustodyError::Tampered { record: format!("data_key.id[{id}]") })?;
        Ok(Wrapped { number, kek, sealed })
    };
    rows.into_iter().map(read).collect()
}

impl Wrapped {
    async fn unwrap(&self, source: &Source) -> Result<Secret, CustodyError> {
        let (source, kek, sealed) = (source.clone(), self.kek.clone(), self.sealed.clone());
        let number = self.number.to_string();
        blocking(move || source.unwrap(&kek, name(&number), &sealed)).await
    }
}

async fn create(transaction: &mut Transaction<'_, Any>, source: &Source) -> Result<Sealer, CustodyError> {
    let orphan: Option<(String,)> =
        sqlx::query_as("SELECT name FROM daemon_secret LIMIT 1").fetch_optional(&mut **transaction).await?;
    if orphan.is_some() {
        return Err(CustodyError::Tampered { record: "data_key".to_owned() });
    }
    let first = source.clone();
    let kek = blocking(move || first.first()).await?;
    Ok(Sealer::new(FIRST, insert(transaction, source, FIRST, kek).await?))
}

async fn insert(
    transaction: &mut Transaction<'_, Any>,
    source: &Source,
    number: u32,
    kek: String,
) -> Result<Secret, CustodyError> {
    let (source, kek_id) = (source.clone(), kek.clone());
    let (secret, sealed) = blocking(move || {
        let secret = random_secret(KEY_LEN)?;
        let sealed = source.wrap(&kek_id, name(&number.to_string()), &secret)?;
        Ok((secret, sealed))
    })
    .await?;
    sqlx::query("INSERT INTO data_key (id, kek_id, sealed, created_at) VALUES ($1, $2, $3, $4)")
        .bind(i64::from(number))
        .bind(kek)
        .bind(sealed)
        .bind(now())
        .execute(&mut **transaction)
        .await?;
    Ok(secret)
}

fn name(number: &str) -> RecordName<'_> {
    RecordName { table: "data_key", column: "sealed", key: number }
}

/// Files and HSMs make their callers wait.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, CustodyError> + Send + 'static,
) -> Result<R, CustodyError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| CustodyError::Stopped)?
}
