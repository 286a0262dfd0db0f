//! A certifier, holders' keys made once for all tests, and a server that misbehaves as told.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use cns_virtual_authority::{Authority as Certifier, InitOptions, serve};
use cnsd::authority::{Authority, Expected, Holder, Profile};
use cnsd::config::AuthorityConfig;
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use crmf::pop::{PopoSigningKey, ProofOfPossession};
use crmf::request::{CertReqMsg, CertRequest, CertTemplate};
use der::asn1::{BitString, Int};
use der::{Any, Decode, Encode};
use spki::AlgorithmIdentifierOwned;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use x509_cert::request::CertReq;

use crate::network;

pub const SECRET: &str = "a secret of the tests";
pub const HOLDER: Holder<'static> =
    Holder { codice_fiscale: "RSSMRA80A01H501U", given_name: "MARIO", surname: "ROSSI" };
pub const SUBJECT: &str = "/C=IT/GN=MARIO/SN=ROSSI/CN=MARIO ROSSI/serialNumber=TINIT-RSSMRA80A01H501U";
pub const CNS_SUBJECT: &str =
    r"/C=IT/OU=Regione Prova/CN=RSSMRA80A01H501U\/6999000000001230.2jmj7l5rSw0yVb\/vlWAYkK\/YBwk=";

/// Keys take long to make, so all tests copy these.
fn shared() -> &'static Path {
    static SHARED: OnceLock<TempDir> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            for name in ["ca", "stranger"] {
                let mut options = InitOptions::new(SECRET);
                options.key_bits = 2048;
                Certifier::init(&folder.path().join(name), &options).unwrap();
            }
            openssl(folder.path(), &["genrsa", "-out", "key.pem", "2048"]);
            folder
        })
        .path()
}

pub fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(shared(), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub fn openssl(folder: &Path, arguments: &[&str]) {
    let output =
        Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A key and a certificate for it of the authority in the folder `signer`.
pub fn spokesman(folder: &Path, name: &str, signer: &str, extensions: &str) {
    fs::write(folder.join("extensions"), extensions).unwrap();
    let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
    let (ca, ca_key) = (format!("{signer}/ca.pem"), format!("{signer}/ca-key.pem"));
    let subject = format!("/O=Prova/CN={name}");
    let ask = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-subj", &subject, "-out"];
    openssl(folder, &[&ask[..], &[&request]].concat());
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    openssl(
        folder,
        &[&sign[..], &["-sha256", "-days", "9", "-extfile", "extensions", "-out", &certificate]].concat(),
    );
}

/// A PKCS#10 request of the shared key.
pub fn request(folder: &Path, subject: &str) -> Vec<u8> {
    let arguments = [
        "req", "-new", "-utf8", "-sha256", "-key", "key.pem", "-subj", subject, "-outform", "DER", "-out",
        "r.der",
    ];
    openssl(folder, &arguments);
    fs::read(folder.join("r.der")).unwrap()
}

pub fn public_key(request: &[u8]) -> Vec<u8> {
    CertReq::from_der(request).unwrap().info.public_key.to_der().unwrap()
}

pub fn expected(public_key: &[u8]) -> Expected<'_> {
    Expected { public_key, holder: HOLDER, profile: Profile::Signature }
}

/// An authority as the daemon has it.
pub fn authority(folder: &Path, url: &str, secret: &str, anchors: &str) -> Authority {
    Authority::open(&config(folder, url, secret, anchors), Arc::new(network())).unwrap()
}

/// Its configuration.
pub fn config(folder: &Path, url: &str, secret: &str, anchors: &str) -> AuthorityConfig {
    fs::write(folder.join("client-secret"), format!("{secret}\n")).unwrap();
    AuthorityConfig {
        url: url.to_owned(),
        secret_file: Some(folder.join("client-secret")),
        trust_anchors: folder.join(anchors).join("ca.pem"),
        ..AuthorityConfig::default()
    }
}

/// A CertReqMsg of the shared key, as the procedure makes it on the chip.
pub fn crmf(folder: &Path, subject: &str) -> Vec<u8> {
    let pkcs10 = CertReq::from_der(&request(folder, subject)).unwrap().info;
    let cert_template = CertTemplate {
        version: None,
        serial_number: None,
        signature: None,
        issuer: None,
        validity: None,
        subject: Some(pkcs10.subject),
        subject_public_key_info: Some(pkcs10.public_key),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: None,
    };
    let cert_req = CertRequest { cert_req_id: Int::new(&[0]).unwrap(), cert_template, controls: None };
    fs::write(folder.join("popo"), cert_req.to_der().unwrap()).unwrap();
    openssl(folder, &["dgst", "-sha256", "-sign", "key.pem", "-out", "popo.sig", "popo"]);
    let signature = BitString::from_bytes(&fs::read(folder.join("popo.sig")).unwrap()).unwrap();
    let alg_id = AlgorithmIdentifierOwned { oid: SHA_256_WITH_RSA_ENCRYPTION, parameters: Some(Any::null()) };
    let key = PopoSigningKey { poposk_input: None, alg_id, signature };
    let popo = Some(ProofOfPossession::Signature(Box::new(key)));
    CertReqMsg { cert_req, popo, reg_info: None }.to_der().unwrap()
}

/// The project's certifier on a port of loopback, for as long as this lives.
pub struct Running {
    pub folder: TempDir,
    pub address: SocketAddr,
    pub certifier: Arc<Certifier>,
    stop: Option<oneshot::Sender<()>>,
    _server: JoinHandle<()>,
}

impl Running {
    pub async fn start() -> Self {
        let folder = workplace();
        let certifier = Arc::new(Certifier::open(&folder.path().join("ca")).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&certifier);
        let server = tokio::spawn(async move {
            serve(listener, served, async move { drop(stopped.await) }).await.unwrap();
        });
        Self { folder, address, certifier, stop: Some(stop), _server: server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/pkix/signature", self.address)
    }

    pub fn authority(&self) -> Authority {
        authority(self.folder.path(), &self.url(), SECRET, "ca")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _sent = self.stop.take().unwrap().send(());
    }
}

/// A server that reads each request and answers it with these bytes, or with nothing at all.
pub fn rogue(answer: Option<Vec<u8>>) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || misbehave(stream.unwrap(), answer));
        }
    });
    address
}

fn misbehave(mut stream: TcpStream, answer: Option<Vec<u8>>) {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 65536];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    match answer {
        Some(answer) => drop(stream.write_all(&answer)),
        None => thread::sleep(Duration::from_secs(60)),
    }
}
