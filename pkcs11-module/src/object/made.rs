//! Objects that an application makes for itself: RSA public keys, to verify and encrypt with, and secret keys, to wrap and
//! to unwrap into (PKCS#11 v2.40 §4.8, §4.10). They are session objects: the card never sees them.
//!
//! [`Draft`] is a template that was read and judged; [`change`] has what may be changed of an object that is there.

mod change;

use std::collections::BTreeMap;
use std::sync::Arc;

use cns_secret::Secret;
use cryptoki_sys as ck;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_KEY_TYPE, CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_ULONG};

use super::{Attribute, Key, Object, Origin, SecretKey, Table, bit_length};
use crate::error::Error;
use crate::ffi::template::{Template, UNAVAILABLE};
use crate::public_key::{PublicKey, Uses};

/// What every object may be given.
const COMMON: [CK_ATTRIBUTE_TYPE; 12] = [
    ck::CKA_CLASS,
    ck::CKA_TOKEN,
    ck::CKA_PRIVATE,
    ck::CKA_MODIFIABLE,
    ck::CKA_COPYABLE,
    ck::CKA_DESTROYABLE,
    ck::CKA_LABEL,
    ck::CKA_KEY_TYPE,
    ck::CKA_ID,
    ck::CKA_START_DATE,
    ck::CKA_END_DATE,
    ck::CKA_DERIVE,
];

/// What an RSA public key may be given besides.
const PUBLIC: [CK_ATTRIBUTE_TYPE; 8] = [
    ck::CKA_SUBJECT,
    ck::CKA_ENCRYPT,
    ck::CKA_VERIFY,
    ck::CKA_VERIFY_RECOVER,
    ck::CKA_WRAP,
    ck::CKA_MODULUS,
    ck::CKA_PUBLIC_EXPONENT,
    ck::CKA_PUBLIC_KEY_INFO,
];

/// What a secret key may be given besides.
const SECRET: [CK_ATTRIBUTE_TYPE; 10] = [
    ck::CKA_SENSITIVE,
    ck::CKA_EXTRACTABLE,
    ck::CKA_ENCRYPT,
    ck::CKA_DECRYPT,
    ck::CKA_SIGN,
    ck::CKA_VERIFY,
    ck::CKA_WRAP,
    ck::CKA_UNWRAP,
    ck::CKA_VALUE,
    ck::CKA_VALUE_LEN,
];

/// The longest secret key that is generated, in bytes: a longer one could not be wrapped with any key here.
const LONGEST_GENERATED: usize = 512;

/// A kind of secret key, as its attributes say it.
pub(crate) struct SecretKind {
    class: [u8; size_of::<CK_ULONG>()],
    key_type: [u8; size_of::<CK_ULONG>()],
}

impl SecretKind {
    /// Keys of this type.
    pub(crate) fn of(key_type: CK_KEY_TYPE) -> Self {
        Self { class: ck::CKO_SECRET_KEY.to_ne_bytes(), key_type: key_type.to_ne_bytes() }
    }
}

/// A template's attributes, each once.
pub(super) fn given<'t>(template: &'t Template<'_>) -> Result<BTreeMap<CK_ATTRIBUTE_TYPE, &'t [u8]>, Error> {
    let mut given = BTreeMap::new();
    for (kind, value) in template.iter() {
        if given.insert(kind, value).is_some() {
            return Err(Error::TemplateInconsistent);
        }
    }
    Ok(given)
}

/// What an object of a class may be given besides [`COMMON`]; nothing for a class that no application makes.
fn own_attributes(class: CK_OBJECT_CLASS) -> Option<&'static [CK_ATTRIBUTE_TYPE]> {
    match class {
        ck::CKO_PUBLIC_KEY => Some(&PUBLIC),
        ck::CKO_SECRET_KEY => Some(&SECRET),
        _ => None,
    }
}

/// A template that was read and judged.
pub(crate) struct Draft<'t> {
    given: BTreeMap<CK_ATTRIBUTE_TYPE, &'t [u8]>,
    class: CK_OBJECT_CLASS,
}

impl<'t> Draft<'t> {
    /// Reads a template.
    ///
    /// # Errors
    /// What the standard calls it (PKCS#11 v2.40 §4.1.1), and [`Error::TokenWriteProtected`] for an object that would have
    /// to be on the card: only a counter's procedure writes there.
    pub(crate) fn read(template: &'t Template<'_>, read_write: bool) -> Result<Self, Error> {
        let mut draft = Self { given: given(template)?, class: 0 };
        draft.class = draft.number(ck::CKA_CLASS)?.ok_or(Error::TemplateIncomplete)?;
        draft.judge(read_write)?;
        Ok(draft)
    }

    /// Reads the template of a secret key that is to be generated: what the mechanism says need not be said again.
    ///
    /// # Errors
    /// As [`Draft::read`], and [`Error::TemplateInconsistent`] where the template says something else than the mechanism.
    pub(crate) fn generated(
        template: &'t Template<'_>,
        read_write: bool,
        kind: &'t SecretKind,
    ) -> Result<Self, Error> {
        let mut given = given(template)?;
        if given.contains_key(&ck::CKA_VALUE) {
            return Err(Error::TemplateInconsistent);
        }
        for (attribute, value) in [(ck::CKA_CLASS, &kind.class), (ck::CKA_KEY_TYPE, &kind.key_type)] {
            if *given.entry(attribute).or_insert(value) != value {
                return Err(Error::TemplateInconsistent);
            }
        }
        let draft = Self { given, class: ck::CKO_SECRET_KEY };
        draft.judge(read_write)?;
        Ok(draft)
    }

    /// Whether there can be such an object.
    fn judge(&self, read_write: bool) -> Result<(), Error> {
        if self.flag(ck::CKA_TOKEN, false)? {
            return Err(if read_write { Error::TokenWriteProtected } else { Error::SessionReadOnly });
        }
        let own = own_attributes(self.class).ok_or(Error::AttributeValueInvalid)?;
        if self.given.keys().any(|kind| !COMMON.contains(kind) && !own.contains(kind)) {
            return Err(Error::AttributeTypeInvalid);
        }
        // What no object here can be.
        if self.flag(ck::CKA_DERIVE, false)? {
            return Err(Error::AttributeValueInvalid);
        }
        for kind in [ck::CKA_START_DATE, ck::CKA_END_DATE] {
            if !matches!(self.bytes(kind).len(), 0 | 8) {
                return Err(Error::AttributeValueInvalid);
            }
        }
        let is_known = match (self.class, self.key_type()?) {
            (ck::CKO_PUBLIC_KEY, kind) => kind == ck::CKK_RSA,
            (_, kind) => [ck::CKK_GENERIC_SECRET, ck::CKK_AES, ck::CKK_DES2, ck::CKK_DES3].contains(&kind),
        };
        if is_known { Ok(()) } else { Err(Error::AttributeValueInvalid) }
    }

    /// Whether only who is logged in may see it: secret keys, unless the template says otherwise.
    pub(crate) fn is_private(&self) -> Result<bool, Error> {
        self.flag(ck::CKA_PRIVATE, self.class == ck::CKO_SECRET_KEY)
    }

    /// The object, as `C_CreateObject` makes it.
    ///
    /// # Errors
    /// When something is missing or cannot be.
    pub(crate) fn create(&self, number: CK_ULONG) -> Result<Object, Error> {
        if self.class == ck::CKO_PUBLIC_KEY {
            return self.public_key(number);
        }
        if self.given.contains_key(&ck::CKA_VALUE_LEN) {
            return Err(Error::TemplateInconsistent);
        }
        let value = self.given.get(&ck::CKA_VALUE).ok_or(Error::TemplateIncomplete)?;
        if value.is_empty() || !self.fits(value.len())? {
            return Err(Error::AttributeValueInvalid);
        }
        self.secret_key(Secret::copy_from(value)?, Origin::OUTSIDE, number)
    }

    /// The secret key that `C_GenerateKey` makes, of the system's random numbers: it is no key of the card.
    ///
    /// # Errors
    /// When the length is missing or cannot be, or no random numbers can be had.
    pub(crate) fn generate(&self, made_with: CK_MECHANISM_TYPE, number: CK_ULONG) -> Result<Object, Error> {
        let length = self.number(ck::CKA_VALUE_LEN)?.ok_or(Error::TemplateIncomplete)?;
        let length = usize::try_from(length).map_err(|_| Error::KeySizeRange)?;
        if length == 0 || length > LONGEST_GENERATED || !self.fits(length)? {
            return Err(Error::KeySizeRange);
        }
        let mut value = Secret::zeroed(length)?;
        getrandom::fill(value.expose_mut()).map_err(|_| Error::General)?;
        self.secret_key(value, Origin::generated(made_with), number)
    }

    /// What `C_UnwrapKey` needs to know before it asks the card: the key's length, where the template or the type says it.
    ///
    /// # Errors
    /// When the template is not one of a secret key without a value, or its length cannot be.
    pub(crate) fn unwrapped_length(&self) -> Result<Option<usize>, Error> {
        if self.class != ck::CKO_SECRET_KEY || self.given.contains_key(&ck::CKA_VALUE) {
            return Err(Error::TemplateInconsistent);
        }
        let said = match self.number(ck::CKA_VALUE_LEN)? {
            Some(length) => Some(usize::try_from(length).map_err(|_| Error::AttributeValueInvalid)?),
            None => match self.key_type()? {
                ck::CKK_DES2 => Some(16),
                ck::CKK_DES3 => Some(24),
                _ => None,
            },
        };
        match said {
            Some(length) if length == 0 || !self.fits(length)? => Err(Error::AttributeValueInvalid),
            said => Ok(said),
        }
    }

    /// Whether a key of this type can have so many bytes.
    pub(crate) fn fits(&self, length: usize) -> Result<bool, Error> {
        Ok(match self.key_type()? {
            ck::CKK_AES => matches!(length, 16 | 24 | 32),
            ck::CKK_DES2 => length == 16,
            ck::CKK_DES3 => length == 24,
            _ => true,
        })
    }

    /// The secret key with this value.
    ///
    /// # Errors
    /// When a flag is none.
    pub(crate) fn secret_key(
        &self,
        value: Secret,
        origin: Origin,
        number: CK_ULONG,
    ) -> Result<Object, Error> {
        let (sensitive, extractable) =
            (self.flag(ck::CKA_SENSITIVE, false)?, self.flag(ck::CKA_EXTRACTABLE, true)?);
        let origin = Origin {
            always_sensitive: origin.always_sensitive && sensitive,
            never_extractable: origin.never_extractable && !extractable,
            ..origin
        };
        let mut table = self.table(number)?;
        table.flag(ck::CKA_SENSITIVE, sensitive);
        table.flag(ck::CKA_EXTRACTABLE, extractable);
        table.flag(ck::CKA_ALWAYS_SENSITIVE, origin.always_sensitive);
        table.flag(ck::CKA_NEVER_EXTRACTABLE, origin.never_extractable);
        table.flag(ck::CKA_LOCAL, origin.made_with.is_some());
        table.number(ck::CKA_KEY_GEN_MECHANISM, origin.made_with.unwrap_or(UNAVAILABLE));
        for kind in [ck::CKA_TRUSTED, ck::CKA_WRAP_WITH_TRUSTED] {
            table.flag(kind, false);
        }
        for kind in
            [ck::CKA_ENCRYPT, ck::CKA_DECRYPT, ck::CKA_SIGN, ck::CKA_VERIFY, ck::CKA_WRAP, ck::CKA_UNWRAP]
        {
            table.flag(kind, self.flag(kind, false)?);
        }
        table.number(ck::CKA_VALUE_LEN, CK_ULONG::try_from(value.len()).map_err(|_| Error::General)?);
        let is_told = extractable && !sensitive;
        table.0.insert(ck::CKA_VALUE, if is_told { Attribute::OfKey } else { Attribute::Sensitive });
        Ok(table.finish(Key::Secret(Arc::new(SecretKey { value, extractable, origin }))))
    }

    fn public_key(&self, number: CK_ULONG) -> Result<Object, Error> {
        let wanted = |kind| self.given.get(&kind).copied().ok_or(Error::TemplateIncomplete);
        let (modulus, exponent) = (wanted(ck::CKA_MODULUS)?, wanted(ck::CKA_PUBLIC_EXPONENT)?);
        let uses = Uses {
            verify: self.flag(ck::CKA_VERIFY, true)?,
            verify_recover: self.flag(ck::CKA_VERIFY_RECOVER, true)?,
            encrypt: self.flag(ck::CKA_ENCRYPT, true)?,
            wrap: self.flag(ck::CKA_WRAP, true)?,
        };
        let key = PublicKey::new(modulus, exponent, uses).ok_or(Error::AttributeValueInvalid)?;
        let mut table = self.table(number)?;
        table.uses(uses);
        table.flag(ck::CKA_TRUSTED, false);
        table.bytes(ck::CKA_MODULUS, modulus);
        table.bytes(ck::CKA_PUBLIC_EXPONENT, exponent);
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let bits = bit_length(modulus.get(zeros..).unwrap_or_default());
        table.number(ck::CKA_MODULUS_BITS, CK_ULONG::from(bits));
        table.bytes(ck::CKA_SUBJECT, self.bytes(ck::CKA_SUBJECT));
        table.bytes(ck::CKA_PUBLIC_KEY_INFO, self.bytes(ck::CKA_PUBLIC_KEY_INFO));
        Ok(table.finish(Key::Public(Arc::new(key))))
    }

    /// What both have.
    fn table(&self, number: CK_ULONG) -> Result<Table, Error> {
        let mut table = Table(BTreeMap::new());
        table.number(ck::CKA_CLASS, self.class);
        table.flag(ck::CKA_TOKEN, false);
        table.flag(ck::CKA_PRIVATE, self.is_private()?);
        for kind in [ck::CKA_MODIFIABLE, ck::CKA_COPYABLE, ck::CKA_DESTROYABLE] {
            table.flag(kind, self.flag(kind, true)?);
        }
        table.bytes(ck::CKA_UNIQUE_ID, format!("session-{number}").as_bytes());
        table.number(ck::CKA_KEY_TYPE, self.key_type()?);
        table.flag(ck::CKA_DERIVE, false);
        table.flag(ck::CKA_LOCAL, false);
        table.number(ck::CKA_KEY_GEN_MECHANISM, UNAVAILABLE);
        for kind in [ck::CKA_LABEL, ck::CKA_ID, ck::CKA_START_DATE, ck::CKA_END_DATE] {
            table.bytes(kind, self.bytes(kind));
        }
        Ok(table)
    }

    fn key_type(&self) -> Result<CK_KEY_TYPE, Error> {
        self.number(ck::CKA_KEY_TYPE)?.ok_or(Error::TemplateIncomplete)
    }

    fn bytes(&self, kind: CK_ATTRIBUTE_TYPE) -> &'t [u8] {
        self.given.get(&kind).copied().unwrap_or_default()
    }

    fn flag(&self, kind: CK_ATTRIBUTE_TYPE, unless_given: bool) -> Result<bool, Error> {
        match self.given.get(&kind) {
            None => Ok(unless_given),
            Some([ck::CK_FALSE]) => Ok(false),
            Some([ck::CK_TRUE]) => Ok(true),
            Some(_) => Err(Error::AttributeValueInvalid),
        }
    }

    fn number(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<CK_ULONG>, Error> {
        let Some(value) = self.given.get(&kind) else { return Ok(None) };
        let bytes = (*value).try_into().map_err(|_| Error::AttributeValueInvalid)?;
        Ok(Some(CK_ULONG::from_ne_bytes(bytes)))
    }
}
