//! File control information, in the shape that the application of the file has.

use cns_apdu::StatusWord;
use cns_apdu::access::{AccessConditions, Condition, DfOperation, EfOperation};
use cns_apdu::fci::LifeCycle;
use cns_apdu::file_map::{Fid, FilePath};
use cns_apdu::tlv;

use crate::card::VirtualCard;
use crate::filesystem::{File, FileBody, FileSystem};
use crate::generation::{Part, Shape};

const TEMPLATE: u32 = 0x6F;
/// Compact conditions for contact, and for contactless.
const CONTACT: u32 = 0x8C;
const CONTACTLESS: u32 = 0x9C;
/// ISO/IEC 7816-4 §7.4.3.2: the operations that the following bytes are about. Reading; and in a DF, creating a file
/// or a DF and deleting one.
const READING: u8 = 0x01;
const IN_A_DF: u8 = 0x07;

/// What SELECT answers of `file`, which is at `path`.
pub(super) fn encode(card: &VirtualCard, path: &FilePath, file: &File) -> Result<Vec<u8>, StatusWord> {
    let root = card.files().root_of(path);
    let chip = card.generation().chip();
    let shape = chip.application_at(&root).or(chip.applications.first()).map(|application| application.shape);
    let Shape { elementary, dedicated } = shape.ok_or(StatusWord::INTERNAL_ERROR)?;
    let parts = if file.directory().is_some() { dedicated } else { elementary };
    let is_root = *path == root;
    let objects = parts.iter().flat_map(|part| object(card.files(), file, is_root, *part));
    Ok(tlv::encode(TEMPLATE, &objects.collect::<Vec<u8>>()))
}

/// One data object; none where the file has nothing to tell.
fn object(files: &FileSystem, file: &File, is_root: bool, part: Part) -> Vec<u8> {
    match part {
        Part::Size => tlv::encode(0x80, &size(files, file).to_be_bytes()),
        Part::Room => tlv::encode(0x81, &size(files, file).to_be_bytes()),
        Part::Descriptor => tlv::encode(0x82, &descriptor(file)),
        Part::Kind => {
            let [kind, _, _] = descriptor(file);
            tlv::encode(0x82, &[kind])
        }
        Part::Name => match file.directory().map(|directory| &directory.name) {
            Some(name) if !name.is_empty() => tlv::encode(0x84, name),
            Some(_) | None => Vec::new(),
        },
        Part::Identifier => {
            let identifier = if is_root { Fid::MASTER_FILE } else { file.identifier };
            tlv::encode(0x83, &identifier.to_bytes())
        }
        Part::Proprietary => tlv::encode(0x85, &[file.presentation.proprietary]),
        Part::Access => tlv::encode(0x86, &file.access),
        Part::ShortIdentifier => {
            file.presentation.short_identifier.map_or_else(Vec::new, |byte| tlv::encode(0x88, &[byte]))
        }
        Part::LifeCycle => {
            let state = if file.activated { LifeCycle::Activated } else { LifeCycle::Deactivated };
            tlv::encode(0x8A, &[state.to_byte()])
        }
        Part::CompactAccess => {
            let conditions = compact(file);
            let both = [tlv::encode(CONTACT, &conditions), tlv::encode(CONTACTLESS, &conditions)];
            tlv::encode(0xA1, &both.concat())
        }
        Part::SecureMessaging => tlv::encode(0xCB, &file.secure_messaging),
        Part::Unexplained(bytes) => bytes.to_vec(),
    }
}

/// Bytes of a file; of a DF the room that it announces, of the card's own MF the free memory.
fn size(files: &FileSystem, file: &File) -> u16 {
    match &file.body {
        FileBody::Directory(_) if file.identifier == Fid::MASTER_FILE => {
            u16::try_from(files.memory_left()).unwrap_or(u16::MAX)
        }
        FileBody::Directory(directory) => directory.reserved,
        FileBody::Transparent(transparent) => u16::try_from(transparent.content.len()).unwrap_or(u16::MAX),
        FileBody::Records(records) => records.allocated,
    }
}

fn descriptor(file: &File) -> [u8; 3] {
    match &file.body {
        FileBody::Directory(_) => [0x38, 0x00, 0x00],
        FileBody::Transparent(transparent) => transparent.descriptor,
        FileBody::Records(records) => records.descriptor,
    }
}

/// The conditions that the compact form has room for.
fn compact(file: &File) -> Vec<u8> {
    let access = AccessConditions(file.access);
    if file.directory().is_some() {
        let create = security_condition(access.df(DfOperation::Create));
        vec![IN_A_DF, create, create, create]
    } else {
        vec![READING, security_condition(access.ef(EfOperation::Read))]
    }
}

/// ISO/IEC 7816-4 §7.4.3.2, table 23: user authentication in environment 2, as ACe 2025 has it.
const fn security_condition(condition: Condition) -> u8 {
    match condition {
        Condition::Always => 0x00,
        Condition::Never => 0xFF,
        Condition::Verified(_) => 0x12,
    }
}
