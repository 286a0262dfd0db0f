//! The key-encryption key in its file.
//!
//! The key file has 48 bytes: the mark `CNSDKEK1`, 32 random bytes, and the first 8 bytes of the SHA-256 of these 40.
//! It belongs to root or to the daemon's user and nobody else may read it. The checksum tells a damaged file from the
//! file of another database; the database names the key that it needs by an identifier derived from the key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac};
use cns_secret::Secret;

use crate::custody::error::{CustodyError, KeyFileFault};
use crate::custody::seal::{KEY_LEN, Sealer, random_secret};

const MARK: &[u8; 8] = b"CNSDKEK1";
const CHECK_LEN: usize = 8;
const MARKED_LEN: usize = MARK.len() + KEY_LEN;
const FILE_LEN: usize = MARKED_LEN + CHECK_LEN;
/// Sealed records name the key that sealed them; the key-encryption key is number 0.
pub(super) const KEK_NUMBER: u32 = 0;

/// The key-encryption key.
#[derive(Clone)]
pub(super) struct KeyEncryptionKey {
    sealer: Sealer,
    /// Tells keys apart without telling the key: HMAC-SHA256 under it, shortened.
    identifier: String,
}

impl KeyEncryptionKey {
    fn new(key: Secret) -> Self {
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
            b"cnsd key-encryption key identifier",
        );
        let identifier = tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { sealer: Sealer::new(KEK_NUMBER, key), identifier }
    }

    /// What wraps under this key.
    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Tells keys apart without telling the key.
    pub(super) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The key in the file at `path`; nothing when there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CustodyError> {
        let damaged = || CustodyError::KeyFileFault { path: path.to_owned(), fault: KeyFileFault::Damaged };
        let Some(bytes) = read_private(path, FILE_LEN as u64)? else { return Ok(None) };
        if bytes.len() != FILE_LEN {
            return Err(damaged());
        }
        let key = parse(&bytes)?.ok_or_else(damaged)?;
        Ok(Some(Self::new(key)))
    }

    /// Makes the key file. It appears complete or not at all, and never replaces another.
    pub(super) fn create(path: &Path) -> Result<Self, CustodyError> {
        let key = random_secret(KEY_LEN)?;
        let bytes = serialize(&key)?;
        write_new(path, bytes.expose())
            .map_err(|source| CustodyError::KeyFile { path: path.to_owned(), source })?;
        Ok(Self::new(key))
    }
}

/// A secret file of `maximum` bytes at most, which nobody but root and the daemon may have rights on; nothing when there
/// is none.
pub(super) fn read_private(path: &Path, maximum: u64) -> Result<Option<Secret>, CustodyError> {
    let failed = |source| CustodyError::KeyFile { path: path.to_owned(), source };
    let fault = |fault| CustodyError::KeyFileFault { path: path.to_owned(), fault };
    // NONBLOCK: a FIFO in the file's place must not stop the start for ever.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(fault(KeyFileFault::NotAFile));
        }
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    judge(metadata.is_file(), metadata.uid(), metadata.mode(), own_user()).map_err(fault)?;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if metadata.len() > maximum || length == 0 {
        return Err(fault(KeyFileFault::Damaged));
    }
    let mut bytes = Secret::zeroed(length)?;
    file.read_exact(bytes.expose_mut()).map_err(failed)?;
    Ok(Some(bytes))
}

/// Whether a file of this kind, owner and mode may hold the key.
fn judge(is_file: bool, owner: u32, mode: u32, own_user: u32) -> Result<(), KeyFileFault> {
    if !is_file {
        Err(KeyFileFault::NotAFile)
    } else if owner != 0 && owner != own_user {
        Err(KeyFileFault::Owner)
    } else if mode & 0o077 != 0 {
        Err(KeyFileFault::Mode)
    } else {
        Ok(())
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn checksum(marked: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, marked)
}

fn serialize(key: &Secret) -> Result<Secret, CustodyError> {
    let mut bytes = Secret::zeroed(FILE_LEN)?;
    let (marked, check) = bytes.expose_mut().split_at_mut(MARKED_LEN);
    let (mark, body) = marked.split_at_mut(MARK.len());
    mark.copy_from_slice(MARK);
    body.copy_from_slice(key.expose());
    check.copy_from_slice(checksum(marked).as_ref().split_at(CHECK_LEN).0);
    Ok(bytes)
}

fn parse(bytes: &Secret) -> Result<Option<Secret>, CustodyError> {
    let Some((marked, check)) = bytes.expose().split_at_checked(MARKED_LEN) else { return Ok(None) };
    let Some(key) = marked.strip_prefix(MARK) else { return Ok(None) };
    if !checksum(marked).as_ref().starts_with(check) {
        return Ok(None);
    }
    Ok(Some(Secret::copy_from(key)?))
}

/// Writes a file of mode 0600 that did not exist, whole and on the disk when this returns.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link, not a rename: it fails where a file exists.
    fs::hard_link(&draft, path)?;
    fs::remove_file(&draft)?;
    sync_folder(path)
}

/// Puts other bytes into a file of mode 0600, whole and on the disk when this returns, or leaves it as it is.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = draft_of(path).with_extension("next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    write_new(&next, bytes)?;
    fs::rename(&next, path)?;
    sync_folder(path)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Makes a new name in the folder of `path` survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_made_key_is_read_back_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("custody.key");
        assert!(KeyEncryptionKey::read(&path).unwrap().is_none());
        let made = KeyEncryptionKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(KeyEncryptionKey::read(&path).unwrap().unwrap().identifier, made.identifier);
        assert!(matches!(KeyEncryptionKey::create(&path), Err(CustodyError::KeyFile { .. })));
        assert_eq!(KeyEncryptionKey::read(&path).unwrap().unwrap().identifier, made.identifier);
    }

    #[test]
    fn every_changed_byte_of_the_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("custody.key");
        KeyEncryptionKey::create(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let damaged = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            matches!(
                KeyEncryptionKey::read(&path),
                Err(CustodyError::KeyFileFault { fault: KeyFileFault::Damaged, .. })
            )
        };
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x80;
            assert!(damaged(&bad), "byte {place}");
        }
        assert!(damaged(&good[..47]) && damaged(&[]) && damaged(&[good.as_slice(), b"\n"].concat()));
    }

    #[test]
    fn a_file_open_to_others_or_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("custody.key");
        KeyEncryptionKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(
                KeyEncryptionKey::read(&path),
                Err(CustodyError::KeyFileFault { fault: KeyFileFault::Mode, .. })
            ));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(KeyEncryptionKey::read(&path).unwrap().is_some());
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(
            KeyEncryptionKey::read(&link),
            Err(CustodyError::KeyFileFault { fault: KeyFileFault::NotAFile, .. })
        ));
    }

    #[test]
    fn only_root_or_the_daemon_owns_a_key_file() {
        assert_eq!(judge(true, 0, 0o100_600, 990), Ok(()));
        assert_eq!(judge(true, 990, 0o100_400, 990), Ok(()));
        assert_eq!(judge(true, 1000, 0o100_600, 990), Err(KeyFileFault::Owner));
        assert_eq!(judge(false, 0, 0o100_600, 0), Err(KeyFileFault::NotAFile));
    }
}
