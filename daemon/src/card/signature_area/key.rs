//! Steps 10 to 14: the key, and the signature on the request.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::{self, Slot};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::{BigUint, RsaPublicKey};

use super::super::pin::{self, LastTry};
use super::super::sign::{Input, operate};
use super::super::{CardError, CardSession};
use super::create::delete_key_place;
use super::state::{Stage, inspect_slot, read_public_key};
use super::{KEY_SIZE, Steps, current, place, report, weak_key};

/// How often it is said that the chip still generates.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// DigestInfo before the digest (RFC 8017 §9.2 note 1): SHA-256, SHA-384, SHA-512.
const DIGEST_INFO: [(usize, &[u8]); 3] = [
    (32, &[0x30, 0x31, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20]),
    (48, &[0x30, 0x41, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 0x30]),
    (64, &[0x30, 0x51, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40]),
];

/// Has the chip generate the key (steps 10 to 13), reads its public half and judges it. Always a fresh key: before the
/// area is locked, what stands there may have been put there by whoever knows the CNS PIN. Takes up to a minute, in
/// which `progress` is told once a second that the chip is at work.
///
/// A weak key is deleted with its place, so that nobody can use it: [`super::create`] begins anew.
///
/// If the power fails, there is no key, a key that the next call replaces, or a good key.
///
/// # Errors
/// [`CardError::AreaNotReady`] before [`super::create`], [`CardError::AreaExists`] when there is a certificate,
/// [`CardError::WeakKey`], those of [`pin::verify`] for the signature PIN, or what the reader says.
pub fn generate_key(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    area_pin: &Secret,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RsaPublicKey, CardError> {
    let slot = current(session);
    generate_in(session, slot, cns_pin, area_pin, progress)
}

/// As [`generate_key`], in either slot.
pub(super) fn generate_in(
    session: &mut CardSession<'_>,
    slot: Slot,
    cns_pin: &Secret,
    area_pin: &Secret,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RsaPublicKey, CardError> {
    let place = place(session, slot)?;
    let mut steps = Steps::new(progress, 3);
    steps.next("inspect-area", "looking at the signature area");
    let state = inspect_slot(session, slot)?;
    match state.stage {
        Stage::Absent => return Err(CardError::AreaNotReady("it has not been created")),
        Stage::Certificate => return Err(CardError::AreaExists),
        Stage::Prepared | Stage::Key => {}
    }
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    if slot != current(session) {
        session.chip().select_df(&place.key_df)?;
    }
    steps.next("generate-key-pair", "the chip generates its key; this takes up to a minute");
    wait_for_key(session, progress)?;
    steps.next("read-public-key", "reading and judging the new public key");
    let key = read_public_key(session, slot)?.ok_or_else(unreadable)?;
    match weak_key::judge(&key, KEY_SIZE).and_then(|()| usable(&key)) {
        Err(weak @ CardError::WeakKey(_)) => {
            give_up(session, slot, cns_pin, area_pin);
            Err(weak)
        }
        judged => judged,
    }
}

/// GENERATE KEY PAIR, while somebody else says that it goes on.
fn wait_for_key(
    session: &mut CardSession<'_>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), CardError> {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let begun = Instant::now();
            while waiting.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                let words =
                    format!("the chip has been generating its key for {} s", begun.elapsed().as_secs());
                progress(report("generate-key-pair", words, 1, 3));
            }
        });
        let outcome = session.chip().run_slow(&signature_area::generate_key_pair());
        drop(done);
        outcome
    })
}

/// Deletes a weak key with its place. Where that fails the next [`super::create`] does it, and [`sign_request`] and
/// [`super::load_certificate`] judge the key again.
fn give_up(session: &mut CardSession<'_>, slot: Slot, cns_pin: &Secret, area_pin: &Secret) {
    let deleted = pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)
        .and_then(|()| delete_key_place(session, slot, area_pin));
    match deleted {
        Ok(()) => tracing::warn!("the chip generated a weak key, which was deleted"),
        Err(error) => tracing::error!(%error, "the chip generated a weak key, which is not deleted yet"),
    }
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
    let slot = current(session);
    sign_in(session, slot, area_pin, digest)
}

/// As [`sign_request`], in either slot.
pub(super) fn sign_in(
    session: &mut CardSession<'_>,
    slot: Slot,
    area_pin: &Secret,
    digest: &[u8],
) -> Result<Vec<u8>, CardError> {
    let place = place(session, slot)?;
    let prefix = DIGEST_INFO.iter().find(|(length, _)| *length == digest.len());
    let (_, prefix) = prefix.ok_or(CardError::Mechanism("the digest is not of a SHA-2 function"))?;
    session.chip().enter(place.application)?;
    let key = read_public_key(session, slot)?.ok_or(CardError::AreaNotReady("it has no key"))?;
    weak_key::judge(&key, KEY_SIZE)?;
    let key = usable(&key)?;
    let input = Input::digest_info(&[prefix, digest].concat(), &key)?;
    pin::verify(session, PinName::Signature, area_pin, LastTry::Ask)?;
    if slot != current(session) {
        session.chip().select_df(&place.key_df)?;
    }
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
