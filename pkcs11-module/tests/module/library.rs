//! Loads the library, one test at a time: its state belongs to the process.

use std::env;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::{CK_FLAGS, CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_2, CK_INTERFACE, CK_RV, CK_VERSION};
use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where cargo has put the library for these tests.
pub(crate) fn path() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().join("libcns_pkcs11.so")
}

/// The loaded library; its functions are those of its function list.
pub(crate) struct Library {
    list: *const CK_FUNCTION_LIST,
    loaded: Option<Loaded>,
    _turn: MutexGuard<'static, ()>,
}

impl Library {
    /// Loads the library, which will look for the daemon at this socket.
    pub(crate) fn load(socket: &Path) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nothing else in these tests reads or writes the environment without the lock.
        unsafe { env::set_var("CNSD_SOCKET", socket) };
        let (loaded, list) = open();
        Self { list, loaded: Some(loaded), _turn: turn }
    }

    /// Loads it and calls `C_Initialize` without arguments.
    pub(crate) fn initialize(socket: &Path) -> Self {
        let library = Self::load(socket);
        assert_eq!(unsafe { (library.functions().C_Initialize.unwrap())(ptr::null_mut()) }, 0);
        library
    }

    /// The function list.
    pub(crate) fn functions(&self) -> &CK_FUNCTION_LIST {
        unsafe { &*self.list }
    }

    /// The function list of the newest version.
    pub(crate) fn newest(&self) -> &CK_FUNCTION_LIST_3_2 {
        unsafe { &*self.interface(Some((3, 2)), 0).unwrap().pFunctionList.cast() }
    }

    /// An interface of the standard, by its version.
    pub(crate) fn interface(
        &self,
        version: Option<(u8, u8)>,
        flags: CK_FLAGS,
    ) -> Result<&CK_INTERFACE, CK_RV> {
        type GetInterface =
            unsafe extern "C" fn(*mut u8, *mut CK_VERSION, *mut *mut CK_INTERFACE, CK_FLAGS) -> CK_RV;
        let mut version = version.map(|(major, minor)| CK_VERSION { major, minor });
        let version = version.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let mut interface = ptr::null_mut();
        unsafe {
            let get = self.loaded.as_ref().unwrap().get::<GetInterface>(b"C_GetInterface\0").unwrap();
            match get(ptr::null_mut(), version, &raw mut interface, flags) {
                0 => Ok(&*interface),
                error => Err(error),
            }
        }
    }

    /// All functions as words, in the order of the newest list.
    pub(crate) fn words(&self) -> &[usize] {
        let count = size_of::<CK_FUNCTION_LIST_3_2>() / size_of::<usize>();
        // The version takes the first word.
        unsafe { &std::slice::from_raw_parts(ptr::from_ref(self.newest()).cast::<usize>(), count)[1..] }
    }

    /// Calls a function of the list by its place there, with zero for every argument.
    pub(crate) fn call_with_zeros(&self, index: usize) -> CK_RV {
        // The longest of the functions takes ten.
        type N = usize;
        type Any = unsafe extern "C" fn(N, N, N, N, N, N, N, N, N, N) -> CK_RV;
        let function: Any = unsafe { std::mem::transmute(self.words()[index]) };
        unsafe { function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }
    }

    /// Unloads the library and loads it again; `look` runs between the two.
    pub(crate) fn reload(&mut self, look: impl FnOnce()) {
        self.loaded.take().unwrap().close().unwrap();
        look();
        let (loaded, list) = open();
        (self.loaded, self.list) = (Some(loaded), list);
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // Answers CKR_CRYPTOKI_NOT_INITIALIZED where the test did not come as far as C_Initialize.
        unsafe { (self.functions().C_Finalize.unwrap())(ptr::null_mut::<c_void>()) };
    }
}

fn open() -> (Loaded, *const CK_FUNCTION_LIST) {
    type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
    unsafe {
        let loaded = Loaded::open(Some(path()), RTLD_NOW | RTLD_LOCAL).unwrap();
        let mut list = ptr::null_mut();
        let get = loaded.get::<GetFunctionList>(b"C_GetFunctionList\0").unwrap();
        assert_eq!(get(&raw mut list), 0);
        (loaded, list)
    }
}
