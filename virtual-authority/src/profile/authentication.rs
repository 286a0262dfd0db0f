//! The CNS authentication certificate.
//!
//! Subject `C=IT`, the issuing administration, `CN=<codice fiscale>/<ID_Carta>.<hash>`; key usage without
//! nonRepudiation; extended key usage clientAuth; policy 1.3.76.16.2.1 with a notice that says what it is.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use const_oid::db::rfc5912::ID_QT_UNOTICE;
use der::Any;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::{DisplayText, PolicyInformation, PolicyQualifierInfo, UserNotice};
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::subject::is_codice_fiscale;
use super::{ProfileError, Subject};
use crate::issue::extension;

/// "Certificates of the Carta Nazionale dei Servizi": the technical rules give them this policy.
const CNS_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.76.16.2.1");

/// Identifies the certificate as one of a CNS; RFC 5280 §4.2.1.4 allows 200 characters.
const NOTICE: &str = "Identifies an authentication certificate of the Italian national services card \
                      (Carta Nazionale dei Servizi, CNS)";

const ALLOWED: [&str; 6] = [
    "countryName",
    "organizationName",
    "organizationalUnitName",
    "commonName",
    "localityName",
    "stateOrProvinceName",
];

pub(super) fn check_subject(subject: &Subject) -> Result<(), ProfileError> {
    subject.only(&ALLOWED)?;
    if subject.one("countryName")? != "IT" {
        return Err(ProfileError::Country);
    }
    if is_cns_common_name(subject.one("commonName")?) { Ok(()) } else { Err(ProfileError::CommonName) }
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

pub(super) fn extensions() -> der::Result<Vec<Extension>> {
    let notice =
        UserNotice { notice_ref: None, explicit_text: Some(DisplayText::Utf8String(NOTICE.to_owned())) };
    let policies = CertificatePolicies(vec![PolicyInformation {
        policy_identifier: CNS_POLICY,
        policy_qualifiers: Some(vec![PolicyQualifierInfo {
            policy_qualifier_id: ID_QT_UNOTICE,
            qualifier: Some(Any::encode_from(&notice)?),
        }]),
    }]);
    Ok(vec![
        extension(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
        extension(false, &ExtendedKeyUsage(vec![ID_KP_CLIENT_AUTH]))?,
        extension(false, &policies)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

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
