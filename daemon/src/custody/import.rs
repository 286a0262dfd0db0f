//! Import files: what the content says, line by line. [`super::import_file`] has the way of a file into custody.
//!
//! The content is JSON Lines. It is decrypted a piece at a time into one locked buffer and parsed by borrowing from it, and
//! the parser's own messages are thrown away: they quote what they did not expect, which may be a PIN.

use std::fmt;
use std::io::Read;

use cns_secret::Secret;
use const_oid::ObjectIdentifier;

use crate::custody::envelope::pin_name;
use crate::custody::envelope_code::EnvelopeCode;
use crate::custody::enveloped_data::Decrypting;
use crate::custody::error::CustodyError;
use crate::custody::import_line::{Value, members};
use crate::custody::puk::{PukKind, is_serial, key, puk_name};
use crate::custody::seal::Sealer;
use crate::custody::user_code::UserCodes;

/// The most faults that are told; they are all counted.
pub(super) const MAXIMUM_FAULTS: usize = 20;
/// The most bytes of a line: what is longer is a wrong line, however long it is.
const MAXIMUM_LINE: usize = 1024;
/// The most cards or envelopes of one file.
const MAXIMUM_LINES: u64 = 10_000_000;
/// Records that go to the database together.
const BATCH: usize = 500;
const PUK_DIGITS: usize = 8;

/// Why an import file was refused. Nothing of it was taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Longer than is allowed.
    #[error("the file is longer than {0} bytes")]
    TooLarge(u64),
    /// Not EnvelopedData.
    #[error("the file is not RFC 5652 EnvelopedData in DER or BER: {0}")]
    NotEnvelopedData(&'static str),
    /// No recipient is our certificate.
    #[error("the file is not encrypted to this daemon's import certificate")]
    NotForThisDaemon,
    /// An algorithm that is not accepted.
    #[error("the file uses the algorithm {0}, which is not accepted: use AES-CBC and RSA")]
    Algorithm(ObjectIdentifier),
    /// It does not decrypt, or what comes out does not begin as an import file does. Which, is not told.
    #[error("the file does not decrypt to an import file of version 1")]
    Undecryptable,
    /// Nothing to import.
    #[error("the file holds neither a card nor an envelope")]
    Empty,
    /// More cards or envelopes than in any real delivery.
    #[error("the file holds more than {MAXIMUM_LINES} lines")]
    TooManyLines,
    /// Lines that are wrong; at most the first 20 are told.
    #[error("nothing was imported: {0}")]
    Lines(Faults),
    /// What arrived is not what was announced.
    #[error(
        "the file that arrived has another SHA-256 than was announced: it was damaged or exchanged on its way"
    )]
    Digest,
    /// Chunks come one after another.
    #[error("the next chunk begins at byte {0}")]
    Offset(u64),
    /// Nobody announced it, or it was dropped.
    #[error("there is no upload of this file: begin it first")]
    NotBegun,
    /// Too many unfinished uploads.
    #[error("{0} files are being uploaded already: finish or drop one of them")]
    TooManyUploads(usize),
}

/// The wrong lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first of them.
    pub told: Vec<LineFault>,
    /// How many there are in all.
    pub total: u64,
}

impl Faults {
    fn note(&mut self, line: u64, fault: Fault) {
        self.total += 1;
        if self.told.len() < MAXIMUM_FAULTS {
            self.told.push(LineFault { line, fault });
        }
    }

    /// Adds faults of another kind, of which `lines` are the first.
    pub(super) fn add(&mut self, lines: impl IntoIterator<Item = u64>, total: u64, fault: Fault) {
        self.told.extend(lines.into_iter().map(|line| LineFault { line, fault }));
        self.told.sort_by_key(|fault| fault.line);
        self.told.truncate(MAXIMUM_FAULTS);
        self.total += total;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = self.told.iter().map(LineFault::to_string).collect();
        formatter.write_str(&told.join("; "))?;
        match self.total.saturating_sub(told.len() as u64) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more wrong lines"),
        }
    }
}

/// A wrong line, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {fault}")]
pub struct LineFault {
    /// The line, from 1; the header is line 1.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one JSON object with the three members that belong there, as plain strings; or longer than 1,024 bytes.
    Malformed,
    /// The member of this name does not have the form that it must have.
    Member(&'static str),
    /// The file names this card or envelope twice.
    Repeated,
    /// Custody has this card or envelope already.
    Known,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => formatter.write_str("is not an object of the expected members"),
            Self::Member(name) => write!(formatter, "has an invalid {name}"),
            Self::Repeated => formatter.write_str("repeats an earlier line"),
            Self::Known => formatter.write_str("is in custody already"),
        }
    }
}

/// What a line brings, sealed already.
pub(super) enum Record {
    Card(SealedCard),
    Envelope(SealedEnvelope),
}

pub(super) struct SealedCard {
    pub(super) line: u64,
    pub(super) serial: String,
    pub(super) codice_fiscale: String,
    pub(super) puk: Vec<u8>,
}

pub(super) struct SealedEnvelope {
    pub(super) line: u64,
    pub(super) code: EnvelopeCode,
    pub(super) pin: Vec<u8>,
    pub(super) user_code_salt: Vec<u8>,
    pub(super) user_code_verifier: Vec<u8>,
}

/// What seals the values of a line.
pub(super) struct Seals<'a> {
    pub(super) sealer: &'a Sealer,
    pub(super) user_codes: &'a UserCodes,
}

/// Why a line did not become a record.
enum LineError {
    Fault(Fault),
    Custody(CustodyError),
}

impl From<CustodyError> for LineError {
    fn from(error: CustodyError) -> Self {
        Self::Custody(error)
    }
}

/// What reading a file came to.
pub(super) struct ReadFile {
    pub(super) kind: Kind,
    pub(super) records: u64,
    pub(super) faults: Faults,
}

impl Seals<'_> {
    /// Reads the content to its end, and gives `take` the sealed records of the lines after line `after` by batches, with
    /// the bytes of the file that were read.
    pub(super) fn read<R: Read>(
        &self,
        content: Decrypting<R>,
        after: u64,
        mut take: impl FnMut(Vec<Record>, u64) -> Result<(), CustodyError>,
    ) -> Result<ReadFile, CustodyError> {
        let mut lines = Lines::new(content)?;
        let kind = match lines.next()? {
            Some(Line { text: Some(text), .. }) => kind(text).ok_or(ImportError::Undecryptable)?,
            Some(_) | None => return Err(ImportError::Undecryptable.into()),
        };
        let mut read = ReadFile { kind, records: 0, faults: Faults::default() };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(Line { number, text }) = lines.next()? {
            if text.is_some_and(<[u8]>::is_empty) {
                continue;
            }
            read.records += 1;
            if read.records > MAXIMUM_LINES {
                return Err(ImportError::TooManyLines.into());
            }
            let record = text.ok_or(LineError::Fault(Fault::Malformed)).and_then(|text| match kind {
                Kind::Cards => self.card(number, text).map(Record::Card),
                Kind::Envelopes => self.envelope(number, text).map(Record::Envelope),
            });
            match record {
                Ok(record) if number > after => batch.push(record),
                Ok(_) => {}
                Err(LineError::Fault(fault)) => read.faults.note(number, fault),
                Err(LineError::Custody(error)) => return Err(error),
            }
            if batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                take(full, lines.content.position())?;
            }
        }
        if !batch.is_empty() {
            take(batch, lines.content.position())?;
        }
        Ok(read)
    }

    fn card(&self, line: u64, text: &[u8]) -> Result<SealedCard, LineError> {
        let [serial, codice_fiscale, puk] = values(text, ["id_card", "codice_fiscale", "puk"])?;
        require(is_serial(serial), "id_card")?;
        require(is_codice_fiscale(codice_fiscale), "codice_fiscale")?;
        require(are_digits(puk, PUK_DIGITS..=PUK_DIGITS), "puk")?;
        let secret = Secret::copy_from(puk.as_bytes()).map_err(CustodyError::from)?;
        let sealed = self.sealer.seal(puk_name(&key(serial, PukKind::Cns)), &secret)?;
        Ok(SealedCard {
            line,
            serial: serial.to_owned(),
            codice_fiscale: codice_fiscale.to_owned(),
            puk: sealed,
        })
    }

    fn envelope(&self, line: u64, text: &[u8]) -> Result<SealedEnvelope, LineError> {
        let [code, pin, user_code] = values(text, ["code", "pin", "user_code"])?;
        let code = EnvelopeCode::parse_new(code).map_err(|_| LineError::Fault(Fault::Member("code")))?;
        require(are_digits(pin, 5..=8), "pin")?;
        require(is_user_code(user_code), "user_code")?;
        let secret = Secret::copy_from(pin.as_bytes()).map_err(CustodyError::from)?;
        let pin = self.sealer.seal(pin_name(code.as_str()), &secret)?;
        let (salt, verifier) = self.user_codes.verifier(code.as_str(), user_code.as_bytes())?;
        let (user_code_salt, user_code_verifier) = (salt.to_vec(), verifier.as_ref().to_vec());
        Ok(SealedEnvelope { line, code, pin, user_code_salt, user_code_verifier })
    }
}

/// A line of the content, from 1; without its text where that is too long.
struct Line<'a> {
    number: u64,
    text: Option<&'a [u8]>,
}

/// Cuts the content into lines, in one locked buffer.
struct Lines<R> {
    content: Decrypting<R>,
    buffer: Secret,
    /// What of the buffer is content that was not cut yet.
    start: usize,
    end: usize,
    number: u64,
    is_over: bool,
}

impl<R: Read> Lines<R> {
    fn new(content: Decrypting<R>) -> Result<Self, CustodyError> {
        let buffer = Secret::zeroed(MAXIMUM_LINE + 2 + Decrypting::<R>::ROOM)?;
        Ok(Self { content, buffer, start: 0, end: 0, number: 0, is_over: false })
    }

    fn next(&mut self) -> Result<Option<Line<'_>>, CustodyError> {
        let (mut searched, mut is_too_long) = (0, false);
        let length = loop {
            let unread = self.buffer.expose().get(self.start..self.end).unwrap_or_default();
            let found = unread.get(searched..).and_then(|new| new.iter().position(|byte| *byte == b'\n'));
            if let Some(place) = found {
                break searched + place;
            }
            if self.is_over {
                // The last line may lack its end.
                if unread.is_empty() && !is_too_long {
                    return Ok(None);
                }
                break unread.len();
            }
            searched = unread.len();
            if searched > MAXIMUM_LINE + 1 {
                is_too_long = true;
                (self.start, self.end, searched) = (0, 0, 0);
            }
            self.more()?;
        };
        let begin = self.start;
        self.start = (begin + length + 1).min(self.end);
        self.number += 1;
        let text = self.buffer.expose().get(begin..begin + length).unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = (!is_too_long && text.len() <= MAXIMUM_LINE).then_some(text);
        Ok(Some(Line { number: self.number, text }))
    }

    /// Decrypts a piece behind what is there.
    fn more(&mut self) -> Result<(), CustodyError> {
        let buffer = self.buffer.expose_mut();
        buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        match self.content.next(buffer.get_mut(self.end..).unwrap_or_default())? {
            Some(length) => self.end += length,
            None => self.is_over = true,
        }
        Ok(())
    }
}

/// What a file brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Cards,
    Envelopes,
}

fn kind(header: &[u8]) -> Option<Kind> {
    match members(header, ["format", "version", "kind"])? {
        [Value::Text("cns-import"), Value::Number(1), Value::Text("cards")] => Some(Kind::Cards),
        [Value::Text("cns-import"), Value::Number(1), Value::Text("envelopes")] => Some(Kind::Envelopes),
        [_, _, _] => None,
    }
}

fn values<'a>(line: &'a [u8], names: [&'static str; 3]) -> Result<[&'a str; 3], LineError> {
    match members(line, names) {
        Some([Value::Text(first), Value::Text(second), Value::Text(third)]) => Ok([first, second, third]),
        Some(_) | None => Err(LineError::Fault(Fault::Malformed)),
    }
}

fn require(holds: bool, member: &'static str) -> Result<(), LineError> {
    if holds { Ok(()) } else { Err(LineError::Fault(Fault::Member(member))) }
}

fn are_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_codice_fiscale(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn is_user_code(text: &str) -> bool {
    (6..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_order_and_counted() {
        let mut faults = Faults::default();
        (2..40).for_each(|line| faults.note(line * 2, Fault::Malformed));
        faults.add([5, 7], 9, Fault::Repeated);
        assert_eq!((faults.total, faults.told.len()), (47, 20));
        assert!(faults.told.is_sorted_by_key(|fault| fault.line));
        let text = faults.to_string();
        assert!(
            text.starts_with("line 4 is not an object of the expected members; line 5 repeats"),
            "{text}"
        );
        assert!(text.ends_with("; and 27 more wrong lines"), "{text}");
    }
}
