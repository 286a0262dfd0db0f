//! A small blocking client: one connection, one request at a time.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::local_socket::Stream;
use interprocess::local_socket::traits::Stream as _;

use crate::connect::connect;
use crate::frame::{self, FrameError, LockedWriter};
use crate::rpc::{self, Id, Incoming, OutgoingRequest, Progress};
use crate::{DEFAULT_SOCKET, Method, RpcError};

/// How long the daemon may take to make room for a connection, unless the caller says otherwise.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon could not be reached.
    #[error("cannot reach cnsd at {path}: {source}")]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke, or the daemon's frame is unreadable. The connection is of no more use.
    #[error("the connection to cnsd failed: {0}")]
    Frame(#[from] FrameError),
    /// The daemon answered something that is not an answer to the request.
    #[error("cnsd's answer cannot be read: {0}")]
    Answer(serde_json::Error),
    /// The daemon answered a request that was not made.
    #[error("cnsd answered another request")]
    OutOfStep,
    /// The request cannot be written, for instance because it is too large for locked memory.
    #[error("the request cannot be written: {0}")]
    Request(serde_json::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(#[from] RpcError),
}

impl ClientError {
    /// Whether the daemon is there and took longer than it may.
    #[must_use]
    pub fn is_late(&self) -> bool {
        match self {
            ClientError::Connect { source: error, .. } | ClientError::Frame(FrameError::Io(error)) => {
                error.kind() == io::ErrorKind::TimedOut
            }
            ClientError::Frame(_)
            | ClientError::Answer(_)
            | ClientError::OutOfStep
            | ClientError::Request(_)
            | ClientError::Refused(_) => false,
        }
    }

    /// Whether there is no daemon, or none for this user.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, ClientError::Connect { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename
        ))
    }
}

/// A connection to the daemon.
pub struct Client {
    stream: Stream,
    next_id: i64,
    timeout: Option<Duration>,
}

impl Client {
    /// The socket that clients use: `CNSD_SOCKET`, else the default.
    #[must_use]
    pub fn default_path() -> PathBuf {
        std::env::var_os("CNSD_SOCKET").map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from)
    }

    /// Connects to the daemon. Ten seconds are its time to make room for the connection.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens there, the peer may not connect, or the time is over.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_within(path, CONNECT_LIMIT)
    }

    /// Connects to the daemon within a time.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_within(path: &Path, limit: Duration) -> Result<Self, ClientError> {
        let stream =
            connect(path, limit).map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        Ok(Self { stream, next_id: 1, timeout: None })
    }

    /// Limits how long each of the next calls may take, with all that comes before its answer; `None` waits without
    /// limit.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.set_glance(timeout)?;
        self.timeout = timeout;
        Ok(())
    }

    /// How long the system waits for the daemon at a time.
    fn set_glance(&self, glance: Option<Duration>) -> Result<(), ClientError> {
        self.stream.set_recv_timeout(glance).map_err(FrameError::Io)?;
        self.stream.set_send_timeout(glance).map_err(FrameError::Io)?;
        Ok(())
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`]. After anything but [`ClientError::Refused`] the connection should be dropped.
    pub fn call<M: Method>(&mut self, request: &M) -> Result<M::Answer, ClientError> {
        self.exchange(request, |_| {}, || false)
    }

    /// Calls a method whose answer may take the whole time that was set; `is_alive` tells after each `glance` without a
    /// word of the daemon whether to wait on.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_while<M: Method>(
        &mut self,
        request: &M,
        glance: Duration,
        is_alive: impl FnMut() -> bool,
    ) -> Result<M::Answer, ClientError> {
        self.set_glance(Some(glance))?;
        let answer = self.exchange(request, |_| {}, is_alive);
        self.set_glance(self.timeout)?;
        answer
    }

    /// Calls a method; `progress` sees how far it has come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_with_progress<M: Method>(
        &mut self,
        request: &M,
        progress: impl FnMut(&Progress),
    ) -> Result<M::Answer, ClientError> {
        self.exchange(request, progress, || false)
    }

    fn exchange<M: Method>(
        &mut self,
        request: &M,
        mut progress: impl FnMut(&Progress),
        is_alive: impl FnMut() -> bool,
    ) -> Result<M::Answer, ClientError> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let end = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut stream = Limited { stream: &mut self.stream, end, is_alive };
        send(&mut stream, id, request)?;
        loop {
            let body = frame::read(&mut stream)?;
            let message: Incoming<'_> = serde_json::from_slice(body.bytes()).map_err(ClientError::Answer)?;
            if let Some(method) = message.method {
                if let (rpc::PROGRESS, Some(params)) = (method.as_str(), message.params)
                    && let Ok(report) = serde_json::from_str::<Progress>(params.get())
                {
                    progress(&report);
                }
                continue;
            }
            if let Some(error) = message.error {
                return Err(ClientError::Refused(error.into()));
            }
            if message.id != Some(Id::Number(id)) {
                return Err(ClientError::OutOfStep);
            }
            let result = message.result.map_or("null", |raw| raw.get());
            return serde_json::from_str(result).map_err(ClientError::Answer);
        }
    }

    /// Sends a request and gives the stream on which the answer will come.
    pub(crate) fn ask_only<M: Method>(mut self, request: &M) -> Result<Stream, ClientError> {
        send(&mut self.stream, self.next_id, request)?;
        Ok(self.stream)
    }
}

fn send<M: Method>(stream: &mut impl Write, id: i64, params: &M) -> Result<(), ClientError> {
    let request = OutgoingRequest { jsonrpc: "2.0", id, method: M::NAME, params };
    if M::CARRIES_SECRET {
        let mut writer = LockedWriter::new().map_err(FrameError::Memory)?;
        serde_json::to_writer(&mut writer, &request).map_err(ClientError::Request)?;
        frame::write(stream, writer.written())?;
    } else {
        let body = serde_json::to_vec(&request).map_err(ClientError::Request)?;
        frame::write(stream, &body)?;
    }
    stream.flush().map_err(FrameError::Io)?;
    Ok(())
}

/// The stream during one call. The system limits each read and write by itself; here they are limited together, so that a
/// daemon that sends a byte now and then holds nobody up.
struct Limited<'a, F> {
    stream: &'a mut Stream,
    end: Option<Instant>,
    is_alive: F,
}

impl<F: FnMut() -> bool> Limited<'_, F> {
    fn repeat<T>(&mut self, mut work: impl FnMut(&mut Stream) -> io::Result<T>) -> io::Result<T> {
        loop {
            if self.end.is_some_and(|end| Instant::now() >= end) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match work(self.stream) {
                // The system's time is over, and nothing was read or written.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if !(self.is_alive)() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

impl<F: FnMut() -> bool> Read for Limited<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.repeat(|stream| stream.read(bytes))
    }
}

impl<F: FnMut() -> bool> Write for Limited<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.repeat(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
