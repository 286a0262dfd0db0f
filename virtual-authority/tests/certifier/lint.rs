//! The profiles against RFC 5280, ETSI EN 319 412-2 and EN 319 412-5, rule by rule: a linter of certificates of our own, which
//! knows nothing of how they are made.
//!
//! `pkilint` 0.13.3 was asked too, once and by hand (`lint_etsi_cert lint -t QCP-N-QSCD-EIDAS-FINAL-CERTIFICATE`, `lint_pkix_cert`,
//! `lint_crl`): of certificates, certifier and CRL it said that addresses on loopback and under `.example` are not public,
//! which tests want, and that the policy of EN 319 411-2 for such certificates (0.4.0.194112.1.2) is missing, which is
//! recommended.

use std::collections::BTreeSet;
use std::fs;

use cns_virtual_authority::{Authority, Profile};
use const_oid::AssociatedOid;
use der::asn1::{Ia5StringRef, PrintableStringRef};
use der::{Any, Decode, Encode, Sequence, Tag, Tagged};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies,
    CrlDistributionPoints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::fixture::{CNS_SUBJECT, SIGNATURE_SUBJECT, openssl, request, workplace};

/// What a rule looks at.
struct Case<'c> {
    leaf: &'c Certificate,
    ca: &'c Certificate,
}

impl Case<'_> {
    fn raw(&self, oid: &str) -> Option<(bool, &[u8])> {
        let extensions = self.leaf.tbs_certificate.extensions.as_ref()?;
        let found = extensions.iter().find(|extension| extension.extn_id.to_string() == oid)?;
        Some((found.critical, found.extn_value.as_bytes()))
    }

    fn get<T: AssociatedOid + for<'a> Decode<'a>>(&self) -> Option<(bool, T)> {
        let (critical, value) = self.raw(&T::OID.to_string())?;
        Some((critical, T::from_der(value).ok()?))
    }

    fn statements(&self) -> Vec<Statement> {
        let raw = self.raw("1.3.6.1.5.5.7.1.3");
        raw.and_then(|(_, value)| Vec::from_der(value).ok()).unwrap_or_default()
    }

    fn statement(&self, number: &str) -> Option<Statement> {
        let id = format!("0.4.0.1862.1.{number}");
        self.statements().into_iter().find(|statement| statement.id.to_string() == id)
    }

    fn seconds(&self) -> (u64, u64) {
        let validity = self.leaf.tbs_certificate.validity;
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }
}

#[derive(Clone, Sequence)]
struct Statement {
    id: const_oid::ObjectIdentifier,
    info: Option<Any>,
}

/// The attribute types of a name.
fn types(name: &Name) -> Vec<String> {
    name.0.iter().flat_map(|rdn| rdn.0.iter()).map(|attribute| attribute.oid.to_string()).collect()
}

fn has(name: &Name, wanted: &[&str]) -> bool {
    wanted.iter().all(|wanted| types(name).iter().filter(|found| found == wanted).count() == 1)
}

/// RFC 5280 §4.1.2.4: PrintableString or UTF8String; country in two letters and PrintableString (appendix A.1).
fn is_well_written(name: &Name) -> bool {
    let mut attributes = name.0.iter().flat_map(|rdn| rdn.0.iter());
    attributes.all(|attribute| match attribute.oid.to_string().as_str() {
        "2.5.4.6" => {
            attribute.value.decode_as::<PrintableStringRef<'_>>().is_ok_and(|it| it.as_str().len() == 2)
        }
        "2.5.4.5" => attribute.value.tag() == Tag::PrintableString,
        _ => matches!(attribute.value.tag(), Tag::PrintableString | Tag::Utf8String),
    })
}

fn in_right_kind(time: Time) -> bool {
    matches!(
        (time, time.to_date_time().year() < 2050),
        (Time::UtcTime(_), true) | (Time::GeneralTime(_), false)
    )
}

type Rule = (&'static str, fn(&Case<'_>) -> bool);

const RFC_5280: [Rule; 20] = [
    ("4.1.1.2 one algorithm inside and outside", |case| {
        case.leaf.signature_algorithm == case.leaf.tbs_certificate.signature
    }),
    ("4.1.2.1 version 3", |case| case.leaf.tbs_certificate.version == x509_cert::Version::V3),
    ("4.1.2.2 positive serial number of at most 20 bytes, 64 bits at random", |case| {
        let serial = case.leaf.tbs_certificate.serial_number.as_bytes();
        (8..=20).contains(&serial.len()) && serial[0] < 0x80
    }),
    ("4.1.2.4 issuer is the certifier's subject, byte by byte", |case| {
        let (issuer, subject) = (&case.leaf.tbs_certificate.issuer, &case.ca.tbs_certificate.subject);
        !issuer.0.is_empty() && issuer.to_der().unwrap() == subject.to_der().unwrap()
    }),
    ("4.1.2.5 UTCTime until 2049", |case| {
        let validity = case.leaf.tbs_certificate.validity;
        in_right_kind(validity.not_before) && in_right_kind(validity.not_after)
    }),
    ("4.1.2.5 begins before it ends", |case| case.seconds().0 < case.seconds().1),
    ("4.1.2.6 strings of the subject", |case| is_well_written(&case.leaf.tbs_certificate.subject)),
    ("4.1.2.7 RSA with NULL (RFC 3279 §2.3.1)", |case| {
        let algorithm = &case.leaf.tbs_certificate.subject_public_key_info.algorithm;
        algorithm.oid.to_string() == "1.2.840.113549.1.1.1" && algorithm.parameters == Some(Any::null())
    }),
    ("4.1.2.8 no unique identifiers", |case| {
        let tbs = &case.leaf.tbs_certificate;
        tbs.issuer_unique_id.is_none() && tbs.subject_unique_id.is_none()
    }),
    ("4.2 no extension twice", |case| {
        let extensions = case.leaf.tbs_certificate.extensions.as_deref().unwrap_or_default();
        let different: BTreeSet<_> = extensions.iter().map(|extension| extension.extn_id).collect();
        different.len() == extensions.len() && !extensions.is_empty()
    }),
    ("4.2.1.1 authority key identifier, not critical, of the certifier's key", |case| {
        let own = case.ca.tbs_certificate.get::<SubjectKeyIdentifier>().unwrap().map(|(_, own)| own.0);
        case.get::<AuthorityKeyIdentifier>()
            .is_some_and(|(critical, it)| !critical && it.key_identifier == own)
    }),
    ("4.2.1.2 subject key identifier, not critical", |case| {
        case.get::<SubjectKeyIdentifier>()
            .is_some_and(|(critical, it)| !critical && !it.0.as_bytes().is_empty())
    }),
    ("4.2.1.3 key usage, critical, some bit set, none of a certifier's", |case| {
        case.get::<KeyUsage>().is_some_and(|(critical, usage)| {
            critical
                && !usage.0.is_empty()
                && usage.0.is_disjoint(KeyUsages::KeyCertSign | KeyUsages::CRLSign)
        })
    }),
    ("4.2.1.4 policies, each once", |case| {
        case.get::<CertificatePolicies>().is_some_and(|(_, policies)| {
            let different: BTreeSet<_> = policies.0.iter().map(|policy| policy.policy_identifier).collect();
            !policies.0.is_empty() && different.len() == policies.0.len()
        })
    }),
    ("4.2.1.9 no certifier", |case| {
        case.get::<BasicConstraints>().is_none_or(|(_, it)| !it.ca && it.path_len_constraint.is_none())
    }),
    ("4.2.1.12 extended key usage is not any", |case| {
        case.raw("2.5.29.37").is_none_or(|(_, usages)| {
            let usages = Vec::<const_oid::ObjectIdentifier>::from_der(usages).unwrap_or_default();
            !usages.is_empty() && usages.iter().all(|usage| usage.to_string() != "2.5.29.37.0")
        })
    }),
    ("4.2.1.13 CRL by HTTP, not critical", |case| {
        case.get::<CrlDistributionPoints>().is_some_and(|(critical, points)| {
            let text = format!("{points:?}");
            !critical && text.contains("http://")
        })
    }),
    ("4.2.2.1 where the certifier's certificate and OCSP are, by HTTP, not critical", |case| {
        let Some((false, access)) = case.get::<AuthorityInfoAccessSyntax>() else { return false };
        let reaches = |method: &str| {
            access.0.iter().any(|it| {
                it.access_method.to_string() == method
                    && matches!(&it.access_location,
                        GeneralName::UniformResourceIdentifier(uri) if uri.as_str().starts_with("http://"))
            })
        };
        reaches("1.3.6.1.5.5.7.48.1") && reaches("1.3.6.1.5.5.7.48.2")
    }),
    ("DER throughout", |case| {
        let der = case.leaf.to_der().unwrap();
        Certificate::from_der(&der).unwrap().to_der().unwrap() == der
    }),
    ("key of 2,048 bits at least (ETSI TS 119 312 §6.2.2)", |case| {
        case.leaf.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes().len() >= 256
    }),
];

const EN_319_412_2: [Rule; 5] = [
    ("4.2.3.1 issuer: country, organisation, common name", |case| {
        has(&case.leaf.tbs_certificate.issuer, &["2.5.4.6", "2.5.4.10", "2.5.4.3"])
    }),
    ("4.2.4 subject: country, given name, surname, common name, serial number", |case| {
        has(&case.leaf.tbs_certificate.subject, &["2.5.4.6", "2.5.4.42", "2.5.4.4", "2.5.4.3", "2.5.4.5"])
    }),
    ("4.2.4 serial number after EN 319 412-1 §5.1.3", |case| {
        let subject = case.leaf.tbs_certificate.subject.to_der().unwrap();
        subject.windows(6).any(|part| part == b"TINIT-")
    }),
    ("4.3.2 key usage type A: nonRepudiation alone", |case| {
        case.get::<KeyUsage>().is_some_and(|(_, usage)| usage.0 == KeyUsages::NonRepudiation)
    }),
    ("4.4.1 the certifier's certificate and OCSP can be found", |case| {
        case.get::<AuthorityInfoAccessSyntax>().is_some_and(|(_, access)| access.0.len() >= 2)
    }),
];

const EN_319_412_5: [Rule; 7] = [
    ("4.1 qcStatements are not critical", |case| {
        case.raw("1.3.6.1.5.5.7.1.3").is_some_and(|(critical, _)| !critical)
    }),
    ("4.1 each statement once", |case| {
        let statements = case.statements();
        let different: BTreeSet<_> = statements.iter().map(|statement| statement.id).collect();
        !statements.is_empty() && different.len() == statements.len()
    }),
    ("4.2.1 compliance, without information", |case| case.statement("1").is_some_and(|it| it.info.is_none())),
    ("4.2.2 the key is in a device", |case| case.statement("4").is_some_and(|it| it.info.is_none())),
    ("4.2.3 type: eSign", |case| {
        let kinds = case.statement("6").and_then(|it| it.info);
        let kinds =
            kinds.and_then(|it| Vec::<const_oid::ObjectIdentifier>::from_der(&it.to_der().unwrap()).ok());
        kinds.is_some_and(|it| it.iter().map(ToString::to_string).eq(["0.4.0.1862.1.6.1"]))
    }),
    ("4.3.3 retention of some years", |case| {
        let years = case.statement("3").and_then(|it| it.info);
        years.is_some_and(|it| it.decode_as::<u8>().is_ok_and(|years| years > 0))
    }),
    ("4.3.4 disclosure statement by HTTPS, one in English", |case| {
        let places = case.statement("5").and_then(|it| it.info);
        let places = places.and_then(|it| Vec::<Vec<Any>>::from_der(&it.to_der().unwrap()).ok());
        places.is_some_and(|places| {
            let url = |place: &Vec<Any>| {
                place[0].decode_as::<Ia5StringRef<'_>>().is_ok_and(|url| url.as_str().starts_with("https://"))
            };
            let english = |place: &Vec<Any>| {
                place[1].decode_as::<PrintableStringRef<'_>>().is_ok_and(|language| language.as_str() == "en")
            };
            places.iter().all(url) && places.iter().any(english)
        })
    }),
];

/// The rules that the certificate breaks.
fn findings(leaf: &Certificate, ca: &Certificate, rules: &[Rule]) -> Vec<&'static str> {
    let case = Case { leaf, ca };
    rules.iter().filter(|(_, holds)| !holds(&case)).map(|(name, _)| *name).collect()
}

#[test]
fn the_profiles_keep_every_rule() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    authority.set_base_url("http://certifier.example");
    let ca = authority.ca_certificate();
    let issue =
        |profile, subject| authority.issue(profile, &request(folder.path(), "first.pem", subject)).unwrap();
    let login = issue(Profile::Authentication, CNS_SUBJECT);
    assert_eq!(findings(&login, ca, &RFC_5280), Vec::<&str>::new());
    let signature = issue(Profile::QualifiedSignature, SIGNATURE_SUBJECT);
    for rules in [&RFC_5280[..], &EN_319_412_2, &EN_319_412_5] {
        assert_eq!(findings(&signature, ca, rules), Vec::<&str>::new());
    }
    // A profile is data: each rule that a profile can break is found broken.
    let told = findings(&login, ca, &EN_319_412_2);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(findings(&login, ca, &EN_319_412_5).len(), EN_319_412_5.len());
    println!("{} rules kept", RFC_5280.len() + EN_319_412_2.len() + EN_319_412_5.len());
}

#[test]
fn what_others_make_carelessly_is_found() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let make = ["req", "-x509", "-key", "first.pem", "-subj", "/CN=X/C=IT", "-set_serial", "1", "-days", "9"];
    openssl(folder.path(), &[&make[..], &["-outform", "DER", "-out", "careless.der"]].concat());
    let careless = Certificate::from_der(&fs::read(folder.path().join("careless.der")).unwrap()).unwrap();
    let told = findings(&careless, authority.ca_certificate(), &RFC_5280);
    for rule in ["4.1.2.2", "4.1.2.4", "4.2.1.1", "4.2.1.3", "4.2.1.4", "4.2.1.9", "4.2.1.13", "4.2.2.1"] {
        assert!(told.iter().any(|it| it.starts_with(rule)), "{rule} is not in {told:?}");
    }
}
