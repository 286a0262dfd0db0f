//! What a certificate of each kind must say, and of whom.

use std::fmt;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{COMMON_NAME, COUNTRY_NAME, GIVEN_NAME, SERIAL_NUMBER, SURNAME};
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Any, Decode, Sequence, Tag, Tagged};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::Name;

use super::{CheckError, extension};

/// The policy of CNS authentication certificates.
const CNS_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.76.16.2.1");
const QC_STATEMENTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.3");
// ETSI EN 319 412-5 §4.2.1 and §4.2.2.
const QC_COMPLIANCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.1");
const QC_SSCD: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.4");

/// The kinds of certificate on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The CNS authentication certificate.
    Authentication,
    /// The qualified certificate for signatures.
    Signature,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "a CNS authentication certificate",
            Self::Signature => "a qualified signature certificate",
        })
    }
}

/// Whose card it is, in the words of its personal data.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// Codice fiscale.
    pub codice_fiscale: &'a str,
    /// Name.
    pub given_name: &'a str,
    /// Surname.
    pub surname: &'a str,
}

impl fmt::Debug for Holder<'_> {
    /// Personal data do not go to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holder(..)")
    }
}

/// The holder's data as a signature certificate's subject has them.
pub(in crate::authority) struct Subject {
    codice_fiscale: String,
    given_name: String,
    surname: String,
}

impl Subject {
    /// What is absent reads as empty, which no holder's data equal.
    pub(in crate::authority) fn read(name: &Name) -> Self {
        let number = attribute(name, SERIAL_NUMBER).unwrap_or_default();
        Self {
            codice_fiscale: number.strip_prefix("TINIT-").unwrap_or_default().to_owned(),
            given_name: attribute(name, GIVEN_NAME).unwrap_or_default(),
            surname: attribute(name, SURNAME).unwrap_or_default(),
        }
    }

    /// The same, to be compared with.
    pub(in crate::authority) fn holder(&self) -> Holder<'_> {
        Holder { codice_fiscale: &self.codice_fiscale, given_name: &self.given_name, surname: &self.surname }
    }
}

#[derive(Sequence)]
struct QcStatement {
    id: ObjectIdentifier,
    info: Option<Any>,
}

/// Judges what the certificate says against what it should.
pub(super) fn check(
    certificate: &Certificate,
    holder: &Holder<'_>,
    profile: Profile,
) -> Result<(), CheckError> {
    match profile {
        Profile::Authentication => check_authentication(certificate, holder),
        Profile::Signature => check_signature(certificate, holder),
    }
}

fn check_authentication(certificate: &Certificate, holder: &Holder<'_>) -> Result<(), CheckError> {
    let profile = Profile::Authentication;
    let usage = extension::<KeyUsage>(certificate)?.ok_or(CheckError::KeyUsage(profile))?.0;
    if !usage.contains(KeyUsages::DigitalSignature) || usage.contains(KeyUsages::NonRepudiation) {
        return Err(CheckError::KeyUsage(profile));
    }
    let extended = extension::<ExtendedKeyUsage>(certificate)?;
    if !extended.is_some_and(|usages| usages.0.contains(&ID_KP_CLIENT_AUTH)) {
        return Err(CheckError::ExtendedKeyUsage(profile));
    }
    if !policies(certificate)?.contains(&CNS_POLICY) {
        return Err(CheckError::Policy(profile));
    }
    let name = attribute(&certificate.tbs_certificate.subject, COMMON_NAME).unwrap_or_default();
    match name.split_once('/') {
        Some((codice_fiscale, _)) if codice_fiscale == holder.codice_fiscale => Ok(()),
        Some(_) | None => Err(CheckError::Holder("codice fiscale")),
    }
}

fn check_signature(certificate: &Certificate, holder: &Holder<'_>) -> Result<(), CheckError> {
    let profile = Profile::Signature;
    let usage = extension::<KeyUsage>(certificate)?.ok_or(CheckError::KeyUsage(profile))?.0;
    // CNIPA deliberation 45/2009 art. 12: nonRepudiation, and nothing beside it.
    if usage != KeyUsages::NonRepudiation {
        return Err(CheckError::KeyUsage(profile));
    }
    if policies(certificate)?.is_empty() {
        return Err(CheckError::Policy(profile));
    }
    let statements = qc_statements(certificate)?;
    if ![QC_COMPLIANCE, QC_SSCD].iter().all(|id| statements.contains(id)) {
        return Err(CheckError::NotQualified);
    }
    let subject = &certificate.tbs_certificate.subject;
    if attribute(subject, COUNTRY_NAME).as_deref() != Some("IT") {
        return Err(CheckError::Holder("country"));
    }
    check_named(certificate, holder.codice_fiscale)?;
    let subject = Subject::read(subject);
    if !same_name(&subject.given_name, holder.given_name) {
        return Err(CheckError::Holder("name"));
    }
    if !same_name(&subject.surname, holder.surname) {
        return Err(CheckError::Holder("surname"));
    }
    Ok(())
}

/// Whether the subject of a signature certificate has this codice fiscale.
pub(super) fn check_named(certificate: &Certificate, codice_fiscale: &str) -> Result<(), CheckError> {
    let subject = Subject::read(&certificate.tbs_certificate.subject);
    if subject.codice_fiscale.is_empty() || subject.codice_fiscale != codice_fiscale {
        return Err(CheckError::Holder("codice fiscale"));
    }
    Ok(())
}

/// Authorities write names in their own case and spacing.
fn same_name(one: &str, other: &str) -> bool {
    let words = |name: &str| name.split_whitespace().map(str::to_uppercase).collect::<Vec<_>>();
    !words(one).is_empty() && words(one) == words(other)
}

fn policies(certificate: &Certificate) -> Result<Vec<ObjectIdentifier>, CheckError> {
    let policies = extension::<CertificatePolicies>(certificate)?;
    Ok(policies.into_iter().flat_map(|policies| policies.0).map(|policy| policy.policy_identifier).collect())
}

fn qc_statements(certificate: &Certificate) -> Result<Vec<ObjectIdentifier>, CheckError> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut found = Vec::new();
    for extension in extensions.filter(|extension| extension.extn_id == QC_STATEMENTS) {
        let statements = Vec::<QcStatement>::from_der(extension.extn_value.as_bytes());
        found.extend(statements.map_err(CheckError::Malformed)?.into_iter().map(|statement| statement.id));
    }
    Ok(found)
}

/// The value of a subject attribute that stands once; twice is as good as not at all.
fn attribute(subject: &Name, oid: ObjectIdentifier) -> Option<String> {
    let mut values = subject.0.iter().flat_map(|rdn| rdn.0.iter()).filter(|attribute| attribute.oid == oid);
    let value = values.next()?;
    if values.next().is_some() { None } else { text(&value.value) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_in_letters_not_in_case() {
        assert!(same_name("Mario  Rossi", "MARIO ROSSI"));
        assert!(same_name("Niccolò", "NICCOLÒ"));
        assert!(!same_name("Maria", "MARIO"));
        assert!(!same_name("", "MARIO"));
        assert!(!same_name("", " "), "a name that is absent equals none");
    }
}
