//! The socket file: made with the right mode from the start, replaced when stale, never taken from a running daemon.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;

use crate::peer::group_number;

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon listens there.
    #[error("{0} is in use: another daemon listens there")]
    InUse(PathBuf),
    /// Something else than a socket is there; it is not ours to remove.
    #[error("{0} exists and is not a socket: remove it or choose another path")]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {path}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Mode 0660 and this group, where the system has it.
    Group(String),
    /// Mode 0666.
    Everyone,
}

/// The socket that the daemon listens on. The file is removed when this is dropped.
pub struct SocketPlace {
    listener: Listener,
    path: PathBuf,
}

impl SocketPlace {
    /// Listens on `path`. Must be called inside the runtime.
    ///
    /// # Errors
    /// When the path is taken or the system refuses.
    pub fn bind(path: &Path, door: &Door) -> Result<Self, SocketError> {
        remove_stale(path)?;
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        if let Some(folder) =
            path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        {
            std::fs::create_dir_all(folder).map_err(failed)?;
            // The daemon's umask closes what it makes; clients must be able to reach the socket.
            std::fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed)?;
        }
        let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
        // Closed to all until its group is set.
        let options = ListenerOptions::new().name(name).mode(0o600).reclaim_name(false);
        let place = Self { listener: options.create_tokio().map_err(failed)?, path: path.to_owned() };
        place.open(door).map_err(failed)?;
        Ok(place)
    }

    fn open(&self, door: &Door) -> io::Result<()> {
        let mode = match door {
            Door::Everyone => 0o666,
            Door::Group(name) => {
                match group_number(name) {
                    Some(gid) => chown(&self.path, None, Some(gid))?,
                    None => {
                        tracing::warn!(group = name, "no such group: only the daemon's own group may connect")
                    }
                }
                0o660
            }
        };
        std::fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    /// The listener.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Removes the socket that a killed daemon left: nobody answers there.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::Group("no-such-group-here".into())
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/cnsd.sock");
        let first = SocketPlace::bind(&path, &door()).unwrap();
        assert!(matches!(SocketPlace::bind(&path, &door()), Err(SocketError::InUse(_))));
        drop(first);
        assert!(!path.exists(), "a clean stop leaves no socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a killed daemon leaves one");
        drop(SocketPlace::bind(&path, &door()).unwrap());
    }

    #[tokio::test]
    async fn a_file_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "keep").unwrap();
        assert!(matches!(SocketPlace::bind(&path, &door()), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"keep");
    }

    #[tokio::test]
    async fn the_mode_follows_the_door() {
        let folder = tempfile::tempdir().unwrap();
        for (door, mode) in [(door(), 0o660), (Door::Everyone, 0o666)] {
            let path = folder.path().join("cnsd.sock");
            let _place = SocketPlace::bind(&path, &door).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
