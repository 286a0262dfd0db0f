//! The reader: a card behind a socket that speaks vpcd's protocol, and the keypad.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cns_apdu::StatusWord;
use cns_apdu::pin_pad::{GET_FEATURE_REQUEST_PCSC_LITE, answer};
use zeroize::Zeroizing;

use crate::behaviour::{Behaviour, MODIFY, PROPERTIES, VERIFY};
use crate::{CARD, keypad};

/// How long a card may take for an answer.
const CARD_TIME: Duration = Duration::from_secs(60);
/// How often a reader that never answers looks whether it still behaves so.
const GLANCE: Duration = Duration::from_millis(20);

const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const ANSWER_TO_RESET: u8 = 4;

/// Why the reader did not do what it was told.
#[derive(Debug)]
pub enum Failure {
    /// There is no card, or it went.
    NoCard,
    /// The reader has no such function.
    NotSupported,
    /// It failed.
    Failed,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::NoCard
    }
}

/// A reader with a keypad.
pub struct Reader {
    folder: PathBuf,
    listener: UnixListener,
    card: Option<UnixStream>,
}

impl Reader {
    /// The reader of a folder. A socket that a former one left is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let socket = folder.join(CARD);
        if let Err(error) = fs::remove_file(&socket)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        Ok(Self { folder: folder.to_owned(), listener, card: None })
    }

    /// Whether a card is in it.
    pub fn is_present(&mut self) -> bool {
        if self.card.as_mut().is_some_and(|card| !is_there(card)) {
            self.card = None;
        }
        if self.card.is_none()
            && let Ok((card, _)) = self.listener.accept()
            && card.set_read_timeout(Some(CARD_TIME)).is_ok()
        {
            self.card = Some(card);
        }
        self.card.is_some()
    }

    /// Powers the card and gives its answer to reset.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn power_on(&mut self) -> Result<Vec<u8>, Failure> {
        self.send(&[POWER_ON])?;
        self.answer_to_reset()
    }

    /// Resets it.
    ///
    /// # Errors
    /// As [`Reader::power_on`].
    pub fn reset(&mut self) -> Result<Vec<u8>, Failure> {
        self.send(&[RESET])?;
        self.answer_to_reset()
    }

    /// Takes its power away.
    ///
    /// # Errors
    /// When it went.
    pub fn power_off(&mut self) -> Result<(), Failure> {
        self.send(&[POWER_OFF])
    }

    fn answer_to_reset(&mut self) -> Result<Vec<u8>, Failure> {
        self.send(&[ANSWER_TO_RESET])?;
        self.receive()
    }

    /// Sends a command to the card and gives its answer.
    ///
    /// # Errors
    /// When it went.
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, Failure> {
        self.send(command)?;
        self.receive()
    }

    /// Does what is for the reader itself.
    ///
    /// # Errors
    /// As the reader's [`Behaviour`] says.
    pub fn control(&mut self, code: u32, order: &[u8]) -> Result<Vec<u8>, Failure> {
        let behaviour = Behaviour::of(&self.folder);
        match code {
            GET_FEATURE_REQUEST_PCSC_LITE => behaviour.features().ok_or(Failure::NotSupported),
            PROPERTIES => Ok(behaviour.properties()),
            VERIFY | MODIFY => self.enter(behaviour, code, order),
            _ => Err(Failure::NotSupported),
        }
    }

    fn enter(&mut self, behaviour: Behaviour, code: u32, order: &[u8]) -> Result<Vec<u8>, Failure> {
        match behaviour {
            Behaviour::Honest | Behaviour::Garbage => {}
            Behaviour::ClaimsSuccess => return Ok(StatusWord::SUCCESS.0.to_be_bytes().to_vec()),
            Behaviour::NeverAnswers => {
                while Behaviour::of(&self.folder) == Behaviour::NeverAnswers {
                    thread::sleep(GLANCE);
                }
                return Ok(answer::TIMED_OUT.0.to_be_bytes().to_vec());
            }
            Behaviour::WithoutKeypad
            | Behaviour::Fails
            | Behaviour::CodeZero
            | Behaviour::Contradicts
            | Behaviour::KnownLiar => return Err(Failure::Failed),
        }
        let command = match code {
            VERIFY => keypad::verify(&self.folder, order),
            _ => keypad::modify(&self.folder, order),
        };
        let answer = match command {
            Ok(command) => self.transmit(&command)?,
            Err(said) => said.0.to_be_bytes().to_vec(),
        };
        Ok(if behaviour == Behaviour::Garbage { vec![0xDE, 0xAD, 0xBE, 0xEF] } else { answer })
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let length = u16::try_from(frame.len()).map_err(|_| Failure::Failed)?;
        let whole = Zeroizing::new([&length.to_be_bytes(), frame].concat());
        self.with_card(|card| card.write_all(&whole))
    }

    fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        self.with_card(|card| {
            let mut length = [0; 2];
            card.read_exact(&mut length)?;
            let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
            card.read_exact(&mut frame)?;
            Ok(frame)
        })
    }

    fn with_card<T>(&mut self, work: impl FnOnce(&mut UnixStream) -> io::Result<T>) -> Result<T, Failure> {
        let done = work(self.card.as_mut().ok_or(Failure::NoCard)?);
        if done.is_err() {
            // Whatever else it sends belongs to nothing.
            self.card = None;
        }
        Ok(done?)
    }
}

/// Whether the card's end is open. A card says nothing unasked: one that does is as good as gone.
fn is_there(card: &mut UnixStream) -> bool {
    let looked = card.set_nonblocking(true).and_then(|()| card.read(&mut [0]));
    card.set_nonblocking(false).is_ok() && looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
