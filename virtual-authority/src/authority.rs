//! The certifier itself: its folder, its key, its record.

mod ca;
mod delegate;
mod officers;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::request::CertReq;
use zeroize::Zeroizing;

pub(crate) use ca::Ca;
pub(crate) use delegate::{Delegate, Task};
pub(crate) use officers::may_protect;

use crate::cmp::Secret;
use crate::error::AuthorityError;
use crate::file::{self, Readers};
use crate::issue::{self, Application};
use crate::profile::{Profile, Profiles, Rules};
use crate::state::{Event, Journal, Record, StateError};
use crate::status::{self, Reason, Status, StatusError, crl, ocsp};

const KEY_FILE: &str = "ca-key.pem";
const SECRET_FILE: &str = "cmp-secret";
const CONFIGURATION_FILE: &str = "authority.json";
const JOURNAL_FILE: &str = "journal.jsonl";
const CRL_FILE: &str = "crl.der";
const DELTA_FILE: &str = "delta.der";
const FILE_LIMIT: u64 = 64 * 1024;
/// A CRL grows with the certificates that were ever revoked; a test certifier revokes thousands, not millions.
const CRL_LIMIT: u64 = 64 * 1024 * 1024;
/// How long a certificate waits for its certConf before it counts as never received.
const CONFIRMATION_WAIT: u64 = 24 * 3600;

/// What `init` needs to know.
pub struct InitOptions {
    /// Common name of the certifier.
    pub name: String,
    /// The secret that CMP clients share with the certifier.
    pub secret: Zeroizing<Vec<u8>>,
    /// The name that CMP clients give to that secret (senderKID).
    pub reference: String,
    /// Length of the certifier's RSA key.
    pub key_bits: usize,
}

impl InitOptions {
    /// The usual certifier, with this secret.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self {
            name: "CNS Virtual Authority (test)".to_owned(),
            secret: Zeroizing::new(secret.into()),
            reference: "cnsd".to_owned(),
            key_bits: 3072,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    version: u32,
    reference: String,
}

/// A certifier.
pub struct Authority {
    folder: PathBuf,
    ca: Ca,
    secret: Secret,
    profiles: Profiles,
    journal: Mutex<Journal>,
    base_url: OnceLock<String>,
    /// Seconds that a request waits for its certificate.
    delay: AtomicU64,
}

impl Authority {
    /// Makes a new certifier in `folder`: key, self-signed certificate, empty record, first CRL.
    ///
    /// # Errors
    /// When the folder holds a certifier already, cannot be written, or the secret has no fit length.
    pub fn init(folder: &Path, options: &InitOptions) -> Result<Self, AuthorityError> {
        let configured = folder.join(CONFIGURATION_FILE);
        if configured.exists() {
            return Err(AuthorityError::AlreadyInitialised(folder.to_path_buf()));
        }
        let secret = Secret::new(&options.reference, options.secret.clone())?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(|source| AuthorityError::File { path: folder.to_path_buf(), source })?;
        let ca = Ca::generate(&options.name, options.key_bits)?;
        file::write(&folder.join(KEY_FILE), ca.key_pem()?.as_bytes(), Readers::Owner)?;
        file::write(&folder.join("ca.der"), &ca.certificate().to_der()?, Readers::All)?;
        file::write(
            &folder.join("ca.pem"),
            ca.certificate().to_pem(LineEnding::LF)?.as_bytes(),
            Readers::All,
        )?;
        file::write(&folder.join(SECRET_FILE), secret.value(), Readers::Owner)?;
        Profiles::write_defaults(folder)?;
        // Written last: it is what makes the folder a certifier.
        let configuration = Configuration { version: 1, reference: options.reference.clone() };
        let configuration =
            serde_json::to_vec(&configuration).map_err(|_| AuthorityError::Damaged(configured.clone()))?;
        file::write(&configured, &configuration, Readers::All)?;
        Self::open(folder)
    }

    /// Opens the certifier in `folder`, and publishes a CRL if the last one is old or lost.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let path = folder.join(CONFIGURATION_FILE);
        let configuration: Configuration = serde_json::from_slice(&file::read(&path, FILE_LIMIT)?)
            .map_err(|_| AuthorityError::Damaged(path.clone()))?;
        if configuration.version != 1 {
            return Err(AuthorityError::Damaged(path));
        }
        let key = Zeroizing::new(file::read(&folder.join(KEY_FILE), FILE_LIMIT)?);
        let certificate = file::read(&folder.join("ca.der"), FILE_LIMIT)?;
        let secret = Zeroizing::new(file::read(&folder.join(SECRET_FILE), FILE_LIMIT)?);
        let authority = Self {
            ca: Ca::load(&key, &certificate)?,
            secret: Secret::new(&configuration.reference, secret)?,
            profiles: Profiles::open(folder)?,
            journal: Mutex::new(Journal::open(&folder.join(JOURNAL_FILE))?),
            base_url: OnceLock::new(),
            delay: AtomicU64::new(0),
            folder: folder.to_path_buf(),
        };
        authority.publish_if_lost()?;
        authority.publish_if_due()?;
        Ok(authority)
    }

    /// The certifier's own certificate.
    pub fn ca_certificate(&self) -> &Certificate {
        self.ca.certificate()
    }

    /// The address under which certificates will say that the CRL and the certifier's certificate are found
    /// (`http://host:port`). Only the first call counts; without one, certificates say nothing about it.
    pub fn set_base_url(&self, url: &str) {
        let _first = self.base_url.get_or_init(|| url.to_owned());
    }

    /// From now on, requests over CMP are answered with "waiting", and the certificate is there after this time
    /// (RFC 4210 §5.3.22), as where a person has to agree. Whole seconds, as CMP counts.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.store(delay.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn delay(&self) -> u64 {
        self.delay.load(Ordering::Relaxed)
    }

    /// Gives the holder of this certificate, PEM or DER, the rights of a registration officer: CMP messages that are
    /// signed with its key are obeyed as those that the shared secret protects. The name of the file that says so, in the
    /// folder `officers`; whoever removes the file takes the right away.
    ///
    /// # Errors
    /// When it is no certificate, its key may not sign messages, or the file cannot be written.
    pub fn authorise(&self, certificate: &[u8]) -> Result<String, AuthorityError> {
        officers::authorise(&self.folder, certificate)
    }

    pub(crate) fn is_officer(&self, certificate: &[u8]) -> Result<bool, AuthorityError> {
        officers::is_officer(&self.folder, certificate)
    }

    /// Who protects CMP messages by signature.
    pub(crate) fn cmp_delegate(&self) -> Result<Delegate, AuthorityError> {
        let mut journal = self.journal()?;
        // Under the lock, so that two processes do not make two keys.
        let _locked = journal.lock()?;
        Delegate::open(&self.folder, &self.ca, Task::Cmp, now())
    }

    /// Issues a certificate for a PKCS#10 request, as over CMP but at once in force.
    ///
    /// A certificate in force for the same key, subject and profile is returned again rather than issued anew.
    ///
    /// # Errors
    /// When there is no such profile, the request does not fit it, the key is weak, or the request's signature is wrong.
    pub fn issue(&self, profile: Profile, request: &CertReq) -> Result<Certificate, AuthorityError> {
        let rules = self.rules(&profile).ok_or(AuthorityError::UnknownProfile(profile))?;
        let application = Application::from_pkcs10(&rules, &request.to_der()?)?;
        let mut journal = self.journal()?;
        let mut record = journal.lock()?;
        if let Some(existing) = issue::in_force(record.state(), &application.identity()?, now())? {
            return Ok(Certificate::from_der(&existing.certificate)?);
        }
        let issued = issue::sign(&self.ca, &application, self.base_url(), now())?;
        record.append(&[issued.event(false)?])?;
        Ok(issued.certificate)
    }

    /// Changes the status of a certificate (`certificateHold` suspends, `removeFromCRL` takes that back, every
    /// other reason revokes), and publishes a CRL that says so.
    ///
    /// # Errors
    /// When there is no such certificate, or its status does not allow it.
    pub fn revoke(&self, serial: &str, reason: Reason) -> Result<Status, AuthorityError> {
        let serial = serial.replace(':', "").to_ascii_lowercase();
        let mut journal = self.journal()?;
        let mut record = journal.lock()?;
        let known = record.state().record(&serial);
        let known = known.ok_or_else(|| StatusError::UnknownSerial(serial.clone()))?;
        let changed = status::judge(known, reason, now())?;
        record.append(&[Event::Changed { serial, reason, at: now() }])?;
        drop(record);
        self.publish(&mut journal)?;
        Ok(changed)
    }

    /// All certificates that were issued, oldest first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn list(&self) -> Result<Vec<Record>, AuthorityError> {
        let mut journal = self.journal()?;
        let record = journal.lock()?;
        Ok(record.state().records().cloned().collect())
    }

    /// The current CRL, DER.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn crl(&self) -> Result<Vec<u8>, AuthorityError> {
        file::read(&self.folder.join(CRL_FILE), CRL_LIMIT)
    }

    /// The current delta CRL, DER: the changes since a CRL so old that every CRL in use can be brought up to date.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn delta_crl(&self) -> Result<Vec<u8>, AuthorityError> {
        file::read(&self.folder.join(DELTA_FILE), CRL_LIMIT)
    }

    /// Makes a new CRL if the one on the disk is not the last that was numbered: a kill came in between.
    fn publish_if_lost(&self) -> Result<(), AuthorityError> {
        let last = self.journal()?.lock()?.state().crl_number();
        let path = self.folder.join(CRL_FILE);
        if path.exists() && crl::number(&self.crl()?) != Some(last) { self.publish_now() } else { Ok(()) }
    }

    /// Withdraws certificates that nobody confirmed, and makes a new CRL if half the old one's term is over, or if a
    /// status has changed that none tells yet.
    pub(crate) fn publish_if_due(&self) -> Result<(), AuthorityError> {
        let mut journal = self.journal()?;
        let withdrawn = Self::withdraw_unconfirmed(&mut journal)?;
        let record = journal.lock()?;
        let age = now().saturating_sub(record.state().published_at());
        let untold = record.state().is_change_untold();
        drop(record);
        if withdrawn
            || untold
            || age >= crl::LIFETIME / 2
            || ![CRL_FILE, DELTA_FILE].iter().all(|name| self.folder.join(name).exists())
        {
            self.publish(&mut journal)?;
        }
        Ok(())
    }

    /// Makes a new CRL.
    pub(crate) fn publish_now(&self) -> Result<(), AuthorityError> {
        self.publish(&mut *self.journal()?)
    }

    fn withdraw_unconfirmed(journal: &mut Journal) -> Result<bool, AuthorityError> {
        let now = now();
        let mut record = journal.lock()?;
        let events: Vec<Event> = record
            .state()
            .records()
            .filter(|record| record.status == Status::Unconfirmed)
            .filter(|record| now.saturating_sub(record.delivered_at) > CONFIRMATION_WAIT)
            .map(|record| Event::Changed {
                serial: record.serial.clone(),
                reason: Reason::CessationOfOperation,
                at: now,
            })
            .collect();
        record.append(&events)?;
        Ok(!events.is_empty())
    }

    /// Numbers, signs and publishes a CRL; the number is spent before the file appears, so none is used twice.
    fn publish(&self, journal: &mut Journal) -> Result<(), AuthorityError> {
        let mut record = journal.lock()?;
        let (number, at) = (record.state().crl_number().saturating_add(1), now());
        record.append(&[Event::Published { number, at }])?;
        let state = record.state();
        let delta_url = self.base_url().map(|base| format!("{base}/delta.der"));
        let list = crl::complete(&self.ca, state, number, delta_url.as_deref(), at)?;
        // Still under the lock, so that an older list cannot replace a newer one.
        file::write(&self.folder.join(CRL_FILE), &list, Readers::All)?;
        match state.delta_base() {
            Some(base) => {
                let delta = crl::delta(&self.ca, state, base, number, at)?;
                file::write(&self.folder.join(DELTA_FILE), &delta, Readers::All)
            }
            None => Ok(()),
        }
    }

    /// Answers an OCSP request, DER (RFC 6960): whatever it is, there is an answer.
    pub(crate) fn ocsp(&self, request: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let mut journal = self.journal()?;
        let record = journal.lock()?;
        // Under the lock, so that two processes do not make two keys.
        let responder = Delegate::open(&self.folder, &self.ca, Task::Ocsp, now())?;
        ocsp::answer(&self.ca, &responder, record.state(), request, now())
    }

    /// What certificates of this profile must say.
    pub(crate) fn rules(&self, profile: &Profile) -> Option<Arc<Rules>> {
        self.profiles.get(profile)
    }

    pub(crate) fn ca(&self) -> &Ca {
        &self.ca
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(crate) fn base_url(&self) -> Option<&str> {
        self.base_url.get().map(String::as_str)
    }

    pub(crate) fn journal(&self) -> Result<MutexGuard<'_, Journal>, StateError> {
        self.journal.lock().map_err(|_| StateError::Poisoned)
    }

    /// The folder that the certifier lives in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads a CMP secret from a file: its contents without the line's end.
///
/// # Errors
/// When the file cannot be read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let text = Zeroizing::new(
        fs::read(path).map_err(|source| AuthorityError::File { path: path.to_path_buf(), source })?,
    );
    Ok(Zeroizing::new(text.strip_suffix(b"\n").unwrap_or(&text).to_vec()))
}
