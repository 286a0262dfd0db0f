//! Connections to `cnsd`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cns_protocol::client::ClientError;
use cns_protocol::daemon::Status;
use cns_protocol::reader::{self, Reader, ReaderState, Readers};
use cns_protocol::{Client, Method, RpcError};

use crate::error::Error;

/// How long the daemon may take to make room for a connection, and for what it already knows.
pub(crate) const KNOWN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How long it may take for work with a card, which may have to wait for another program's transaction, or for a person
/// who types on the reader: four entries of half a minute. Meanwhile it is asked whether it is there, each time that it
/// has said nothing for [`KNOWN`].
const CARD_WORK: Duration = Duration::from_secs(180);
/// How long a listing waits for cards whose contents are being read, so that a card that was just plugged in, or a
/// daemon that was just started, is not reported as an empty slot.
const SETTLE: Duration = Duration::from_secs(4);

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody listens on the daemon's socket.
    Absent,
    /// The connection broke; it is closed.
    Broken,
    /// The daemon took too long. The connection is closed: its answer could only come out of step.
    Late,
    /// The daemon refused.
    Refused(RpcError),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Absent | CallError::Broken | CallError::Late => Error::DeviceError,
            CallError::Refused(refusal) => refusal.kind.into(),
        }
    }
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        let (is_late, is_absent) = (error.is_late(), error.is_absent());
        match error {
            ClientError::Refused(refusal) => CallError::Refused(refusal),
            _ if is_late => CallError::Late,
            _ if is_absent => CallError::Absent,
            ClientError::Connect { .. }
            | ClientError::Frame(_)
            | ClientError::Answer(_)
            | ClientError::OutOfStep
            | ClientError::Request(_) => CallError::Broken,
        }
    }
}

impl CallError {
    /// Whether the connection is lost, and its login with it.
    pub(crate) fn lost_connection(&self) -> bool {
        matches!(self, CallError::Absent | CallError::Broken | CallError::Late)
    }
}

/// A connection that is opened when it is first needed, and again after it broke.
pub(crate) struct Link {
    socket: PathBuf,
    client: Option<Client>,
    /// Counts the connections: what was told over an earlier one is older.
    epoch: u64,
    /// Cards for whose contents a listing waited in vain, by reader and insertion.
    slow: BTreeSet<(String, u64)>,
}

impl Link {
    /// A connection that is not open yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), client: None, epoch: 0, slow: BTreeSet::new() }
    }

    /// The number of the connection.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Closes the connection, and with it ends its login.
    pub(crate) fn close(&mut self) {
        self.client = None;
    }

    /// Whether a connection is open.
    pub(crate) fn is_open(&self) -> bool {
        self.client.is_some()
    }

    /// Asks for work with a card. Never repeated: the daemon may have done it although the answer was lost.
    pub(crate) fn work<M: Method>(&mut self, request: &M) -> Result<M::Answer, CallError> {
        let socket = self.socket.clone();
        self.call(CARD_WORK, |client| client.call_while(request, KNOWN, || is_alive(&socket)))
    }

    /// Asks for something that the daemon can do by itself. Never repeated, as [`Link::work`].
    pub(crate) fn tell<M: Method>(&mut self, request: &M) -> Result<M::Answer, CallError> {
        self.call(KNOWN, |client| client.call(request))
    }

    /// All readers, from what the daemon knows.
    pub(crate) fn readers(&mut self) -> Result<Readers, CallError> {
        let mut readers = self.ask(&reader::List {}, KNOWN)?;
        let start = Instant::now();
        while readers.readers.iter().any(|reader| self.is_awaited(reader)) {
            let Some(left) = SETTLE.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                let late = readers.readers.iter().filter(|reader| self.is_awaited(reader));
                self.slow = late.map(|reader| (reader.name.clone(), reader.insertion)).collect();
                break;
            };
            readers = self.wait(readers.change, left)?;
        }
        Ok(readers)
    }

    /// Waits until something differs from `change`, or until the time is over.
    pub(crate) fn wait(&mut self, change: u64, time: Duration) -> Result<Readers, CallError> {
        let timeout_ms = u32::try_from(time.as_millis()).unwrap_or(60_000).clamp(1, 60_000);
        self.ask(&reader::Wait { change, timeout_ms }, time.saturating_add(KNOWN))
    }

    fn is_awaited(&self, reader: &Reader) -> bool {
        reader.state == ReaderState::Reading && !self.slow.contains(&(reader.name.clone(), reader.insertion))
    }

    /// Asks a question, on a new connection if the one at hand has broken since its last use.
    fn ask<M: Method>(&mut self, request: &M, timeout: Duration) -> Result<M::Answer, CallError> {
        let was_open = self.is_open();
        match self.call(timeout, |client| client.call(request)) {
            Err(CallError::Broken) if was_open => self.call(timeout, |client| client.call(request)),
            answer => answer,
        }
    }

    fn call<T>(
        &mut self,
        timeout: Duration,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, CallError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let client = Client::connect_within(&self.socket, KNOWN)?;
                self.epoch = self.epoch.saturating_add(1);
                client
            }
        };
        client.set_timeout(Some(timeout))?;
        let answer = call(&mut client);
        if matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
            self.client = Some(client);
        }
        answer.map_err(CallError::from)
    }
}

/// Whether the daemon answers others while it works for us.
fn is_alive(socket: &Path) -> bool {
    let asked = || {
        let mut client = Client::connect_within(socket, KNOWN)?;
        client.set_timeout(Some(KNOWN))?;
        client.call(&Status {})
    };
    // A refusal, for instance of one connection too many, is a word as well.
    matches!(asked(), Ok(_) | Err(ClientError::Refused(_)))
}

#[cfg(test)]
mod tests;
