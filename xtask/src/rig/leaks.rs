//! The hunt for leaks: is a card's PIN or PUK, or an envelope's PIN or user code, anywhere that the daemon's memory, its
//! files, its log, its socket or its writes show?
//!
//! Every case of the manual that this counter can do is done first ([`cases`]), at the loudest log level.

mod canary;
mod cases;
mod dump;
mod forms;
mod inquest;
mod national;
mod tap;
mod writes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use cns_secret::Secret;
use serde_json::Value;

use crate::Result;
use crate::error::{During, Error};
use crate::office;

pub(crate) use canary::leak_on_purpose;
pub(super) use inquest::run;

/// The longest form of a secret; what is searched in pieces overlaps by so much.
const OVERLAP: usize = 128;

/// A secret, in one of the ways it could be written.
struct Needle {
    name: String,
    bytes: Secret,
}

/// What is hunted for: each secret in each form. The automaton has copies of them: the secrets are made for this hunt.
pub(super) struct Hunt {
    needles: Vec<Needle>,
    automaton: AhoCorasick,
}

/// What a search has seen.
#[derive(Default)]
struct Searched {
    bytes: usize,
    /// The needles that were found, by their number, and where.
    found: BTreeMap<usize, String>,
}

impl Searched {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.found.extend(other.found);
    }
}

impl Hunt {
    /// Learns the secrets, each by its name. Shorter ones than eight digits would be found by chance.
    fn of(secrets: &[(String, Secret)]) -> Result<Self> {
        let mut needles: Vec<Needle> = Vec::new();
        for (name, text) in secrets {
            if text.len() < 8 {
                return Err(Error::Wrong(format!("the {name} is so short that it would be found by chance")));
            }
            for (form, bytes) in forms::of(text)? {
                // One envelope's PIN becomes a card's.
                if bytes.len() > OVERLAP {
                    return Err(Error::Wrong(format!("the {name} ({form}) is too long to be searched for")));
                }
                if !needles.iter().any(|known| known.bytes.expose() == bytes.expose()) {
                    needles.push(Needle { name: format!("{name} ({form})"), bytes });
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(needles.iter().map(|needle| needle.bytes.expose()))
            .map_err(|error| Error::Wrong(format!("the search cannot be prepared: {error}")))?;
        Ok(Self { needles, automaton })
    }

    /// Searches bytes of `place`.
    fn bytes(&self, place: &str, bytes: &[u8]) -> Searched {
        let found = self.automaton.find_overlapping_iter(bytes);
        let found = found.map(|found| (found.pattern().as_usize(), place.to_owned())).collect();
        Searched { bytes: bytes.len(), found }
    }

    /// Searches every file below a folder; how many there were.
    fn files(&self, folder: &Path) -> Result<(usize, Searched)> {
        let (mut files, mut searched) = (0, Searched::default());
        for entry in fs::read_dir(folder).during("listing a folder")? {
            let path = entry.during("listing a folder")?.path();
            if path.is_dir() {
                let (more, inside) = self.files(&path)?;
                files += more;
                searched.add(inside);
            } else if path.is_file() {
                let bytes = fs::read(&path).during("reading a file")?;
                searched.add(self.bytes(&path.display().to_string(), &bytes));
                files += 1;
            }
        }
        Ok((files, searched))
    }

    /// Fails when a secret was found; gives the bytes searched.
    fn expect_clean(&self, searched: &Searched) -> Result<usize> {
        if searched.found.is_empty() {
            return Ok(searched.bytes);
        }
        let found: Vec<_> = searched
            .found
            .iter()
            .map(|(needle, place)| format!("{place} holds the {}", self.name(*needle)))
            .collect();
        Err(Error::Wrong(found.join(", ")))
    }

    fn name(&self, needle: usize) -> &str {
        self.needles.get(needle).map_or("?", |needle| &needle.name)
    }
}

/// A card's own PINs and PUKs, from the chip's folder.
fn on_card(folder: &Path) -> Result<Vec<(String, Secret)>> {
    let state =
        office::parse(&fs::read_to_string(folder.join("card.json")).during("reading the chip's memory")?)?;
    let mut secrets = Vec::new();
    for (address, name) in
        [("0010", "PIN"), ("0011", "PUK"), ("001a", "signature PIN"), ("001b", "signature PUK")]
    {
        let Some(body) = object_body(&state, address) else { continue };
        let mut text = Secret::zeroed(body.len() / 2)?;
        for (byte, pair) in text.expose_mut().iter_mut().zip(body.as_bytes().chunks(2)) {
            *byte =
                std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()).unwrap_or(0xFF);
        }
        secrets.push((format!("card's {name}"), text));
    }
    if secrets.len() < 2 {
        return Err(Error::Wrong("the chip has no PIN or no PUK".into()));
    }
    Ok(secrets)
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
