//! The adapter to vpcd: a client of the virtual smart card reader's protocol, and nothing else.
//!
//! Frames are a 16-bit big-endian length and that many bytes. One byte is a control: 0 power off, 1 power on,
//! 2 reset, 4 the answer to reset is wanted. Anything longer is a command APDU, answered by one frame.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::fault::{FaultyCard, Outcome};
use crate::replay::TraceCard;

/// How long a read may block before the switch is looked at again.
const TICK: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const WRITE_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const ANSWER_TO_RESET: u8 = 4;

/// Where the reader listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// vpcd's TCP port.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port; vpcd's first is 35963.
        port: u16,
    },
    /// A Unix socket that speaks the same protocol.
    Unix(PathBuf),
}

/// What happens to the plug, for whoever wants to say so.
#[derive(Debug)]
pub enum Event {
    /// The card is in the reader.
    Connected,
    /// The reader could not be reached; it will be tried again.
    Unreachable(io::Error),
    /// The connection ended; it will be made again.
    Lost(io::Error),
    /// A fault has pulled the card out.
    PulledOut,
    /// The card has done what a frame asked for; its answer, if any, goes out next.
    Served,
}

/// Tells a running plug what to do.
#[derive(Debug, Default)]
pub struct Switch {
    stop: Arc<AtomicBool>,
    out: AtomicBool,
    connected: AtomicBool,
}

impl Switch {
    /// The flag that ends [`run`]; a signal handler may set it.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether the card is in the reader now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::SeqCst)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn must_leave(&self) -> bool {
        self.stopped() || self.out.load(Ordering::SeqCst)
    }
}

/// What can be in a reader.
pub trait Card: Send {
    /// Supplies power.
    fn power_on(&mut self);
    /// Takes the power away.
    fn power_off(&mut self);
    /// Resets the card.
    fn reset(&mut self);
    /// The answer to reset, without resetting.
    fn answer_to_reset(&self) -> Vec<u8>;
    /// Executes one command.
    fn execute(&mut self, command: &[u8]) -> Outcome;
    /// How long to wait before the last answer is given.
    fn take_delay(&mut self) -> Duration {
        Duration::ZERO
    }
    /// The card is put in again, after it was pulled out.
    fn insert(&mut self) {
        self.power_on();
    }
}

impl Card for FaultyCard {
    fn power_on(&mut self) {
        let _sent_on_request_only = Self::power_on(self);
    }

    fn power_off(&mut self) {
        Self::power_off(self);
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn answer_to_reset(&self) -> Vec<u8> {
        Self::answer_to_reset(self)
    }

    fn execute(&mut self, command: &[u8]) -> Outcome {
        Self::execute(self, command)
    }

    fn take_delay(&mut self) -> Duration {
        Self::take_delay(self)
    }

    fn insert(&mut self) {
        Self::insert(self);
    }
}

impl Card for TraceCard {
    fn power_on(&mut self) {
        Self::reset(self);
    }

    fn power_off(&mut self) {
        Self::reset(self);
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn answer_to_reset(&self) -> Vec<u8> {
        Self::answer_to_reset(self)
    }

    fn execute(&mut self, command: &[u8]) -> Outcome {
        Outcome::Answer(self.transmit(command))
    }
}

/// A card plugged in by a thread of its own.
pub struct Plugged<C = FaultyCard> {
    card: Arc<Mutex<C>>,
    switch: Arc<Switch>,
    thread: Option<JoinHandle<()>>,
}

/// Plugs `card` in to the reader at `endpoint` and returns; the plug lives as long as the handle.
///
/// # Errors
/// The thread could not be started.
pub fn plug(card: impl Into<FaultyCard>, endpoint: Endpoint) -> io::Result<Plugged> {
    plug_card(card.into(), endpoint)
}

/// As [`plug`], for a card of any kind.
///
/// # Errors
/// The thread could not be started.
pub fn plug_card<C: Card + 'static>(card: C, endpoint: Endpoint) -> io::Result<Plugged<C>> {
    let card = Arc::new(Mutex::new(card));
    let switch = Arc::new(Switch::default());
    let thread = {
        let (card, switch) = (Arc::clone(&card), Arc::clone(&switch));
        std::thread::Builder::new()
            .name("vpcd".to_owned())
            .spawn(move || run(&card, &endpoint, &switch, &mut |_| ()))?
    };
    Ok(Plugged { card, switch, thread: Some(thread) })
}

impl<C: Card> Plugged<C> {
    /// Takes the card out of the reader, and waits until it is out.
    pub fn pull_out(&self) {
        self.switch.out.store(true, Ordering::SeqCst);
        while self.switch.is_connected() {
            std::thread::sleep(TICK / 10);
        }
    }

    /// Puts the card in again, after [`Plugged::pull_out`] or a fault.
    pub fn put_in(&self) {
        self.with_card(C::insert);
        self.switch.out.store(false, Ordering::SeqCst);
    }

    /// Whether the card is in the reader now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.switch.is_connected()
    }

    /// Reaches the card between two commands: to plan faults, or to look at it.
    pub fn with_card<T>(&self, action: impl FnOnce(&mut C) -> T) -> T {
        action(&mut lock(&self.card))
    }
}

impl<C> Drop for Plugged<C> {
    fn drop(&mut self) {
        self.switch.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // The thread's panic, if any, has been reported by its own hook.
            let _panicked = thread.join().is_err();
        }
    }
}

/// Serves the reader at `endpoint` until the switch stops it; connects again with growing pauses.
pub fn run<C: Card>(card: &Mutex<C>, endpoint: &Endpoint, switch: &Switch, notice: &mut dyn FnMut(Event)) {
    let mut pause = FIRST_PAUSE;
    while !switch.stopped() {
        if switch.out.load(Ordering::SeqCst) {
            std::thread::sleep(TICK / 10);
            continue;
        }
        match Connection::open(endpoint) {
            Ok(connection) => {
                pause = FIRST_PAUSE;
                switch.connected.store(true, Ordering::SeqCst);
                notice(Event::Connected);
                let end = serve(card, connection, switch, notice);
                lock(card).power_off();
                if matches!(end, Ok(End::Gone)) {
                    switch.out.store(true, Ordering::SeqCst);
                    notice(Event::PulledOut);
                }
                switch.connected.store(false, Ordering::SeqCst);
                if let Err(error) = end {
                    notice(Event::Lost(error));
                }
            }
            Err(error) => notice(Event::Unreachable(error)),
        }
        wait(pause, switch);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn wait(pause: Duration, switch: &Switch) {
    let mut left = pause;
    while !left.is_zero() && !switch.must_leave() {
        std::thread::sleep(TICK.min(left));
        left = left.saturating_sub(TICK);
    }
}

/// Why a connection was given up without an error.
enum End {
    Asked,
    Gone,
}

fn serve<C: Card>(
    card: &Mutex<C>,
    mut connection: Connection,
    switch: &Switch,
    notice: &mut dyn FnMut(Event),
) -> io::Result<End> {
    while let Some(frame) = connection.read_frame(switch)? {
        // The card is not held while somebody waits for it.
        let (outcome, delay) = {
            let mut card = lock(card);
            let outcome = match frame.as_slice() {
                [] => Outcome::Silence,
                [control] => serve_control(&mut *card, *control),
                command => card.execute(command),
            };
            (outcome, card.take_delay())
        };
        notice(Event::Served);
        wait(delay, switch);
        if switch.must_leave() {
            return Ok(End::Asked);
        }
        match outcome {
            Outcome::Answer(answer) => connection.write_frame(&Zeroizing::new(answer))?,
            Outcome::Silence => {}
            Outcome::Gone => return Ok(End::Gone),
        }
    }
    Ok(End::Asked)
}

fn serve_control<C: Card>(card: &mut C, control: u8) -> Outcome {
    match control {
        POWER_OFF => card.power_off(),
        POWER_ON => card.power_on(),
        RESET => card.reset(),
        ANSWER_TO_RESET => return Outcome::Answer(card.answer_to_reset()),
        _ => {}
    }
    Outcome::Silence
}

fn lock<C>(card: &Mutex<C>) -> MutexGuard<'_, C> {
    card.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects within [`CONNECT_LIMIT`] per address: a vpcd with a card in it answers no second one, and whoever waits for
/// it must stay able to end.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn open(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = connect(host, *port)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TICK))?;
                stream.set_write_timeout(Some(WRITE_LIMIT))?;
                Ok(Self::Tcp(stream))
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TICK))?;
                stream.set_write_timeout(Some(WRITE_LIMIT))?;
                Ok(Self::Unix(stream))
            }
        }
    }

    /// The next frame, or `None` when the switch wants the card out.
    fn read_frame(&mut self, switch: &Switch) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut header = [0; 2];
        if !self.fill(&mut header, switch)? {
            return Ok(None);
        }
        let mut frame = Zeroizing::new(vec![0; usize::from(u16::from_be_bytes(header))]);
        Ok(if self.fill(&mut frame, switch)? { Some(frame) } else { None })
    }

    /// Fills `buffer`; false when the switch wants the card out first.
    fn fill(&mut self, buffer: &mut [u8], switch: &Switch) -> io::Result<bool> {
        let mut rest = buffer;
        while !rest.is_empty() {
            if switch.must_leave() {
                return Ok(false);
            }
            match self.read(rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
                Err(error) if is_tick(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                // Without this vpcd waits 40 ms for each acknowledgement, and the option does not stick.
                rustix::net::sockopt::set_tcp_quickack(&*stream, true)?;
                stream.read(buffer)
            }
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    /// One write for header and payload, so that they travel in one segment.
    fn write_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u16::try_from(payload.len()).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        let mut frame = Zeroizing::new(Vec::with_capacity(payload.len() + 2));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(payload);
        match self {
            Self::Tcp(stream) => stream.write_all(&frame),
            Self::Unix(stream) => stream.write_all(&frame),
        }
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
