//! Which private key of an object store belongs to a certificate, and which PIN it asks for.
//!
//! With one key on the card nothing is asked. With several, the PIN comes from the access conditions of the keys'
//! attributes, and the key from their content, which takes the PIN to read: modulus, else `CKA_ID`. Both are learned
//! once per insertion.

use cns_apdu::access::{Condition, EfOperation};
use cns_apdu::command::PinReference;
use cns_apdu::file_map::{Fid, FilePath};
use cns_apdu::generation::KeyPlace;
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::{CertificateAttributes, DirectoryEntry};
use cns_protocol::card::KeyUse;
use rsa::RsaPublicKey;
use rsa::traits::PublicKeyParts;

use super::contents::read_keys;
use super::{CardError, CardSession};

/// The longest file of attributes that is read.
const LONGEST_ATTRIBUTES: usize = 2048;
/// The shortest `CKA_ID` that is looked for in a key's attributes: a shorter one may stand there by chance.
const SHORTEST_ID: usize = 8;
/// What is added to the identifier of a certificate to name its attributes.
const ATTRIBUTES: u16 = 0x0100;

/// The PIN of the signature key: the signature PIN where its attributes ask for that, else the one that is known of the
/// generation. No other number is believed: the PIN that a person types would go to an object of the card's choice.
pub(super) fn signature_pin(
    session: &mut CardSession<'_>,
    place: &KeyPlace,
) -> Result<PinReference, CardError> {
    let Some(stored) = &session.contents().stored else {
        return Ok(place.pin);
    };
    if let Some(pin) = stored.signature_pin.get() {
        return Ok(*pin);
    }
    let Some(keys) = stored.keys.get() else {
        // Which keys there are is told after a PIN only; then it is looked at again.
        return Ok(place.pin);
    };
    let mut pin = place.pin;
    if keys.len() > 1 {
        // A code is named next: the card is led back as for that.
        session.chip().enter(place.application)?;
        for key in keys {
            let information = session.chip().inspect(&key.attributes_path())?;
            let Some(access) = information.and_then(|information| information.access) else {
                return Ok(place.pin);
            };
            if access.ef(EfOperation::Read) == Condition::Verified(ObjectId::SIGNATURE_PIN) {
                pin = PinReference { id: ObjectId::SIGNATURE_PIN, ..place.pin };
                break;
            }
        }
    }
    Ok(*stored.signature_pin.get_or_init(|| pin))
}

/// The PUK of a PIN: the numbers of both are the specification's, and no other is guessed.
pub(super) fn puk_of(place: &KeyPlace, pin: PinReference) -> Result<PinReference, CardError> {
    match pin.id {
        id if id == place.pin.id => Ok(place.puk),
        ObjectId::CNS_PIN => Ok(PinReference { id: ObjectId::CNS_PUK, ..pin }),
        ObjectId::SIGNATURE_PIN => Ok(PinReference { id: ObjectId::SIGNATURE_PUK, ..pin }),
        _ => Err(CardError::NoSuchObject("PUK")),
    }
}

/// The number of the key of a certificate. The PIN must have been presented.
pub(super) fn key_of(
    session: &mut CardSession<'_>,
    key_use: KeyUse,
    place: &KeyPlace,
    key: &RsaPublicKey,
) -> Result<ObjectId, CardError> {
    let Some(stored) = session.contents().stored.as_ref().filter(|stored| stored.place(key_use).is_some())
    else {
        return Ok(place.key);
    };
    if let Some(number) = stored.link(key_use).get() {
        return Ok(*number);
    }
    if stored.keys.get().is_none()
        && let Some(keys) = read_keys(session.chip())?
    {
        drop(stored.keys.set(keys));
    }
    let keys = stored.keys.get().map_or(&[][..], Vec::as_slice);
    let number = match keys {
        // The card does not tell: then it is the one that is known of its generation.
        [] => place.key,
        [only] => only.key().unwrap_or(place.key),
        several => find(session, several, place, key)?,
    };
    Ok(*stored.link(key_use).get_or_init(|| number))
}

fn find(
    session: &mut CardSession<'_>,
    keys: &[DirectoryEntry],
    place: &KeyPlace,
    key: &RsaPublicKey,
) -> Result<ObjectId, CardError> {
    let bits = u16::try_from(key.n().bits()).unwrap_or_default();
    let modulus = key.n().to_bytes_be();
    let mut others = Vec::new();
    for entry in keys.iter().filter(|entry| entry.size == bits || entry.size == 0) {
        let Some(attributes) = read_attributes(session, &entry.attributes_path())? else {
            continue;
        };
        match entry.key() {
            Some(number) if contains(&attributes, &modulus) => return Ok(number),
            Some(number) => others.push((number, attributes)),
            None => {}
        }
    }
    let id = identifier(session, &place.certificate.path)?;
    let linked =
        |(_, attributes): &&(ObjectId, Vec<u8>)| id.len() >= SHORTEST_ID && contains(attributes, &id);
    others.iter().find(linked).map(|(number, _)| *number).ok_or(CardError::NoSuchObject("key"))
}

/// `CKA_ID` of a certificate; empty when the card does not tell.
fn identifier(session: &mut CardSession<'_>, certificate: &FilePath) -> Result<Vec<u8>, CardError> {
    let (Some(df), Some(file)) = (certificate.parent(), certificate.files().last()) else {
        return Ok(Vec::new());
    };
    let path = df.child(Fid(file.0.wrapping_add(ATTRIBUTES)));
    let content = read_attributes(session, &path)?.unwrap_or_default();
    Ok(CertificateAttributes::decode(&content).map(|attributes| attributes.id).unwrap_or_default())
}

/// A file of attributes as far as its size says; `None` when it is absent, or not open to the PIN that was presented.
fn read_attributes(session: &mut CardSession<'_>, path: &FilePath) -> Result<Option<Vec<u8>>, CardError> {
    let chip = session.chip();
    let read = chip.inspect(path).and_then(|found| {
        let Some(information) = found else { return Ok(None) };
        let size = information.size.and_then(|size| usize::try_from(size).ok());
        let wanted = size.unwrap_or(LONGEST_ATTRIBUTES).min(LONGEST_ATTRIBUTES);
        chip.read_current(wanted, |_| Some(wanted)).map(Some)
    });
    match read {
        Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(None),
        outcome => outcome,
    }
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && content.windows(part.len()).any(|window| window == part)
}
