//! The module's state in this process: made by `C_Initialize`, taken down by `C_Finalize`, and not inherited by a
//! forked child (PKCS#11 v2.40 §5.4: a child calls `C_Initialize` itself).
#![allow(unsafe_code, reason = "a lock that another thread held at the fork must never be waited for")]

use std::path::PathBuf;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use cns_protocol::{Client, DEFAULT_SOCKET};

use crate::error::Error;
use crate::state::Module;

/// The state of the process that made it. Never freed: another thread may be looking at it. There is one for each
/// generation of forked children that calls `C_Initialize`.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

struct Process {
    id: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    module: Option<Arc<Module>>,
    /// The readers in the order of their slots, kept so that slot identifiers outlive `C_Finalize`.
    readers: Vec<String>,
}

/// The initialised module.
pub(crate) fn module() -> Result<Arc<Module>, Error> {
    let process = own().ok_or(Error::CryptokiNotInitialized)?;
    let state = process.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.module.clone().ok_or(Error::CryptokiNotInitialized)
}

/// Makes the module.
pub(crate) fn initialize() -> Result<(), Error> {
    let process = own().unwrap_or_else(renew);
    let mut state = process.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.module.is_some() {
        return Err(Error::CryptokiAlreadyInitialized);
    }
    state.module = Some(Arc::new(Module::new(socket(), &state.readers)));
    Ok(())
}

/// Takes the module down. Calls that other threads are in end with [`Error::CryptokiNotInitialized`].
pub(crate) fn finalize() -> Result<(), Error> {
    let process = own().ok_or(Error::CryptokiNotInitialized)?;
    let module = {
        let mut state = process.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = state.module.take().ok_or(Error::CryptokiNotInitialized)?;
        state.readers = module.reader_names();
        module
    };
    module.close();
    Ok(())
}

/// The state, when this very process made it.
fn own() -> Option<&'static Process> {
    // SAFETY: the pointer is null or came from `Box::leak`, and what is leaked is never freed or moved.
    let process = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    process.filter(|process| process.id == process::id())
}

/// Puts a new state in the place of none, or of one that a parent process left.
fn renew() -> &'static Process {
    let left = CURRENT.load(Ordering::Acquire);
    let fresh: &'static Process =
        Box::leak(Box::new(Process { id: process::id(), state: Mutex::new(State::default()) }));
    let place = ptr::from_ref(fresh).cast_mut();
    if CURRENT.compare_exchange(left, place, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another thread of this process was quicker.
        return own().unwrap_or(fresh);
    }
    // SAFETY: as in `own`.
    if let Some(left) = unsafe { left.as_ref() } {
        abandon(left);
    }
    fresh
}

/// Closes this process's copies of a parent's connections, so that a parent's login does not live as long as its
/// children. What a thread of the parent had locked at the fork stays locked for ever here, and is left alone.
fn abandon(left: &Process) {
    let state = match left.state.try_lock() {
        Ok(state) => Some(state),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(module) = state.and_then(|mut state| state.module.take()) {
        module.abandon();
    }
}

/// The daemon's socket. Read once for each `C_Initialize`, because an application may change its environment at any
/// time; a program that runs with more rights than its caller does not listen to the caller's environment.
fn socket() -> PathBuf {
    // SAFETY: getauxval has no preconditions.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    if secure == 0 { Client::default_path() } else { PathBuf::from(DEFAULT_SOCKET) }
}
