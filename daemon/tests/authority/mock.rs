//! OpenSSL's mock server: a CMP peer that nobody here wrote.
//!
//! It takes a port and no address, and so listens to everybody: the tests run it in a network namespace of their own,
//! where there is nobody else.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cns_virtual_authority::{Authority as Certifier, Profile};
use cnsd::authority::cmp::{CmpError, ProtectionError};
use cnsd::authority::{AuthorityError, IssuedCertificate};
use der::{Decode, Encode};
use tempfile::TempDir;
use x509_cert::request::CertReq;

use crate::fixture::{SECRET, SUBJECT, authority, expected, public_key, request, workplace};

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "CNSD_TEST_PRIVATE_NETWORK";

#[test]
fn openssl_s_mock_server_in_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(inside());
    }
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    let status = command
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "mock::openssl_s_mock_server_in_a_network_of_its_own", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

async fn inside() {
    a_certificate_of_openssl_s().await;
    implicit_confirmation_is_not_taken_for_granted().await;
    refusals_of_openssl_s().await;
    unprotected_answers_are_not_believed().await;
    an_authority_that_wants_time().await;
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
        let folder = workplace();
        let asked = request(folder.path(), SUBJECT);
        let certifier = Certifier::open(&folder.path().join("ca")).unwrap();
        let certificate =
            certifier.issue(Profile::QualifiedSignature, &CertReq::from_der(&asked).unwrap()).unwrap();
        std::fs::write(folder.path().join("leaf.der"), certificate.to_der().unwrap()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.path().join("srv-secret"), SECRET).unwrap();
        let (accept, secret) = (port.to_string(), "file:srv-secret");
        let child = Command::new("openssl")
            .args(["cmp", "-config", "", "-port", &accept, "-srv_ref", "cnsd", "-srv_secret", secret])
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

    async fn certify(&self) -> Result<IssuedCertificate, AuthorityError> {
        let url = format!("http://127.0.0.1:{}/pkix/", self.port);
        let key = public_key(&self.asked);
        authority(self.folder.path(), &url, SECRET, "ca").certify(&self.asked, [1; 16], &expected(&key)).await
    }
}

async fn a_certificate_of_openssl_s() {
    let mock = Mock::start(&[]);
    let issued = mock.certify().await.unwrap();
    assert_eq!(issued.der, std::fs::read(mock.folder.path().join("leaf.der")).unwrap());
    assert!(!issued.ca_certificates.is_empty());
}

async fn implicit_confirmation_is_not_taken_for_granted() {
    let mock = Mock::start(&["-grant_implicitconf"]);
    mock.certify().await.unwrap();
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
    let mock = Mock::start(&["-poll_count", "1", "-check_after", "1"]);
    let error = mock.certify().await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Waiting)), "{error}");
}
