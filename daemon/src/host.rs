//! What the daemon asks of the system: no core dumps, locked memory, one daemon per state folder, and the service
//! manager's notice.

use std::fs::File;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// Room for some hundred connections' locked frames and logins.
const LOCKED_MEMORY: u64 = 64 * 1024 * 1024;

/// Keeps memory out of core dumps and away from other processes of the same user, and files closed to others.
pub(crate) fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}

/// Raises the limit of locked memory as far as it may be raised. What is left is checked by each secret.
pub(crate) fn raise_locked_memory() {
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_none_or(|current| current >= LOCKED_MEMORY) {
        return;
    }
    let raised =
        Rlimit { current: Some(LOCKED_MEMORY), maximum: limit.maximum.map(|most| most.max(LOCKED_MEMORY)) };
    let up_to_maximum = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Memlock, raised).is_err()
        && let Err(error) = setrlimit(Resource::Memlock, up_to_maximum)
    {
        tracing::warn!(%error, "cannot raise the limit of locked memory (RLIMIT_MEMLOCK)");
    }
}

/// Takes the state folder for this daemon; `None` when another one has it. Free again when the file is dropped, and
/// when the process is killed.
pub(crate) fn lock(state: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(state.join("cnsd.lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Tells the service manager how the daemon is, where there is one (sd_notify(3)).
pub(crate) fn notify(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let send = || -> io::Result<()> {
        let address = match place.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&place)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
        Ok(())
    };
    if let Err(error) = send() {
        tracing::warn!(%error, "cannot reach the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_serves_one_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(first.is_some());
        assert!(lock(folder.path()).unwrap().is_none());
        drop(first);
        assert!(lock(folder.path()).unwrap().is_some());
    }
}
