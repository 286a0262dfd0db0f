//! The built library as an application loads it.
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these tests are a C application, written in Rust"
)]

mod border;
mod features;
mod fork;
mod guest;
mod library;
mod peers;
mod symbols;
