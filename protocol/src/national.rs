//! `national.*`: cards of other regions at our counters, and our cards at theirs (§8, §9.3.3).

use serde::{Deserialize, Serialize};

use crate::certificate::{Identified, Paper};
use crate::{Method, Role};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// The activation of a card.
    Activation,
    /// PIN and PUK of a card that is active, once more.
    // As procedures of earlier programs have it.
    #[serde(alias = "duplicate-codes")]
    Duplicate,
    /// The revocation of the card's certificate.
    Revocation,
}

impl RequestKind {
    /// Every kind.
    pub const ALL: [RequestKind; 3] =
        [RequestKind::Activation, RequestKind::Duplicate, RequestKind::Revocation];

    /// The name in requests and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RequestKind::Activation => "activation",
            RequestKind::Duplicate => "duplicate",
            RequestKind::Revocation => "revocation",
        }
    }
}

/// Why a card is to be revoked (§9.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// The codes are compromised.
    CompromisedCodes,
    /// The card is lost or stolen.
    LossOrTheft,
    /// Holder data in the certificate is wrong or has changed.
    WrongData,
    /// The card does not work.
    Malfunction,
}

/// A request about one card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Request {
    /// What is asked for.
    pub kind: RequestKind,
    /// The card's serial number, 16 digits.
    pub card: String,
    /// The holder's codice fiscale.
    pub codice_fiscale: String,
    /// The holder's address for the second part of the credentials; not for a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether a delegate asks (§9.3.3-6); never for a duplicate or a revocation (X14).
    #[serde(default)]
    pub delegate: bool,
    /// Why, for a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RevocationReason>,
}

/// The first part of credentials, to be printed. Each digit of the code is the sum, modulo ten, of one in each part: this part
/// alone tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FirstPart {
    /// Of the PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// Of the PUK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub puk: Option<String>,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// It waits for its answer.
    Queued,
    /// It was accepted.
    Accepted,
    /// It was refused.
    Refused,
}

/// A request, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Standing {
    /// Its identifier, which is its idempotency key.
    pub id: String,
    /// The request.
    pub request: Request,
    /// How it stands.
    pub state: RequestState,
    /// Why, or what follows.
    pub message: String,
    /// How often it was sent.
    pub attempts: u32,
    /// The first part of the credentials, once they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_part: Option<FirstPart>,
}

/// `national.request`: asks another region to revoke its card that is in no reader, at one of our counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The request: a revocation.
    pub request: Request,
    /// Who was identified at the counter.
    pub identified: Identified,
    /// The report or self-declaration, for loss or theft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<Paper>,
}

impl Method for Ask {
    const NAME: &'static str = "national.request";
    const SUMMARY: &'static str = "Queues the revocation of another region's card that is in no reader for the national system; not at pharmacies.";
    const ROLE: Role = Role::Counter;
    type Answer = Standing;
}

/// `national.show`: how a request stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Its identifier.
    pub id: String,
}

impl Method for Show {
    const NAME: &'static str = "national.show";
    const SUMMARY: &'static str =
        "Tells how a request to the national system stands, with the first part of credentials.";
    const ROLE: Role = Role::Counter;
    type Answer = Standing;
}

/// `national.receive`: a request of another region's counter about one of our cards.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// The idempotency key of who asks: 8 to 64 letters, digits and hyphens. The same again gets the same answer, and no
    /// second mail.
    pub id: String,
    /// The request; never an activation.
    pub request: Request,
}

impl Method for Receive {
    const NAME: &'static str = "national.receive";
    const SUMMARY: &'static str = "Answers another region's request about one of our cards: the first part of the PUK; the second goes by mail.";
    const ROLE: Role = Role::NationalSystem;
    type Answer = Standing;
}

/// `national.list`: revocations that other regions' counters ask for and that nobody has decided on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct List {}

impl Method for List {
    const NAME: &'static str = "national.list";
    const SUMMARY: &'static str =
        "Lists the revocations that other regions ask for and that wait for a decision.";
    const ROLE: Role = Role::IssuingBody;
    type Answer = Vec<Standing>;
}

/// `national.decide`: the issuing body's decision on one of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// Its key.
    pub id: String,
    /// Whether the certificate was revoked.
    pub accepted: bool,
    /// Why, for who asked.
    pub message: String,
}

impl Method for Decide {
    const NAME: &'static str = "national.decide";
    const SUMMARY: &'static str = "Records the issuing body's decision on another region's request.";
    const ROLE: Role = Role::IssuingBody;
    type Answer = Standing;
}
