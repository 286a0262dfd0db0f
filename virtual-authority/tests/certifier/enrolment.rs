//! `openssl cmp` enrols: every way that this certifier answers, and every way that it refuses.

use std::fs;

use cns_virtual_authority::Status;
use der::Encode;

use crate::fixture::{CNS_SUBJECT, Running, SIGNATURE_SUBJECT, certificate, post, request};

const CMP: &str = "application/pkixcmp";

fn only_record(running: &Running) -> cns_virtual_authority::Record {
    let records = running.authority.list().unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

#[test]
fn ir_of_a_signature_certificate() {
    let running = Running::start();
    let (done, said) = running.cmp(
        "signature",
        &[
            "-cmd",
            "ir",
            "-newkey",
            "first.pem",
            "-subject",
            SIGNATURE_SUBJECT,
            "-certout",
            "leaf.pem",
            "-cacertsout",
            "ca.pem",
            "-out_trusted",
            "ca/ca.pem",
        ],
    );
    assert!(done, "{said}");
    assert!(said.contains("received PKICONF"), "{said}");
    let record = only_record(&running);
    assert_eq!(record.status, Status::Valid);
    assert_eq!(certificate(running.path().join("leaf.pem")).to_der().unwrap(), record.certificate);
    assert_eq!(&certificate(running.path().join("ca.pem")), running.authority.ca_certificate());
}

#[test]
fn p10cr_of_an_authentication_certificate() {
    let running = Running::start();
    request(running.path(), "first.pem", CNS_SUBJECT);
    for protection in
        [["-digest", "sha256", "-mac", "hmacWithSHA256"], ["-digest", "sha1", "-mac", "hmac-sha1"]]
    {
        let arguments = ["-cmd", "p10cr", "-csr", "request.der", "-certout", "leaf.pem"];
        let (done, said) = running.cmp("authentication", &[&arguments[..], &protection[..]].concat());
        assert!(done, "{said}");
        assert!(said.contains("received CP") && said.contains("received PKICONF"), "{said}");
        let record = only_record(&running);
        assert_eq!(record.status, Status::Valid);
        assert_eq!(certificate(running.path().join("leaf.pem")).to_der().unwrap(), record.certificate);
    }
}

#[test]
fn implicit_confirmation_and_a_shorter_term() {
    let running = Running::start();
    let (done, said) = running.cmp(
        "authentication",
        &[
            "-cmd",
            "cr",
            "-newkey",
            "first.pem",
            "-subject",
            CNS_SUBJECT,
            "-certout",
            "leaf.pem",
            "-days",
            "30",
            "-implicit_confirm",
        ],
    );
    assert!(done, "{said}");
    assert!(!said.contains("PKICONF"), "{said}");
    let record = only_record(&running);
    assert_eq!(record.status, Status::Valid);
    assert_eq!((record.not_after - record.not_before) / (24 * 3600), 30);
}

#[test]
fn a_wrong_secret_and_an_unknown_name_get_the_same_answer() {
    let running = Running::start();
    let arguments = [
        "-cmd",
        "ir",
        "-newkey",
        "first.pem",
        "-subject",
        CNS_SUBJECT,
        "-certout",
        "leaf.pem",
        "-unprotected_errors",
    ];
    let mut answers = Vec::new();
    for (reference, secret) in [("cnsd", "another secret"), ("nobody", crate::fixture::SECRET)] {
        let (done, said) = running.cmp_as(reference, secret, "authentication", &arguments);
        assert!(!done && said.contains("badMessageCheck"), "{said}");
        let words = "StatusString: \"the message is not protected with the shared secret\"";
        assert!(said.contains(words), "{said}");
        answers.push(said.lines().filter(|line| line.contains("received error")).count());
    }
    assert_eq!(answers, [1, 1]);
    assert_eq!(running.authority.list().unwrap(), []);
}

#[test]
fn refusals_say_why_under_protection() {
    let running = Running::start();
    let refused = |profile: &str, arguments: &[&str], expected: &[&str]| {
        // Without -unprotected_errors openssl believes only what the secret protects.
        let (done, said) = running.cmp(profile, &[arguments, &["-certout", "leaf.pem"]].concat());
        assert!(!done, "{said}");
        for words in expected {
            assert!(said.contains(words), "{words} is not in {said}");
        }
    };
    let ir = |subject| ["-cmd", "ir", "-newkey", "first.pem", "-subject", subject];
    refused(
        "authentication",
        &ir("/C=IT/CN=MARIO ROSSI"),
        &["badCertTemplate", "commonName must be the codice fiscale"],
    );
    refused("signature", &ir(CNS_SUBJECT), &["badCertTemplate", "organizationalUnitName"]);
    refused(
        "authentication",
        &[&ir(CNS_SUBJECT)[..], &["-popo", "0"]].concat(),
        &["badPOP", "prove possession"],
    );
    refused("authentication", &[&ir(CNS_SUBJECT)[..], &["-popo", "-1"]].concat(), &["badPOP"]);
    assert_eq!(running.authority.list().unwrap(), []);
}

#[test]
fn a_client_that_lost_the_answer_does_not_enrol_twice() {
    let running = Running::start();
    let arguments = ["-cmd", "ir", "-newkey", "first.pem", "-subject", CNS_SUBJECT, "-certout", "leaf.pem"];
    let (done, said) =
        running.cmp("authentication", &[&arguments[..], &["-reqout", "ir.der,conf.der"]].concat());
    assert!(done, "{said}");
    let first = only_record(&running);

    // The same bytes again: the same transaction.
    let ir = fs::read(running.path().join("ir.der")).unwrap();
    let (status, answer) = post(running.address, "/pkix/authentication", CMP, &ir);
    assert_eq!(status, 200);
    assert!(contains(&answer, &first.certificate));
    // The confirmation again: still pkiconf, [19] and a NULL.
    let confirmation = fs::read(running.path().join("conf.der")).unwrap();
    let (status, answer) = post(running.address, "/pkix/authentication", CMP, &confirmation);
    assert_eq!(status, 200);
    assert!(contains(&answer, &[0xb3, 0x02, 0x05, 0x00]));
    // Another transaction for the same key and subject.
    let (done, said) = running.cmp("authentication", &arguments);
    assert!(done, "{said}");
    assert_eq!(certificate(running.path().join("leaf.pem")).to_der().unwrap(), first.certificate);
    let again = only_record(&running);
    assert_eq!((again.serial, again.status), (first.serial, first.status));
}

#[test]
fn a_replayed_request_does_not_bring_back_a_revoked_certificate() {
    let running = Running::start();
    let arguments = [
        "-cmd",
        "ir",
        "-newkey",
        "first.pem",
        "-subject",
        CNS_SUBJECT,
        "-certout",
        "leaf.pem",
        "-reqout",
        "ir.der,conf.der",
    ];
    let (done, said) = running.cmp("authentication", &arguments);
    assert!(done, "{said}");
    let record = only_record(&running);
    running.authority.revoke(&record.serial, cns_virtual_authority::Reason::KeyCompromise).unwrap();
    let ir = fs::read(running.path().join("ir.der")).unwrap();
    let (status, answer) = post(running.address, "/pkix/authentication", CMP, &ir);
    assert_eq!(status, 200);
    assert!(contains(&answer, b"no longer in force") && !contains(&answer, &record.certificate));
    assert_eq!(running.authority.list().unwrap().len(), 1);
}

#[test]
fn a_client_that_turns_the_certificate_down_gets_it_revoked() {
    let running = Running::start();
    // openssl finds no chain to this trust anchor and says so in certConf.
    crate::fixture::openssl(
        running.path(),
        &["req", "-x509", "-key", "second.pem", "-subj", "/CN=Stranger", "-out", "stranger.pem"],
    );
    let (done, said) = running.cmp(
        "authentication",
        &[
            "-cmd",
            "ir",
            "-newkey",
            "first.pem",
            "-subject",
            CNS_SUBJECT,
            "-certout",
            "leaf.pem",
            "-out_trusted",
            "stranger.pem",
        ],
    );
    assert!(!done, "{said}");
    let record = only_record(&running);
    assert!(matches!(record.status, Status::Revoked { .. }), "{record:?}");
}

#[test]
fn no_single_wrong_byte_gets_anything() {
    let running = Running::start();
    let arguments = [
        "-cmd",
        "ir",
        "-newkey",
        "first.pem",
        "-subject",
        CNS_SUBJECT,
        "-certout",
        "leaf.pem",
        "-reqout",
        "ir.der,conf.der",
    ];
    let (done, said) = running.cmp("authentication", &arguments);
    assert!(done, "{said}");
    let record = only_record(&running);
    let good = fs::read(running.path().join("ir.der")).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x21;
        let (status, answer) = post(running.address, "/pkix/authentication", CMP, &bad);
        assert!(matches!(status, 200 | 400), "byte {at}: {status}");
        assert!(!contains(&answer, &record.certificate), "byte {at}");
    }
    assert_eq!(only_record(&running).serial, record.serial);
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
