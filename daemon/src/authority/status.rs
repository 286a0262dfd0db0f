//! How certificates stand with their authority (§1.3.5): asked by OCSP, else looked up on its revocation list.
//!
//! An answer counts as long as it says itself, and no longer. A list that is older than one that was seen before is
//! refused, also after a restart: whoever can bring an old list could otherwise bring a revoked card back to life. What
//! follows when nobody can be asked is the configuration's word (`status.offline`); but a certificate that was out of force
//! when it was last heard of stays so until somebody who is believed says otherwise, and what OCSP told over restarts too.

mod kept;
mod known;
pub mod list;
mod lists;
pub mod ocsp;
mod open;
mod seen;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::authority::checks::{CheckError, TrustAnchors, verify_chain};
use crate::authority::status::kept::OutOfForce;
use crate::authority::status::lists::Lists;
use crate::authority::status::ocsp::{OcspError, Question, Told};
use crate::authority::{NetworkError, NetworkHelper};
use crate::config::Offline;
use crate::procedure::status::{Asked, Forgetting, Heard, StatusError as Seam, StatusSource};

pub(crate) use crate::authority::status::known::rfc3339;
pub use crate::authority::status::known::{Known, Source, standing_in_words};
pub use crate::authority::status::open::OpenError;

/// OCSP answers that are kept at a time.
const ANSWERS: usize = 4096;
/// How long an OCSP answer of a certificate in force is not asked anew, whatever end it has: its nonce has shown that it
/// was true then, and what became of the certificate since is not in it.
const ASKED_ANEW: Duration = Duration::from_secs(5 * 60);
/// How long all sources together may take: a source that hangs may hold others up who wait for the network.
const LONGEST: Duration = Duration::from_secs(75);
/// Look-ups that go on at a time for clients who may have gone away meanwhile.
const AT_ONCE: usize = 4;

/// Why a certificate's standing is not known.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The certificate is not one that has a standing here.
    #[error("the certificate is refused: {0}")]
    Certificate(CheckError),
    /// No source is configured.
    #[error("no source of certificates' status is configured")]
    NoSource,
    /// The network.
    #[error("{0}")]
    Network(#[from] NetworkError),
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The revocation list cannot be used.
    #[error("the revocation list cannot be used: {0}")]
    List(CheckError),
    /// The list is older than one that was seen before.
    #[error("the revocation list is older than one that was seen before: somebody may be replaying it")]
    Replayed,
    /// The delta list does not continue the complete one.
    #[error("the delta list does not continue the complete list")]
    Delta,
    /// OCSP.
    #[error(transparent)]
    Ocsp(#[from] OcspError),
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// No source answered in time.
    #[error("no answer in time")]
    TimedOut,
    /// The daemon failed inside.
    #[error("the status could not be looked up inside the daemon")]
    Internal,
}

impl StatusError {
    /// The error as clients may see it: what stands on the disk and in the database is for the log, and what a server
    /// says is not for terminals.
    #[must_use]
    pub fn for_clients(&self) -> String {
        let sentence = match self {
            Self::File { .. } => "the revocation list cannot be read".to_owned(),
            Self::Database(_) => "the database cannot be asked which revocation lists were seen".to_owned(),
            Self::Network(NetworkError::Helper(_) | NetworkError::Start(_) | NetworkError::File { .. }) => {
                "the network cannot be reached".to_owned()
            }
            Self::Certificate(_)
            | Self::NoSource
            | Self::Network(_)
            | Self::List(_)
            | Self::Replayed
            | Self::Delta
            | Self::Ocsp(_)
            | Self::TimedOut
            | Self::Internal => self.to_string(),
        };
        sentence.chars().filter(|sign| !sign.is_control()).collect()
    }
}

/// Knows how certificates stand.
pub struct StatusService {
    ocsp: Option<String>,
    ocsp_without_nonce: bool,
    lists: Option<Lists>,
    offline: Offline,
    anchors: TrustAnchors,
    network: Arc<NetworkHelper>,
    asked_anew: Duration,
    answers: StdMutex<Answers>,
    out_of_force: OutOfForce,
    at_once: Arc<Semaphore>,
}

/// What OCSP told, by the certificates' SHA-256.
#[derive(Default)]
struct Answers {
    told: HashMap<[u8; 32], Answer>,
    /// How often something was forgotten: what was asked before that is not kept.
    forgotten: u64,
}

/// An answer, and until when it is given again.
#[derive(Clone, Copy)]
struct Answer {
    told: Told,
    until: SystemTime,
}

impl Answers {
    fn of(&self, name: &[u8; 32]) -> Option<Told> {
        self.told.get(name).map(|answer| answer.told)
    }

    /// The answer, if nobody need be asked anew.
    fn current(&self, name: &[u8; 32], now: SystemTime) -> Option<Told> {
        self.told.get(name).filter(|answer| answer.until > now).map(|answer| answer.told)
    }

    /// Keeps what was told at `now`; what is out of force as long as it says, what is good for `asked_anew` at most.
    fn keep(&mut self, name: [u8; 32], told: Told, (now, asked_anew): (SystemTime, Duration)) {
        if self.told.len() >= ANSWERS {
            self.told.retain(|_, answer| answer.until > now || !answer.told.standing.is_good());
        }
        if self.told.len() >= ANSWERS {
            self.told.retain(|_, answer| !answer.told.standing.is_good());
        }
        if self.told.len() >= ANSWERS {
            self.told.clear();
        }
        let until = if told.standing.is_good() { told.until.min(now + asked_anew) } else { told.until };
        self.told.insert(name, Answer { told, until });
    }
}

impl StatusService {
    /// Has answers that say "good" asked anew after another time.
    #[must_use]
    pub fn with_asked_anew(self, asked_anew: Duration) -> Self {
        Self { asked_anew, ..self }
    }

    /// What follows when a standing is not known.
    #[must_use]
    pub fn offline(&self) -> Offline {
        self.offline
    }

    /// How a certificate, DER, stands now. Where nobody can be asked, but the certificate was out of force when it was
    /// last heard of, it is that; its [`Known::until`] is past then.
    ///
    /// # Errors
    /// See [`StatusError`]. Where OCSP and the list both fail, it is the list's error.
    pub async fn standing(&self, certificate: &[u8]) -> Result<Known, StatusError> {
        let now = SystemTime::now();
        let issuer = verify_chain(certificate, &self.anchors, now).map_err(StatusError::Certificate)?;
        let decoded = Certificate::from_der(certificate)
            .map_err(|error| StatusError::Certificate(CheckError::Malformed(error)))?;
        let asked = timeout(LONGEST, self.ask(certificate, (&decoded, issuer), now)).await;
        match asked.unwrap_or(Err(StatusError::TimedOut)) {
            Ok(known) => Ok(known),
            Err(error) => match self.last_known(certificate, (&decoded, issuer)).await {
                Some(known) => {
                    tracing::warn!(%error, "nobody tells how a certificate stands that was out of force");
                    Ok(known)
                }
                None => Err(error),
            },
        }
    }

    /// As [`StatusService::standing`], for a client who waits no longer than `limit`. The look-up goes on for the next
    /// who asks.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub async fn standing_within(
        self: &Arc<Self>,
        certificate: Vec<u8>,
        limit: Duration,
    ) -> Result<Known, StatusError> {
        let ends = Instant::now() + limit;
        let place = timeout_at(ends, Arc::clone(&self.at_once).acquire_owned());
        let place = place.await.map_err(|_| StatusError::TimedOut)?.map_err(|_| StatusError::Internal)?;
        let service = Arc::clone(self);
        let looked = tokio::spawn(async move {
            let known = service.standing(&certificate).await;
            drop(place);
            known
        });
        timeout_at(ends, looked)
            .await
            .map_err(|_| StatusError::TimedOut)?
            .unwrap_or(Err(StatusError::Internal))
    }

    async fn ask(
        &self,
        certificate: &[u8],
        (decoded, issuer): (&Certificate, &Certificate),
        now: SystemTime,
    ) -> Result<Known, StatusError> {
        if let Some(url) = &self.ocsp {
            match self.by_ocsp(url, certificate, (decoded, issuer), now).await {
                Ok(told) => return Ok(told.into()),
                Err(error) if self.lists.is_none() => return Err(error),
                Err(error) => tracing::warn!(%error, "OCSP failed; the revocation list is looked at"),
            }
        }
        let lists = self.lists.as_ref().ok_or(StatusError::NoSource)?;
        let listed = lists.standing(decoded, issuer, now).await?;
        if !listed.standing.is_good() {
            return Ok(listed);
        }
        let Some(told) = self.told_out_of_force(certificate, (decoded, issuer)).await else {
            return Ok(listed);
        };
        if listed.at <= told.at {
            // The list cannot know of it, and whoever keeps OCSP from us must not bring the certificate back into force.
            return Ok(told);
        }
        self.forget_told(certificate).await;
        Ok(listed)
    }

    async fn by_ocsp(
        &self,
        url: &str,
        certificate: &[u8],
        (decoded, issuer): (&Certificate, &Certificate),
        now: SystemTime,
    ) -> Result<Told, StatusError> {
        let name: [u8; 32] = Sha256::digest(certificate).into();
        let (kept, forgotten) = {
            let answers = self.answers();
            (answers.current(&name, now), answers.forgotten)
        };
        if let Some(told) = kept {
            return Ok(told);
        }
        let (question, request) = Question::new(decoded, issuer)?;
        let answer = self.network.post(url, ocsp::REQUEST_TYPE, &request).await?;
        let now = SystemTime::now();
        let told = question.read(&answer, issuer, &self.anchors, self.ocsp_without_nonce, now)?;
        let _alone = self.out_of_force.alone().await;
        {
            let mut answers = self.answers();
            if answers.forgotten != forgotten {
                return Ok(told);
            }
            answers.keep(name, told, (now, self.asked_anew));
        }
        if told.standing.is_good() {
            self.out_of_force.forget(&hex::encode(name)).await;
        } else {
            self.out_of_force.keep(&hex::encode(name), decoded, (&answer, now)).await;
        }
        Ok(told)
    }

    /// What OCSP told last of a certificate, if it was out of force then; also before the daemon was started.
    async fn told_out_of_force(
        &self,
        certificate: &[u8],
        (decoded, issuer): (&Certificate, &Certificate),
    ) -> Option<Known> {
        let name: [u8; 32] = Sha256::digest(certificate).into();
        let told = self.answers().of(&name);
        let told = match told {
            Some(told) => Some(told),
            None => self.out_of_force.told(&hex::encode(name), (decoded, issuer), &self.anchors).await,
        };
        told.filter(|told| !told.standing.is_good()).map(Known::from)
    }

    /// What was last heard of a certificate, if it was out of force then.
    async fn last_known(
        &self,
        certificate: &[u8],
        (decoded, issuer): (&Certificate, &Certificate),
    ) -> Option<Known> {
        let told = self.told_out_of_force(certificate, (decoded, issuer)).await;
        let listed = self.lists.as_ref().and_then(|lists| lists.last_known(decoded, issuer));
        told.or(listed.filter(|known| !known.standing.is_good()))
    }

    /// Forgets what was heard of a certificate, and the lists: it was just suspended, reactivated or revoked. Whoever
    /// changes a status calls this, also by [`StatusSource::forget`].
    pub async fn forget(&self, certificate: &[u8]) {
        self.forget_told(certificate).await;
        if let Some(lists) = &self.lists {
            lists.forget();
        }
    }

    /// Forgets what OCSP told of a certificate.
    async fn forget_told(&self, certificate: &[u8]) {
        let name: [u8; 32] = Sha256::digest(certificate).into();
        {
            let mut answers = self.answers();
            answers.told.remove(&name);
            answers.forgotten = answers.forgotten.wrapping_add(1);
        }
        let _alone = self.out_of_force.alone().await;
        self.out_of_force.forget(&hex::encode(name)).await;
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatusSource for StatusService {
    fn status(&self, certificate: Vec<u8>) -> Asked<'_, Heard> {
        Box::pin(async move {
            match self.standing(&certificate).await {
                Ok(known) => Ok(Heard { standing: known.standing.into(), at: known.at }),
                Err(error) => {
                    tracing::warn!(%error, "the status of a card's certificate is not known");
                    Err(Seam::Unknown(error.for_clients()))
                }
            }
        })
    }

    fn offline(&self) -> Offline {
        self.offline
    }

    fn forget<'a>(&'a self, certificate: &'a [u8]) -> Forgetting<'a> {
        Box::pin(Self::forget(self, certificate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::checks::Revocation;

    #[test]
    fn what_is_good_is_asked_anew_and_what_is_not_stays_as_long_as_it_says() {
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        let held = Revocation::Revoked { since: now, suspended: true, reason: None };
        let mut answers = Answers::default();
        for (name, standing) in [([1; 32], Revocation::Good), ([2; 32], held)] {
            answers.keep(name, Told { standing, at: now, until: now + day }, (now, ASKED_ANEW));
        }
        let minutes = |count: u64| now + Duration::from_secs(60 * count);
        assert!(answers.current(&[1; 32], minutes(4)).is_some());
        assert!(answers.current(&[1; 32], minutes(6)).is_none());
        assert!(answers.current(&[2; 32], minutes(23 * 60)).is_some());
        // An end that comes sooner is kept to.
        let soon = Told { standing: Revocation::Good, at: now, until: minutes(1) };
        answers.keep([1; 32], soon, (now, ASKED_ANEW));
        assert!(answers.current(&[1; 32], minutes(2)).is_none());
    }
}
