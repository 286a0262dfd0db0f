//! Signatures and other uses of the card's private keys.

use aws_lc_rs::rand;
use cns_apdu::command::{ManageSecurityEnvironment, PerformSecurityOperation, RestoreWithoutLength};
use cns_apdu::generation::{KeyPlace, Signing};
use cns_apdu::object::ObjectId;
use cns_apdu::{Status, StatusWord};
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_secret::Secret;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};

use super::pin::{self, LastTry};
use super::{CardError, CardSession, padding, stored_keys};

/// Presents the PIN and signs in the same transaction: VERIFY, MANAGE SECURITY ENVIRONMENT twice and PERFORM SECURITY
/// OPERATION, for a key in a DF of its own a SELECT FILE before. The result is checked with the certificate's public key before
/// it is given out: a chip that fails in its computation would give away the key (Boneh, DeMillo, Lipton 1997).
///
/// # Errors
/// [`CardError::Mechanism`] before the chip is touched, then those of [`pin::verify`], then the chip's own.
pub fn sign(
    session: &mut CardSession<'_>,
    key_use: KeyUse,
    pin: &Secret,
    last_try: LastTry,
    mechanism: &Mechanism,
    data: &[u8],
) -> Result<Vec<u8>, CardError> {
    let login = session.take_login();
    if key_use == KeyUse::Authentication
        && let Some(login) = login.filter(|login| login.pin.ct_eq(pin))
    {
        match sign_again(session, login.key, mechanism, data) {
            // The chip wants the PIN again, or the environment. Nothing was spent on what it refused.
            Err(CardError::Refused { .. }) => {}
            signed => {
                if signed.is_ok() {
                    keep_open(session, pin);
                }
                return signed;
            }
        }
    }
    let present = |session: &mut CardSession<'_>, which| pin::verify(session, which, pin, last_try);
    let signed = sign_by(session, key_use, present, mechanism, data);
    if signed.is_ok() && key_use == KeyUse::Authentication {
        keep_open(session, pin);
    }
    signed
}

/// Leaves the login key open, and the environment set to it, for the next use of a login with this PIN.
fn keep_open(session: &mut CardSession<'_>, pin: &Secret) {
    let key_use = KeyUse::Authentication;
    let number = match (session.place(key_use), session.contents().public_key(key_use)) {
        // Asked of the card at the first use only.
        (Ok(place), Some(key)) => stored_keys::key_of(session, key_use, place, key).ok(),
        _ => None,
    };
    session.keep_login(pin, number);
}

/// Signs with the login key that the job before has left open in this transaction: PERFORM SECURITY OPERATION alone
/// where the environment is set to the key.
fn sign_again(
    session: &mut CardSession<'_>,
    set_to: Option<ObjectId>,
    mechanism: &Mechanism,
    data: &[u8],
) -> Result<Vec<u8>, CardError> {
    let key_use = KeyUse::Authentication;
    let place = session.place(key_use)?;
    if set_to.is_none() || place.key_df != place.pin_df {
        return sign_by(session, key_use, |_, _| Ok(()), mechanism, data);
    }
    let key = session.contents().public_key(key_use).ok_or(CardError::NoSuchObject("certificate"))?;
    let input = Input::new(key_use, place.signing, key, mechanism, data)?;
    let result = session.chip().run_long(&input.command)?;
    if applies(key, &result, &input.block) { Ok(result) } else { Err(CardError::WrongSignature) }
}

/// As [`sign`], with a PIN that is typed on the reader. Where the reader says that it was right and the key is closed all
/// the same, the reader lied.
///
/// # Errors
/// As [`sign`], and those of a reader's keypad: [`CardError::NoPinPad`], [`CardError::PinEntryTimedOut`],
/// [`CardError::PinEntryCancelled`], [`CardError::PinPadFailed`].
pub fn sign_at_pad(
    session: &mut CardSession<'_>,
    key_use: KeyUse,
    last_try: LastTry,
    mechanism: &Mechanism,
    data: &[u8],
) -> Result<Vec<u8>, CardError> {
    pin::use_at_pad(session, last_try, |session, present| sign_by(session, key_use, present, mechanism, data))
}

/// Presents a PIN that is typed on the reader, without a use of the key. The first time since the reader was plugged in,
/// the authentication key then makes one signature that nobody gets, over words that are no DigestInfo: only the card
/// can say that it has seen the PIN.
///
/// # Errors
/// As [`sign_at_pad`].
pub fn verify_at_pad(
    session: &mut CardSession<'_>,
    which: PinName,
    last_try: LastTry,
) -> Result<(), CardError> {
    let key_use = KeyUse::Authentication;
    let has_key = session.contents().public_key(key_use).is_some();
    if which != PinName::Cns || !has_key || session.is_pin_pad_proved() {
        return pin::verify_at_pad(session, which, last_try);
    }
    sign_at_pad(session, key_use, last_try, &Mechanism::RsaPkcs1, PROOF).map(drop)
}

/// Changes a PIN; the old and the new one are typed on the reader. While no card is known to have got a PIN from it, the
/// CNS PIN is asked for once more, as by [`verify_at_pad`]: a reader that only says so would leave its holder with a PIN
/// that the card does not know.
///
/// # Errors
/// As [`pin::change`] and [`verify_at_pad`]; [`CardError::PinEntriesDiffer`], and [`CardError::PinPadUnproved`] where the
/// reader cannot be seen to tell the truth.
pub fn change_at_pad(
    session: &mut CardSession<'_>,
    which: PinName,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    if which == PinName::Cns && !session.is_pin_pad_proved() {
        verify_at_pad(session, which, last_try)?;
    }
    pin::change_at_pad(session, which, last_try)
}

/// What is signed to see that a reader's keypad gave the PIN to the card.
const PROOF: &[u8] = b"cnsd: has the card seen the PIN?";

/// The PIN that a key wants.
const fn pin_of(key_use: KeyUse) -> PinName {
    match key_use {
        KeyUse::Authentication => PinName::Cns,
        KeyUse::Signature => PinName::Signature,
    }
}

fn sign_by(
    session: &mut CardSession<'_>,
    key_use: KeyUse,
    present: impl FnOnce(&mut CardSession<'_>, PinName) -> Result<(), CardError>,
    mechanism: &Mechanism,
    data: &[u8],
) -> Result<Vec<u8>, CardError> {
    let place = session.place(key_use)?;
    let key = session.contents().public_key(key_use).ok_or(CardError::NoSuchObject("certificate"))?;
    let input = Input::new(key_use, place.signing, key, mechanism, data)?;
    present(session, pin_of(key_use))?;
    let number = stored_keys::key_of(session, key_use, place, key)?;
    if place.key_df != place.pin_df {
        session.chip().select_df(&place.key_df)?;
    }
    operate(session, place, number, key, input)
}

/// What a key works on.
pub(super) struct Input {
    command: PerformSecurityOperation,
    /// The whole block that the private operation is applied to.
    block: Vec<u8>,
}

impl Input {
    fn new(
        key_use: KeyUse,
        signing: Signing,
        key: &RsaPublicKey,
        mechanism: &Mechanism,
        data: &[u8],
    ) -> Result<Self, CardError> {
        let block = match (mechanism, signing) {
            (Mechanism::RsaPkcs1, _) => padding::pkcs1(data, key.size())
                .ok_or(CardError::Mechanism("the data is longer than the key allows"))?,
            (Mechanism::RsaPss { .. } | Mechanism::RsaRaw, Signing::DigestInfo) => {
                return Err(CardError::Mechanism("this key makes PKCS#1 v1.5 signatures only"));
            }
            (Mechanism::RsaPss { hash, mgf_hash, salt_length }, Signing::RawDecipher) => {
                let mut salt = vec![0; usize::from(*salt_length).min(key.size())];
                rand::fill(&mut salt).map_err(|_| CardError::Mechanism("no random salt can be had"))?;
                padding::pss(data, *hash, *mgf_hash, &salt, key.n().bits()).ok_or(CardError::Mechanism(
                    "the digest is not the hash's, or the salt is longer than the key allows",
                ))?
            }
            (Mechanism::RsaRaw, Signing::RawDecipher) => {
                if key_use == KeyUse::Signature {
                    return Err(CardError::Mechanism("the signature key makes signatures only"));
                }
                raw_block(key, data)?
            }
        };
        let command = match signing {
            Signing::RawDecipher => PerformSecurityOperation::Decipher { block: Secret::copy_from(&block)? },
            Signing::DigestInfo => PerformSecurityOperation::ComputeDigitalSignature { input: data.to_vec() },
        };
        Ok(Self { command, block })
    }

    /// A DigestInfo for a key whose chip pads.
    pub(super) fn digest_info(digest_info: &[u8], key: &RsaPublicKey) -> Result<Self, CardError> {
        let signing = Signing::DigestInfo;
        Self::new(KeyUse::Signature, signing, key, &Mechanism::RsaPkcs1, digest_info)
    }
}

/// The block of a bare operation: as long as the modulus and smaller.
fn raw_block(key: &RsaPublicKey, data: &[u8]) -> Result<Vec<u8>, CardError> {
    if data.len() == key.size() && BigUint::from_bytes_be(data) < *key.n() {
        Ok(data.to_vec())
    } else {
        Err(CardError::Mechanism("the data must be as long as the modulus, and smaller"))
    }
}

/// A signature, the PIN being verified and the key's DF current.
pub(super) fn operate(
    session: &mut CardSession<'_>,
    place: &KeyPlace,
    number: ObjectId,
    key: &RsaPublicKey,
    input: Input,
) -> Result<Vec<u8>, CardError> {
    let result = perform(session, place, number, &input.command)?;
    if applies(key, &result, &input.block) { Ok(result) } else { Err(CardError::WrongSignature) }
}

/// The private operation, the PIN being verified and the key's DF current: a chip that looks for the key only when it
/// is used finds it from there (`real-cards` §4, 15).
pub(super) fn perform(
    session: &mut CardSession<'_>,
    place: &KeyPlace,
    number: ObjectId,
    command: &PerformSecurityOperation,
) -> Result<Vec<u8>, CardError> {
    let se = session.contents().generation.security_environment;
    match session.run(&ManageSecurityEnvironment::Restore { se }) {
        Err(CardError::Refused { status: StatusWord::WRONG_LENGTH, .. }) => {
            session.run(&RestoreWithoutLength { se })?;
        }
        outcome => outcome?,
    }
    let set = ManageSecurityEnvironment::Set { template: place.template, key: number };
    session.run(&set).map_err(|error| match error.status().map(StatusWord::meaning) {
        Some(Status::ObjectNotFound) => CardError::NoSuchObject("key"),
        _ => error,
    })?;
    session.chip().run_long(command)
}

/// Whether the public operation on the result gives the block (RFC 8017 §5.2.2).
fn applies(key: &RsaPublicKey, result: &[u8], block: &[u8]) -> bool {
    let signature = BigUint::from_bytes_be(result);
    result.len() == key.size()
        && signature < *key.n()
        && signature.modpow(key.e(), key.n()) == BigUint::from_bytes_be(block)
}
