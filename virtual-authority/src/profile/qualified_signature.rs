//! The qualified certificate for electronic signatures.
//!
//! Subject attributes after CNIPA deliberation 45/2009 art. 12 and ETSI EN 319 412-2; key usage nonRepudiation
//! alone; qcStatements after ETSI EN 319 412-5.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ID_QT_CPS;
use der::asn1::{Ia5String, PrintableString};
use der::{Any, Sequence};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::{PolicyInformation, PolicyQualifierInfo};
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::subject::is_codice_fiscale;
use super::{ProfileError, Subject};
use crate::issue::{extension, extension_of};

/// AgID's identifier of certificates that follow its recommendations on qualified signatures.
const AGID_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.76.16.6");
/// This certifier's own policy, under the number that RFC 5612 sets apart for examples.
const OWN_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");
const PRACTICE_STATEMENT: &str = "https://certifier.example/cps";
const DISCLOSURE_STATEMENT: &str = "https://certifier.example/pds";

/// Document signing (RFC 9336). A qualified certificate normally has no extended key usage; OpenSC takes that for
/// *all* usages, decryption included, and would then sign by PSO: DECIPHER, which a signature key refuses.
const ID_KP_DOCUMENT_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36");

// qcStatements: RFC 3739 §3.2.6, and the statements of ETSI EN 319 412-5 §4.2 and §4.3.
const ID_PE_QC_STATEMENTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.3");
const QC_COMPLIANCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.1");
const QC_RETENTION_PERIOD: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.3");
const QC_SSCD: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.4");
const QC_PDS: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.5");
const QC_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.6");
const QC_TYPE_ESIGN: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.6.1");
/// How many years after its end the certifier keeps what it knows of the certificate.
const RETENTION_YEARS: u8 = 20;

const ALLOWED: [&str; 8] = [
    "countryName",
    "givenName",
    "surname",
    "commonName",
    "serialNumber",
    "organizationName",
    "dnQualifier",
    "localityName",
];

#[derive(Sequence)]
struct QcStatement {
    statement_id: ObjectIdentifier,
    statement_info: Option<Any>,
}

#[derive(Sequence)]
struct PdsLocation {
    url: Ia5String,
    language: PrintableString,
}

pub(super) fn check_subject(subject: &Subject) -> Result<(), ProfileError> {
    subject.only(&ALLOWED)?;
    if subject.one("countryName")? != "IT" {
        return Err(ProfileError::Country);
    }
    for label in ["givenName", "surname", "commonName"] {
        subject.one(label)?;
    }
    // ETSI EN 319 412-1 §5.1.3: tax identification number, country, hyphen, number.
    match subject.one("serialNumber")?.strip_prefix("TINIT-") {
        Some(number) if is_codice_fiscale(number) => Ok(()),
        Some(_) | None => Err(ProfileError::SerialNumber),
    }
}

pub(super) fn extensions() -> der::Result<Vec<Extension>> {
    Ok(vec![
        extension(true, &KeyUsage(KeyUsages::NonRepudiation.into()))?,
        extension(false, &ExtendedKeyUsage(vec![ID_KP_DOCUMENT_SIGNING]))?,
        extension(false, &policies()?)?,
        extension_of(ID_PE_QC_STATEMENTS, false, &qc_statements()?)?,
    ])
}

fn policies() -> der::Result<CertificatePolicies> {
    let practice = PolicyQualifierInfo {
        policy_qualifier_id: ID_QT_CPS,
        qualifier: Some(Any::encode_from(&Ia5String::new(PRACTICE_STATEMENT)?)?),
    };
    Ok(CertificatePolicies(vec![
        PolicyInformation { policy_identifier: OWN_POLICY, policy_qualifiers: Some(vec![practice]) },
        PolicyInformation { policy_identifier: AGID_POLICY, policy_qualifiers: None },
    ]))
}

fn qc_statements() -> der::Result<Vec<QcStatement>> {
    let pds = vec![PdsLocation {
        url: Ia5String::new(DISCLOSURE_STATEMENT)?,
        language: PrintableString::new("it")?,
    }];
    let statement = |statement_id, statement_info| QcStatement { statement_id, statement_info };
    Ok(vec![
        statement(QC_COMPLIANCE, None),
        statement(QC_SSCD, None),
        statement(QC_RETENTION_PERIOD, Some(Any::encode_from(&RETENTION_YEARS)?)),
        statement(QC_PDS, Some(Any::encode_from(&pds)?)),
        statement(QC_TYPE, Some(Any::encode_from(&vec![QC_TYPE_ESIGN])?)),
    ])
}
