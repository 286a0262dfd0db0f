//! Import files: who may be sealed to us, what the content says, and how it gets into custody, all or nothing.
//!
//! The content is JSON Lines. It is parsed by borrowing from the locked buffer that it was decrypted into, and the
//! parser's own messages are thrown away: they quote what they did not expect, which may be a PIN.

use std::collections::HashSet;
use std::fmt;

use cns_protocol::custody::Imported;
use cns_secret::Secret;
use const_oid::ObjectIdentifier;
use sqlx::{Any, Transaction};

use crate::custody::envelope::pin_name;
use crate::custody::envelope_code::EnvelopeCode;
use crate::custody::error::CustodyError;
use crate::custody::import_line::{Value, members};
use crate::custody::puk::{PukKind, is_serial, key, puk_name};
use crate::custody::seal::Sealer;
use crate::custody::user_code::UserCodes;
use crate::database::{Pool, now};

/// The most cards or envelopes in a file.
pub(super) const MAXIMUM_LINES: usize = 10_000;
/// The most faults that are told.
const MAXIMUM_FAULTS: usize = 20;
const PUK_DIGITS: usize = 8;

/// Why an import file was refused. Nothing of it was taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Longer than 1 MiB.
    #[error("the file is longer than 1 MiB")]
    TooLarge,
    /// Not EnvelopedData in DER.
    #[error(
        "the file is not RFC 5652 EnvelopedData in DER (a streamed file is BER and is not accepted): {0}"
    )]
    NotEnvelopedData(der::Error),
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
    /// More than 10,000 lines.
    #[error("the file holds more than {MAXIMUM_LINES} lines")]
    TooManyLines,
    /// Lines that are wrong; at most the first 20 are told.
    #[error("nothing was imported: {}", told(.0))]
    Lines(Vec<LineFault>),
}

fn told(faults: &[LineFault]) -> String {
    faults.iter().map(LineFault::to_string).collect::<Vec<_>>().join("; ")
}

/// A wrong line, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {fault}")]
pub struct LineFault {
    /// The line, from 1; the header is line 1.
    pub line: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one JSON object with the three members that belong there, as plain strings.
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

/// What a file brings, sealed already.
pub(super) enum Batch {
    Cards(Vec<SealedCard>),
    Envelopes(Vec<SealedEnvelope>),
}

pub(super) struct SealedCard {
    line: usize,
    serial: String,
    codice_fiscale: String,
    puk: Vec<u8>,
}

pub(super) struct SealedEnvelope {
    line: usize,
    code: EnvelopeCode,
    pin: Vec<u8>,
    user_code_salt: Vec<u8>,
    user_code_verifier: Vec<u8>,
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

impl Seals<'_> {
    /// Reads the decrypted content and seals each line.
    pub(super) fn read(&self, content: &Secret) -> Result<Batch, CustodyError> {
        let mut lines = content
            .expose()
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        let header = lines.next().and_then(|(_, line)| kind(line)).ok_or(ImportError::Undecryptable)?;
        let lines = lines.filter(|(_, line)| !line.is_empty());
        match header {
            Kind::Cards => {
                each(lines, |line, text| self.card(line, text), |card| &card.serial).map(Batch::Cards)
            }
            Kind::Envelopes => {
                each(lines, |line, text| self.envelope(line, text), |envelope| envelope.code.as_str())
                    .map(Batch::Envelopes)
            }
        }
    }

    fn card(&self, line: usize, text: &[u8]) -> Result<SealedCard, LineError> {
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

    fn envelope(&self, line: usize, text: &[u8]) -> Result<SealedEnvelope, LineError> {
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

#[derive(Clone, Copy)]
enum Kind {
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

/// Reads every line, and collects what is wrong with the wrong ones.
fn each<'a, T>(
    lines: impl Iterator<Item = (usize, &'a [u8])>,
    read: impl Fn(usize, &[u8]) -> Result<T, LineError>,
    identity: impl Fn(&T) -> &str,
) -> Result<Vec<T>, CustodyError> {
    let mut records = Vec::new();
    let mut seen = HashSet::new();
    let mut faults = Vec::new();
    for (count, (line, text)) in lines.enumerate() {
        if count == MAXIMUM_LINES {
            return Err(ImportError::TooManyLines.into());
        }
        let fault = match read(line, text) {
            Ok(record) if seen.insert(identity(&record).to_owned()) => {
                records.push(record);
                continue;
            }
            Ok(_) => Fault::Repeated,
            Err(LineError::Fault(fault)) => fault,
            Err(LineError::Custody(error)) => return Err(error),
        };
        faults.push(LineFault { line, fault });
        if faults.len() == MAXIMUM_FAULTS {
            break;
        }
    }
    match (faults.is_empty(), records.is_empty()) {
        (false, _) => Err(ImportError::Lines(faults).into()),
        (true, true) => Err(ImportError::Empty.into()),
        (true, false) => Ok(records),
    }
}

impl Batch {
    /// Writes the batch in one transaction.
    pub(super) async fn store(self, pool: &Pool) -> Result<Imported, CustodyError> {
        let mut transaction = pool.begin().await?;
        let at = now();
        let mut faults = Vec::new();
        let mut imported = Imported::default();
        match self {
            Self::Cards(cards) => {
                for card in cards {
                    imported.cards += 1;
                    let line = card.line;
                    note(&mut faults, line, insert_card(&mut transaction, card, &at).await?);
                }
            }
            Self::Envelopes(envelopes) => {
                for envelope in envelopes {
                    imported.envelopes += 1;
                    let line = envelope.line;
                    note(&mut faults, line, insert_envelope(&mut transaction, envelope, &at).await?);
                }
            }
        }
        if faults.is_empty() {
            transaction.commit().await?;
            Ok(imported)
        } else {
            transaction.rollback().await?;
            Err(ImportError::Lines(faults).into())
        }
    }
}

fn note(faults: &mut Vec<LineFault>, line: usize, inserted: u64) {
    if inserted == 0 && faults.len() < MAXIMUM_FAULTS {
        faults.push(LineFault { line, fault: Fault::Known });
    }
}

async fn insert_card(
    transaction: &mut Transaction<'_, Any>,
    card: SealedCard,
    at: &str,
) -> Result<u64, CustodyError> {
    sqlx::query(
        "INSERT INTO card (serial, codice_fiscale, created_at) VALUES ($1, $2, $3) ON CONFLICT (serial) \
         DO UPDATE SET codice_fiscale = COALESCE(card.codice_fiscale, excluded.codice_fiscale)",
    )
    .bind(&card.serial)
    .bind(card.codice_fiscale)
    .bind(at)
    .execute(&mut **transaction)
    .await?;
    let done = sqlx::query(
        "INSERT INTO puk (serial, kind, sealed, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (serial, kind) DO NOTHING",
    )
    .bind(&card.serial)
    .bind(PukKind::Cns.name())
    .bind(card.puk)
    .bind(at)
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected())
}

async fn insert_envelope(
    transaction: &mut Transaction<'_, Any>,
    envelope: SealedEnvelope,
    at: &str,
) -> Result<u64, CustodyError> {
    let done = sqlx::query(
        "INSERT INTO envelope (code, state, sealed_pin, user_code_salt, user_code_verifier, created_at) \
         VALUES ($1, 'available', $2, $3, $4, $5) ON CONFLICT (code) DO NOTHING",
    )
    .bind(envelope.code.as_str())
    .bind(envelope.pin)
    .bind(envelope.user_code_salt)
    .bind(envelope.user_code_verifier)
    .bind(at)
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected())
}
