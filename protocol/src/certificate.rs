//! `certificate.*`: how the certificates of a card stand, and their suspension, reactivation and revocation (§9.5–§9.7).
//!
//! Always all certificates of the card (X10), which need be in no reader: the daemon knows those of the cards that were
//! activated here. What the authority cannot be told at once is `pending` in the answer, and is told later.

use serde::{Deserialize, Serialize};

use crate::card::KeyUse;
use crate::counter::{Applicant, Document, Evidence, Reason, Representative};
use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// In which of its roles a caller asks: the manual gives each its own rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The region's web area, for a holder whom it has logged in (§6.3).
    Web,
    /// The call centre (§6.2).
    CallCentre,
    /// A counter, where somebody was identified in person (§6.1).
    Counter,
    /// The issuing body's own office (§9.7.2).
    IssuingBody,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Channel; 4] = [Channel::Web, Channel::CallCentre, Channel::Counter, Channel::IssuingBody];

    /// The role that it takes.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Channel::Web => Role::Web,
            Channel::CallCentre => Role::CallCentre,
            Channel::Counter => Role::Counter,
            Channel::IssuingBody => Role::IssuingBody,
        }
    }
}

/// How a certificate stands with its authority (§1.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Neither suspended nor revoked.
    Good,
    /// Suspended: it may be reactivated.
    Suspended,
    /// Revoked for ever.
    Revoked,
}

/// What becomes of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// They are suspended (§9.5).
    Suspend,
    /// They are reactivated (§9.6).
    Reactivate,
    /// They are revoked for ever (§9.7).
    Revoke,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 3] = [Act::Suspend, Act::Reactivate, Act::Revoke];
}

/// How far a request for one certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ChangeState {
    /// The authority could not be told yet; it is asked again until it answers.
    Pending,
    /// The authority did it.
    Done,
    /// The authority refused.
    Refused,
}

/// What was last asked for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Change {
    /// The identifier of the request.
    pub request: String,
    /// What was asked.
    pub act: Act,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The manual's rule by which it was asked.
    pub paragraph: String,
    /// By whom.
    pub channel: Channel,
    /// When, RFC 3339.
    pub asked: String,
    /// How far it is.
    pub state: ChangeState,
    /// How often the authority was asked and gave no answer.
    pub attempts: u32,
    /// The authority's words, or why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// A certificate of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct CertificateStanding {
    /// What its key is for.
    pub key_use: KeyUse,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Its issuer, RFC 4514.
    pub issuer: String,
    /// The end of its validity, RFC 3339.
    pub not_after: String,
    /// How it stands, as the authority was last heard to say.
    pub standing: Standing,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether it is no longer on the card.
    #[serde(default)]
    pub removed: bool,
    /// What was last asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// The certificates of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct CardStanding {
    /// The card's serial number.
    pub card: String,
    /// Its certificates.
    pub certificates: Vec<CertificateStanding>,
}

/// What shows that somebody reported a theft or loss (§9.7.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// What it is.
    pub kind: PaperKind,
    /// The report's number; a self-declaration has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Who took the report; a self-declaration has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its date, `YYYY-MM-DD`.
    pub date: String,
}

/// What such a paper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PaperKind {
    /// A copy of the report to the police.
    Report,
    /// The holder's self-declaration.
    SelfDeclaration,
}

impl PaperKind {
    /// Every kind.
    pub const ALL: [PaperKind; 2] = [PaperKind::Report, PaperKind::SelfDeclaration];
}

/// Who was identified at the counter, and how (§6.1, §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Identified {
    /// Who came.
    pub applicant: Applicant,
    /// The holder's own document, where the holder came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Who acts for the holder, and their document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representative: Option<Representative>,
    /// Whether who acts for the holder signed the self-declaration (§6.4.1, §6.4.3).
    #[serde(default)]
    pub declaration: bool,
    /// What shows that a minor is emancipated (§6.4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// A request to change the standing of all certificates of a card. Which members are wanted depends on the channel: web
/// and call centre give codice fiscale and user code, the call centre surname and name as well; a counter gives the card or
/// the codice fiscale, and who was identified; the issuing body the card or the codice fiscale.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChangeRequest {
    /// In which role; may be left out by who has one of them only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The card's serial number, 16 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The holder's codice fiscale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codice_fiscale: Option<String>,
    /// The holder's surname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surname: Option<String>,
    /// The holder's given name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user code, from the envelope.
    #[serde(serialize_with = "secret_text::write_optional")]
    pub user_code: Option<SecretText>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The report or self-declaration, where a card is revoked for theft or loss at a counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper: Option<Paper>,
    /// For a reactivation: that the reason of the suspension has gone (§9.6).
    pub reason_gone: bool,
    /// Who was identified at the counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identified: Option<Identified>,
    /// The PIN of the operator's own card, where the authority wants its signature (§7).
    #[serde(serialize_with = "secret_text::write_optional")]
    pub operator_pin: Option<SecretText>,
}

/// `certificate.suspend`: suspends all certificates of a card.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Suspend(pub ChangeRequest);

impl Method for Suspend {
    const NAME: &'static str = "certificate.suspend";
    const SUMMARY: &'static str = "Suspends all certificates of a card, which need be in no reader.";
    const ROLE: Role = Role::Web;
    const OTHER_ROLES: &'static [Role] = OTHERS;
    const CARRIES_SECRET: bool = true;
    type Answer = CardStanding;
}

/// `certificate.reactivate`: takes the suspension of a card back.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Reactivate(pub ChangeRequest);

impl Method for Reactivate {
    const NAME: &'static str = "certificate.reactivate";
    const SUMMARY: &'static str =
        "Reactivates all certificates of a suspended card; never asked for by the call centre.";
    const ROLE: Role = Role::Web;
    const OTHER_ROLES: &'static [Role] = OTHERS;
    const CARRIES_SECRET: bool = true;
    type Answer = CardStanding;
}

/// `certificate.revoke`: revokes all certificates of a card for ever.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Revoke(pub ChangeRequest);

impl Method for Revoke {
    const NAME: &'static str = "certificate.revoke";
    const SUMMARY: &'static str =
        "Revokes all certificates of a card for ever: at a counter, or by the issuing body.";
    const ROLE: Role = Role::Web;
    const OTHER_ROLES: &'static [Role] = OTHERS;
    const CARRIES_SECRET: bool = true;
    type Answer = CardStanding;
}

/// `certificate.status`: how the certificates of a card stand, and what was asked for them. Web and call centre give codice
/// fiscale and user code, the others the card or the codice fiscale.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Status {
    /// In which role; may be left out by who has one of them only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The card's serial number, 16 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The holder's codice fiscale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codice_fiscale: Option<String>,
    /// The user code, from the envelope.
    #[serde(serialize_with = "secret_text::write_optional")]
    pub user_code: Option<SecretText>,
}

impl Method for Status {
    const NAME: &'static str = "certificate.status";
    const SUMMARY: &'static str =
        "Tells how the certificates of a card stand, and what the authority was not told yet.";
    const ROLE: Role = Role::Web;
    const OTHER_ROLES: &'static [Role] = OTHERS;
    const CARRIES_SECRET: bool = true;
    type Answer = CardStanding;
}

/// Beside the web area.
const OTHERS: &[Role] = &[Role::CallCentre, Role::Counter, Role::IssuingBody];
