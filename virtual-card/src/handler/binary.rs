//! READ BINARY and UPDATE BINARY (ISO/IEC 7816-4 §11.3)

use cns_apdu::StatusWord;
use cns_apdu::access::EfOperation;
use cns_apdu::command::{ReadBinary, UpdateBinary};

use super::Reply;
use crate::card::VirtualCard;
use crate::filesystem::{FileBody, Transparent};

pub(super) fn read(card: &mut VirtualCard, command: ReadBinary) -> Reply {
    transparent(card)?;
    card.authorise_current_ef(EfOperation::Read)?;
    let content = &transparent(card)?.content;
    let rest = content
        .get(usize::from(command.offset)..)
        .filter(|rest| !rest.is_empty())
        .ok_or(StatusWord::OFFSET_OUTSIDE_FILE)?;
    let length = usize::try_from(command.length).unwrap_or(usize::MAX);
    Ok(rest.iter().take(length).copied().collect::<Vec<u8>>().into())
}

pub(super) fn update(card: &mut VirtualCard, command: &UpdateBinary) -> Reply {
    transparent(card)?;
    card.authorise_current_ef(EfOperation::Update)?;
    let path = card.current_path();
    let content = match card.state.files.file_mut(&path).map(|file| &mut file.body) {
        Some(FileBody::Transparent(file)) => &mut file.content,
        Some(FileBody::Records(_) | FileBody::Directory(_)) | None => {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
    };
    let rest = content
        .get_mut(usize::from(command.offset)..)
        .filter(|rest| !rest.is_empty())
        .ok_or(StatusWord::OFFSET_OUTSIDE_FILE)?;
    rest.get_mut(..command.data.len()).ok_or(StatusWord::WRONG_LENGTH)?.copy_from_slice(&command.data);
    card.commit()?;
    Ok(().into())
}

/// The current file, which must be transparent.
fn transparent(card: &VirtualCard) -> Result<&Transparent, StatusWord> {
    match &card.current_ef()?.body {
        FileBody::Transparent(file) => Ok(file),
        FileBody::Records(_) | FileBody::Directory(_) => Err(StatusWord::INCOMPATIBLE_FILE),
    }
}
