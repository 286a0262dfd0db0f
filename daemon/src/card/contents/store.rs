//! The object store: certificates and keys that the card itself lists ([`cns_apdu::object_directory`]).
//!
//! A certificate whose key usage has nonRepudiation is a signature certificate, any other one a login's. The daemon's
//! clients know one of each: of several the best is chosen, whatever else is listed is told as a finding and not used.
//! Certificates of authorities are told apart: no key of the card is theirs.

use std::cmp::Reverse;
use std::sync::OnceLock;

use cns_apdu::file_map::{
    FilePath, MASTER_FILE, PRIVATE_OBJECT_DIRECTORY, PRIVATE_OBJECTS_DF, PUBLIC_OBJECT_DIRECTORY,
};
use cns_apdu::generation::{FilePlace, KeyPlace};
use cns_apdu::object_directory::{
    DirectoryEntry, FILE_LENGTH, KeyAttributes, KeyHalf, ObjectDirectory, ObjectKind,
};
use cns_protocol::card::{Finding, KeyUse};
use rsa::traits::PublicKeyParts;

use super::super::{CardError, Chip};
use super::certificate::Found;
use super::recognise::use_of;
use super::{Authorities, Held, Parsed, StoredKeys, certificate, finding};
use crate::reader::Budget;

/// The most certificates that are read of one card. Real ones have one or two, and some those of their authorities.
const MOST_CERTIFICATES: usize = 8;
/// The most private keys that are considered of one card.
const MOST_KEYS: usize = 6;
/// The longest file of a public key's attributes that is read.
const LONGEST_ATTRIBUTES: usize = 1024;

/// Why a certificate is not used, where nothing else speaks for the other one.
pub(super) const ANOTHER: &str = "not used: there is another for the same use";

/// A certificate of the store that could be used.
struct Candidate {
    entry: DirectoryEntry,
    parsed: Parsed,
}

impl Candidate {
    fn name(&self) -> String {
        finding::name(&FilePlace::default_application(self.entry.path()))
    }
}

/// Reads the store; `None` when the card has none. Its keys are as `pattern`, but for their numbers.
pub(super) fn read(chip: &mut Chip<'_>, pattern: &KeyPlace) -> Result<Option<Held>, CardError> {
    if !chip.find_application(None)? {
        return Ok(None);
    }
    let mut held = Held::default();
    let directory = match read_directory(chip, &PUBLIC_OBJECT_DIRECTORY)? {
        Listed::Absent => return Ok(None),
        Listed::Endless => {
            held.findings.push(finding::too_long(PUBLIC_OBJECT_DIRECTORY.to_string()));
            return Ok(Some(held));
        }
        Listed::Here(directory) => directory,
    };
    let [logins, signatures] =
        read_certificates(chip, &directory, &mut held.findings, &mut held.authorities)?;
    let authentication = choose(chip, &directory, logins, &mut held.findings)?;
    let signature = choose(chip, &directory, signatures, &mut held.findings)?;
    let place = |chosen: &Option<Candidate>| {
        chosen.as_ref().map(|chosen| place_of(pattern, chosen.entry, &chosen.parsed))
    };
    let places = (place(&authentication), place(&signature));
    held.authentication = authentication.map(|chosen| chosen.parsed);
    held.signature = signature.map(|chosen| chosen.parsed);
    if held.authentication.is_some() || held.signature.is_some() {
        let keys = OnceLock::new();
        if let Some(listed) = read_keys(chip)? {
            drop(keys.set(listed));
        }
        held.stored = Some(StoredKeys {
            authentication: places.0,
            signature: places.1,
            keys,
            authentication_link: OnceLock::new(),
            signature_link: OnceLock::new(),
            signature_pin: OnceLock::new(),
        });
    }
    Ok(Some(held))
}

/// The holder's certificates, those for logins and those for signatures.
fn read_certificates(
    chip: &mut Chip<'_>,
    directory: &ObjectDirectory,
    findings: &mut Vec<Finding>,
    authorities: &mut Authorities,
) -> Result<[Vec<Candidate>; 2], CardError> {
    let mut certificates = [Vec::new(), Vec::new()];
    for (index, entry) in entries(directory, ObjectKind::Certificate).into_iter().enumerate() {
        let place = FilePlace::default_application(entry.path());
        if index >= MOST_CERTIFICATES {
            findings.push(finding::certificate(finding::name(&place), "listed and not read"));
            continue;
        }
        let name = || finding::name(&place);
        let parsed = match certificate::read_any_of_length(chip, &place, usize::from(entry.size))? {
            Found::Holders(parsed) => *parsed,
            Found::Authority(authority) => {
                findings.push(authorities.take(name(), *authority));
                continue;
            }
            Found::Other(finding) => {
                findings.push(finding);
                continue;
            }
            Found::Absent => {
                findings.push(finding::absent(name()));
                continue;
            }
        };
        let [logins, signatures] = &mut certificates;
        let same_use = match use_of(&parsed) {
            KeyUse::Authentication => logins,
            KeyUse::Signature => signatures,
        };
        same_use.push(Candidate { entry, parsed });
    }
    Ok(certificates)
}

/// Of several certificates for one use the one whose public key the card lists, of several such the one that is valid
/// longest, and then the first. No clock is asked: a certificate that is over is chosen only when all are over. The others
/// are told.
fn choose(
    chip: &mut Chip<'_>,
    directory: &ObjectDirectory,
    mut candidates: Vec<Candidate>,
    findings: &mut Vec<Finding>,
) -> Result<Option<Candidate>, CardError> {
    if candidates.len() < 2 {
        return Ok(candidates.pop());
    }
    let keys = read_public_keys(chip, directory)?;
    let rank = |candidate: &Candidate| {
        let modulus = candidate.parsed.key.n().to_bytes_be();
        (keys.contains(&modulus), candidate.parsed.validity())
    };
    // Stable, the best first: of equal ones the first stays the first.
    candidates.sort_by_cached_key(|candidate| Reverse(rank(candidate)));
    let mut candidates = candidates.into_iter();
    let Some(chosen) = candidates.next() else { return Ok(None) };
    let (has_key, validity) = rank(&chosen);
    for other in candidates {
        let why = match rank(&other) {
            (false, _) if has_key => "not used: the card lists the key of another for the same use",
            (_, its) if its < validity => "not used: another for the same use is valid longer",
            (_, _) => ANOTHER,
        };
        findings.push(finding::certificate(other.name(), why));
    }
    Ok(Some(chosen))
}

/// The moduli of the public keys that the card lists, as far as they can be read.
fn read_public_keys(chip: &mut Chip<'_>, directory: &ObjectDirectory) -> Result<Vec<Vec<u8>>, CardError> {
    let mut moduli = Vec::new();
    for entry in entries(directory, ObjectKind::PublicKey).into_iter().take(MOST_KEYS) {
        let path = entry.attributes_path();
        let read = chip.within(Budget::CERTIFICATE, |chip| {
            chip.read_file(&path, LONGEST_ATTRIBUTES, |_| Some(LONGEST_ATTRIBUTES))
        });
        match read {
            Ok(Some(Some(content))) => moduli.extend(
                KeyAttributes::decode(KeyHalf::Public, &content).ok().map(|attributes| attributes.modulus),
            ),
            Ok(Some(None) | None) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moduli)
}

/// The private keys that the card lists; `None` when their directory cannot be read now, which on some cards takes
/// the PIN.
pub(in crate::card) fn read_keys(chip: &mut Chip<'_>) -> Result<Option<Vec<DirectoryEntry>>, CardError> {
    let Listed::Here(directory) = read_directory(chip, &PRIVATE_OBJECT_DIRECTORY)? else {
        return Ok(None);
    };
    let mut keys = entries(&directory, ObjectKind::PrivateKey);
    keys.retain(|entry| entry.key().is_some());
    keys.truncate(MOST_KEYS);
    Ok(Some(keys))
}

/// What became of reading a directory.
enum Listed {
    Here(Box<ObjectDirectory>),
    /// There is none, or it cannot be read now.
    Absent,
    /// There is more of it than any has.
    Endless,
}

fn read_directory(chip: &mut Chip<'_>, path: &FilePath) -> Result<Listed, CardError> {
    let read =
        chip.within(Budget::DIRECTORY, |chip| chip.read_file(path, FILE_LENGTH, |_| Some(FILE_LENGTH)));
    match read {
        Ok(Some(Some(content))) => Ok(Listed::Here(Box::new(ObjectDirectory::decode(&content)))),
        Ok(None) => Ok(Listed::Endless),
        Ok(Some(None)) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(Listed::Absent),
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
