//! Whether the daemon's readers have changed, without asking it.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::Stream;
use interprocess::local_socket::traits::Stream as _;

use crate::client::ClientError;
use crate::frame::FrameError;
use crate::{Client, reader};

/// How long the daemon is silent at most, in milliseconds: the longest that `reader.wait` takes.
const LONGEST: u32 = 60_000;

/// A connection that is to become a [`Watch`].
pub struct Watcher(Client);

/// A `reader.wait` on a connection of its own, whose answer is only looked out for. As long as nothing comes, what the
/// client knows is what the daemon knows.
pub struct Watch(Stream);

impl Watcher {
    /// Connects, before the client asks for what the watch will be about: if the daemon that it then asks is another
    /// one, this connection has ended.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).map(Self)
    }

    /// Begins to watch for anything that differs from `change`, the counter of [`reader::Readers`]; takes the
    /// daemon's time to read a request, up to `timeout`, but waits for no answer.
    ///
    /// # Errors
    /// When the daemon is gone or does not read.
    pub fn watch(mut self, change: u64, timeout: Duration) -> Result<Watch, ClientError> {
        self.0.set_timeout(Some(timeout))?;
        let stream = self.0.ask_only(&reader::Wait { change, timeout_ms: LONGEST })?;
        stream.set_nonblocking(true).map_err(FrameError::Io)?;
        Ok(Watch(stream))
    }
}

impl Watch {
    /// Whether nothing has come: no change, no end of the daemon, and no end of the time. Takes one call of the system
    /// and no answer. Once false, the watch is of no more use.
    pub fn is_silent(&mut self) -> bool {
        loop {
            match self.0.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
            }
        }
    }
}
