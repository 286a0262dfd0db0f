//! Decryption (PKCS#11 v2.40 §5.9), by the card.
//!
//! The card is asked when the application has room for data at all, and not before: how long the data is, only the
//! decryption tells. What did not fit is kept for the call with more room, so that the card is asked once.

use std::sync::Arc;

use cns_protocol::key::{Decrypt, Decryption};
use cns_protocol::pin::PinName;
use cns_secret::Secret;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::api::login;
use crate::cipher::Cipher;
use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::ffi::template::Mechanism;
use crate::input::Input;
use crate::object::PrivateKey;
use crate::session::DecryptOperation;
use crate::state::{Module, Place, lock};

/// `C_DecryptInit`.
pub(crate) fn decrypt_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let mut tables = module.tables();
    if tables.session(session)?.decrypt.is_some() {
        return Err(Error::OperationActive);
    }
    let cipher = Cipher::read(&mechanism)?;
    let token = tables.token_of(session)?;
    let object = token.object(key).ok_or(Error::KeyHandleInvalid)?;
    let key = object.as_private_key().filter(|key| key.decrypts).ok_or(Error::KeyFunctionNotPermitted)?;
    if !token.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    let most = cipher.most(key.length)?;
    let (key, input) = (Arc::clone(key), Input::plain(key.length));
    let operation = DecryptOperation { key, cipher, most, input, in_parts: false, done: None };
    tables.session_mut(session)?.decrypt = Some(operation);
    Ok(())
}

/// `C_Decrypt`. Ends the operation unless the length is asked or the buffer too small.
pub(crate) fn decrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    encrypted: In<'_, u8>,
    mut data: Out<'_, u8>,
) -> Result<(), Error> {
    let operation = {
        let mut tables = module.tables();
        let place = &mut tables.session_mut(session)?.decrypt;
        let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
        if operation.in_parts {
            *place = None;
            return Err(Error::OperationActive);
        }
        if data.is_question() {
            return data.ask(operation.length()).map(drop);
        }
        place.take()
    };
    let operation = operation.ok_or(Error::OperationNotInitialized)?;
    // A copy, for the application may want the data where it has put what is encrypted.
    let encrypted = Some(encrypted.items()).filter(|items| items.len() == operation.key.length);
    let encrypted = encrypted.ok_or(Error::EncryptedDataLenRange)?.to_vec();
    finish(module, session, operation, encrypted, &mut data)
}

/// `C_DecryptUpdate`: nothing can be given before all is there. An error ends the operation.
pub(crate) fn decrypt_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
    mut data: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.decrypt;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    if data.give(&[])? == Asked::Length {
        return Ok(());
    }
    let updated = operation.input.update(part.items(), Error::EncryptedDataLenRange);
    if updated.is_err() {
        *place = None;
    }
    updated
}

/// `C_DecryptFinal`. Ends the operation as `C_Decrypt` does.
pub(crate) fn decrypt_final(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut data: Out<'_, u8>,
) -> Result<(), Error> {
    let operation = {
        let mut tables = module.tables();
        let place = &mut tables.session_mut(session)?.decrypt;
        let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
        if data.is_question() {
            return data.ask(operation.length()).map(drop);
        }
        place.take()
    };
    let operation = operation.ok_or(Error::OperationNotInitialized)?;
    let encrypted = operation.input.collected().to_vec();
    finish(module, session, operation, encrypted, &mut data)
}

/// Gives the data, of this call to the card or of the one before. What does not fit waits for more room.
fn finish(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut operation: DecryptOperation,
    encrypted: Vec<u8>,
    data: &mut Out<'_, u8>,
) -> Result<(), Error> {
    let plaintext = match operation.done.take().filter(|(of, _)| *of == encrypted) {
        // The login may have ended since.
        Some((_, plaintext)) => logged_in(module, session).map(|_| plaintext)?,
        None => ask_card(module, session, &operation.key, &operation.cipher, &encrypted)?,
    };
    let given = data.give(plaintext.expose());
    if given == Err(Error::BufferTooSmall) {
        operation.done = Some((encrypted, plaintext));
        let mut tables = module.tables();
        let place = &mut tables.session_mut(session)?.decrypt;
        // Another thread may have begun another operation meanwhile.
        place.get_or_insert(operation);
    }
    given.map(drop)
}

/// The card of a session whose token is logged in, and whether its PIN's last try may be spent.
fn logged_in(module: &Module, session: CK_SESSION_HANDLE) -> Result<(Place, bool), Error> {
    let mut tables = module.tables();
    let place = tables.place_of(session)?;
    let token = tables.token_at(&place)?;
    if !token.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    let last_told = token.tries(PinName::Cns).last_told;
    Ok((place, last_told))
}

/// What the card makes of an application's data with the key.
pub(crate) fn ask_card(
    module: &Module,
    session: CK_SESSION_HANDLE,
    key: &PrivateKey,
    cipher: &Cipher,
    encrypted: &[u8],
) -> Result<Secret, Error> {
    if encrypted.len() != key.length {
        return Err(Error::EncryptedDataLenRange);
    }
    let which = PinName::Cns;
    let (place, confirm_last_try) = logged_in(module, session)?;
    let mechanism = match cipher {
        Cipher::Pkcs1 => Decryption::RsaPkcs1,
        Cipher::Raw => Decryption::RsaRaw,
        Cipher::Oaep(oaep) => {
            Decryption::RsaOaep { hash: oaep.hash, mgf_hash: oaep.mgf_hash, label: oaep.label.clone() }
        }
    };
    let request = Decrypt {
        reader: place.reader.clone(),
        insertion: Some(place.insertion),
        mechanism,
        data: encrypted.to_vec(),
        pin: None,
        confirm_last_try,
    };
    let answer = lock(&place.link).work(&request);
    let answer = answer.map_err(|error| login::refused(module, &place, which, error))?;
    let plaintext = answer.plaintext.into_secret();
    if plaintext.len() > cipher.most(key.length)? { Err(Error::DeviceError) } else { Ok(plaintext) }
}
