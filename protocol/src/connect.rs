//! Connecting to the daemon's socket within a time.

use std::io;
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::Stream;

/// Connects; an error of the kind [`io::ErrorKind::TimedOut`] when the daemon has not made room for the connection in
/// time: a daemon that is stopped takes none, and its queue is full at some time.
#[cfg(target_os = "linux")]
pub(crate) fn connect(path: &Path, limit: Duration) -> io::Result<Stream> {
    use std::time::Instant;

    use interprocess::os::unix::uds_local_socket;
    use rustix::io::Errno;
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let begun = Instant::now();
    loop {
        let left = limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero());
        // Linux waits for a place in the queue as long as it would wait to send (socket(7)). Without blocking, a full queue
        // would be a failure at once, and nothing tells when there is room.
        set_socket_timeout(&socket, Timeout::Send, Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        match rustix::net::connect(&socket, &address) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            outcome => break outcome?,
        }
    }
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(uds_local_socket::Stream::from(socket).into())
}

/// Connects. Elsewhere a full queue refuses at once, and a pipe is waited for in time.
#[cfg(not(target_os = "linux"))]
pub(crate) fn connect(path: &Path, limit: Duration) -> io::Result<Stream> {
    use interprocess::ConnectWaitMode;
    use interprocess::local_socket::{ConnectOptions, GenericFilePath, ToFsName};

    let name = path.to_fs_name::<GenericFilePath>()?;
    ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Timeout(limit)).connect_sync()
}
