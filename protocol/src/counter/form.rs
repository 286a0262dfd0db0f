//! `counter.next` and `counter.cases`: the manual as forms, for clients that know nothing of it.

use serde::{Deserialize, Serialize};

use super::{Applicant, Case, ProcedureState, Step};
use crate::operator::CounterKind;
use crate::{Method, Role};

/// `counter.next`: what to ask now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The procedure.
    pub procedure: String,
}

impl Method for Next {
    const NAME: &'static str = "counter.next";
    const SUMMARY: &'static str =
        "Tells what to ask now: the step, its rule, and its fields, in English and Italian.";
    const ROLE: Role = Role::Counter;
    type Answer = Question;
}

/// What a procedure asks now. `counter.answer` takes the values as `{"fields": {NAME: VALUE, …}}`, a secret one as
/// the parameter of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Question {
    /// The procedure.
    pub procedure: String,
    /// How it stands.
    pub state: ProcedureState,
    /// The step, with its rule and what to say; absent when the procedure is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// What the operator must know before the step is answered, in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The same in Italian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_it: Option<String>,
    /// Data to be shown with the step.
    pub shown: Vec<Shown>,
    /// What is to be filled in. Nothing: the step is answered without values.
    pub fields: Vec<Field>,
    /// Whether the card is worked on: it must stay in the reader, and progress is sent.
    pub works_on_card: bool,
}

/// A line of data to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Shown {
    /// What it is, in English.
    pub text: String,
    /// What it is, in Italian.
    pub text_it: String,
    /// The value.
    pub value: String,
}

/// One value that a step wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Field {
    /// Its name in the answer.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// Whether it is a secret: asked for without echo, and sent as the request's parameter of this name.
    pub secret: bool,
    /// Whether it may be left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What may be chosen; empty unless the kind is `choice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// The label in English.
    pub text: String,
    /// The label in Italian.
    pub text_it: String,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// That something was done: only `true` lets the procedure go on.
    Confirmation,
    /// `true` or `false`.
    YesNo,
    /// One of the values that are allowed.
    Choice,
    /// Text, 64 characters at most.
    Text,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// The code outside an envelope, as typed or scanned: 8 digits and two check digits.
    EnvelopeCode,
    /// A codice fiscale: 16 letters and digits, the last one a check character.
    CodiceFiscale,
    /// An address of electronic mail.
    Email,
    /// A PIN, 5 to 8 digits.
    Pin,
}

/// A value that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Allowed {
    /// The value.
    pub value: String,
    /// What it means, in English.
    pub text: String,
    /// What it means, in Italian.
    pub text_it: String,
}

/// A value that was filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum FieldValue {
    /// Of a confirmation, or yes and no.
    Flag(bool),
    /// Of every other kind.
    Text(String),
}

/// `counter.cases`: the cases of the manual, what each requires, and whether this counter may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cases {}

impl Method for Cases {
    const NAME: &'static str = "counter.cases";
    const SUMMARY: &'static str =
        "Lists the manual's cases: who may ask, what each requires, and whether this counter may.";
    const ROLE: Role = Role::Counter;
    type Answer = Vec<CaseInfo>;
}

/// A case of the manual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct CaseInfo {
    /// The case, as `counter.start` takes it.
    pub case: Case,
    /// The paragraph that describes it.
    pub paragraph: String,
    /// What it is, in English.
    pub text: String,
    /// What it is, in Italian.
    pub text_it: String,
    /// Who may ask for it. More than one: the procedure asks which.
    pub applicants: Vec<ApplicantInfo>,
    /// The kinds of counter that may do it (§3.4).
    pub counter_kinds: Vec<CounterKind>,
    /// Why this counter cannot do it now; absent: it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Who may ask for a case, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct ApplicantInfo {
    /// Who.
    pub applicant: Applicant,
    /// The paragraph that tells how they are identified.
    pub paragraph: String,
    /// Who they are and what is required of them, in English.
    pub text: String,
    /// The same in Italian.
    pub text_it: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A refusal by a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Refusal {
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paragraph: Option<String>,
    /// Why, in English.
    pub text: String,
    /// Why, in Italian.
    pub text_it: String,
}
