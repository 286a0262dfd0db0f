//! `counter.generate_key`, `counter.load_certificate`: the signature key of a program of the counter (§9.1.3).

use std::sync::Arc;

use cns_apdu::certificate_container::LONGEST;
use cns_protocol::counter::Wants;
use cns_protocol::key_pair::{GenerateKey, KeyPair, LoadCertificate};
use cns_protocol::pin::Done;
use cns_protocol::{ErrorKind, RpcError};

use super::{Daemon, place_of};
use crate::card::{CardError, PinSource};
use crate::dispatch::Call;
use crate::login::CardPlace;
use crate::procedure::{CardInReader, ProcedureError};

/// The paragraph that both belong to.
const PARAGRAPH: &str = "§9.1.3";
/// The bits of a new key: the older chips' 1,024 are refused.
const KEY_BITS: u32 = 2048;

/// `counter.generate_key`.
///
/// # Errors
/// When no procedure is at this step, no PIN is known, or the card refuses.
pub async fn generate_key(
    daemon: Arc<Daemon>,
    call: Call,
    request: GenerateKey,
) -> Result<KeyPair, RpcError> {
    if request.key_bits != KEY_BITS {
        let sentence = format!("a new signature key has {KEY_BITS} bits");
        return Err(RpcError::new(ErrorKind::InvalidParams, sentence).paragraph(PARAGRAPH));
    }
    let card = card_in(&daemon, &call, request.reader, request.insertion)?;
    let place = card.place.clone();
    let (user, progress) = (call.caller.peer.uid, call.progress.clone());
    let made = daemon.procedures.generate_key(user, call.operator()?, card, progress).await;
    made.map_err(|error| refusal(&daemon, &place, error))
}

/// `counter.load_certificate`.
///
/// # Errors
/// When no procedure is at this step, the certificate is not the key's and the holder's, or the card refuses.
pub async fn load_certificate(
    daemon: Arc<Daemon>,
    call: Call,
    request: LoadCertificate,
) -> Result<Done, RpcError> {
    if request.certificate.len() > LONGEST {
        let sentence = "the certificate is longer than any card's";
        return Err(RpcError::new(ErrorKind::CertificateRefused, sentence).paragraph(PARAGRAPH));
    }
    let card = card_in(&daemon, &call, request.reader, request.insertion)?;
    let place = card.place.clone();
    let (user, progress) = (call.caller.peer.uid, call.progress.clone());
    let loading =
        daemon.procedures.load_certificate(user, call.operator()?, card, request.certificate, progress);
    loading.await.map_err(|error| refusal(&daemon, &place, error))?;
    Ok(Done {})
}

/// The card that is meant, and the PIN of this connection's login to it. One that is typed on the reader is none: it
/// is presented several times.
fn card_in(
    daemon: &Daemon,
    call: &Call,
    reader: String,
    insertion: Option<u64>,
) -> Result<CardInReader, RpcError> {
    let contents = daemon.readers.card(&reader)?;
    let place = place_of(&contents);
    if insertion.is_some_and(|meant| meant != place.insertion) {
        return Err(CardError::Swapped.into());
    }
    let pin = match call.caller.logins.pin(&place).map_err(CardError::Memory)? {
        Some(PinSource::Given(pin)) => Some(pin),
        Some(PinSource::Pad) | None => None,
    };
    Ok(CardInReader { serial: contents.card.serial.clone(), place, pin })
}

/// The PIN does not come with the request, so that its lack is no fault of the parameters. One that the card refuses was
/// changed behind the logins, which end: the next attempt must not cost a try as well.
fn refusal(daemon: &Daemon, place: &CardPlace, error: ProcedureError) -> RpcError {
    if matches!(error, ProcedureError::Card(CardError::PinIncorrect { .. } | CardError::PinBlocked)) {
        daemon.logins.forget_card(place);
    }
    if matches!(error, ProcedureError::WrongAnswer { wants: Wants::Pin }) {
        return RpcError::new(ErrorKind::NotLoggedIn, "this connection is not logged in to the card")
            .hint("Let the holder type the card's PIN and log in with it first (`pin.verify`)")
            .paragraph(PARAGRAPH);
    }
    error.into()
}
