//! The template of a certificate that a program of the counter loads onto the card (PKCS#11 v3.2 §4.6.3).

use cns_protocol::card::{Card, Certificate, KeyUse};
use cryptoki_sys as ck;
use cryptoki_sys::CK_ATTRIBUTE_TYPE;

use super::made::given;
use super::{Object, Table};
use crate::error::Error;
use crate::ffi::template::Template;

/// The longest certificate that is sent to the daemon: no card has a longer one.
const LONGEST: usize = 8 * 1024;

/// What may be given empty: the certificate itself says it.
const MAY_BE_EMPTY: [CK_ATTRIBUTE_TYPE; 8] = [
    ck::CKA_ID,
    ck::CKA_SUBJECT,
    ck::CKA_ISSUER,
    ck::CKA_SERIAL_NUMBER,
    ck::CKA_START_DATE,
    ck::CKA_END_DATE,
    ck::CKA_CHECK_VALUE,
    ck::CKA_PUBLIC_KEY_INFO,
];

/// Reads the template, and gives the certificate. What else the template says must be what the object will say; but the
/// label, which is the token's to give.
///
/// # Errors
/// [`Error::TemplateIncomplete`] without certificate or its type, [`Error::AttributeValueInvalid`] for what is none, or not
/// for the card, [`Error::TemplateInconsistent`] where the template says something else than the certificate.
pub(crate) fn read<'t>(card: &Card, template: &'t Template<'_>) -> Result<&'t [u8], Error> {
    let given = given(template)?;
    let wanted = |kind| given.get(&kind).copied().ok_or(Error::TemplateIncomplete);
    if given.get(&ck::CKA_TOKEN) != Some(&&[ck::CK_TRUE][..]) {
        // There are no certificates of sessions.
        return Err(Error::AttributeValueInvalid);
    }
    let (der, kind) = (wanted(ck::CKA_VALUE)?, wanted(ck::CKA_CERTIFICATE_TYPE)?);
    if der.len() > LONGEST || kind != ck::CKC_X_509.to_ne_bytes() {
        return Err(Error::AttributeValueInvalid);
    }
    let object = object(card, der).ok_or(Error::AttributeValueInvalid)?;
    for (kind, value) in &given {
        judge(&object, *kind, value)?;
    }
    Ok(der)
}

fn judge(object: &Object, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<(), Error> {
    let unspecified = ck::CK_CERTIFICATE_CATEGORY_UNSPECIFIED.to_ne_bytes();
    match kind {
        ck::CKA_LABEL => Ok(()),
        ck::CKA_UNIQUE_ID => Err(Error::AttributeReadOnly),
        ck::CKA_CERTIFICATE_CATEGORY if value == unspecified => Ok(()),
        kind if value.is_empty() && MAY_BE_EMPTY.contains(&kind) => Ok(()),
        kind if object.value(kind)? == value => Ok(()),
        _ => Err(Error::TemplateInconsistent),
    }
}

/// The object that the certificate will be; nothing for what is no certificate of an RSA key.
fn object(card: &Card, der: &[u8]) -> Option<Object> {
    let certificate = Certificate {
        key_use: KeyUse::Signature,
        der: der.to_vec(),
        subject: String::new(),
        issuer: String::new(),
        serial_number: String::new(),
        not_before: String::new(),
        not_after: String::new(),
        sha256: String::new(),
        key_bits: 0,
        pin_for_each_use: true,
        status: None,
    };
    Object::of(card, &certificate).into_iter().next()
}

impl Table {
    /// `CKA_START_DATE`, `CKA_END_DATE` and `CKA_SUBJECT` of a key that has no certificate yet.
    pub(super) fn without_certificate(&mut self) {
        for kind in [ck::CKA_START_DATE, ck::CKA_END_DATE, ck::CKA_SUBJECT] {
            self.bytes(kind, b"");
        }
    }
}
