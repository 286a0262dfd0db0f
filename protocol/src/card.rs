//! `card.*`: the public contents of cards.

use serde::{Deserialize, Serialize};

use crate::certificate::Standing;
use crate::encoding::base64_bytes;
use crate::{Method, Role};

/// What a key and its certificate are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// The CNS login (TLS client authentication). A signature made with it has no legal value as a signature.
    Authentication,
    /// The qualified signature.
    Signature,
}

/// A certificate on the card, with the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Certificate {
    /// What it is for.
    pub key_use: KeyUse,
    /// The certificate, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub der: Vec<u8>,
    /// The subject, RFC 4514.
    pub subject: String,
    /// The issuer, RFC 4514.
    pub issuer: String,
    /// The serial number, hexadecimal.
    pub serial_number: String,
    /// Start of validity, RFC 3339 in UTC.
    pub not_before: String,
    /// End of validity, RFC 3339 in UTC.
    pub not_after: String,
    /// SHA-256 of the DER, hexadecimal.
    pub sha256: String,
    /// The RSA modulus' size in bits.
    pub key_bits: u32,
    /// Whether each use of the key wants the PIN anew (`CKA_ALWAYS_AUTHENTICATE`).
    pub pin_for_each_use: bool,
    /// How it stands with its authority, where that was asked for and a source is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CertificateStatus>,
}

/// Who told how a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StatusSource {
    /// An OCSP responder.
    Ocsp,
    /// The authority's revocation list.
    List,
}

/// How a certificate stands, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct CertificateStatus {
    /// How; absent when nobody told who is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Since when it is out of force, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is out of force, by the names of RFC 5280 §5.3.1, where that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who told; absent when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StatusSource>,
    /// When it was so, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Until when that counts. In the past when nobody could be asked since, and the certificate was out of force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// Why it is not known, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_unknown: Option<String>,
}

/// The certificate of a certification authority on the card. No key of the card belongs to it, and that it is there is no
/// reason to trust it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct AuthorityCertificate {
    /// The certificate, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub der: Vec<u8>,
    /// The subject, RFC 4514.
    pub subject: String,
    /// The subject's common name, or empty.
    pub common_name: String,
    /// The issuer, RFC 4514.
    pub issuer: String,
    /// The serial number, hexadecimal.
    pub serial_number: String,
    /// Start of validity, RFC 3339 in UTC.
    pub not_before: String,
    /// End of validity, RFC 3339 in UTC.
    pub not_after: String,
    /// SHA-256 of the DER, hexadecimal.
    pub sha256: String,
}

/// The holder as the card's public files say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Holder {
    /// Surname.
    pub surname: String,
    /// Given name.
    pub name: String,
    /// Codice fiscale.
    pub codice_fiscale: String,
    /// Date of birth, `YYYY-MM-DD`; empty when the card's field is.
    pub birth_date: String,
    /// `M`, `F` or empty.
    pub sex: String,
    /// Cadastral code of the place of birth.
    pub birth_place: String,
}

/// What lies at a place of the card where a certificate might be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlaceContent {
    /// No such file or application.
    Absent,
    /// A file without content: all zeros.
    Empty,
    /// A certificate (DER) that is not used: the detail says why.
    Certificate,
    /// A certificate in a maker's packing, which cannot be read.
    Container,
    /// A file that may not be read without a PIN.
    Protected,
    /// An application, which was not looked into.
    Application,
    /// Something else.
    Other,
}

/// What was found where a certificate might be, beside [`Card::certificates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The file's path, behind its application's identifier where it is not in the usual one.
    pub place: String,
    /// What lies there.
    pub content: PlaceContent,
    /// The same in words.
    pub detail: String,
}

/// A CNS and its public contents, read once per insertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Card {
    /// The reader that it is in.
    pub reader: String,
    /// The reader's insertion counter.
    pub insertion: u64,
    /// EF_ID_Carta: the card's serial number, opaque.
    pub serial: String,
    /// The generation's name in the daemon's table.
    pub generation: String,
    /// The answer to reset, hexadecimal.
    pub atr: String,
    /// Whether the card is a simulated one.
    pub is_virtual: bool,
    /// The holder.
    pub holder: Holder,
    /// EF_Dati_personali as it stands on the card; empty when the card has none that can be read.
    #[serde(with = "base64_bytes", default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub personal_data: Vec<u8>,
    /// Issue date, `YYYY-MM-DD`, or empty.
    pub issued: String,
    /// Expiry date, `YYYY-MM-DD`, or empty.
    pub expires: String,
    /// The certificates: at most one of each use.
    pub certificates: Vec<Certificate>,
    /// Certificates of certification authorities, where the card has some: six at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<AuthorityCertificate>,
    /// What was found at other places. On cards of which nobody knows where a signature certificate is, more of it
    /// follows a moment after the card is listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Whether codice fiscale and serial agree between the card's files and its certificate (§4.2.1).
    pub data_agree: bool,
    /// Tries left on the CNS PIN as far as an earlier answer told, without asking the chip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_tries_left: Option<u8>,
    /// The same of its PUK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub puk_tries_left: Option<u8>,
}

/// `card.list`: the cards in all readers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct List {}

impl Method for List {
    const NAME: &'static str = "card.list";
    const SUMMARY: &'static str = "Lists the cards and their public contents, read once per insertion.";
    const ROLE: Role = Role::User;
    type Answer = Vec<Card>;
}

/// `card.show`: one card.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The reader.
    pub reader: String,
    /// Whether the authority's sources are asked how the certificates stand, where some are configured: that may take
    /// five seconds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status: bool,
}

impl Method for Show {
    const NAME: &'static str = "card.show";
    const SUMMARY: &'static str = "Shows the card in a reader.";
    const ROLE: Role = Role::User;
    type Answer = Card;
}

/// `card.report`: what an unknown card's owner can send in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The reader.
    pub reader: String,
    /// Whether the card is asked how many tries are left, by VERIFY without a value: it costs none by the standard, which
    /// is not proven for every chip.
    #[serde(default)]
    pub ask_tries: bool,
}

/// A report on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct ReportText {
    /// The report, in the format of `docs/trace-format.md`: no PIN, no personal data.
    pub text: String,
}

impl Method for Report {
    const NAME: &'static str = "card.report";
    const SUMMARY: &'static str =
        "Tells where a card of any kind has what, without PIN and personal data; resets the card.";
    const ROLE: Role = Role::User;
    type Answer = ReportText;
}

/// `card.trace`: records what the daemon exchanges with the cards in a reader, whoever asked for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The reader.
    pub reader: String,
    /// The number of the recording that goes on; absent to start one, with the card being read anew. A recording that
    /// nobody asks for ends after 20 seconds, and with the connection that it was started on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<u64>,
    /// How long to wait before answering, in milliseconds, 10,000 at most.
    #[serde(default)]
    pub wait_ms: u32,
    /// Whether the recording ends with this answer.
    #[serde(default)]
    pub end: bool,
}

/// What was recorded since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Recorded {
    /// The recording's number.
    pub recording: u64,
    /// The whole recording, in the format of `docs/trace-format.md`, with secrets and personal data removed.
    pub text: String,
    /// Whether it holds as much as it can.
    pub is_full: bool,
}

impl Method for Trace {
    const NAME: &'static str = "card.trace";
    const SUMMARY: &'static str =
        "Records the exchanges with the cards in a reader, secrets and personal data removed.";
    const ROLE: Role = Role::Admin;
    type Answer = Recorded;
}
