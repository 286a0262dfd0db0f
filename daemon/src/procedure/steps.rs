//! The steps of the operating manual as data: [`trunks`] has the steps, [`cases`] the cases and who may ask for them.
//!
//! The manual's standard activation (§9.3.2) is a trunk; a case follows a trunk with steps left out, and who is at the
//! counter decides how they are identified and what else is left out. So a case is a row here and never a branch in
//! the engine.

pub mod cases;
mod trunks;

use cns_protocol::counter::{Step, Wants};
use cns_protocol::national::RequestKind;
use serde::{Deserialize, Serialize};

pub use self::cases::{Age, ApplicantRule, CaseRule, Path, applicant_rule, case_rule};

/// The manual and version whose rules these are; recorded in every procedure (§1.3.9).
pub const RULES: &str = "Sardegna 1.2 (2022-03-03)";

/// A step, by what it is for. Persisted by name: a name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// The privacy notice was offered.
    PrivacyNotice,
    /// The operator works in a session of their own smart card.
    OperatorSession,
    /// The citizen stated the wish.
    StatedWish,
    /// The card is in the reader.
    CardInReader,
    /// The holder was identified by a document.
    Identification,
    /// The document agrees with the public certificate.
    Comparison,
    /// An envelope was chosen.
    Envelope,
    /// An envelope was chosen for the signature PIN of a card that has a signature area already.
    AreaEnvelopeForCodes,
    /// The PIN was set to the envelope's value.
    PinSet,
    /// Whether the citizen wants the signature certificate.
    SignatureWanted,
    /// The request form for the signature certificate was signed.
    RequestForm,
    /// An envelope was chosen for the PIN of the signature area that is made.
    AreaEnvelope,
    /// The signature area, key and certificate were made, with the envelope's PIN.
    SignatureWork,
    /// The same, with the PIN that the holder types.
    SignatureWithHolderPin,
    /// The next key and certificate took the place of the old ones.
    RenewalWork,
    /// The envelope was handed over.
    HandOver,
    /// Whether the citizen asked for the free reader.
    ReaderRequest,
    /// The information sheet was handed over.
    InformationSheet,
    /// It was said who is at the counter.
    Applicant,
    /// Who acts for the holder was identified.
    Representative,
    /// The self-declaration of who acts for the holder was signed.
    Declaration,
    /// The emancipated minor's status was shown.
    Evidence,
    /// The copy of the holder's document was compared.
    HolderCopy,
    /// The signed delegation was collected.
    Delegation,
    /// The medical certificate was shown.
    MedicalCertificate,
    /// The document agrees with the data printed on the card.
    CardComparison,
    /// What is asked of the national system was entered.
    NationalRequest,
    /// The address for the second part of the codes was entered.
    SecondPart,
    /// The request was sent to the national system.
    NationalWork,
    /// The form with the first part of the codes was handed over.
    FirstPart,
    /// The reason was stated.
    Reason,
    /// The report of theft or loss was collected.
    Report,
    /// The certificates were suspended.
    SuspensionWork,
    /// The reason for the suspension has gone.
    ReasonGone,
    /// The certificates were reactivated.
    ReactivationWork,
    /// The certificates were revoked.
    RevocationWork,
}

impl StepName {
    /// What is recorded when the step was done and there is no more to say of it.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::PrivacyNotice => "the citizen was invited to read the privacy notice",
            Self::OperatorSession => "the operator is logged in with their own card",
            Self::StatedWish => "the citizen stated the wish",
            Self::CardInReader => "the card is in the reader",
            Self::Identification => "the holder was identified",
            Self::Comparison => "the document agrees with the certificate",
            Self::Envelope => "an envelope was chosen",
            Self::AreaEnvelopeForCodes | Self::AreaEnvelope => "an envelope was chosen for the signature PIN",
            Self::PinSet => "the PIN was set to the envelope's value",
            Self::SignatureWanted => "the signature certificate is wanted",
            Self::RequestForm => "the request form was signed",
            Self::SignatureWork | Self::SignatureWithHolderPin => "the signature certificate was made",
            Self::RenewalWork => "the signature certificate was renewed",
            Self::HandOver => "the envelope was handed over",
            Self::ReaderRequest => "the request for a reader was recorded",
            Self::InformationSheet => "the information sheet was handed over",
            Self::Applicant => "it was said who is at the counter",
            Self::Representative => "who acts for the holder was identified",
            Self::Declaration => "the self-declaration was signed",
            Self::Evidence => "the emancipated minor's status was shown",
            Self::HolderCopy => "the copy of the holder's document was compared",
            Self::Delegation => "the signed delegation was collected",
            Self::MedicalCertificate => "the medical certificate was shown",
            Self::CardComparison => "the document agrees with the data on the card",
            Self::NationalRequest => "the request to the national system was entered",
            Self::SecondPart => "the address for the second part of the codes was entered",
            Self::NationalWork => "the request was sent to the national system",
            Self::FirstPart => "the form with the first part of the codes was handed over",
            Self::Reason => "the reason was stated",
            Self::Report => "the report or self-declaration was collected",
            Self::SuspensionWork => "the certificates were suspended",
            Self::ReasonGone => "the reason for the suspension has gone",
            Self::ReactivationWork => "the certificates were reactivated",
            Self::RevocationWork => "the certificates were revoked",
        }
    }
}

/// When a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The procedure cannot begin without it: recorded as done at the start.
    AtStart,
    /// In its place.
    Always,
    /// In its place, if the citizen wants the signature certificate.
    IfSignatureWanted,
    /// In its place, if the signature area that is made gets its PIN from an envelope of its own (X1).
    IfAreaEnvelope,
    /// In its place, if the signature area that the card has does, with the card's new codes.
    IfAreaCodes,
    /// In its place, if the reason is theft or loss.
    IfTheftOrLoss,
    /// In its place, if codes are asked for from another region.
    IfCodesAsked,
    /// In its place, if a revocation is asked for from another region.
    IfRevocationAsked,
}

/// What was learned in a procedure and decides which steps are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The citizen wants the signature certificate.
    pub signature_wanted: bool,
    /// Signature PINs come from envelopes of their own (X1).
    pub own_area_envelope: bool,
    /// The card has a signature area already, whose PIN is set with its codes.
    pub area_codes: bool,
    /// The reason is theft or loss.
    pub theft_or_loss: bool,
    /// What is asked of another region.
    pub asked: Option<RequestKind>,
}

impl Facts {
    fn due(self, when: When) -> bool {
        match when {
            When::AtStart => false,
            When::Always => true,
            When::IfSignatureWanted => self.signature_wanted,
            When::IfAreaEnvelope => self.signature_wanted && self.own_area_envelope && !self.area_codes,
            When::IfAreaCodes => self.own_area_envelope && self.area_codes,
            When::IfTheftOrLoss => self.theft_or_loss,
            When::IfCodesAsked => {
                matches!(self.asked, Some(RequestKind::Activation | RequestKind::Duplicate))
            }
            When::IfRevocationAsked => self.asked == Some(RequestKind::Revocation),
        }
    }
}

/// One step of the manual.
#[derive(Debug, PartialEq, Eq)]
pub struct StepRule {
    /// What it is for.
    pub name: StepName,
    /// The manual's paragraph and step.
    pub paragraph: &'static str,
    /// What answer it wants.
    pub wants: Wants,
    /// When it is done.
    pub when: When,
    /// What to do, in English.
    pub text: &'static str,
    /// What to do, in Italian.
    pub text_it: &'static str,
}

impl StepRule {
    /// The step as clients see it.
    #[must_use]
    pub fn to_step(&self) -> Step {
        Step {
            paragraph: self.paragraph.to_owned(),
            wants: self.wants,
            text: self.text.to_owned(),
            text_it: self.text_it.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
