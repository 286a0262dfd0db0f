//! Every way to ask, against the project's certifier: by secret or signature, at once or after a while; and suspension,
//! reactivation and revocation.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::counter::Reason;
use cns_virtual_authority::Status;
use cnsd::authority::{Authority, AuthorityError, CmpError, RaKey, Signer};
use cnsd::config::{AuthorityConfig, Protection, RequestForm};
use cnsd::procedure::status::{StatusAuthority, StatusChange, StatusError};
use cnsd_test_support::network;
use x509_cert::ext::pkix::CrlReason;

use crate::fixture::{Running, SECRET, SUBJECT, config, crmf, expected, openssl, public_key, request};

/// A registration authority's key and certificate, which the certifier was told of.
fn registration_authority(running: &Running, config: AuthorityConfig) -> AuthorityConfig {
    let folder = running.folder.path();
    let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "9", "-subj", "/CN=RA"];
    let files = ["-keyout", "ra.key", "-out", "ra.pem", "-addext", "keyUsage=critical,digitalSignature"];
    openssl(folder, &[&make[..], &files].concat());
    running.certifier.authorise(&std::fs::read(folder.join("ra.pem")).unwrap()).unwrap();
    AuthorityConfig {
        protection: Protection::RegistrationAuthority,
        ra_certificate: Some(folder.join("ra.pem")),
        ra_key_file: Some(folder.join("ra.key")),
        secret_file: None,
        ..config
    }
}

fn open(config: &AuthorityConfig) -> Authority {
    Authority::open(config, Arc::new(network())).unwrap()
}

#[tokio::test]
async fn every_protection_and_form_brings_the_same_certificate() {
    let running = Running::start().await;
    let folder = running.folder.path();
    let (pkcs10, crmf) = (request(folder, SUBJECT), crmf(folder, SUBJECT));
    let key = public_key(&pkcs10);
    let by_secret = config(folder, &running.url(), SECRET, "ca");
    let by_signature = registration_authority(&running, by_secret.clone());
    let officer = RaKey::read(&folder.join("ra.pem"), &folder.join("ra.key")).unwrap();
    let signer: &dyn Signer = &officer;
    let mut number = 0;
    let mut certificates = std::collections::BTreeSet::new();
    for delay in [0, 1] {
        running.certifier.set_delay(Duration::from_secs(delay));
        for protection in
            [Protection::Pbm, Protection::Pbmac1, Protection::RegistrationAuthority, Protection::Operator]
        {
            let signs = matches!(protection, Protection::RegistrationAuthority | Protection::Operator);
            let base = if signs { &by_signature } else { &by_secret };
            let officer = (protection == Protection::Operator).then_some(signer);
            for asked in [&pkcs10, &crmf] {
                number += 1;
                let config = AuthorityConfig { protection, request: RequestForm::Ir, ..base.clone() };
                let issued = open(&config).certify(asked, [number; 16], &expected(&key), officer).await;
                let issued = issued.unwrap_or_else(|error| panic!("{protection:?}, {delay} s: {error}"));
                certificates.insert(issued.der);
            }
        }
    }
    println!("{number} enrolments");
    assert_eq!((certificates.len(), running.certifier.list().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_certifier_that_takes_long_is_asked_again_with_the_same_transaction() {
    let running = Running::start().await;
    let folder = running.folder.path();
    let asked = request(folder, SUBJECT);
    let key = public_key(&asked);
    running.certifier.set_delay(Duration::from_secs(2));
    let impatient = AuthorityConfig { wait_seconds: 0, ..config(folder, &running.url(), SECRET, "ca") };
    let authority = open(&impatient);
    let error = authority.certify(&asked, [1; 16], &expected(&key), None).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Waiting(_))), "{error}");
    let patient = AuthorityConfig { wait_seconds: 20, ..impatient };
    open(&patient).certify(&asked, [1; 16], &expected(&key), None).await.unwrap();
    assert_eq!(running.certifier.list().unwrap().len(), 1, "no second certificate");
}

#[tokio::test]
async fn certificates_are_suspended_reactivated_and_revoked() {
    let running = Running::start().await;
    let folder = running.folder.path();
    let asked = request(folder, SUBJECT);
    let key = public_key(&asked);
    let by_secret = config(folder, &running.url(), SECRET, "ca");
    let leaf = open(&by_secret).certify(&asked, [1; 16], &expected(&key), None).await.unwrap().der;
    let by_signature = registration_authority(&running, by_secret.clone());
    let standing = || running.certifier.list().unwrap()[0].status;
    for (round, config) in (1..).zip([by_secret, by_signature]) {
        let authority = open(&config);
        let change = |reason, number: u8| authority.revoke(&leaf, reason, [round * 16 + number; 16], None);
        change(CrlReason::CertificateHold, 1).await.unwrap();
        assert!(matches!(standing(), Status::Suspended { .. }), "{:?}", standing());
        // The same message again, as after a lost answer.
        change(CrlReason::CertificateHold, 1).await.unwrap();
        change(CrlReason::RemoveFromCRL, 2).await.unwrap();
        assert_eq!(standing(), Status::Valid);
    }
    let authority = running.authority();
    authority.revoke(&leaf, CrlReason::KeyCompromise, [90; 16], None).await.unwrap();
    assert!(matches!(standing(), Status::Revoked { .. }));
    for (number, reason) in (91..).zip([CrlReason::AffiliationChanged, CrlReason::RemoveFromCRL]) {
        let final_word = authority.revoke(&leaf, reason, [number; 16], None).await.unwrap_err();
        assert!(matches!(final_word, AuthorityError::Cmp(CmpError::Refused(_))), "{final_word}");
    }
    // `certRevoked` is no proof: other authorities say it of what is suspended, or not suspended any more.
    for (number, change) in (93..).zip([
        StatusChange::Suspend(None),
        StatusChange::Reactivate,
        StatusChange::Revoke(Reason::Loss),
    ]) {
        let said = StatusAuthority::change(&authority, [number; 16], leaf.clone(), change, None).await;
        assert!(matches!(said, Err(StatusError::Already(_))), "{change:?}: {said:?}");
    }
}
