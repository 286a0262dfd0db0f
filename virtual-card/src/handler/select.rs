//! SELECT FILE (ISO/IEC 7816-4 §11.2.2; functional specification, SELECT)

mod information;

use cns_apdu::StatusWord;
use cns_apdu::command::{SelectBy, SelectFile, SelectResponse};
use cns_apdu::file_map::{Fid, FilePath};

use super::{Answer, Reply};
use crate::card::VirtualCard;
use crate::filesystem::Place;

pub(super) fn select(card: &mut VirtualCard, command: &SelectFile) -> Reply {
    let takes = match command.response {
        SelectResponse::Fci | SelectResponse::Status => true,
        SelectResponse::Parameters => card.habits().select_parameters,
        SelectResponse::None => card.habits().select_silent && !card.behaviour().select_p2_0c_refused,
    };
    if !takes {
        return Err(StatusWord::WRONG_PARAMETERS);
    }
    let path = find(card, &command.mode).ok_or(StatusWord::FILE_NOT_FOUND)?;
    let file = card.files().file(&path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    let data = match command.response {
        SelectResponse::Fci | SelectResponse::Parameters => information::encode(card, &path, file)?,
        SelectResponse::Status | SelectResponse::None => Vec::new(),
    };
    let status = if file.activated { StatusWord::SUCCESS } else { StatusWord::FILE_DEACTIVATED };
    match (file.directory().is_some(), path.parent()) {
        (false, Some(directory)) => card.enter(directory, path.files().last().copied()),
        (_, _) => card.enter(path, None),
    }
    Ok(Answer { data, status })
}

/// The path of the file that is meant, if it exists. Files of another application are out of reach: only its name
/// leads there.
fn find(card: &VirtualCard, mode: &SelectBy) -> Option<FilePath> {
    let files = card.files();
    let current = &card.session.directory;
    let root = files.root_of(current);
    let existing =
        |path: FilePath| (files.file(&path).is_some() && files.root_of(&path) == root).then_some(path);
    let parent = || current.parent().filter(|_| *current != root);
    match mode {
        SelectBy::File(Fid::MASTER_FILE) => Some(root),
        SelectBy::File(file) => existing(current.child(*file))
            .or_else(|| existing(parent()?.child(*file)))
            .or_else(|| parent().filter(|parent| *parent != root && parent.files().last() == Some(file)))
            .or_else(|| {
                Some(current.clone()).filter(|path| *path != root && path.files().last() == Some(file))
            }),
        SelectBy::ChildDf(file) => {
            existing(current.child(*file)).filter(|path| files.directory(path).is_some())
        }
        SelectBy::ChildEf(file) => {
            existing(current.child(*file)).filter(|path| files.directory(path).is_none())
        }
        SelectBy::Parent => parent(),
        SelectBy::Name(name) => files.find_name(name),
        SelectBy::Path(path) => existing(root.join(path)),
        SelectBy::RelativePath(path) => existing(current.join(path)),
    }
}
