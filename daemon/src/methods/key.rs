//! `key.*`: the use of private keys on the card.

use std::sync::Arc;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Decrypt, Decryption, Mechanism, Plaintext, Random, RandomBytes, Sign, Signature};
use cns_protocol::{ErrorKind, RpcError, SecretBytes, SecretText};
use cns_secret::Secret;

use super::{Act, Daemon, last_try, place_of, recorded};
use crate::card::{
    CardError, CardSession, KeyUsageRule, LastTry, PinSource, decrypt as chip_decrypt, random as chip_random,
    sign as chip_sign,
};
use crate::dispatch::Call;
use crate::login::{CardPlace, LoginRegistry, Logins};

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
    let place = CardPlace { insertion: request.insertion.unwrap_or(place.insertion), ..place };
    let key_use = request.key_use;
    let source = source(&daemon, &call, key_use, &place, request.pin)?;
    let last_try = source.may_spend(last_try(request.confirm_last_try));
    let (mechanism, data) = (request.mechanism, request.data);
    let (reader, meant) = (&request.reader, Some(place.insertion));
    let work = async {
        match source {
            Source::Pin(pin) => {
                let job = move |session: &mut CardSession<'_>| {
                    pin.present(|pin| chip_sign::sign(session, key_use, pin, last_try, &mechanism, &data))
                };
                match key_use {
                    KeyUse::Authentication => daemon.readers.run_with_login(reader, meant, job).await,
                    KeyUse::Signature => daemon.readers.run(reader, meant, job).await,
                }
            }
            Source::Pad => {
                let job = move |session: &mut CardSession<'_>| {
                    chip_sign::sign_at_pad(session, key_use, last_try, &mechanism, &data).map(Some)
                };
                daemon.readers.run_at_pin_pad(reader, meant, job).await
            }
        }
    };
    let signature = match key_use {
        // Logins happen by the dozen, and have no legal meaning as signatures: they are not recorded.
        KeyUse::Authentication => work.await?,
        KeyUse::Signature => {
            let act =
                Act { name: "signature", card: Some(&contents.card.serial), paragraph: Some("§1.3.7") };
            recorded(&daemon, &call, act, work, |_| "made".to_owned()).await?
        }
    };
    Ok(Signature { signature: signature.ok_or_else(not_logged_in)? })
}

/// Has the authentication key sign for the daemon itself, with the connection's login.
pub(super) async fn sign_with_login(
    daemon: &Daemon,
    call: &Call,
    place: &CardPlace,
    mechanism: Mechanism,
    data: Vec<u8>,
) -> Result<Vec<u8>, RpcError> {
    let key_use = KeyUse::Authentication;
    let source = source(daemon, call, key_use, place, None)?;
    let last_try = source.may_spend(LastTry::Ask);
    let (reader, meant) = (&place.reader, Some(place.insertion));
    let signature = match source {
        Source::Pin(pin) => {
            let job = move |session: &mut CardSession<'_>| {
                pin.present(|pin| chip_sign::sign(session, key_use, pin, last_try, &mechanism, &data))
            };
            daemon.readers.run_with_login(reader, meant, job).await?
        }
        Source::Pad => {
            let job = move |session: &mut CardSession<'_>| {
                chip_sign::sign_at_pad(session, key_use, last_try, &mechanism, &data).map(Some)
            };
            daemon.readers.run_at_pin_pad(reader, meant, job).await?
        }
    };
    signature.ok_or_else(not_logged_in)
}

/// `key.decrypt`. Not recorded, as a login is not: it signs nothing.
///
/// # Errors
/// When the connection is not logged in, the key or the mechanism does not fit, or the card refuses.
pub async fn decrypt(daemon: Arc<Daemon>, call: Call, request: Decrypt) -> Result<Plaintext, RpcError> {
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let place = CardPlace { insertion: request.insertion.unwrap_or(place.insertion), ..place };
    let asked = Asked {
        pin: request.pin,
        confirm_last_try: request.confirm_last_try,
        mechanism: request.mechanism,
        data: request.data,
        usage: KeyUsageRule::Encryption,
    };
    let plaintext = decrypt_with_card(&daemon, &call, &place, asked).await?;
    let plaintext =
        SecretBytes::new(plaintext).map_err(|error| RpcError::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Plaintext { plaintext })
}

/// What the card is asked to decrypt.
pub(super) struct Asked {
    pub(super) pin: Option<SecretText>,
    pub(super) confirm_last_try: bool,
    pub(super) mechanism: Decryption,
    pub(super) data: Vec<u8>,
    pub(super) usage: KeyUsageRule,
}

/// Has the authentication key decrypt.
pub(super) async fn decrypt_with_card(
    daemon: &Daemon,
    call: &Call,
    place: &CardPlace,
    asked: Asked,
) -> Result<Secret, RpcError> {
    let Asked { pin, confirm_last_try, mechanism, data, usage } = asked;
    let source = source(daemon, call, KeyUse::Authentication, place, pin)?;
    let last_try = source.may_spend(last_try(confirm_last_try));
    let (reader, meant) = (&place.reader, Some(place.insertion));
    let plaintext = match source {
        Source::Pin(pin) => {
            let job = move |session: &mut CardSession<'_>| {
                pin.present(|pin| {
                    chip_decrypt::decrypt_under(session, usage, pin, last_try, &mechanism, &data)
                })
            };
            daemon.readers.run(reader, meant, job).await?
        }
        Source::Pad => {
            let job = move |session: &mut CardSession<'_>| {
                chip_decrypt::decrypt_at_pad_under(session, usage, last_try, &mechanism, &data).map(Some)
            };
            daemon.readers.run_at_pin_pad(reader, meant, job).await?
        }
    };
    plaintext.ok_or_else(not_logged_in)
}

/// Where the PIN for one use of a key comes from.
enum Source {
    /// The daemon has it.
    Pin(Presented),
    /// A person types it on the reader.
    Pad,
}

/// The PIN of a job, looked at when the job's turn comes.
enum Presented {
    /// It came with the request.
    Request(Secret),
    /// The connection's login has it, which may have ended, or have another PIN, since the job was queued: of several
    /// jobs that wait, a PIN that was changed meanwhile must not be presented by each.
    Login { all: Arc<LoginRegistry>, logins: Arc<Logins>, place: CardPlace },
}

impl Source {
    /// What may be spent on the PIN, which the card has accepted before if it is a login's.
    const fn may_spend(&self, last_try: LastTry) -> LastTry {
        match (self, last_try) {
            (Self::Pin(Presented::Login { .. }), LastTry::Ask) => LastTry::Accepted,
            (_, LastTry::Ask | LastTry::Accepted | LastTry::Confirmed) => last_try,
        }
    }
}

impl Presented {
    /// Does what needs the PIN, on the card's own thread; `None` when the login is gone. A login whose PIN the card
    /// refuses ends before the next job begins, on all connections: it was changed behind them.
    fn present<T>(&self, work: impl FnOnce(&Secret) -> Result<T, CardError>) -> Result<Option<T>, CardError> {
        match self {
            Self::Request(pin) => work(pin).map(Some),
            Self::Login { all, logins, place } => {
                let Some(PinSource::Given(pin)) = logins.pin(place)? else { return Ok(None) };
                let outcome = work(&pin);
                if matches!(outcome, Err(CardError::PinIncorrect { .. } | CardError::PinBlocked)) {
                    all.forget_card(place);
                }
                outcome.map(Some)
            }
        }
    }
}

/// Where the PIN for one use of a key is: the authentication key takes it from the connection's login, the signature key
/// from the request alone (§1.3.7), or from the reader.
fn source(
    daemon: &Daemon,
    call: &Call,
    key_use: KeyUse,
    place: &CardPlace,
    given: Option<SecretText>,
) -> Result<Source, RpcError> {
    match (key_use, given) {
        (_, Some(pin)) => Ok(Source::Pin(Presented::Request(pin.into_secret()))),
        (KeyUse::Authentication, None) => {
            let logins = &call.caller.logins;
            Ok(match logins.pin(place).map_err(CardError::Memory)?.ok_or_else(not_logged_in)? {
                PinSource::Pad => Source::Pad,
                PinSource::Given(_) => Source::Pin(Presented::Login {
                    all: Arc::clone(&daemon.logins),
                    logins: Arc::clone(logins),
                    place: place.clone(),
                }),
            })
        }
        (KeyUse::Signature, None) if daemon.readers.has_pin_pad(&place.reader) => Ok(Source::Pad),
        (KeyUse::Signature, None) => {
            Err(RpcError::new(ErrorKind::NotLoggedIn, "the signature key wants its PIN for each signature")
                .hint("Give `pin` with the request")
                .paragraph("§1.3.7"))
        }
    }
}

fn not_logged_in() -> RpcError {
    RpcError::new(ErrorKind::NotLoggedIn, "this connection is not logged in to the card")
        .hint("Log in first (`pin.verify`)")
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
