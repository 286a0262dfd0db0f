//! Slots of a few sizes inside shared locked pages.
//!
//! A page of its own for each five-digit PIN would spend a lock limit of 64 KiB (still the default of some
//! systems) on sixteen secrets. Slots of one size share a slab; a bit map says which are taken. Slots larger than
//! the largest size get a mapping of their own, which goes with them.
#![allow(unsafe_code, reason = "exclusive slots of one mapping cannot be expressed with borrows")]

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;

use zeroize::Zeroize;

use crate::error::SecretError;
use crate::pages::Pages;

/// Slot sizes that share slabs: a PIN or a session key; an APDU with a 2048-bit block.
const CLASSES: [usize; 2] = [64, 512];
const SLAB: usize = 4096;
/// How often a busy pool is asked again: far longer than any allocation takes.
const PATIENCE: u32 = 1000;

static POOL: Mutex<Pool> = Mutex::new(Pool { process: 0, slabs: Vec::new() });

struct Pool {
    /// Locks are not inherited by a forked child, so a child starts with new slabs.
    process: u32,
    slabs: Vec<Arc<Slab>>,
}

struct Slab {
    pages: Pages,
    slot_len: usize,
    taken: AtomicU64,
}

/// One range of a slab, owned by one secret.
pub(crate) struct Slot {
    slab: Arc<Slab>,
    index: usize,
}

impl Slot {
    /// A slot of at least `len` zero bytes.
    pub(crate) fn allocate(len: usize) -> Result<Self, SecretError> {
        match CLASSES.into_iter().find(|class| len <= *class) {
            Some(class) => match lock_pool() {
                Some(mut pool) => pool.allocate(class),
                None => Self::alone(len),
            },
            None => Self::alone(len),
        }
    }

    /// A slot with a mapping of its own.
    fn alone(len: usize) -> Result<Self, SecretError> {
        let pages = Pages::map(len)?;
        let slot_len = pages.len();
        let slab = Slab { pages, slot_len, taken: AtomicU64::new(1) };
        Ok(Self { slab: Arc::new(slab), index: 0 })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the bit in `taken` makes this slot the only owner of the range, and writing needs `&mut self`.
        unsafe { self.slab.pages.slice(self.start(), self.slab.slot_len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the bit in `taken` makes this slot the only owner of the range, and `&mut self` is exclusive.
        unsafe { self.slab.pages.slice_mut(self.start(), self.slab.slot_len) }
    }

    fn start(&self) -> usize {
        self.index * self.slab.slot_len
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // Release: whoever takes the slot next sees the zeros.
        self.slab.taken.fetch_and(!(1 << self.index), Ordering::Release);
    }
}

/// Lets go of the shared pages. Those in which secrets still are go with the last of them.
pub(crate) fn release() {
    if let Some(mut pool) = lock_pool() {
        pool.slabs = Vec::new();
    }
}

/// The pool, unless it stays busy. A process that forks while another of its threads allocates leaves the child
/// with a lock that nobody will ever release; the child must not wait for it.
fn lock_pool() -> Option<MutexGuard<'static, Pool>> {
    for _ in 0..PATIENCE {
        match POOL.try_lock() {
            Ok(pool) => return Some(pool),
            Err(TryLockError::Poisoned(pool)) => return Some(pool.into_inner()),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
    None
}

impl Pool {
    fn allocate(&mut self, class: usize) -> Result<Slot, SecretError> {
        let process = process::id();
        if self.process != process {
            self.slabs.clear();
            self.process = process;
        }
        let free = self.slabs.iter().filter(|slab| slab.slot_len == class);
        let found = free.into_iter().find_map(|slab| slab.take().map(|index| (Arc::clone(slab), index)));
        if let Some((slab, index)) = found {
            return Ok(Slot { slab, index });
        }
        let slab = Arc::new(Slab { pages: Pages::map(SLAB)?, slot_len: class, taken: AtomicU64::new(1) });
        self.slabs.push(Arc::clone(&slab));
        Ok(Slot { slab, index: 0 })
    }
}

impl Slab {
    /// Takes a free slot. Only the pool calls this, under its lock; slots are given back without it.
    fn take(&self) -> Option<usize> {
        let slots = (self.pages.len() / self.slot_len).min(64);
        let taken = self.taken.load(Ordering::Acquire);
        let index = (0..slots).find(|index| taken & (1 << index) == 0)?;
        self.taken.fetch_or(1 << index, Ordering::AcqRel);
        Some(index)
    }
}
