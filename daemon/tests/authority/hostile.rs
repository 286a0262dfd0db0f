//! Authorities that answer wrongly, late or twice: what is refused, what is recovered, and that the same enrolment goes on
//! afterwards.
//!
//! The server is a thread behind TCP with a CMP of its own, on which neither the daemon nor `cns-authority` rests.

mod server;

use std::time::{Duration, Instant};

use cnsd::authority::checks::CheckError;
use cnsd::authority::cmp::{CmpError, ProtectionError};
use cnsd::authority::{Authority, AuthorityError, NetworkError};
use cnsd_test_support::network;
use std::sync::Arc;

use crate::fixture::{SECRET, config, expected, public_key};
use server::{Fault, Server};

type Judge = fn(&AuthorityError) -> bool;

fn unbelieved(error: &AuthorityError) -> Option<&ProtectionError> {
    match error {
        AuthorityError::Cmp(CmpError::Unbelieved { fault, .. }) => Some(fault),
        _ => None,
    }
}

/// What is refused, and how.
const REFUSED: &[(Fault, Judge)] = &[
    (Fault::Silence, |e| matches!(e, AuthorityError::Network(NetworkError::TimedOut))),
    (Fault::Drip, |e| matches!(e, AuthorityError::Network(NetworkError::TimedOut))),
    (Fault::Hangup, |e| matches!(e, AuthorityError::Network(NetworkError::Transport(_)))),
    (Fault::NoHttp, |e| matches!(e, AuthorityError::Network(NetworkError::Transport(_)))),
    (Fault::Status(500), |e| matches!(e, AuthorityError::Network(NetworkError::Status(500)))),
    (Fault::Status(404), |e| matches!(e, AuthorityError::Network(NetworkError::Status(404)))),
    (Fault::Redirect, |e| matches!(e, AuthorityError::Network(NetworkError::Status(302)))),
    (Fault::Flood, |e| matches!(e, AuthorityError::Network(NetworkError::TooLarge))),
    (Fault::Garbage, |e| matches!(e, AuthorityError::Cmp(CmpError::Malformed(_)))),
    (Fault::Empty, |e| matches!(e, AuthorityError::Cmp(CmpError::Malformed(_)))),
    (Fault::Truncated, |e| matches!(e, AuthorityError::Cmp(CmpError::Malformed(_)))),
    (Fault::Transaction, |e| matches!(e, AuthorityError::Cmp(CmpError::Mismatch("transactionID")))),
    (Fault::Nonce, |e| matches!(e, AuthorityError::Cmp(CmpError::Mismatch("recipNonce")))),
    (Fault::NoNonce, |e| matches!(e, AuthorityError::Cmp(CmpError::Mismatch("recipNonce")))),
    (Fault::Unprotected, |e| matches!(unbelieved(e), Some(ProtectionError::Absent))),
    (Fault::UnprotectedError, |e| matches!(unbelieved(e), Some(ProtectionError::Absent))),
    (Fault::WrongSecret, |e| matches!(unbelieved(e), Some(ProtectionError::Wrong))),
    (Fault::WrongSecretError, |e| matches!(unbelieved(e), Some(ProtectionError::Wrong))),
    (Fault::ChangedBody, |e| matches!(unbelieved(e), Some(ProtectionError::Wrong))),
    (Fault::Iterations, |e| matches!(unbelieved(e), Some(ProtectionError::Parameters))),
    (Fault::SignedInstead, |e| matches!(unbelieved(e), Some(ProtectionError::Algorithm))),
    (Fault::Error, |e| matches!(e, AuthorityError::Cmp(CmpError::Refused(_)))),
    (Fault::Rejection, |e| matches!(e, AuthorityError::Cmp(CmpError::Refused(_)))),
    (Fault::OtherKind, |e| matches!(e, AuthorityError::Cmp(CmpError::Unexpected))),
    (Fault::NoCertificate, |e| matches!(e, AuthorityError::Cmp(CmpError::Unexpected))),
    (Fault::TwoCertificates, |e| matches!(e, AuthorityError::Cmp(CmpError::Unexpected))),
    (Fault::WaitsForEver, |e| matches!(e, AuthorityError::Cmp(CmpError::Waiting(_)))),
    (Fault::WaitsWithoutATime, |e| matches!(e, AuthorityError::Cmp(CmpError::Waiting(None)))),
    (Fault::WaitsTooLong, |e| matches!(e, AuthorityError::Cmp(CmpError::Waiting(Some(1_000_000))))),
    (Fault::OtherKey, |e| matches!(e, AuthorityError::Certificate(CheckError::Key))),
    (Fault::Expired, |e| matches!(e, AuthorityError::Certificate(CheckError::Expired))),
    (Fault::OtherHolder, |e| matches!(e, AuthorityError::Certificate(CheckError::Holder(_)))),
    (Fault::Stranger, |e| matches!(e, AuthorityError::Certificate(CheckError::Issuer(_)))),
    (Fault::NoConfirmation, |e| unbelieved(e).is_some()),
];

/// What is recovered without anybody's help.
const RECOVERED: &[Fault] = &[
    // The request came, the certificate was issued, the answer was lost.
    Fault::LostAnswer,
    // The same, and the authority takes no transaction twice.
    Fault::LostAnswerStrict,
    // The confirmation came, its answer was lost.
    Fault::LostConfirmation,
    Fault::Waits,
];

#[tokio::test]
async fn authorities_that_answer_wrongly() {
    let server = Server::start();
    let config = {
        let mut config = config(server.folder(), &server.url(), SECRET, "ca");
        config.wait_seconds = 3;
        config
    };
    let helper = Arc::new(network().with_time_limit(Duration::from_secs(1)));
    let authority = Authority::open(&config, helper).unwrap();
    let key = public_key(&server.asked);
    let (mut refused, mut recovered) = (0, 0);
    for (number, (fault, judge)) in (1..).zip(REFUSED) {
        let begin = Instant::now();
        server.now(*fault);
        let verdict = authority.certify(&server.asked, [number; 16], &expected(&key), None).await;
        let error = verdict.expect_err(&format!("{fault:?}"));
        assert!(judge(&error), "{fault:?}: {error:?}");
        assert!(begin.elapsed() < Duration::from_secs(12), "{fault:?}: {:?}", begin.elapsed());
        let said = error.to_string();
        assert!(!said.contains(SECRET) && !said.chars().any(char::is_control), "{fault:?}: {said}");
        let turned_down = matches!(error, AuthorityError::Certificate(_));
        assert_eq!(server.turned_down(), turned_down, "{fault:?}: the authority is told, and only then");
        // Three seconds' waiting, with a second between two polls.
        assert!(server.messages() <= 6, "{fault:?}: the authority had {} messages", server.messages());
        refused += 1;
        // The same enrolment goes on with an authority in order.
        server.now(Fault::None);
        let issued = authority.certify(&server.asked, [number; 16], &expected(&key), None).await;
        assert_eq!(issued.unwrap().der, server.certificate, "{fault:?}");
    }
    for (number, fault) in (101..).zip(RECOVERED) {
        server.now(*fault);
        let issued = authority.certify(&server.asked, [number; 16], &expected(&key), None).await;
        let issued = issued.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(issued.der, server.certificate, "{fault:?}");
        assert_eq!(server.transactions(), 1, "{fault:?}: one transaction, however often it is asked");
        recovered += 1;
    }
    println!("{} cases, {refused} refused, {recovered} recovered", REFUSED.len() + RECOVERED.len());
}
