//! A national system over HTTP, on a thread of its own: what was posted to it, what it did, and how it behaves.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The first part of the codes that it gives out unless a test says otherwise.
pub const FIRST_PART: (&str, &str) = ("13579", "24680135");

/// What it does with the requests that come, one after the other; then it answers all.
#[derive(Clone, Copy)]
pub enum Mood {
    /// It does what is asked for, and the connection breaks before its answer.
    Silent,
    /// It has no time.
    Busy,
    /// It takes no such request.
    Refuses,
    /// It answers that it will not do it.
    Declines,
    /// It does what is asked for, and answers after a while.
    Slow(Duration),
}

/// Answers a request that it does.
pub type Answer = Box<dyn FnMut(&Value) -> Value + Send>;

/// What has come to it.
#[derive(Default)]
pub struct Peer {
    /// All requests, repetitions among them.
    pub posted: Vec<Value>,
    /// The keys of those that it did: once for each key.
    pub done: Vec<String>,
    /// What it does with the next ones.
    pub moods: Vec<Mood>,
    /// What it answers to a request that it does; nothing: that it is done.
    pub answer: Option<Answer>,
}

/// A peer that listens, and where.
pub fn serve() -> (Arc<Mutex<Peer>>, String) {
    let peer = Arc::<Mutex<Peer>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/requests", listener.local_addr().unwrap());
    let shared = Arc::clone(&peer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || converse(stream.unwrap(), &shared));
        }
    });
    (peer, url)
}

fn converse(mut stream: TcpStream, peer: &Mutex<Peer>) {
    let Some(request) = read_request(&mut stream) else { return };
    let (status, reply, pause) = react(peer, request);
    thread::sleep(pause);
    let Some(reply) = reply else { return };
    let body = reply.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Who asked may be gone.
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).ok();
}

fn read_request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() == length.unwrap_or(0_usize) {
            return serde_json::from_str(body).ok();
        }
    }
}

fn react(peer: &Mutex<Peer>, request: Value) -> (&'static str, Option<Value>, Duration) {
    let mut peer = peer.lock().unwrap();
    let id = request["id"].as_str().unwrap().to_owned();
    peer.posted.push(request.clone());
    let mood = (!peer.moods.is_empty()).then(|| peer.moods.remove(0));
    let at_once = Duration::ZERO;
    match mood {
        Some(Mood::Busy) => return ("503 Service Unavailable", Some(json!({})), at_once),
        Some(Mood::Refuses) => return ("400 Bad Request", Some(json!({})), at_once),
        Some(Mood::Declines) => {
            let reply = json!({ "id": id, "accepted": false, "message": "no such card\n there" });
            return ("200 OK", Some(reply), at_once);
        }
        Some(Mood::Silent | Mood::Slow(_)) | None => {}
    }
    if !peer.done.contains(&id) {
        peer.done.push(id.clone());
    }
    let reply = match &mut peer.answer {
        Some(answer) => answer(&request),
        None => {
            let (pin, puk) = FIRST_PART;
            let first_part = (request["kind"] != "revocation").then(|| json!({ "pin": pin, "puk": puk }));
            json!({ "id": id, "accepted": true, "message": "done", "first_part": first_part })
        }
    };
    match mood {
        Some(Mood::Silent) => ("200 OK", None, at_once),
        Some(Mood::Slow(pause)) => ("200 OK", Some(reply), pause),
        _ => ("200 OK", Some(reply), at_once),
    }
}
