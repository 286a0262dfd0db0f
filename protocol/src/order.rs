//! `order.*`: sealed orders of a CMS system that keeps PUKs itself. The daemon's clients carry them unread.
//!
//! `docs/orders.md` says what is in an order and in a receipt, and makes both with `openssl cms`.

use serde::{Deserialize, Serialize};

use crate::encoding::base64_bytes;
use crate::{Method, Role};

/// The most bytes of an order.
pub const MAX_ORDER: usize = 64 * 1024;

/// What an order lets the daemon do with the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The card's PIN gets the value in the order, and all its tries.
    SetPin,
    /// The signature key's PIN gets the value in the order, and all its tries.
    SetSignaturePin,
    /// The card's PIN keeps its value and gets all its tries.
    Unblock,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 3] = [Action::SetPin, Action::SetSignaturePin, Action::Unblock];

    /// The name in orders, receipts and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::SetPin => "set-pin",
            Action::SetSignaturePin => "set-signature-pin",
            Action::Unblock => "unblock",
        }
    }
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OrderResult {
    /// The chip did it.
    Done,
    /// The chip refused the order's PUK; its PIN is as it was.
    PukRefused,
    /// The card's PUK is blocked; its PIN is as it was.
    PukBlocked,
    /// The chip's answer was lost, and its counter does not show that the PUK was not refused: the PUK was not
    /// presented again.
    Unknown,
}

impl OrderResult {
    /// Every result.
    pub const ALL: [OrderResult; 4] =
        [OrderResult::Done, OrderResult::PukRefused, OrderResult::PukBlocked, OrderResult::Unknown];

    /// The name in receipts and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OrderResult::Done => "done",
            OrderResult::PukRefused => "puk-refused",
            OrderResult::PukBlocked => "puk-blocked",
            OrderResult::Unknown => "unknown",
        }
    }
}

/// `order.execute`: carries out a sealed order on the card in a reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// The reader that holds the card.
    pub reader: String,
    /// The order: RFC 5652 SignedData around EnvelopedData, DER; at most 64 KiB.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub order: Vec<u8>,
}

/// An order that is over, with the daemon's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Executed {
    /// The order's number.
    pub number: String,
    /// The name of its signer in the configuration.
    pub signer: String,
    /// The card's serial number.
    pub card: String,
    /// What came of it.
    pub result: OrderResult,
    /// The receipt: RFC 5652 SignedData by the daemon, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub receipt: Vec<u8>,
}

impl Method for Execute {
    const NAME: &'static str = "order.execute";
    const SUMMARY: &'static str =
        "Carries out a sealed order of a CMS system on the card in a reader, and gives the daemon's receipt.";
    const ROLE: Role = Role::Counter;
    type Answer = Executed;
}

/// `order.receipt`: the receipt of an order that is over, once more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// SHA-256 of the order as it was sent, hexadecimal.
    pub sha256: String,
}

impl Method for Receipt {
    const NAME: &'static str = "order.receipt";
    const SUMMARY: &'static str = "Gives the receipt of an order that is over, once more.";
    const ROLE: Role = Role::Counter;
    type Answer = Executed;
}

/// `order.certificates`: to whom orders are encrypted, and who signs receipts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Certificates {}

/// The daemon's two certificates for orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct OrderCertificates {
    /// To which orders are encrypted, PEM.
    pub order: String,
    /// Whose key signs receipts, PEM.
    pub receipt: String,
}

impl Method for Certificates {
    const NAME: &'static str = "order.certificates";
    const SUMMARY: &'static str =
        "Gives the certificate to which orders are encrypted, and the one whose key signs receipts.";
    const ROLE: Role = Role::Custodian;
    const OTHER_ROLES: &'static [Role] = &[Role::Counter, Role::Admin];
    type Answer = OrderCertificates;
}
