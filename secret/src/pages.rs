//! Locked, undumpable, fork-wiped pages. All the `unsafe` of this crate is here.
#![allow(unsafe_code, reason = "memory locking has no safe interface in the standard library")]

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

use zeroize::Zeroize;

use crate::error::SecretError;

/// A private anonymous mapping that belongs to this value alone.
pub(crate) struct Pages {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory owned by this value, not tied to the thread that mapped it.
unsafe impl Send for Pages {}
// SAFETY: shared access hands out bytes only through `slice` and `slice_mut`, whose callers promise that ranges
// which are written are not shared.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps and locks at least `len` zero bytes (never none), rounded up to whole pages.
    pub(crate) fn map(len: usize) -> Result<Self, SecretError> {
        let len = len.max(1).checked_next_multiple_of(page_size()).ok_or_else(out_of_memory)?;
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice touches no existing memory.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(SecretError::Map(io::Error::last_os_error()));
        }
        // From here on dropping `pages` unmaps, so every error below leaves nothing behind.
        let pages = Self { base: NonNull::new(address.cast()).ok_or_else(out_of_memory)?, len };
        pages.advise(libc::MADV_DONTDUMP)?;
        pages.advise(libc::MADV_WIPEONFORK)?;
        // SAFETY: the range is exactly the mapping made above.
        let locked = unsafe { libc::mlock(address, len) };
        checked(locked)?;
        Ok(pages)
    }

    /// The length of the mapping.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn advise(&self, advice: libc::c_int) -> Result<(), SecretError> {
        // SAFETY: the range is exactly this value's mapping, and neither advice discards its contents here.
        checked(unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, advice) })
    }

    /// The bytes of a range; empty when the range does not lie inside the mapping.
    ///
    /// # Safety
    /// While the slice lives, nobody writes to the range.
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &[u8] {
        match self.at(start, len) {
            // SAFETY: `at` checked the range; anonymous memory is initialised; the caller rules out writers.
            Some(first) => unsafe { slice::from_raw_parts(first.as_ptr(), len) },
            None => &[],
        }
    }

    /// The bytes of a range, to be written; empty when the range does not lie inside the mapping.
    ///
    /// # Safety
    /// While the slice lives, nobody else reads or writes the range.
    #[allow(clippy::mut_from_ref, reason = "slots of one mapping are written by their several owners")]
    pub(crate) unsafe fn slice_mut(&self, start: usize, len: usize) -> &mut [u8] {
        match self.at(start, len) {
            // SAFETY: `at` checked the range; anonymous memory is initialised; the caller has it alone.
            Some(first) => unsafe { slice::from_raw_parts_mut(first.as_ptr(), len) },
            None => &mut [],
        }
    }

    fn at(&self, start: usize, len: usize) -> Option<NonNull<u8>> {
        if start.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `start` is at most the length of the mapping, one past its end at the worst.
        Some(unsafe { self.base.add(start) })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: dropping has the value, and with it the whole mapping, alone.
        let whole = unsafe { self.slice_mut(0, self.len) };
        whole.zeroize();
        // SAFETY: the mapping is this value's, and no slice of it can outlive the value. It cannot fail for a
        // range that was mapped as a whole; were it to, the pages would stay mapped, and wiped.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf with a known name has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(4096)
}

fn checked(result: libc::c_int) -> Result<(), SecretError> {
    if result == 0 { Ok(()) } else { Err(SecretError::Lock(io::Error::last_os_error())) }
}

fn out_of_memory() -> SecretError {
    SecretError::Map(io::ErrorKind::OutOfMemory.into())
}
