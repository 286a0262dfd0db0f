//! PUT DATA and CHANGE KEY DATA (ISO/IEC 7816-4 §11.5.5, in the CNS's coding)

use cns_apdu::StatusWord;
use cns_apdu::access::{DfOperation, EfOperation};
use cns_apdu::command::{
    ChangeKeyData, EnvironmentSettings, FileSettings, ObjectSettings, PutData, SearchFrom,
};
use cns_apdu::object::ObjectAddress;

use super::Reply;
use crate::card::VirtualCard;
use crate::filesystem::{Directory, FileBody};
use crate::objects::{ObjectOperation, ObjectReference, SecurityEnvironment, SecurityObject};

pub(super) fn put_data(card: &mut VirtualCard, command: PutData) -> Reply {
    match command {
        PutData::Oci(settings) => put_object(card, settings)?,
        PutData::Seci(settings) => put_environment(card, settings)?,
        PutData::Fci(settings) => put_file_information(card, settings)?,
    }
    card.commit()?;
    Ok(().into())
}

fn put_object(card: &mut VirtualCard, settings: ObjectSettings) -> Result<(), StatusWord> {
    let reference = ObjectReference { directory: card.session.directory.clone(), address: settings.address };
    if card.files().object(&reference).is_some() {
        card.authorise_directory(&reference.directory, DfOperation::UpdateObjects)?;
        update_object(card, &reference, settings)
    } else {
        card.authorise_directory(&reference.directory, DfOperation::AppendObjects)?;
        create_object(card, settings)
    }
}

fn create_object(card: &mut VirtualCard, settings: ObjectSettings) -> Result<(), StatusWord> {
    let (Some(attributes), Some(conditions), Some(body)) =
        (settings.attributes, settings.conditions, settings.body)
    else {
        return Err(StatusWord::WRONG_DATA);
    };
    require_memory(card, body.len())?;
    let mut object = SecurityObject {
        address: settings.address,
        attributes: attributes.to_bytes(),
        access: conditions.0,
        secure_messaging: settings.secure_messaging.unwrap_or([0xFF; 16]),
        tries_left: 0,
        uses_left: attributes.uses,
        body,
    };
    object.tries_left = object.initial_tries();
    current_directory(card)?.objects.push(object);
    Ok(())
}

/// The attributes of an object stay as it was created with; what comes anew is taken. A new value gives the
/// object its tries back, and takes away what the old one had proved.
fn update_object(
    card: &mut VirtualCard,
    reference: &ObjectReference,
    settings: ObjectSettings,
) -> Result<(), StatusWord> {
    let before = card.object(reference)?.body.len();
    let after = settings.body.as_ref().map_or(before, |body| body.len());
    // The object has its header already: a value of the same size fits in a full memory.
    if after.saturating_sub(before) > card.files().memory_left() {
        return Err(StatusWord::NO_MEMORY);
    }
    if settings.body.is_some() {
        card.session.status.withdraw(reference);
    }
    let object = card.object_mut(reference)?;
    if let Some(conditions) = settings.conditions {
        object.access = conditions.0;
    }
    if let Some(conditions) = settings.secure_messaging {
        object.secure_messaging = conditions;
    }
    if let Some(body) = settings.body {
        object.set_body(body);
    }
    Ok(())
}

fn put_environment(card: &mut VirtualCard, settings: EnvironmentSettings) -> Result<(), StatusWord> {
    let path = card.session.directory.clone();
    let exists = card.current_directory()?.environment(settings.se).is_some();
    let operation = if exists { DfOperation::UpdateObjects } else { DfOperation::AppendObjects };
    card.authorise_directory(&path, operation)?;
    if !exists {
        let (Some(access), Some(components)) = (settings.conditions, settings.components) else {
            return Err(StatusWord::WRONG_DATA);
        };
        require_memory(card, 0)?;
        let environment = SecurityEnvironment { identifier: settings.se, access, components };
        current_directory(card)?.environments.push(environment);
        return Ok(());
    }
    let stored = current_directory(card)?
        .environments
        .iter_mut()
        .find(|environment| environment.identifier == settings.se)
        .ok_or(StatusWord::RECORD_NOT_FOUND)?;
    stored.access = settings.conditions.unwrap_or(stored.access);
    stored.components = settings.components.unwrap_or(stored.components);
    Ok(())
}

fn put_file_information(card: &mut VirtualCard, settings: FileSettings) -> Result<(), StatusWord> {
    let path = card.current_path();
    if card.session.file.is_some() {
        card.authorise_current_ef(EfOperation::Admin)?;
    } else {
        card.authorise_directory(&path, DfOperation::Admin)?;
    }
    let taken = settings.name.as_deref().and_then(|name| card.files().find_name(name));
    if taken.is_some_and(|other| other != path) {
        return Err(StatusWord::ALREADY_EXISTS);
    }
    let file = card.state.files.file_mut(&path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    match (&mut file.body, settings.name) {
        (FileBody::Directory(directory), Some(name)) => directory.name = name,
        (FileBody::Transparent(_) | FileBody::Records(_), Some(_)) => {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
        (_, None) => {}
    }
    if let Some(access) = settings.access {
        file.access = access.0;
    }
    if let Some(conditions) = settings.secure_messaging {
        file.secure_messaging = conditions;
    }
    Ok(())
}

pub(super) fn change_key_data(card: &mut VirtualCard, command: ChangeKeyData) -> Reply {
    let address = ObjectAddress::new(command.class, command.reference.id);
    let reference = card.find_object(address, command.reference.search == SearchFrom::CurrentDf)?;
    card.authorise_object(&reference, ObjectOperation::Change)?;
    if card.object(&reference)?.body.len() != command.value.len() {
        return Err(StatusWord::WRONG_DATA);
    }
    card.session.status.withdraw(&reference);
    card.object_mut(&reference)?.set_body(command.value);
    card.commit()?;
    Ok(().into())
}

fn require_memory(card: &VirtualCard, bytes: usize) -> Result<(), StatusWord> {
    if card.files().has_room_for(bytes) { Ok(()) } else { Err(StatusWord::NO_MEMORY) }
}

fn current_directory(card: &mut VirtualCard) -> Result<&mut Directory, StatusWord> {
    let path = card.session.directory.clone();
    card.state.files.directory_mut(&path).ok_or(StatusWord::FILE_NOT_FOUND)
}
