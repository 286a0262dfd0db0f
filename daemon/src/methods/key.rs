//! `key.*`: the use of private keys on the card.

use std::sync::Arc;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Decrypt, Plaintext, Random, RandomBytes, Sign, Signature};
use cns_protocol::{ErrorKind, RpcError, SecretBytes, SecretText};

use super::{Act, Daemon, last_try, place_of, recorded};
use crate::card::{
    CardError, CardSession, LastTry, PinSource, decrypt as chip_decrypt, random as chip_random,
    sign as chip_sign,
};
use crate::dispatch::Call;
use crate::login::CardPlace;

/// The most random bytes at a time.
const MOST_RANDOM: u16 = 1024;

/// The longest data to be signed: the modulus of the largest key (RSA-4096), for the bare operation.
const LONGEST_DATA: usize = 512;

/// `key.sign`.
///
/// # Errors
/// When the connection is not logged in, the PIN is missing, the mechanism does not fit, or the card refuses.
pub async fn sign(daemon: Arc<Daemon>, call: Call, request: Sign) -> Result<Signature, RpcError> {
    if request.data.len() > LONGEST_DATA {
        return Err(RpcError::new(ErrorKind::MechanismInvalid, "the data to sign is longer than any key"));
    }
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let insertion = request.insertion.unwrap_or(place.insertion);
    let key_use = request.key_use;
    let is_kept = request.pin.is_none();
    let pin = pin_for(&daemon, &call, key_use, &CardPlace { insertion, ..place.clone() }, request.pin)?;
    let from_login = is_kept && !pin.is_pad();
    let last_try = for_login(last_try(request.confirm_last_try), from_login);
    let (mechanism, data) = (request.mechanism, request.data);
    let reader = &request.reader;
    let work = async {
        match pin {
            PinSource::Given(pin) => {
                let job = move |session: &mut CardSession<'_>| {
                    chip_sign::sign(session, key_use, &pin, last_try, &mechanism, &data)
                };
                match key_use {
                    KeyUse::Authentication => {
                        daemon.readers.run_with_login(reader, Some(insertion), job).await
                    }
                    KeyUse::Signature => daemon.readers.run(reader, Some(insertion), job).await,
                }
            }
            PinSource::Pad => {
                let job = move |session: &mut CardSession<'_>| {
                    chip_sign::sign_at_pad(session, key_use, last_try, &mechanism, &data)
                };
                daemon.readers.run_at_pin_pad(reader, Some(insertion), job).await
            }
        }
    };
    let signature = match key_use {
        // Logins happen by the dozen, and have no legal meaning as signatures: they are not recorded.
        KeyUse::Authentication => {
            work.await.inspect_err(|error| forget_refused_login(&daemon, &place, from_login, error))?
        }
        KeyUse::Signature => {
            let act =
                Act { name: "signature", card: Some(&contents.card.serial), paragraph: Some("§1.3.7") };
            recorded(&daemon, &call, act, work, |_| "made".to_owned()).await?
        }
    };
    Ok(Signature { signature })
}

/// `key.decrypt`. Not recorded, as a login is not: it signs nothing.
///
/// # Errors
/// When the connection is not logged in, the key or the mechanism does not fit, or the card refuses.
pub async fn decrypt(daemon: Arc<Daemon>, call: Call, request: Decrypt) -> Result<Plaintext, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let insertion = request.insertion.unwrap_or(place.insertion);
    let is_kept = request.pin.is_none();
    let here = CardPlace { insertion, ..place.clone() };
    let pin = pin_for(&daemon, &call, KeyUse::Authentication, &here, request.pin)?;
    let from_login = is_kept && !pin.is_pad();
    let last_try = for_login(last_try(request.confirm_last_try), from_login);
    let (mechanism, data) = (request.mechanism, request.data);
    let reader = &request.reader;
    let work = async {
        match pin {
            PinSource::Given(pin) => {
                let job = move |session: &mut CardSession<'_>| {
                    chip_decrypt::decrypt(session, &pin, last_try, &mechanism, &data)
                };
                daemon.readers.run(reader, Some(insertion), job).await
            }
            PinSource::Pad => {
                let job = move |session: &mut CardSession<'_>| {
                    chip_decrypt::decrypt_at_pad(session, last_try, &mechanism, &data)
                };
                daemon.readers.run_at_pin_pad(reader, Some(insertion), job).await
            }
        }
    };
    let plaintext =
        work.await.inspect_err(|error| forget_refused_login(&daemon, &place, from_login, error))?;
    let plaintext =
        SecretBytes::new(plaintext).map_err(|error| RpcError::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Plaintext { plaintext })
}

/// What may be spent on a PIN, which the card has accepted before if it is a login's.
const fn for_login(last_try: LastTry, from_login: bool) -> LastTry {
    match last_try {
        LastTry::Ask if from_login => LastTry::Accepted,
        LastTry::Ask | LastTry::Accepted | LastTry::Confirmed => last_try,
    }
}

/// Ends a login whose PIN was changed behind it: presented again and again, it would block the card.
fn forget_refused_login(daemon: &Daemon, place: &CardPlace, from_login: bool, error: &CardError) {
    if from_login && matches!(error, CardError::PinIncorrect { .. } | CardError::PinBlocked) {
        daemon.logins.forget_card(place);
    }
}

/// The PIN for one use of a key: the authentication key takes it from the connection's login, the signature key from
/// the request alone (§1.3.7), or from the reader.
fn pin_for(
    daemon: &Daemon,
    call: &Call,
    key_use: KeyUse,
    place: &CardPlace,
    given: Option<SecretText>,
) -> Result<PinSource, RpcError> {
    match (key_use, given) {
        (_, Some(pin)) => Ok(PinSource::Given(pin.into_secret())),
        (KeyUse::Authentication, None) => {
            call.caller.logins.pin(place).map_err(CardError::Memory)?.ok_or_else(|| {
                RpcError::new(ErrorKind::NotLoggedIn, "this connection is not logged in to the card")
                    .hint("Log in first (`pin.verify`)")
            })
        }
        (KeyUse::Signature, None) if daemon.readers.has_pin_pad(&place.reader) => Ok(PinSource::Pad),
        (KeyUse::Signature, None) => {
            Err(RpcError::new(ErrorKind::NotLoggedIn, "the signature key wants its PIN for each signature")
                .hint("Give `pin` with the request")
                .paragraph("§1.3.7"))
        }
    }
}

/// `key.random`.
///
/// # Errors
/// When the length is not 1 to 1,024, or the card refuses.
pub async fn random(daemon: Arc<Daemon>, _: Call, request: Random) -> Result<RandomBytes, RpcError> {
    let length = request.length;
    if length == 0 || length > MOST_RANDOM {
        let sentence = format!("`length` is 1 to {MOST_RANDOM}");
        return Err(RpcError::new(ErrorKind::InvalidParams, sentence));
    }
    let work = daemon.readers.run(&request.reader, None, move |session| chip_random::random(session, length));
    Ok(RandomBytes { bytes: work.await? })
}
