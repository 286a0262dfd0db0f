//! What may be changed of an object that an application made, in place or in a copy (PKCS#11 v2.40 §4.1.2, §5.7).

use std::collections::BTreeMap;

use cryptoki_sys as ck;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_ULONG};

use super::{COMMON, Draft, given, own_attributes};
use crate::error::Error;
use crate::ffi::template::Template;
use crate::object::{Attribute, Key, Object};

/// What can be changed of a key ("footnote 8" of the standard's tables), in place and in a copy.
const CHANGEABLE: [CK_ATTRIBUTE_TYPE; 15] = [
    ck::CKA_LABEL,
    ck::CKA_ID,
    ck::CKA_START_DATE,
    ck::CKA_END_DATE,
    ck::CKA_SUBJECT,
    ck::CKA_ENCRYPT,
    ck::CKA_DECRYPT,
    ck::CKA_SIGN,
    ck::CKA_VERIFY,
    ck::CKA_VERIFY_RECOVER,
    ck::CKA_WRAP,
    ck::CKA_UNWRAP,
    ck::CKA_SENSITIVE,
    ck::CKA_EXTRACTABLE,
    ck::CKA_COPYABLE,
];

/// What can be changed in a copy only.
const IN_A_COPY: [CK_ATTRIBUTE_TYPE; 4] =
    [ck::CKA_TOKEN, ck::CKA_PRIVATE, ck::CKA_MODIFIABLE, ck::CKA_DESTROYABLE];

/// What changes in one direction only, and to which value.
const ONE_WAY: [(CK_ATTRIBUTE_TYPE, u8); 3] =
    [(ck::CKA_SENSITIVE, ck::CK_TRUE), (ck::CKA_EXTRACTABLE, ck::CK_FALSE), (ck::CKA_COPYABLE, ck::CK_FALSE)];

impl<'t> Draft<'t> {
    /// An object as `C_SetAttributeValue` makes it.
    ///
    /// # Errors
    /// [`Error::ActionProhibited`] for an object that may not be changed, as are all of the card;
    /// [`Error::AttributeReadOnly`] for what no object lets change.
    pub(crate) fn changed(object: &'t Object, template: &'t Template<'_>) -> Result<Self, Error> {
        Self::from(object, ck::CKA_MODIFIABLE, template, &[], true)
    }

    /// An object as `C_CopyObject` makes it.
    ///
    /// # Errors
    /// As [`Draft::changed`], and [`Error::TokenWriteProtected`] for a copy that would have to be on the card.
    pub(crate) fn copied(
        object: &'t Object,
        template: &'t Template<'_>,
        read_write: bool,
    ) -> Result<Self, Error> {
        Self::from(object, ck::CKA_COPYABLE, template, &IN_A_COPY, read_write)
    }

    fn from(
        object: &'t Object,
        permission: CK_ATTRIBUTE_TYPE,
        template: &'t Template<'_>,
        besides: &[CK_ATTRIBUTE_TYPE],
        read_write: bool,
    ) -> Result<Self, Error> {
        if object.value(permission) != Ok(&[ck::CK_TRUE]) {
            return Err(Error::ActionProhibited);
        }
        let class = object.value(ck::CKA_CLASS)?.try_into().map_err(|_| Error::General)?;
        let class = CK_ULONG::from_ne_bytes(class);
        let own = own_attributes(class).ok_or(Error::ActionProhibited)?;
        let mut all = BTreeMap::new();
        for (kind, attribute) in &object.attributes {
            // The value of a secret key stays in locked memory, and its length is the value's.
            let is_given = COMMON.contains(kind) || (own.contains(kind) && *kind != ck::CKA_VALUE_LEN);
            if let (true, Attribute::Value(value)) = (is_given, attribute) {
                all.insert(*kind, value.as_slice());
            }
        }
        for (kind, value) in given(template)? {
            if !COMMON.contains(&kind) && !own.contains(&kind) {
                let is_there = object.attributes.contains_key(&kind);
                return Err(if is_there { Error::AttributeReadOnly } else { Error::AttributeTypeInvalid });
            }
            if !CHANGEABLE.contains(&kind) && !besides.contains(&kind) {
                return Err(Error::AttributeReadOnly);
            }
            let former = all.insert(kind, value);
            let only = ONE_WAY.iter().find(|(one_way, _)| *one_way == kind).map(|(_, only)| [*only]);
            if only.is_some_and(|only| former != Some(value) && value != only.as_slice()) {
                return Err(Error::AttributeReadOnly);
            }
        }
        let draft = Self { given: all, class };
        draft.judge(read_write)?;
        Ok(draft)
    }

    /// The object that the draft says, with the key of the one that it was made from.
    ///
    /// # Errors
    /// When a flag is none, or no locked memory is left.
    pub(crate) fn with_key_of(&self, object: &Object, number: CK_ULONG) -> Result<Object, Error> {
        match &object.key {
            Key::Public(_) => self.public_key(number),
            Key::Secret(key) => self.secret_key(key.value.duplicate()?, key.origin, number),
            Key::None | Key::Private(_) => Err(Error::ActionProhibited),
        }
    }
}
