//! The application of `cargo xtask bench pkcs11`: a process of its own that uses a module through the `cryptoki` crate.
//!
//! Its first line of input is the PIN; what it measured it prints as JSON.

use std::io::{BufRead, Read, StdinLock, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cns_secret::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use serde_json::json;

use super::Account;
use crate::Result;
use crate::error::{During, Error};
use crate::report;

/// What to measure, and of which module.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The module
    module: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// APDUs and bytes of login and first signature, and of the second
    Signatures {
        /// The card's account
        account: PathBuf,
    },
    /// The time of each signature
    Times {
        /// How many
        count: usize,
    },
    /// The time of calls that need no card
    Answers {
        /// How many of each
        count: u32,
        /// The daemon's log, in which requests are counted
        log: Option<PathBuf>,
    },
    /// Signatures in several threads, begun at a line of input
    Throughput {
        /// How many threads
        threads: usize,
        /// How many signatures in each
        count: usize,
    },
}

/// The longest PIN, and a line's end.
const PIN: usize = 16;

/// How often C_Initialize and C_GetSlotList are measured.
const STARTS: usize = 50;

pub(super) fn run(options: &Options) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let pin = read_pin(&mut input)?;
    let (application, starts) = started(&options.module)?;
    let slots = application.get_slots_with_token().map_err(refused)?;
    let slot = slots.first().copied().ok_or_else(|| Error::Wrong("no slot has a token".into()))?;
    let client = Client { application, slot };
    let measured = match &options.what {
        What::Signatures { account } => client.signatures(&pin, account)?,
        What::Times { count } => client.times(&pin, *count)?,
        What::Answers { count, log } => {
            let mut answers = client.answers(&pin, *count, log.as_deref())?;
            if let Some(answers) = answers.as_object_mut() {
                answers.insert("starts_us".into(), json!(starts));
            }
            answers
        }
        What::Throughput { threads, count } => client.throughput(&pin, *threads, *count, &mut input)?,
    };
    report::line(&measured.to_string());
    client.application.finalize().map_err(refused)
}

/// The module, initialised, and the microseconds that this and the first listing of slots took, several times.
fn started(module: &Path) -> Result<(Pkcs11, Vec<u128>)> {
    let mut times = Vec::new();
    loop {
        let application = Pkcs11::new(module).map_err(refused)?;
        let began = Instant::now();
        application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(refused)?;
        application.get_all_slots().map_err(refused)?;
        times.push(began.elapsed().as_micros());
        if times.len() == STARTS {
            return Ok((application, times));
        }
        application.finalize().map_err(refused)?;
    }
}

struct Client {
    application: Pkcs11,
    slot: Slot,
}

impl Client {
    fn session(&self) -> Result<Session> {
        self.application.open_ro_session(self.slot).map_err(refused)
    }

    fn logged_in(&self, pin: &Secret) -> Result<(Session, ObjectHandle)> {
        let session = self.session()?;
        let text =
            std::str::from_utf8(pin.expose()).map_err(|_| Error::Wrong("the PIN is no text".into()))?;
        session.login(UserType::User, Some(&AuthPin::new(text.into()))).map_err(refused)?;
        let key = private_key(&session)?;
        Ok((session, key))
    }

    fn signatures(&self, pin: &Secret, account: &Path) -> Result<serde_json::Value> {
        let before = Account::read(account)?;
        let (session, key) = self.logged_in(pin)?;
        sign(&session, key)?;
        let first = Account::read(account)?;
        sign(&session, key)?;
        let second = Account::read(account)?;
        Ok(json!({"first": first.since(before).numbers(), "second": second.since(first).numbers()}))
    }

    fn times(&self, pin: &Secret, count: usize) -> Result<serde_json::Value> {
        let (session, key) = self.logged_in(pin)?;
        sign(&session, key)?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            sign(&session, key)?;
            times.push(began.elapsed().as_micros());
        }
        Ok(json!(times))
    }

    fn answers(&self, pin: &Secret, count: u32, log: Option<&Path>) -> Result<serde_json::Value> {
        let (session, key) = self.logged_in(pin)?;
        // What the login changed is told once more, and the daemon writes its log behind its answers.
        for _ in 0..20 {
            session.get_session_info().map_err(refused)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = log.map(requests).transpose()?;
        let info = each(count, || session.get_session_info().map(drop))?;
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
        let found = each(count, || session.find_objects(&template).map(drop))?;
        let attribute = each(count, || session.get_attributes(key, &[AttributeType::Modulus]).map(drop))?;
        std::thread::sleep(Duration::from_millis(100));
        let after = log.map(requests).transpose()?;
        let asked = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        Ok(json!({
            "session_info_ns": info,
            "find_objects_ns": found,
            "attribute_ns": attribute,
            "requests": asked,
        }))
    }

    fn throughput(
        &self,
        pin: &Secret,
        threads: usize,
        count: usize,
        input: &mut StdinLock<'_>,
    ) -> Result<serde_json::Value> {
        let (session, key) = self.logged_in(pin)?;
        report::line("ready");
        input.read_line(&mut String::new()).during("waiting for the beginning")?;
        let began = Instant::now();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let session = self.session()?;
                        (0..count).try_for_each(|_| sign(&session, key))
                    })
                })
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                worker.join().unwrap_or_else(|_| Err(Error::Wrong("a thread of the client failed".into())))
            };
            workers.into_iter().try_for_each(join)
        })?;
        drop(session);
        Ok(json!(began.elapsed().as_millis()))
    }
}

/// Nanoseconds of one call, of so many.
fn each(count: u32, mut call: impl FnMut() -> cryptoki::error::Result<()>) -> Result<u128> {
    let began = Instant::now();
    for _ in 0..count {
        call().map_err(refused)?;
    }
    Ok(began.elapsed().as_nanos() / u128::from(count.max(1)))
}

/// The first private key: the login's.
fn private_key(session: &Session) -> Result<ObjectHandle> {
    let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).map_err(refused)?;
    keys.first().copied().ok_or_else(|| Error::Wrong("the token shows no private key".into()))
}

fn sign(session: &Session, key: ObjectHandle) -> Result<()> {
    session
        .sign(&Mechanism::Sha256RsaPkcs, key, b"A text that is signed on the card.")
        .map(drop)
        .map_err(refused)
}

/// How many requests the daemon has begun, by its log.
fn requests(log: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(log).during("reading the daemon's log")?;
    Ok(text.lines().filter(|line| line.contains(" begun ")).count())
}

fn read_pin(input: &mut impl Read) -> Result<Secret> {
    let mut pin = Secret::zeroed(PIN)?;
    let mut length = 0;
    for place in pin.expose_mut() {
        let mut byte = [0];
        if input.read(&mut byte).during("reading the PIN")? == 0 || byte == *b"\n" {
            break;
        }
        [*place] = byte;
        length += 1;
    }
    Ok(Secret::copy_from(pin.expose().get(..length).unwrap_or_default())?)
}

fn refused(error: cryptoki::error::Error) -> Error {
    Error::Wrong(format!("the module says: {error}"))
}

/// Hands the PIN, and later what else there is, to a client's input.
pub(super) fn give(input: &mut impl Write, text: &[u8]) -> Result<()> {
    input
        .write_all(text)
        .and_then(|()| input.write_all(b"\n"))
        .and_then(|()| input.flush())
        .during("telling a client")
}
