//! How a reader is written in the configuration: `pcsc`, `vpcd:HOST:PORT`, `vpcd:/path/to/socket`.

use std::fmt::{self, Display, Formatter};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use super::ReaderError;

/// A reader, or a source of readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderSpec {
    /// Every reader that pcscd has.
    Pcsc,
    /// The daemon's own listener for a card that speaks the vpcd protocol.
    Vpcd(VpcdAddress),
}

/// Where a vpcd listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VpcdAddress {
    /// A TCP port on loopback, with the host as it was written.
    Tcp(String, SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for ReaderSpec {
    type Err = ReaderError;

    fn from_str(text: &str) -> Result<Self, ReaderError> {
        if text == "pcsc" {
            return Ok(Self::Pcsc);
        }
        let Some(address) = text.strip_prefix("vpcd:").filter(|address| !address.is_empty()) else {
            return Err(ReaderError::Spec(text.to_owned()));
        };
        if address.starts_with('/') {
            return Ok(Self::Vpcd(VpcdAddress::Unix(PathBuf::from(address))));
        }
        let mut found = address.to_socket_addrs().map_err(|_| ReaderError::Spec(text.to_owned()))?;
        let loopback = found.find(|address| address.ip().is_loopback());
        let socket = loopback.ok_or_else(|| ReaderError::NotLoopback(text.to_owned()))?;
        Ok(Self::Vpcd(VpcdAddress::Tcp(address.to_owned(), socket)))
    }
}

impl Display for ReaderSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcsc => f.write_str("pcsc"),
            Self::Vpcd(VpcdAddress::Tcp(text, _)) => write!(f, "vpcd:{text}"),
            Self::Vpcd(VpcdAddress::Unix(path)) => write!(f, "vpcd:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ReaderSpec, VpcdAddress};
    use crate::reader::ReaderError;

    #[test]
    fn readers_are_read_as_written() {
        for text in ["pcsc", "vpcd:127.0.0.1:35963", "vpcd:/run/cnsd/card"] {
            assert_eq!(text.parse::<ReaderSpec>().unwrap().to_string(), text);
        }
        let Ok(ReaderSpec::Vpcd(VpcdAddress::Tcp(_, socket))) = "vpcd:[::1]:7".parse() else {
            panic!("no TCP address")
        };
        assert_eq!(socket.port(), 7);
    }

    #[test]
    fn other_machines_and_nonsense_are_refused() {
        assert!(matches!("vpcd:192.0.2.1:35963".parse::<ReaderSpec>(), Err(ReaderError::NotLoopback(_))));
        assert!(matches!("vpcd:0.0.0.0:35963".parse::<ReaderSpec>(), Err(ReaderError::NotLoopback(_))));
        for text in ["", "vpcd:", "vpcd:card", "PCSC", "vpcd:127.0.0.1"] {
            assert!(matches!(text.parse::<ReaderSpec>(), Err(ReaderError::Spec(_))), "{text}");
        }
    }
}
