//! Objects that an application makes (PKCS#11 v2.40 §5.7, §5.14): for itself, while its session lasts. What is on the card
//! is made at a counter ([`crate::api::counter`]).

use cryptoki_sys as ck;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::api::counter;
use crate::error::Error;
use crate::ffi::buffer::Put;
use crate::ffi::template::{Mechanism, Template};
use crate::mechanism;
use crate::object::{Draft, Object, SecretKind};
use crate::state::Module;

/// `C_CreateObject`.
pub(crate) fn create_object(
    module: &Module,
    session: CK_SESSION_HANDLE,
    template: Template<'_>,
    mut object: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let certificate = ck::CKO_CERTIFICATE.to_ne_bytes();
    if template.iter().any(|(kind, value)| kind == ck::CKA_CLASS && value == certificate) {
        return counter::load_certificate(module, session, &template, object);
    }
    let mut tables = module.tables();
    let draft = Draft::read(&template, tables.session(session)?.read_write)?;
    if draft.is_private()? && !tables.token_of(session)?.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    object.put(tables.make(session, |number| draft.create(number))?);
    Ok(())
}

/// `C_CopyObject`: of what an application made. The copy is the session's that asks for it.
pub(crate) fn copy_object(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: Template<'_>,
    mut copy: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let read_write = tables.session(session)?.read_write;
    let number = tables.number();
    let token = tables.token_of(session)?;
    let original = token.visible_object(object).ok_or(Error::ObjectHandleInvalid)?;
    let draft = Draft::copied(original, &template, read_write)?;
    if draft.is_private()? && !token.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    let copied = draft.with_key_of(original, number)?;
    tables.keep(session, number, copied)?;
    copy.put(number);
    Ok(())
}

/// `C_SetAttributeValue`: all of the template, or nothing.
pub(crate) fn set_attribute_value(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: Template<'_>,
) -> Result<(), Error> {
    let change = |former: &Object| Draft::changed(former, &template)?.with_key_of(former, object);
    module.tables().modify(session, object, change)
}

/// `C_GenerateKey`: a secret key for the application itself, to be wrapped. The card makes none.
pub(crate) fn generate_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    template: Template<'_>,
    mut key: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let read_write = tables.session(session)?.read_write;
    let kind = SecretKind::of(mechanism::generates(mechanism.kind())?);
    if !mechanism.parameter().is_empty() {
        return Err(Error::MechanismParamInvalid);
    }
    let draft = Draft::generated(&template, read_write, &kind)?;
    if draft.is_private()? && !tables.token_of(session)?.logged_in {
        return Err(Error::UserNotLoggedIn);
    }
    key.put(tables.make(session, |number| draft.generate(mechanism.kind(), number))?);
    Ok(())
}

/// `C_DestroyObject`.
pub(crate) fn destroy_object(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    module.tables().destroy(session, object)
}
