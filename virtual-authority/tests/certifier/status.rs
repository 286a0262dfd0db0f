//! OCSP and the delta CRL, judged by OpenSSL.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cns_virtual_authority::{Profile, Reason};
use der::{Decode, EncodePem};
use x509_cert::der::pem::LineEnding;
use x509_ocsp::{OcspRequest, OcspResponse, OcspResponseStatus};

use crate::fixture::{CNS_SUBJECT, Running, SIGNATURE_SUBJECT, get, openssl, post, request, try_openssl};

/// A running certifier with two certificates, in `first.crt` and `second.crt`, and their serial numbers.
fn with_two() -> (Running, [String; 2]) {
    let running = Running::start();
    for (name, subject, profile) in [
        ("first", CNS_SUBJECT, Profile::Authentication),
        ("second", SIGNATURE_SUBJECT, Profile::QualifiedSignature),
    ] {
        let asked = request(running.path(), &format!("{name}.pem"), subject);
        let issued = running.authority.issue(profile, &asked).unwrap();
        fs::write(running.path().join(format!("{name}.crt")), issued.to_pem(LineEnding::LF).unwrap())
            .unwrap();
    }
    let serials: Vec<String> =
        running.authority.list().unwrap().into_iter().map(|record| record.serial).collect();
    (running, serials.try_into().unwrap())
}

/// What `openssl ocsp` makes of the responder's answer.
fn ask(running: &Running, extra: &[&str]) -> String {
    let url = format!("http://{}/ocsp", running.address);
    let mut arguments = vec!["ocsp", "-issuer", "ca/ca.pem", "-CAfile", "ca/ca.pem", "-url", &url];
    arguments.extend(extra);
    openssl(running.path(), &arguments)
}

#[test]
fn openssl_believes_the_responder() {
    let (running, [first, second]) = with_two();
    let both = ["-cert", "first.crt", "-cert", "second.crt"];
    let said = ask(&running, &both);
    assert!(said.contains("Response verify OK") && !said.contains("no nonce"), "{said}");
    assert!(said.contains("first.crt: good") && said.contains("second.crt: good"), "{said}");

    running.authority.revoke(&second, Reason::CertificateHold).unwrap();
    running.authority.revoke(&first, Reason::Unspecified).unwrap();
    let said = ask(&running, &both);
    assert!(said.contains("second.crt: revoked") && said.contains("Reason: certificateHold"), "{said}");
    assert!(said.contains("first.crt: revoked") && said.matches("Reason:").count() == 1, "{said}");

    running.authority.revoke(&second, Reason::RemoveFromCrl).unwrap();
    let said = ask(&running, &["-sha256", "-cert", "second.crt", "-serial", "0x1234", "-no_nonce"]);
    assert!(said.contains("second.crt: good") && said.contains("0x1234: unknown"), "{said}");
    // Whoever asks about another certifier's certificate of the same number is told that it is not known.
    openssl(
        running.path(),
        &["req", "-x509", "-key", "first.pem", "-subj", "/CN=Another", "-out", "another.pem"],
    );
    let serial = format!("0x{second}");
    let said = ask(&running, &["-noverify", "-issuer", "another.pem", "-serial", &serial]);
    assert!(said.contains(": unknown"), "{said}");
}

#[test]
fn the_responder_survives_a_restart_and_answers_in_the_address() {
    let (running, _) = with_two();
    ask(&running, &["-cert", "first.crt", "-reqout", "request.ocsp"]);
    let key = fs::read(running.path().join("ca/ocsp-key.pem")).unwrap();
    let asked = fs::read(running.path().join("request.ocsp")).unwrap();
    let address = STANDARD.encode(&asked).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let (status, answer) = get(running.address, &format!("/ocsp/{address}"));
    assert_eq!(status, 200);
    fs::write(running.path().join("answer.ocsp"), answer).unwrap();
    let read = ["-CAfile", "ca/ca.pem", "-cert", "first.crt", "-no_nonce", "-respin", "answer.ocsp"];
    let said = openssl(running.path(), &[&["ocsp", "-issuer", "ca/ca.pem"], &read[..]].concat());
    assert!(said.contains("Response verify OK") && said.contains("first.crt: good"), "{said}");
    assert_eq!(fs::read(running.path().join("ca/ocsp-key.pem")).unwrap(), key);

    // A certificate that is not for the key is made anew, and believed.
    fs::copy(running.path().join("ca/ca.der"), running.path().join("ca/ocsp.der")).unwrap();
    assert!(ask(&running, &["-cert", "first.crt"]).contains("Response verify OK"));
}

#[test]
fn what_is_no_ocsp_request_is_answered_so() {
    let (running, _) = with_two();
    ask(&running, &["-cert", "first.crt", "-reqout", "request.ocsp"]);
    let asked = fs::read(running.path().join("request.ocsp")).unwrap();
    let says = |body: &[u8]| {
        let (status, answer) = post(running.address, "/ocsp", "application/ocsp-request", body);
        assert_eq!(status, 200);
        OcspResponse::from_der(&answer).unwrap().response_status
    };
    assert_eq!(says(&asked), OcspResponseStatus::Successful);
    assert_eq!(says(b""), OcspResponseStatus::MalformedRequest);
    assert_eq!(says(&asked[..asked.len() - 1]), OcspResponseStatus::MalformedRequest);
    let mut many = OcspRequest::from_der(&asked).unwrap();
    let one = many.tbs_request.request_list[0].clone();
    many.tbs_request.request_list = vec![one.clone(); 32];
    assert_eq!(says(&der::Encode::to_der(&many).unwrap()), OcspResponseStatus::Successful);
    many.tbs_request.request_list.push(one);
    assert_eq!(says(&der::Encode::to_der(&many).unwrap()), OcspResponseStatus::MalformedRequest);

    assert_eq!(post(running.address, "/ocsp", "text/plain", &asked).0, 415);
    assert_eq!(get(running.address, "/ocsp/%%%").0, 400);
    assert_eq!(get(running.address, "/ocsp").0, 405);
}

/// A CRL from the server, as PEM in `name`.
fn fetch(running: &Running, path: &str, name: &str) {
    let (status, list) = get(running.address, path);
    assert_eq!(status, 200);
    fs::write(running.path().join("list.der"), list).unwrap();
    openssl(running.path(), &["crl", "-inform", "DER", "-in", "list.der", "-out", name]);
}

/// Whether OpenSSL takes the certificate with the CRL and the delta CRL, and what it says.
fn verify(folder: &Path, certificate: &str) -> (bool, String) {
    let arguments = [
        "verify",
        "-x509_strict",
        "-crl_check",
        "-extended_crl",
        "-use_deltas",
        "-CAfile",
        "ca/ca.pem",
        "-CRLfile",
        "old.pem",
        "-CRLfile",
        "delta.pem",
        certificate,
    ];
    let output = try_openssl(folder, &arguments);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_delta_crl_brings_an_old_crl_up_to_date() {
    let (running, [first, second]) = with_two();
    running.authority.revoke(&first, Reason::CertificateHold).unwrap();
    fetch(&running, "/crl.der", "old.pem");
    let text = openssl(running.path(), &["crl", "-in", "old.pem", "-noout", "-text"]);
    assert!(text.contains("Freshest CRL") && text.contains("/delta.der"), "{text}");

    // After the CRL that is kept: the one comes back, the other goes.
    running.authority.revoke(&first, Reason::RemoveFromCrl).unwrap();
    running.authority.revoke(&second, Reason::KeyCompromise).unwrap();
    fetch(&running, "/delta.der", "delta.pem");
    let text =
        openssl(running.path(), &["crl", "-in", "delta.pem", "-noout", "-text", "-CAfile", "ca/ca.pem"]);
    assert!(text.contains("verify OK") && text.contains("Delta CRL Indicator: critical"), "{text}");
    assert!(text.contains("Remove From CRL") && text.contains("Key Compromise"), "{text}");
    let (taken, said) = verify(running.path(), "first.crt");
    assert!(taken, "{said}");
    let (taken, said) = verify(running.path(), "second.crt");
    assert!(!taken && said.contains("certificate revoked"), "{said}");

    // Without the delta, the old CRL says what was true then.
    fs::copy(running.path().join("old.pem"), running.path().join("delta.pem")).unwrap();
    let (taken, said) = verify(running.path(), "first.crt");
    assert!(!taken && said.contains("certificate revoked"), "{said}");
    assert!(verify(running.path(), "second.crt").0);
}
