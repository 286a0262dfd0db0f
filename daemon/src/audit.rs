//! The audit log: one JSON line an entry, hash-linked, signed at intervals, on the disk before an act goes on.
//!
//! `audit.jsonl` holds [`Entry`] after [`Entry`]. A file that has become large is closed, as `audit-NUMBER.jsonl` by the
//! number of its first entry, and the next one goes on with the chain. `audit.key` is the signing key, sealed; `audit.pub` its public half as 64
//! hexadecimal digits, for a check without the daemon. A checkpoint's signature is Ed25519 (RFC 8032) over the ASCII
//! text of its `hash`.

mod chain;
mod key;
mod log;
mod segments;
mod view;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cns_protocol::audit::{ChainError, Entry, Phase, Rotated, Verified};

use self::log::Log;
use crate::custody::{CustodyError, Sealer};

/// The most entries of one answer.
const MAXIMUM_LISTED: u16 = 1000;

/// Why the audit log cannot be used. The daemon does not act without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file cannot be read or written.
    #[error("the audit file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The chain is broken.
    #[error("the audit log is broken: {0}")]
    Broken(#[from] ChainError),
    /// The log ends elsewhere than the daemon left it: it was cut or replaced while the daemon ran.
    #[error("the audit log does not end with entry {expected}, as it was written")]
    Replaced {
        /// The last entry that was written.
        expected: u64,
    },
    /// There is a signing key, and no log: the log was removed.
    #[error("the audit log {path} is missing or empty, and its key is not: the log was removed")]
    Removed {
        /// The log.
        path: PathBuf,
    },
    /// There is a signed log, and no signing key.
    #[error("the audit key {path} is missing, and the log has signatures of it")]
    KeyMissing {
        /// The key.
        path: PathBuf,
    },
    /// The exported public key is not the one of the signing key.
    #[error("{path} is not the public key of the audit key")]
    PublicKey {
        /// The exported key.
        path: PathBuf,
    },
    /// The signing key cannot be sealed or opened.
    #[error("audit key: {0}")]
    Key(#[from] CustodyError),
    /// An entry cannot be written as JSON.
    #[error("audit entry: {0}")]
    Entry(#[from] serde_json::Error),
    /// A write failed before, and the log's file has not its name: nothing more is added until a restart checks it. (Where it
    /// has, the log is mended and goes on as soon as it can be written again.)
    #[error("the audit log could not be written before; the daemon must be restarted")]
    Failed,
    /// The task that did the work was stopped.
    #[error("the audit log is closing")]
    Stopped,
}

/// What is to be recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// The Unix user who asked; nothing for what the daemon does by itself.
    pub user: Option<u32>,
    /// The operator.
    pub operator: Option<String>,
    /// What it is about, a stable name.
    pub act: &'static str,
    /// Intention, outcome or fact.
    pub phase: Phase,
    /// The manual's rule.
    pub paragraph: Option<&'static str>,
    /// The card's serial number.
    pub card: Option<String>,
    /// The procedure.
    pub procedure: Option<String>,
    /// The facts, in English; no secret, and no more personal data than needed.
    pub text: String,
}

impl Record {
    /// A record of `act` with its facts.
    #[must_use]
    pub fn new(act: &'static str, phase: Phase, text: impl Into<String>) -> Self {
        Self {
            user: None,
            operator: None,
            act,
            phase,
            paragraph: None,
            card: None,
            procedure: None,
            text: text.into(),
        }
    }

    /// Adds the Unix user who asked.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Adds the operator.
    #[must_use]
    pub fn operator(mut self, operator: impl Into<String>) -> Self {
        self.operator = Some(operator.into());
        self
    }

    /// Adds the manual's rule.
    #[must_use]
    pub fn paragraph(mut self, paragraph: &'static str) -> Self {
        self.paragraph = Some(paragraph);
        self
    }

    /// Adds the card's serial number.
    #[must_use]
    pub fn card(mut self, card: impl Into<String>) -> Self {
        self.card = Some(card.into());
        self
    }

    /// Adds the procedure.
    #[must_use]
    pub fn procedure(mut self, procedure: impl Into<String>) -> Self {
        self.procedure = Some(procedure.into());
        self
    }
}

/// The audit log, open. Clones share it.
#[derive(Clone)]
pub struct Audit {
    log: Arc<Mutex<Log>>,
}

impl Audit {
    /// Opens the log in the folder `state` and checks all of it; makes it, and its key sealed by `sealer`, at the first
    /// start. A last line without its end, as a power cut leaves it, is cut off, and that is recorded. What was not
    /// signed yet is signed.
    ///
    /// # Errors
    /// Anything else that is not as it was written: see [`AuditError`].
    pub async fn open(state: &Path, sealer: &Sealer) -> Result<Self, AuditError> {
        let (state, sealer) = (state.to_owned(), sealer.clone());
        let opened = tokio::task::spawn_blocking(move || Log::open(&state, &sealer));
        let log = opened.await.map_err(|_| AuditError::Stopped)??;
        Ok(Self { log: Arc::new(Mutex::new(log)) })
    }

    /// Appends an entry; it is on the disk when this returns. Gives its number.
    ///
    /// # Errors
    /// [`AuditError::File`] when it could not be written: the act must not go on. The next call tries again, after it has cut
    /// off what the failed write left.
    pub async fn record(&self, record: Record) -> Result<u64, AuditError> {
        self.with_log(move |log| log.record(record)).await
    }

    /// Entries from number `from` on, `limit` at most (and never more than 1,000).
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn list(&self, from: u64, limit: u16) -> Result<Vec<Entry>, AuditError> {
        let limit = usize::from(limit.min(MAXIMUM_LISTED));
        let view = self.with_log(|log| log.view()).await?;
        let listed = tokio::task::spawn_blocking(move || view.list(from, limit));
        listed.await.map_err(|_| AuditError::Stopped)?
    }

    /// Checks the whole log again, the closed files that are there included: chain, signatures, and that it ends where
    /// the daemon left it.
    ///
    /// # Errors
    /// Where it is broken.
    pub async fn verify(&self) -> Result<Verified, AuditError> {
        let view = self.with_log(|log| log.view()).await?;
        let verified = tokio::task::spawn_blocking(move || view.verify());
        verified.await.map_err(|_| AuditError::Stopped)?
    }

    /// Signs the log so far, unless its last entry is a signature already. [`Audit::open`] and every hundredth entry
    /// do so by themselves; the daemon does when it stops.
    ///
    /// # Errors
    /// As [`Audit::record`].
    pub async fn checkpoint(&self) -> Result<(), AuditError> {
        self.with_log(Log::checkpoint).await
    }

    /// Closes the file when it has this many bytes, or never.
    ///
    /// # Errors
    /// The log is closing.
    pub async fn rotate_at(&self, bytes: Option<u64>) -> Result<(), AuditError> {
        self.with_log(move |log| {
            log.rotate_at(bytes);
            Ok(())
        })
        .await
    }

    /// Closes the file and goes on in a new one.
    ///
    /// # Errors
    /// [`AuditError::File`]: when both files could not get their names, nothing is recorded until a restart.
    pub async fn rotate(&self) -> Result<Rotated, AuditError> {
        self.with_log(Log::rotate).await
    }

    async fn with_log<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<T, AuditError> + Send + 'static,
    ) -> Result<T, AuditError> {
        let log = Arc::clone(&self.log);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|_| AuditError::Stopped)?
    }
}
