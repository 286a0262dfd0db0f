//! Encryption (PKCS#11 v2.40 §5.8), in software, with the public keys of the certificates.

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::api::verify::public_key;
use crate::cipher::Cipher;
use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::ffi::template::Mechanism;
use crate::input::Input;
use crate::session::EncryptOperation;
use crate::state::Module;

/// `C_EncryptInit`.
pub(crate) fn encrypt_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let mut tables = module.tables();
    if tables.session(session)?.encrypt.is_some() {
        return Err(Error::OperationActive);
    }
    let cipher = Cipher::read(&mechanism)?;
    let key = public_key(&tables, session, key, |uses| uses.encrypt)?;
    let input = Input::plain(cipher.most(key.length)?);
    let operation = EncryptOperation { key, cipher, input, in_parts: false };
    tables.session_mut(session)?.encrypt = Some(operation);
    Ok(())
}

/// `C_Encrypt`. Ends the operation unless the length is asked or the buffer too small.
pub(crate) fn encrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: In<'_, u8>,
    mut encrypted: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.encrypt;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    if operation.in_parts {
        *place = None;
        return Err(Error::OperationActive);
    }
    if encrypted.ask(operation.key.length)? == Asked::Length {
        return Ok(());
    }
    let mut operation = place.take().ok_or(Error::OperationNotInitialized)?;
    operation.input.update(data.items(), Error::DataLenRange)?;
    finish(operation, &mut encrypted)
}

/// `C_EncryptUpdate`: nothing can be given before all data is there. An error ends the operation.
pub(crate) fn encrypt_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
    mut encrypted: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.encrypt;
    let operation = place.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    if encrypted.give(&[])? == Asked::Length {
        return Ok(());
    }
    let updated = operation.input.update(part.items(), Error::DataLenRange);
    if updated.is_err() {
        *place = None;
    }
    updated
}

/// `C_EncryptFinal`. Ends the operation as `C_Encrypt` does.
pub(crate) fn encrypt_final(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut encrypted: Out<'_, u8>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let place = &mut tables.session_mut(session)?.encrypt;
    let operation = place.as_ref().ok_or(Error::OperationNotInitialized)?;
    if encrypted.ask(operation.key.length)? == Asked::Length {
        return Ok(());
    }
    finish(place.take().ok_or(Error::OperationNotInitialized)?, &mut encrypted)
}

fn finish(operation: EncryptOperation, encrypted: &mut Out<'_, u8>) -> Result<(), Error> {
    let EncryptOperation { key, cipher, input, .. } = operation;
    encrypted.give(&key.encrypt(&cipher, &input.finish())?).map(drop)
}
