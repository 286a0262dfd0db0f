//! The plug, against a reader that speaks vpcd's protocol from the other side.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use cns_virtual_card::fault::{Fault, FaultyCard};
use cns_virtual_card::vpcd::{Endpoint, plug};

use crate::{VERIFY_PIN, bytes, card};

/// The reader's side of one connection.
struct Reader<S>(S);

impl<S: Read + Write> Reader<S> {
    fn send(&mut self, payload: &[u8]) {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], payload].concat()).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut payload).unwrap();
        payload
    }

    fn exchange(&mut self, command: &str) -> String {
        self.send(&bytes(command));
        hex::encode_upper(self.receive())
    }

    fn at_end(&mut self) -> bool {
        self.0.read(&mut [0]).unwrap_or(0) == 0
    }
}

#[test]
fn power_reset_and_commands_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint =
        Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let plugged = plug(card(), endpoint).unwrap();
    let mut reader = Reader(listener.accept().unwrap().0);
    reader.send(&[1]);
    reader.send(&[4]);
    let answer_to_reset = bytes("3BFF1800FF8131FE55006B02091617011101434E531131808D");
    assert_eq!(reader.receive(), answer_to_reset);
    assert_eq!(reader.exchange(VERIFY_PIN), "9000");
    assert_eq!(reader.exchange("00200090"), "9000");
    reader.send(&[2]);
    assert_eq!(reader.exchange("00200090"), "63C3");
    reader.send(&[3]);
    reader.send(&[]);
    reader.send(&[0]);
    assert_eq!(reader.exchange("00200090"), "6F00");
    drop(plugged);
    assert!(reader.at_end());
}

#[test]
fn out_and_in_again_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reader.sock");
    // The card is there first; it waits for the reader.
    let plugged = plug(card(), Endpoint::Unix(path.clone())).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let listener = UnixListener::bind(&path).unwrap();
    let mut reader = Reader(listener.accept().unwrap().0);
    reader.send(&[1]);
    assert_eq!(reader.exchange(VERIFY_PIN), "9000");
    plugged.pull_out();
    assert!(reader.at_end() && !plugged.is_connected());

    plugged.put_in();
    let mut reader = Reader(listener.accept().unwrap().0);
    reader.send(&[1]);
    assert_eq!(reader.exchange("00200090"), "63C3");
    plugged.with_card(|card: &mut FaultyCard| card.plan(0, Fault::PullOutAfter));
    reader.send(&bytes(VERIFY_PIN));
    assert!(reader.at_end());
    let started = Instant::now();
    while plugged.is_connected() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    plugged.put_in();
    let mut reader = Reader(listener.accept().unwrap().0);
    reader.send(&[1]);
    assert_eq!(reader.exchange("00200090"), "63C3");
}
