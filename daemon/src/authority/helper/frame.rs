//! What goes through the pipes: a JSON header and a body, each after its length (32 bits, big-endian).

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// More than any address and error text, and room for the roots of TLS.
pub(super) const HEADER_LIMIT: usize = 64 * 1024;
/// A PKIMessage with a chain is some kilobytes.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// What to do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Method {
    Get,
    Post { content_type: String },
}

/// The header of a request; its body follows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) milliseconds: u64,
    /// How long the answer's body may be.
    pub(super) limit: usize,
    /// How to get there; the same for all orders to one helper.
    #[serde(default)]
    pub(super) route: Route,
}

/// The way to the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    /// `http://HOST:PORT` of a proxy, which is asked to CONNECT.
    pub(super) proxy: Option<String>,
    /// Whose servers the proxy is not asked for.
    pub(super) no_proxy: Vec<String>,
    /// The only authorities that a server's certificate may come from, base64 of DER.
    pub(super) tls_roots: Vec<String>,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    TimedOut,
    TooLarge,
    Transport(String),
    Untrusted(String),
    Unconnected { status: Option<u16>, words: String },
}

/// The header of an answer; the response's body follows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Response { status: u16 },
    Fault(Fault),
}

/// A whole frame.
pub(super) fn encode(header: &impl Serialize, body: &[u8]) -> io::Result<Vec<u8>> {
    let header = serde_json::to_vec(header)?;
    let mut frame = Vec::with_capacity(header.len().saturating_add(body.len()).saturating_add(8));
    for part in [header.as_slice(), body] {
        let length = u32::try_from(part.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(part);
    }
    Ok(frame)
}

/// The next frame; nothing when the other end is closed.
pub(super) fn decode(source: &mut impl Read) -> io::Result<Option<(Order, Vec<u8>)>> {
    let header = match part(source, HEADER_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        header => header?,
    };
    let body = part(source, BODY_LIMIT)?;
    Ok(Some((serde_json::from_slice(&header)?, body)))
}

fn part(source: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_broken_ones_do_not() {
        let route = Route { proxy: None, no_proxy: Vec::new(), tls_roots: vec!["AA==".into()] };
        let url = "http://ca.example/".into();
        let order = Order { method: Method::Get, url, milliseconds: 5, limit: 9, route };
        let frame = encode(&order, b"body").unwrap();
        let (again, body) = decode(&mut frame.as_slice()).unwrap().unwrap();
        assert_eq!((again, body.as_slice()), (order, &b"body"[..]));
        assert!(decode(&mut &[][..]).unwrap().is_none());
        assert!(decode(&mut &[0xff; 64][..]).is_err());
        assert!(decode(&mut frame.get(..frame.len() - 1).unwrap()).is_err());
    }
}
