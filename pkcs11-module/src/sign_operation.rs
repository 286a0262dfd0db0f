//! A signature that is being made.

use std::sync::Arc;

use cns_secret::Secret;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::mechanism::{Hasher, Scheme, hasher};
use crate::object::PrivateKey;

/// `C_SignInit` was called, and the signature not given yet.
pub(crate) struct SignOperation {
    /// The key.
    pub(crate) key: Arc<PrivateKey>,
    /// The PIN of `C_Login` with `CKU_CONTEXT_SPECIFIC`, for this one signature.
    pub(crate) pin: Option<Secret>,
    /// Whether `C_SignUpdate` was called: then `C_Sign` may not be.
    pub(crate) in_parts: bool,
    scheme: Scheme,
    input: Input,
}

/// What the application has passed so far.
enum Input {
    Hashed(Hasher),
    Plain(Zeroizing<Vec<u8>>),
}

impl SignOperation {
    /// An operation that has seen no data yet.
    pub(crate) fn new(key: Arc<PrivateKey>, scheme: Scheme) -> Result<Self, Error> {
        if !scheme.suits(key.key_use) {
            return Err(Error::MechanismInvalid);
        }
        if !scheme.fits(key.length) {
            return Err(Error::MechanismParamInvalid);
        }
        let input = match scheme.hash {
            Some(hash) => Input::Hashed(hasher(hash)),
            None => Input::Plain(Zeroizing::new(Vec::with_capacity(key.length))),
        };
        Ok(Self { key, pin: None, in_parts: false, scheme, input })
    }

    /// Takes more data.
    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.input {
            Input::Hashed(hasher) => hasher.update(data),
            Input::Plain(plain) => {
                // No scheme signs more than the modulus is long, so the buffer never grows beyond that.
                if plain.len().saturating_add(data.len()) > self.key.length {
                    return Err(Error::DataLenRange);
                }
                plain.extend_from_slice(data);
            }
        }
        Ok(())
    }

    /// What the card is asked to do, and with which data.
    pub(crate) fn finish(self) -> Result<Finished, Error> {
        let length = self.key.length;
        let (mechanism, data) = match self.input {
            Input::Hashed(hasher) => self.scheme.prepare(&hasher.finalize(), length)?,
            Input::Plain(plain) => self.scheme.prepare(&plain, length)?,
        };
        Ok(Finished { key: self.key, pin: self.pin, mechanism, data })
    }
}

/// A signature that only the card has to make.
pub(crate) struct Finished {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) pin: Option<Secret>,
    pub(crate) mechanism: cns_protocol::key::Mechanism,
    pub(crate) data: Vec<u8>,
}
