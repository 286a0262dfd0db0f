//! The mutex of an application that lets the module use no locks but its own (PKCS#11 v3.2 §5.4 `C_Initialize`).
//!
//! Such an application's threads may be none that the system knows, so that a system lock could wait for ever. Its calls
//! take turns with a mutex that it made; the module's own locks are then free whenever they are taken.
#![allow(unsafe_code, reason = "the border to C")]

use std::ffi::c_void;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki_sys::{CK_C_INITIALIZE_ARGS, CK_RV, CKR_OK};

use crate::error::Error;

type Create = unsafe extern "C" fn(*mut *mut c_void) -> CK_RV;
type Use = unsafe extern "C" fn(*mut c_void) -> CK_RV;

/// The application's functions for mutexes.
#[derive(Clone, Copy)]
pub(crate) struct MutexFunctions {
    create: Create,
    destroy: Use,
    lock: Use,
    unlock: Use,
}

impl MutexFunctions {
    /// The functions of `C_Initialize`'s arguments: all four, or none.
    pub(crate) fn read(arguments: &CK_C_INITIALIZE_ARGS) -> Result<Option<Self>, Error> {
        let CK_C_INITIALIZE_ARGS { CreateMutex, DestroyMutex, LockMutex, UnlockMutex, .. } = *arguments;
        match (CreateMutex, DestroyMutex, LockMutex, UnlockMutex) {
            (Some(create), Some(destroy), Some(lock), Some(unlock)) => {
                Ok(Some(Self { create, destroy, lock, unlock }))
            }
            (None, None, None, None) => Ok(None),
            _ => Err(Error::ArgumentsBad),
        }
    }
}

/// A mutex that the application made.
pub(crate) struct ApplicationLock {
    functions: MutexFunctions,
    mutex: *mut c_void,
    /// The process that made it.
    process: u32,
    abandoned: AtomicBool,
}

// SAFETY: the standard wants functions that can be called from any of the application's threads.
unsafe impl Send for ApplicationLock {}
// SAFETY: as above.
unsafe impl Sync for ApplicationLock {}

impl ApplicationLock {
    /// Has a mutex made.
    ///
    /// # Safety
    /// The functions are what the standard says, and stay so as long as this value lives or until it is abandoned.
    pub(crate) unsafe fn new(functions: MutexFunctions) -> Result<Self, Error> {
        let mut mutex = ptr::null_mut();
        // SAFETY: as promised by the caller.
        if unsafe { (functions.create)(&raw mut mutex) } != CKR_OK {
            return Err(Error::CantLock);
        }
        Ok(Self { functions, mutex, process: process::id(), abandoned: AtomicBool::new(false) })
    }

    /// Waits for the mutex, and holds it while the answer lives.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, Error> {
        // SAFETY: the mutex is the application's own, and not destroyed before this value is.
        if unsafe { (self.functions.lock)(self.mutex) } == CKR_OK {
            Ok(Turn(self))
        } else {
            Err(Error::General)
        }
    }

    /// Leaves the mutex as it is, because the application's functions may be gone.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

impl Drop for ApplicationLock {
    fn drop(&mut self) {
        // In a forked child it is the parent's, and may be locked by a thread that is not there.
        if self.process == process::id() && !self.abandoned.load(Ordering::Acquire) {
            // SAFETY: nobody holds the mutex, because a `Turn` borrows this value.
            unsafe { (self.functions.destroy)(self.mutex) };
        }
    }
}

/// The application's mutex, held.
pub(crate) struct Turn<'a>(&'a ApplicationLock);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread locked the mutex.
        unsafe { (self.0.functions.unlock)(self.0.mutex) };
    }
}
