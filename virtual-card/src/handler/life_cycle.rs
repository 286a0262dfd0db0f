//! CREATE, DELETE, ACTIVATE and DEACTIVATE FILE (ISO/IEC 7816-9 §9.3)

use cns_apdu::StatusWord;
use cns_apdu::access::{AccessConditions, Condition, DfOperation, EfOperation};
use cns_apdu::command::{CreateFile, DeleteFile};
use cns_apdu::file_map::{FileKind, FilePath};

use super::Reply;
use crate::card::VirtualCard;
use crate::filesystem::{
    Directory, File, FileBody, MAXIMUM_DEPTH, Presentation, RecordKind, Records, Transparent,
};

pub(super) fn create(card: &mut VirtualCard, command: CreateFile) -> Reply {
    let parent = card.session.directory.clone();
    card.authorise_directory(&parent, DfOperation::Create)?;
    let path = parent.child(command.file);
    let named = command.name.as_deref().is_some_and(|name| card.files().find_name(name).is_some());
    if card.files().file(&path).is_some() || named {
        return Err(StatusWord::ALREADY_EXISTS);
    }
    let body = body(&command)?;
    let needed = match &body {
        FileBody::Directory(_) => 0,
        FileBody::Transparent(_) | FileBody::Records(_) => usize::from(command.size),
    };
    if !card.files().has_room_for(needed) || path.files().len() > MAXIMUM_DEPTH {
        return Err(StatusWord::NO_MEMORY);
    }
    let is_directory = matches!(body, FileBody::Directory(_));
    let file = File {
        identifier: command.file,
        access: command.access.0,
        secure_messaging: command.secure_messaging.unwrap_or([0xFF; 24]),
        activated: true,
        presentation: Presentation::default(),
        body,
    };
    let directory = card.state.files.directory_mut(&parent).ok_or(StatusWord::FILE_NOT_FOUND)?;
    directory.files.push(file);
    if is_directory {
        card.enter(path, None);
    } else {
        card.enter(parent, Some(command.file));
    }
    card.commit()?;
    Ok(().into())
}

/// An empty file of the kind that is asked for; its content is zeros.
fn body(command: &CreateFile) -> Result<FileBody, StatusWord> {
    let descriptor = command.descriptor.0;
    let records =
        |kind| FileBody::Records(Records { descriptor, kind, allocated: command.size, records: Vec::new() });
    match command.descriptor.kind().ok_or(StatusWord::WRONG_DATA)? {
        FileKind::Dedicated => Ok(FileBody::Directory(Directory {
            reserved: command.size,
            name: command.name.clone().unwrap_or_default(),
            ..Directory::default()
        })),
        FileKind::Transparent => {
            Ok(FileBody::Transparent(Transparent { descriptor, content: vec![0; usize::from(command.size)] }))
        }
        FileKind::LinearTlv => Ok(records(RecordKind::LinearTlv)),
        FileKind::LinearFixed | FileKind::Cyclic if command.descriptor.record_length() == 0 => {
            Err(StatusWord::WRONG_DATA)
        }
        FileKind::LinearFixed => Ok(records(RecordKind::LinearFixed)),
        FileKind::Cyclic => Ok(records(RecordKind::Cyclic)),
    }
}

/// Deletes a file with all that is in it.
pub(super) fn delete(card: &mut VirtualCard, command: DeleteFile) -> Reply {
    let path = match command.file {
        Some(file) => card.session.directory.child(file),
        None => card.current_path(),
    };
    authorise(card, &path, EfOperation::Delete, DfOperation::Delete)?;
    let parent = path.parent().ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
    card.state.files.remove(&path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    card.ready_keys.clear();
    if path == card.session.directory || path == card.current_path() {
        card.enter(parent, None);
    }
    card.commit()?;
    Ok(().into())
}

pub(super) fn activate(card: &mut VirtualCard) -> Reply {
    set_activated(card, true)
}

pub(super) fn deactivate(card: &mut VirtualCard) -> Reply {
    set_activated(card, false)
}

fn set_activated(card: &mut VirtualCard, activated: bool) -> Reply {
    let path = card.current_path();
    if activated {
        authorise(card, &path, EfOperation::Activate, DfOperation::Activate)?;
    } else {
        authorise(card, &path, EfOperation::Deactivate, DfOperation::Deactivate)?;
    }
    card.state.files.file_mut(&path).ok_or(StatusWord::FILE_NOT_FOUND)?.activated = activated;
    card.commit()?;
    Ok(().into())
}

/// Checks the condition of the same operation on whatever kind of file `path` is.
fn authorise(
    card: &mut VirtualCard,
    path: &FilePath,
    on_ef: EfOperation,
    on_df: DfOperation,
) -> Result<(), StatusWord> {
    let file = card.files().file(path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    let access = AccessConditions(file.access);
    let (condition, holder): (Condition, FilePath) = match (file.directory().is_some(), path.parent()) {
        (false, Some(parent)) => (access.ef(on_ef), parent),
        (_, _) => (access.df(on_df), path.clone()),
    };
    card.authorise(condition, &holder)
}
