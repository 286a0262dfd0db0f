//! The security officer (PKCS#11 v2.40 §5.5 `C_InitPIN`): here the holder who owns the card's PUK.
//!
//! The chip takes PUK and new PIN together (RESET RETRY COUNTER), so `C_Login` with `CKU_SO` presents nothing: it keeps
//! the PUK, in locked memory, until `C_InitPIN` or the end of the login. A wrong PUK is told, and costs its try, then. It
//! also ends the login, as a lost connection does, so that it is not presented again unasked. The last try is guarded as the
//! PIN's is. Where the reader has a PIN pad, `C_Login` without a PUK and `C_InitPIN` without a PIN let both be typed there.

use cns_protocol::pin::{PinName, Unblock};
use cns_protocol::{ErrorKind, SecretText};
use cns_secret::Secret;
use cryptoki_sys::CK_SESSION_HANDLE;

use crate::api::slot::PIN_LENGTH;
use crate::daemon::CallError;
use crate::error::Error;
use crate::ffi::buffer::In;
use crate::sign_operation::PinSource;
use crate::state::{Module, Place, lock};
use crate::token::Tries;

/// The PUK's length in digits.
const PUK_LENGTH: usize = 8;

/// `C_Login` with `CKU_SO`.
pub(crate) fn login(module: &Module, session: CK_SESSION_HANDLE, puk: &In<'_, u8>) -> Result<(), Error> {
    module.refresh_session(session)?;
    let place = module.tables().place_of(session)?;
    // Held to the end: a login of the user comes wholly before or wholly after this.
    let _link = lock(&place.link);
    let mut tables = module.tables();
    let token = tables.token_at(&place)?;
    if token.puk.is_some() {
        return Err(Error::UserAlreadyLoggedIn);
    }
    if token.logged_in {
        return Err(Error::UserAnotherAlreadyLoggedIn);
    }
    if token.puk_tries.left == Some(0) {
        return Err(Error::PinLocked);
    }
    if tables.sessions_of(place.slot).any(|session| !session.read_write) {
        return Err(Error::SessionReadOnlyExists);
    }
    let puk = if puk.is_null() && tables.slot(place.slot)?.pin_pad {
        PinSource::Pad
    } else {
        PinSource::Given(digits(puk, PUK_LENGTH..=PUK_LENGTH, Error::PinIncorrect)?)
    };
    tables.token_at(&place)?.puk = Some(puk);
    Ok(())
}

/// `C_InitPIN`: sets the user's PIN, blocked or not. PUK and PIN are both given, or both typed on the reader.
pub(crate) fn init_pin(module: &Module, session: CK_SESSION_HANDLE, pin: In<'_, u8>) -> Result<(), Error> {
    module.tables().session(session)?;
    module.refresh_session(session)?;
    let place = module.tables().place_of(session)?;
    let mut link = lock(&place.link);
    let (puk, confirm_last_try) = {
        let mut tables = module.tables();
        let token = tables.token_at(&place)?;
        let puk = match token.puk.as_ref().ok_or(Error::UserNotLoggedIn)? {
            PinSource::Given(puk) => Some(puk.duplicate()?),
            PinSource::Pad => None,
        };
        (puk, token.puk_tries.last_told)
    };
    let text = |secret: Secret| SecretText::new(secret).map_err(|_| Error::PinInvalid);
    let (puk, new_pin) = match puk {
        Some(puk) => (Some(text(puk)?), Some(text(digits(&pin, PIN_LENGTH, Error::PinInvalid)?)?)),
        None if pin.is_null() => (None, None),
        None => return Err(Error::ArgumentsBad),
    };
    let request = Unblock {
        reader: place.reader.clone(),
        insertion: Some(place.insertion),
        which: PinName::Cns,
        puk,
        new_pin,
        confirm_last_try,
    };
    let answer = link.work(&request);
    drop(link);
    drop(request);
    match answer {
        Ok(_) => {
            if let Ok(token) = module.tables().token_at(&place) {
                token.puk_tries = Tries::default();
                *token.tries(PinName::Cns) = Tries::default();
            }
            Ok(())
        }
        Err(error) => Err(refused(module, &place, error)),
    }
}

/// What a refused PUK means here and to the application.
fn refused(module: &Module, place: &Place, error: CallError) -> Error {
    let unheard = error.lost_connection();
    let is_wrong = matches!(&error, CallError::Refused(refusal)
        if matches!(refusal.kind, ErrorKind::PukIncorrect | ErrorKind::PukBlocked));
    if (unheard || is_wrong)
        && let Ok(token) = module.tables().token_at(place)
    {
        token.puk = None;
    }
    if let CallError::Refused(refusal) = &error
        && let Ok(token) = module.tables().token_at(place)
    {
        token.puk_tries.note(refusal);
        if refusal.kind == ErrorKind::PukIncorrect && refusal.tries_left == Some(0) {
            return Error::PinLocked;
        }
    }
    module.failed(place, error)
}

/// Takes digits over from the application. What no card can have is not sent, so it costs no try.
fn digits(
    given: &In<'_, u8>,
    length: std::ops::RangeInclusive<usize>,
    unless_digits: Error,
) -> Result<Secret, Error> {
    if given.is_null() {
        return Err(Error::ArgumentsBad);
    }
    let digits = given.items();
    if !length.contains(&digits.len()) {
        return Err(Error::PinLenRange);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(unless_digits);
    }
    Ok(Secret::copy_from(digits)?)
}
