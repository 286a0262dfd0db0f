//! A server of HTTP on loopback that answers as a test wants it, and counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a request is answered with.
#[derive(Clone)]
pub(crate) enum Reply {
    /// 200 and this.
    Body(Vec<u8>),
    /// 200 and so many zeros, without having said how many.
    Zeros(usize),
    /// 503.
    Failure,
    /// These bytes, which need not be HTTP.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
}

type Handler = Box<dyn Fn(&str, &[u8]) -> Reply + Send>;

/// The server; its thread ends with the process.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    handler: Arc<Mutex<Handler>>,
}

impl Server {
    /// Answers a path and a body.
    pub(crate) fn start(handler: impl Fn(&str, &[u8]) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Box::new(handler)));
        let (counter, shared) = (Arc::clone(&asked), Arc::clone(&handler));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counter, shared) = (Arc::clone(&counter), Arc::clone(&shared));
                thread::spawn(move || serve(stream.unwrap(), &counter, &shared));
            }
        });
        Self { address, asked, handler }
    }

    /// Always answers the same.
    pub(crate) fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone())
    }

    /// From now on answers otherwise.
    pub(crate) fn answer(&self, handler: impl Fn(&str, &[u8]) -> Reply + Send + 'static) {
        *self.handler.lock().unwrap() = Box::new(handler);
    }

    /// From now on answers this.
    pub(crate) fn say(&self, reply: Reply) {
        self.answer(move |_, _| reply.clone());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests came so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// One request, one answer.
fn serve(mut stream: TcpStream, asked: &AtomicUsize, handler: &Mutex<Handler>) {
    let Some((path, body)) = read(&mut stream) else { return };
    asked.fetch_add(1, Ordering::SeqCst);
    let reply = handler.lock().unwrap()(&path, &body);
    let head = |length: usize| {
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    // A client that has enough closes the connection; that is its right.
    match reply {
        Reply::Body(body) => drop(stream.write_all(&[head(body.len()), body].concat())),
        Reply::Zeros(length) => {
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            let mut left = stream.write_all(head).map_or(0, |()| length);
            while left > 0 && stream.write_all(&vec![0; left.min(1 << 20)]).is_ok() {
                left -= left.min(1 << 20);
            }
        }
        Reply::Failure => {
            let head = "HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            drop(stream.write_all(head.as_bytes()));
        }
        Reply::Raw(bytes) => drop(stream.write_all(&bytes)),
        Reply::Silence => thread::sleep(Duration::from_secs(120)),
    }
}

fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut text = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&piece[..length]);
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = text.split_off(end + 4);
    let missing = length.unwrap_or(0).saturating_sub(body.len());
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest).ok()?;
    body.extend(rest);
    Some((path, body))
}
