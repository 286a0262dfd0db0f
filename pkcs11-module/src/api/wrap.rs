//! Wrapping and unwrapping secret keys (PKCS#11 v2.40 §5.14): the former with a public key, in software, the latter by the
//! card.

use std::sync::Arc;

use cns_secret::Secret;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use sha2::{Digest, Sha512};

use crate::api::decrypt::ask_card;
use crate::cipher::Cipher;
use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out, Put};
use crate::ffi::template::{Mechanism, Template};
use crate::object::{Draft, Origin};
use crate::state::Module;

/// `C_WrapKey`.
pub(crate) fn wrap_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    mut wrapped: Out<'_, u8>,
) -> Result<(), Error> {
    let tables = module.tables();
    let token = tables.token_of(session)?;
    let cipher = Cipher::read(&mechanism)?;
    let wrapping = token.visible_object(wrapping_key).ok_or(Error::WrappingKeyHandleInvalid)?;
    let public =
        wrapping.as_public_key().filter(|key| key.uses.wrap).ok_or(Error::KeyFunctionNotPermitted)?;
    let key = token.visible_object(key).ok_or(Error::KeyHandleInvalid)?;
    let secret = match (key.as_secret_key(), key.as_private_key()) {
        (Some(secret), _) if secret.extractable => secret,
        (Some(_), _) | (None, Some(_)) => return Err(Error::KeyUnextractable),
        (None, None) => return Err(Error::KeyNotWrappable),
    };
    if secret.value.len() > cipher.most(public.length)? {
        return Err(Error::KeySizeRange);
    }
    if wrapped.ask(public.length)? == Asked::Length {
        return Ok(());
    }
    // A bare block that is not below the modulus.
    let too_large = |error| if error == Error::DataInvalid { Error::KeySizeRange } else { error };
    let encrypted = public.encrypt(&cipher, secret.value.expose()).map_err(too_large)?;
    wrapped.give(&encrypted).map(drop)
}

/// `C_UnwrapKey`. The template is judged before the card is asked.
pub(crate) fn unwrap_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: In<'_, u8>,
    template: Template<'_>,
    mut object: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let (draft, cipher, key) = {
        let tables = module.tables();
        let read_write = tables.session(session)?.read_write;
        let cipher = Cipher::read(&mechanism)?;
        let token = tables.token_of(session)?;
        let unwrapping = token.object(unwrapping_key).ok_or(Error::UnwrappingKeyHandleInvalid)?;
        let key = unwrapping.as_private_key().filter(|key| key.decrypts);
        let key = Arc::clone(key.ok_or(Error::KeyFunctionNotPermitted)?);
        if !token.logged_in {
            return Err(Error::UserNotLoggedIn);
        }
        (Draft::read(&template, read_write)?, cipher, key)
    };
    let most = cipher.most(key.length)?;
    let length = draft.unwrapped_length()?;
    if length.is_some_and(|length| length > most) {
        return Err(Error::AttributeValueInvalid);
    }
    if cipher == Cipher::Raw && length.is_none() {
        // Without a padding nothing else tells where the key begins.
        return Err(Error::TemplateIncomplete);
    }
    let block = ask_card(module, session, &key, &cipher, wrapped.items()).map_err(of_wrapped)?;
    let value = match (&cipher, length) {
        // "the key's value is taken from the end" (PKCS#11 Current Mechanisms v2.40 §2.1.9): there is no padding.
        (Cipher::Raw, length) => {
            let value =
                most.checked_sub(length.unwrap_or(most)).and_then(|start| block.expose().get(start..));
            Secret::copy_from(value.unwrap_or_default())?
        }
        (Cipher::Pkcs1 | Cipher::Oaep(_), Some(length)) if block.len() != length => {
            other_key(&block, length)?
        }
        (Cipher::Pkcs1 | Cipher::Oaep(_), None) if block.is_empty() || !draft.fits(block.len())? => {
            other_key(&block, 32)?
        }
        (Cipher::Pkcs1 | Cipher::Oaep(_), _) => block,
    };
    let mut tables = module.tables();
    object.put(tables.make(session, |number| draft.secret_key(value, Origin::OUTSIDE, number))?);
    Ok(())
}

/// What is wrong with encrypted data, said of a wrapped key.
fn of_wrapped(error: Error) -> Error {
    if error == Error::EncryptedDataLenRange {
        Error::WrappedKeyLenRange
    } else if error == Error::EncryptedDataInvalid {
        Error::WrappedKeyInvalid
    } else {
        error
    }
}

/// A key that nobody knows, for a message whose key has the wrong length: an error would tell how the padding was, as it
/// would in `C_Decrypt` (RFC 3218 §2.3). It is the same one for the same message.
fn other_key(block: &Secret, length: usize) -> Result<Secret, Error> {
    let mut key = Secret::zeroed(length)?;
    for (counter, chunk) in (0_u32..).zip(key.expose_mut().chunks_mut(64)) {
        let drawn = Sha512::new_with_prefix(counter.to_be_bytes()).chain_update(block.expose()).finalize();
        chunk.iter_mut().zip(drawn).for_each(|(place, byte)| *place = byte);
    }
    Ok(key)
}
