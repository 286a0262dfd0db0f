//! What OCSP told of certificates that are out of force, kept over restarts.
//!
//! An answer is kept as it came and believed again for its signature alone: whoever can write into the database makes
//! nothing of it that the responder did not say.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, MutexGuard};
use x509_cert::Certificate;

use crate::authority::checks::TrustAnchors;
use crate::authority::status::ocsp::{self, Told};
use crate::database::Database;

/// A responder's answer, with its certificate, has some kilobytes.
const LONGEST: usize = 64 * 1024;

/// The table `ocsp_out_of_force`.
pub(super) struct OutOfForce {
    database: Database,
    writing: Mutex<()>,
}

impl OutOfForce {
    pub(super) fn new(database: Database) -> Self {
        Self { database, writing: Mutex::default() }
    }

    /// For who writes down what was told, unless it was forgotten meanwhile.
    pub(super) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// Keeps the answer about a certificate, heard at this time. What is kept of certificates whose term is over goes.
    pub(super) async fn keep(
        &self,
        sha256: &str,
        certificate: &Certificate,
        (answer, heard): (&[u8], SystemTime),
    ) {
        if answer.len() > LONGEST {
            tracing::warn!("an OCSP answer is too long to be kept over a restart");
            return;
        }
        let not_after = certificate.tbs_certificate.validity.not_after.to_system_time();
        let mut kept = sqlx::query("DELETE FROM ocsp_out_of_force WHERE not_after < $1")
            .bind(seconds(heard))
            .execute(self.database.pool())
            .await;
        if kept.is_ok() {
            kept = sqlx::query(
                "INSERT INTO ocsp_out_of_force (sha256, answer, heard, not_after) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (sha256) DO UPDATE SET answer = excluded.answer, heard = excluded.heard",
            )
            .bind(sha256)
            .bind(answer)
            .bind(seconds(heard))
            .bind(seconds(not_after))
            .execute(self.database.pool())
            .await;
        }
        if let Err(error) = kept {
            tracing::error!(%error, "that a certificate is out of force is not kept over a restart");
        }
    }

    /// Forgets what is kept of a certificate.
    pub(super) async fn forget(&self, sha256: &str) {
        let forgotten = sqlx::query("DELETE FROM ocsp_out_of_force WHERE sha256 = $1")
            .bind(sha256)
            .execute(self.database.pool())
            .await;
        if let Err(error) = forgotten {
            tracing::error!(%error, "that a certificate was out of force is not forgotten");
        }
    }

    /// What was told of a certificate.
    pub(super) async fn told(
        &self,
        sha256: &str,
        (certificate, issuer): (&Certificate, &Certificate),
        anchors: &TrustAnchors,
    ) -> Option<Told> {
        let row = sqlx::query_as("SELECT answer, heard FROM ocsp_out_of_force WHERE sha256 = $1")
            .bind(sha256)
            .fetch_optional(self.database.pool())
            .await;
        let row: Option<(Vec<u8>, i64)> = match row {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(%error, "what was told of a certificate cannot be looked up");
                None
            }
        };
        let (answer, heard) = row?;
        let heard = UNIX_EPOCH + Duration::from_secs(u64::try_from(heard).ok()?);
        match ocsp::read_again(&answer, (certificate, issuer), anchors, heard) {
            Ok(told) => Some(told).filter(|told| !told.standing.is_good()),
            Err(error) => {
                tracing::error!(%error, "the OCSP answer that was kept is not believed");
                None
            }
        }
    }
}

fn seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
