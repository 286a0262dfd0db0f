//! One connection: frames in, one request at a time, answers and progress out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cns_protocol::frame::{self, Body, FrameError, HeaderReader, LockedWriter};
use cns_protocol::rpc::{self, ErrorObject, Id, OutgoingAnswer, Progress, Request};
use cns_protocol::{ErrorKind, RpcError};
use interprocess::local_socket::tokio::Stream;
use rustix::net::RecvFlags;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Limits;
use crate::dispatch::{Begun, Caller, Encoded, OnHangUp, ProgressSender, Router};
use crate::server::Quota;

/// Held by whatever must be over before the daemon may stop; the daemon waits until none is left.
pub type Alive = mpsc::Sender<std::convert::Infallible>;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The frame or the stream is broken.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame was begun and not completed in time.
    #[error("a frame was begun and not completed in time")]
    SlowFrame,
    /// The client does not take its answers.
    #[error("the client does not take its answers")]
    SlowReader,
    /// The request's work takes longer than its client may wait.
    #[error("a request took longer than it may; its work goes on alone")]
    SlowWork,
}

/// What every connection shares.
pub struct Service {
    /// The methods.
    pub router: Router,
    /// The limits.
    pub limits: Limits,
}

/// One connection.
pub struct Connection {
    stream: Stream,
    caller: Caller,
    quota: Arc<Quota>,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
    alive: Alive,
}

type Answer = Result<Encoded, RpcError>;

impl Connection {
    /// A connection whose peer is known; `stop` turns true when the daemon stops.
    pub fn new(
        stream: Stream,
        caller: Caller,
        quota: Arc<Quota>,
        service: Arc<Service>,
        stop: watch::Receiver<bool>,
        alive: Alive,
    ) -> Self {
        Self { stream, caller, quota, service, stop, alive }
    }

    /// Serves the connection to its end. What the peer did wrong is told to it where it can still listen.
    ///
    /// # Errors
    /// Why it ended, unless the client closed it or the daemon stops.
    pub async fn serve(mut self) -> Result<(), ConnectionError> {
        let outcome = self.requests().await;
        self.caller.logins.forget_all();
        self.caller.at_end.run();
        if let Err(error) = &outcome
            && let Some(last_word) = last_word(error)
        {
            // The peer may be gone; there is nobody else to tell.
            drop(self.send_answer(None, Err(last_word)).await);
        }
        outcome
    }

    async fn requests(&mut self) -> Result<(), ConnectionError> {
        while let Some(body) = self.next_frame().await? {
            self.request(body).await?;
        }
        Ok(())
    }

    /// The next frame; `None` when the client closed the connection or the daemon stops between two frames.
    async fn next_frame(&mut self) -> Result<Option<Body>, ConnectionError> {
        let mut first = [0];
        let mut reader = &self.stream;
        let read = tokio::select! {
            read = reader.read(&mut first) => read.map_err(FrameError::Io)?,
            () = stopped(&mut self.stop) => return Ok(None),
        };
        if read == 0 {
            return Ok(None);
        }
        // Not read from before its user has a share left: a flood waits in its own socket.
        tokio::select! {
            () = self.quota.wait() => {}
            () = stopped(&mut self.stop) => return Ok(None),
        }
        let rest = read_rest(&self.stream, first);
        match timeout(self.service.limits.frame_time(), rest).await {
            Ok(body) => {
                let body = body?;
                self.quota.took(body.bytes().len());
                Ok(Some(body))
            }
            Err(_) => Err(ConnectionError::SlowFrame),
        }
    }

    /// Handles one request to its answer.
    async fn request(&self, body: Body) -> Result<(), ConnectionError> {
        let (sender, mut progress) = ProgressSender::channel();
        let request = match Request::read(body.bytes()) {
            Ok(request) => request,
            Err(error) => return self.send_answer(None, Err(error)).await,
        };
        let id = request.id.clone();
        let begun = self.service.router.begin(&self.caller, &body, &request, sender);
        let (uid, method) = (self.caller.peer.uid, printable(&request.method));
        match &begun {
            Ok(_) => tracing::debug!(uid, method, "begun"),
            Err(error) => tracing::info!(uid, method, kind = ?error.kind, "refused"),
        }
        // The frame, with the PIN that it may hold, is wiped before the work begins.
        drop(body);
        let answer = match begun {
            Ok(begun) => match self.quota.begin() {
                Some(place) => self.work(begun, place, id.as_ref(), &mut progress).await?,
                None => Some(Err(too_many_at_work())),
            },
            Err(error) => Some(Err(error)),
        };
        match answer {
            Some(answer) => self.send_answer(id, answer).await,
            None => Ok(()),
        }
    }

    /// Runs a request's work as a task of its own: it must be finished even when its client goes away or it takes
    /// too long, and its panic must not be the connection's. `place` is its user's until it is over, connected or not.
    /// `None` when it was dropped.
    async fn work(
        &self,
        begun: Begun,
        place: OwnedSemaphorePermit,
        id: Option<&Id>,
        progress: &mut mpsc::Receiver<Progress>,
    ) -> Result<Option<Answer>, ConnectionError> {
        let Begun { work, on_hang_up } = begun;
        let alive = self.alive.clone();
        let mut task = tokio::spawn(async move {
            let answer = work.await;
            drop((place, alive));
            answer
        });
        let deadline = Instant::now() + self.service.limits.request_time();
        let mut stop = self.stop.clone();
        let mut hung_up = false;
        loop {
            tokio::select! {
                biased;
                Some(report) = progress.recv() => self.send_progress(id, report).await?,
                outcome = &mut task => return Ok(Some(flatten(outcome))),
                () = gone(&self.stream), if !hung_up => {
                    hung_up = true;
                    self.caller.logins.forget_all();
                    if on_hang_up == OnHangUp::Drop {
                        return Ok(drop_work(&task));
                    }
                }
                () = stopped(&mut stop), if on_hang_up == OnHangUp::Drop => {
                    return Ok(drop_work(&task));
                }
                () = sleep_until(deadline) => return Err(ConnectionError::SlowWork),
            }
        }
    }

    async fn send_progress(&self, id: Option<&Id>, report: Progress) -> Result<(), ConnectionError> {
        #[derive(Serialize)]
        struct Notification<'a> {
            jsonrpc: &'static str,
            method: &'static str,
            params: &'a Progress,
        }
        let request = id.map(|id| match id {
            Id::Number(number) => number.to_string(),
            Id::Text(text) => text.clone(),
        });
        let params = &Progress { request, ..report };
        self.send(&Notification { jsonrpc: "2.0", method: rpc::PROGRESS, params }).await
    }

    async fn send_answer(&self, id: Option<Id>, answer: Answer) -> Result<(), ConnectionError> {
        if matches!(answer, Ok(Encoded::Locked(_))) {
            return self.send_locked(&outgoing(id, answer)).await;
        }
        match self.send(&outgoing(id.clone(), answer)).await {
            Err(ConnectionError::Frame(FrameError::BodyTooLong(length))) => {
                tracing::error!(length, "an answer is too long for a frame");
                let error = RpcError::new(ErrorKind::Internal, "the answer is too long for a frame")
                    .hint("Ask for less at a time, where the method can be asked so");
                self.send(&outgoing(id, Err(error))).await
            }
            sent => sent,
        }
    }

    /// Sends a message that holds a secret: it is in locked memory only.
    async fn send_locked(&self, message: &impl Serialize) -> Result<(), ConnectionError> {
        let mut writer = LockedWriter::new().map_err(FrameError::Memory)?;
        serde_json::to_writer(&mut writer, message)
            .map_err(|error| FrameError::Io(io::Error::other(error)))?;
        let time = self.service.limits.frame_time();
        let header = frame::header(writer.written().len());
        self.quota.took(writer.written().len());
        write(&self.stream, header.as_bytes(), time).await?;
        write(&self.stream, writer.written(), time).await
    }

    async fn send(&self, message: &impl Serialize) -> Result<(), ConnectionError> {
        let bytes = framed(message)?;
        self.quota.took(bytes.len());
        write(&self.stream, &bytes, self.service.limits.frame_time()).await
    }
}

fn too_many_at_work() -> RpcError {
    RpcError::new(ErrorKind::Busy, "your Unix user has as many requests at work as it may")
        .hint("Wait for the answer of one, or try again later")
}

fn outgoing(id: Option<Id>, answer: Answer) -> OutgoingAnswer<Encoded> {
    let (result, error) = match answer {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(ErrorObject::from(error))),
    };
    OutgoingAnswer { jsonrpc: "2.0", id, result, error }
}

/// Returns when the daemon stops.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the daemon.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Sends one message; a client that does not take it in time is given up.
///
/// # Errors
/// When the stream fails or the client is too slow.
pub async fn send(stream: &Stream, message: &impl Serialize, time: Duration) -> Result<(), ConnectionError> {
    write(stream, &framed(message)?, time).await
}

/// A message as it goes out.
fn framed(message: &impl Serialize) -> Result<Vec<u8>, ConnectionError> {
    let body = serde_json::to_vec(message).map_err(|error| FrameError::Io(io::Error::other(error)))?;
    if body.len() > frame::MAX_BODY {
        return Err(FrameError::BodyTooLong(body.len()).into());
    }
    let mut bytes = frame::header(body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

async fn write(stream: &Stream, bytes: &[u8], time: Duration) -> Result<(), ConnectionError> {
    let mut writer = stream;
    match timeout(time, writer.write_all(bytes)).await {
        Ok(written) => Ok(written.map_err(FrameError::Io)?),
        Err(_) => Err(ConnectionError::SlowReader),
    }
}

/// The rest of a frame whose first byte was read.
async fn read_rest(mut stream: &Stream, first: [u8; 1]) -> Result<Body, FrameError> {
    let mut header = HeaderReader::default();
    let [mut byte] = first;
    let length = loop {
        if let Some(length) = header.push(byte)? {
            break length;
        }
        byte = stream.read_u8().await?;
    };
    let mut body = Body::zeroed(length)?;
    stream.read_exact(body.bytes_mut()).await?;
    Ok(body)
}

/// Returns when the other end has closed the connection or will send nothing more; never, once it has sent more.
async fn gone(stream: &Stream) {
    let Stream::UdSocket(socket) = stream;
    let socket = socket.inner();
    let peek = || {
        let mut byte = [0_u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        Ok(rustix::net::recv(socket, byte.as_mut_slice(), flags).map(|(length, _)| length)?)
    };
    match socket.async_io(Interest::READABLE, peek).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

fn drop_work(task: &JoinHandle<Answer>) -> Option<Answer> {
    task.abort();
    None
}

fn flatten(outcome: Result<Answer, JoinError>) -> Answer {
    outcome.unwrap_or_else(|error| {
        tracing::error!(panicked = error.is_panic(), "a request's work ended without an answer");
        Err(RpcError::new(ErrorKind::Internal, "the daemon failed; its log knows more"))
    })
}

/// A name from a client as it may stand in the log.
fn printable(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_default).collect()
}

/// What the client is told before the connection is closed, where it makes sense.
fn last_word(error: &ConnectionError) -> Option<RpcError> {
    let kind = match error {
        ConnectionError::Frame(FrameError::Header | FrameError::HeaderTooLong) => ErrorKind::ParseError,
        ConnectionError::Frame(FrameError::BodyTooLong(_)) => ErrorKind::InvalidRequest,
        ConnectionError::Frame(FrameError::Memory(_)) => ErrorKind::Busy,
        ConnectionError::SlowFrame | ConnectionError::SlowWork => ErrorKind::TimedOut,
        ConnectionError::Frame(FrameError::Closed | FrameError::Io(_)) | ConnectionError::SlowReader => {
            return None;
        }
    };
    Some(RpcError::new(kind, error.to_string()).hint("The connection is closed; connect again"))
}

#[cfg(test)]
mod tests;
