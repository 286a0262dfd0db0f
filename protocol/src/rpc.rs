//! The JSON-RPC 2.0 envelope: requests, answers and progress notifications.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ErrorKind, RpcError};

/// A request's identifier: a number or a short string, given back as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number, as this project's own client uses.
    Number(i64),
    /// A string.
    Text(String),
}

/// A request as it is read: the parameters stay where they are in the frame until the method is known.
#[derive(Deserialize)]
pub struct Request<'a> {
    /// Must be `2.0`.
    pub jsonrpc: &'a str,
    /// Absent in a notification; the daemon takes none from clients.
    pub id: Option<Id>,
    /// The method's name.
    #[serde(borrow)]
    pub method: std::borrow::Cow<'a, str>,
    /// The parameters, by name.
    #[serde(borrow)]
    pub params: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Reads a request from a frame's body.
    ///
    /// # Errors
    /// [`ErrorKind::ParseError`] when it is not JSON, [`ErrorKind::InvalidRequest`] when it is not a request. Neither
    /// repeats any of the body, which may hold a secret.
    pub fn read(body: &'a [u8]) -> Result<Self, RpcError> {
        let request: Request<'a> = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                RpcError::new(ErrorKind::InvalidRequest, "the message is not a JSON-RPC 2.0 request")
            } else {
                RpcError::new(ErrorKind::ParseError, "the message is not JSON")
            }
        })?;
        if request.jsonrpc != "2.0" {
            return Err(RpcError::new(ErrorKind::InvalidRequest, "`jsonrpc` must be \"2.0\""));
        }
        if request.id.is_none() {
            return Err(RpcError::new(ErrorKind::InvalidRequest, "a request needs an `id`"));
        }
        Ok(request)
    }

    /// Reads the parameters of a method.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidParams`], naming the place and not the value.
    pub fn params<M: crate::Method>(&self) -> Result<M, RpcError> {
        let text = self.params.map_or("{}", RawValue::get);
        // A digit written as an escape sequence would be unescaped into ordinary memory before it could be refused.
        if M::CARRIES_SECRET && text.contains("\\u003") {
            let message =
                format!("the parameters of {} must not contain digits as escape sequences", M::NAME);
            return Err(RpcError::new(ErrorKind::InvalidParams, message));
        }
        serde_json::from_str(text).map_err(|error| {
            let mut message = format!("the parameters do not fit {}", M::NAME);
            // serde's own sentence may quote the value, so it is passed on only where no secret can be in it.
            if !M::CARRIES_SECRET {
                message = format!("{message}: {error}");
            }
            RpcError::new(ErrorKind::InvalidParams, message).hint("See `rpc.discover` for the parameters")
        })
    }
}

/// A request as it is written.
#[derive(Serialize)]
pub struct OutgoingRequest<'a, M> {
    /// `2.0`.
    pub jsonrpc: &'static str,
    /// This request's number.
    pub id: i64,
    /// The method's name.
    pub method: &'static str,
    /// The parameters.
    pub params: &'a M,
}

/// The error member of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorObject {
    /// [`ErrorKind::code`].
    pub code: i32,
    /// The sentence.
    pub message: String,
    /// The whole error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RpcError>,
}

impl From<RpcError> for ErrorObject {
    fn from(error: RpcError) -> Self {
        Self { code: error.kind.code(), message: error.message.clone(), data: Some(error) }
    }
}

impl From<ErrorObject> for RpcError {
    fn from(object: ErrorObject) -> Self {
        object.data.unwrap_or_else(|| RpcError::new(ErrorKind::Unknown, object.message))
    }
}

/// An answer as the daemon writes it.
#[derive(Serialize)]
pub struct OutgoingAnswer<T> {
    /// `2.0`.
    pub jsonrpc: &'static str,
    /// The request's identifier; null when it could not be read.
    pub id: Option<Id>,
    /// The answer, on success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<T>,
    /// The error, otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
}

/// A message as a client reads it: an answer, or a notification when `method` is there.
#[derive(Deserialize)]
pub struct Incoming<'a> {
    /// The request's identifier, in answers.
    pub id: Option<Id>,
    /// The notification's name.
    pub method: Option<String>,
    /// The notification's parameters.
    #[serde(borrow)]
    pub params: Option<&'a RawValue>,
    /// The answer.
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    /// The error.
    pub error: Option<ErrorObject>,
}

/// The name of the progress notification.
pub const PROGRESS: &str = "progress";

/// How far a long request has come; sent as notification `progress` before its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Progress {
    /// The request that is being worked on; filled in by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The step, a stable name such as `generate-key-pair`.
    pub step: String,
    /// The manual's paragraph that the step belongs to, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paragraph: Option<String>,
    /// What is being done, in English.
    pub message: String,
    /// Parts done.
    pub done: u32,
    /// Parts in all; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
}

/// APDUs and bytes exchanged with a chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Traffic {
    /// Command APDUs sent: round trips to the chip.
    pub commands: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received, status words included.
    pub bytes_received: u64,
}
