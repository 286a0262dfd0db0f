//! `cns-card`: makes CNS cards in software and plugs them in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::{Parser, Subcommand, ValueEnum};
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

/// A CNS chip in software.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a card for a holder.
    Create(Create),
    /// Load the authentication certificate.
    Load {
        /// The card's directory.
        card: PathBuf,
        /// The certificate, in DER.
        certificate: PathBuf,
        /// It is that of the signature key, which was made with --signature-request.
        #[arg(long)]
        signature: bool,
    },
    /// Plug the card in to a reader that speaks vpcd's protocol, until SIGTERM.
    Vpcd {
        /// The card's directory.
        card: PathBuf,
        /// Host of the reader.
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// TCP port of the reader.
        #[arg(long, default_value_t = 35963)]
        port: u16,
        /// Unix socket of the reader, in place of host and port.
        #[arg(long)]
        path: Option<PathBuf>,
        /// What goes wrong, and when: `pull-after@12`, `tear-lost@ins:20`, `status=6F00@3`, `wear=10` and others
        /// (docs/cns-card.md); may be repeated.
        #[arg(long = "fault", value_name = "SPEC")]
        faults: Vec<Order>,
        /// How long the card takes: `none`, `real`, or `real*0.1` for a tenth of a real card's time.
        #[arg(long, default_value = "none")]
        timing: Timing,
        /// File to keep the account in, as JSON: commands, bytes, and the milliseconds that a real card would have taken
        #[arg(long)]
        account: Option<PathBuf>,
    },
    /// Plug in a card that answers from a recorded trace (docs/trace-format.md), until SIGTERM.
    FromTrace {
        /// The trace, as `cnsctl card report` or `cnsctl card trace` wrote it.
        trace: PathBuf,
        /// Host of the reader.
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// TCP port of the reader.
        #[arg(long, default_value_t = 35963)]
        port: u16,
        /// Unix socket of the reader, in place of host and port.
        #[arg(long)]
        path: Option<PathBuf>,
    },
    /// Tell what can be told about a card without a secret.
    Show {
        /// The card's directory.
        card: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the generations of chip that can be made, and what is known of each.
    Generations {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print blind envelopes: letters, and the batch that is imported.
    Envelopes {
        /// How many.
        #[arg(long)]
        count: usize,
        /// The certificate that the batch is sealed to (PEM or DER).
        #[arg(long)]
        seal_to: PathBuf,
        /// The sealed batch to be written.
        #[arg(long)]
        out: PathBuf,
        /// The folder for the letters.
        #[arg(long)]
        letters: PathBuf,
        /// Length of the PINs.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(5..=8))]
        pin_digits: u8,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The card's directory, to be made.
    card: PathBuf,
    /// The holder's data (TOML).
    #[arg(long)]
    holder: PathBuf,
    /// Where the PKCS#10 request for the authentication certificate goes (DER).
    #[arg(long)]
    request: PathBuf,
    /// The generation of chip.
    #[arg(long, default_value = "st2021", value_parser = generation, long_help = format!("The generation of chip, one of:\n\n{}", generations()))]
    generation: Generation,
    /// The certificate that the PUK is sealed to (PEM or DER).
    #[arg(long, requires = "sealed_puk")]
    seal_to: Option<PathBuf>,
    /// Where the sealed PUK goes.
    #[arg(long, requires = "seal_to")]
    sealed_puk: Option<PathBuf>,
    /// Make a second key, for signatures, and write its PKCS#10 request here (DER). Where it has a PIN of its own,
    /// that comes after the PIN on a second line of standard input, or is random; the card's PUK unblocks it.
    #[arg(long, conflicts_with = "without_signature_area")]
    signature_request: Option<PathBuf>,
    /// Read the PIN, 5 to 8 digits and a newline, from standard input; it is random otherwise.
    #[arg(long)]
    pin_from_stdin: bool,
    /// Behave as some real chips do; may be repeated.
    #[arg(long = "option", value_enum)]
    options: Vec<ChipOption>,
    /// How long generating a key takes at least, in seconds.
    #[arg(long, default_value_t = 0)]
    keygen_delay: u16,
    /// Leave out the directory for the digital signature.
    #[arg(long)]
    without_signature_area: bool,
    /// Demand secure messaging of whoever creates or changes something in the signature directory, or uses the signature
    /// PIN and key where there are some; with the issuer's keys in this file: two lines of hexadecimal digits, the key that enciphers, then the key that signs.
    #[arg(long, value_name = "KEYS", conflicts_with = "without_signature_area")]
    secure_messaging: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ChipOption {
    /// Refuse command chaining with 6E00.
    StrictSt,
    /// Answer 6300 to a wrong PIN.
    StrictIncard,
    /// Refuse SELECT with P2 = 0C.
    #[value(name = "select-p2-0c=6a86")]
    SelectP2,
    /// Decipher with signature keys too.
    LenientDec,
    /// Refuse MSE RESTORE with a fifth byte.
    StrictRestore,
    /// Answer as over T=0: GET RESPONSE after 61xx, no extended length.
    T0,
}

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
        Action::Load { card, certificate, signature } => load(&card, &certificate, signature),
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

fn generation(name: &str) -> Result<Generation, String> {
    Generation::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Generation::all().map(Generation::name).collect();
        format!("known generations: {}", names.join(", "))
    })
}

/// The generations, each with what is known of it.
fn generations() -> String {
    let describe = |generation: Generation| {
        let (name, cards, grade) = (generation.name(), generation.cards(), generation.grade());
        format!("{name}: {cards}.\n    {grade}: {}", generation.evidence())
    };
    Generation::all().map(describe).collect::<Vec<_>>().join("\n")
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
    // Before there is a card: one whose PUK could not be sealed would be lost at once.
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
    let card = VirtualCard::create_in(&order.card, personalisation)?;
    if order.generation.is_cns() {
        write_file(&order.request, &card.certificate_request(&administration)?)?;
    }
    match &order.signature_request {
        Some(request) => write_file(request, &card.signature_certificate_request()?),
        None => Ok(()),
    }
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
            Some(b'\n') if count == 1 => return Ok(line.truncated(length)),
            Some(_) if count == 1 => length += 1,
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

fn load(card: &Path, certificate: &Path, signature: bool) -> Result<(), Failure> {
    let der = std::fs::read(certificate).map_err(|source| failed("read", certificate, source))?;
    let mut card = VirtualCard::open(card)?;
    if signature {
        card.load_signature_certificate(&der)?
    } else {
        card.load_certificate(&der)?
    }
    Ok(())
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
