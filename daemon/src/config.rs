//! The configuration file (TOML). Every key has a default; unknown keys are refused, so that a typing error does not
//! silently leave a rule out.

mod authority;
mod outside;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use cns_protocol::Role;
use cns_protocol::operator::CounterKind;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use self::authority::{AuthorityConfig, NetworkConfig, Offline, Protection, RequestForm, StatusConfig};
pub use self::outside::{
    MailConfig, NationalConfig, OrdersConfig, PukDeliveryConfig, SignerEntry, UserCodesConfig,
};
use crate::reader::ReaderSpec;

/// Where the configuration is looked for unless told otherwise; missing there means defaults.
pub const DEFAULT_PATH: &str = "/etc/cnsd/cnsd.toml";

/// Where the daemon keeps its state unless told otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/cnsd";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what the daemon understands.
    #[error("the configuration {path} cannot be used: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file's values do not fit together.
    #[error("the configuration {path} cannot be used: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The socket's path; `--socket` wins.
    pub socket: PathBuf,
    /// The group that may connect: the socket gets mode 0660 and this group. See [`crate::server`].
    pub socket_group: String,
    /// The readers: `pcsc` for all that pcscd has, `vpcd:HOST:PORT` or `vpcd:/path` for a virtual card's listener.
    #[serde(deserialize_with = "readers")]
    pub readers: Vec<ReaderSpec>,
    /// The filter of the log on standard error, for instance `info` or `cnsd=debug`.
    pub log: String,
    /// Who has which role.
    pub access: Vec<AccessRule>,
    /// Where secrets are kept.
    pub custody: CustodyConfig,
    /// The certification authority; absent: no signature certificates here.
    pub authority: Option<AuthorityConfig>,
    /// The way to the authority.
    pub network: NetworkConfig,
    /// How certificates' standing is known; absent: it is not looked at.
    pub status: Option<StatusConfig>,
    /// How operators' cards are judged.
    pub operators: OperatorsConfig,
    /// The registry of operators (§9.3.2-2).
    #[serde(rename = "operator")]
    pub operator: Vec<OperatorEntry>,
    /// How often user codes may be tried.
    pub user_codes: UserCodesConfig,
    /// PUKs for their holders (§6.3-PUK); absent: none is delivered.
    pub puk_delivery: Option<PukDeliveryConfig>,
    /// Interoperability with other regions (§8); absent: none.
    pub national: Option<NationalConfig>,
    /// Where second parts of credentials go; absent: none are given out.
    pub mail: Option<MailConfig>,
    /// CMS systems whose sealed orders are carried out; absent: none.
    pub orders: Option<OrdersConfig>,
    /// What the counter may do, and what stands on its sheets.
    pub counter: CounterConfig,
    /// How signature areas are made.
    pub signature_area: SignatureAreaConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// Limits on what clients may take.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: cns_protocol::DEFAULT_SOCKET.into(),
            socket_group: "cns".into(),
            readers: vec![ReaderSpec::Pcsc],
            log: "info".into(),
            access: AccessRule::defaults(),
            custody: CustodyConfig::default(),
            authority: None,
            network: NetworkConfig::default(),
            status: None,
            operators: OperatorsConfig::default(),
            operator: Vec::new(),
            user_codes: UserCodesConfig::default(),
            puk_delivery: None,
            national: None,
            mail: None,
            orders: None,
            counter: CounterConfig::default(),
            signature_area: SignatureAreaConfig::default(),
            audit: AuditConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// Readers are written as [`ReaderSpec`] reads them.
fn readers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ReaderSpec>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// Gives a role to Unix users and groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// The role.
    pub role: Role,
    /// Names or numbers of users.
    #[serde(default)]
    pub users: Vec<String>,
    /// Names or numbers of groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Everybody on this machine.
    #[serde(default)]
    pub everyone: bool,
}

impl AccessRule {
    /// One group per role, and root for the administrator. Staff can do what a user can. The roles of other systems
    /// (`web`, `call-centre`, `issuing-body`, `national-system`) belong to nobody until the configuration gives them.
    fn defaults() -> Vec<AccessRule> {
        let rule = |role, users: &[&str], groups: &[&str]| AccessRule {
            role,
            users: users.iter().map(ToString::to_string).collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
            everyone: false,
        };
        vec![
            rule(Role::User, &["root"], &["cns", "cns-counter", "cns-custodian", "cns-auditor"]),
            rule(Role::Counter, &[], &["cns-counter"]),
            rule(Role::Custodian, &[], &["cns-custodian"]),
            rule(Role::Auditor, &[], &["cns-auditor"]),
            rule(Role::Admin, &["root"], &[]),
        ]
    }
}

/// Where sealed secrets and the key that seals them are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustodyConfig {
    /// The database's address; a relative SQLite path is relative to the state folder.
    pub database: String,
    /// The file of the key-encryption key; relative to the state folder.
    pub key_file: PathBuf,
    /// Whether a second person must confirm before lost or damaged envelopes are void.
    pub void_four_eyes: bool,
    /// Whether a second person must confirm before a key is replaced.
    pub rotate_four_eyes: bool,
    /// The stock report says that it is low when fewer envelopes are available.
    pub low_stock: u64,
    /// And so it says of a counter or an operator who has fewer.
    pub low_stock_holder: u64,
    /// The largest import file in MiB.
    pub import_mib: u32,
    /// The HSM that has the key-encryption key instead.
    pub hsm: Option<HsmConfig>,
}

/// A PKCS#11 HSM for the key-encryption key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HsmConfig {
    /// Its PKCS#11 library, which is loaded into the daemon.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The file of the user's PIN; readable by root only. A trailing newline does not count.
    pub pin_file: PathBuf,
    /// The key's label.
    #[serde(default = "default_hsm_key")]
    pub key: String,
}

fn default_hsm_key() -> String {
    "cnsd".into()
}

impl Default for CustodyConfig {
    fn default() -> Self {
        Self {
            database: "sqlite:custody.db".into(),
            key_file: "custody.key".into(),
            hsm: None,
            void_four_eyes: false,
            rotate_four_eyes: false,
            low_stock: 100,
            low_stock_holder: 10,
            import_mib: 1024,
        }
    }
}

impl CustodyConfig {
    /// [`CustodyConfig::import_mib`] in bytes.
    #[must_use]
    pub fn largest_import(&self) -> u64 {
        u64::from(self.import_mib) << 20
    }
}

/// How operators' cards are judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorsConfig {
    /// PEM bundle of the authorities whose authentication certificates operators may hold.
    pub trust_anchors: PathBuf,
    /// The authorities' revocation list, DER. Absent: revocation is not checked, and the log says so at the start.
    pub crl: Option<PathBuf>,
    /// How long a session lasts at most, in minutes.
    pub session_minutes: u32,
}

impl Default for OperatorsConfig {
    fn default() -> Self {
        Self { trust_anchors: "/etc/cnsd/operators.pem".into(), crl: None, session_minutes: 480 }
    }
}

/// An operator in the registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorEntry {
    /// The identifier.
    pub id: String,
    /// The name.
    pub name: String,
    /// SHA-256 of the authentication certificate on the operator's card, hexadecimal.
    pub certificate_sha256: String,
    /// The counter.
    pub counter: String,
    /// Its kind (§3.4).
    pub counter_kind: CounterKind,
}

/// What the counter may do, and what stands on the sheets that citizens are given (§2.4).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CounterConfig {
    /// The issuing body.
    pub issuing_body: String,
    /// How it is reached, a line each.
    pub contacts: Vec<String>,
    /// Whether signature certificates are renewed: rule set 1.2 names that and has no procedure for it (X2).
    pub renewal: bool,
    /// What tells one household from another where a card reader is asked for, as operators read it; empty: it is not asked
    /// (X17).
    pub household_key: String,
}

impl Default for CounterConfig {
    fn default() -> Self {
        Self {
            issuing_body: "Regione Autonoma della Sardegna".into(),
            contacts: Vec::new(),
            renewal: false,
            household_key: String::new(),
        }
    }
}

/// How signature areas are made at counters.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignatureAreaConfig {
    /// Where the area's PIN comes from (X1).
    pub pin: AreaPin,
}

/// Where the signature area's PIN comes from (X1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AreaPin {
    /// It is the card's at first: the envelope's, or the one that the holder types.
    #[default]
    Envelope,
    /// It is in an envelope of its own.
    OwnEnvelope,
}

/// The audit log's files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The size in MiB at which the log's file is closed and a new one begun; 0: never.
    pub rotate_mib: u32,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { rotate_mib: 64 }
    }
}

impl AuditConfig {
    /// [`AuditConfig::rotate_mib`] in bytes.
    #[must_use]
    pub fn rotate_at(&self) -> Option<u64> {
        (self.rotate_mib > 0).then_some(u64::from(self.rotate_mib) * 1024 * 1024)
    }
}

/// Limits on what clients may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time.
    pub connections: u32,
    /// Seconds within which a frame that was begun must be complete, and an answer must be taken.
    pub frame_seconds: u32,
    /// Seconds that a request may take before its client is told so. The work itself is never cut.
    pub request_seconds: u32,
    /// Requests at a time that one Unix user may have at work.
    pub user_requests_in_flight: u32,
    /// Requests a second of one Unix user; four seconds' share may come at once.
    pub user_requests_per_second: u32,
    /// KiB a second of one Unix user's requests, likewise.
    pub user_kib_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            frame_seconds: 10,
            request_seconds: 300,
            user_requests_in_flight: 64,
            user_requests_per_second: 2000,
            user_kib_per_second: 32 * 1024,
        }
    }
}

impl Limits {
    /// [`Limits::frame_seconds`] as a duration.
    #[must_use]
    pub fn frame_time(&self) -> Duration {
        Duration::from_secs(self.frame_seconds.into())
    }

    /// [`Limits::request_seconds`] as a duration.
    #[must_use]
    pub fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds.into())
    }
}

impl Config {
    /// Reads the file that was named, or the default one; only the default one may be missing.
    ///
    /// # Errors
    /// When the file cannot be read or used.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.into(), source }),
        }
    }

    /// Reads the text of a configuration; `path` is for the error's sentence.
    ///
    /// # Errors
    /// When the text cannot be used.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Config = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.into(), source: Box::new(source) })?;
        config.check().map_err(|reason| ConfigError::Value { path: path.into(), reason })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let limits = &self.limits;
        let users =
            [limits.user_requests_in_flight, limits.user_requests_per_second, limits.user_kib_per_second];
        let all = [limits.connections, limits.frame_seconds, limits.request_seconds];
        if users.into_iter().chain(all).any(|limit| limit == 0) {
            return Err("`limits` must not be zero".into());
        }
        if self.operators.session_minutes == 0 {
            return Err("`operators.session_minutes` must not be zero".into());
        }
        for (index, operator) in self.operator.iter().enumerate() {
            let digest = hex::decode(&operator.certificate_sha256).map_err(|_| ());
            if digest.map(|bytes| bytes.len()) != Ok(32) {
                return Err(format!(
                    "`certificate_sha256` of operator `{}` is not 64 hex digits",
                    operator.id
                ));
            }
            let same = |other: &OperatorEntry| {
                other.id == operator.id
                    || other.certificate_sha256.eq_ignore_ascii_case(&operator.certificate_sha256)
            };
            if self.operator.iter().skip(index.saturating_add(1)).any(same) {
                return Err(format!("operator `{}` or their certificate is there twice", operator.id));
            }
        }
        let codes = &self.user_codes;
        if codes.attempts < 2 || codes.lock_minutes == 0 || codes.peer_attempts_per_hour < 2 {
            return Err("`user_codes` needs two attempts and a minute at least".into());
        }
        for signer in self.orders.iter().flat_map(|orders| &orders.signer) {
            if hex::decode(&signer.certificate_sha256).map(|digest| digest.len()) != Ok(32) {
                return Err(format!("`certificate_sha256` of signer `{}` is not 64 hex digits", signer.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("test.toml"))
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.socket, Path::new("/run/cnsd/cnsd.sock"));
        assert_eq!(config.readers, [ReaderSpec::Pcsc]);
        assert_eq!(config.limits.connections, 256);
        assert!(config.access.iter().all(|rule| !rule.everyone));
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        assert!(matches!(Config::load(Some(Path::new("/nonexistent.toml"))), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in ["sockt = \"/x\"", "[limits]\nconection = 1", "[[access]]\nrole = \"user\"\ngroup = []"] {
            assert!(matches!(parse(text), Err(ConfigError::Parse { .. })), "{text}");
        }
    }

    #[test]
    fn readers_are_read_and_stay_on_loopback() {
        let config = parse(
            "readers = [\"pcsc\", \"vpcd:127.0.0.1:35963\", \"vpcd:/run/card.sock\", \"vpcd:[::1]:9\"]",
        )
        .unwrap();
        assert_eq!(config.readers.len(), 4);
        assert_eq!(config.readers[1].to_string(), "vpcd:127.0.0.1:35963");
        for bad in ["vpcd:0.0.0.0:1", "vpcd:192.0.2.1:35963", "usb", "vpcd:"] {
            assert!(parse(&format!("readers = [\"{bad}\"]")).is_err(), "{bad}");
        }
    }

    #[test]
    fn operators_are_checked() {
        let entry = |id: &str, digest: &str| {
            format!(
                "[[operator]]\nid = \"{id}\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{digest}\"\n\
                 counter = \"Sportello 1\"\ncounter_kind = \"pharmacy\"\n"
            )
        };
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        assert!(parse(&format!("{}{}", entry("a", &one), entry("b", &two))).is_ok());
        assert!(parse(&entry("a", "abcd")).is_err());
        assert!(parse(&format!("{}{}", entry("a", &one), entry("b", &one.to_uppercase()))).is_err());
        assert!(parse(&format!("{}{}", entry("a", &one), entry("a", &two))).is_err());
    }

    #[test]
    fn zero_limits_are_refused() {
        assert!(parse("[limits]\nconnections = 0").is_err());
        assert!(parse("[operators]\nsession_minutes = 0").is_err());
    }
}
