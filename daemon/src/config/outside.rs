//! What systems outside and holders are served with: orders, user codes, PUKs, other regions.

use std::path::PathBuf;

use serde::Deserialize;

/// How often user codes may be tried (X11).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserCodesConfig {
    /// Wrong codes in a row for one holder, the last of which locks the holder.
    pub attempts: u32,
    /// For how long, in minutes. Each wrong code after it locks again, until a right one or a day's rest.
    pub lock_minutes: u32,
    /// Wrong codes an hour from one peer, the last of which locks the peer for an hour.
    pub peer_attempts_per_hour: u32,
}

impl Default for UserCodesConfig {
    fn default() -> Self {
        Self { attempts: 5, lock_minutes: 60, peer_attempts_per_hour: 200 }
    }
}

/// To whom PUKs are delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PukDeliveryConfig {
    /// PEM bundle of the authorities that certify cards.
    pub trust_anchors: PathBuf,
    /// The authorities' revocation list, DER. Absent: revocation is not checked, and the log says so at the start.
    #[serde(default)]
    pub crl: Option<PathBuf>,
    /// Whether the card's certificate must have keyEncipherment. A TS-CNS has digitalSignature alone, and its chip deciphers
    /// nevertheless.
    #[serde(default)]
    pub demand_key_encipherment: bool,
}

/// The national system.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NationalConfig {
    /// Where requests go out, `http://HOST:PORT/PATH`; absent: they only come in.
    pub url: Option<String>,
}

/// How mail leaves: by a folder or a command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// The sender's address.
    pub from: String,
    /// The folder that another program empties.
    #[serde(default)]
    pub spool: Option<PathBuf>,
    /// The program that takes a message on its standard input, and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
}

/// Whose sealed orders are carried out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdersConfig {
    /// PEM bundle of the authorities that certify signers.
    pub trust_anchors: PathBuf,
    /// The authorities' revocation list, DER. Absent: revocation is not checked, and the log says so at the start.
    #[serde(default)]
    pub crl: Option<PathBuf>,
    /// The signers.
    pub signer: Vec<SignerEntry>,
}

/// A CMS system that may give orders.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerEntry {
    /// Its name, which its orders' numbers belong to. The next certificate of the same system has the same name.
    pub name: String,
    /// SHA-256 of its certificate, hexadecimal.
    pub certificate_sha256: String,
}
