//! What becomes of blind envelopes outside of a procedure: assigned, returned, lost, damaged.

use serde::{Deserialize, Serialize};

use crate::{Method, Role};

/// Which envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Envelopes {
    /// These outside codes; at most 300. Spaces, hyphens and line ends, as a scanner sends them, do not count.
    Codes(Vec<String>),
    /// All whose code is from the first to the last, both included; at most 100,000.
    Range {
        /// The lowest code.
        from: String,
        /// The highest code.
        to: String,
    },
}

/// Who gets envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Assignee {
    /// One operator, by the registry's identifier: nobody else may use them.
    Operator(String),
    /// A counter, by the registry's name of it: every operator of that counter may use them.
    Counter(String),
}

/// How many envelopes a request was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Changed {
    /// Those that now stand as was asked; where they did before, they count too.
    pub envelopes: u64,
    /// Void ones within a range, which were passed over.
    pub passed_over: u64,
}

/// `custody.assign_envelopes`: gives available envelopes to an operator or to a counter (§9.3.2-6), all or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AssignEnvelopes {
    /// The envelopes. Besides available ones, those that a counter has may be given to one of its operators.
    pub envelopes: Envelopes,
    /// Who gets them.
    pub to: Assignee,
}

impl Method for AssignEnvelopes {
    const NAME: &'static str = "custody.assign_envelopes";
    const SUMMARY: &'static str =
        "Assigns a batch of blind envelopes to an operator or a counter, all or none.";
    const ROLE: Role = Role::Custodian;
    type Answer = Changed;
}

/// `custody.return_envelopes`: puts assigned envelopes, unopened and whole, back into the stock, all or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReturnEnvelopes {
    /// The envelopes. An operator at work returns only what they may use; a custodian any.
    pub envelopes: Envelopes,
    /// Why, for the audit log; no personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Method for ReturnEnvelopes {
    const NAME: &'static str = "custody.return_envelopes";
    const SUMMARY: &'static str = "Puts assigned envelopes back into the stock, all or none.";
    const ROLE: Role = Role::Custodian;
    const OTHER_ROLES: &'static [Role] = &[Role::Counter];
    type Answer = Changed;
}

/// `custody.envelope_choices`: in which order operators took their envelopes (§9.3.2-6, X16).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvelopeChoices {}

impl Method for EnvelopeChoices {
    const NAME: &'static str = "custody.envelope_choices";
    const SUMMARY: &'static str = "Tells of each holder of envelopes how often the next one in order was taken, and how often chance would.";
    const ROLE: Role = Role::Auditor;
    type Answer = Vec<Choices>;
}

/// How the envelopes of an operator, or of a counter, were taken. Who takes them as they lie takes the one beside the last far
/// more often than chance would have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Choices {
    /// The counter; absent where envelopes were assigned before counters were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<String>,
    /// The operator; absent for what everybody at the counter may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// How often one was used after another, and there were several to choose from.
    pub choices: u64,
    /// How often it was the next one, above or below, in the order of the codes of those that were there.
    pub beside_the_last: u64,
    /// How often that would be so by chance.
    pub expected: u64,
}

/// Why envelopes must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VoidReason {
    /// Nobody knows where they are.
    Lost,
    /// Opened, torn, wet: somebody may have seen what is in them, or nobody can read it.
    Damaged,
    /// Misprinted, recalled by the printer, or anything else that `note` says.
    Other,
}

impl VoidReason {
    /// Every reason.
    pub const ALL: [VoidReason; 3] = [VoidReason::Lost, VoidReason::Damaged, VoidReason::Other];

    /// The name in messages and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Other => "other",
        }
    }
}

/// `custody.void_envelopes`: takes lost or damaged envelopes out of use for ever and destroys their secrets, all or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VoidEnvelopes {
    /// The envelopes: available or assigned. An operator at work voids only what they may use; a custodian any.
    pub envelopes: Envelopes,
    /// Why.
    pub reason: VoidReason,
    /// More, for the record; no personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a request to void came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Voided {
    /// How many envelopes are void now, or wait for a second person.
    pub envelopes: u64,
    /// Void ones within a range, which were passed over.
    pub passed_over: u64,
    /// The request that a second person must confirm, where the configuration demands four eyes. Until then nobody can
    /// use the envelopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Method for VoidEnvelopes {
    const NAME: &'static str = "custody.void_envelopes";
    const SUMMARY: &'static str =
        "Takes lost or damaged envelopes out of use for ever and destroys their secrets.";
    const ROLE: Role = Role::Custodian;
    const OTHER_ROLES: &'static [Role] = &[Role::Counter];
    type Answer = Voided;
}

/// `custody.decide_void`: a second person confirms or turns down what another asked to void.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DecideVoid {
    /// The request.
    pub request: String,
    /// Whether the envelopes are voided. Turning down may be done by whoever asked, too.
    pub confirm: bool,
}

impl Method for DecideVoid {
    const NAME: &'static str = "custody.decide_void";
    const SUMMARY: &'static str = "Confirms, as a second person, or turns down a request to void envelopes.";
    const ROLE: Role = Role::Custodian;
    const OTHER_ROLES: &'static [Role] = &[Role::Counter];
    type Answer = Changed;
}

/// `custody.void_requests`: the requests to void that nobody has decided yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VoidRequests {}

/// A request to void that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct VoidRequest {
    /// Its identifier.
    pub request: String,
    /// Why.
    pub reason: VoidReason,
    /// More.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The envelopes, as they were asked for.
    pub envelopes: String,
    /// The Unix user who asked.
    pub user: u32,
    /// The operator who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// When.
    pub requested_at: String,
}

impl Method for VoidRequests {
    const NAME: &'static str = "custody.void_requests";
    const SUMMARY: &'static str =
        "Lists the requests to void envelopes that wait for a second person; at most 1,000.";
    const ROLE: Role = Role::Custodian;
    const OTHER_ROLES: &'static [Role] = &[Role::Counter];
    type Answer = Vec<VoidRequest>;
}

/// `custody.show_envelope`: how one envelope stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShowEnvelope {
    /// The outside code.
    pub code: String,
}

/// How an envelope stands, without its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EnvelopeStanding {
    /// The outside code.
    pub code: String,
    /// `available`, `assigned`, `reserved`, `used` or `void`.
    pub state: String,
    /// The counter that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<String>,
    /// The operator who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The request to void it that waits for a second person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub void_request: Option<String>,
    /// The procedure that uses or used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// The card of that procedure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// `signature` where its PIN is the signature area's alone; absent for a card's own codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When it came into custody.
    pub created_at: String,
    /// When it was assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_at: Option<String>,
    /// When its PIN was set on the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_at: Option<String>,
    /// When it became void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voided_at: Option<String>,
    /// Why it is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub void_reason: Option<String>,
}

impl Method for ShowEnvelope {
    const NAME: &'static str = "custody.show_envelope";
    const SUMMARY: &'static str = "Shows how a blind envelope stands.";
    const ROLE: Role = Role::Custodian;
    type Answer = EnvelopeStanding;
}
