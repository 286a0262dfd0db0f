//! OpenSSL's mock server: a CMP peer that nobody here wrote.
//!
//! It takes a port and no address, and so listens to everybody: the tests run it in a network namespace of their own,
//! where there is nobody else.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cns_virtual_authority::{Authority as Certifier, Profile};
use cnsd::authority::checks::CheckError;
use cnsd::authority::cmp::{CmpError, ProtectionError};
use cnsd::authority::{Authority, AuthorityError, IssuedCertificate, RaKey};
use cnsd::config::{AuthorityConfig, Protection, RequestForm};
use cnsd_test_support::{network, private_network};
use der::{Decode, Encode};
use tempfile::TempDir;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::request::CertReq;

use crate::fixture::{SECRET, SUBJECT, config, crmf, expected, public_key, request, spokesman, workplace};

#[test]
fn openssl_s_mock_server_in_a_network_of_its_own() {
    private_network::alone("mock::openssl_s_mock_server_in_a_network_of_its_own", inside());
}

async fn inside() {
    a_certificate_of_openssl_s().await;
    implicit_confirmation_is_not_taken_for_granted().await;
    refusals_of_openssl_s().await;
    unprotected_answers_are_not_believed().await;
    an_authority_that_wants_time().await;
    crmf_and_its_proof().await;
    a_registration_authority_s_signature().await;
    an_officer_s_signature().await;
    who_may_sign_for_the_authority().await;
    suspension_reactivation_revocation().await;
}

struct Mock {
    child: Child,
    folder: TempDir,
    port: u16,
    asked: Vec<u8>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Mock {
    /// Whatever it is asked for, it answers with the certificate of the shared key.
    fn start(extra: &[&str]) -> Self {
        Self::protected(&["-srv_ref", "cnsd", "-srv_secret", "file:srv-secret"], extra)
    }

    /// The same that signs with this certificate, and believes whom the certifier issued one.
    fn signing(extensions: &str, extra: &[&str]) -> Self {
        let signing = ["-srv_cert", "server.pem", "-srv_key", "server.key", "-srv_trusted", "ca/ca.pem"];
        Self::prepared(&signing, extra, |folder| spokesman(folder, "server", "ca", extensions))
    }

    fn protected(protection: &[&str], extra: &[&str]) -> Self {
        Self::prepared(protection, extra, |_| ())
    }

    fn prepared(protection: &[&str], extra: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = workplace();
        let asked = request(folder.path(), SUBJECT);
        let certifier = Certifier::open(&folder.path().join("ca")).unwrap();
        let certificate =
            certifier.issue(Profile::QualifiedSignature, &CertReq::from_der(&asked).unwrap()).unwrap();
        std::fs::write(folder.path().join("leaf.der"), certificate.to_der().unwrap()).unwrap();
        prepare(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.path().join("srv-secret"), SECRET).unwrap();
        let accept = port.to_string();
        let child = Command::new("openssl")
            .args(["cmp", "-config", "", "-port", &accept])
            .args(protection)
            .args(["-rsp_cert", "leaf.der", "-rsp_extracerts", "ca/ca.pem", "-rsp_capubs", "ca/ca.pem"])
            .args(extra)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "openssl does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, folder, port, asked }
    }

    fn config(&self) -> AuthorityConfig {
        let url = format!("http://127.0.0.1:{}/pkix/", self.port);
        config(self.folder.path(), &url, SECRET, "ca")
    }

    /// A registration authority, as this server believes it.
    fn registration_authority(&self) -> Authority {
        spokesman(self.folder.path(), "ra", "ca", REGISTRATION_AUTHORITY);
        let config = AuthorityConfig {
            protection: Protection::RegistrationAuthority,
            ra_certificate: Some(self.folder.path().join("ra.pem")),
            ra_key_file: Some(self.folder.path().join("ra.key")),
            secret_file: None,
            ..self.config()
        };
        Authority::open(&config, Arc::new(network())).unwrap()
    }

    async fn certify(&self) -> Result<IssuedCertificate, AuthorityError> {
        let authority = Authority::open(&self.config(), Arc::new(network())).unwrap();
        self.certify_by(&authority, &self.asked).await
    }

    async fn certify_by(
        &self,
        authority: &Authority,
        asked: &[u8],
    ) -> Result<IssuedCertificate, AuthorityError> {
        let key = public_key(&self.asked);
        authority.certify(asked, [1; 16], &expected(&key), None).await
    }

    fn leaf(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("leaf.der")).unwrap()
    }
}

/// What makes a certificate one of a registration authority: id-kp-cmcRA.
const REGISTRATION_AUTHORITY: &str = "keyUsage=critical,digitalSignature\n\
     extendedKeyUsage=1.3.6.1.5.5.7.3.28\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

async fn crmf_and_its_proof() {
    let mock = Mock::start(&[]);
    let asked = crmf(mock.folder.path(), SUBJECT);
    let authority = Authority::open(&mock.config(), Arc::new(network())).unwrap();
    assert_eq!(mock.certify_by(&authority, &asked).await.unwrap().der, mock.leaf());
    let mut stolen = asked;
    *stolen.last_mut().unwrap() ^= 1;
    let error = mock.certify_by(&authority, &stolen).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Refused(_))), "{error}");
}

async fn a_registration_authority_s_signature() {
    let mock = Mock::signing(REGISTRATION_AUTHORITY, &["-poll_count", "1", "-check_after", "1"]);
    let authority = mock.registration_authority();
    for asked in [mock.asked.clone(), crmf(mock.folder.path(), SUBJECT)] {
        assert_eq!(mock.certify_by(&authority, &asked).await.unwrap().der, mock.leaf());
    }
    // A server that takes secrets only does not believe the signature, and what it says then is not believed either.
    let other = Mock::start(&[]);
    let error = other.certify_by(&other.registration_authority(), &other.asked).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Unbelieved { .. })), "{error}");
}

/// What makes a certificate one of a card.
const CARD: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
     subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

/// The operator's card signs the messages, the new key itself the request in them.
async fn an_officer_s_signature() {
    let mock = Mock::signing(REGISTRATION_AUTHORITY, &["-poll_count", "1", "-check_after", "1"]);
    let folder = mock.folder.path();
    spokesman(folder, "officer", "ca", CARD);
    let officer = RaKey::read(&folder.join("officer.pem"), &folder.join("officer.key")).unwrap();
    let config = AuthorityConfig {
        protection: Protection::Operator,
        request: RequestForm::Ir,
        secret_file: None,
        ..mock.config()
    };
    let authority = Authority::open(&config, Arc::new(network())).unwrap();
    let (key, asked) = (public_key(&mock.asked), crmf(folder, SUBJECT));
    for asked in [&asked, &mock.asked] {
        let issued = authority.certify(asked, [1; 16], &expected(&key), Some(&officer)).await;
        assert_eq!(issued.unwrap().der, mock.leaf());
    }
    authority.revoke(&mock.leaf(), CrlReason::CertificateHold, [2; 16], Some(&officer)).await.unwrap();
    let nobody = authority.certify(&asked, [3; 16], &expected(&key), None).await.unwrap_err();
    assert!(matches!(nobody, AuthorityError::Cmp(CmpError::NoOfficer)), "{nobody}");
    // The officer's signature is no proof that the new key is the card's.
    let mut stolen = asked;
    *stolen.last_mut().unwrap() ^= 1;
    let unproved = authority.certify(&stolen, [4; 16], &expected(&key), Some(&officer)).await.unwrap_err();
    assert!(matches!(unproved, AuthorityError::Cmp(CmpError::Refused(_))), "{unproved}");
    // Nor does an officer whom another authority certified speak here.
    spokesman(folder, "alien", "stranger", CARD);
    let alien = RaKey::read(&folder.join("alien.pem"), &folder.join("alien.key")).unwrap();
    let unknown = authority.certify(&mock.asked, [5; 16], &expected(&key), Some(&alien)).await.unwrap_err();
    assert!(matches!(unknown, AuthorityError::Cmp(_)), "{unknown}");
}

async fn who_may_sign_for_the_authority() {
    // Whoever has a certificate of this certifier is not yet its spokesman: a citizen has one too.
    for extensions in ["keyUsage=critical,digitalSignature\n", "extendedKeyUsage=clientAuth\n"] {
        let mock = Mock::signing(extensions, &[]);
        let error = mock.certify_by(&mock.registration_authority(), &mock.asked).await.unwrap_err();
        let AuthorityError::Cmp(CmpError::Unbelieved { fault, .. }) = error else { panic!("{error}") };
        let nobody = Some(CheckError::NoSpokesman);
        assert!(matches!(&fault, ProtectionError::Signature(why) if *why == nobody), "{fault}");
    }
}

async fn suspension_reactivation_revocation() {
    let mock = Mock::signing(REGISTRATION_AUTHORITY, &[]);
    let authority = mock.registration_authority();
    let leaf = mock.leaf();
    for reason in [
        CrlReason::CertificateHold,
        CrlReason::RemoveFromCRL,
        CrlReason::KeyCompromise,
        CrlReason::AffiliationChanged,
        CrlReason::CessationOfOperation,
        CrlReason::Superseded,
    ] {
        let changed = authority.revoke(&leaf, reason, [1; 16], None).await;
        changed.unwrap_or_else(|error| panic!("{reason:?}: {error}"));
    }
    // A certificate that the server does not have.
    let other = std::fs::read(mock.folder.path().join("ca/ca.der")).unwrap();
    let error = authority.revoke(&other, CrlReason::KeyCompromise, [2; 16], None).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Refused(_))), "{error}");
    let refusing = Mock::start(&["-pkistatus", "2", "-failure", "10"]);
    let authority = Authority::open(&refusing.config(), Arc::new(network())).unwrap();
    for (number, reason) in (3..).zip([CrlReason::KeyCompromise, CrlReason::RemoveFromCRL]) {
        let error = authority.revoke(&refusing.leaf(), reason, [number; 16], None).await.unwrap_err();
        let AuthorityError::Cmp(CmpError::Refused(refusal)) = error else { panic!("{error}") };
        assert!(refusal.names("certRevoked"), "{refusal}");
    }
}

async fn a_certificate_of_openssl_s() {
    let mock = Mock::start(&[]);
    let issued = mock.certify().await.unwrap();
    assert_eq!(issued.der, mock.leaf());
    assert!(!issued.ca_certificates.is_empty());
}

async fn implicit_confirmation_is_not_taken_for_granted() {
    let mock = Mock::start(&["-grant_implicitconf"]);
    mock.certify().await.unwrap();
    let asking = AuthorityConfig { implicit_confirm: true, ..mock.config() };
    let authority = Authority::open(&asking, Arc::new(network())).unwrap();
    mock.certify_by(&authority, &mock.asked).await.unwrap();
    let mock = Mock::start(&[]);
    let asking = AuthorityConfig { implicit_confirm: true, ..mock.config() };
    let authority = Authority::open(&asking, Arc::new(network())).unwrap();
    mock.certify_by(&authority, &mock.asked).await.unwrap();
}

async fn refusals_of_openssl_s() {
    let mock = Mock::start(&["-pkistatus", "2", "-failure", "9", "-statusstring", "not today"]);
    let error = mock.certify().await.unwrap_err();
    let AuthorityError::Cmp(CmpError::Refused(refusal)) = error else { panic!("{error}") };
    assert_eq!(refusal.to_string(), "not today (badPOP)");
    let mock = Mock::start(&["-send_error", "-failurebits", "524289", "-statusstring", "never"]);
    let error = mock.certify().await.unwrap_err();
    let AuthorityError::Cmp(CmpError::Refused(refusal)) = error else { panic!("{error}") };
    assert!(refusal.text.contains("never") || !refusal.failures.is_empty(), "{refusal}");
}

async fn unprotected_answers_are_not_believed() {
    let mock = Mock::start(&["-send_unprotected"]);
    let error = mock.certify().await.unwrap_err();
    let absent = |fault: &ProtectionError| matches!(fault, ProtectionError::Absent);
    assert!(
        matches!(&error, AuthorityError::Cmp(CmpError::Unbelieved { fault, .. }) if absent(fault)),
        "{error}"
    );
}

async fn an_authority_that_wants_time() {
    let mock = Mock::start(&["-poll_count", "2", "-check_after", "1"]);
    assert_eq!(mock.certify().await.unwrap().der, mock.leaf());
    let mock = Mock::start(&["-poll_count", "2", "-check_after", "90"]);
    let error = mock.certify().await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Waiting(Some(90)))), "{error}");
}
