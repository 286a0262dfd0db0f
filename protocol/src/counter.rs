//! `counter.*`: the counter's procedures, step by step as the operating manual says.
//!
//! A procedure tells what it wants next ([`Procedure::next`]); the client answers that step and gets the procedure
//! back. [`Next`] asks the same as a form: so a thin client can drive any case without knowing the manual.

mod form;
mod people;
mod sheet;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::form::{
    Allowed, ApplicantInfo, CaseInfo, Cases, Field, FieldKind, FieldValue, Next, Question, Refusal, Shown,
};
pub use self::people::{Applicant, Evidence, Person, Reason, Representative};
pub use self::sheet::{Sheet, SheetDocument, SheetKind};
use crate::card::Holder;
use crate::certificate::Paper;
use crate::national::RequestKind;
use crate::rpc::Traffic;
use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// The case of the manual that a procedure follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Activation by the holder in person (§9.3.2).
    Standard,
    /// New codes for an activated card: lost envelope or forgotten PIN (§9.4). The steps are those of §9.3.2.
    NewCodes,
    /// The signature certificate after the activation (§7).
    Signature,
    /// The next signature key and certificate, while the old ones serve (§6, X2).
    Renewal,
    /// Activation of a minor's card, asked for by a parent (§9.3.4, §6.4.1).
    Minor,
    /// Activation by an emancipated minor in person (§6.4.2).
    EmancipatedMinor,
    /// Activation of a ward's card, asked for by the legal representative (§9.3.5, §6.4.3).
    Ward,
    /// Activation by a delegate of the holder (§9.3.6, §6.4.4).
    Delegation,
    /// A card of another region: the request goes to the national system (§8, §9.3.3).
    OtherRegion,
    /// All certificates of the card are suspended (§9.5.3).
    Suspension,
    /// A suspended card is reactivated (§9.6).
    Reactivation,
    /// All certificates of the card are revoked for ever (§9.7.1).
    Revocation,
}

impl Case {
    /// Every case.
    pub const ALL: [Case; 12] = [
        Case::Standard,
        Case::NewCodes,
        Case::Signature,
        Case::Renewal,
        Case::Minor,
        Case::EmancipatedMinor,
        Case::Ward,
        Case::Delegation,
        Case::OtherRegion,
        Case::Suspension,
        Case::Reactivation,
        Case::Revocation,
    ];
}

/// How a procedure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProcedureState {
    /// Waits for the answer to its next step.
    Open,
    /// The card was touched and the outcome is not known: it is settled when the card is in a reader.
    Unsettled,
    /// Done.
    Done,
    /// Ended before its end, by the operator or by a rule.
    Cancelled,
}

/// What a step wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wants {
    /// The operator confirms that it was done: [`Answer::Confirmed`].
    Confirmation,
    /// The identity document's data: [`Answer::Document`].
    Document,
    /// The operator's verdict on the comparison with the certificate's data: [`Answer::Verdict`].
    Verdict,
    /// The code outside an envelope: [`Answer::Envelope`].
    EnvelopeCode,
    /// Whether the citizen wants it: [`Answer::Wanted`].
    Choice,
    /// The PIN that the holder types: `pin` beside [`Answer::Confirmed`].
    Pin,
    /// The card's PIN and the signature PIN, which the holder types: `pin` and `signature_pin` beside
    /// [`Answer::Confirmed`].
    Pins,
    /// Nothing but leave to work on the card: [`Answer::Confirmed`].
    Work,
    /// Who is at the counter: [`Answer::Applicant`].
    Applicant,
    /// Who acts for the holder, and their document: [`Answer::Representative`].
    Representative,
    /// The holder's data on the copy of the document that a delegate brings: [`Answer::HolderCopy`].
    HolderCopy,
    /// What shows that a minor is emancipated: [`Answer::Evidence`].
    Evidence,
    /// The reason that is stated: [`Answer::Reason`].
    Reason,
    /// What is asked of the national system: [`Answer::NationalRequest`].
    NationalRequest,
    /// An address of electronic mail: [`Answer::Email`].
    Email,
    /// The report of a theft or loss, or the self-declaration: [`Answer::Paper`].
    Paper,
}

/// A step of a procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Step {
    /// The manual's paragraph and step, for instance `§9.3.2-7`.
    pub paragraph: String,
    /// What it wants.
    pub wants: Wants,
    /// What to do, in English.
    pub text: String,
    /// What to do, in Italian.
    pub text_it: String,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct StepDone {
    /// The paragraph.
    pub paragraph: String,
    /// When, RFC 3339.
    pub at: String,
    /// What came of it, in English; no secret.
    pub outcome: String,
    /// Traffic with the chip in this step.
    pub traffic: Traffic,
    /// How long the daemon worked, in milliseconds.
    pub milliseconds: u64,
}

/// A procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Procedure {
    /// Its identifier.
    pub id: String,
    /// The case.
    pub case: Case,
    /// The manual and version whose rules it follows (§1.3.9).
    pub rules: String,
    /// The card's serial number.
    pub card: String,
    /// The holder as the card and its public certificate say, for the identity check (§9.3.2-5).
    pub holder: Holder,
    /// The subject of the public certificate, RFC 4514.
    pub certificate_subject: String,
    /// End of validity of the public certificate, RFC 3339.
    pub certificate_not_after: String,
    /// Who is at the counter; absent until that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applicant: Option<Applicant>,
    /// The operator who began it.
    pub operator: String,
    /// The counter.
    pub counter: String,
    /// How it stands.
    pub state: ProcedureState,
    /// What it wants next; absent when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Step>,
    /// What was done.
    pub done: Vec<StepDone>,
    /// Things the operator should know, in English.
    pub warnings: Vec<String>,
    /// The outside code of its envelope, once chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// The outside code of the envelope of the signature PIN, where that is in one of its own (X1), once chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_envelope: Option<String>,
}

/// Accepted identity documents (§6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// Identity card.
    IdentityCard,
    /// Passport.
    Passport,
    /// Driving licence.
    DrivingLicence,
    /// Nautical licence.
    NauticalLicence,
    /// Pension book.
    PensionBook,
    /// Heating-plant operator's licence.
    HeatingPlantLicence,
    /// Firearms licence.
    FirearmsLicence,
    /// Another recognition card with photograph and stamp, issued by a State administration.
    OtherStateCard,
}

/// The identity document's data (§6.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Its number.
    pub number: String,
    /// Who issued it.
    pub issuer: String,
    /// When it expires, `YYYY-MM-DD`; an expired one is refused.
    pub expires: String,
}

/// The operator's verdict on identity (§9.3.2-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The document agrees with the certificate.
    Match,
    /// It does not: the procedure ends, and the citizen is sent to the Revenue Agency's office.
    Mismatch,
}

/// The answer to a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done, or the daemon may go to work.
    Confirmed,
    /// The document's data.
    Document(Document),
    /// The verdict.
    Verdict(Verdict),
    /// The code outside the envelope: 8 digits and two check digits, as typed or scanned.
    Envelope(String),
    /// Whether the citizen wants it.
    Wanted(bool),
    /// Who is at the counter.
    Applicant(Applicant),
    /// Who acts for the holder.
    Representative(Representative),
    /// The holder's data on the copy of the document.
    HolderCopy(Person),
    /// What shows that a minor is emancipated.
    Evidence(Evidence),
    /// The reason.
    Reason(Reason),
    /// What is asked of the national system.
    NationalRequest(RequestKind),
    /// The address.
    Email(String),
    /// The report or self-declaration.
    Paper(Paper),
    /// The values of the fields that `counter.next` asked for, by name: fits every step. A secret field is none of
    /// them: its value is the request's `pin`.
    Fields(BTreeMap<String, FieldValue>),
}

/// `counter.start`: begins a procedure on the card in a reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The reader that holds the citizen's card.
    pub reader: String,
    /// The case.
    pub case: Case,
}

impl Method for Start {
    const NAME: &'static str = "counter.start";
    const SUMMARY: &'static str =
        "Begins a procedure on the card in a reader, or gives back the one that is open for that card.";
    const ROLE: Role = Role::Counter;
    type Answer = Procedure;
}

/// `counter.answer`: answers the procedure's next step.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnswerStep {
    /// The procedure.
    pub procedure: String,
    /// The step that is answered: must be the procedure's next one.
    pub paragraph: String,
    /// The answer.
    pub answer: Answer,
    /// The holder's PIN, where the step wants it.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub pin: Option<SecretText>,
    /// The holder's signature PIN, where the step wants it.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub signature_pin: Option<SecretText>,
    /// The PIN of the operator's own card, where the request to the certifier is signed with it (§7).
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub operator_pin: Option<SecretText>,
}

impl Method for AnswerStep {
    const NAME: &'static str = "counter.answer";
    const SUMMARY: &'static str = "Answers the next step of a procedure; long work sends progress.";
    const ROLE: Role = Role::Counter;
    const CARRIES_SECRET: bool = true;
    type Answer = Procedure;
}

/// `counter.show`: one procedure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The procedure.
    pub procedure: String,
}

impl Method for Show {
    const NAME: &'static str = "counter.show";
    const SUMMARY: &'static str = "Shows a procedure.";
    const ROLE: Role = Role::Counter;
    type Answer = Procedure;
}

/// `counter.list`: the procedures that are not over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct List {}

impl Method for List {
    const NAME: &'static str = "counter.list";
    const SUMMARY: &'static str = "Lists the procedures that are open or unsettled.";
    const ROLE: Role = Role::Counter;
    type Answer = Vec<Procedure>;
}

/// `counter.cancel`: ends a procedure that has not set a PIN yet, or closes one that has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The procedure.
    pub procedure: String,
}

impl Method for Cancel {
    const NAME: &'static str = "counter.cancel";
    const SUMMARY: &'static str =
        "Ends a procedure early. An envelope whose PIN may have reached the card is void, never given again.";
    const ROLE: Role = Role::Counter;
    type Answer = Procedure;
}

/// `counter.remove_signature`: deletes the signature certificate and its key from the card.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveSignature {
    /// The reader that holds the citizen's card.
    pub reader: String,
    /// The card's PIN, which the holder types.
    #[serde(serialize_with = "secret_text::write")]
    pub pin: SecretText,
    /// The signature PIN; absent where it is the card's.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub signature_pin: Option<SecretText>,
    /// The explicit word: also a certificate that has not expired.
    #[serde(default)]
    pub even_if_valid: bool,
}

impl Method for RemoveSignature {
    const NAME: &'static str = "counter.remove_signature";
    const SUMMARY: &'static str = "Deletes an expired signature certificate and its key from the card, for ever; one that \
         is valid only by an explicit word. Sends progress.";
    const ROLE: Role = Role::Counter;
    const CARRIES_SECRET: bool = true;
    type Answer = SignatureRemoved;
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct SignatureRemoved {
    /// The card's serial number.
    pub card: String,
    /// The end of the certificate, RFC 3339; absent if the card had none, and at most the key of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// Traffic with the chip.
    pub traffic: Traffic,
    /// How long the daemon worked, in milliseconds.
    pub milliseconds: u64,
}
