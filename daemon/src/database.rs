//! The database: what is in custody, and the procedures. SQLite beside the daemon's state, or a PostgreSQL server that
//! several daemons share.
//!
//! Every query has one text, which both understand: `$1` for a value, TEXT, BIGINT and BLOB for types, `ON CONFLICT` for
//! what may be there already. `sqlx`'s `Any` driver carries them to either. Times are text of one width, so that their
//! order as text is their order in time.

mod address;

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Executor, Transaction};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::address::Address;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a writer waits for another one, and anybody for a connection.
const BUSY: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const CONNECTIONS: u32 = 4;

/// What is committed must survive a power cut: a card is touched on the strength of it. A destroyed PIN shall not stay
/// behind in a free page, not even sealed.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                              PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
const POSTGRES_SESSION: &str = "SET synchronous_commit = on; SET lock_timeout = '10s'; \
                                SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning";
/// SQLITE_BUSY, see <https://sqlite.org/rescode.html>; higher bits say more.
const SQLITE_BUSY: u32 = 5;
/// What daemons on one PostgreSQL database lock while one of them does what may happen once: `cnsd`, in ASCII.
const ONCE: i64 = 0x636E_7364;

/// The connections to either kind of database.
pub type Pool = AnyPool;

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The configured address is none that the daemon understands.
    #[error("the database address is not usable: {0}")]
    Address(&'static str),
    /// The file cannot be made or protected.
    #[error("cannot open the database {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The server does not answer, or the connection to it broke off. What was asked may have been done.
    #[error("the database cannot be reached: {0}")]
    Unreachable(sqlx::Error),
    /// The database refused a statement, or its file is damaged.
    #[error("database: {0}")]
    Sql(sqlx::Error),
    /// The schema is not one that this version can bring up to date.
    #[error("database schema: {0}")]
    Schema(#[from] MigrateError),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        if is_unreachable(&error) { Self::Unreachable(error) } else { Self::Sql(error) }
    }
}

/// Which of the two it is. Only what has no common words asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file beside the daemon's state.
    Sqlite,
    /// A server, through its Unix socket.
    Postgres,
}

/// The database, open and with the schema of this version.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    kind: Kind,
}

impl Database {
    /// Opens the database at `url` and brings its schema up to date: `sqlite:FILE`, relative to the folder `state`, made
    /// where it is missing and for its owner alone; or `postgresql:///NAME?host=FOLDER`, where `FOLDER` has the server's
    /// Unix socket.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn open(url: &str, state: &Path) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let address = Address::parse(url, state)?;
        if let Address::Sqlite(path) = &address {
            protect(path).map_err(|source| DatabaseError::File { path: path.clone(), source })?;
        }
        let kind = address.kind();
        let options = AnyConnectOptions::from_url(&address.url()?)?.disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(BUSY)
            .after_connect(move |connection, _| Box::pin(begin_session(kind, connection)))
            .connect_with(options)
            .await?;
        let database = Self { pool, kind };
        database.migrate().await?;
        Ok(database)
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Which kind of database it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A transaction that none of this kind runs beside, in no daemon: for what may happen once only.
    pub(crate) async fn alone(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => {
                let mut transaction = self.pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ONCE).execute(&mut *transaction).await?;
                Ok(transaction)
            }
        }
    }

    /// All of it in one transaction, so that of two daemons that start together one finds the other's work done.
    async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut transaction = self.alone().await?;
        if self.kind == Kind::Postgres {
            let (known,): (i64,) = sqlx::query_as(
                "SELECT COUNT(*) FROM pg_type JOIN pg_namespace ON pg_namespace.oid = pg_type.typnamespace \
                 WHERE pg_type.typname = 'blob' AND pg_namespace.nspname = current_schema()",
            )
            .fetch_one(&mut *transaction)
            .await?;
            if known == 0 {
                transaction.execute("CREATE DOMAIN blob AS bytea").await?;
            }
        }
        MIGRATIONS.run_direct(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Merges SQLite's write-ahead log into the database and empties it, so that what a statement destroyed is not left
    /// in the log. A reader in the middle of its work keeps the log for now; the next call, or the end, empties it.
    /// PostgreSQL's log is the server's affair: what goes through it is sealed.
    pub(crate) async fn empty_log(&self) -> Result<(), sqlx::Error> {
        match self.kind {
            Kind::Sqlite => {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await.map(|_| ())
            }
            Kind::Postgres => Ok(()),
        }
    }

    /// Copies an SQLite database, as of one moment, into a new file; nothing for PostgreSQL.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<bool, DatabaseError> {
        if self.kind == Kind::Postgres {
            return Ok(false);
        }
        let name = path.to_str().ok_or(DatabaseError::Address("the backup's path is not UTF-8"))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.pool).await?;
        Ok(true)
    }

    /// What SQLite finds wrong in its own file. PostgreSQL's administrators have `pg_amcheck` and page checksums.
    pub(crate) async fn check(&self) -> Result<Vec<String>, DatabaseError> {
        if self.kind == Kind::Postgres {
            return Ok(Vec::new());
        }
        let rows: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(10)").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(text,)| text).filter(|text| text != "ok").collect())
    }

    /// Leaves nothing of what was deleted: empties SQLite's log; has PostgreSQL remove the rows that nobody sees any more.
    pub(crate) async fn forget(&self) -> Result<(), DatabaseError> {
        match self.kind {
            Kind::Sqlite => self.empty_log().await?,
            Kind::Postgres => {
                self.pool
                    .execute(
                        "VACUUM card, puk, envelope, procedures, card_certificate, standing_request, \
                         standing_change, ocsp_out_of_force, national_request, national_mail, sealed_order, user_code_attempt, \
                         reader_request",
                    )
                    .await?;
            }
        }
        Ok(())
    }

    /// Has PostgreSQL look at how large the tables of an import are: it plans by that, and after a hundred thousand new rows it
    /// has not looked by itself yet. It would compare each new row with all old ones.
    pub(crate) async fn look_at_sizes(&self) -> Result<(), DatabaseError> {
        if self.kind == Kind::Postgres {
            self.pool.execute("ANALYZE import_card, import_envelope, card, puk, envelope").await?;
        }
        Ok(())
    }

    /// Closes every connection, and merges SQLite's write-ahead log into the file. SQLite would merge it too when the
    /// last connection closes, but not when two close at the same moment.
    pub async fn close(&self) {
        if let Err(error) = self.empty_log().await {
            // Nothing is lost: the next to open the database reads the log.
            tracing::warn!(%error, "the database's write-ahead log was not merged at the end");
        }
        self.pool.close().await;
    }
}

async fn begin_session(kind: Kind, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    match kind {
        Kind::Postgres => connection.execute(POSTGRES_SESSION).await.map(|_| ()),
        Kind::Sqlite => {
            // The change to a write-ahead log does not wait for others by itself.
            let patience = BUSY.as_millis() / BUSY_PAUSE.as_millis();
            for _ in 0..patience {
                match connection.execute(SQLITE_SESSION).await {
                    Err(error) if is_busy(&error) => tokio::time::sleep(BUSY_PAUSE).await,
                    done => return done.map(|_| ()),
                }
            }
            connection.execute(SQLITE_SESSION).await.map(|_| ())
        }
    }
}

/// Classes of SQLSTATE in PostgreSQL: connections that fail, and a server that shuts down or starts.
fn is_unreachable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let is_server_away = code.is_some_and(|code| code.starts_with("08") || code.starts_with("57P"));
    is_server_away || matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
}

fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code.parse::<u32>().is_ok_and(|code| code & 0xFF == SQLITE_BUSY))
}

/// Makes the file before SQLite does, because SQLite would use the process's umask. A file that is there is not opened:
/// closing it again would take away the locks that SQLite holds on it elsewhere in this process.
fn protect(path: &Path) -> io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the database was open to other users; it is now mode 0600");
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Always with three digits after the second: text in this form sorts by time.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The time as records tell it: RFC 3339, UTC, milliseconds.
#[must_use]
pub fn now() -> String {
    timestamp(OffsetDateTime::now_utc())
}

fn timestamp(at: OffsetDateTime) -> String {
    // Formatting needs nothing that a time has not.
    at.to_offset(time::UtcOffset::UTC).format(TIMESTAMP).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_have_one_width_and_sort_as_text() {
        let times = [
            datetime!(2026-11-29 09:59:59.999 UTC),
            datetime!(2026-11-29 10:00:00 UTC),
            datetime!(2026-11-29 10:00:00.1 UTC),
            datetime!(2026-11-29 11:00:00.12 +1),
            datetime!(2026-11-29 10:00:00.123456 UTC),
            datetime!(2026-11-29 10:00:01 UTC),
        ];
        let texts = times.map(timestamp);
        assert_eq!(texts[1], "2026-11-29T10:00:00.000Z");
        assert_eq!(texts[4], "2026-11-29T10:00:00.123Z");
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 24), "{texts:?}");
        assert!(texts.iter().all(|text| OffsetDateTime::parse(text, &Rfc3339).is_ok()));
    }
}
