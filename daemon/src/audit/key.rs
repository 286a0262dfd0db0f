//! The Ed25519 key that signs checkpoints: sealed in `audit.key`, its public half in `audit.pub`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::audit::AuditError;
use crate::custody::key::{replace, write_new};
use crate::custody::seal::random_secret;
use crate::custody::{CustodyError, RecordName, Sealer};

const RECORD: RecordName<'_> = RecordName { table: "audit", column: "key", key: "ed25519" };
const SEED_LEN: usize = 32;
/// A sealed seed is 65 bytes; what is much longer is no key of ours.
const MAXIMUM_FILE: u64 = 256;

/// Where the key of the log in `state` is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("audit.key")
}

/// The key of the log in `state`; nothing when there is none.
pub(super) fn read(state: &Path, sealer: &Sealer) -> Result<Option<Ed25519KeyPair>, AuditError> {
    let path = path(state);
    let failed = |source| AuditError::File { path: path.clone(), source };
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if length > MAXIMUM_FILE {
        return Err(CustodyError::Tampered { record: RECORD.to_string() }.into());
    }
    let sealed = fs::read(&path).map_err(failed)?;
    let seed = sealer.open(RECORD, &sealed)?;
    if !sealer.is_current(&sealed) {
        // Custody's data key was replaced since.
        replace(&path, &sealer.seal(RECORD, &seed)?).map_err(failed)?;
    }
    Ok(Some(pair(seed.expose())?))
}

/// Makes the key of the log in `state`.
pub(super) fn create(state: &Path, sealer: &Sealer) -> Result<Ed25519KeyPair, AuditError> {
    let seed = random_secret(SEED_LEN)?;
    let path = path(state);
    write_new(&path, &sealer.seal(RECORD, &seed)?).map_err(|source| AuditError::File { path, source })?;
    pair(seed.expose())
}

fn pair(seed: &[u8]) -> Result<Ed25519KeyPair, AuditError> {
    Ed25519KeyPair::from_seed_unchecked(seed)
        .map_err(|_| CustodyError::Cryptography("an Ed25519 seed is 32 bytes").into())
}

/// Writes `audit.pub` where it is missing, and refuses one of another key.
pub(super) fn export(state: &Path, pair: &Ed25519KeyPair) -> Result<(), AuditError> {
    let path = state.join("audit.pub");
    let failed = |source| AuditError::File { path: path.clone(), source };
    let text = format!("{}\n", hex::encode(pair.public_key().as_ref()));
    match fs::read(&path) {
        Ok(found) if found == text.as_bytes() => Ok(()),
        Ok(_) => Err(AuditError::PublicKey { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new(&path, text.as_bytes()).map_err(failed)?;
            // The auditor may read it without being the daemon.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
