//! `SO_PEERGROUPS` (unix(7), Linux 4.13): the one socket option that no safe wrapper offers. Without it a peer's
//! supplementary groups could only be read from `/proc` by process number, which another process may have taken.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kernel's own limit on a process's groups (`NGROUPS_MAX`, limits.h).
const MOST_GROUPS: usize = 65_536;

/// The supplementary groups that the peer had when it connected.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let room = groups.len().saturating_mul(size_of::<libc::gid_t>());
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        // SAFETY: `groups` is writable for `length` bytes, `length` outlives the call, and the kernel writes at most
        // `length` bytes, all of which are valid `gid_t` values.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // Too small a buffer is answered by ERANGE and the length that is needed.
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() || needed > MOST_GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}
