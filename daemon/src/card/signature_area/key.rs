//! Steps 10 to 14: the key, and the signature on the request.

use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area;
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::{BigUint, RsaPublicKey};

use super::super::pin::{self, LastTry};
use super::super::sign::{Input, operate};
use super::super::{CardError, CardSession};
use super::state::{Stage, inspect, read_public_key};
use super::{Steps, key_size, place, weak_key};

/// DigestInfo before the digest (RFC 8017 §9.2 note 1): SHA-256, SHA-384, SHA-512.
const DIGEST_INFO: [(usize, &[u8]); 3] = [
    (32, &[0x30, 0x31, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20]),
    (48, &[0x30, 0x41, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 0x30]),
    (64, &[0x30, 0x51, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40]),
];

/// Has the chip generate the key (steps 10 to 13), reads its public half and judges it. Always a fresh key: before the
/// area is locked, what stands there may have been put there by whoever knows the CNS PIN. Takes up to a minute.
///
/// If the power fails, there is no key, a key that the next call replaces, or a good key.
///
/// # Errors
/// [`CardError::AreaNotReady`] before [`super::create`], [`CardError::AreaExists`] when there is a certificate,
/// [`CardError::WeakKey`], those of [`pin::verify`] for the signature PIN, or what the reader says.
pub fn generate_key(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    progress: &dyn Fn(Progress),
) -> Result<RsaPublicKey, CardError> {
    let size = key_size(place(session)?)?;
    let mut steps = Steps::new(progress, 3);
    steps.next("inspect-area", "looking at the signature area");
    let state = inspect(session)?;
    match state.stage {
        Stage::Absent => return Err(CardError::AreaNotReady("it has not been created")),
        Stage::Certificate => return Err(CardError::AreaExists),
        Stage::Prepared | Stage::Key => {}
    }
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    steps.next("generate-key-pair", "the chip generates its key; this takes up to a minute");
    session.chip().run_slow(&signature_area::generate_key_pair())?;
    steps.next("read-public-key", "reading and judging the new public key");
    let key = read_public_key(session, size)?.ok_or_else(unreadable)?;
    weak_key::judge(&key, size)?;
    usable(&key)
}

/// Signs a SHA-256, SHA-384 or SHA-512 digest with the area's key (step 14), for the certificate request and its proof
/// of possession; checks the signature with the public key on the chip.
///
/// # Errors
/// [`CardError::AreaNotReady`] before [`generate_key`], [`CardError::Mechanism`] for a digest of another length, those
/// of [`pin::verify`] for the signature PIN, or what the reader says.
pub fn sign_request(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    digest: &[u8],
) -> Result<Vec<u8>, CardError> {
    let place = place(session)?;
    let size = key_size(place)?;
    let prefix = DIGEST_INFO.iter().find(|(length, _)| *length == digest.len());
    let (_, prefix) = prefix.ok_or(CardError::Mechanism("the digest is not of a SHA-2 function"))?;
    session.chip().enter(place.application)?;
    let key = read_public_key(session, size)?.ok_or(CardError::AreaNotReady("it has no key"))?;
    weak_key::judge(&key, size)?;
    let key = usable(&key)?;
    let input = Input::digest_info(&[prefix, digest].concat(), &key)?;
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    operate(session, place, place.key, &key, input)
}

fn usable(key: &PublicKey) -> Result<RsaPublicKey, CardError> {
    let number = BigUint::from_bytes_be;
    RsaPublicKey::new(number(key.modulus()), number(key.exponent()))
        .map_err(|_| CardError::WeakKey("it is no RSA key"))
}

fn unreadable() -> CardError {
    CardError::Answer { command: "GENERATE KEY PAIR", reason: "the public key cannot be read".to_owned() }
}
