//! The blocking client against a peer that answers rightly, late, wrongly, or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cns_protocol::client::ClientError;
use cns_protocol::frame::{self, FrameError};
use cns_protocol::pin::Verify;
use cns_protocol::rpc::Progress;
use cns_protocol::{Client, ErrorKind, SecretText, card, daemon};
use cns_secret::Secret;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A peer that serves one connection with `talk`.
fn peer<T: Send + 'static>(
    talk: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (TempDir, Client, JoinHandle<T>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peer.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = thread::spawn(move || talk(listener.accept().unwrap().0));
    (folder, Client::connect(&path).unwrap(), peer)
}

fn receive(stream: &mut UnixStream) -> Value {
    serde_json::from_slice(frame::read(stream).unwrap().bytes()).unwrap()
}

fn send(stream: &mut UnixStream, message: &Value) {
    frame::write(stream, message.to_string().as_bytes()).unwrap();
}

fn status() -> Value {
    json!({ "version": "0.1.0", "protocol": 1, "uptime_seconds": 7, "roles": ["user"] })
}

#[test]
fn a_call_brings_its_answer_and_the_next_one_another_number() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let request = receive(&mut stream);
            send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": status() }));
            seen.push(request);
        }
        seen
    });
    for _ in 0..2 {
        assert_eq!(client.call(&daemon::Status {}).unwrap().uptime_seconds, 7);
    }
    let seen = peer.join().unwrap();
    assert_eq!(seen[0]["jsonrpc"], "2.0");
    assert_eq!(seen[0]["method"], "daemon.status");
    assert_eq!(seen[0]["params"], json!({}));
    assert_ne!(seen[0]["id"], seen[1]["id"]);
}

#[test]
fn a_pin_is_sent_as_plain_digits_in_one_frame() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        let request = receive(&mut stream);
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": {} }));
        request
    });
    let pin = SecretText::new(Secret::copy_from(b"73195").unwrap()).unwrap();
    client
        .call(&Verify {
            reader: "r".into(),
            insertion: Some(3),
            which: Default::default(),
            pin: Some(pin),
            confirm_last_try: false,
        })
        .unwrap();
    assert_eq!(peer.join().unwrap()["params"]["pin"], "73195");
}

#[test]
fn progress_comes_before_the_answer_and_unknown_notifications_are_passed_over() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        let request = receive(&mut stream);
        for done in 1..=3 {
            let report = json!({ "request": "1", "step": "s", "message": "m", "done": done, "total": 3 });
            send(&mut stream, &json!({ "jsonrpc": "2.0", "method": "progress", "params": report }));
        }
        send(&mut stream, &json!({ "jsonrpc": "2.0", "method": "later.invention", "params": [1] }));
        send(&mut stream, &json!({ "jsonrpc": "2.0", "method": "progress", "params": "nonsense" }));
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": [] }));
    });
    let mut seen: Vec<Progress> = Vec::new();
    let cards = client.call_with_progress(&card::List {}, |report| seen.push(report.clone())).unwrap();
    assert!(cards.is_empty());
    assert_eq!(seen.iter().map(|report| report.done).collect::<Vec<_>>(), [1, 2, 3]);
    peer.join().unwrap();
}

#[test]
fn a_refusal_keeps_its_facts_and_the_connection() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        let request = receive(&mut stream);
        let data = json!({ "kind": "pin-incorrect", "message": "the PIN is wrong", "tries_left": 2 });
        let error = json!({ "code": 1200, "message": "the PIN is wrong", "data": data });
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
        let request = receive(&mut stream);
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": status() }));
    });
    match client.call(&daemon::Status {}) {
        Err(ClientError::Refused(error)) => {
            assert_eq!((error.kind, error.tries_left), (ErrorKind::PinIncorrect, Some(2)));
        }
        other => panic!("{other:?}"),
    }
    assert!(client.call(&daemon::Status {}).is_ok());
    peer.join().unwrap();
}

#[test]
fn an_answer_to_another_request_is_out_of_step() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        receive(&mut stream);
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": 4711, "result": status() }));
    });
    assert!(matches!(client.call(&daemon::Status {}), Err(ClientError::OutOfStep)));
    peer.join().unwrap();
}

#[test]
fn nonsense_from_the_peer_is_an_error() {
    for nonsense in
        ["Content-Length: 3\r\n\r\nxyz", "Content-Length: 999999999\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]
    {
        let (_folder, mut client, peer) = peer(move |mut stream| {
            receive(&mut stream);
            stream.write_all(nonsense.as_bytes()).unwrap();
        });
        let outcome = client.call(&daemon::Status {});
        assert!(matches!(outcome, Err(ClientError::Answer(_) | ClientError::Frame(_))), "{nonsense:?}");
        peer.join().unwrap();
    }
}

#[test]
fn a_peer_that_closes_or_keeps_silent_does_not_hold_the_caller() {
    let (_folder, mut client, peer) = peer(|mut stream| drop(receive(&mut stream)));
    assert!(matches!(client.call(&daemon::Status {}), Err(ClientError::Frame(FrameError::Closed))));
    peer.join().unwrap();

    let (_folder, mut client, peer) = self::peer(|mut stream| {
        receive(&mut stream);
        // Until the client gives up.
        drop(stream.read(&mut [0]));
    });
    client.set_timeout(Some(Duration::from_millis(100))).unwrap();
    let begun = Instant::now();
    assert!(matches!(client.call(&daemon::Status {}), Err(ClientError::Frame(FrameError::Io(_)))));
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(client);
    peer.join().unwrap();
}

/// A listener that takes nobody out of its full queue, and who waits in it.
fn full_queue(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let address = SocketAddrUnix::new(path).unwrap();
    let open = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let listener = open(SocketFlags::CLOEXEC);
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let next = open(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        match connect(&next, &address) {
            Ok(()) => waiting.push(next),
            Err(Errno::AGAIN) => return (listener, waiting),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_full_queue_is_waited_for_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.sock");
    let (listener, waiting) = full_queue(&path);
    let Err(error) = Client::connect_within(&path, Duration::from_millis(200)) else { panic!("connected") };
    assert!(error.is_late() && !error.is_absent(), "{error}");
    // As soon as somebody is taken out of it there is room.
    thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect_within(&path, Duration::from_secs(60)).map(drop));
        let taken: Vec<_> = waiting.iter().map(|_| rustix::net::accept(&listener).unwrap()).collect();
        client.join().unwrap().unwrap();
        drop(taken);
    });
    drop(listener);
    let Err(error) = Client::connect(&path) else { panic!("connected to nobody") };
    assert!(error.is_absent() && !error.is_late(), "{error}");
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_does_not_hold_the_caller() {
    let (_folder, mut client, peer) = peer(|mut stream| {
        receive(&mut stream);
        stream.write_all(b"Content-Length: 1000000\r\n\r\n").unwrap();
        // Until the client gives up.
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    client.set_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(client.call(&daemon::Status {}).is_err_and(|error| error.is_late()));
    drop(client);
    peer.join().unwrap();
}

#[test]
fn a_long_answer_is_waited_for_as_long_as_the_peer_is_alive() {
    let (again, go_on) = mpsc::channel();
    let (_folder, mut client, peer) = peer(move |mut stream| {
        let request = receive(&mut stream);
        go_on.recv().unwrap();
        send(&mut stream, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": status() }));
        receive(&mut stream);
        // Until the client gives up.
        drop(stream.read(&mut [0]));
    });
    client.set_timeout(Some(Duration::from_secs(60))).unwrap();
    let glance = Duration::from_millis(20);
    let mut looks = 0;
    let answer = client.call_while(&daemon::Status {}, glance, || {
        looks += 1;
        if looks == 3 {
            again.send(()).unwrap();
        }
        true
    });
    assert_eq!(answer.unwrap().uptime_seconds, 7);
    assert!(looks >= 3);
    let answer = client.call_while(&daemon::Status {}, glance, || false);
    assert!(answer.is_err_and(|error| error.is_late()));
    drop(client);
    peer.join().unwrap();
}

#[test]
fn nobody_listens_and_the_error_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nobody.sock");
    let Err(error) = Client::connect(&path) else { panic!("connected to nobody") };
    assert!(error.to_string().contains("nobody.sock"), "{error}");
}
