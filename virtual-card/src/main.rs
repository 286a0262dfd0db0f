//! `cns-card`: makes CNS cards in software and plugs them in.

mod arguments;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use cns_apdu::certificate_container::CertificateForm;
use cns_apdu::trace::{self, Trace, TraceError};
use cns_secret::{Secret, SecretError};
use cns_virtual_card::envelopes::{self, EnvelopeError, random_digits};
use cns_virtual_card::fault::{FaultyCard, Order};
use cns_virtual_card::holder::{Holder, HolderError};
use cns_virtual_card::replay::{ReplayError, TraceCard};
use cns_virtual_card::sealed::{Content, Kind, Recipient, SealError};
use cns_virtual_card::timing::Timing;
use cns_virtual_card::vpcd::{self, Card, Endpoint, Event, Switch};
use cns_virtual_card::{
    Behaviour, CreateError, Generation, Personalisation, SecureMessagingKeys, SignatureArea, StateError,
    VirtualCard,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::arguments::{Action, Arguments, ChipOption, Create, generations};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("standard input: {0}")]
    Input(#[from] rustix::io::Errno),
    #[error("{path}: {source}")]
    Trace { path: PathBuf, source: TraceError },
    #[error("{path}: {source}")]
    Replay { path: PathBuf, source: ReplayError },
    #[error("{path}: not text in UTF-8")]
    NotText { path: PathBuf },
    #[error("the PIN on standard input must be 5 to 8 digits and a newline")]
    Pin,
    #[error("{0} is no certificate in DER; openssl x509 -in FILE -outform DER makes one of PEM")]
    Certificate(PathBuf),
    #[error("{0} has no key for signatures: cns-card create --signature-request makes one")]
    NoSignatureKey(PathBuf),
    #[error("{0} must be two lines of 16, 32 or 48 hexadecimal digits")]
    Keys(PathBuf),
    #[error("{0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Holder(#[from] HolderError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Memory(#[from] SecretError),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().action {
        Action::Create(order) => create(&order),
        Action::Load { card, certificate, signature, authority } => {
            let whose = match (signature, authority) {
                (true, _) => Whose::SignatureKeys,
                (false, true) => Whose::Authoritys,
                (false, false) => Whose::AuthenticationKeys,
            };
            load(&card, &certificate, whose)
        }
        Action::Vpcd { card, host, port, path, faults, timing, account } => {
            let endpoint = path.map_or(Endpoint::Tcp { host, port }, Endpoint::Unix);
            plug(&card, &endpoint, &faults, timing, account.as_deref())
        }
        Action::FromTrace { trace, host, port, path } => {
            let endpoint = path.map_or(Endpoint::Tcp { host, port }, Endpoint::Unix);
            replay(&trace, &endpoint)
        }
        Action::Show { card, json } => show(&card, json),
        Action::Generations { json } => list_generations(json),
        Action::Envelopes { count, seal_to, out, letters, pin_digits } => {
            print(count, pin_digits.into(), &seal_to, &out, &letters)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("{failure}"));
            ExitCode::FAILURE
        }
    }
}

fn list_generations(json: bool) -> Result<(), Failure> {
    let describe = |generation: Generation| {
        serde_json::json!({
            "name": generation.name(),
            "cards": generation.cards(),
            "grade": generation.grade().to_string(),
            "evidence": generation.evidence(),
            "answer_to_reset": hex::encode_upper(generation.answer_to_reset()),
            "key_bits": generation.key_bits(),
            "is_cns": generation.is_cns(),
            "takes_signature_key": generation.takes_signature_key(),
            "takes_authority_certificates": generation.takes_authority_certificates(),
            "has_signature_pin": generation.has_signature_pin(),
        })
    };
    let text = if json {
        serde_json::to_string_pretty(&Generation::all().map(describe).collect::<Vec<_>>())?
    } else {
        generations()
    };
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn create(order: &Create) -> Result<(), Failure> {
    let mut holder = Holder::parse(&read_text(&order.holder)?)?;
    let serial = holder.serial_number()?;
    holder.id_card = Some(serial.to_string());
    let administration = holder.administration();
    let pin = if order.pin_from_stdin { pin_from_stdin()? } else { random_digits(5)? };
    let signature_pin = match (&order.signature_request, order.pin_from_stdin) {
        (Some(_), true) if order.generation.has_signature_pin() => Some(pin_from_stdin()?),
        (_, _) => None,
    };
    let puk = random_digits(8)?;
    // Before there is a card, which could be made neither again nor without what goes beside it.
    VirtualCard::check_free(&order.card)?;
    can_be_written(&order.request)?;
    order.signature_request.as_deref().map_or(Ok(()), can_be_written)?;
    let authorities = authority_certificates(order)?;
    // And before its PUK is written over that of another card: one whose PUK was not sealed is lost at once.
    if let (Some(certificate), Some(out)) = (&order.seal_to, &order.sealed_puk) {
        let mut content = Content::with_capacity(Kind::Cards, 128)?;
        content.push_object(&[
            ("id_card", serial.as_bytes()),
            ("codice_fiscale", holder.codice_fiscale.as_bytes()),
            ("puk", puk.expose()),
        ])?;
        write_file(out, &Recipient::read(certificate)?.seal(&content)?)?;
    }
    let personalisation = Personalisation {
        generation: order.generation,
        behaviour: behaviour(order),
        secure_messaging: order.secure_messaging.as_deref().map(read_keys).transpose()?,
        signature_area: match (order.without_signature_area, &order.signature_request) {
            (true, _) => SignatureArea::Absent,
            (false, Some(_)) => SignatureArea::Filled,
            (false, None) => SignatureArea::Empty,
        },
        signature_pin,
        ..Personalisation::new(holder, pin, puk)
    };
    let mut card = VirtualCard::create_in(&order.card, personalisation)?;
    authorities.iter().try_for_each(|der| card.load_authority_certificate(der))?;
    if order.generation.is_cns() {
        write_file(&order.request, &card.certificate_request(&administration)?)?;
    }
    match &order.signature_request {
        Some(request) => write_file(request, &card.signature_certificate_request()?),
        None => Ok(()),
    }
}

/// The certificates of authorities that are to be on the card, if it can have some.
fn authority_certificates(order: &Create) -> Result<Vec<Vec<u8>>, Failure> {
    if !order.authority_certificates.is_empty() && !order.generation.takes_authority_certificates() {
        let (name, what) = (order.generation.name(), "with a certificate of an authority");
        return Err(CreateError::Generation(name, what).into());
    }
    order.authority_certificates.iter().map(|path| read_certificate(path)).collect()
}

/// Whether there is a folder for a file that is to be written.
fn can_be_written(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::read_dir(folder).map(drop).map_err(|source| failed("write", path, source))
}

fn behaviour(order: &Create) -> Behaviour {
    let chosen = |option| order.options.contains(&option);
    Behaviour {
        strict_incard: chosen(ChipOption::StrictIncard),
        strict_st: chosen(ChipOption::StrictSt),
        select_p2_0c_refused: chosen(ChipOption::SelectP2),
        lenient_decipher: chosen(ChipOption::LenientDec),
        strict_restore: chosen(ChipOption::StrictRestore),
        t0: chosen(ChipOption::T0),
        key_generation_seconds: order.keygen_delay,
    }
}

/// Reads a line straight into locked memory, past the buffer of the standard library; byte by byte, so that the next
/// line stays where it is.
fn pin_from_stdin() -> Result<Secret, Failure> {
    let mut line = Secret::zeroed(16)?;
    let mut length = 0;
    loop {
        let room = line.expose_mut().get_mut(length..=length).ok_or(Failure::Pin)?;
        let count = rustix::io::read(io::stdin(), room)?;
        match line.expose().get(length) {
            Some(b'\n') if count == 1 && (5..=8).contains(&length) => return Ok(line.truncated(length)),
            Some(b'0'..=b'9') if count == 1 => length += 1,
            _ => return Err(Failure::Pin),
        }
    }
}

/// Reads the two keys of secure messaging; their digits stay in locked memory.
fn read_keys(path: &Path) -> Result<SecureMessagingKeys, Failure> {
    let mut digits = Secret::zeroed(256)?;
    let mut file = File::open(path).map_err(|source| failed("open", path, source))?;
    let mut length = 0;
    loop {
        let room = digits.expose_mut().get_mut(length..).filter(|room| !room.is_empty());
        let room = room.ok_or_else(|| Failure::Keys(path.to_owned()))?;
        match file.read(room).map_err(|source| failed("read", path, source))? {
            0 => break,
            count => length += count,
        }
    }
    let text = digits.truncated(length);
    let mut keys = text.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut key = || -> Result<Secret, Failure> {
        let digits = keys.next().filter(|digits| matches!(digits.len(), 16 | 32 | 48));
        let digits = digits.ok_or_else(|| Failure::Keys(path.to_owned()))?;
        let mut key = Secret::zeroed(digits.len() / 2)?;
        hex::decode_to_slice(digits, key.expose_mut()).map_err(|_| Failure::Keys(path.to_owned()))?;
        Ok(key)
    };
    let (encryption, signature) = (key()?, key()?);
    if keys.any(|line| !line.is_empty()) {
        return Err(Failure::Keys(path.to_owned()));
    }
    Ok(SecureMessagingKeys { encryption, signature })
}

/// Whose certificate is loaded.
#[derive(Clone, Copy)]
enum Whose {
    AuthenticationKeys,
    SignatureKeys,
    Authoritys,
}

fn load(card: &Path, certificate: &Path, whose: Whose) -> Result<(), Failure> {
    let der = match whose {
        Whose::AuthenticationKeys | Whose::SignatureKeys => {
            std::fs::read(certificate).map_err(|source| failed("read", certificate, source))?
        }
        Whose::Authoritys => read_certificate(certificate)?,
    };
    if !is_certificate(&der) {
        return Err(Failure::Certificate(certificate.to_owned()));
    }
    let mut opened = VirtualCard::open(card)?;
    match whose {
        Whose::AuthenticationKeys => Ok(opened.load_certificate(&der)?),
        Whose::SignatureKeys if opened.signature_certificate_request().is_err() => {
            Err(Failure::NoSignatureKey(card.to_owned()))
        }
        Whose::SignatureKeys => Ok(opened.load_signature_certificate(&der)?),
        Whose::Authoritys => Ok(opened.load_authority_certificate(&der)?),
    }
}

/// A certificate in DER.
fn read_certificate(path: &Path) -> Result<Vec<u8>, Failure> {
    let der = std::fs::read(path).map_err(|source| failed("read", path, source))?;
    Certificate::from_der(&der).map_err(|_| Failure::Certificate(path.to_owned()))?;
    Ok(der)
}

/// Whether these bytes are a certificate, in DER or in one of the containers that chips have.
fn is_certificate(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, ..] => Certificate::from_der(bytes).is_ok(),
        _ => CertificateForm::of(bytes).is_some(),
    }
}

fn plug(
    card: &Path,
    endpoint: &Endpoint,
    faults: &[Order],
    timing: Timing,
    account: Option<&Path>,
) -> Result<(), Failure> {
    let mut card = FaultyCard::from(VirtualCard::open(card)?);
    faults.iter().for_each(|order| card.apply(*order));
    card.set_timing(if account.is_some() && timing == Timing::None { Timing::Account } else { timing });
    let card = Mutex::new(card);
    // One that cannot be written is told before anybody works with the card.
    account.map_or(Ok(()), |account| keep_account(&card, account))?;
    serve(&card, endpoint, &mut || {
        let kept = account.map(|account| keep_account(&card, account));
        if let Some(Err(error)) = kept {
            say(&error.to_string());
        }
    })
}

fn replay(file: &Path, endpoint: &Endpoint) -> Result<(), Failure> {
    let text = read_trace(file)?;
    let trace = Trace::parse(&text).map_err(|source| Failure::Trace { path: file.to_owned(), source })?;
    let card = TraceCard::new(&trace).map_err(|source| Failure::Replay { path: file.to_owned(), source })?;
    say(&format!(
        "{}: {} exchanges in {} sessions",
        trace.card.as_deref().unwrap_or("a card"),
        trace.exchanges().count(),
        trace.sessions.len()
    ));
    serve(&Mutex::new(card), endpoint, &mut || ())
}

/// No more of the file than a trace can have, and one byte to see that there is more.
fn read_trace(file: &Path) -> Result<String, Failure> {
    let most = u64::try_from(trace::LONGEST_TEXT).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|source| failed("read", file, source))?;
    String::from_utf8(bytes).map_err(|_| Failure::NotText { path: file.to_owned() })
}

/// Serves the reader until a signal; `served` is called after each frame.
fn serve<C: Card>(card: &Mutex<C>, endpoint: &Endpoint, served: &mut dyn FnMut()) -> Result<(), Failure> {
    let switch = Switch::default();
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, switch.stop_flag())?;
    }
    let mut told_unreachable = false;
    vpcd::run(card, endpoint, &switch, &mut |event| match event {
        Event::Connected => {
            told_unreachable = false;
            say("plugged in");
        }
        Event::Lost(error) => say(&format!("connection lost: {error}")),
        Event::PulledOut => say("pulled out"),
        Event::Unreachable(error) if !told_unreachable => {
            told_unreachable = true;
            say(&format!("no reader yet ({error}); still trying"));
        }
        Event::Unreachable(_) => {}
        Event::Served => served(),
    });
    Ok(())
}

/// Writes what the card has counted so far; whoever reads the file sees one whole account or the one before.
fn keep_account(card: &Mutex<FaultyCard>, file: &Path) -> Result<(), Failure> {
    let elapsed = card.lock().unwrap_or_else(PoisonError::into_inner).elapsed().unwrap_or_default();
    let account = serde_json::json!({
        "commands": elapsed.exchanges,
        "bytes_received": elapsed.sent,
        "bytes_sent": elapsed.received,
        "resets": elapsed.resets,
        "milliseconds": u64::try_from(elapsed.total().as_millis()).unwrap_or(u64::MAX),
    });
    let new = file.with_extension("new");
    write_file(&new, account.to_string().as_bytes())?;
    std::fs::rename(&new, file).map_err(|source| failed("write", file, source))
}

fn show(card: &Path, json: bool) -> Result<(), Failure> {
    let summary = VirtualCard::look(card)?;
    let text = if json { serde_json::to_string_pretty(&summary)? + "\n" } else { summary.to_string() };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn print(count: usize, pin_digits: usize, seal_to: &Path, out: &Path, letters: &Path) -> Result<(), Failure> {
    let recipient = Recipient::read(seal_to)?;
    let batch = envelopes::print(count, pin_digits, &recipient, letters)?;
    write_file(out, &batch)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|source| failed("write", path, source))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::File { action, path: path.to_owned(), source }
}

/// To standard error; a closed one is no reason to stop.
fn say(line: &str) {
    let _closed = writeln!(io::stderr(), "cns-card: {line}").is_err();
}
