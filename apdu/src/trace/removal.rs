//! Recording with secrets and personal data removed as it goes: what is not known to be harmless is never kept.
//!
//! Kept are: headers of commands, selections and security environments, status words, file control information, the
//! directories of the object store, answers of zeros alone, and the first four bytes of certificates, which tell
//! their form and length. Everything else is counted and dropped before it reaches the recording.

use std::mem;

use super::place::Place;
use super::text;
use super::{CommandMask, Exchange, Gap, MASKED_PIN, MOST_EXCHANGES, Missing, Session, Zeroed};
use crate::command::{ManageSecurityEnvironment, SelectBy, SelectFile};
use crate::fci::FileControlInformation;
use crate::file_map::{self, Fid, PRIVATE_OBJECT_DIRECTORY, PUBLIC_OBJECT_DIRECTORY};
use crate::object_directory::SLOT_LENGTH;
use crate::secure_messaging::is_secure;
use crate::tlv::{self, Lengths};
use crate::{CommandApdu, StatusWord, command_apdu};

/// How many bytes of a certificate are kept.
const CERTIFICATE_HEADER: usize = 4;
/// What is longer is no certificate of a card, in bytes.
const LONGEST_CERTIFICATE: u16 = 8192;
/// The most that a recording holds, in bytes of its exchanges as text in a JSON string: with its header it fits into one
/// message of the socket, which has 2 MiB.
const MOST_TEXT: usize = 2 * 1024 * 1024 - 64 * 1024;
/// What may stand around an exchange: the directives for a reset, a gap and the kind.
const AROUND: usize = 64;

/// Records exchanges as they happen.
#[derive(Default)]
pub struct Recorder {
    sessions: Vec<Session>,
    session: Session,
    exchanges: usize,
    text: usize,
    full: bool,
    after_gap: Option<Gap>,
    notes: Vec<String>,
    /// What is selected; `None` when it is not known.
    place: Option<Place>,
    /// What the command was whose answer a GET RESPONSE continues.
    last: Content,
}

/// What an answer holds.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Content {
    FileControlInformation,
    File {
        offset: u16,
    },
    #[default]
    Other,
    Named(&'static str),
}

impl Recorder {
    /// An empty recording that begins with a card of which nothing is known: it may be in use already.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The card was reset.
    pub fn reset(&mut self) {
        self.end_session();
        self.place = Some(Place::default());
        self.after_gap = None;
    }

    /// Something happened to the card that is not recorded.
    pub fn gap(&mut self) {
        self.place = None;
        self.after_gap = Some(Gap::default());
    }

    /// A comment for the next exchange. It must be a fixed text.
    pub fn note(&mut self, note: &'static str) {
        if !self.full {
            self.notes.push(note.to_owned());
        }
    }

    /// Whether it holds as much as it can, so that later exchanges were dropped.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Records an exchange: nothing that is to be removed is copied.
    pub fn exchange(&mut self, command: &[u8], answer: &[u8]) {
        let Some((data, status)) = answer.split_last_chunk::<2>() else { return self.gap() };
        let Some((&[cla, ins, p1, p2], body)) = command.split_first_chunk::<4>() else { return self.gap() };
        let status = StatusWord(u16::from_be_bytes(*status));
        let (command, command_mask) = keep_command([cla, ins, p1, p2], body);
        let content = self.content(&command, command_mask);
        self.last = content;
        let mut exchange = Exchange::captured(command, Vec::new(), status);
        exchange.command_mask = command_mask;
        self.keep_answer(&mut exchange, content, data);
        self.follow(&exchange, content);
        self.push(exchange);
    }

    /// What was recorded since the last time, by sessions; the recording goes on.
    pub fn take(&mut self) -> Vec<Session> {
        self.end_session();
        mem::take(&mut self.sessions)
    }

    /// What was recorded so far.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let mut sessions = self.sessions.clone();
        sessions.extend((!self.session.is_empty()).then(|| self.session.clone()));
        sessions
    }

    fn end_session(&mut self) {
        let session = mem::take(&mut self.session);
        if !session.is_empty() {
            self.sessions.push(session);
        }
    }

    fn push(&mut self, mut exchange: Exchange) {
        exchange.notes = mem::take(&mut self.notes);
        self.text = self.text.saturating_add(text::length_in_json(&exchange)).saturating_add(AROUND);
        self.exchanges = self.exchanges.saturating_add(1);
        if self.exchanges > MOST_EXCHANGES || self.text > MOST_TEXT {
            self.full = true;
            return;
        }
        exchange.after_gap = self.after_gap.take();
        self.session.push(exchange);
    }

    fn content(&self, command: &[u8], mask: CommandMask) -> Content {
        let &[cla, ins, p1, p2, ..] = command else { return Content::Other };
        match (cla, ins) {
            (0x00, 0xA4) if mask == CommandMask::None => Content::FileControlInformation,
            (0x00, 0xB0) if p1 & 0x80 == 0 => Content::File { offset: u16::from_be_bytes([p1, p2]) },
            (0x00, 0xC0) => match self.last {
                // An answer in parts is judged as a whole or not at all.
                Content::FileControlInformation | Content::File { .. } => Content::Other,
                other @ (Content::Other | Content::Named(_)) => other,
            },
            (0x00, 0x84) => Content::Named("random"),
            (0x00, 0x2A) => Content::Named("what a key made"),
            (0x00, 0x46) => Content::Named("public key"),
            (0x00, 0x88) => Content::Named("cryptogram"),
            (_, 0xCA) => Content::Named("data object"),
            (0x00, 0xB2) => Content::Named("record"),
            (_, _) => Content::Other,
        }
    }

    fn keep_answer(&self, exchange: &mut Exchange, content: Content, data: &[u8]) {
        let (kept, what) = match content {
            _ if data.is_empty() => return,
            _ if data.iter().all(|byte| *byte == 0) => (data.len(), ""),
            Content::FileControlInformation => return keep_fci(exchange, data),
            Content::File { offset } => self.keep_file(offset, data),
            Content::Named(what) => (0, what),
            Content::Other => (0, "answer"),
        };
        let (kept, rest) = data.split_at_checked(kept).unwrap_or((&[], data));
        exchange.data = kept.to_vec();
        exchange.missing = missing(rest.len(), what);
    }

    /// How many bytes of a file are harmless, and what the others are.
    fn keep_file(&self, offset: u16, data: &[u8]) -> (usize, &'static str) {
        let Some(place) = &self.place else { return (0, "content") };
        let path = &place.path;
        if [PUBLIC_OBJECT_DIRECTORY, PRIVATE_OBJECT_DIRECTORY].contains(path) && is_directory(offset, data) {
            return (data.len(), "");
        }
        let name = name_of(place);
        match data.first_chunk::<CERTIFICATE_HEADER>() {
            Some(header) if offset == 0 && name == CERTIFICATE && is_certificate(header) => {
                (CERTIFICATE_HEADER, name)
            }
            _ => (0, name),
        }
    }

    /// Follows what is selected.
    fn follow(&mut self, exchange: &Exchange, content: Content) {
        if content != Content::FileControlInformation {
            return;
        }
        // A refused selection leaves the file as it was on all chips that were seen.
        if !matches!(exchange.status.0, 0x9000 | 0x6283 | 0x6100..=0x61FF) {
            return;
        }
        let fci = FileControlInformation::decode(&exchange.data).ok();
        let select =
            CommandApdu::parse(&exchange.command).ok().and_then(|apdu| SelectFile::decode(&apdu).ok());
        self.place = select.and_then(|select| {
            let from = match (&self.place, &select.mode) {
                (Some(place), _) => place.clone(),
                // These lead to the same place from everywhere; the application makes no difference here.
                (None, SelectBy::Name(_) | SelectBy::Path(_) | SelectBy::File(Fid::MASTER_FILE)) => {
                    Place::default()
                }
                (None, _) => return None,
            };
            from.after(&select, fci.as_ref())
        });
    }
}

const CERTIFICATE: &str = "certificate";

/// The application "Generic" of ChipDoc tokens, whose EFs 0001 and 0002 are certificates (`real-cards` §2.9).
const GENERIC: &[u8] = &[0xE8, 0x28, 0xBD, 0x08, 0x0F, 0x01, 0x4E, 0x58, 0x50, 0x30];

/// What the content of a file is. The layouts are the same in every application that was seen, but for one.
fn name_of(place: &Place) -> &'static str {
    match place.path.files() {
        [Fid(0x0001 | 0x0002)] if place.application.as_deref() == Some(GENERIC) => CERTIFICATE,
        [Fid(0x1100), Fid(0x1101)]
        | [Fid(0x1400), Fid(0x9010)]
        | [Fid(0x1400), Fid(0x9001), Fid(0x2000..=0x20FF)]
        | [Fid(0xDA01), Fid(0xC001..=0xC00F)]
        | [Fid(0x2FFF), Fid(0x8228)] => CERTIFICATE,
        [Fid(0x1400), Fid(0x9001), Fid(0x2100..=0x21FF)] => "certificate attributes",
        [Fid(0x1400), Fid(0x9001), Fid(0x1100..=0x11FF)] => "public key attributes",
        [Fid(0x1400), Fid(0x9002), Fid(0x3100..=0x31FF)] => "private key attributes",
        files if files == file_map::ID_CARD.files() => "card number, ASCII",
        files if files == file_map::ESIGN_CARD_NUMBER.files() => "card number, packed BCD",
        files if files == file_map::GDO.files() => "card number",
        files if files == file_map::PERSONAL_DATA.files() => "personal data",
        _ => "content",
    }
}

/// DER of more than 255 bytes, or the container of a maker (`real-cards` §2.9).
const fn is_certificate(header: &[u8; CERTIFICATE_HEADER]) -> bool {
    matches!(header, [0x30, 0x82, _, _] | [0x5A | 0x7A, 0x82, _, _])
}

/// Whether these are whole records of a directory of the object store, and nothing else.
fn is_directory(offset: u16, data: &[u8]) -> bool {
    let (records, rest) = data.as_chunks::<SLOT_LENGTH>();
    let start = usize::from(offset);
    rest.is_empty()
        && start % SLOT_LENGTH == 0
        && start + data.len() <= crate::object_directory::FILE_LENGTH
        && records.iter().all(|record| is_directory_record(*record))
}

/// Whether a record is free, of an object that is gone, or of an object of a known kind and a size that it can have:
/// bits of a key, bytes of a certificate.
fn is_directory_record(record: [u8; SLOT_LENGTH]) -> bool {
    let [status, kind, low, size_high, size_low] = record;
    let size = u16::from_be_bytes([size_high, size_low]);
    match (status, kind, low) {
        (0x00 | 0xFF, 0x00, 0x00) | (0x00 | 0xFF, 0xFA, 0xFE) => size == 0,
        (0xFF, 0x10 | 0x30, _) => matches!(size, 512 | 768 | 1024 | 1536 | 2048 | 3072 | 4096),
        (0xFF, 0x20, _) => size <= LONGEST_CERTIFICATE,
        _ => false,
    }
}

fn missing(length: usize, what: &str) -> Option<Missing> {
    (length > 0).then(|| Missing { length: Some(length), what: what.to_owned() })
}

/// The command with all data removed that is not known to be harmless.
fn keep_command(header: [u8; 4], body: &[u8]) -> (Vec<u8>, CommandMask) {
    let [cla, ins, _, _] = header;
    let Some((data, _)) = command_apdu::split_body(body) else {
        // Lengths that contradict: only the header is known to be one.
        return (header.to_vec(), CommandMask::None);
    };
    if data.is_empty() {
        return ([&header[..], body].concat(), CommandMask::None);
    }
    let harmless = match (cla, ins) {
        (0x00, 0xA4) => data.len() <= 16,
        (0x00, 0x22) => is_environment(header, data),
        _ => false,
    };
    if harmless {
        return ([&header[..], body].concat(), CommandMask::None);
    }
    if !is_secure(cla) && matches!(ins, 0x20 | 0x24 | 0x2C) {
        // Always the same length for one or two values, so that it tells nothing of theirs.
        let values = if data.len() > MASKED_PIN.len() { 2 } else { 1 };
        let masked = MASKED_PIN.repeat(values);
        let length = u8::try_from(masked.len()).unwrap_or(u8::MAX);
        return ([&header[..], &[length], &masked].concat(), CommandMask::Pin);
    }
    // The data stands in one piece; its length fields and Le stay.
    let start = if body.first() == Some(&0) { 3 } else { 1 };
    let (lengths, rest) = body.split_at_checked(start).unwrap_or((body, &[]));
    let expected = rest.get(data.len()..).unwrap_or_default();
    ([&header[..], lengths, &vec![0; data.len()], expected].concat(), CommandMask::Data)
}

/// Whether it is a security environment as a CNS takes it: nothing but references.
fn is_environment(header: [u8; 4], data: &[u8]) -> bool {
    let [cla, ins, p1, p2] = header;
    let apdu = CommandApdu { cla, ins, p1, p2, data: crate::Body::Plain(data.to_vec()), le: None };
    data.len() <= 8 && ManageSecurityEnvironment::decode(&apdu).is_ok()
}

/// File control information with every value removed whose tag is not known, or which is longer than it can be.
fn keep_fci(exchange: &mut Exchange, data: &[u8]) {
    match cleaned_fci(&exchange.command, data) {
        Some((kept, 0)) => exchange.data = kept,
        Some((kept, zeroed)) => {
            exchange.data = kept;
            exchange.zeroed = Some(Zeroed { length: zeroed, what: "values of unknown tags".to_owned() });
        }
        None => exchange.missing = missing(data.len(), "FCI"),
    }
}

fn cleaned_fci(command: &[u8], data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let template = match tlv::elements(data, Lengths::Ber).ok()?.as_slice() {
        [template] if matches!(template.tag, 0x6F | 0x62) => *template,
        _ => return None,
    };
    let mut kept = Vec::new();
    let mut zeroed = 0;
    for element in tlv::elements(template.value, Lengths::Ber).ok()? {
        let harmless = match element.tag {
            // The name that was asked for; any other may have been made of anything.
            0x84 => {
                command.get(2) == Some(&0x04)
                    && command.get(5..).is_some_and(|asked| asked.starts_with(element.value))
            }
            tag => is_harmless(tag, element.value),
        };
        if harmless {
            kept.extend(tlv::encode(element.tag, element.value));
        } else {
            zeroed += element.value.len();
            kept.extend(tlv::encode(element.tag, &vec![0; element.value.len()]));
        }
    }
    let kept = tlv::encode(template.tag, &kept);
    // Lengths written in another form than ours would shift what follows: then nothing is kept.
    (kept.len() == data.len()).then_some((kept, zeroed))
}

/// Whether a value tells about the file and not about the card or its holder: known tags, values that they can have.
fn is_harmless(tag: u32, value: &[u8]) -> bool {
    match tag {
        // Size, short identifier, life cycle.
        0x80 | 0x81 => value.len() <= 3,
        0x88 | 0x8A => value.len() <= 1,
        // Descriptor, identifier, a byte or two of the maker's.
        0x82 => value.len() <= 5,
        0x83 | 0x85 => value.len() <= 2,
        // Access conditions, of secure messaging, in compact form.
        0x86 => value.len() <= 9 && value.iter().copied().all(is_condition),
        0xCB => value.len() <= 24 && value.iter().copied().all(is_condition),
        0x8C | 0x9C => value.len() <= 8 && value.iter().copied().all(is_condition),
        // An envelope of the compact form.
        0xA1 => match tlv::elements(value, Lengths::Ber) {
            Ok(inside) => {
                inside.iter().all(|one| matches!(one.tag, 0x8C | 0x9C) && is_harmless(one.tag, one.value))
            }
            Err(_) => false,
        },
        _ => false,
    }
}

/// The number of a security object, "always" or "never" (`cns-card` §2.3): no character and no digit.
const fn is_condition(byte: u8) -> bool {
    matches!(byte, 0x00..=0x1F | 0x66 | 0xFF)
}

/// An answer to reset without what would tell one card from the next: over the air, type B cards repeat in it a number
/// that may be the chip's own.
#[must_use]
pub fn cleaned_atr(atr: &[u8]) -> Vec<u8> {
    let mut cleaned = atr.to_vec();
    // 3B 8n 80 01, then the answer to REQB: 50, four bytes of PUPI.
    if let [0x3B, 0x80..=0x8F, 0x80, 0x01, 0x50, pupi @ ..] = cleaned.as_mut_slice() {
        pupi.iter_mut().take(4).for_each(|byte| *byte = 0);
        let check = cleaned.iter().skip(1).rev().skip(1).fold(0, |check, byte| check ^ byte);
        if let Some(last) = cleaned.last_mut() {
            *last = check;
        }
    }
    cleaned
}
