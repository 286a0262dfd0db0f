//! Bytes that no client of good will sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use der::Encode;

use crate::fixture::{Running, get, http, post};

const CMP: &str = "application/pkixcmp";
const PATH: &str = "/pkix/signature";

#[test]
fn what_the_server_gives_out() {
    let running = Running::start();
    assert_eq!(get(running.address, "/healthz"), (200, b"ok\n".to_vec()));
    assert_eq!(get(running.address, "/ca.der"), (200, running.authority.ca_certificate().to_der().unwrap()));
    assert_eq!(get(running.address, "/crl.der"), (200, running.authority.crl().unwrap()));
    assert_eq!(get(running.address, "/").0, 404);
    assert_eq!(get(running.address, "/pkix/other").0, 404);
    assert_eq!(get(running.address, "/../ca-key.pem").0, 404);
    assert_eq!(get(running.address, PATH).0, 405);
    assert_eq!(post(running.address, "/crl.der", CMP, b"").0, 405);
    assert_eq!(post(running.address, PATH, "text/plain", b"").0, 415);
}

#[test]
fn garbage_is_refused_and_the_server_lives() {
    let running = Running::start();
    let deep = [0x30, 0x80].repeat(100_000);
    let long = [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0; 64]].concat();
    for garbage in [&b""[..], b"\0", b"not DER", &[0x30, 0x00], &[0xff; 4096], &deep, &long] {
        assert_eq!(post(running.address, PATH, CMP, garbage).0, 400);
    }
    assert_eq!(post(running.address, PATH, CMP, &vec![0; 1024 * 1024 + 1]).0, 413);
    let chunked = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {CMP}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut body = Vec::new();
    for _ in 0..40 {
        body.extend_from_slice(b"8000\r\n");
        body.extend_from_slice(&[0; 0x8000]);
        body.extend_from_slice(b"\r\n");
    }
    assert_eq!(http(running.address, &chunked, &body).0, 413);
    assert_eq!(http(running.address, "nonsense\r\n\r\n", b"").0, 400);
    assert_eq!(
        http(running.address, &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)), b"").0 / 100,
        4
    );
    assert_eq!(get(running.address, "/healthz").0, 200);
}

#[test]
fn idle_clients_are_dropped_and_others_served() {
    let running = Running::start();
    // Exactly the places that there are, all taken by clients that say nothing more.
    let mut idle: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(running.address).unwrap()).collect();
    for stream in &mut idle {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").unwrap();
    }
    let begin = Instant::now();
    // Waits until the first of them is dropped for its slowness.
    assert_eq!(get(running.address, "/healthz").0, 200);
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    let mut said = Vec::new();
    idle[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    idle[0].read_to_end(&mut said).unwrap();
    assert!(!said.starts_with(b"HTTP/1.1 200"));
}
