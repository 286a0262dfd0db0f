//! One certifier's key and two holders' keys for all tests, and the ways to talk to a certifier.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cns_virtual_authority::{Authority, Fault, InitOptions, serve, serve_faulty};
use der::Decode;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use x509_cert::Certificate;
use x509_cert::request::CertReq;

pub(crate) const SECRET: &str = "a secret of the tests";
/// The subject of a CNS certificate, as `openssl` wants it written.
pub(crate) const CNS_SUBJECT: &str =
    r"/C=IT/OU=Regione Prova/CN=RSSMRA80A01H501U\/6999000000001230.2jmj7l5rSw0yVb\/vlWAYkK\/YBwk=";
pub(crate) const SIGNATURE_SUBJECT: &str =
    "/C=IT/GN=MARIO/SN=ROSSI/CN=ROSSI MARIO/serialNumber=TINIT-RSSMRA80A01H501U";

struct Shared {
    folder: TempDir,
}

/// Keys take long to make, so all tests copy one certifier and use the same holder's keys.
fn shared() -> &'static Path {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let mut options = InitOptions::new(SECRET);
            options.key_bits = 2048;
            Authority::init(&folder.path().join("ca"), &options).unwrap();
            for name in ["first", "second"] {
                let path = folder.path().join(format!("{name}.pem"));
                openssl(folder.path(), &["genrsa", "-out", path.to_str().unwrap(), "2048"]);
            }
            Shared { folder }
        })
        .folder
        .path()
}

/// A folder of the test's own, with a certifier in `ca` and keys in `first.pem` and `second.pem`.
pub(crate) fn workplace() -> TempDir {
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

/// Runs `openssl`, which must succeed.
pub(crate) fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = try_openssl(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}

pub(crate) fn try_openssl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

/// Makes a PKCS#10 request in `folder` and reads it.
pub(crate) fn request(folder: &Path, key: &str, subject: &str) -> CertReq {
    openssl(
        folder,
        &["req", "-new", "-sha256", "-key", key, "-subj", subject, "-outform", "DER", "-out", "request.der"],
    );
    CertReq::from_der(&fs::read(folder.join("request.der")).unwrap()).unwrap()
}

pub(crate) fn certificate(path: PathBuf) -> Certificate {
    use der::DecodePem;
    Certificate::from_pem(fs::read(path).unwrap()).unwrap()
}

/// A certifier that serves from a thread of the test.
pub(crate) struct Running {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_with(workplace(), None)
    }

    /// A certifier that misbehaves.
    pub(crate) fn start_faulty(fault: Fault) -> Self {
        Self::start_with(workplace(), Some(fault))
    }

    /// The certifier in `ca` of this folder.
    pub(crate) fn start_with(folder: TempDir, fault: Option<Fault>) -> Self {
        let authority = Arc::new(Authority::open(&folder.path().join("ca")).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = std::sync::mpsc::channel();
        let served = Arc::clone(&authority);
        let thread = thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async move { drop(stopped.await) };
                match fault {
                    Some(fault) => serve_faulty(listener, served, fault, stopped).await.unwrap(),
                    None => serve(listener, served, stopped).await.unwrap(),
                }
            });
        });
        let address = address.recv().unwrap();
        Self { folder, address, authority, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `openssl cmp` with the right secret and `extra` arguments; its success, and all that it said.
    pub(crate) fn cmp(&self, profile: &str, extra: &[&str]) -> (bool, String) {
        self.cmp_as("cnsd", SECRET, profile, extra)
    }

    /// Runs `openssl cmp` with these ways to protect its messages.
    pub(crate) fn cmp_by(&self, by: &[&str], profile: &str, extra: &[&str]) -> (bool, String) {
        openssl_cmp_by(self.path(), self.address, by, profile, extra)
    }

    pub(crate) fn cmp_as(
        &self,
        reference: &str,
        secret: &str,
        profile: &str,
        extra: &[&str],
    ) -> (bool, String) {
        openssl_cmp(self.path(), self.address, reference, secret, profile, extra)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the server is gone already, which the next line tells better.
        let _sent = self.stop.take().unwrap().send(());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the server panicked");
    }
}

pub(crate) fn openssl_cmp(
    folder: &Path,
    address: SocketAddr,
    reference: &str,
    secret: &str,
    profile: &str,
    extra: &[&str],
) -> (bool, String) {
    let secret = format!("pass:{secret}");
    openssl_cmp_by(folder, address, &["-ref", reference, "-secret", &secret], profile, extra)
}

fn openssl_cmp_by(
    folder: &Path,
    address: SocketAddr,
    by: &[&str],
    profile: &str,
    extra: &[&str],
) -> (bool, String) {
    let (server, path) = (address.to_string(), format!("pkix/{profile}"));
    let mut arguments = vec!["cmp", "-config", "", "-server", &server, "-path", &path];
    arguments.extend(by);
    arguments.extend(extra);
    let output = try_openssl(folder, &arguments);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// The program `cns-authority serve`, which a test may kill.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    pub(crate) fn start(folder: &Path) -> Self {
        let port_file = folder.join("port");
        drop(fs::remove_file(&port_file));
        let child = Command::new(env!("CARGO_BIN_EXE_cns-authority"))
            .args(["serve", "ca", "--port-file", "port"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while !port_file.exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the program does not start");
            thread::sleep(Duration::from_millis(10));
        }
        let address = fs::read_to_string(&port_file).unwrap().parse().unwrap();
        Self { child, address }
    }

    /// SIGKILL: no handler runs, nothing is tidied up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends one HTTP request as it is; the status and the body of the answer.
pub(crate) fn http(address: SocketAddr, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The server may refuse before it has read everything.
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer[split..].to_vec())
}

pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"), b"")
}

pub(crate) fn post(address: SocketAddr, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    http(address, &head, body)
}
