//! `pin.*`: the holder's own PINs.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::pin::{Change, Done, Logout, PinName, PinState, Status, Unblock, Verify};

use super::{Act, Daemon, last_try, place_of, recorded};
use crate::card::{CardError, pin};
use crate::dispatch::Call;

/// `pin.verify`: the chip judges the PIN; the connection keeps it until logout, its end, or the card's removal.
///
/// # Errors
/// When the card or the PIN is refused.
pub async fn verify(daemon: Arc<Daemon>, call: Call, request: Verify) -> Result<Done, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let insertion = request.insertion.unwrap_or(contents.card.insertion);
    let place = place_of(&contents);
    let presented = request.pin.into_secret();
    let kept = presented.duplicate().map_err(CardError::Memory)?;
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    daemon
        .readers
        .run(&request.reader, Some(insertion), move |session| {
            pin::verify(session, which, &presented, last_try)
        })
        .await?;
    match which {
        PinName::Cns => {
            call.caller.logins.keep(place.clone(), kept);
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
pub async fn logout(_: Arc<Daemon>, call: Call, request: Logout) -> Result<Done, RpcError> {
    call.caller.logins.forget_reader(&request.reader);
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
    let (old, new) = (request.old_pin.into_secret(), request.new_pin.into_secret());
    let kept = new.duplicate().map_err(CardError::Memory)?;
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let meant = request.insertion.unwrap_or(place.insertion);
    let work = daemon
        .readers
        .run(&request.reader, Some(meant), move |session| pin::change(session, which, &old, &new, last_try));
    let act = Act { name: "pin-change", card: Some(&contents.card.serial), paragraph: None };
    let changed = recorded(&daemon, &call, act, work, |_| "done".to_owned()).await?;
    if changed == PinName::Cns {
        daemon.logins.forget_card(&place);
        // A session that was logged in stays so, with the new PIN (as C_SetPIN in PKCS#11).
        if was_logged_in {
            call.caller.logins.keep(place, kept);
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
    let (puk, new) = (request.puk.into_secret(), request.new_pin.into_secret());
    let (which, last_try) = (request.which, last_try(request.confirm_last_try));
    let meant = request.insertion.unwrap_or(place.insertion);
    let work = daemon
        .readers
        .run(&request.reader, Some(meant), move |session| pin::reset(session, which, &puk, &new, last_try));
    let act = Act { name: "pin-unblock", card: Some(&contents.card.serial), paragraph: None };
    let changed = recorded(&daemon, &call, act, work, |_| "done".to_owned()).await?;
    if changed == PinName::Cns {
        daemon.logins.forget_card(&place);
    }
    Ok(Done {})
}

/// `pin.status`.
///
/// # Errors
/// When the card refuses.
pub async fn status(daemon: Arc<Daemon>, _: Call, request: Status) -> Result<Vec<PinState>, RpcError> {
    Ok(daemon.readers.run(&request.reader, None, pin::status).await?)
}
