//! The daemon's own vpcd listener: a card connects and speaks the protocol of vsmartcard's virtual reader.
//!
//! Frames both ways are a 16-bit big-endian length and that many bytes. From the reader one byte is a control (0 off,
//! 1 on, 2 reset, without answer; 4 asks for the answer to reset), more bytes are a command APDU, answered by one
//! frame. One card at a time: another connection waits until the first one ends. The card is hostile: its frames are
//! bounded by their length field, and it has a limited time for every one of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cns_protocol::reader::ReaderKind;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::device::{Device, Disposition, Link};
use super::owner::Opener;
use super::slot::{Slot, Slots};
use super::{ReaderError, Stopper, VpcdAddress};
use crate::card::CardError;

const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const GET_ATR: u8 = 4;

/// Lengths of an answer to reset (ISO/IEC 7816-3 §8.2.1).
const ATR_LENGTHS: std::ops::RangeInclusive<usize> = 2..=33;

/// Starts a listener.
pub(super) fn start(slots: &Arc<Slots>, name: &str, address: &VpcdAddress) -> Result<Stopper, ReaderError> {
    let listen = |source| ReaderError::Listen { name: name.to_owned(), source };
    let listener = Listener::bind(address, name)?;
    let (wake, stopped) = UnixStream::pair().map_err(listen)?;
    let slot = slots.add(name, ReaderKind::Vpcd)?;
    let socket = match address {
        VpcdAddress::Unix(path) => Some(path.clone()),
        VpcdAddress::Tcp(_, _) => None,
    };
    let watch = move || {
        if let Err(error) = watch(&listener, &stopped, &slot) {
            tracing::error!(reader = slot.name(), %error, "the vpcd listener ended");
        }
    };
    thread::Builder::new().name("vpcd".to_owned()).spawn(watch).map_err(ReaderError::Thread)?;
    Ok(Box::new(move || {
        wake.shutdown(Shutdown::Both).ok();
        if let Some(path) = &socket {
            std::fs::remove_file(path).ok();
        }
    }))
}

/// Lets one card after the other in.
fn watch(listener: &Listener, stopped: &UnixStream, slot: &Slot) -> io::Result<()> {
    loop {
        if wait(listener.as_fd(), PollFlags::IN, stopped)? == Woken::Stopped {
            return Ok(());
        }
        let accepted = listener.accept().and_then(|stream| Ok((stream.try_clone()?, stream)));
        // The card went away before it was let in, or there are no descriptors left for a moment.
        let Ok((card, stream)) = accepted else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let insertion = slot.inserted(opener(card, slot.limits().command));
        let woken = wait(stream.as_fd(), PollFlags::RDHUP, stopped);
        slot.removed(insertion);
        // Ends an exchange that is in work.
        stream.shutdown();
        if woken? == Woken::Stopped {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Woken {
    Ready,
    Stopped,
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags, stopped: &UnixStream) -> io::Result<Woken> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags), PollFd::new(stopped, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [ready, stop] = &fds;
        if !stop.revents().is_empty() {
            return Ok(Woken::Stopped);
        }
        if !ready.revents().is_empty() {
            return Ok(Woken::Ready);
        }
    }
}

fn opener(stream: Stream, limit: Duration) -> Opener {
    Box::new(move || {
        let stream = stream.try_clone().map_err(|error| CardError::Reader(error.to_string()))?;
        let mut card = Card { stream, atr: Vec::new() };
        let deadline = Instant::now() + limit;
        card.send(&[POWER_ON], deadline)?;
        card.send(&[GET_ATR], deadline)?;
        card.atr = card.receive(deadline)?;
        if !ATR_LENGTHS.contains(&card.atr.len()) {
            return Err(CardError::Unknown("the card's answer to reset is wrong".to_owned()));
        }
        Ok(Box::new(card))
    })
}

/// A connected card.
struct Card {
    stream: Stream,
    atr: Vec<u8>,
}

impl Device for Card {
    fn atr(&self) -> &[u8] {
        &self.atr
    }

    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Link) -> Disposition) -> Result<(), CardError> {
        match work(self) {
            Disposition::Leave => Ok(()),
            Disposition::Reset => self.reset(Duration::from_secs(1)),
        }
    }
}

impl Link for Card {
    fn exchange(&mut self, command: &[u8], limit: Duration) -> Result<Vec<u8>, CardError> {
        // One byte would be a control.
        if command.len() < 4 {
            return Err(CardError::Reader("a command has at least four bytes".to_owned()));
        }
        let deadline = Instant::now() + limit;
        let answer = self.send(command, deadline).and_then(|()| self.receive(deadline));
        if answer.is_err() {
            // After an answer that came too late or in part, the next one could not be told from it.
            self.stream.shutdown();
        }
        answer
    }

    fn reset(&mut self, limit: Duration) -> Result<(), CardError> {
        self.send(&[RESET], Instant::now() + limit)
    }
}

impl Card {
    fn send(&mut self, frame: &[u8], deadline: Instant) -> Result<(), CardError> {
        let length = u16::try_from(frame.len())
            .map_err(|_| CardError::Reader("the command is longer than a vpcd frame".to_owned()))?;
        self.stream.write_until(&length.to_be_bytes(), deadline).map_err(lost)?;
        self.stream.write_until(frame, deadline).map_err(lost)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, CardError> {
        let mut length = [0; 2];
        self.stream.read_until(&mut length, deadline).map_err(lost)?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_until(&mut frame, deadline).map_err(lost)?;
        Ok(frame)
    }
}

fn lost(error: io::Error) -> CardError {
    let late = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
    if late { CardError::TimedOut } else { CardError::Removed }
}

/// A listening socket.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &VpcdAddress, name: &str) -> Result<Self, ReaderError> {
        let listen = |source| ReaderError::Listen { name: name.to_owned(), source };
        match address {
            VpcdAddress::Tcp(_, socket) => Ok(Self::Tcp(TcpListener::bind(socket).map_err(listen)?)),
            VpcdAddress::Unix(path) => {
                clear(path)?;
                private_socket(path).map(Self::Unix).map_err(listen)
            }
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Self::Unix(listener) => Stream::Unix(listener.accept()?.0),
        })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Takes away the socket of a program that is no more.
fn clear(path: &Path) -> Result<(), ReaderError> {
    let name = || path.display().to_string();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ReaderError::Listen { name: name(), source }),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(ReaderError::NotASocket(name())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(ReaderError::InUse(name())),
        Ok(_) => std::fs::remove_file(path).map_err(|source| ReaderError::Listen { name: name(), source }),
    }
}

/// A listening socket that nobody else could connect to at any time: its mode is set before it listens.
fn private_socket(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    rustix::net::listen(&socket, 1)?;
    Ok(UnixListener::from(socket))
}

/// A connection.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    fn shutdown(&self) {
        // A connection that is over already cannot be ended again.
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both).ok(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both).ok(),
        };
    }

    fn read_until(&mut self, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = remaining(deadline)?;
            let read = match self {
                Self::Tcp(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    // Without both, and the second before every read, each exchange waits for a delayed ACK.
                    stream.set_nodelay(true)?;
                    rustix::net::sockopt::set_tcp_quickack(&*stream, true)?;
                    stream.read(buffer)
                }
                Self::Unix(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(buffer)
                }
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_until(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = remaining(deadline)?;
            let written = match self {
                Self::Tcp(stream) => {
                    stream.set_write_timeout(Some(left))?;
                    stream.set_nodelay(true)?;
                    stream.write(bytes)
                }
                Self::Unix(stream) => {
                    stream.set_write_timeout(Some(left))?;
                    stream.write(bytes)
                }
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The time that is left, or the error that there is none.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
