//! What every command needs: the connection and the way answers are shown.

use std::path::{Path, PathBuf};

use cns_protocol::client::ClientError;
use cns_protocol::reader::ReaderState;
use cns_protocol::rpc::Progress;
use cns_protocol::{Client, ErrorKind, Method, RpcError, reader};
use serde::Serialize;

use crate::error::CliError;
use crate::output;

/// The connection and the form of answers.
pub(crate) struct Context {
    socket: PathBuf,
    client: Option<Client>,
    /// Whether answers are JSON.
    pub(crate) json: bool,
}

/// A reader for work with a PIN.
pub(crate) struct Seat {
    pub(crate) reader: String,
    /// The insertion that the person sees now.
    pub(crate) insertion: Option<u64>,
    /// Whether the PIN can be typed on the reader.
    pub(crate) has_pin_pad: bool,
}

impl Context {
    pub(crate) fn new(socket: Option<PathBuf>, json: bool) -> Self {
        Self { socket: socket.unwrap_or_else(Client::default_path), client: None, json }
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    fn client(&mut self) -> Result<&mut Client, CliError> {
        if self.client.is_none() {
            self.client = Some(Client::connect(&self.socket)?);
        }
        self.client.as_mut().ok_or_else(|| {
            ClientError::Refused(RpcError::new(ErrorKind::Internal, "there is no connection")).into()
        })
    }

    /// Calls the daemon.
    pub(crate) fn call<M: Method>(&mut self, request: &M) -> Result<M::Answer, CliError> {
        Ok(self.client()?.call(request)?)
    }

    /// Calls the daemon and passes on its progress.
    pub(crate) fn call_with_progress<M: Method>(
        &mut self,
        request: &M,
        progress: impl FnMut(&Progress),
    ) -> Result<M::Answer, CliError> {
        Ok(self.client()?.call_with_progress(request, progress)?)
    }

    /// The reader that was named, else the only one with a card in it.
    pub(crate) fn reader(&mut self, named: Option<String>) -> Result<String, CliError> {
        self.place(named).map(|(reader, _)| reader)
    }

    /// The reader that was named, else the only one with a card in it, and the insertion that the person sees now: a
    /// PIN that is typed afterwards is not for a card that was put in meanwhile.
    pub(crate) fn place(&mut self, named: Option<String>) -> Result<(String, Option<u64>), CliError> {
        self.seat(named).map(|seat| (seat.reader, seat.insertion))
    }

    /// As [`Context::place`], with what else matters for a PIN.
    pub(crate) fn seat(&mut self, named: Option<String>) -> Result<Seat, CliError> {
        let readers = self.call(&reader::List {})?.readers;
        if let Some(named) = named {
            let found = readers.iter().find(|reader| reader.name == named);
            let insertion = found.map(|reader| reader.insertion);
            let has_pin_pad = found.is_some_and(|reader| reader.pin_pad);
            return Ok(Seat { reader: named, insertion, has_pin_pad });
        }
        let mut with_card = readers.into_iter().filter(|r| !matches!(r.state, ReaderState::Empty));
        match (with_card.next(), with_card.next()) {
            (Some(only), None) => {
                Ok(Seat { reader: only.name, insertion: Some(only.insertion), has_pin_pad: only.pin_pad })
            }
            (None, _) => Err(CliError::WhichReader("no reader has a card in it: insert the card".into())),
            (Some(_), Some(_)) => {
                Err(CliError::WhichReader("more than one reader has a card: name one with --reader".into()))
            }
        }
    }

    /// Shows an answer: as JSON when asked for, else by `text`.
    pub(crate) fn show<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if self.json { output::json(answer) } else { output::text(&text(answer)) }
    }

    /// Reports an error on standard error, as JSON when asked for.
    pub(crate) fn report(&self, error: &CliError) {
        output::error(error, self.json);
    }
}
