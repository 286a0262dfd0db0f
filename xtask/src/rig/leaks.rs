//! The hunt for leaks: are the card's PINs and PUKs, or an envelope's PIN and user code, anywhere in the daemon's memory,
//! its files, its log, or in what it answered on the socket?

mod canary;
mod forms;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cns_secret::Secret;
use memchr::memmem;
use serde_json::Value;

use crate::Result;
use crate::error::{During, Error};
use crate::office;

pub(super) use canary::expect_caught;
pub(crate) use canary::leak_on_purpose;

/// Bytes of memory searched at a time; neighbouring pieces overlap by the longest needle.
const PIECE: usize = 1024 * 1024;

/// A secret, in one of the ways it could be written.
struct Needle {
    name: String,
    bytes: Secret,
}

/// What is hunted for: each secret in each form.
pub(super) struct Hunt {
    needles: Vec<Needle>,
}

impl Hunt {
    /// Learns the secrets from the chip's folder. Shorter PINs than eight digits would be found by chance.
    pub(super) fn for_card(folder: &Path) -> Result<Self> {
        let state = office::parse(
            &fs::read_to_string(folder.join("card.json")).during("reading the chip's memory")?,
        )?;
        let mut hunt = Self { needles: Vec::new() };
        for (address, name) in
            [("0010", "PIN"), ("0011", "PUK"), ("001a", "signature PIN"), ("001b", "signature PUK")]
        {
            let body = object_body(&state, address)
                .ok_or_else(|| Error::Wrong(format!("the chip has no {name}")))?;
            let digits = body.len() / 2;
            let mut text = Secret::zeroed(digits)?;
            for (byte, pair) in text.expose_mut().iter_mut().zip(body.as_bytes().chunks(2)) {
                *byte = std::str::from_utf8(pair)
                    .ok()
                    .and_then(|p| u8::from_str_radix(p, 16).ok())
                    .unwrap_or(0xFF);
            }
            if !text.expose().iter().all(u8::is_ascii_digit) || digits < 8 {
                return Err(Error::Wrong(format!(
                    "the {name} is not eight digits: it would be found by chance"
                )));
            }
            hunt.add(name, &text)?;
        }
        Ok(hunt)
    }

    /// Hunts for one secret more, in each form.
    pub(super) fn add(&mut self, name: &str, text: &Secret) -> Result<()> {
        for (form, bytes) in forms::of(text)? {
            self.needles.push(Needle { name: format!("{name} ({form})"), bytes });
        }
        Ok(())
    }

    /// Searches bytes; the names of the secrets that are in them.
    fn search(&self, bytes: &[u8]) -> Vec<&str> {
        let found = self.needles.iter().filter(|needle| contains(bytes, needle.bytes.expose()));
        found.map(|needle| needle.name.as_str()).collect()
    }

    /// Searches bytes and fails when a secret is in them.
    pub(super) fn expect_clean(&self, what: &str, bytes: &[u8]) -> Result<()> {
        let found = self.search(bytes);
        if found.is_empty() {
            Ok(())
        } else {
            Err(Error::Wrong(format!("{what} holds the {}", found.join(", "))))
        }
    }

    /// Searches every file below a folder; how many there were.
    pub(super) fn expect_clean_files(&self, folder: &Path) -> Result<usize> {
        let mut files = 0;
        for entry in fs::read_dir(folder).during("listing the state folder")? {
            let path = entry.during("listing the state folder")?.path();
            if path.is_dir() {
                files += self.expect_clean_files(&path)?;
            } else {
                self.expect_clean(&path.display().to_string(), &fs::read(&path).during("reading a file")?)?;
                files += 1;
            }
        }
        Ok(files)
    }

    /// Searches all readable memory of a process. `known` must be found, or the search itself does not work.
    pub(super) fn expect_clean_memory(&self, process: u32, known: &str) -> Result<usize> {
        let maps =
            fs::read_to_string(format!("/proc/{process}/maps")).during("reading the daemon's memory map")?;
        let memory = File::open(format!("/proc/{process}/mem")).during("opening the daemon's memory")?;
        let (mut searched, mut known_found) = (0, false);
        for (start, end) in maps.lines().filter_map(writable_range) {
            for_each_piece(&memory, start, end, |bytes| {
                searched += bytes.len();
                known_found |= contains(bytes, known.as_bytes());
                self.expect_clean("the daemon's memory", bytes)
            })?;
        }
        if !known_found {
            return Err(Error::Wrong(
                "the search of the daemon's memory does not even find public data".into(),
            ));
        }
        Ok(searched)
    }
}

/// Finds the body of a security object in the chip's memory file, wherever its directory is.
fn object_body(value: &Value, address: &str) -> Option<String> {
    match value {
        Value::Object(map) => {
            let here =
                map.get("address").and_then(Value::as_str).is_some_and(|a| a.eq_ignore_ascii_case(address));
            let body = if here { map.get("body").and_then(Value::as_str).map(str::to_owned) } else { None };
            body.or_else(|| map.values().find_map(|inner| object_body(inner, address)))
        }
        Value::Array(list) => list.iter().find_map(|inner| object_body(inner, address)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && memmem::find(bytes, needle).is_some()
}

fn writable_range(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    words.next()?.starts_with("rw").then_some(())?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

fn for_each_piece(
    memory: &File,
    start: u64,
    end: u64,
    mut look: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    const OVERLAP: u64 = 64;
    let mut buffer = vec![0; PIECE];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = buffer.get_mut(..length) else { break };
        // A mapping may go away or be unreadable (guard pages) while it is searched.
        if memory.read_exact_at(piece, at).is_err() {
            break;
        }
        look(piece)?;
        at += u64::try_from(length).unwrap_or(1);
        if at < end {
            at -= OVERLAP;
        }
    }
    Ok(())
}

/// A socket in front of the daemon's that keeps a copy of all that the daemon answers.
pub(super) struct Tap {
    answered: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Listens at `socket` and passes everything on to `daemon`.
    pub(super) fn start(socket: PathBuf, daemon: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(&socket).during("opening a tap on the socket")?;
        let answered = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&answered);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let Ok(server) = UnixStream::connect(&daemon) else { break };
                let (Ok(client_in), Ok(server_out)) = (client.try_clone(), server.try_clone()) else { break };
                std::thread::spawn(move || pass_on(client_in, server_out, |_| {}));
                let record = Arc::clone(&record);
                let keep =
                    move |bytes: &[u8]| record.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
                std::thread::spawn(move || pass_on(server, client, keep));
            }
        });
        Ok(Self { answered })
    }

    /// What the daemon has answered.
    pub(super) fn answered(&self) -> Vec<u8> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        keep(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    to.shutdown(std::net::Shutdown::Both).unwrap_or_default();
}
