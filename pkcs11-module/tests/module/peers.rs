//! What may listen on the daemon's socket without being one. The real daemon is in `end_to_end.rs`.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, ptr, thread};

use cryptoki_sys::*;
use tempfile::TempDir;

use crate::library::Library;

/// A listener that treats every connection in the same way.
pub(crate) struct Peer {
    socket: PathBuf,
    connections: Arc<AtomicUsize>,
    _folder: TempDir,
}

impl Peer {
    fn new(treat: impl Fn(UnixStream) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cnsd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            let treat = Arc::new(std::sync::Mutex::new(treat));
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let treat = Arc::clone(&treat);
                let stream = stream.unwrap();
                thread::spawn(move || (treat.lock().unwrap())(stream));
            }
        });
        Self { socket, connections, _folder: folder }
    }

    /// One that reads a request and then sends these bytes, again and again.
    fn sending(bytes: Vec<u8>) -> Self {
        Self::new(move |mut stream| {
            let mut request = [0; 4096];
            while stream.read(&mut request).is_ok_and(|count| count > 0) {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
        })
    }

    /// One that says that there are no readers, whatever it is asked.
    pub(crate) fn without_readers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cnsd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = [0; 4096];
                    for id in 1.. {
                        if !stream.read(&mut request).is_ok_and(|count| count > 0) {
                            break;
                        }
                        let result =
                            r#"{"change":1,"instance":"00112233445566778899aabbccddeeff","readers":[]}"#;
                        let answer = frame(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
                        stream.write_all(&answer).unwrap();
                    }
                });
            }
        });
        Self { socket, connections, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many have connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn frame(body: &str) -> Vec<u8> {
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn count_slots(library: &Library) -> CK_RV {
    let mut count = 0;
    unsafe { (library.functions().C_GetSlotList.unwrap())(CK_FALSE, ptr::null_mut(), &raw mut count) }
}

/// A write to a closed socket raises SIGPIPE, which ends an application that does not expect it.
#[test]
fn a_peer_that_hangs_up_does_not_end_the_application() {
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let peer = Peer::new(drop);
    let library = Library::initialize(peer.socket());
    for _ in 0..20 {
        assert_eq!(count_slots(&library), CKR_DEVICE_ERROR);
    }
    drop(library);
    unsafe { libc::signal(libc::SIGPIPE, before) };
}

#[test]
fn answers_that_make_no_sense_are_device_errors() {
    let cases: [(&str, Vec<u8>); 8] = [
        ("no frame", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("an endless header", vec![b'a'; 10_000]),
        ("a frame of 4 GB", b"Content-Length: 4294967296\r\n\r\n".to_vec()),
        ("no JSON", frame("{")),
        (
            "another request's answer",
            frame(r#"{"jsonrpc":"2.0","id":77,"result":{"change":1,"readers":[]}}"#),
        ),
        ("another type", frame(r#"{"jsonrpc":"2.0","id":1,"result":"ok"}"#)),
        ("nothing", frame("null")),
        ("bytes that are no text", [frame("\u{0}\u{0}"), vec![0xFF; 64]].concat()),
    ];
    for (case, bytes) in cases {
        let peer = Peer::sending(bytes);
        let library = Library::initialize(peer.socket());
        assert_eq!(count_slots(&library), CKR_DEVICE_ERROR, "{case}");
    }
}

#[test]
fn a_cause_that_is_newer_than_the_module_is_a_general_error() {
    let error = r#"{"code":1999,"message":"?","data":{"kind":"too-new-to-be-known","message":"?"}}"#;
    let peer = Peer::sending(frame(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#)));
    let library = Library::initialize(peer.socket());
    assert_eq!(count_slots(&library), CKR_GENERAL_ERROR);
}

#[test]
fn a_daemon_that_comes_back_is_found() {
    let peer = Peer::without_readers();
    let moved = peer.socket().with_extension("away");
    fs::rename(peer.socket(), &moved).unwrap();
    let library = Library::initialize(peer.socket());
    assert_eq!(count_slots(&library), CKR_OK);
    assert_eq!(peer.connections(), 0);
    fs::rename(&moved, peer.socket()).unwrap();
    assert_eq!(count_slots(&library), CKR_OK);
    assert_eq!(peer.connections(), 1);
}
