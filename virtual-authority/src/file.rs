//! Files that are either whole or absent, whatever happens to the process that writes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::AuthorityError;

/// Who may read a file that the certifier writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The owner alone: keys and secrets.
    Owner,
    /// Everybody: certificates and the CRL.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}

/// Replaces `path` by `contents` in one step.
pub(crate) fn write(path: &Path, contents: &[u8], readers: Readers) -> Result<(), AuthorityError> {
    write_io(path, contents, readers)
        .map_err(|source| AuthorityError::File { path: path.to_path_buf(), source })
}

fn write_io(path: &Path, contents: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // Two processes may publish at once (`revoke` beside `serve`), so the name must differ.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, AuthorityError> {
    let bytes =
        read_io(path, limit).map_err(|source| AuthorityError::File { path: path.to_path_buf(), source })?;
    if bytes.len() as u64 > limit { Err(AuthorityError::Damaged(path.to_path_buf())) } else { Ok(bytes) }
}

fn read_io(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
