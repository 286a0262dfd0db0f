//! A signature that is being made.

use std::sync::Arc;

use cns_protocol::SecretText;
use cns_secret::Secret;

use crate::error::Error;
use crate::input::Input;
use crate::mechanism::Scheme;
use crate::object::PrivateKey;

/// Where the PIN for one use of a key comes from.
pub(crate) enum PinSource {
    /// The application gave it.
    Given(Secret),
    /// It is typed on the reader when the key is used.
    Pad,
}

impl PinSource {
    /// As the daemon is told.
    pub(crate) fn into_text(self) -> Result<Option<SecretText>, Error> {
        match self {
            Self::Given(pin) => SecretText::new(pin).map(Some).map_err(|_| Error::PinIncorrect),
            Self::Pad => Ok(None),
        }
    }
}

/// `C_SignInit` or `C_SignRecoverInit` was called, and the signature not given yet.
pub(crate) struct SignOperation {
    /// The key.
    pub(crate) key: Arc<PrivateKey>,
    /// The PIN of `C_Login` with `CKU_CONTEXT_SPECIFIC`, for this one signature.
    pub(crate) pin: Option<PinSource>,
    /// Whether `C_SignUpdate` was called: then `C_Sign` may not be.
    pub(crate) in_parts: bool,
    scheme: Scheme,
    input: Input,
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
        let input = Input::of_scheme(scheme, key.length);
        Ok(Self { key, pin: None, in_parts: false, scheme, input })
    }

    /// Takes more data.
    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.input.update(data, Error::DataLenRange)
    }

    /// What the card is asked to do, and with which data.
    pub(crate) fn finish(self) -> Result<Finished, Error> {
        let (mechanism, data) = self.scheme.prepare(&self.input.finish(), self.key.length)?;
        Ok(Finished { key: self.key, pin: self.pin, mechanism, data })
    }
}

/// A signature that only the card has to make.
pub(crate) struct Finished {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) pin: Option<PinSource>,
    pub(crate) mechanism: cns_protocol::key::Mechanism,
    pub(crate) data: Vec<u8>,
}
