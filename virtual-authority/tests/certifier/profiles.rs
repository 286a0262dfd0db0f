//! What the certificates say, read by `x509-cert` and by `openssl`.

use cns_virtual_authority::{Authority, AuthorityError, IssueError, Profile, ProfileError};
use const_oid::AssociatedOid;
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use der::asn1::BitString;
use der::{Decode, Encode};
use hex::ToHex;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectKeyIdentifier,
};
use x509_cert::request::CertReq;

use crate::fixture::{CNS_SUBJECT, SIGNATURE_SUBJECT, openssl, request, try_openssl, workplace};

const DAY: u64 = 24 * 3600;

fn raw(certificate: &Certificate, oid: &str) -> Extension {
    let extensions = certificate.tbs_certificate.extensions.as_ref().unwrap();
    extensions.iter().find(|extension| extension.extn_id.to_string() == oid).unwrap().clone()
}

fn read<T: AssociatedOid + for<'a> Decode<'a>>(certificate: &Certificate) -> T {
    T::from_der(raw(certificate, &T::OID.to_string()).extn_value.as_bytes()).unwrap()
}

fn days(certificate: &Certificate) -> u64 {
    let validity = certificate.tbs_certificate.validity;
    (validity.not_after.to_unix_duration() - validity.not_before.to_unix_duration()).as_secs() / DAY
}

#[test]
fn authentication_certificate() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let asked = request(folder.path(), "first.pem", CNS_SUBJECT);
    let certificate = authority.issue(Profile::Authentication, &asked).unwrap();
    assert_eq!(certificate.tbs_certificate.subject, asked.info.subject);
    assert_eq!(certificate.tbs_certificate.subject_public_key_info, asked.info.public_key);
    assert_eq!(read::<KeyUsage>(&certificate).0, KeyUsages::DigitalSignature);
    assert!(raw(&certificate, "2.5.29.15").critical);
    assert_eq!(read::<ExtendedKeyUsage>(&certificate).0, [ID_KP_CLIENT_AUTH]);
    let policies = read::<CertificatePolicies>(&certificate).0;
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].policy_identifier.to_string(), "1.3.76.16.2.1");
    assert!(!read::<BasicConstraints>(&certificate).ca);
    assert_eq!(days(&certificate), 6 * 365 - 3);
    let ca = read::<SubjectKeyIdentifier>(authority.ca_certificate()).0;
    assert_eq!(read::<AuthorityKeyIdentifier>(&certificate).key_identifier, Some(ca));

    std::fs::write(folder.path().join("leaf.der"), certificate.to_der().unwrap()).unwrap();
    let text = openssl(folder.path(), &["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text"]);
    for expected in [
        "sha256WithRSAEncryption",
        "Public-Key: (2048 bit)",
        "TLS Web Client Authentication",
        "Policy: 1.3.76.16.2.1",
        "Explicit Text: Identifies an authentication certificate",
        "CA:FALSE",
        "CN = RSSMRA80A01H501U/6999000000001230.2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn signature_certificate() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    authority.set_base_url("http://certifier.example");
    let asked = request(folder.path(), "first.pem", SIGNATURE_SUBJECT);
    let certificate = authority.issue(Profile::QualifiedSignature, &asked).unwrap();
    assert_eq!(read::<KeyUsage>(&certificate).0, KeyUsages::NonRepudiation);
    assert!(raw(&certificate, "2.5.29.15").critical);
    let usages: Vec<_> = read::<ExtendedKeyUsage>(&certificate).0.iter().map(ToString::to_string).collect();
    assert_eq!(usages, ["1.3.6.1.5.5.7.3.36"]);
    assert_eq!(days(&certificate), 3 * 365);
    // Written by hand after ETSI EN 319 412-5 §4.2 to §4.3: compliance, SSCD, 20 years, PDS in English, eSign.
    let statements = raw(&certificate, "1.3.6.1.5.5.7.1.3").extn_value.as_bytes().encode_hex::<String>();
    let expected = [
        "3067",
        "3008 0606 04008e460101",
        "3008 0606 04008e460104",
        "300b 0606 04008e460103 020114",
        "302f 0606 04008e460105 3025 3023 161d",
        &b"https://certifier.example/pds".encode_hex::<String>(),
        "1302 656e",
        "3013 0606 04008e460106 3009 0607 04008e46010601",
    ];
    assert_eq!(statements, expected.concat().replace(' ', ""));

    std::fs::write(folder.path().join("leaf.der"), certificate.to_der().unwrap()).unwrap();
    let text = openssl(folder.path(), &["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text"]);
    for expected in [
        "Non Repudiation",
        "Policy: 1.3.76.16.6",
        "CPS: https://certifier.example/cps",
        "URI:http://certifier.example/crl.der",
        "CA Issuers - URI:http://certifier.example/ca.der",
        "serialNumber = TINIT-RSSMRA80A01H501U",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn openssl_verifies_both_and_the_crl() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    for (profile, subject) in
        [(Profile::Authentication, CNS_SUBJECT), (Profile::QualifiedSignature, SIGNATURE_SUBJECT)]
    {
        let asked = request(folder.path(), "first.pem", subject);
        let certificate = authority.issue(profile, &asked).unwrap();
        std::fs::write(folder.path().join("leaf.der"), certificate.to_der().unwrap()).unwrap();
        openssl(folder.path(), &["x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem"]);
        let verify = [
            "verify",
            "-x509_strict",
            "-crl_check",
            "-CAfile",
            "ca/ca.pem",
            "-CRLfile",
            "crl.pem",
            "leaf.pem",
        ];
        openssl(folder.path(), &["crl", "-inform", "DER", "-in", "ca/crl.der", "-out", "crl.pem"]);
        openssl(folder.path(), &verify);
        let serial: String = certificate.tbs_certificate.serial_number.as_bytes().encode_hex();
        authority.revoke(&serial, cns_virtual_authority::Reason::KeyCompromise).unwrap();
        openssl(folder.path(), &["crl", "-inform", "DER", "-in", "ca/crl.der", "-out", "crl.pem"]);
        let output = try_openssl(folder.path(), &verify);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("certificate revoked"));
    }
}

#[test]
fn subjects_that_do_not_fit_are_refused() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let refused = |profile, subject: &str| {
        let asked = request(folder.path(), "first.pem", subject);
        match authority.issue(profile, &asked) {
            Err(AuthorityError::Issue(IssueError::Profile(fault))) => fault,
            other => panic!("{subject}: {other:?}"),
        }
    };
    let authentication = |subject: &str| refused(Profile::Authentication, subject);
    let cn = r"CN=RSSMRA80A01H501U\/6999000000001230.2jmj7l5rSw0yVb\/vlWAYkK\/YBwk=";
    assert_eq!(authentication(&format!("/C=FR/{cn}")), ProfileError::Value("countryName", "IT".to_owned()));
    assert_eq!(authentication(&format!("/{cn}")), ProfileError::Missing("countryName"));
    assert_eq!(authentication(&format!("/C=IT/{cn}/{cn}")), ProfileError::Repeated("commonName"));
    assert!(matches!(authentication("/C=IT/CN=MARIO ROSSI"), ProfileError::Form("commonName", _)));
    assert!(matches!(authentication(SIGNATURE_SUBJECT), ProfileError::NotAllowed(_)));
    let signature = |subject: &str| refused(Profile::QualifiedSignature, subject);
    assert!(matches!(
        signature("/C=IT/GN=MARIO/SN=ROSSI/CN=ROSSI MARIO/serialNumber=RSSMRA80A01H501U"),
        ProfileError::Form("serialNumber", _)
    ));
    assert_eq!(
        signature("/C=IT/SN=ROSSI/CN=ROSSI MARIO/serialNumber=TINIT-RSSMRA80A01H501U"),
        ProfileError::Missing("givenName")
    );
    assert!(matches!(signature(CNS_SUBJECT), ProfileError::NotAllowed(_)));
    assert_eq!(authority.list().unwrap(), []);
}

#[test]
fn weak_keys_and_requests_that_prove_nothing_are_refused() {
    let folder = workplace();
    let path = folder.path();
    let authority = Authority::open(&path.join("ca")).unwrap();
    let refused = |asked: &CertReq| match authority.issue(Profile::Authentication, asked) {
        Err(AuthorityError::Issue(fault)) => fault,
        other => panic!("{other:?}"),
    };
    openssl(path, &["genrsa", "-out", "short.pem", "1024"]);
    assert_eq!(
        refused(&request(path, "short.pem", CNS_SUBJECT)),
        IssueError::KeyLength { bits: 1024, least: 2048, most: 4096 }
    );
    openssl(path, &["genrsa", "-3", "-out", "three.pem", "2048"]);
    assert_eq!(refused(&request(path, "three.pem", CNS_SUBJECT)), IssueError::Exponent);
    openssl(path, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec.pem"]);
    assert_eq!(refused(&request(path, "ec.pem", CNS_SUBJECT)), IssueError::Key);

    let good = request(path, "first.pem", CNS_SUBJECT);
    let mut forged = good.clone();
    let mut signature = forged.signature.raw_bytes().to_vec();
    signature[100] ^= 1;
    forged.signature = BitString::from_bytes(&signature).unwrap();
    assert_eq!(refused(&forged), IssueError::Possession);
    let mut stolen = good.clone();
    stolen.info.public_key = request(path, "second.pem", CNS_SUBJECT).info.public_key;
    assert_eq!(refused(&stolen), IssueError::Possession);
    openssl(
        path,
        &[
            "req",
            "-new",
            "-sha1",
            "-key",
            "first.pem",
            "-subj",
            CNS_SUBJECT,
            "-outform",
            "DER",
            "-out",
            "sha1.der",
        ],
    );
    let sha1 = std::fs::read(path.join("sha1.der")).unwrap();
    assert_eq!(refused(&Decode::from_der(&sha1).unwrap()), IssueError::NoProof);
    assert_eq!(authority.list().unwrap(), []);
    authority.issue(Profile::Authentication, &good).unwrap();
}
