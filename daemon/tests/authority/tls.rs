//! Roots and servers' certificates by openssl, and nginx with them before the certifier.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cnsd::authority::{Authority, AuthorityError, NetworkHelper};
use cnsd::config::NetworkConfig;
use cnsd_test_support::network;
use std::sync::Arc;

use crate::fixture::{Running, SECRET, SUBJECT, config, expected, openssl, public_key, request};

/// What makes a certificate one of a server at 127.0.0.1.
pub(crate) const AT_LOOPBACK: &str = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";

/// A root with this name: `NAME.pem`, `NAME.key`.
pub(crate) fn root(folder: &Path, name: &str) {
    let (key, certificate, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    let make =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"];
    openssl(folder, &[&make[..], &["-subj", &subject, "-keyout", &key, "-out", &certificate]].concat());
}

/// A server's certificate by `root`, for so many days, which may be over: `NAME.pem`, `NAME.key`.
pub(crate) fn certificate(folder: &Path, root: &str, name: &str, (extensions, days): (&str, &str)) {
    let file = |suffix: &str| format!("{name}.{suffix}");
    std::fs::write(folder.join(file("ext")), extensions).unwrap();
    let subject = format!("/CN={name}");
    let ask =
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", &subject];
    openssl(folder, &[&ask[..], &["-keyout", &file("key"), "-out", &file("csr")]].concat());
    let (issuer, issuer_key) = (format!("{root}.pem"), format!("{root}.key"));
    let sign =
        ["x509", "-req", "-in", &file("csr"), "-CA", &issuer, "-CAkey", &issuer_key, "-CAcreateserial"];
    let with = ["-sha256", "-days", days, "-extfile", &file("ext"), "-out", &file("pem")];
    openssl(folder, &[&sign[..], &with].concat());
}

/// The way to the network with these roots.
pub(crate) fn trusting(roots: &Path) -> NetworkHelper {
    by_way(&NetworkConfig { tls_roots: Some(roots.to_owned()), ..NetworkConfig::default() })
}

pub(crate) fn by_way(config: &NetworkConfig) -> NetworkHelper {
    network().with_time_limit(Duration::from_secs(5)).with_route(config).unwrap()
}

/// Free ports, which another process may take before they are used.
pub(crate) fn free_ports(number: usize) -> Vec<u16> {
    let held: Vec<_> = (0..number).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// A program that listens, until this is dropped.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a program on free ports and waits until it listens on all of them.
pub(crate) fn start(number: usize, command: impl Fn(&[u16]) -> Command) -> (Program, Vec<u16>) {
    for _ in 0..5 {
        let ports = free_ports(number);
        let mut child = command(&ports).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return (Program(child), ports);
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody listens at {ports:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("the program ends instead of listening");
}

/// nginx with one server of TLS for each of these certificates and settings, all before `upstream`.
pub(crate) fn nginx(folder: &Path, upstream: SocketAddr, servers: &[(&str, &str)]) -> (Program, Vec<u16>) {
    let place = folder.join("nginx");
    std::fs::create_dir_all(&place).unwrap();
    start(servers.len(), |ports| {
        let mut text = head(&place);
        for ((name, settings), port) in servers.iter().zip(ports) {
            let [certificate, key] = ["pem", "key"].map(|suffix| file(folder, name, suffix));
            write!(
                text,
                "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
                 {settings}\n\
                 location /redirected/ {{ return 307 http://{upstream}/pkix/signature; }}\n\
                 location / {{ proxy_pass http://{upstream}; }} }}\n",
                certificate = certificate.display(),
                key = key.display()
            )
            .unwrap();
        }
        text.push('}');
        let configuration = place.join("nginx.conf");
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&place).arg("-c").arg(configuration);
        command.arg("-e").arg(place.join("error.log"));
        command
    })
}

fn file(folder: &Path, name: &str, suffix: &str) -> PathBuf {
    folder.join(format!("{name}.{suffix}"))
}

fn head(place: &Path) -> String {
    let place = place.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {place}/{what};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/error.log info;\n\
         events {{ worker_connections 64; }}\nhttp {{\naccess_log {place}/access.log;\n{temporary}"
    )
}

/// What nginx forwarded so far, a line for each request.
pub(crate) fn forwarded(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("nginx/access.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Asks for a certificate at `url`.
pub(crate) async fn enrol(
    running: &Running,
    url: &str,
    network: NetworkHelper,
) -> Result<Vec<u8>, AuthorityError> {
    let folder = running.folder.path();
    let authority = Authority::open(&config(folder, url, SECRET, "ca"), Arc::new(network)).unwrap();
    let asked = request(folder, SUBJECT);
    let key = public_key(&asked);
    Ok(authority.certify(&asked, [7; 16], &expected(&key), None).await?.der)
}
