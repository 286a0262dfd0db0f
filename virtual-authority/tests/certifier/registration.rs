//! `openssl cmp` signs its messages: as a registration officer, and as a holder.

use std::fs;

use cns_virtual_authority::{Profile, Reason, Status};
use der::{Decode, Encode, EncodePem};
use x509_cert::crl::CertificateList;
use x509_cert::der::pem::LineEnding;

use crate::fixture::{CNS_SUBJECT, Running, SIGNATURE_SUBJECT, certificate, get, openssl, request};

const OFFICER_SUBJECT: &str =
    r"/C=IT/OU=Regione Prova/CN=BNCLRA85B42H501M\/6999000000001248.2jmj7l5rSw0yVb\/vlWAYkK\/YBwk=";

/// A running certifier; the second key is the officer's, whose card's certificate is in `officer.crt`.
fn with_officer() -> Running {
    let running = Running::start();
    let asked = request(running.path(), "second.pem", OFFICER_SUBJECT);
    let issued = running.authority.issue(Profile::Authentication, &asked).unwrap();
    fs::write(running.path().join("officer.crt"), issued.to_pem(LineEnding::LF).unwrap()).unwrap();
    running
}

fn authorise(running: &Running) -> String {
    running.authority.authorise(&fs::read(running.path().join("officer.crt")).unwrap()).unwrap()
}

/// Runs `openssl cmp`, which signs with this certificate and key and believes what the certifier signs.
fn signed(running: &Running, who: [&str; 2], profile: &str, extra: &[&str]) -> (bool, String) {
    let by = ["-cert", who[0], "-key", who[1], "-trusted", "ca/ca.pem"];
    running.cmp_by(&by, profile, extra)
}

const OFFICER: [&str; 2] = ["officer.crt", "second.pem"];

fn ir(subject: &'static str) -> [&'static str; 8] {
    ["-cmd", "ir", "-newkey", "first.pem", "-subject", subject, "-certout", "leaf.pem"]
}

#[test]
fn an_officer_s_card_asks_for_everybody_once_it_is_authorised() {
    let running = with_officer();
    let (done, said) = signed(&running, OFFICER, "signature", &ir(SIGNATURE_SUBJECT));
    // The operator is a holder, too, and may ask for another certificate of the operator's own.
    assert!(!done, "{said}");
    let unprotected = [&ir(SIGNATURE_SUBJECT)[..], &["-unprotected_errors"]].concat();
    let (_, said) = signed(&running, OFFICER, "signature", &unprotected);
    assert!(said.contains("notAuthorized") && said.contains("of the same kind and name"), "{said}");

    let file = authorise(&running);
    let (done, said) = signed(&running, OFFICER, "signature", &ir(SIGNATURE_SUBJECT));
    assert!(done && said.contains("received PKICONF"), "{said}");
    request(running.path(), "first.pem", CNS_SUBJECT);
    let p10cr = ["-cmd", "p10cr", "-csr", "request.der", "-certout", "leaf.pem"];
    let (done, said) = signed(&running, OFFICER, "authentication", &p10cr);
    assert!(done && said.contains("received CP"), "{said}");
    let leaf = certificate(running.path().join("leaf.pem")).to_der().unwrap();
    let records = running.authority.list().unwrap();
    assert_eq!(records.len(), 3);
    let issued = records.iter().find(|record| record.certificate == leaf).unwrap();
    assert_eq!(issued.status, Status::Valid);

    // The officer's rights end with the file, and with the officer's card.
    fs::remove_file(running.path().join("ca/officers").join(&file)).unwrap();
    let (done, _) = signed(&running, OFFICER, "signature", &ir(SIGNATURE_SUBJECT));
    assert!(!done);
    authorise(&running);
    running.authority.revoke(&records[0].serial, Reason::CertificateHold).unwrap();
    let (done, said) = signed(&running, OFFICER, "signature", &unprotected);
    assert!(!done && said.contains("signerNotTrusted") && said.contains("not in force"), "{said}");
}

#[test]
fn strangers_and_forgers_get_nothing() {
    let running = with_officer();
    authorise(&running);
    let before = running.authority.list().unwrap();
    let refused = |who: [&str; 2], words: [&str; 2]| {
        let arguments = [&ir(SIGNATURE_SUBJECT)[..], &["-unprotected_errors"]].concat();
        let (done, said) = signed(&running, who, "signature", &arguments);
        assert!(!done && words.iter().all(|words| said.contains(words)), "{who:?}: {said}");
    };
    // Of another certifier; openssl sends no certificate that is its own issuer.
    let another = ["req", "-x509", "-key", "second.pem", "-subj", "/CN=Another", "-out", "another.pem"];
    openssl(running.path(), &another);
    let certify = |subject: &str, name: &str, extra: &[&str]| {
        openssl(running.path(), &["req", "-new", "-key", "first.pem", "-subj", subject, "-out", "csr.pem"]);
        let by = ["x509", "-req", "-in", "csr.pem", "-CA", "another.pem", "-CAkey", "second.pem"];
        openssl(running.path(), &[&by[..], &["-out", name], extra].concat());
    };
    certify("/CN=Stranger", "stranger.pem", &["-set_serial", "1"]);
    refused(["stranger.pem", "first.pem"], ["signerNotTrusted", "nobody here knows"]);
    // Of the officer's name and serial number, but another key's.
    let serial = format!("0x{}", before[0].serial);
    certify(OFFICER_SUBJECT, "forged.pem", &["-set_serial", &serial]);
    refused(["forged.pem", "first.pem"], ["signerNotTrusted", "nobody here knows"]);
    // An authorised certificate that is over.
    certify("/CN=Over", "over.pem", &["-set_serial", "2", "-days", "-1"]);
    running.authority.authorise(&fs::read(running.path().join("over.pem")).unwrap()).unwrap();
    refused(["over.pem", "first.pem"], ["signerNotTrusted", "not valid now"]);
    assert_eq!(running.authority.list().unwrap(), before);

    // A signature certificate cannot be an officer's: its key does not authenticate (nonRepudiation alone).
    let asked = request(running.path(), "first.pem", SIGNATURE_SUBJECT);
    let issued = running.authority.issue(Profile::QualifiedSignature, &asked).unwrap();
    let error = running.authority.authorise(&issued.to_der().unwrap()).unwrap_err();
    assert!(error.to_string().contains("digitalSignature"), "{error}");
    fs::write(running.path().join("signer.pem"), issued.to_pem(LineEnding::LF).unwrap()).unwrap();
    let (done, _) = signed(&running, ["signer.pem", "first.pem"], "signature", &ir(SIGNATURE_SUBJECT));
    assert!(!done);
    assert!(running.authority.authorise(b"not a certificate").is_err());
}

#[test]
fn a_holder_renews_with_the_old_certificate_and_with_the_secret() {
    let running = with_officer();
    let kur = ["-cmd", "kur", "-oldcert", "officer.crt", "-newkey", "first.pem", "-certout", "new.crt"];
    let (done, said) = signed(&running, OFFICER, "authentication", &kur);
    assert!(done && said.contains("received KUP") && said.contains("received PKICONF"), "{said}");
    let records = running.authority.list().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].subject, records[1].subject);
    assert_eq!(records.iter().map(|record| record.status).collect::<Vec<_>>(), [Status::Valid; 2]);

    // By the secret, for the holder of the new one.
    openssl(running.path(), &["genrsa", "-out", "third.pem", "2048"]);
    let kur = ["-cmd", "kur", "-oldcert", "new.crt", "-newkey", "third.pem", "-certout", "third.crt"];
    let subject = ["-subject", OFFICER_SUBJECT];
    let (done, said) = running.cmp("authentication", &[&kur[..], &subject].concat());
    assert!(done, "{said}");
    // Not into another kind or name, and not from one that is out of force.
    let (done, said) = running.cmp("authentication", &[&kur[..], &["-subject", CNS_SUBJECT]].concat());
    assert!(!done && said.contains("of another kind or name"), "{said}");
    running.authority.revoke(&records[1].serial, Reason::Superseded).unwrap();
    openssl(running.path(), &["genrsa", "-out", "fourth.pem", "2048"]);
    let kur = ["-cmd", "kur", "-oldcert", "new.crt", "-newkey", "fourth.pem", "-certout", "fourth.crt"];
    let (done, said) = running.cmp("authentication", &[&kur[..], &subject].concat());
    assert!(!done && said.contains("certRevoked") && said.contains("is not in force"), "{said}");
}

/// What the published CRL says of a certificate's reason.
fn listed(running: &Running, serial: &str) -> Option<Option<u8>> {
    let (_, list) = get(running.address, "/crl.der");
    let list = CertificateList::from_der(&list).unwrap().tbs_cert_list;
    let entry = list
        .revoked_certificates?
        .into_iter()
        .find(|entry| hex::encode(entry.serial_number.as_bytes()) == serial)?;
    Some(entry.crl_entry_extensions.map(|extensions| *extensions[0].extn_value.as_bytes().last().unwrap()))
}

#[test]
fn openssl_suspends_reactivates_and_revokes_under_both_protections() {
    let running = with_officer();
    authorise(&running);
    let secret = ["-ref", "cnsd", "-secret", "pass:a secret of the tests"];
    let officer = ["-cert", "officer.crt", "-key", "second.pem", "-trusted", "ca/ca.pem"];
    // Every reason that a holder's certificate can have, and none; the last is final.
    let reasons = [(Some("1"), 1), (Some("3"), 3), (Some("4"), 4), (Some("5"), 5), (Some("9"), 9), (None, 0)];
    for (number, (last, code)) in reasons.into_iter().enumerate() {
        let by = if number % 2 == 0 { &secret[..] } else { &officer[..] };
        let rr = |reason: Option<&'static str>| {
            let mut arguments = vec!["-cmd", "rr", "-oldcert", "leaf.pem"];
            arguments.extend(reason.iter().flat_map(|reason| ["-revreason", reason]));
            running.cmp_by(by, "signature", &arguments)
        };
        let (done, said) = running.cmp_by(by, "signature", &ir(SIGNATURE_SUBJECT));
        assert!(done, "{said}");
        let serial = running.authority.list().unwrap().pop().unwrap().serial;
        assert_eq!(listed(&running, &serial), None);
        let (done, said) = rr(Some("8"));
        assert!(!done && said.contains("badRequest") && said.contains("not suspended"), "{said}");
        let (done, said) = rr(Some("6"));
        assert!(done && said.contains("received RP"), "{said}");
        assert_eq!(listed(&running, &serial), Some(Some(6)));
        let (done, said) = rr(Some("6"));
        assert!(!done && said.contains("badRequest") && said.contains("suspended already"), "{said}");
        assert!(rr(Some("8")).0);
        assert_eq!(listed(&running, &serial), None);
        let (done, said) = rr(Some("2"));
        assert!(!done && said.contains("none of RFC 5280"), "{said}");
        assert!(rr(last).0);
        assert_eq!(listed(&running, &serial), Some(last.map(|_| code)));
        let (done, said) = rr(Some("1"));
        assert!(!done && said.contains("certRevoked") && said.contains("final"), "{said}");
    }
    assert_eq!(running.authority.list().unwrap().len(), 7);
}

#[test]
fn a_holder_revokes_the_own_certificate_and_no_other() {
    let running = with_officer();
    let asked = request(running.path(), "first.pem", CNS_SUBJECT);
    let issued = running.authority.issue(Profile::Authentication, &asked).unwrap();
    fs::write(running.path().join("first.crt"), issued.to_pem(LineEnding::LF).unwrap()).unwrap();
    let rr = |old| ["-cmd", "rr", "-oldcert", old, "-revreason", "1"];
    let (done, said) = signed(&running, ["first.crt", "first.pem"], "authentication", &rr("officer.crt"));
    assert!(!done && said.contains("notAuthorized"), "{said}");
    let (done, said) = signed(&running, ["first.crt", "first.pem"], "authentication", &rr("first.crt"));
    assert!(done, "{said}");
    let states: Vec<_> = running.authority.list().unwrap().iter().map(|record| record.status).collect();
    assert_eq!(states[0], Status::Valid);
    assert!(matches!(states[1], Status::Revoked { reason: Reason::KeyCompromise, .. }));
    // Another certifier's certificate is nobody's here.
    openssl(running.path(), &["req", "-x509", "-key", "first.pem", "-subj", "/CN=X", "-out", "other.pem"]);
    let (done, said) = running.cmp("authentication", &rr("other.pem"));
    assert!(!done && said.contains("badCertId") && said.contains("another certifier"), "{said}");
}

#[test]
fn openssl_waits_for_its_certificate_and_asks_what_else_there_is() {
    let running = Running::start();
    // Long enough that the first question finds the certificate not ready, however slow the machine is.
    running.authority.set_delay(std::time::Duration::from_secs(3));
    let (done, said) = running.cmp("signature", &ir(SIGNATURE_SUBJECT));
    assert!(done && said.contains("received POLLREP") && said.contains("received PKICONF"), "{said}");
    request(running.path(), "first.pem", CNS_SUBJECT);
    let p10cr = ["-cmd", "p10cr", "-csr", "request.der", "-certout", "leaf.pem"];
    let (done, said) = running.cmp("authentication", &p10cr);
    assert!(done && said.contains("received POLLREP"), "{said}");
    assert_eq!(running.authority.list().unwrap().len(), 2);

    for question in [&[][..], &["-infotype", "caCerts"], &["-infotype", "currentCRL"]] {
        let (done, said) = running.cmp("signature", &[&["-cmd", "genm"], question].concat());
        assert!(done && said.contains("received GENP"), "{said}");
    }
}
