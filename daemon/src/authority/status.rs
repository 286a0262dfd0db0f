//! How certificates stand with their authority (§1.3.5): asked by OCSP, else looked up on its revocation list.
//!
//! An answer counts as long as it says itself, and no longer. A list that is older than one that was seen before is
//! refused, also after a restart: whoever can bring an old list could otherwise bring a revoked card back to life. What
//! follows when nobody can be asked is the configuration's word (`status.offline`).

pub mod list;
pub mod ocsp;
mod seen;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::authority::checks::{CheckError, Revocation, TrustAnchors, verify_chain};
use crate::authority::status::list::RevocationList;
use crate::authority::status::ocsp::{OcspError, Question, Told};
use crate::authority::status::seen::Seen;
use crate::authority::{NetworkError, NetworkHelper};
use crate::config::{Offline, StatusConfig};
use crate::database::Database;

/// OCSP answers that are kept at a time.
const ANSWERS: usize = 4096;

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
    /// The daemon failed inside.
    #[error("the status could not be looked up inside the daemon")]
    Internal,
}

/// Who said how a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCSP responder.
    Ocsp,
    /// A revocation list.
    List,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How.
    pub standing: Revocation,
    /// Who said so.
    pub source: Source,
    /// When it was so.
    pub at: SystemTime,
    /// Until when it counts.
    pub until: SystemTime,
}

enum Place {
    Url(String),
    File(PathBuf),
}

impl Place {
    fn new(text: &str, network: &NetworkHelper) -> Result<Self, NetworkError> {
        if text.starts_with('/') {
            return Ok(Self::File(text.into()));
        }
        network.check(text)?;
        Ok(Self::Url(text.to_owned()))
    }
}

/// Knows how certificates stand.
pub struct StatusService {
    ocsp: Option<String>,
    ocsp_without_nonce: bool,
    complete: Option<Place>,
    delta: Option<Place>,
    limit: usize,
    offline: Offline,
    anchors: TrustAnchors,
    network: Arc<NetworkHelper>,
    seen: Seen,
    lists: Mutex<Lists>,
    answers: StdMutex<HashMap<[u8; 32], Told>>,
}

/// The lists at hand, by their issuer.
#[derive(Default)]
struct Lists {
    complete: HashMap<[u8; 32], Arc<RevocationList>>,
    delta: HashMap<[u8; 32], Arc<RevocationList>>,
}

impl StatusService {
    /// The sources of the configuration, for certificates that the anchors issued.
    ///
    /// # Errors
    /// When an address is not one of HTTP.
    pub fn open(
        config: &StatusConfig,
        anchors: TrustAnchors,
        network: Arc<NetworkHelper>,
        database: &Database,
    ) -> Result<Self, NetworkError> {
        let place =
            |text: &Option<String>| text.as_deref().map(|text| Place::new(text, &network)).transpose();
        if let Some(ocsp) = &config.ocsp {
            network.check(ocsp)?;
        }
        let megabytes = usize::try_from(config.crl_limit_mib).unwrap_or(usize::MAX);
        Ok(Self {
            ocsp: config.ocsp.clone(),
            ocsp_without_nonce: config.ocsp_without_nonce,
            complete: place(&config.crl)?,
            delta: place(&config.delta_crl)?,
            limit: megabytes.saturating_mul(1024 * 1024),
            offline: config.offline,
            anchors,
            network,
            seen: Seen::new(database.clone()),
            lists: Mutex::default(),
            answers: StdMutex::default(),
        })
    }

    /// What follows when a standing is not known.
    #[must_use]
    pub fn offline(&self) -> Offline {
        self.offline
    }

    /// Whether somebody whom this knows issued the certificate, so that it has a standing here.
    #[must_use]
    pub fn covers(&self, certificate: &[u8], now: SystemTime) -> bool {
        verify_chain(certificate, &self.anchors, now).is_ok()
    }

    /// How a certificate, DER, stands now.
    ///
    /// # Errors
    /// See [`StatusError`]. Where OCSP and the list both fail, it is the list's error.
    pub async fn standing(&self, certificate: &[u8]) -> Result<Known, StatusError> {
        let now = SystemTime::now();
        let issuer = verify_chain(certificate, &self.anchors, now).map_err(StatusError::Certificate)?;
        let decoded = Certificate::from_der(certificate)
            .map_err(|error| StatusError::Certificate(CheckError::Malformed(error)))?;
        if let Some(url) = &self.ocsp {
            match self.by_ocsp(url, certificate, (&decoded, issuer), now).await {
                Ok(Told { standing, at, until }) => {
                    return Ok(Known { standing, source: Source::Ocsp, at, until });
                }
                Err(error) if self.complete.is_none() => return Err(error),
                Err(error) => tracing::warn!(%error, "OCSP failed; the revocation list is looked at"),
            }
        }
        let place = self.complete.as_ref().ok_or(StatusError::NoSource)?;
        self.by_list(place, (&decoded, issuer), now).await
    }

    async fn by_ocsp(
        &self,
        url: &str,
        certificate: &[u8],
        (decoded, issuer): (&Certificate, &Certificate),
        now: SystemTime,
    ) -> Result<Told, StatusError> {
        let name: [u8; 32] = Sha256::digest(certificate).into();
        let kept = self.answers().get(&name).copied();
        if let Some(told) = kept.filter(|told| told.until > now) {
            return Ok(told);
        }
        let (question, request) = Question::new(decoded, issuer)?;
        let answer = self.network.post(url, ocsp::REQUEST_TYPE, &request).await?;
        let told =
            question.read(&answer, issuer, &self.anchors, self.ocsp_without_nonce, SystemTime::now())?;
        let mut answers = self.answers();
        if answers.len() >= ANSWERS {
            answers.retain(|_, told| told.until > now);
        }
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        answers.insert(name, told);
        Ok(told)
    }

    /// Forgets what was answered of a certificate: it was just suspended, reactivated or revoked.
    pub async fn forget(&self, certificate: &[u8]) {
        let name: [u8; 32] = Sha256::digest(certificate).into();
        self.answers().remove(&name);
        *self.lists.lock().await = Lists::default();
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Told>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn by_list(
        &self,
        place: &Place,
        (certificate, issuer): (&Certificate, &Certificate),
        now: SystemTime,
    ) -> Result<Known, StatusError> {
        let mut lists = self.lists.lock().await;
        let name = issuer_name(issuer);
        let complete = match lists.complete.get(&name).filter(|list| list.check_time(now).is_ok()) {
            Some(list) => Arc::clone(list),
            None => {
                let list = self.fetch(place, issuer, false, now).await?;
                lists.complete.insert(name, Arc::clone(&list));
                list
            }
        };
        let delta = match &self.delta {
            None => None,
            Some(place) => {
                let kept = lists.delta.get(&name).filter(|list| list.check_time(now).is_ok());
                let delta = match kept.filter(|delta| delta.continues(&complete)) {
                    Some(list) => Arc::clone(list),
                    None => self.fetch(place, issuer, true, now).await?,
                };
                lists.delta.insert(name, Arc::clone(&delta));
                Some(delta)
            }
        };
        // A delta list of before the complete one says nothing more.
        let delta = match delta {
            Some(delta) if delta.this_update() < complete.this_update() => None,
            Some(delta) if !delta.continues(&complete) => return Err(StatusError::Delta),
            delta => delta,
        };
        let latest = delta.as_ref().unwrap_or(&complete);
        Ok(Known {
            standing: complete
                .standing(certificate.tbs_certificate.serial_number.as_bytes(), delta.as_deref()),
            source: Source::List,
            at: latest.this_update(),
            until: latest.next_update().min(complete.next_update()),
        })
    }

    async fn fetch(
        &self,
        place: &Place,
        issuer: &Certificate,
        delta: bool,
        now: SystemTime,
    ) -> Result<Arc<RevocationList>, StatusError> {
        let bytes = match place {
            Place::Url(url) => self.network.get(url, self.limit).await?,
            Place::File(path) => read_file(path, self.limit).await?,
        };
        let signer = issuer.clone();
        let list = spawn_blocking(move || RevocationList::read(&bytes, &signer)).await;
        let list = list.map_err(|_| StatusError::Internal)?.map_err(StatusError::List)?;
        if list.is_delta() != delta {
            return Err(StatusError::Delta);
        }
        list.check_time(now).map_err(StatusError::List)?;
        self.seen.admit(&hex::encode(issuer_name(issuer)), &list).await?;
        Ok(Arc::new(list))
    }
}

fn issuer_name(issuer: &Certificate) -> [u8; 32] {
    let key = &issuer.tbs_certificate.subject_public_key_info.subject_public_key;
    Sha256::digest(key.raw_bytes()).into()
}

async fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, StatusError> {
    let failed = |source| StatusError::File { path: path.to_path_buf(), source };
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if usize::try_from(length).unwrap_or(usize::MAX) > limit {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    tokio::fs::read(path).await.map_err(failed)
}
