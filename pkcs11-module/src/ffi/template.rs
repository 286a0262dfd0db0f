//! Attribute templates and mechanisms as the caller passes them.
#![allow(unsafe_code, reason = "the border to C")]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_MECHANISM, CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE,
    CK_RSA_PKCS_OAEP_PARAMS, CK_RSA_PKCS_OAEP_SOURCE_TYPE, CK_ULONG, CKM_RSA_PKCS_OAEP,
};

use crate::error::Error;
use crate::ffi::buffer::In;

/// `CK_UNAVAILABLE_INFORMATION`, which the bindings leave out because it is a cast in the standard's header.
pub(crate) const UNAVAILABLE: CK_ULONG = CK_ULONG::MAX;

/// A template to compare with: types and values.
pub(crate) struct Template<'a> {
    entries: Vec<(CK_ATTRIBUTE_TYPE, In<'a, u8>)>,
}

impl Template<'_> {
    /// Reads the template's table; the values stay where they are.
    ///
    /// # Safety
    /// Unless null, `attributes` points to `count` attributes, each of whose values, unless null, has `ulValueLen`
    /// bytes, and nobody writes to them while this value lives.
    pub(crate) unsafe fn new(attributes: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<Self, Error> {
        // SAFETY: as promised by the caller.
        let attributes = unsafe { In::new(attributes, count)? };
        let read = |attribute: &CK_ATTRIBUTE| {
            // SAFETY: as promised by the caller.
            let value = unsafe { In::new(attribute.pValue.cast::<u8>(), attribute.ulValueLen)? };
            Ok((attribute.type_, value))
        };
        Ok(Self { entries: attributes.items().iter().map(read).collect::<Result<_, Error>>()? })
    }

    /// The types with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &[u8])> {
        self.entries.iter().map(|(kind, value)| (*kind, value.items()))
    }
}

/// A template to be filled in.
pub(crate) struct Blanks<'a> {
    first: NonNull<CK_ATTRIBUTE>,
    count: usize,
    lent: PhantomData<&'a mut CK_ATTRIBUTE>,
}

impl Blanks<'_> {
    /// Checks the pointer and the count.
    ///
    /// # Safety
    /// Unless null, `attributes` points to `count` attributes that can be written, each of whose values, unless
    /// null, has room for `ulValueLen` bytes.
    pub(crate) unsafe fn new(attributes: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Result<Self, Error> {
        // SAFETY: as promised by the caller; only null, alignment and size are looked at.
        let checked = unsafe { In::new(attributes, count)? };
        let count = checked.items().len();
        let first = NonNull::new(attributes).unwrap_or(NonNull::dangling());
        Ok(Self { first, count, lent: PhantomData })
    }

    /// Answers every attribute (PKCS#11 v2.40 §5.7 `C_GetAttributeValue`, cases 1 to 5).
    ///
    /// # Errors
    /// The first attribute's error; the others are answered all the same.
    pub(crate) fn fill<'v>(
        &mut self,
        value_of: impl Fn(CK_ATTRIBUTE_TYPE) -> Result<&'v [u8], Error>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for index in 0..self.count {
            // SAFETY: `index` is below `count`, for which the caller of `new` promised attributes.
            let place = unsafe { self.first.add(index) };
            // SAFETY: the place lies inside the caller's table, which is initialised.
            let mut attribute = unsafe { place.read() };
            let answer = value_of(attribute.type_).and_then(|value| give(&mut attribute, value));
            if answer.is_err() {
                attribute.ulValueLen = UNAVAILABLE;
            }
            // SAFETY: the place lies inside the caller's table, which can be written.
            unsafe { place.write(attribute) };
            outcome = outcome.and(answer);
        }
        outcome
    }
}

fn give(attribute: &mut CK_ATTRIBUTE, value: &[u8]) -> Result<(), Error> {
    let length = CK_ULONG::try_from(value.len()).map_err(|_| Error::General)?;
    if !attribute.pValue.is_null() {
        // The caller's length is compared before it is overwritten.
        if attribute.ulValueLen < length {
            return Err(Error::BufferTooSmall);
        }
        // SAFETY: the caller of `Blanks::new` promised `ulValueLen` bytes of room, and the value needs no more.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast::<u8>(), value.len()) };
    }
    attribute.ulValueLen = length;
    Ok(())
}

/// A mechanism with its parameter.
pub(crate) struct Mechanism<'a> {
    kind: CK_MECHANISM_TYPE,
    parameter: In<'a, u8>,
}

impl Mechanism<'_> {
    /// Reads the mechanism; the parameter stays where it is.
    ///
    /// # Safety
    /// Unless null, `mechanism` can be read, and its parameter, unless null, has `ulParameterLen` bytes that nobody
    /// writes to while this value lives. Where the standard gives the mechanism a parameter with a pointer in it, and
    /// the length is that parameter's, the pointer is as the standard wants it.
    pub(crate) unsafe fn new(mechanism: *const CK_MECHANISM) -> Result<Self, Error> {
        let mechanism = NonNull::new(mechanism.cast_mut()).filter(|mechanism| mechanism.is_aligned());
        // SAFETY: not null and aligned; the caller promised that it can be read.
        let mechanism = unsafe { mechanism.ok_or(Error::ArgumentsBad)?.read() };
        // SAFETY: as promised by the caller.
        let parameter = unsafe { In::new(mechanism.pParameter.cast::<u8>(), mechanism.ulParameterLen)? };
        Ok(Self { kind: mechanism.mechanism, parameter })
    }

    /// The mechanism's type.
    pub(crate) fn kind(&self) -> CK_MECHANISM_TYPE {
        self.kind
    }

    /// The bytes of the parameter.
    pub(crate) fn parameter(&self) -> &[u8] {
        self.parameter.items()
    }

    /// The parameter as `CK_RSA_PKCS_OAEP_PARAMS`; nothing for another mechanism, or when it is none.
    pub(crate) fn oaep_parameter(&self) -> Option<OaepParameter<'_>> {
        let bytes = self.parameter.items();
        if self.kind != CKM_RSA_PKCS_OAEP || bytes.len() != size_of::<CK_RSA_PKCS_OAEP_PARAMS>() {
            return None;
        }
        // SAFETY: there are as many bytes as the structure has, and any bytes are a value of it; `read_unaligned` wants
        // no alignment.
        let given = unsafe { bytes.as_ptr().cast::<CK_RSA_PKCS_OAEP_PARAMS>().read_unaligned() };
        // SAFETY: the mechanism is that of the structure: its pointer is as the caller of `new` promised.
        let label = unsafe { In::new(given.pSourceData.cast::<u8>(), given.ulSourceDataLen) }.ok()?;
        Some(OaepParameter { hash: given.hashAlg, mgf: given.mgf, source: given.source, label })
    }
}

/// What `CK_RSA_PKCS_OAEP_PARAMS` holds.
pub(crate) struct OaepParameter<'a> {
    pub(crate) hash: CK_MECHANISM_TYPE,
    pub(crate) mgf: CK_RSA_PKCS_MGF_TYPE,
    pub(crate) source: CK_RSA_PKCS_OAEP_SOURCE_TYPE,
    /// The label, which the standard calls source data.
    pub(crate) label: In<'a, u8>,
}

#[cfg(test)]
mod tests;
