//! A distinguished name, read into the attributes that the profiles speak of.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc3280::{EMAIL_ADDRESS, PSEUDONYM};
use const_oid::db::rfc4519::{
    COMMON_NAME, COUNTRY_NAME, DN_QUALIFIER, GIVEN_NAME, LOCALITY_NAME, ORGANIZATION_NAME,
    ORGANIZATIONAL_UNIT_NAME, SERIAL_NUMBER, ST, SURNAME, TITLE,
};
use der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Any, Tag, Tagged};
use serde::Deserialize;
use x509_cert::name::Name;

use super::ProfileError;

/// The attribute types that a subject may have, with their names and the upper bounds of RFC 5280 appendix A.1.
const KNOWN: [(ObjectIdentifier, &str, usize); 13] = [
    (COUNTRY_NAME, "countryName", 2),
    (ORGANIZATION_NAME, "organizationName", 64),
    (ORGANIZATIONAL_UNIT_NAME, "organizationalUnitName", 64),
    (COMMON_NAME, "commonName", 64),
    (GIVEN_NAME, "givenName", 64),
    (SURNAME, "surname", 64),
    (SERIAL_NUMBER, "serialNumber", 64),
    (DN_QUALIFIER, "dnQualifier", 64),
    (LOCALITY_NAME, "localityName", 128),
    (ST, "stateOrProvinceName", 128),
    (TITLE, "title", 64),
    (EMAIL_ADDRESS, "emailAddress", 255),
    (PSEUDONYM, "pseudonym", 128),
];

/// The attributes of a subject, in order, by name.
pub(crate) struct Subject {
    attributes: Vec<(&'static str, String)>,
}

impl Subject {
    /// Reads `name`; refuses attributes that nobody knows and values that are no text.
    pub(crate) fn read(name: &Name) -> Result<Self, ProfileError> {
        let mut attributes = Vec::new();
        for attribute in name.0.iter().flat_map(|rdn| rdn.0.iter()) {
            let (_, label, bound) = KNOWN
                .iter()
                .find(|(oid, _, _)| *oid == attribute.oid)
                .ok_or_else(|| ProfileError::NotAllowed(attribute.oid.to_string()))?;
            let text = text(&attribute.value).filter(|text| (1..=*bound).contains(&text.chars().count()));
            attributes.push((*label, text.ok_or(ProfileError::NotText(label, *bound))?));
        }
        Ok(Self { attributes })
    }

    /// The attribute of this name, if a subject can have it.
    pub(crate) fn label(name: &str) -> Option<&'static str> {
        KNOWN.iter().map(|(_, label, _)| *label).find(|label| *label == name)
    }

    /// All values of `label`.
    pub(crate) fn all<'s>(&'s self, label: &'s str) -> impl Iterator<Item = &'s str> {
        self.attributes.iter().filter(move |(name, _)| *name == label).map(|(_, value)| value.as_str())
    }

    /// Refuses a subject that has not exactly one `label`.
    pub(crate) fn one(&self, label: &'static str) -> Result<(), ProfileError> {
        match self.all(label).count() {
            0 => Err(ProfileError::Missing(label)),
            1 => Ok(()),
            _ => Err(ProfileError::Repeated(label)),
        }
    }

    /// Refuses attributes that are not `allowed`.
    pub(crate) fn only(&self, allowed: impl Fn(&str) -> bool) -> Result<(), ProfileError> {
        match self.attributes.iter().find(|(name, _)| !allowed(name)) {
            Some((name, _)) => Err(ProfileError::NotAllowed((*name).to_owned())),
            None => Ok(()),
        }
    }
}

fn text(value: &Any) -> Option<String> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the tag is the peer's; all others are no DirectoryString"
    )]
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => {
            value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned())
        }
        Tag::TeletexString => {
            value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.as_str().to_owned())
        }
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        _ => None,
    }
}

/// Forms that an attribute of a subject can have.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// The common name of a CNS authentication certificate.
    Cns,
    /// An Italian tax identification number (ETSI EN 319 412-1 §5.1.3).
    Tin,
}

impl Form {
    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::Cns => is_cns_common_name(text),
            Self::Tin => text.strip_prefix("TINIT-").is_some_and(is_codice_fiscale),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Cns => {
                "the codice fiscale, '/', the 16 digits of ID_Carta, '.', and the 28 Base64 characters of the hash of \
                 the personal data"
            }
            Self::Tin => "TINIT- and the codice fiscale",
        }
    }
}

fn is_cns_common_name(name: &str) -> bool {
    let Some((codice_fiscale, rest)) = name.split_once('/') else { return false };
    let Some((id_card, hash)) = rest.split_once('.') else { return false };
    is_codice_fiscale(codice_fiscale)
        && id_card.len() == 16
        && id_card.bytes().all(|byte| byte.is_ascii_digit())
        && is_base64_of_sha1(hash)
}

/// 20 bytes are 27 characters and one of padding.
fn is_base64_of_sha1(text: &str) -> bool {
    text.len() == 28
        && text.strip_suffix('=').is_some_and(|text| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
        })
}

/// Whether `text` has the form of a codice fiscale: letters and digits in their places, with letters allowed in
/// place of digits where two persons would otherwise have the same one (omocodia, decree of 23 December 1976).
fn is_codice_fiscale(text: &str) -> bool {
    const FORM: &[u8] = b"AAAAAA00A00A000A";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte),
            _ => byte.is_ascii_uppercase(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codice_fiscale_by_form() {
        assert!(is_codice_fiscale("RSSMRA80A01H501U"));
        assert!(is_codice_fiscale("RSSMRAULAL1HRLML"), "omocodia");
        for wrong in [
            "",
            "RSSMRA80A01H501",
            "rssmra80a01h501u",
            "RSSMRA80A01H50AU",
            "1SSMRA80A01H501U",
            "RSSMRA80A01H501UU",
        ] {
            assert!(!is_codice_fiscale(wrong), "{wrong}");
        }
    }

    #[test]
    fn common_name_of_a_cns() {
        let good = "RSSMRA80A01H501U/6999000000001230.2jmj7l5rSw0yVb/vlWAYkK/YBwk=";
        assert_eq!(good.len(), 62);
        assert!(is_cns_common_name(good));
        for wrong in [
            "",
            "RSSMRA80A01H501U",
            "RSSMRA80A01H501U/6999000000001230",
            "RSSMRA80A01H501U/699900000000123.2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "RSSMRA80A01H501U/6999000000001230.2jmj7l5rSw0yVb/vlWAYkK/YBwkA",
            "RSSMRA80A01H501U/6999000000001230.2jmj7l5rSw0yVb_vlWAYkK/YBwk=",
            "MARIO ROSSI/6999000000001230.2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        ] {
            assert!(!is_cns_common_name(wrong), "{wrong}");
        }
    }
}
