//! Certificates go out of force, and the CRL says so, beside a running server.

use std::fs;
use std::process::Command;

use cns_virtual_authority::{Authority, Profile, Reason, Status, StatusError};
use der::Decode;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::{CrlNumber, CrlReason};

use crate::fixture::{CNS_SUBJECT, Running, SIGNATURE_SUBJECT, get, openssl, request, workplace};

fn list(running: &Running) -> CertificateList {
    let (status, list) = get(running.address, "/crl.der");
    assert_eq!(status, 200);
    fs::write(running.path().join("crl.der"), &list).unwrap();
    let said = openssl(
        running.path(),
        &["crl", "-inform", "DER", "-in", "crl.der", "-noout", "-CAfile", "ca/ca.pem", "-text"],
    );
    assert!(said.contains("verify OK") && said.contains("Version 2"), "{said}");
    CertificateList::from_der(&list).unwrap()
}

fn number(list: &CertificateList) -> Vec<u8> {
    let extensions = list.tbs_cert_list.crl_extensions.as_ref().unwrap();
    let number = extensions.iter().find(|extension| extension.extn_id.to_string() == "2.5.29.20").unwrap();
    CrlNumber::from_der(number.extn_value.as_bytes()).unwrap().0.as_bytes().to_vec()
}

#[test]
fn the_program_revokes_beside_the_server() {
    let running = Running::start();
    let asked = request(running.path(), "first.pem", CNS_SUBJECT);
    running.authority.issue(Profile::Authentication, &asked).unwrap();
    let serial = running.authority.list().unwrap()[0].serial.clone();
    let before = list(&running);
    assert_eq!(before.tbs_cert_list.revoked_certificates, None);

    let program = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_cns-authority");
        Command::new(program).args(arguments).current_dir(running.path()).output().unwrap()
    };
    let output = program(&["revoke", "ca", &serial.to_uppercase(), "--reason", "keyCompromise"]);
    assert!(output.status.success(), "{output:?}");

    // The server has it at once, in its list and in its CRL.
    assert!(matches!(
        running.authority.list().unwrap()[0].status,
        Status::Revoked { reason: Reason::KeyCompromise, .. }
    ));
    let after = list(&running);
    assert!(number(&after) > number(&before));
    let revoked = after.tbs_cert_list.revoked_certificates.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(hex::encode(revoked[0].serial_number.as_bytes()), serial);
    let reason = &revoked[0].crl_entry_extensions.as_ref().unwrap()[0];
    assert_eq!(CrlReason::from_der(reason.extn_value.as_bytes()).unwrap(), CrlReason::KeyCompromise);

    let output = program(&["list", "ca"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&serial) && text.contains("revoked (keyCompromise)"), "{text}");
    for (serial, reason, words) in [
        (serial.as_str(), "keyCompromise", "revocation is final"),
        ("00", "keyCompromise", "no certificate with serial number 00"),
        (serial.as_str(), "boredom", "is not a revocation reason"),
    ] {
        let output = program(&["revoke", "ca", serial, "--reason", reason]);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_suspension_comes_and_goes() {
    let running = Running::start();
    let asked = request(running.path(), "first.pem", SIGNATURE_SUBJECT);
    running.authority.issue(Profile::QualifiedSignature, &asked).unwrap();
    let serial = running.authority.list().unwrap()[0].serial.clone();
    running.authority.revoke(&serial, Reason::CertificateHold).unwrap();
    assert_eq!(list(&running).tbs_cert_list.revoked_certificates.unwrap().len(), 1);
    // A suspended holder does not get out of it by asking again.
    assert!(running.authority.issue(Profile::QualifiedSignature, &asked).is_err());
    running.authority.revoke(&serial, Reason::RemoveFromCrl).unwrap();
    assert_eq!(list(&running).tbs_cert_list.revoked_certificates, None);
    let again = running.authority.revoke(&serial, Reason::RemoveFromCrl);
    assert_eq!(again.unwrap_err().to_string(), StatusError::NotSuspended.to_string());
}

#[test]
fn a_revoked_key_may_get_a_new_certificate_and_a_valid_one_is_given_again() {
    let folder = workplace();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let asked = request(folder.path(), "first.pem", CNS_SUBJECT);
    let first = authority.issue(Profile::Authentication, &asked).unwrap();
    assert_eq!(authority.issue(Profile::Authentication, &asked).unwrap(), first);
    let serial = hex::encode(first.tbs_certificate.serial_number.as_bytes());
    authority.revoke(&serial, Reason::Superseded).unwrap();
    let second = authority.issue(Profile::Authentication, &asked).unwrap();
    assert_ne!(second.tbs_certificate.serial_number, first.tbs_certificate.serial_number);
}

#[test]
fn a_lost_crl_is_made_again_with_a_new_number() {
    let folder = workplace();
    let path = folder.path().join("ca");
    let first = CertificateList::from_der(&Authority::open(&path).unwrap().crl().unwrap()).unwrap();
    fs::remove_file(path.join("crl.der")).unwrap();
    let second = CertificateList::from_der(&Authority::open(&path).unwrap().crl().unwrap()).unwrap();
    assert!(number(&second) > number(&first));
}
