//! READ, UPDATE and APPEND RECORD (ISO/IEC 7816-4 §11.4)

use cns_apdu::StatusWord;
use cns_apdu::access::EfOperation;
use cns_apdu::command::{AppendRecord, Position, ReadRecord, RecordSelector, UpdateRecord};

use super::Reply;
use crate::card::VirtualCard;
use crate::filesystem::{FileBody, MAXIMUM_RECORDS, Record, RecordKind, Records};

pub(super) fn read(card: &mut VirtualCard, command: ReadRecord) -> Reply {
    records(card)?;
    card.authorise_current_ef(EfOperation::Read)?;
    let place = find(records(card)?, card.session.record, command.record)?;
    let length = usize::try_from(command.length).unwrap_or(usize::MAX);
    let record = records(card)?.records.get(place).ok_or(StatusWord::RECORD_NOT_FOUND)?;
    let data: Vec<u8> = record.0.iter().take(length).copied().collect();
    move_pointer(card, command.record, place);
    Ok(data.into())
}

pub(super) fn update(card: &mut VirtualCard, command: &UpdateRecord) -> Reply {
    records(card)?;
    card.authorise_current_ef(EfOperation::Update)?;
    let place = find(records(card)?, card.session.record, command.record)?;
    let file = records_mut(card)?;
    check(file, &command.data)?;
    let used = file.used();
    let allocated = usize::from(file.allocated);
    let record = file.records.get_mut(place).ok_or(StatusWord::RECORD_NOT_FOUND)?;
    if used - record.0.len() + command.data.len() > allocated {
        return Err(StatusWord::NO_MEMORY);
    }
    record.0.clone_from(&command.data);
    move_pointer(card, command.record, place);
    card.commit()?;
    Ok(().into())
}

pub(super) fn append(card: &mut VirtualCard, command: &AppendRecord) -> Reply {
    records(card)?;
    card.authorise_current_ef(EfOperation::Append)?;
    let file = records_mut(card)?;
    check(file, &command.data)?;
    let fits = file.used() + command.data.len() <= usize::from(file.allocated)
        && file.records.len() < MAXIMUM_RECORDS;
    let record = Record(command.data.clone());
    let place = match file.kind {
        RecordKind::LinearFixed | RecordKind::LinearTlv if fits => {
            file.records.push(record);
            file.records.len() - 1
        }
        RecordKind::LinearFixed | RecordKind::LinearTlv => return Err(StatusWord::NO_MEMORY),
        RecordKind::Cyclic => {
            // Record 1 is the most recent; the oldest makes room.
            if !fits && file.records.pop().is_none() {
                return Err(StatusWord::NO_MEMORY);
            }
            file.records.insert(0, record);
            0
        }
    };
    card.session.record = Some(place);
    card.commit()?;
    Ok(().into())
}

/// Whether `data` is a record of this file's structure.
fn check(file: &Records, data: &[u8]) -> Result<(), StatusWord> {
    match file.kind {
        RecordKind::LinearTlv if is_simple_tlv(data) => Ok(()),
        RecordKind::LinearTlv => Err(StatusWord::LENGTH_AGAINST_TLV),
        RecordKind::LinearFixed | RecordKind::Cyclic if data.len() == file.record_length() => Ok(()),
        RecordKind::LinearFixed | RecordKind::Cyclic => Err(StatusWord::WRONG_LENGTH),
    }
}

/// One object of ISO/IEC 7816-4 §5.2.1: a tag, a length of one byte or `FF` and two, and that many bytes.
fn is_simple_tlv(data: &[u8]) -> bool {
    match data {
        [0x00 | 0xFF, ..] => false,
        [_, 0xFF, high, low, value @ ..] => value.len() == usize::from(u16::from_be_bytes([*high, *low])),
        [_, length, value @ ..] => value.len() == usize::from(*length),
        [_] | [] => false,
    }
}

/// The place of the record that is meant, counted from 0.
fn find(file: &Records, pointer: Option<usize>, selector: RecordSelector) -> Result<usize, StatusWord> {
    let place = match selector {
        RecordSelector::Current => pointer,
        RecordSelector::Number(number) => usize::from(number).checked_sub(1),
        RecordSelector::At(position) => step(pointer, position, file.records.len(), |_| true),
        RecordSelector::Tagged { tag, position } if file.kind == RecordKind::LinearTlv => {
            let tagged =
                |place: usize| file.records.get(place).is_some_and(|record| record.0.first() == Some(&tag));
            step(pointer, position, file.records.len(), tagged)
        }
        RecordSelector::Tagged { .. } => return Err(StatusWord::INCOMPATIBLE_FILE),
    };
    place.filter(|place| *place < file.records.len()).ok_or(StatusWord::RECORD_NOT_FOUND)
}

/// From the record pointer to the wanted place among `count` records. Without a pointer "next" is the first
/// and "previous" the last.
fn step(
    pointer: Option<usize>,
    position: Position,
    count: usize,
    wanted: impl Fn(usize) -> bool,
) -> Option<usize> {
    let after = pointer.map_or(0, |place| place.saturating_add(1));
    let before = pointer.unwrap_or(count).min(count);
    match position {
        Position::First => (0..count).find(|place| wanted(*place)),
        Position::Last => (0..count).rev().find(|place| wanted(*place)),
        Position::Next => (after..count).find(|place| wanted(*place)),
        Position::Previous => (0..before).rev().find(|place| wanted(*place)),
    }
}

/// Naming a record by number leaves the pointer where it is.
fn move_pointer(card: &mut VirtualCard, selector: RecordSelector, place: usize) {
    match selector {
        RecordSelector::Number(_) => {}
        RecordSelector::At(_) | RecordSelector::Current | RecordSelector::Tagged { .. } => {
            card.session.record = Some(place);
        }
    }
}

/// The current file, which must be of records.
fn records(card: &VirtualCard) -> Result<&Records, StatusWord> {
    match &card.current_ef()?.body {
        FileBody::Records(file) => Ok(file),
        FileBody::Transparent(_) | FileBody::Directory(_) => Err(StatusWord::INCOMPATIBLE_FILE),
    }
}

fn records_mut(card: &mut VirtualCard) -> Result<&mut Records, StatusWord> {
    let path = card.current_path();
    match card.state.files.file_mut(&path).map(|file| &mut file.body) {
        Some(FileBody::Records(file)) => Ok(file),
        Some(FileBody::Transparent(_) | FileBody::Directory(_)) | None => Err(StatusWord::INCOMPATIBLE_FILE),
    }
}
