//! Where key-encryption keys come from: the key file, or an HSM. What is here blocks.
//!
//! Another key is made before anything is wrapped under it, and takes the old one's place after: a new key file waits as
//! `custody.key.next`, which the next start puts in place if the database says that it is the one. Whatever moment the
//! power fails at, the key that the database needs is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cns_secret::Secret;

use crate::config::{CustodyConfig, HsmConfig};
use crate::custody::error::CustodyError;
use crate::custody::hsm;
use crate::custody::key::{KeyEncryptionKey, sync_folder};
use crate::custody::seal::RecordName;

/// The key-encryption keys of this daemon.
#[derive(Clone)]
pub(super) struct Source {
    key_file: PathBuf,
    hsm: Option<HsmConfig>,
}

impl Source {
    pub(super) fn new(config: &CustodyConfig, state: &Path) -> Self {
        Self { key_file: state.join(&config.key_file), hsm: config.hsm.clone() }
    }

    /// The key of a new database, made where there is none: in the HSM where one is configured.
    pub(super) fn first(&self) -> Result<String, CustodyError> {
        if let Some(hsm) = &self.hsm {
            return hsm::with(hsm, hsm::Hsm::first);
        }
        let key = match KeyEncryptionKey::read(&self.key_file)? {
            Some(key) => key,
            None => KeyEncryptionKey::create(&self.key_file)?,
        };
        Ok(key.identifier().to_owned())
    }

    /// Another key, which nothing is wrapped under yet.
    pub(super) fn next(&self) -> Result<String, CustodyError> {
        if let Some(hsm) = &self.hsm {
            return hsm::with(hsm, hsm::Hsm::generate);
        }
        let path = self.next_file();
        // Left by a rotation that was cut off before it wrapped anything.
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(CustodyError::KeyFile { path, source });
            }
            Ok(()) | Err(_) => {}
        }
        Ok(KeyEncryptionKey::create(&path)?.identifier().to_owned())
    }

    /// Puts the key in its place, now that the database needs it.
    pub(super) fn adopt(&self, identifier: &str) -> Result<(), CustodyError> {
        if identifier.starts_with(hsm::PREFIX) {
            return Ok(());
        }
        self.file(identifier).map(drop)
    }

    pub(super) fn wrap(
        &self,
        identifier: &str,
        name: RecordName<'_>,
        secret: &Secret,
    ) -> Result<Vec<u8>, CustodyError> {
        if identifier.starts_with(hsm::PREFIX) {
            return hsm::with(self.hsm(identifier)?, |hsm| hsm.wrap(identifier, name, secret));
        }
        for path in [&self.next_file(), &self.key_file] {
            if let Some(key) = KeyEncryptionKey::read(path)?
                && key.identifier() == identifier
            {
                return key.sealer().seal(name, secret);
            }
        }
        Err(CustodyError::KeyFileMissing { path: self.key_file.clone() })
    }

    pub(super) fn unwrap(
        &self,
        identifier: &str,
        name: RecordName<'_>,
        sealed: &[u8],
    ) -> Result<Secret, CustodyError> {
        if identifier.starts_with(hsm::PREFIX) {
            return hsm::with(self.hsm(identifier)?, |hsm| hsm.unwrap(identifier, name, sealed));
        }
        self.file(identifier)?.sealer().open(name, sealed)
    }

    fn hsm(&self, identifier: &str) -> Result<&HsmConfig, CustodyError> {
        self.hsm.as_ref().ok_or_else(|| CustodyError::HsmNotConfigured { needed: identifier.to_owned() })
    }

    /// The key file's key. Where the database needs the one that waits, that one is put in place.
    fn file(&self, needed: &str) -> Result<KeyEncryptionKey, CustodyError> {
        let current = KeyEncryptionKey::read(&self.key_file)?;
        if let Some(key) = current.as_ref().filter(|key| key.identifier() == needed) {
            return Ok(key.clone());
        }
        let next = self.next_file();
        if let Some(key) = KeyEncryptionKey::read(&next)?.filter(|key| key.identifier() == needed) {
            let failed = |source| CustodyError::KeyFile { path: self.key_file.clone(), source };
            fs::rename(&next, &self.key_file).map_err(failed)?;
            sync_folder(&self.key_file).map_err(failed)?;
            return Ok(key);
        }
        match current {
            Some(key) => {
                Err(CustodyError::WrongKey { found: key.identifier().to_owned(), needed: needed.to_owned() })
            }
            None => Err(CustodyError::KeyFileMissing { path: self.key_file.clone() }),
        }
    }

    fn next_file(&self) -> PathBuf {
        let mut name = self.key_file.file_name().unwrap_or_default().to_owned();
        name.push(".next");
        self.key_file.with_file_name(name)
    }
}
