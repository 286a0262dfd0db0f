//! The object store: certificates and keys that the card itself lists ([`cns_apdu::object_directory`]).
//!
//! The first certificate whose key usage has nonRepudiation is the signature certificate, the first other one the
//! authentication certificate, authorities' apart. Whatever else is listed is told as a finding and not used: the
//! daemon's clients know two keys.

use std::sync::OnceLock;

use cns_apdu::file_map::{
    FilePath, MASTER_FILE, PRIVATE_OBJECT_DIRECTORY, PRIVATE_OBJECTS_DF, PUBLIC_OBJECT_DIRECTORY,
};
use cns_apdu::generation::{FilePlace, KeyPlace};
use cns_apdu::object_directory::{DirectoryEntry, FILE_LENGTH, ObjectDirectory, ObjectKind};
use cns_protocol::card::KeyUse;
use rsa::traits::PublicKeyParts;

use super::super::{CardError, Chip};
use super::recognise::use_of;
use super::{Held, Parsed, StoredKeys, certificate, finding};

/// The most certificates that are read of one card. Real ones have one or two.
const MOST_CERTIFICATES: usize = 6;
/// The most private keys that are considered of one card.
const MOST_KEYS: usize = 6;

/// Reads the store; `None` when the card has none. Its keys are as `pattern`, but for their numbers.
pub(super) fn read(chip: &mut Chip<'_>, pattern: &KeyPlace) -> Result<Option<Held>, CardError> {
    let Some(directory) = read_directory(chip, &PUBLIC_OBJECT_DIRECTORY)? else {
        return Ok(None);
    };
    let mut held = Held::default();
    let mut places = [None, None];
    let listed = entries(&directory, ObjectKind::Certificate);
    for (index, entry) in listed.iter().enumerate() {
        let place = FilePlace::default_application(entry.path());
        if index >= MOST_CERTIFICATES {
            held.findings.push(finding::certificate(finding::name(&place), "listed and not read"));
            continue;
        }
        let (found, other) = certificate::read(chip, &place)?;
        let missing = found.is_none() && other.is_none();
        held.findings.extend(other.or_else(|| missing.then(|| finding::absent(finding::name(&place)))));
        let Some(found) = found else { continue };
        let why = if found.is_authority() {
            "of an authority, not used"
        } else {
            let (slot, key_place) = match use_of(&found) {
                KeyUse::Authentication => (&mut held.authentication, &mut places[0]),
                KeyUse::Signature => (&mut held.signature, &mut places[1]),
            };
            if slot.is_none() {
                *key_place = Some(place_of(pattern, *entry, &found));
                *slot = Some(found);
                continue;
            }
            "not used: there is another for the same use"
        };
        held.findings.push(finding::certificate(finding::name(&place), why));
    }
    if held.authentication.is_some() || held.signature.is_some() {
        let [authentication, signature] = places;
        let keys = OnceLock::new();
        if let Some(listed) = read_keys(chip)? {
            drop(keys.set(listed));
        }
        held.stored = Some(StoredKeys {
            authentication,
            signature,
            keys,
            authentication_link: OnceLock::new(),
            signature_link: OnceLock::new(),
            signature_pin: OnceLock::new(),
        });
    }
    Ok(Some(held))
}

/// The private keys that the card lists; `None` when their directory cannot be read now, which on some cards takes
/// the PIN.
pub(in crate::card) fn read_keys(chip: &mut Chip<'_>) -> Result<Option<Vec<DirectoryEntry>>, CardError> {
    let Some(directory) = read_directory(chip, &PRIVATE_OBJECT_DIRECTORY)? else {
        return Ok(None);
    };
    let mut keys = entries(&directory, ObjectKind::PrivateKey);
    keys.retain(|entry| entry.key().is_some());
    keys.truncate(MOST_KEYS);
    Ok(Some(keys))
}

fn read_directory(chip: &mut Chip<'_>, path: &FilePath) -> Result<Option<ObjectDirectory>, CardError> {
    match chip.read_file(path, |_| Some(FILE_LENGTH)) {
        Ok(content) => Ok(content.map(|content| ObjectDirectory::decode(&content))),
        Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The objects of one kind, each once.
fn entries(directory: &ObjectDirectory, kind: ObjectKind) -> Vec<DirectoryEntry> {
    let mut entries: Vec<DirectoryEntry> = Vec::new();
    for entry in directory.of_kind(kind) {
        if !entries.iter().any(|known| known.file == entry.file) {
            entries.push(entry);
        }
    }
    entries
}

fn place_of(pattern: &KeyPlace, entry: DirectoryEntry, found: &Parsed) -> KeyPlace {
    KeyPlace {
        certificate: FilePlace::default_application(entry.path()),
        key_df: PRIVATE_OBJECTS_DF,
        pin_df: MASTER_FILE,
        modulus_bits: u16::try_from(found.key.n().bits()).unwrap_or(pattern.modulus_bits),
        ..pattern.clone()
    }
}
