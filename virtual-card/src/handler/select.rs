//! SELECT FILE (ISO/IEC 7816-4 §11.2.2; functional specification, SELECT)

use cns_apdu::StatusWord;
use cns_apdu::access::AccessConditions;
use cns_apdu::command::{SelectBy, SelectFile, SelectResponse};
use cns_apdu::fci::{FileControlInformation, FileDescriptor, LifeCycle};
use cns_apdu::file_map::{Fid, FilePath, MASTER_FILE};

use super::{Answer, Reply};
use crate::card::VirtualCard;
use crate::filesystem::{File, FileBody};

pub(super) fn select(card: &mut VirtualCard, command: &SelectFile) -> Reply {
    if command.response == SelectResponse::None && card.behaviour().select_p2_0c_refused {
        return Err(StatusWord::WRONG_PARAMETERS);
    }
    let path = find(card, &command.mode).ok_or(StatusWord::FILE_NOT_FOUND)?;
    let file = card.files().file(&path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    let data = match command.response {
        SelectResponse::Fci => information(card, file)?,
        SelectResponse::Status | SelectResponse::None => Vec::new(),
    };
    let status = if file.activated { StatusWord::SUCCESS } else { StatusWord::FILE_DEACTIVATED };
    match (file.directory().is_some(), path.parent()) {
        (false, Some(directory)) => card.enter(directory, path.files().last().copied()),
        (_, _) => card.enter(path, None),
    }
    Ok(Answer { data, status })
}

/// The path of the file that is meant, if it exists.
fn find(card: &VirtualCard, mode: &SelectBy) -> Option<FilePath> {
    let files = card.files();
    let current = &card.session.directory;
    let existing = |path: FilePath| files.file(&path).is_some().then_some(path);
    match mode {
        SelectBy::File(Fid::MASTER_FILE) => Some(MASTER_FILE),
        SelectBy::File(file) => existing(current.child(*file))
            .or_else(|| existing(current.parent()?.child(*file)))
            .or_else(|| current.parent().filter(|parent| parent.files().last() == Some(file)))
            .or_else(|| Some(current.clone()).filter(|path| path.files().last() == Some(file))),
        SelectBy::ChildDf(file) => Some(current.child(*file)).filter(|path| files.directory(path).is_some()),
        SelectBy::ChildEf(file) => {
            existing(current.child(*file)).filter(|path| files.directory(path).is_none())
        }
        SelectBy::Parent => current.parent(),
        SelectBy::Name(name) => files.find_name(name),
        SelectBy::Path(path) => existing(path.clone()),
        SelectBy::RelativePath(path) => {
            existing(path.files().iter().fold(current.clone(), |path, file| path.child(*file)))
        }
    }
}

fn information(card: &VirtualCard, file: &File) -> Result<Vec<u8>, StatusWord> {
    let (size, descriptor, name) = match &file.body {
        FileBody::Directory(directory) => {
            let size = match file.identifier {
                Fid::MASTER_FILE => u16::try_from(card.files().memory_left()).unwrap_or(u16::MAX),
                _ => directory.reserved,
            };
            let name = Some(directory.name.clone()).filter(|name| !name.is_empty());
            (usize::from(size), FileDescriptor::DEDICATED, name)
        }
        FileBody::Transparent(file) => (file.content.len(), FileDescriptor(file.descriptor), None),
        FileBody::Records(file) => (usize::from(file.allocated), FileDescriptor(file.descriptor), None),
    };
    let information = FileControlInformation {
        size: u32::try_from(size).ok(),
        descriptor: Some(descriptor),
        name,
        file: Some(file.identifier),
        access: Some(AccessConditions(file.access)),
        life_cycle: Some(if file.activated { LifeCycle::Activated } else { LifeCycle::Deactivated }),
        secure_messaging: Some(file.secure_messaging),
    };
    information.encode().map_err(|_| StatusWord::INTERNAL_ERROR)
}
