//! A proxy on the way to the certifier: tinyproxy, and proxies that misbehave.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cnsd::authority::{AuthorityError, NetworkError, NetworkHelper};
use cnsd::config::NetworkConfig;
use cnsd_test_support::network;

use crate::fixture::Running;
use crate::tls::{AT_LOOPBACK, Program, by_way, certificate, enrol, free_ports, nginx, root, start};

const LIMIT: usize = 1024 * 1024;

/// tinyproxy, and what it was asked for.
struct Proxy {
    _program: Program,
    address: String,
    log: std::path::PathBuf,
}

impl Proxy {
    /// With these settings beside what it needs.
    fn start(folder: &Path, settings: &str) -> Self {
        let log = folder.join("tinyproxy.log");
        let (program, ports) = start(1, |ports| {
            let configuration = folder.join("tinyproxy.conf");
            let log = log.display();
            let text = format!(
                "Port {}\nListen 127.0.0.1\nTimeout 30\nAllow 127.0.0.1\nLogLevel Info\nLogFile \"{log}\"\n{settings}\n",
                ports[0]
            );
            fs::write(&configuration, text).unwrap();
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(configuration);
            command
        });
        Self { _program: program, address: format!("http://127.0.0.1:{}", ports[0]), log }
    }

    /// How often it was asked to connect to `host`.
    fn connections(&self, host: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter(|line| line.contains(&format!("CONNECT {host} HTTP/1."))).count()
    }
}

fn through(proxy: &str, no_proxy: &[&str], roots: Option<&Path>) -> NetworkHelper {
    by_way(&NetworkConfig {
        proxy: Some(proxy.to_owned()),
        no_proxy: no_proxy.iter().map(|host| (*host).to_owned()).collect(),
        tls_roots: roots.map(Path::to_owned),
    })
}

#[tokio::test]
async fn a_real_proxy_is_asked_to_connect_for_http_and_https_and_not_for_the_hosts_without_it() {
    let running = Running::start().await;
    let folder = running.folder.path();
    root(folder, "root");
    certificate(folder, "root", "good", (AT_LOOPBACK, "9"));
    let (_nginx, ports) = nginx(folder, running.address, &[("good", "")]);
    let roots = folder.join("root.pem");
    let proxy = Proxy::start(folder, "");
    let secure = format!("127.0.0.1:{}", ports[0]);
    for (host, url) in [
        (running.address.to_string(), running.url()),
        (secure.clone(), format!("https://{secure}/pkix/signature")),
    ] {
        assert_eq!(proxy.connections(&host), 0);
        enrol(&running, &url, through(&proxy.address, &[], Some(&roots))).await.unwrap();
        // The certificate and its confirmation go through one connection.
        assert_eq!(proxy.connections(&host), 1, "{host}");
        for own in ["127.0.0.1", "127.0.*", "*"] {
            enrol(&running, &url, through(&proxy.address, &["ca.example", own], Some(&roots))).await.unwrap();
        }
        assert_eq!(proxy.connections(&host), 1, "{host} is reached without the proxy");
        enrol(&running, &url, through(&proxy.address, &["ca.example"], Some(&roots))).await.unwrap();
        assert_eq!(proxy.connections(&host), 2, "{host}");
    }
    // Through the proxy as well a server is believed for its certificate alone.
    let strict = through(&proxy.address, &[], Some(&folder.join("ca/ca.pem")));
    let error = enrol(&running, &format!("https://{secure}/pkix/signature"), strict).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Network(NetworkError::Untrusted(_))), "{error:?}");
}

#[tokio::test]
async fn a_host_without_the_proxy_may_be_one_of_ipv6() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let server = answering(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere");
    let nobody = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    for host in ["::1", "[::1]"] {
        let direct = through(&nobody, &[host], None);
        assert_eq!(direct.get(&format!("http://{server}/"), LIMIT).await.unwrap(), b"here");
    }
}

#[tokio::test]
async fn a_real_proxy_that_refuses_is_told_from_a_certifier_that_does() {
    let running = Running::start().await;
    for (settings, code, words) in [
        ("ConnectPort 443", 403, "it answers with HTTP status 403"),
        ("BasicAuth somebody secret", 407, "it wants a password (HTTP status 407), which is not supported"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(place.path(), settings);
        let error = enrol(&running, &running.url(), through(&proxy.address, &[], None)).await.unwrap_err();
        println!("{error}");
        let AuthorityError::Network(error @ NetworkError::Unconnected { status, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*status, Some(code));
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_passing());
    }
    // One that connects, where nobody listens behind it.
    let place = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(place.path(), "");
    let nobody = format!("http://127.0.0.1:{}/", free_ports(1)[0]);
    let error = through(&proxy.address, &[], None).get(&nobody, LIMIT).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, NetworkError::Unconnected { status: Some(500..), .. }), "{error:?}");
    assert!(error.is_passing());
    // And a proxy that is away.
    let error = through(&nobody, &[], None).get(&running.url(), LIMIT).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, NetworkError::Transport(_)) && error.is_passing(), "{error:?}");
    assert!(running.certifier.list().unwrap().is_empty());
}

/// What a proxy does with a connection of which it has read the request.
type Misbehaviour = fn(&mut TcpStream);

fn proxy(misbehave: Misbehaviour) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                if head(&mut stream).starts_with(b"CONNECT ") {
                    misbehave(&mut stream);
                }
            });
        }
    });
    format!("http://{address}")
}

/// A server of this one answer.
fn answering(listener: TcpListener, answer: &'static [u8]) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            head(&mut stream);
            drop(stream.write_all(answer));
        }
    });
    address
}

fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    head
}

/// Waits until the other end has enough.
fn hold(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
}

fn slowly(stream: &mut TcpStream) {
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// 100 MB.
fn endlessly(stream: &mut TcpStream, line: &[u8]) {
    if stream.write_all(b"HTTP/1.1 200 OK\r\n").is_ok() {
        let megabyte = line.repeat((1 << 20) / line.len());
        for _ in 0..100 {
            if stream.write_all(&megabyte).is_err() {
                return;
            }
        }
    }
}

const IN_ORDER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test]
async fn proxies_that_misbehave_cost_a_clear_error_and_no_more_than_the_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    root(folder.path(), "root");
    let cases: [(&str, Misbehaviour); 9] = [
        ("hangs", hold),
        ("drips", slowly),
        ("closes", |_| ()),
        ("garbage", |stream| drop(stream.write_all(&[0xff; 5000]))),
        ("long line", |stream| endlessly(stream, b"a")),
        ("many lines", |stream| endlessly(stream, b"X-Header: a header of a proxy\r\n")),
        ("connects and hangs", |stream| {
            drop(stream.write_all(IN_ORDER));
            hold(stream);
        }),
        ("connects and closes", |stream| drop(stream.write_all(IN_ORDER))),
        ("connects and talks", |stream| {
            drop(stream.write_all(IN_ORDER));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"));
            hold(stream);
        }),
    ];
    for scheme in ["http", "https"] {
        for (name, misbehaviour) in cases {
            let config = NetworkConfig {
                proxy: Some(proxy(misbehaviour)),
                no_proxy: Vec::new(),
                tls_roots: Some(folder.path().join("root.pem")),
            };
            let network = network().with_time_limit(Duration::from_secs(2)).with_route(&config).unwrap();
            let begin = Instant::now();
            let got = network.get(&format!("{scheme}://ca.example/"), LIMIT).await;
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(5), "{scheme}, {name}: {took:?}");
            if let Some(process) = network.process().await {
                let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
                let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
                assert!(peak < 64 * 1024, "{scheme}, {name}: {peak} kB");
            }
            match (scheme, name) {
                // Who asks without TLS believes whoever is on the way.
                ("http", "connects and talks") => assert_eq!(got.unwrap(), b"here"),
                (_, "hangs" | "drips" | "connects and hangs") => {
                    let error = got.unwrap_err();
                    assert!(matches!(error, NetworkError::TimedOut), "{scheme}, {name}: {error:?}");
                }
                _ => {
                    let error = got.unwrap_err();
                    println!("{scheme}, {name}: {error}");
                    let clear =
                        matches!(error, NetworkError::Transport(_) | NetworkError::Unconnected { .. });
                    let words = error.to_string();
                    assert!(clear && words.len() < 400, "{scheme}, {name}: {error:?}");
                    assert!(!words.chars().any(char::is_control), "{words:?}");
                }
            }
        }
    }
}
