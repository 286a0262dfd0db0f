//! The one type for a PIN, a PUK or a key, and for every buffer that carries one.
//!
//! A [`Secret`] lives in pages that are locked into memory (`mlock`), left out of core dumps
//! (`MADV_DONTDUMP`) and wiped in a forked child (`MADV_WIPEONFORK`); its bytes are zeroed on drop. It has no
//! `Debug`, `Display`, `Serialize`, `Deref`, `Clone` or `PartialEq`: reading it takes a visible call to
//! [`Secret::expose`], copying it a visible call to [`Secret::duplicate`].
//!
//! ```compile_fail
//! let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
//! println!("{pin:?}");
//! ```
//! ```compile_fail
//! let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
//! println!("{pin}");
//! ```
//! ```compile_fail
//! let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
//! let second = pin.clone();
//! ```
//! ```compile_fail
//! let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
//! assert!(pin == pin);
//! ```
//! ```compile_fail
//! let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
//! let bytes: &[u8] = &pin;
//! ```
//!
//! Small secrets share pages, so that hundreds of them stay far below the usual `RLIMIT_MEMLOCK` of 8 MiB. When
//! the kernel refuses to lock, there is an error and no secret: never a quiet fall-back to plain memory.

mod error;
mod pages;
mod pool;
mod stack;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use crate::error::SecretError;
use crate::pool::Slot;
pub use crate::stack::on_wiped_stack;

/// Gives the pages that secrets shared back to the system. Secrets that still are keep theirs. For a library that is
/// about to be unloaded, which would leave the pages behind.
pub fn release_pages() {
    pool::release();
}

/// Bytes of fixed length in locked memory, wiped on drop and impossible to print.
pub struct Secret {
    slot: Slot,
    len: usize,
}

impl Secret {
    /// A secret of `len` zero bytes, to be filled through [`Secret::expose_mut`].
    ///
    /// # Errors
    /// When the kernel refuses to map or to lock the memory.
    pub fn zeroed(len: usize) -> Result<Self, SecretError> {
        Ok(Self { slot: Slot::allocate(len)?, len })
    }

    /// A secret with the value of `bytes`. The source is the caller's to wipe; see [`Secret::take`].
    ///
    /// # Errors
    /// As [`Secret::zeroed`].
    pub fn copy_from(bytes: &[u8]) -> Result<Self, SecretError> {
        let mut secret = Self::zeroed(bytes.len())?;
        secret.expose_mut().copy_from_slice(bytes);
        Ok(secret)
    }

    /// Moves `bytes` into a secret: the source is wiped, also when the allocation fails.
    ///
    /// # Errors
    /// As [`Secret::zeroed`].
    pub fn take(bytes: &mut [u8]) -> Result<Self, SecretError> {
        let secret = Self::copy_from(bytes);
        bytes.zeroize();
        secret
    }

    /// A second secret with the same value.
    ///
    /// # Errors
    /// As [`Secret::zeroed`].
    pub fn duplicate(&self) -> Result<Self, SecretError> {
        Self::copy_from(self.expose())
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes themselves. What is copied out of them is no longer protected.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.slot.bytes().get(..self.len).unwrap_or_default()
    }

    /// The bytes themselves, to be written.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.slot.bytes_mut().get_mut(..len).unwrap_or_default()
    }

    /// The first `len` bytes; what is cut off is wiped. A `len` beyond the end changes nothing.
    #[must_use]
    pub fn truncated(mut self, len: usize) -> Self {
        if let Some(tail) = self.expose_mut().get_mut(len..) {
            tail.zeroize();
            self.len = len;
        }
        self
    }

    /// Whether both hold the same bytes; takes the same time wherever they differ. The lengths are not secret.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}
