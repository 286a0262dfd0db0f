//! Two operations in one call (PKCS#11 v2.40 §5.13, "Dual-function cryptographic functions").
//!
//! An encryption or decryption with RSA gives nothing before its end, so these give nothing: what `C_DecryptFinal` gives at
//! last, the application passes on to the other operation itself, as the standard has it for the last part of any padded
//! data.

use cryptoki_sys::CK_SESSION_HANDLE;

use crate::error::Error;
use crate::ffi::buffer::{Asked, In, Out};
use crate::input::Input;
use crate::session::Session;
use crate::state::Module;

/// Two operations of a session take the same part. Both must be active; an error ends both, for one of them has lost a
/// part.
fn both(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut given: Out<'_, u8>,
    are_active: impl FnOnce(&Session) -> bool,
    take: impl FnOnce(&mut Session) -> Result<(), Error>,
    end: impl FnOnce(&mut Session),
) -> Result<(), Error> {
    let mut tables = module.tables();
    let session = tables.session_mut(session)?;
    if !are_active(session) {
        return Err(Error::OperationNotInitialized);
    }
    if given.give(&[])? == Asked::Length {
        return Ok(());
    }
    let taken = take(session);
    if taken.is_err() {
        end(session);
    }
    taken
}

/// Passes a part to an operation that is active.
fn pass(operation: Option<(&mut Input, &mut bool)>, part: &In<'_, u8>, too_long: Error) -> Result<(), Error> {
    let (input, in_parts) = operation.ok_or(Error::OperationNotInitialized)?;
    *in_parts = true;
    input.update(part.items(), too_long)
}

fn digest(session: &mut Session, part: &In<'_, u8>) -> Result<(), Error> {
    let operation = session.digest.as_mut().ok_or(Error::OperationNotInitialized)?;
    operation.in_parts = true;
    operation.hasher.update(part.items());
    Ok(())
}

fn encrypt(session: &mut Session, part: &In<'_, u8>) -> Result<(), Error> {
    let operation = session.encrypt.as_mut().map(|operation| (&mut operation.input, &mut operation.in_parts));
    pass(operation, part, Error::DataLenRange)
}

fn decrypt(session: &mut Session, part: &In<'_, u8>) -> Result<(), Error> {
    let operation = session.decrypt.as_mut().map(|operation| (&mut operation.input, &mut operation.in_parts));
    pass(operation, part, Error::EncryptedDataLenRange)
}

/// `C_DigestEncryptUpdate`.
pub(crate) fn digest_encrypt_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
    encrypted: Out<'_, u8>,
) -> Result<(), Error> {
    both(
        module,
        session,
        encrypted,
        |session| session.digest.is_some() && session.encrypt.is_some(),
        |session| encrypt(session, &part).and_then(|()| digest(session, &part)),
        |session| (session.digest, session.encrypt) = (None, None),
    )
}

/// `C_DecryptDigestUpdate`.
pub(crate) fn decrypt_digest_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    encrypted: In<'_, u8>,
    part: Out<'_, u8>,
) -> Result<(), Error> {
    both(
        module,
        session,
        part,
        |session| session.digest.is_some() && session.decrypt.is_some(),
        |session| decrypt(session, &encrypted),
        |session| (session.digest, session.decrypt) = (None, None),
    )
}

/// `C_SignEncryptUpdate`.
pub(crate) fn sign_encrypt_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    part: In<'_, u8>,
    encrypted: Out<'_, u8>,
) -> Result<(), Error> {
    let sign = |session: &mut Session| {
        let operation = session.sign.as_mut().ok_or(Error::OperationNotInitialized)?;
        operation.in_parts = true;
        operation.update(part.items())
    };
    both(
        module,
        session,
        encrypted,
        |session| session.sign.is_some() && session.encrypt.is_some(),
        |session| encrypt(session, &part).and_then(|()| sign(session)),
        |session| (session.sign, session.encrypt) = (None, None),
    )
}

/// `C_DecryptVerifyUpdate`.
pub(crate) fn decrypt_verify_update(
    module: &Module,
    session: CK_SESSION_HANDLE,
    encrypted: In<'_, u8>,
    part: Out<'_, u8>,
) -> Result<(), Error> {
    both(
        module,
        session,
        part,
        |session| session.verify.is_some() && session.decrypt.is_some(),
        |session| decrypt(session, &encrypted),
        |session| (session.verify, session.decrypt) = (None, None),
    )
}
