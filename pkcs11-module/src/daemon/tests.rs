use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Barrier;
use std::time::Duration;
use std::{fs, thread};

use cns_protocol::{frame, pin};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CallError, KNOWN, Link};
use crate::error::Error;
use crate::state::Module;

/// A socket that takes connections into its queue and never out of it, as that of a stopped daemon.
fn stopped(folder: &TempDir) -> UnixListener {
    UnixListener::bind(folder.path().join("cnsd.sock")).unwrap()
}

fn link(folder: &TempDir) -> Link {
    Link::new(&folder.path().join("cnsd.sock"))
}

/// The same with no room left in its queue, and what fills it.
fn stopped_and_full(folder: &TempDir) -> (OwnedFd, Vec<OwnedFd>) {
    let address = SocketAddrUnix::new(folder.path().join("cnsd.sock")).unwrap();
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
fn a_daemon_that_takes_no_connection_is_late_and_not_absent() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(link(&folder).readers(), Err(CallError::Absent)));
    let full = stopped_and_full(&folder);
    assert!(matches!(link(&folder).readers(), Err(CallError::Late)));
    drop(full);
    // The socket's file is left: nobody listens.
    assert!(matches!(link(&folder).readers(), Err(CallError::Absent)));
    fs::remove_file(folder.path().join("cnsd.sock")).unwrap();
    let _stopped = stopped(&folder);
    assert!(matches!(link(&folder).readers(), Err(CallError::Late)));
}

#[test]
fn work_with_a_card_does_not_wait_for_a_daemon_that_is_stopped() {
    let folder = TempDir::new().unwrap();
    let _stopped = stopped(&folder);
    let mut link = link(&folder);
    assert!(matches!(link.work(&pin::Status { reader: "A".to_owned() }), Err(CallError::Late)));
    assert!(!link.is_open());
}

#[test]
fn threads_that_wait_for_a_stopped_daemon_wait_together() {
    const THREADS: usize = 6;
    let folder = TempDir::new().unwrap();
    let stopped = stopped(&folder);
    let module = Module::new(folder.path().join("cnsd.sock"), &[], None);
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                together.wait();
                assert_eq!(module.refresh(), Err(Error::DeviceError));
            });
        }
    });
    stopped.set_nonblocking(true).unwrap();
    let asked = stopped.incoming().take_while(Result::is_ok).count();
    assert!((1..THREADS).contains(&asked), "each for itself: {asked}");
}

/// Answers each request on a connection; one for a card after three times the time that others have.
fn serve(mut stream: UnixStream) {
    while let Ok(body) = frame::read(&mut stream) {
        let request: Value = serde_json::from_slice(body.bytes()).unwrap();
        let result = if request["method"] == "daemon.status" {
            json!({ "version": "", "protocol": 1, "uptime_seconds": 1, "roles": [] })
        } else {
            thread::sleep(3 * KNOWN);
            json!([])
        };
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
        frame::write(&mut stream, answer.as_bytes()).unwrap();
    }
}

#[test]
fn work_with_a_card_may_take_long_while_the_daemon_answers_others() {
    let folder = TempDir::new().unwrap();
    let listener = stopped(&folder);
    let mut link = link(&folder);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            thread::spawn(|| serve(stream));
        }
    });
    assert!(link.work(&pin::Status { reader: "A".to_owned() }).unwrap().is_empty());
    assert!(link.is_open());
}
