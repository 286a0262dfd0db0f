//! What an application passes to an operation, at once or in parts.

use zeroize::Zeroizing;

use crate::error::Error;
use crate::mechanism::{Hasher, Scheme, hasher};

/// What was passed so far.
pub(crate) enum Input {
    /// Hashed as it comes.
    Hashed(Hasher),
    /// Kept, up to so many bytes: no RSA operation works on more than the modulus is long.
    Plain(Zeroizing<Vec<u8>>, usize),
}

impl Input {
    /// Nothing yet, for a signature scheme and a modulus of `length` bytes.
    pub(crate) fn of_scheme(scheme: Scheme, length: usize) -> Self {
        match scheme.hash {
            Some(hash) => Input::Hashed(hasher(hash)),
            None => Self::plain(length),
        }
    }

    /// Nothing yet, for at most `length` bytes. The room is made at once: growing would leave copies.
    pub(crate) fn plain(length: usize) -> Self {
        Input::Plain(Zeroizing::new(Vec::with_capacity(length)), length)
    }

    /// Takes more; `too_long` is what more than the modulus' length is called.
    pub(crate) fn update(&mut self, data: &[u8], too_long: Error) -> Result<(), Error> {
        match self {
            Input::Hashed(hasher) => hasher.update(data),
            Input::Plain(plain, most) => {
                if plain.len().saturating_add(data.len()) > *most {
                    return Err(too_long);
                }
                plain.extend_from_slice(data);
            }
        }
        Ok(())
    }

    /// What was kept so far; nothing of what is hashed.
    pub(crate) fn collected(&self) -> &[u8] {
        match self {
            Input::Hashed(_) => &[],
            Input::Plain(plain, _) => plain,
        }
    }

    /// The digest, or the data as it is.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        match self {
            Input::Hashed(hasher) => Zeroizing::new(hasher.finalize().into_vec()),
            Input::Plain(plain, _) => plain,
        }
    }
}
