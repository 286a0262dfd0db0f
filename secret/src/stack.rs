//! The part of the stack that somebody else's code used.

use std::hint::black_box;

use zeroize::Zeroize;

/// How much of the stack is wiped, in words: far more than a cipher or a hash uses.
const WORDS: usize = 4096;

/// Runs `work`, and overwrites the stack that it used, also when it panics. A cipher's or a hash's code, which is not ours,
/// leaves blocks that it worked on where it had its variables, until something else happens to be written there.
///
/// What `work` gives back is not wiped: it is a [`Secret`](crate::Secret), or no secret.
#[inline(never)]
pub fn on_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
    let _wiped = Wiped;
    apart(work)
}

/// Wipes what is below when it goes away, which it also does where a panic passes.
struct Wiped;

impl Drop for Wiped {
    #[inline]
    fn drop(&mut self) {
        wipe();
    }
}

/// In a frame of its own, so that all its variables are where [`wipe`] has its own.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut used = [0_u64; WORDS];
    // Written one by one, whatever the compiler thinks of it.
    used.zeroize();
    black_box(&mut used);
}
