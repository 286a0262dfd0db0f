//! Logins and the PIN (PKCS#11 v2.40 §5.5 `C_SetPIN`, §5.6 `C_Login` and `C_Logout`).
//!
//! The standard has no way to ask whether the last try may be spent. An application that read
//! `CKF_USER_PIN_FINAL_TRY` knows, and its next PIN is tried. One that did not is refused once with
//! `CKR_FUNCTION_CANCELED`, no try being spent; that refusal is the warning, and after it the PIN is tried.

use cns_protocol::pin::{Change, PinName, Verify};
use cns_protocol::{ErrorKind, SecretText};
use cns_secret::Secret;
use cryptoki_sys as ck;
use cryptoki_sys::{CK_SESSION_HANDLE, CK_USER_TYPE};

use crate::api::officer;
use crate::api::slot::PIN_LENGTH;
use crate::daemon::{CallError, Link};
use crate::error::Error;
use crate::ffi::buffer::In;
use crate::sign_operation::PinSource;
use crate::state::{Module, Place, lock};
use crate::token::Tries;

/// `C_Login`.
pub(crate) fn login(
    module: &Module,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: In<'_, u8>,
) -> Result<(), Error> {
    module.tables().session(session)?;
    match user {
        ck::CKU_USER => login_user(module, session, &pin),
        ck::CKU_CONTEXT_SPECIFIC => login_for_operation(module, session, &pin),
        ck::CKU_SO => officer::login(module, session, &pin),
        _ => Err(Error::UserTypeInvalid),
    }
}

/// `C_LoginUser` (PKCS#11 v3.2 §5.6). The card's users have no names, so one that is given is nobody's: it is refused
/// before its PIN costs a try.
pub(crate) fn login_user_by_name(
    module: &Module,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: In<'_, u8>,
    name: In<'_, u8>,
) -> Result<(), Error> {
    module.tables().session(session)?;
    if !name.items().is_empty() {
        return Err(Error::ArgumentsBad);
    }
    login(module, session, user, pin)
}

fn login_user(module: &Module, session: CK_SESSION_HANDLE, pin: &In<'_, u8>) -> Result<(), Error> {
    module.refresh_session(session)?;
    let place = module.tables().place_of(session)?;
    // Held to the end, so that two threads that log in at once do not both spend a try.
    let mut link = lock(&place.link);
    let confirm_last_try = {
        let mut tables = module.tables();
        let token = tables.token_at(&place)?;
        if token.logged_in {
            return Err(Error::UserAlreadyLoggedIn);
        }
        if token.puk.is_some() {
            return Err(Error::UserAnotherAlreadyLoggedIn);
        }
        token.tries(PinName::Cns).last_told
    };
    let pin = pin_or_pad(module, &place, pin, Error::PinIncorrect)?;
    let request = Verify {
        reader: place.reader.clone(),
        insertion: Some(place.insertion),
        which: PinName::Cns,
        pin,
        confirm_last_try,
    };
    let answer = link.work(&request);
    match answer {
        Ok(_) => note_login(module, session, &place, &mut link),
        Err(error) => {
            drop(link);
            Err(refused(module, &place, PinName::Cns, error))
        }
    }
}

/// Notes that the token is logged in, unless its last session was closed while the chip judged the PIN: then nobody is
/// left who could log out.
fn note_login(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: &Place,
    link: &mut Link,
) -> Result<(), Error> {
    let noted = {
        let mut tables = module.tables();
        match tables.session(session) {
            Ok(_) => tables.token_at(place).map(|token| {
                token.logged_in = true;
                *token.tries(PinName::Cns) = Tries::default();
            }),
            Err(error) => Err(error),
        }
    };
    if noted.is_err() {
        Module::log_out_on(link, place);
    }
    noted
}

/// Keeps the PIN for the one signature that was begun (PKCS#11 v2.40 §4.9, `CKA_ALWAYS_AUTHENTICATE`). The chip sees
/// it together with the signature, so a wrong one is reported by `C_Sign` or `C_SignFinal`.
fn login_for_operation(module: &Module, session: CK_SESSION_HANDLE, pin: &In<'_, u8>) -> Result<(), Error> {
    let place = module.tables().place_of(session)?;
    let pin = match pin_or_pad(module, &place, pin, Error::PinIncorrect)? {
        Some(pin) => PinSource::Given(pin.into_secret()),
        None => PinSource::Pad,
    };
    let mut tables = module.tables();
    if !tables.token_of(session)?.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    let wanted = tables.session_mut(session)?.wanting_pin().ok_or(Error::OperationNotInitialized)?;
    *wanted = Some(pin);
    Ok(())
}

/// `C_Logout`.
pub(crate) fn logout(module: &Module, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    let place = module.tables().place_of(session)?;
    // Taken first, as in `login_user`: a login of another thread comes wholly before or wholly after this.
    let mut link = lock(&place.link);
    if module.tables().token_at(&place)?.puk.take().is_some() {
        // The security officer's login is no connection's: the daemon knows nothing of it.
        return Ok(());
    }
    module.tables().end_login(place.slot).ok_or(Error::UserNotLoggedIn)?;
    Module::log_out_on(&mut link, &place);
    Ok(())
}

/// `C_SetPIN`.
pub(crate) fn set_pin(
    module: &Module,
    session: CK_SESSION_HANDLE,
    old: In<'_, u8>,
    new: In<'_, u8>,
) -> Result<(), Error> {
    if !module.tables().session(session)?.read_write {
        return Err(Error::SessionReadOnly);
    }
    module.refresh_session(session)?;
    let place = module.tables().place_of(session)?;
    if module.tables().token_at(&place)?.puk.is_some() {
        // It would be the PUK that changes: custody, which may have it, would not know.
        return Err(Error::FunctionNotSupported);
    }
    let mut link = lock(&place.link);
    let confirm_last_try = module.tables().token_at(&place)?.tries(PinName::Cns).last_told;
    if old.is_null() != new.is_null() {
        // Both are typed on the reader, or none.
        return Err(Error::ArgumentsBad);
    }
    let old_pin = pin_or_pad(module, &place, &old, Error::PinIncorrect)?;
    let new_pin = pin_or_pad(module, &place, &new, Error::PinInvalid)?;
    let which = PinName::Cns;
    let (reader, insertion) = (place.reader.clone(), Some(place.insertion));
    let request = Change { reader, insertion, which, old_pin, new_pin, confirm_last_try };
    let answer = link.work(&request);
    drop(link);
    answer.map(drop).map_err(|error| refused(module, &place, PinName::Cns, error))
}

/// What a refused PIN means here and to the application.
pub(crate) fn refused(module: &Module, place: &Place, which: PinName, error: CallError) -> Error {
    if let CallError::Refused(refusal) = &error
        && let Ok(token) = module.tables().token_at(place)
    {
        token.tries(which).note(refusal);
        if refusal.kind == ErrorKind::PinIncorrect && refusal.tries_left == Some(0) {
            // The wrong PIN was the last one: to ask for another would mislead.
            return Error::PinLocked;
        }
    }
    module.failed(place, error)
}

/// Takes a PIN over from the application; nothing where it gave none and the reader has a PIN pad
/// (`CKF_PROTECTED_AUTHENTICATION_PATH`).
fn pin_or_pad(
    module: &Module,
    place: &Place,
    pin: &In<'_, u8>,
    unless_digits: Error,
) -> Result<Option<SecretText>, Error> {
    if !pin.is_null() {
        return read_pin(pin, unless_digits).map(Some);
    }
    if module.tables().slot(place.slot)?.pin_pad { Ok(None) } else { Err(Error::ArgumentsBad) }
}

/// Takes a PIN over from the application. One that no card can have is not sent, so it costs no try.
fn read_pin(pin: &In<'_, u8>, unless_digits: Error) -> Result<SecretText, Error> {
    let digits = pin.items();
    if !PIN_LENGTH.contains(&digits.len()) {
        return Err(Error::PinLenRange);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(unless_digits);
    }
    SecretText::new(Secret::copy_from(digits)?).map_err(|_| unless_digits)
}
