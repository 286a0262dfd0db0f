//! What is fuzzed: plain functions that take any bytes and fail by panicking.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; `tests/replay.rs` runs each over the corpus that was kept. Each one
//! asserts more than the absence of a panic, and none may hold more than [`MOST_MEMORY`] at a time.
#![deny(unsafe_code)]
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a target fails by panicking"
)]

pub mod input;
mod issuer;
pub mod liar;
mod targets;

use peak_alloc::PeakAlloc;

/// Counts what is allocated; in every program that links this crate.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most that may be allocated at a time for one card, in bytes, in excess of what was before.
pub const MOST_MEMORY: usize = 1024 * 1024;

/// A fuzz target.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Longer inputs find nothing new, in bytes.
    pub longest_input: usize,
    /// Whether one card's memory is what it uses: [`MOST_MEMORY`] then binds it.
    bounded: bool,
    function: fn(&[u8]),
}

impl Target {
    const fn new(name: &'static str, longest_input: usize, function: fn(&[u8])) -> Self {
        Self { name, longest_input, bounded: true, function }
    }

    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Runs it.
    ///
    /// # Panics
    /// When the target finds a defect, or holds more than [`MOST_MEMORY`].
    pub fn run(&self, bytes: &[u8]) {
        let ((), peak) = peak_memory(|| (self.function)(bytes));
        assert!(!self.bounded || peak <= MOST_MEMORY, "{} held {peak} bytes", self.name);
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("tlv", 5000, targets::tlv::run),
    Target::new("fci", 512, targets::fci::run),
    Target::new("personal_data", 1024, targets::personal_data::run),
    Target::new("fields", 1024, targets::fields::run),
    Target::new("pin_pad", 600, targets::pin_pad::run),
    Target::new("object_directory", 1024, targets::object_directory::run),
    Target::new("certificate", 4096, targets::certificate::run),
    Target::new("secure_messaging", 1024, targets::secure_messaging::run),
    Target::new("trace", 4096, targets::trace::run),
    Target::new("command", 1024, targets::command::run),
    Target::new("cryptoki", 2048, targets::cryptoki::run),
    Target::new("cmp_response", 2048, targets::cmp_response::run),
    Target::new("revocation_list", 2048, targets::revocation_list::run),
    Target::new("ocsp_answer", 2048, targets::ocsp_answer::run),
    Target::new("session", 2048, targets::session::run),
    // A chip's memory is its own, and no part of the daemon.
    Target { bounded: false, ..Target::new("chip", 2048, targets::chip::run) },
];

/// Runs `work`; tells how many bytes it held at most, in all threads, in excess of what was allocated before.
pub fn peak_memory<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
