//! What keeps custody in order over the years: new keys, backups, a look at every record, and what is to be forgotten.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use cns_protocol::custody::{BackupMade, Erased, KeyState, VerifyReport};

use super::{Custody, CustodyError, records};
use crate::database::now;

/// How often a daemon looks whether another one has added a data key, or left records to be sealed anew.
const LOOK: Duration = Duration::from_secs(300);

/// Where backups are put, in the state folder.
const BACKUPS: &str = "backup";

impl Custody {
    /// Wraps the data keys under a new key-encryption key: a new key file takes the old one's place, or, where an HSM is
    /// configured, it makes a new key. No record is touched. Returns the new key's identifier.
    ///
    /// # Errors
    /// The old key is still the one that is needed.
    pub async fn rotate_wrapping_key(&self) -> Result<String, CustodyError> {
        self.inner.keys.rewrap().await
    }

    /// Adds a data key, which seals from now on; [`Custody::reseal`] does the records that are there. Returns its number.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn rotate_data_key(&self) -> Result<u32, CustodyError> {
        self.inner.keys.renew().await
    }

    /// Seals anew what an older data key has sealed. May be stopped at any moment, and goes on with the next call; what is
    /// at work meanwhile reads both. Returns how many records it was.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reseal(&self) -> Result<u64, CustodyError> {
        records::reseal(&self.inner.database, &self.inner.keys).await
    }

    /// Which keys are in use.
    ///
    /// # Errors
    /// The database failed.
    pub async fn key_state(&self) -> Result<KeyState, CustodyError> {
        let inner = &self.inner;
        Ok(KeyState {
            wrapping_key: inner.keys.wrapping_key().await?,
            data_key: inner.keys.sealer().identifiers().last().copied().unwrap_or_default(),
            older_records: records::older(&inner.database, &inner.keys).await?,
        })
    }

    /// Seals anew what a rotation has left, now and as long as the daemon runs.
    pub async fn keep_keys(self) {
        loop {
            if let Err(error) = self.finish_rotation().await {
                tracing::error!(%error, "records could not be sealed anew; it is tried again");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn finish_rotation(&self) -> Result<(), CustodyError> {
        self.inner.keys.reload().await?;
        if self.inner.keys.sealer().identifiers().len() < 2 {
            return Ok(());
        }
        let resealed = self.reseal().await?;
        if resealed > 0 {
            tracing::info!(resealed, "sealed the records of older data keys anew");
        }
        Ok(())
    }

    /// Opens every record, and names those that do not open.
    ///
    /// # Errors
    /// The database failed.
    pub async fn verify(&self) -> Result<VerifyReport, CustodyError> {
        let mut named = self.inner.database.check().await?;
        let found = records::verify(&self.inner.database, &self.inner.keys).await?;
        let damaged = found.damaged.saturating_add(named.len() as u64);
        named.extend(found.named);
        Ok(VerifyReport { records: found.records, damaged, named })
    }

    /// Copies the SQLite database, whole and of one moment, into the folder `backup` of the state folder, while others go
    /// on working. The key file is not in it.
    ///
    /// # Errors
    /// [`CustodyError::BackupElsewhere`] on PostgreSQL, whose own tools do it.
    pub async fn backup(&self) -> Result<BackupMade, CustodyError> {
        let folder = self.inner.state.join(BACKUPS);
        let failed = |source| CustodyError::Backup { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let name: String = now().chars().filter(|character| !matches!(character, ':' | '.')).collect();
        let path: PathBuf = folder.join(format!("custody-{name}.db"));
        if !self.inner.database.copy_to(&path).await? {
            return Err(CustodyError::BackupElsewhere);
        }
        let failed = |source| CustodyError::Backup { path: path.clone(), source };
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let bytes = fs::metadata(&path).map_err(failed)?.len();
        Ok(BackupMade { path: path.display().to_string(), bytes })
    }

    /// Forgets a holder: the codice fiscale, the cards' PUKs, the procedures that are over, the requests to and from other
    /// regions with what still waits for the mail, and what would check the user codes of their envelopes. The envelopes
    /// and the numbers of orders stay, so that none is used twice. Out of what is others', for whom they acted, they are
    /// taken.
    ///
    /// # Errors
    /// [`CustodyError::InProcedure`] while a procedure of a card is not over, [`CustodyError::Waits`] while another region
    /// has not answered, an order that was begun has not ended, or an import that names them is not finished; then nothing was
    /// changed.
    pub async fn erase(&self, codice_fiscale: &str) -> Result<Erased, CustodyError> {
        let codice_fiscale = codice_fiscale.to_ascii_uppercase();
        let tag = self.holder_tag(&codice_fiscale)?;
        let erased =
            super::erase::erase(&self.inner.database, &self.inner.keys, &codice_fiscale, &tag).await?;
        self.inner.database.forget().await?;
        Ok(erased)
    }
}
