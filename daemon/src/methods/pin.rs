//! `pin.*`: the holder's own PINs.

use std::sync::Arc;

use cns_protocol::pin::{Change, Done, Logout, PinName, PinState, Status, Unblock, Verify};
use cns_protocol::{ErrorKind, RpcError, SecretText};
use cns_secret::Secret;

use super::{Act, Daemon, last_try, place_of, recorded};
use crate::card::{CardError, CardSession, pin, sign};
use crate::dispatch::Call;

/// `pin.verify`: the chip judges the PIN; the connection keeps it until logout, its end, or the card's removal.
///
/// # Errors
/// When the card or the PIN is refused.
pub async fn verify(daemon: Arc<Daemon>, call: Call, request: Verify) -> Result<Done, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let insertion = request.insertion.unwrap_or(contents.card.insertion);
    let place = place_of(&contents);
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let (reader, insertion) = (&request.reader, Some(insertion));
    let kept = match request.pin {
        Some(pin) => {
            let presented = pin.into_secret();
            let kept = presented.duplicate().map_err(CardError::Memory)?;
            match which {
                PinName::Cns => {
                    let job = move |session: &mut CardSession<'_>| pin::log_in(session, &presented, last_try);
                    daemon.readers.run_with_login(reader, insertion, job).await?;
                }
                PinName::Signature => {
                    let job = move |session: &mut CardSession<'_>| {
                        pin::verify(session, which, &presented, last_try)
                    };
                    daemon.readers.run(reader, insertion, job).await?;
                }
            }
            Some(kept)
        }
        None => {
            let job = move |session: &mut CardSession<'_>| sign::verify_at_pad(session, which, last_try);
            daemon.readers.run_at_pin_pad(reader, insertion, job).await?;
            None
        }
    };
    match which {
        PinName::Cns => {
            match kept {
                Some(kept) => call.caller.logins.keep(place.clone(), kept),
                None => call.caller.logins.keep_pad(place.clone()),
            }
            // A card that was taken out meanwhile was not seen by the task that ends logins.
            if !daemon.is_there(&place) {
                call.caller.logins.forget_reader(&place.reader);
            }
        }
        // §1.3.7: the signature PIN is never kept.
        PinName::Signature => drop(kept),
    }
    Ok(Done {})
}

/// `pin.logout`.
///
/// # Errors
/// None: to be logged out already is no fault.
pub async fn logout(daemon: Arc<Daemon>, call: Call, request: Logout) -> Result<Done, RpcError> {
    if call.caller.logins.forget_reader(&request.reader) {
        daemon.readers.release(&request.reader);
    }
    Ok(Done {})
}

/// `pin.change`.
///
/// # Errors
/// When the card refuses, the old PIN is wrong, or the new one cannot be one.
pub async fn change(daemon: Arc<Daemon>, call: Call, request: Change) -> Result<Done, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let was_logged_in = call.caller.logins.pin(&place).map_err(CardError::Memory)?.is_some();
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let (reader, meant) = (&request.reader, Some(request.insertion.unwrap_or(place.insertion)));
    let act = Act { name: "pin-change", card: Some(&contents.card.serial), paragraph: None };
    let done = |_: &PinName| "done".to_owned();
    let (changed, kept) = match both(request.old_pin, request.new_pin)? {
        Some((old, new)) => {
            let kept = new.duplicate().map_err(CardError::Memory)?;
            let job = move |session: &mut CardSession<'_>| pin::change(session, which, &old, &new, last_try);
            let work = daemon.readers.run(reader, meant, job);
            (recorded(&daemon, &call, act, work, done).await?, Some(kept))
        }
        None => {
            let job = move |session: &mut CardSession<'_>| sign::change_at_pad(session, which, last_try);
            let work = daemon.readers.run_at_pin_pad(reader, meant, job);
            (recorded(&daemon, &call, act, work, done).await?, None)
        }
    };
    if changed == PinName::Cns {
        daemon.logins.forget_card(&place);
        // A session that was logged in stays so, with the new PIN (as C_SetPIN in PKCS#11).
        match kept {
            Some(kept) if was_logged_in => call.caller.logins.keep(place, kept),
            None if was_logged_in => call.caller.logins.keep_pad(place),
            Some(_) | None => {}
        }
    }
    Ok(Done {})
}

/// `pin.unblock`.
///
/// # Errors
/// When the card refuses, the PUK is wrong, or the new PIN cannot be one.
pub async fn unblock(daemon: Arc<Daemon>, call: Call, request: Unblock) -> Result<Done, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let (reader, meant) = (&request.reader, Some(request.insertion.unwrap_or(place.insertion)));
    let act = Act { name: "pin-unblock", card: Some(&contents.card.serial), paragraph: None };
    let done = |_: &PinName| "done".to_owned();
    let changed = match both(request.puk, request.new_pin)? {
        Some((puk, new)) => {
            let job = move |session: &mut CardSession<'_>| pin::reset(session, which, &puk, &new, last_try);
            recorded(&daemon, &call, act, daemon.readers.run(reader, meant, job), done).await?
        }
        None => {
            let job = move |session: &mut CardSession<'_>| pin::reset_at_pad(session, which, last_try);
            recorded(&daemon, &call, act, daemon.readers.run_at_pin_pad(reader, meant, job), done).await?
        }
    };
    if changed == PinName::Cns {
        daemon.logins.forget_card(&place);
    }
    Ok(Done {})
}

/// Two codes that are given, or typed on the reader, together.
fn both(present: Option<SecretText>, new: Option<SecretText>) -> Result<Option<(Secret, Secret)>, RpcError> {
    match (present, new) {
        (Some(present), Some(new)) => Ok(Some((present.into_secret(), new.into_secret()))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(RpcError::new(ErrorKind::InvalidParams, "one of two codes is missing")
                .hint("Give both, or neither where they are typed on the reader's PIN pad"))
        }
    }
}

/// `pin.status`.
///
/// # Errors
/// When the card refuses.
pub async fn status(daemon: Arc<Daemon>, _: Call, request: Status) -> Result<Vec<PinState>, RpcError> {
    Ok(daemon.readers.run(&request.reader, None, pin::status).await?)
}
