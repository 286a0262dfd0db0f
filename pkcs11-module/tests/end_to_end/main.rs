//! The module, `cnsd` and the virtual card, used through the `cryptoki` crate as any application would.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may fail in any way"
)]

mod authorities;
mod c_program;
mod counter;
mod decryption;
mod desk;
mod dual;
mod generations;
mod loaded;
mod login;
mod officer;
mod pin_pad;
mod public_key;
mod raw;
mod removal;
mod session_objects;
mod signature_key;
mod signing;
mod unasked;

use cnsd_test_support::{keypad, private_pcscd};
