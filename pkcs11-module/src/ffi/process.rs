//! The module's state in this process: made by `C_Initialize`, taken down by `C_Finalize`, and not inherited by a
//! forked child (PKCS#11 v2.40 §5.4: a child calls `C_Initialize` itself).
#![allow(unsafe_code, reason = "a lock that another thread held at the fork must never be waited for")]

use std::path::PathBuf;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use cns_protocol::{Client, DEFAULT_SOCKET};

use crate::error::Error;
use crate::ffi::application_lock::ApplicationLock;
use crate::ffi::guard;
use crate::state::Module;

/// The state of the process that made it. Never freed: another thread may be looking at it. There is one for each
/// generation of forked children that calls `C_Initialize`.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// The state of the process that loaded the library, which so leaves nothing behind when it unloads it.
static FIRST: Process = Process::new(NOBODY);

/// The number of no process.
const NOBODY: u32 = 0;

struct Process {
    id: AtomicU32,
    state: Mutex<State>,
}

impl Process {
    const fn new(id: u32) -> Self {
        Self { id: AtomicU32::new(id), state: Mutex::new(State { module: None, readers: Vec::new() }) }
    }
}

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

/// Makes the module, with the lock that the application wants, if there is none yet.
pub(crate) fn initialize(
    make_lock: impl FnOnce() -> Result<Option<ApplicationLock>, Error>,
) -> Result<(), Error> {
    let process = own().unwrap_or_else(renew);
    let mut state = process.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.module.is_some() {
        return Err(Error::CryptokiAlreadyInitialized);
    }
    state.module = Some(Arc::new(Module::new(socket(), &state.readers, make_lock()?)));
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
    // SAFETY: the pointer is null, or leads to a static or to what `Box::leak` gave, which is never freed or moved.
    let process = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    process.filter(|process| process.id.load(Ordering::Acquire) == process::id())
}

/// Puts a new state in the place of none, or of one that a parent process left.
fn renew() -> &'static Process {
    let left = CURRENT.load(Ordering::Acquire);
    let id = process::id();
    let fresh: &'static Process =
        match FIRST.id.compare_exchange(NOBODY, id, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => &FIRST,
            // Another thread of this process is about to make it current.
            Err(first) if first == id && left.is_null() => &FIRST,
            Err(_) => Box::leak(Box::new(Process::new(id))),
        };
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

/// Called by the system's loader when the library is unloaded, or when the process ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_UNLOAD: extern "C" fn() = unload;

/// Frees what would be left behind: the readers' names, the locked pages, and the whole module where the application
/// forgot `C_Finalize`. Waits for nobody, because at the end of a process other threads may still be in a call.
extern "C" fn unload() {
    guard(|| {
        let Some(process) = own() else { return Ok(()) };
        if let Ok(mut state) = process.state.try_lock() {
            state.readers = Vec::new();
            if let Some(module) = state.module.take() {
                module.abandon();
            }
        }
        cns_secret::release_pages();
        Ok(())
    });
}

/// The daemon's socket. Read once for each `C_Initialize`, because an application may change its environment at any
/// time; a program that runs with more rights than its caller does not listen to the caller's environment.
fn socket() -> PathBuf {
    if cfg!(miri) {
        return Client::default_path(); // Miri has no such values, and connects nowhere
    }
    // SAFETY: getauxval has no preconditions.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    if secure == 0 { Client::default_path() } else { PathBuf::from(DEFAULT_SOCKET) }
}
