//! General-purpose functions (PKCS#11 v2.40 §5.4).

use cryptoki_sys::{CK_INFO, CK_VERSION};

use crate::error::Error;
use crate::ffi::buffer::Put;
use crate::state::Module;
use crate::token::padded;

/// The newest version of the standard that the module offers; the function lists say their own.
const CRYPTOKI: CK_VERSION = CK_VERSION { major: 3, minor: 2 };

/// This module's own version, which is the package's.
pub(crate) const LIBRARY: CK_VERSION = CK_VERSION {
    major: number(env!("CARGO_PKG_VERSION_MAJOR")),
    minor: number(env!("CARGO_PKG_VERSION_MINOR")),
};

/// `C_GetInfo`.
pub(crate) fn get_info(_: &Module, mut info: Put<'_, CK_INFO>) -> Result<(), Error> {
    info.put(CK_INFO {
        cryptokiVersion: CRYPTOKI,
        manufacturerID: padded("CNS middleware"),
        flags: 0,
        libraryDescription: padded("CNS smart cards through cnsd"),
        libraryVersion: LIBRARY,
    });
    Ok(())
}

const fn number(digits: &str) -> u8 {
    match u8::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => u8::MAX,
    }
}
