//! A certificate as a card holds it: at the beginning of a file that is filled up with zeros.

use std::time::Duration;

use cns_apdu::certificate_container::{self, CertificateForm};
use cns_apdu::generation::FilePlace;
use cns_protocol::card::{AuthorityCertificate, Certificate, Finding, KeyUse};
use const_oid::db::rfc4519::CN;
use der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Decode, Encode};
use rsa::RsaPublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use x509_cert::Certificate as X509;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::super::{CardError, Chip};
use super::finding;
use crate::reader::Budget;

/// A certificate that could be read, with an RSA key.
pub(crate) struct Parsed {
    pub(crate) der: Vec<u8>,
    pub(crate) key: RsaPublicKey,
    /// The subject's common name, or nothing.
    pub(crate) common_name: String,
    certificate: X509,
}

/// What is read of a certificate's file to learn the length of the certificate: less than any certificate has, so that no
/// byte behind it is read.
pub(crate) const FIRST_PIECE: usize = 256;

/// Reads a certificate as far as its DER goes. Without one, the second part says what lies there instead; both are
/// nothing when there is no such file.
pub(super) fn read(
    chip: &mut Chip<'_>,
    place: &FilePlace,
) -> Result<(Option<Parsed>, Option<Finding>), CardError> {
    read_of_length(chip, place, FIRST_PIECE)
}

/// As [`read`], where the length is told elsewhere: rightly or not.
pub(super) fn read_of_length(
    chip: &mut Chip<'_>,
    place: &FilePlace,
    length: usize,
) -> Result<(Option<Parsed>, Option<Finding>), CardError> {
    Ok(match read_file(chip, place, length)? {
        File::Absent => (None, None),
        File::Closed(finding) => (None, Some(finding)),
        File::Content(content) => of_content(place, &content),
    })
}

/// As [`read_of_length`], of a file that may as well hold the certificate of an authority, with a key of any kind.
pub(super) fn read_any_of_length(
    chip: &mut Chip<'_>,
    place: &FilePlace,
    length: usize,
) -> Result<Found, CardError> {
    Ok(match read_file(chip, place, length)? {
        File::Absent => Found::Absent,
        File::Closed(finding) => Found::Other(finding),
        File::Content(content) => match authority(&content) {
            Some(authority) => Found::Authority(Box::new(authority)),
            None => match of_content(place, &content) {
                (Some(parsed), _) => Found::Holders(Box::new(parsed)),
                (None, Some(finding)) => Found::Other(finding),
                (None, None) => Found::Absent,
            },
        },
    })
}

/// What lies in a file where any certificate might be.
pub(super) enum Found {
    /// There is no such file.
    Absent,
    /// A certificate with an RSA key, of no authority.
    Holders(Box<Parsed>),
    /// The certificate of an authority.
    Authority(Box<AuthorityCertificate>),
    /// Something else.
    Other(Finding),
}

/// What reading a file brought.
enum File {
    Absent,
    /// It is there, and has no certificate for us.
    Closed(Finding),
    Content(Vec<u8>),
}

fn read_file(chip: &mut Chip<'_>, place: &FilePlace, length: usize) -> Result<File, CardError> {
    let first =
        if (FIRST_PIECE..=certificate_container::LONGEST).contains(&length) { length } else { FIRST_PIECE };
    let read = chip.within(Budget::CERTIFICATE, |chip| chip.read_place(place, first, der_length));
    match read {
        Ok(Some(Some(content))) => Ok(File::Content(content)),
        Ok(Some(None)) => Ok(File::Absent),
        Ok(None) => Ok(File::Closed(finding::too_long(finding::name(place)))),
        // A file that is there but cannot be read now has no certificate for us.
        Err(CardError::Refused { .. } | CardError::Answer { .. }) => {
            Ok(File::Closed(finding::protected(finding::name(place))))
        }
        Err(error) => Err(error),
    }
}

fn of_content(place: &FilePlace, content: &[u8]) -> (Option<Parsed>, Option<Finding>) {
    match parse(content) {
        Some(parsed) => (Some(parsed), None),
        None => (None, Some(finding::of_content(finding::name(place), content))),
    }
}

/// Reads the certificate of an authority (basicConstraints says so) from the beginning of a file; nothing when there is
/// none.
fn authority(content: &[u8]) -> Option<AuthorityCertificate> {
    let der = certificate_container::open(content).ok()?;
    let certificate = X509::from_der(&der).ok()?;
    if !is_authority(&certificate) {
        return None;
    }
    let tbs = &certificate.tbs_certificate;
    Some(AuthorityCertificate {
        subject: tbs.subject.to_string(),
        common_name: common_name(&certificate),
        issuer: tbs.issuer.to_string(),
        serial_number: hex::encode(tbs.serial_number.as_bytes()),
        not_before: tbs.validity.not_before.to_date_time().to_string(),
        not_after: tbs.validity.not_after.to_date_time().to_string(),
        sha256: hex::encode(Sha256::digest(&der)),
        der: der.into_owned(),
    })
}

fn is_authority(certificate: &X509) -> bool {
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>().ok().flatten();
    constraints.is_some_and(|(_, constraints)| constraints.ca)
}

/// How many bytes of a file are to be read for the certificate at its beginning; nothing when there is none.
pub(crate) fn der_length(content: &[u8]) -> Option<usize> {
    CertificateForm::of(content).map(CertificateForm::needed)
}

/// Reads a certificate from the beginning of a file; nothing when there is none, or none with an RSA key.
pub(crate) fn parse(content: &[u8]) -> Option<Parsed> {
    let der = certificate_container::open(content).ok()?;
    let certificate = X509::from_der(&der).ok()?;
    let spki = certificate.tbs_certificate.subject_public_key_info.to_der().ok()?;
    let key = <RsaPublicKey as spki::DecodePublicKey>::from_public_key_der(&spki).ok()?;
    Some(Parsed { der: der.into_owned(), key, common_name: common_name(&certificate), certificate })
}

fn common_name(certificate: &X509) -> String {
    let attributes = certificate.tbs_certificate.subject.0.iter().flat_map(|set| set.0.iter());
    let value = attributes.filter(|attribute| attribute.oid == CN).map(|attribute| &attribute.value).next();
    let text = value.and_then(|value| {
        let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
        let printable = || value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned());
        let teletex = || value.decode_as::<TeletexStringRef<'_>>().map(|text| text.as_str().to_owned());
        utf8.or_else(|_| printable()).or_else(|_| teletex()).ok()
    });
    text.unwrap_or_default()
}

impl Parsed {
    /// Whether the key's modulus has so many bits.
    pub(crate) fn is_of_size(&self, bits: u16) -> bool {
        self.key.n().bits() == usize::from(bits)
    }

    /// When it ends and begins, as far as one is to be preferred to another: there is no clock here.
    pub(super) fn validity(&self) -> (Duration, Duration) {
        let validity = &self.certificate.tbs_certificate.validity;
        (validity.not_after.to_unix_duration(), validity.not_before.to_unix_duration())
    }

    /// Whether its key usage says that it is for signatures (nonRepudiation, also called contentCommitment).
    pub(crate) fn is_for_signatures(&self) -> bool {
        let usage = self.certificate.tbs_certificate.get::<KeyUsage>().ok().flatten();
        usage.is_some_and(|(_, usage)| usage.non_repudiation())
    }

    /// Whether data or keys may be encrypted for its key: the key usage says keyEncipherment or dataEncipherment, or there
    /// is none, which limits nothing (RFC 5280 §4.2.1.3).
    pub(crate) fn allows_encryption(&self) -> bool {
        match self.certificate.tbs_certificate.get::<KeyUsage>() {
            Ok(Some((_, usage))) => usage.key_encipherment() || usage.data_encipherment(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// What clients are told of it.
    pub(crate) fn describe(&self, key_use: KeyUse) -> Certificate {
        let tbs = &self.certificate.tbs_certificate;
        Certificate {
            key_use,
            der: self.der.clone(),
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            serial_number: hex::encode(tbs.serial_number.as_bytes()),
            not_before: tbs.validity.not_before.to_date_time().to_string(),
            not_after: tbs.validity.not_after.to_date_time().to_string(),
            sha256: hex::encode(Sha256::digest(&self.der)),
            key_bits: u32::try_from(self.key.n().bits()).unwrap_or(u32::MAX),
            // The PIN of the signature key is never kept (§1.3.7).
            pin_for_each_use: key_use == KeyUse::Signature,
            status: None,
        }
    }
}
