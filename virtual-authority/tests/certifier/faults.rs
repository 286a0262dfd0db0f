//! The certifier misbehaves as told, and `openssl cmp` notices.

use std::fs;
use std::time::{Duration, Instant};

use cns_virtual_authority::{Fault, FaultKind, Status};
use der::Encode;

use crate::fixture::{CNS_SUBJECT, Running, certificate, get, post};

const CMP: &str = "application/pkixcmp";
const IR: [&str; 12] = [
    "-cmd",
    "ir",
    "-newkey",
    "first.pem",
    "-subject",
    CNS_SUBJECT,
    "-certout",
    "leaf.pem",
    "-out_trusted",
    "ca/ca.pem",
    "-reqout",
    "ir.der,conf.der",
];

/// What `openssl cmp` says of each fault, and how many certificates the certifier has issued then.
const NOTICED: [(FaultKind, &str, usize); 15] = [
    (FaultKind::Hang, "timeout", 0),
    (FaultKind::LoseRequest, "transfer error", 0),
    (FaultKind::LoseAnswer, "transfer error", 1),
    (FaultKind::Garbage, "error", 1),
    (FaultKind::Truncated, "error", 1),
    (FaultKind::Huge, "max resp len exceeded", 1),
    (FaultKind::Unavailable, "503", 0),
    (FaultKind::WrongNonce, "recipnonce unmatched", 1),
    (FaultKind::WrongTransaction, "transactionid unmatched", 1),
    (FaultKind::WrongProtection, "wrong pbm value", 1),
    (FaultKind::Unprotected, "missing protection", 1),
    (FaultKind::UnprotectedError, "missing protection", 1),
    (FaultKind::OtherKey, "certificate not accepted", 1),
    (FaultKind::Expired, "certificate has expired", 1),
    (FaultKind::Forged, "certificate signature failure", 1),
];

#[test]
fn openssl_notices_each_fault() {
    for (kind, words, issued) in NOTICED {
        let running = Running::start_faulty(Fault::always(kind));
        let begin = Instant::now();
        let patience = if kind == FaultKind::Hang { "1" } else { "20" };
        let (done, said) = running.cmp("authentication", &[&IR[..], &["-msg_timeout", patience]].concat());
        assert!(!done && said.to_lowercase().contains(words), "{kind}: {said}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{kind}: {:?}", begin.elapsed());
        assert_eq!(running.authority.list().unwrap().len(), issued, "{kind}");
        assert_eq!(get(running.address, "/healthz").0, 200, "{kind}");
    }
    println!("{} faults noticed by openssl cmp", NOTICED.len());
}

#[test]
fn another_holder_s_certificate_is_well_signed() {
    // OpenSSL asks for a name and does not look at the one that it gets: nothing but the name is wrong.
    let running = Running::start_faulty(Fault::always(FaultKind::OtherHolder));
    let lax = [&IR[..], &["-disable_confirm"]].concat();
    let (_, said) = running.cmp("authentication", &lax);
    let leaf = certificate(running.path().join("leaf.pem"));
    assert!(leaf.tbs_certificate.subject.to_string().contains("BNCLRA85B42H501M"), "{said}");
    let verify = ["verify", "-CAfile", "ca/ca.pem", "leaf.pem"];
    crate::fixture::openssl(running.path(), &verify);
}

#[test]
fn an_answer_that_is_lost_once_comes_at_the_second_time_and_is_the_same() {
    let running = Running::start_faulty("lose-answer:1".parse().unwrap());
    assert!(!running.cmp("authentication", &IR).0);
    let record = running.authority.list().unwrap()[0].clone();
    assert_eq!(record.status, Status::Unconfirmed);
    let request = fs::read(running.path().join("ir.der")).unwrap();
    let (status, answer) = post(running.address, "/pkix/authentication", CMP, &request);
    assert_eq!(status, 200);
    assert!(answer.windows(record.certificate.len()).any(|part| part == record.certificate));
    let (done, said) = running.cmp("authentication", &IR);
    assert!(done, "{said}");
    let records = running.authority.list().unwrap();
    assert_eq!((records.len(), records[0].status), (1, Status::Valid));
    assert_eq!(certificate(running.path().join("leaf.pem")).to_der().unwrap(), record.certificate);
}

#[test]
fn the_network_s_faults_concern_all_that_is_asked() {
    let running = Running::start_faulty(Fault::times(FaultKind::Unavailable, 2));
    assert_eq!(get(running.address, "/crl.der").0, 503);
    assert_eq!(post(running.address, "/ocsp", "application/ocsp-request", b"").0, 503);
    assert_eq!(get(running.address, "/crl.der").0, 200);
    let running = Running::start_faulty(Fault::always(FaultKind::Truncated));
    let (status, list) = get(running.address, "/crl.der");
    let whole = running.authority.crl().unwrap();
    assert_eq!((status, list.as_slice()), (200, &whole[..whole.len() / 2]));
}
