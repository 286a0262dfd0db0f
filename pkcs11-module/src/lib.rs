//! The PKCS#11 module of the CNS middleware, `libcns_pkcs11.so`.
//!
//! It only forwards: what is in the readers, what a PIN opens and what a card signs is asked of `cnsd` over its local
//! socket. The module starts no thread, installs no signal handler, changes no environment, prints nothing, and lets
//! no panic cross into the application. A reader is a slot, a card with both of its keys is a token.
//!
//! `ffi` is the border to C, `api` the functions by chapter of the standard, the rest what they work on.

mod api;
mod certificate;
mod cipher;
mod daemon;
mod error;
mod ffi;
mod input;
mod mechanism;
mod object;
mod padding;
mod public_key;
mod session;
mod sign_operation;
mod state;
#[cfg(test)]
mod test_cards;
mod token;

pub use ffi::functions::*;
pub use ffi::functions_v3::*;
