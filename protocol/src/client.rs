//! A small blocking client: one connection, one request at a time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName};

use crate::frame::{self, FrameError, LockedWriter};
use crate::rpc::{self, Id, Incoming, OutgoingRequest, Progress};
use crate::{DEFAULT_SOCKET, Method, RpcError};

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

/// A connection to the daemon.
pub struct Client {
    stream: Stream,
    next_id: i64,
}

impl Client {
    /// The socket that clients use: `CNSD_SOCKET`, else the default.
    #[must_use]
    pub fn default_path() -> PathBuf {
        std::env::var_os("CNSD_SOCKET").map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from)
    }

    /// Connects to the daemon.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens there or the peer may not connect.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let connect = || -> io::Result<Stream> { Stream::connect(path.to_fs_name::<GenericFilePath>()?) };
        let stream = connect().map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        Ok(Self { stream, next_id: 1 })
    }

    /// Limits how long the next answers may take; `None` waits without limit.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.stream.set_recv_timeout(timeout).map_err(FrameError::Io)?;
        self.stream.set_send_timeout(timeout).map_err(FrameError::Io)?;
        Ok(())
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`]. After anything but [`ClientError::Refused`] the connection should be dropped.
    pub fn call<M: Method>(&mut self, request: &M) -> Result<M::Answer, ClientError> {
        self.call_with_progress(request, |_| {})
    }

    /// Calls a method; `progress` sees how far it has come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_with_progress<M: Method>(
        &mut self,
        request: &M,
        mut progress: impl FnMut(&Progress),
    ) -> Result<M::Answer, ClientError> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.send(id, request)?;
        loop {
            let body = frame::read(&mut self.stream)?;
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
        self.send(self.next_id, request)?;
        Ok(self.stream)
    }

    fn send<M: Method>(&mut self, id: i64, params: &M) -> Result<(), ClientError> {
        let request = OutgoingRequest { jsonrpc: "2.0", id, method: M::NAME, params };
        if M::CARRIES_SECRET {
            let mut writer = LockedWriter::new().map_err(FrameError::Memory)?;
            serde_json::to_writer(&mut writer, &request).map_err(ClientError::Request)?;
            frame::write(&mut self.stream, writer.written())?;
        } else {
            let body = serde_json::to_vec(&request).map_err(ClientError::Request)?;
            frame::write(&mut self.stream, &body)?;
        }
        self.stream.flush().map_err(FrameError::Io)?;
        Ok(())
    }
}
