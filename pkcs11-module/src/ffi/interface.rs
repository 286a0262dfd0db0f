//! The interfaces that applications choose from (PKCS#11 v3.2 §5.4 `C_GetInterfaceList`, `C_GetInterface`).
#![allow(unsafe_code, reason = "the border to C")]

use std::ffi::{CStr, c_char, c_void};

use cryptoki_sys::{CK_FLAGS, CK_INTERFACE, CK_UTF8CHAR, CK_VERSION};

use crate::ffi::function_list::{V2_40, V3_0, V3_2};

/// The name of the standard's own interfaces; this module has no others.
const NAME: &CStr = c"PKCS 11";

/// The interfaces, the newest first, which is also the default.
static INTERFACES: Table = Table([
    interface((&raw const V3_2).cast()),
    interface((&raw const V3_0).cast()),
    interface((&raw const V2_40).cast()),
]);

/// The versions, in the order of [`INTERFACES`].
const VERSIONS: [(u8, u8); 3] = [(3, 2), (3, 0), (2, 40)];

struct Table([CK_INTERFACE; VERSIONS.len()]);

// SAFETY: the pointers lead to statics that nobody changes.
unsafe impl Sync for Table {}

/// No flags: a forked child starts over (`CKF_INTERFACE_FORK_SAFE` would promise that it keeps sessions and logins).
const fn interface(functions: *const c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast::<CK_UTF8CHAR>().cast_mut(),
        pFunctionList: functions.cast_mut(),
        flags: 0,
    }
}

/// Which interface an application asks for.
pub(crate) struct Wanted {
    /// Whether it names the standard's interface, or none.
    pub(crate) is_standard: bool,
    /// The version, unless any will do.
    pub(crate) version: Option<CK_VERSION>,
    /// Properties that it must have.
    pub(crate) flags: CK_FLAGS,
}

/// All interfaces.
pub(crate) fn all() -> &'static [CK_INTERFACE] {
    &INTERFACES.0
}

/// The first interface that is what the application wants.
pub(crate) fn find(wanted: &Wanted) -> Option<&'static CK_INTERFACE> {
    let is_version = |(major, minor): (u8, u8)| {
        wanted.version.is_none_or(|version| (version.major, version.minor) == (major, minor))
    };
    let found = all().iter().zip(VERSIONS).find(|(interface, version)| {
        wanted.is_standard && is_version(*version) && wanted.flags & !interface.flags == 0
    });
    found.map(|(interface, _)| interface)
}

/// Whether a name is null or the standard's. Reads no further than the standard's name is long.
///
/// # Safety
/// Unless null, `name` is a text that ends with a zero.
pub(crate) unsafe fn names_the_standard(name: *const CK_UTF8CHAR) -> bool {
    if name.is_null() {
        return true;
    }
    // SAFETY: `NAME` ends with a zero, and so does `name`, as promised by the caller; the bound is `NAME`'s length.
    unsafe { libc::strncmp(name.cast::<c_char>(), NAME.as_ptr(), NAME.count_bytes().saturating_add(1)) == 0 }
}
