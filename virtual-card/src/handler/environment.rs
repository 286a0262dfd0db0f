//! MANAGE SECURITY ENVIRONMENT (ISO/IEC 7816-4 §11.6.11, in the CNS's coding)

use cns_apdu::StatusWord;
use cns_apdu::command::{ManageSecurityEnvironment, Template};
use cns_apdu::object::{ObjectAddress, ObjectClass, ObjectId};

use super::Reply;
use crate::card::VirtualCard;
use crate::generation::KeyLookup;
use crate::session::{Environment, KeyChoice};

pub(super) fn manage(card: &mut VirtualCard, command: ManageSecurityEnvironment) -> Reply {
    match command {
        ManageSecurityEnvironment::Restore { se } => restore(card, se),
        ManageSecurityEnvironment::Set { template, key } => set(card, template, key),
    }
}

fn restore(card: &mut VirtualCard, identifier: u8) -> Reply {
    let (directory, stored) = card
        .files()
        .find_environment(&card.session.directory, identifier)
        .ok_or(StatusWord::RECORD_NOT_FOUND)?;
    let condition = stored.restore_condition();
    let find = |class, id: Option<ObjectId>| choose(card, ObjectAddress::new(class, id?)).ok();
    let environment = Environment {
        signature: find(ObjectClass::Key, stored.signature_key()),
        confidentiality: find(ObjectClass::Key, stored.confidentiality_key()),
        test: find(ObjectClass::Test, stored.test_object()),
    };
    card.authorise(condition, &directory)?;
    card.session.environment = Some(environment);
    Ok(().into())
}

/// Some chips look for a key at once, others when it is used.
fn choose(card: &VirtualCard, address: ObjectAddress) -> Result<KeyChoice, StatusWord> {
    match card.habits().key_lookup {
        KeyLookup::WhenSet => card.find_object(address, true).map(KeyChoice::Found),
        KeyLookup::WhenUsed => Ok(KeyChoice::Named(address)),
    }
}

fn set(card: &mut VirtualCard, template: Template, id: ObjectId) -> Reply {
    if card.session.environment.is_none() {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    let class = match template {
        Template::Signature | Template::Confidentiality => ObjectClass::Key,
        Template::Authentication => ObjectClass::Test,
    };
    let key = choose(card, ObjectAddress::new(class, id))?;
    if let Some(environment) = &mut card.session.environment {
        let component = match template {
            Template::Signature => &mut environment.signature,
            Template::Confidentiality => &mut environment.confidentiality,
            Template::Authentication => &mut environment.test,
        };
        *component = Some(key);
    }
    Ok(().into())
}
