//! Connections to `cnsd`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cns_protocol::client::ClientError;
use cns_protocol::reader::{self, Reader, ReaderState, Readers};
use cns_protocol::{Client, Method, RpcError};

use crate::error::Error;

/// How long the daemon may take for what it already knows.
pub(crate) const KNOWN: Duration = Duration::from_secs(15);
/// How long it may take for work with a card, which may have to wait for another program's transaction, or for a person
/// who types on the reader: four entries of half a minute.
const CARD_WORK: Duration = Duration::from_secs(180);
/// How long a listing waits for cards whose contents are being read, so that a card that was just plugged in, or a
/// daemon that was just started, is not reported as an empty slot.
const SETTLE: Duration = Duration::from_secs(4);

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody listens on the daemon's socket.
    Absent,
    /// The connection broke, or took too long; it is closed.
    Broken,
    /// The daemon refused.
    Refused(RpcError),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Absent | CallError::Broken => Error::DeviceError,
            CallError::Refused(refusal) => refusal.kind.into(),
        }
    }
}

/// A connection that is opened when it is first needed, and again after it broke.
pub(crate) struct Link {
    socket: PathBuf,
    client: Option<Client>,
    /// Counts the connections: what the daemon told over an earlier one may be void.
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
        self.call(request, CARD_WORK)
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
        match self.call(request, timeout) {
            Err(CallError::Broken) if was_open => self.call(request, timeout),
            answer => answer,
        }
    }

    fn call<M: Method>(&mut self, request: &M, timeout: Duration) -> Result<M::Answer, CallError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let client = Client::connect(&self.socket).map_err(|_| CallError::Absent)?;
                self.epoch = self.epoch.saturating_add(1);
                client
            }
        };
        client.set_timeout(Some(timeout)).map_err(|_| CallError::Broken)?;
        let answer = client.call(request);
        if matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
            self.client = Some(client);
        }
        answer.map_err(|error| match error {
            ClientError::Refused(refusal) => CallError::Refused(refusal),
            ClientError::Connect { .. } => CallError::Absent,
            ClientError::Frame(_)
            | ClientError::Answer(_)
            | ClientError::OutOfStep
            | ClientError::Request(_) => CallError::Broken,
        })
    }
}
