//! The way to the national system (§8): a trait, and the one implementation that speaks HTTP.

use std::future::Future;
use std::pin::Pin;

use cns_protocol::national::FirstPart;
use serde::{Deserialize, Serialize};

use crate::authority::NetworkHelper;
use crate::authority::helper::NetworkError;

/// The longest reply that is read.
const LONGEST_REPLY: usize = 64 * 1024;

/// A request of ours, as it goes out. Sent again after a failure, byte for byte: `id` lets the other side tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The idempotency key, 32 hexadecimal digits.
    pub id: String,
    /// What is asked for, and for whom.
    #[serde(flatten)]
    pub request: cns_protocol::national::Request,
    /// The counter that asks.
    pub counter: String,
}

/// What the national system says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reply {
    /// The request's key.
    pub id: String,
    /// Whether it was accepted.
    pub accepted: bool,
    /// Why, or what follows.
    #[serde(default)]
    pub message: String,
    /// The credentials' first part, to be printed; the second goes to the holder by mail from where the card is from.
    #[serde(default)]
    pub first_part: Option<FirstPart>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// It may be there later: the request is sent again.
    #[error("the national system cannot be reached: {0}")]
    Passing(String),
    /// The request will never be accepted.
    #[error("the national system refuses the request: {0}")]
    Refused(String),
}

/// The work of one delivery.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Reply, ConnectorError>> + Send + 'a>>;

/// A way to the national system.
///
/// The queue calls [`Connector::deliver`] until it gives a reply or [`ConnectorError::Refused`], also after a restart: at least
/// once. The other side must do the same thing once for one [`Outgoing::id`], and give the same reply again.
pub trait Connector: Send + Sync {
    /// Delivers one request.
    fn deliver<'a>(&'a self, request: &'a Outgoing) -> Delivery<'a>;
}

/// JSON over HTTP or HTTPS, through the daemon's network helper and by the way that `[network]` names.
pub struct HttpConnector {
    url: String,
    network: NetworkHelper,
}

impl HttpConnector {
    /// A connector that posts to `url`.
    ///
    /// # Errors
    /// When it is no address of HTTP, or one of HTTPS without roots to trust.
    pub fn new(url: &str, network: NetworkHelper) -> Result<Self, NetworkError> {
        network.check(url)?;
        Ok(Self { url: url.to_owned(), network })
    }
}

impl Connector for HttpConnector {
    fn deliver<'a>(&'a self, request: &'a Outgoing) -> Delivery<'a> {
        Box::pin(async move {
            let body =
                serde_json::to_vec(request).map_err(|error| ConnectorError::Refused(error.to_string()))?;
            match self.network.post(&self.url, "application/json", &body).await {
                Ok(body) => read(&body, &request.id),
                // Too many requests, and a time-out of the server's, pass as well.
                Err(error) if error.is_passing() || matches!(error, NetworkError::Status(408 | 429)) => {
                    Err(ConnectorError::Passing(error.to_string()))
                }
                // What is set right on this side, or on the way, is no word of the national system.
                Err(
                    error @ (NetworkError::Start(_)
                    | NetworkError::Untrusted(_)
                    | NetworkError::Unconnected { .. }),
                ) => Err(ConnectorError::Passing(error.to_string())),
                Err(error) => Err(ConnectorError::Refused(error.to_string())),
            }
        })
    }
}

fn read(body: &[u8], id: &str) -> Result<Reply, ConnectorError> {
    let nonsense = || ConnectorError::Passing("it answers something else than a reply".to_owned());
    if body.len() > LONGEST_REPLY {
        return Err(nonsense());
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|_| nonsense())?;
    let digits = |text: &String| text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let part_fits = reply
        .first_part
        .as_ref()
        .is_none_or(|part| part.pin.as_ref().is_none_or(digits) && part.puk.as_ref().is_none_or(digits));
    if reply.id == id && part_fits { Ok(reply) } else { Err(nonsense()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_to_the_request_is_one() {
        let good = br#"{"id":"a","accepted":true,"message":"m","first_part":{"puk":"12345678"}}"#;
        assert_eq!(read(good, "a").unwrap().first_part.unwrap().puk.as_deref(), Some("12345678"));
        assert!(read(good, "b").is_err());
        for wrong in [
            br#"{"id":"a"}"#.as_slice(),
            b"<html>",
            br#"{"id":"a","accepted":true,"first_part":{"puk":"x"}}"#,
        ] {
            assert!(matches!(read(wrong, "a"), Err(ConnectorError::Passing(_))));
        }
        assert!(read(&vec![b' '; LONGEST_REPLY + 1], "a").is_err());
    }

    #[test]
    fn an_address_that_could_not_be_reached_is_refused_at_once() {
        let refusal = |url| HttpConnector::new(url, NetworkHelper::default()).err();
        assert!(matches!(refusal("https://ts.example/requests"), Some(NetworkError::NoRoots(_))));
        assert!(matches!(refusal("ftp://ts.example/"), Some(NetworkError::Url(_))));
        assert!(refusal("http://ts.example/requests").is_none());
    }
}
