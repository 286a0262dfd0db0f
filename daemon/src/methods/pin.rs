//! `pin.*`: the holder's own PINs.

use std::sync::Arc;

use cns_protocol::pin::{Change, Done, Logout, PinName, PinState, Status, Unblock, Verify};
use cns_protocol::{ErrorKind, RpcError, SecretText};
use cns_secret::Secret;

use super::{Act, Daemon, last_try, place_of, recorded};
use crate::card::{CardSession, PinSource, pin, sign};
use crate::dispatch::Call;
use crate::login::{CardPlace, LoginRegistry, Logins};

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
    // Logins begin and end on the card's own thread, so that each job that follows finds the PIN that the card has.
    let (logins, here) = (Arc::clone(&call.caller.logins), place.clone());
    match (which, request.pin) {
        (PinName::Cns, Some(pin)) => {
            let pin = pin.into_secret();
            let job = move |session: &mut CardSession<'_>| {
                let kept = pin.duplicate()?;
                pin::log_in(session, &pin, last_try)?;
                logins.keep(here, kept);
                Ok(())
            };
            daemon.readers.run_with_login(reader, insertion, job).await?;
        }
        // §1.3.7: the signature PIN is never kept.
        (PinName::Signature, Some(pin)) => {
            let pin = pin.into_secret();
            let job = move |session: &mut CardSession<'_>| pin::verify(session, which, &pin, last_try);
            daemon.readers.run(reader, insertion, job).await?;
        }
        (_, None) => {
            let job = move |session: &mut CardSession<'_>| {
                sign::verify_at_pad(session, which, last_try)?;
                if which == PinName::Cns {
                    logins.keep_pad(here);
                }
                Ok(())
            };
            daemon.readers.run_at_pin_pad(reader, insertion, job).await?;
        }
    }
    // A card that was taken out meanwhile was not seen by the task that ends logins.
    if which == PinName::Cns && !daemon.is_there(&place) {
        call.caller.logins.forget_reader(&place.reader);
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
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let (reader, meant) = (&request.reader, Some(request.insertion.unwrap_or(place.insertion)));
    let act = Act { name: "pin-change", card: Some(&contents.card.serial), paragraph: None };
    let done = |(): &()| "done".to_owned();
    let changed =
        ChangedPin { all: Arc::clone(&daemon.logins), logins: Arc::clone(&call.caller.logins), place };
    match both(request.old_pin, request.new_pin)? {
        Some((old, new)) => {
            let job = move |session: &mut CardSession<'_>| {
                let kept = new.duplicate()?;
                let which = pin::change(session, which, &old, &new, last_try)?;
                changed.settle(which, PinSource::Given(kept));
                Ok(())
            };
            recorded(&daemon, &call, act, daemon.readers.run(reader, meant, job), done).await?;
        }
        None => {
            let job = move |session: &mut CardSession<'_>| {
                let which = sign::change_at_pad(session, which, last_try)?;
                changed.settle(which, PinSource::Pad);
                Ok(())
            };
            recorded(&daemon, &call, act, daemon.readers.run_at_pin_pad(reader, meant, job), done).await?;
        }
    }
    Ok(Done {})
}

/// What becomes of the logins to a card whose PIN was changed, before the next job begins.
struct ChangedPin {
    all: Arc<LoginRegistry>,
    logins: Arc<Logins>,
    place: CardPlace,
}

impl ChangedPin {
    /// They end. A session that was logged in stays so, with the new PIN (as C_SetPIN in PKCS#11).
    fn settle(self, which: PinName, new: PinSource) {
        if which == PinName::Cns {
            let was_logged_in = self.logins.is_logged_in(&self.place);
            self.all.forget_card(&self.place);
            match new {
                PinSource::Given(pin) if was_logged_in => self.logins.keep(self.place, pin),
                PinSource::Pad if was_logged_in => self.logins.keep_pad(self.place),
                PinSource::Given(_) | PinSource::Pad => {}
            }
        }
    }
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
    let done = |(): &()| "done".to_owned();
    let all = Arc::clone(&daemon.logins);
    // The old PIN would cost a try.
    let end_logins = move |which| {
        if which == PinName::Cns {
            all.forget_card(&place);
        }
    };
    match both(request.puk, request.new_pin)? {
        Some((puk, new)) => {
            let job = move |session: &mut CardSession<'_>| {
                pin::reset(session, which, &puk, &new, last_try).map(end_logins)
            };
            recorded(&daemon, &call, act, daemon.readers.run(reader, meant, job), done).await?;
        }
        None => {
            let job = move |session: &mut CardSession<'_>| {
                pin::reset_at_pad(session, which, last_try).map(end_logins)
            };
            recorded(&daemon, &call, act, daemon.readers.run_at_pin_pad(reader, meant, job), done).await?;
        }
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
