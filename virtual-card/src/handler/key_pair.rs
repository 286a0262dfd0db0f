//! GENERATE KEY PAIR (ISO/IEC 7816-8 §5.1, in the CNS's coding)

use std::time::{Duration, Instant};

use cns_apdu::StatusWord;
use cns_apdu::access::{AccessConditions, EfOperation};
use cns_apdu::command::GenerateKeyPair;
use cns_apdu::file_map::FilePath;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectClass, rsa_component_value};
use cns_apdu::public_key::PublicKey;
use rsa::RsaPrivateKey;
use rsa::traits::PublicKeyParts;

use super::Reply;
use crate::card::VirtualCard;
use crate::filesystem::{FileBody, Record, RecordKind};
use crate::keys;
use crate::objects::{ObjectOperation, ObjectReference};
use crate::secure_messaging::Demand;

/// An exponent length of zero leaves the choice to the chip.
const CHIPS_CHOICE: u16 = 24;

pub(super) fn generate(card: &mut VirtualCard, command: GenerateKeyPair) -> Reply {
    let started = Instant::now();
    let directory = card.session.directory.clone();
    let modulus = ObjectReference {
        directory: directory.clone(),
        address: ObjectAddress::new(ObjectClass::Key, command.key),
    };
    let exponent = modulus.of_class(ObjectClass::KeyExponent);
    card.object(&exponent)?;
    card.require_object_protection(&directory)?;
    let bits = key_bits(card, &modulus)?;
    card.authorise_object(&modulus, ObjectOperation::GenerateKeyPair)?;
    let target = directory.child(command.public_key_file);
    authorise_target(card, &directory, &target)?;
    let exponent_bits = if command.exponent_bits == 0 { CHIPS_CHOICE } else { command.exponent_bits };
    let planned = card.planned_keys.pop_front().filter(|key| key.n().bits() == bits);
    let key = planned.map_or_else(|| keys::generate(bits, exponent_bits), Ok)?;
    card.work.generated_key(key.size());
    let (modulus_body, exponent_body) = keys::private_bodies(&key)?;
    write_public_key(card, &target, &key)?;
    card.object_mut(&modulus)?.set_body(modulus_body);
    card.object_mut(&exponent)?.set_body(exponent_body);
    card.commit()?;
    let least = Duration::from_secs(card.behaviour().key_generation_seconds.into());
    std::thread::sleep(least.saturating_sub(started.elapsed()));
    Ok(().into())
}

/// The placeholder's size is the new key's.
fn key_bits(card: &VirtualCard, modulus: &ObjectReference) -> Result<usize, StatusWord> {
    let object = card.object(modulus)?;
    match object.algorithm() {
        Algorithm::RsaRaw | Algorithm::RsaSignature => {}
        Algorithm::Pin
        | Algorithm::TripleDes
        | Algorithm::RetailMac
        | Algorithm::Logical
        | Algorithm::Other(_) => return Err(StatusWord::CONDITIONS_NOT_SATISFIED),
    }
    match rsa_component_value(object.body.expose()).map(|value| value.len() * 8) {
        Some(bits @ (1024 | 2048)) if bits <= card.generation().key_bits() => Ok(bits),
        Some(_) | None => Err(StatusWord::INVALID_OBJECT),
    }
}

/// The file must be there, be of a type that takes a public key, and allow appending.
fn authorise_target(
    card: &mut VirtualCard,
    directory: &FilePath,
    target: &FilePath,
) -> Result<(), StatusWord> {
    let file = card.files().file(target).ok_or(StatusWord::FILE_NOT_FOUND)?;
    match &file.body {
        FileBody::Transparent(_) => {}
        FileBody::Records(records) if records.kind == RecordKind::LinearTlv => {}
        FileBody::Records(_) | FileBody::Directory(_) => return Err(StatusWord::INCOMPATIBLE_FILE),
    }
    card.require_protection(&Demand::of_ef(file, directory, EfOperation::Append))?;
    let condition = AccessConditions(file.access).ef(EfOperation::Append);
    card.authorise(condition, directory)
}

fn write_public_key(
    card: &mut VirtualCard,
    target: &FilePath,
    key: &RsaPrivateKey,
) -> Result<(), StatusWord> {
    let public = public_key(key)?;
    match card.state.files.file_mut(target).map(|file| &mut file.body) {
        Some(FileBody::Transparent(file)) => {
            let template = public.encode();
            file.content.get_mut(..template.len()).ok_or(StatusWord::NO_MEMORY)?.copy_from_slice(&template);
            file.content.iter_mut().skip(template.len()).for_each(|byte| *byte = 0);
            Ok(())
        }
        Some(FileBody::Records(file)) => {
            let records = public.encode_records().map_err(|_| StatusWord::INTERNAL_ERROR)?;
            if records.iter().map(Vec::len).sum::<usize>() > usize::from(file.allocated) {
                return Err(StatusWord::NO_MEMORY);
            }
            file.records = records.map(Record).into();
            Ok(())
        }
        Some(FileBody::Directory(_)) | None => Err(StatusWord::FILE_NOT_FOUND),
    }
}

fn public_key(key: &RsaPrivateKey) -> Result<PublicKey, StatusWord> {
    PublicKey::new(&key.n().to_bytes_be(), &key.e().to_bytes_be()).map_err(|_| StatusWord::INTERNAL_ERROR)
}
