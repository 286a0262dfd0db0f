//! Object management (PKCS#11 v2.40 §5.7).

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_ULONG};

use crate::error::Error;
use crate::ffi::buffer::{Fill, Put};
use crate::ffi::template::{Blanks, Template};
use crate::object::Object;
use crate::state::{Module, Tables};

/// `C_FindObjectsInit`.
pub(crate) fn find_objects_init(
    module: &Module,
    session: CK_SESSION_HANDLE,
    template: Template<'_>,
) -> Result<(), Error> {
    module.refresh_session(session)?;
    let mut tables = module.tables();
    if tables.session(session)?.found.is_some() {
        return Err(Error::OperationActive);
    }
    let visible = tables.token_of(session)?.visible();
    let found =
        visible.filter(|(_, object)| object.matches(template.iter())).map(|(handle, _)| handle).collect();
    tables.session_mut(session)?.found = Some(found);
    Ok(())
}

/// `C_FindObjects`.
pub(crate) fn find_objects(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut handles: Fill<'_, CK_OBJECT_HANDLE>,
    mut count: Put<'_, CK_ULONG>,
) -> Result<(), Error> {
    let mut tables = module.tables();
    let found = tables.session_mut(session)?.found.as_mut().ok_or(Error::OperationNotInitialized)?;
    let next = handles.room().min(found.len());
    let given: Vec<_> = found.drain(..next).collect();
    handles.add(&given);
    count.put(CK_ULONG::try_from(given.len()).map_err(|_| Error::General)?);
    Ok(())
}

/// `C_FindObjectsFinal`.
pub(crate) fn find_objects_final(module: &Module, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    let mut tables = module.tables();
    tables.session_mut(session)?.found.take().map(drop).ok_or(Error::OperationNotInitialized)
}

/// `C_GetAttributeValue`.
pub(crate) fn get_attribute_value(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    mut template: Blanks<'_>,
) -> Result<(), Error> {
    let tables = module.tables();
    let object = visible(&tables, session, object)?;
    template.fill(|kind| object.value(kind))
}

/// `C_GetObjectSize`.
pub(crate) fn get_object_size(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    mut size: Put<'_, CK_ULONG>,
) -> Result<(), Error> {
    let tables = module.tables();
    let bytes = visible(&tables, session, object)?.size();
    size.put(CK_ULONG::try_from(bytes).map_err(|_| Error::General)?);
    Ok(())
}

fn visible(tables: &Tables, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Result<&Object, Error> {
    let mut visible = tables.token_of(session)?.visible();
    visible.find(|(handle, _)| *handle == object).map(|(_, object)| object).ok_or(Error::ObjectHandleInvalid)
}
