//! The revocation lists at hand: fetched when they are first needed, and again when they are out of date.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use x509_cert::Certificate;

use crate::authority::status::list::RevocationList;
use crate::authority::status::seen::Seen;
use crate::authority::status::{Known, Source, StatusError};
use crate::authority::{NetworkError, NetworkHelper};
use crate::database::Database;

/// Where a list is.
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

    /// What tells a file from the one that replaces it. What is at an address is asked for when it is out of date.
    async fn stamp(&self) -> Option<Stamp> {
        let Self::File(path) = self else { return None };
        let about = tokio::fs::metadata(path).await.ok()?;
        Some(Stamp { modified: about.modified().ok()?, length: about.len() })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
}

/// A list and the file that it was, if it was one.
#[derive(Clone)]
struct Held {
    list: Arc<RevocationList>,
    stamp: Option<Stamp>,
}

/// The lists of one issuer. The delta list continues the complete one, or is older and says nothing more.
#[derive(Clone)]
struct Pair {
    complete: Held,
    delta: Option<Held>,
}

/// How a delta list stands to a complete list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It says what happened since.
    Continues,
    /// It was made before the complete list, which has it all.
    Older,
    /// It continues another one.
    Apart,
}

fn fit(delta: &RevocationList, complete: &RevocationList) -> Fit {
    if delta.is_older_than(complete) {
        Fit::Older
    } else if delta.continues(complete) {
        Fit::Continues
    } else {
        Fit::Apart
    }
}

impl Pair {
    fn standing(&self, certificate: &Certificate) -> Result<Known, StatusError> {
        let complete = &self.complete.list;
        let delta = self.delta.as_ref().map(|delta| &*delta.list);
        let delta = delta.filter(|delta| fit(delta, complete) == Fit::Continues);
        let serial = certificate.tbs_certificate.serial_number.as_bytes();
        let latest = delta.unwrap_or(complete);
        Ok(Known {
            standing: complete.standing(serial, delta).map_err(StatusError::List)?,
            source: Source::List,
            at: latest.this_update(),
            until: latest.next_update().min(complete.next_update()),
        })
    }
}

/// The configured lists.
pub(super) struct Lists {
    complete: Place,
    delta: Option<Place>,
    limit: usize,
    network: Arc<NetworkHelper>,
    seen: Seen,
    kept: StdMutex<Kept>,
    /// One at a time fetches.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// By the issuer's key.
    pairs: HashMap<[u8; 32], Pair>,
    /// How often all was forgotten: what was fetched before that is not kept.
    forgotten: u64,
}

impl Lists {
    pub(super) fn open(
        (complete, delta): (&str, Option<&str>),
        limit: usize,
        network: &Arc<NetworkHelper>,
        database: &Database,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            complete: Place::new(complete, network)?,
            delta: delta.map(|delta| Place::new(delta, network)).transpose()?,
            limit,
            network: Arc::clone(network),
            seen: Seen::new(database.clone()),
            kept: StdMutex::default(),
            fetching: Mutex::default(),
        })
    }

    /// How a certificate of `issuer` stands on its lists.
    pub(super) async fn standing(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        now: SystemTime,
    ) -> Result<Known, StatusError> {
        let name = issuer_name(issuer);
        let kept = self.kept().pairs.get(&name).cloned();
        if let Some(pair) = kept
            && self.is_current(&pair, now).await
        {
            return pair.standing(certificate);
        }
        let _one = self.fetching.lock().await;
        let (kept, forgotten) = {
            let kept = self.kept();
            (kept.pairs.get(&name).cloned(), kept.forgotten)
        };
        // Somebody may have fetched them meanwhile: nothing that is current is fetched again.
        let pair = self.renewed(kept, issuer, now).await?;
        let known = pair.standing(certificate);
        let mut kept = self.kept();
        if kept.forgotten == forgotten {
            kept.pairs.insert(name, pair);
        }
        known
    }

    /// What the lists at hand say, of whatever age they are.
    pub(super) fn last_known(&self, certificate: &Certificate, issuer: &Certificate) -> Option<Known> {
        let pair = self.kept().pairs.get(&issuer_name(issuer)).cloned();
        pair.and_then(|pair| pair.standing(certificate).ok())
    }

    pub(super) fn forget(&self) {
        let mut kept = self.kept();
        kept.pairs.clear();
        kept.forgotten = kept.forgotten.wrapping_add(1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_current(&self, pair: &Pair, now: SystemTime) -> bool {
        let delta = match (&pair.delta, &self.delta) {
            (Some(delta), Some(place)) => is_current(delta, place, now).await,
            (_, place) => place.is_none(),
        };
        delta && is_current(&pair.complete, &self.complete, now).await
    }

    /// The lists of an issuer, of which only those are fetched that are not current, and the complete one also when the
    /// delta list continues another.
    async fn renewed(
        &self,
        kept: Option<Pair>,
        issuer: &Certificate,
        now: SystemTime,
    ) -> Result<Pair, StatusError> {
        let (complete, delta) = kept.map(|pair| (pair.complete, pair.delta)).unzip();
        let before = complete.as_ref().map(|held| Arc::clone(&held.list));
        let mut complete = self.either(complete, (&self.complete, false), issuer, now).await?;
        let Some(place) = &self.delta else { return Ok(Pair { complete, delta: None }) };
        let mut delta = self.either(delta.flatten(), (place, true), issuer, now).await?;
        if fit(&delta.list, &complete.list) == Fit::Apart {
            let is_kept = before.is_some_and(|before| Arc::ptr_eq(&before, &complete.list));
            if is_kept {
                complete = self.fetch(&self.complete, issuer, false, now).await?;
            }
            if fit(&delta.list, &complete.list) == Fit::Apart {
                delta = self.fetch(place, issuer, true, now).await?;
            }
        }
        if fit(&delta.list, &complete.list) == Fit::Apart {
            return Err(StatusError::Delta);
        }
        Ok(Pair { complete, delta: Some(delta) })
    }

    /// The list at hand, if it is current, or the one that is at its place now. A file that was replaced by something that
    /// cannot be used takes nothing from the list at hand.
    async fn either(
        &self,
        held: Option<Held>,
        (place, delta): (&Place, bool),
        issuer: &Certificate,
        now: SystemTime,
    ) -> Result<Held, StatusError> {
        let held = held.filter(|held| held.list.check_time(now).is_ok());
        let Some(held) = held else { return self.fetch(place, issuer, delta, now).await };
        if is_current(&held, place, now).await {
            return Ok(held);
        }
        match self.fetch(place, issuer, delta, now).await {
            Ok(fetched) => Ok(fetched),
            Err(error) => {
                tracing::error!(%error, "the revocation list was replaced by one that is refused");
                Ok(held)
            }
        }
    }

    async fn fetch(
        &self,
        place: &Place,
        issuer: &Certificate,
        delta: bool,
        now: SystemTime,
    ) -> Result<Held, StatusError> {
        let stamp = place.stamp().await;
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
        Ok(Held { list: Arc::new(list), stamp })
    }
}

async fn is_current(held: &Held, place: &Place, now: SystemTime) -> bool {
    held.list.check_time(now).is_ok() && held.stamp == place.stamp().await
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
