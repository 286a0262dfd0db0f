//! The database: what is in custody, and the procedures. SQLite beside the daemon's state.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 4;

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The configured address is none that the daemon understands.
    #[error("the database address {0:?} is not `sqlite:FILE`")]
    Address(String),
    /// The file cannot be made or protected.
    #[error("cannot open the database {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The database refused a statement, or its file is damaged.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema is not one that this version can bring up to date.
    #[error("database schema: {0}")]
    Schema(#[from] MigrateError),
}

/// The database, open and with the schema of this version.
#[derive(Clone)]
pub struct Database {
    pool: SqlitePool,
}

impl Database {
    /// Opens or makes the database at `url` (`sqlite:FILE`, relative to the folder `state`), and brings its schema up
    /// to date. The file is for its owner alone.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn open(url: &str, state: &Path) -> Result<Self, DatabaseError> {
        let path = file(url, state)?;
        protect(&path).map_err(|source| DatabaseError::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            // What is committed must survive a power cut: a card is touched on the strength of it.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            // A destroyed PIN shall not stay behind in a free page, not even sealed.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(BUSY)
            .connect_with(options)
            .await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { pool })
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Merges the write-ahead log into the file and closes every connection. SQLite would merge it too when the last
    /// connection closes, but not when two close at the same moment.
    pub async fn close(&self) {
        if let Err(error) = empty_log(&self.pool).await {
            // Nothing is lost: the next to open the database reads the log.
            tracing::warn!(%error, "the database's write-ahead log was not merged at the end");
        }
        self.pool.close().await;
    }
}

/// Merges the write-ahead log into the database and empties it, so that what a statement destroyed is not left in the
/// log. A reader in the middle of its work keeps the log for now; the next call, or the end, empties it.
pub(crate) async fn empty_log(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await.map(|_| ())
}

fn file(url: &str, state: &Path) -> Result<PathBuf, DatabaseError> {
    let name = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match name {
        Some(name) if !name.is_empty() && !name.contains(['?', ':']) => Ok(state.join(name)),
        Some(_) | None => Err(DatabaseError::Address(url.to_owned())),
    }
}

/// Makes the file before SQLite does, because SQLite would use the process's umask.
fn protect(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the database was open to other users; it is now mode 0600");
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// The time as records tell it: RFC 3339, UTC, milliseconds.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    // Only a year beyond 9999 cannot be written in RFC 3339.
    now.format(&Rfc3339).unwrap_or_else(|_| now.unix_timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let state = Path::new("/state");
        assert_eq!(file("sqlite:custody.db", state).unwrap(), Path::new("/state/custody.db"));
        assert_eq!(file("sqlite:///srv/custody.db", state).unwrap(), Path::new("/srv/custody.db"));
        for wrong in ["custody.db", "sqlite:", "sqlite::memory:", "sqlite:a?mode=ro", "postgres://h/d"] {
            assert!(matches!(file(wrong, state), Err(DatabaseError::Address(_))), "{wrong}");
        }
    }
}
