//! The extensions of a profile, in DER.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_QT_CPS, ID_QT_UNOTICE};
use der::asn1::{Ia5String, PrintableString};
use der::flagset::FlagSet;
use der::{Any, Sequence};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::{DisplayText, PolicyInformation, PolicyQualifierInfo, UserNotice};
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::rules::{Data, Policy, QcStatements};
use crate::issue::{extension, extension_of};

// qcStatements: RFC 3739 §3.2.6, and the statements of ETSI EN 319 412-5 §4.2 and §4.3.
const ID_PE_QC_STATEMENTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.3");
const QC_COMPLIANCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.1");
const QC_RETENTION_PERIOD: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.3");
const QC_SSCD: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.4");
const QC_PDS: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.5");
const QC_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.1862.1.6");

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

pub(super) fn of(data: &Data) -> der::Result<Vec<Extension>> {
    let usage = data.key_usage.iter().fold(FlagSet::<KeyUsages>::default(), |all, usage| all | usage.bit());
    let mut extensions = vec![extension(true, &KeyUsage(usage))?];
    if !data.extended_key_usage.is_empty() {
        let usages = data.extended_key_usage.iter().map(|usage| usage.0).collect();
        extensions.push(extension(false, &ExtendedKeyUsage(usages))?);
    }
    if !data.policies.is_empty() {
        let policies = data.policies.iter().map(policy).collect::<der::Result<_>>()?;
        extensions.push(extension(false, &CertificatePolicies(policies))?);
    }
    if let Some(statements) = &data.qc_statements {
        extensions.push(extension_of(ID_PE_QC_STATEMENTS, false, &qc_statements(statements)?)?);
    }
    Ok(extensions)
}

fn policy(policy: &Policy) -> der::Result<PolicyInformation> {
    let mut qualifiers = Vec::new();
    if let Some(cps) = &policy.cps {
        qualifiers.push(PolicyQualifierInfo {
            policy_qualifier_id: ID_QT_CPS,
            qualifier: Some(Any::encode_from(&Ia5String::new(cps)?)?),
        });
    }
    if let Some(notice) = &policy.notice {
        let text = DisplayText::Utf8String(notice.clone());
        let notice = UserNotice { notice_ref: None, explicit_text: Some(text) };
        qualifiers.push(PolicyQualifierInfo {
            policy_qualifier_id: ID_QT_UNOTICE,
            qualifier: Some(Any::encode_from(&notice)?),
        });
    }
    Ok(PolicyInformation {
        policy_identifier: policy.identifier.0,
        policy_qualifiers: (!qualifiers.is_empty()).then_some(qualifiers),
    })
}

fn qc_statements(data: &QcStatements) -> der::Result<Vec<QcStatement>> {
    let mut statements = Vec::new();
    let mut state = |statement_id, statement_info| {
        statements.push(QcStatement { statement_id, statement_info });
    };
    if data.compliance {
        state(QC_COMPLIANCE, None);
    }
    if data.sscd {
        state(QC_SSCD, None);
    }
    if let Some(years) = data.retention_years {
        state(QC_RETENTION_PERIOD, Some(Any::encode_from(&years)?));
    }
    if !data.disclosure.is_empty() {
        let places = data.disclosure.iter().map(|place| {
            let (url, language) = (Ia5String::new(&place.url)?, PrintableString::new(&place.language)?);
            Ok(PdsLocation { url, language })
        });
        state(QC_PDS, Some(Any::encode_from(&places.collect::<der::Result<Vec<_>>>()?)?));
    }
    if !data.types.is_empty() {
        let types: Vec<ObjectIdentifier> = data.types.iter().map(|kind| kind.0).collect();
        state(QC_TYPE, Some(Any::encode_from(&types)?));
    }
    Ok(statements)
}
