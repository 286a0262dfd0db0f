//! The steps of the operating manual as data: one table of steps, one table of cases.
//!
//! The manual's standard activation (§9.3.2) is the trunk; every other case is that trunk with steps left out or put
//! in. So a case is a row here and never a branch in the engine.

use cns_protocol::counter::{Case, Step, Wants};
use serde::{Deserialize, Serialize};

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
    /// The PIN was set to the envelope's value.
    PinSet,
    /// Whether the citizen wants the signature certificate.
    SignatureWanted,
    /// The request form for the signature certificate was signed.
    RequestForm,
    /// The signature area, key and certificate were made, with the envelope's PIN.
    SignatureWork,
    /// The same, with the PIN that the holder types.
    SignatureWithHolderPin,
    /// The envelope was handed over.
    HandOver,
    /// Whether the citizen asked for the free reader.
    ReaderRequest,
    /// The information sheet was handed over.
    InformationSheet,
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
            Self::PinSet => "the PIN was set to the envelope's value",
            Self::SignatureWanted => "the signature certificate is wanted",
            Self::RequestForm => "the request form was signed",
            Self::SignatureWork | Self::SignatureWithHolderPin => "the signature certificate was made",
            Self::HandOver => "the envelope was handed over",
            Self::ReaderRequest => "the request for a reader was recorded",
            Self::InformationSheet => "the information sheet was handed over",
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

/// One case of the manual.
#[derive(Debug)]
pub struct CaseRule {
    /// The case.
    pub case: Case,
    /// The paragraph that describes it.
    pub paragraph: &'static str,
    /// Its name in English, for records.
    pub name: &'static str,
    /// The trunk that it follows.
    pub trunk: &'static [StepRule],
    /// The steps of the trunk that it leaves out.
    pub skips: &'static [StepName],
}

impl CaseRule {
    /// The steps of this case, in order.
    pub fn steps(&self) -> impl Iterator<Item = &'static StepRule> + '_ {
        self.trunk.iter().filter(|step| !self.skips.contains(&step.name))
    }

    /// The step of this name, if the case has it.
    #[must_use]
    pub fn step(&self, name: StepName) -> Option<&'static StepRule> {
        self.steps().find(|step| step.name == name)
    }

    /// The step to be done after `done`, or the first one.
    #[must_use]
    pub fn after(&self, done: Option<StepName>, signature_wanted: bool) -> Option<&'static StepRule> {
        let due = |step: &&StepRule| match step.when {
            When::AtStart => false,
            When::Always => true,
            When::IfSignatureWanted => signature_wanted,
        };
        match done {
            None => self.steps().find(due),
            Some(done) => self.steps().skip_while(|step| step.name != done).skip(1).find(due),
        }
    }
}

/// The rules of a case.
#[must_use]
pub fn case_rule(case: Case) -> &'static CaseRule {
    match case {
        Case::Standard => &STANDARD,
        Case::NewCodes => &NEW_CODES,
        Case::Signature => &SIGNATURE,
    }
}

/// Activation by the holder in person.
static STANDARD: CaseRule = CaseRule {
    case: Case::Standard,
    paragraph: "§9.3.2",
    name: "activation",
    trunk: &ACTIVATION,
    skips: &[],
};

/// Lost envelope or forgotten PIN: "exactly as 9.3".
static NEW_CODES: CaseRule =
    CaseRule { case: Case::NewCodes, paragraph: "§9.4", name: "new codes", trunk: &ACTIVATION, skips: &[] };

/// The signature certificate later than the codes.
static SIGNATURE: CaseRule = CaseRule {
    case: Case::Signature,
    paragraph: "§7",
    name: "signature certificate",
    trunk: &LATER_SIGNATURE,
    skips: &[],
};

const PRIVACY_NOTICE: StepRule = StepRule {
    name: StepName::PrivacyNotice,
    paragraph: "§9.3.2-1",
    wants: Wants::Confirmation,
    when: When::Always,
    text: "Invite the citizen to read the privacy notice.",
    text_it: "Invitare il cittadino a prendere visione dell'informativa sul trattamento dei dati personali.",
};

const OPERATOR_SESSION: StepRule = StepRule {
    name: StepName::OperatorSession,
    paragraph: "§9.3.2-2",
    wants: Wants::Confirmation,
    when: When::AtStart,
    text: "Log in with the operator's own smart card.",
    text_it: "Autenticarsi con la propria smart card di operatore.",
};

const CARD_IN_READER: StepRule = StepRule {
    name: StepName::CardInReader,
    paragraph: "§9.3.2-4",
    wants: Wants::Confirmation,
    when: When::AtStart,
    text: "Put the citizen's card into the reader.",
    text_it: "Inserire la TS-CNS del cittadino nel lettore.",
};

const IDENTIFICATION: StepRule = StepRule {
    name: StepName::Identification,
    paragraph: "§6.1.2",
    wants: Wants::Document,
    when: When::Always,
    text: "Identify the holder, who is present in person, by a valid document; enter the document's kind, number, \
           issuer and expiry date.",
    text_it: "Identificare il titolare, presente di persona, con un documento valido; registrarne tipo, numero, ente \
              di rilascio e scadenza.",
};

const COMPARISON: StepRule = StepRule {
    name: StepName::Comparison,
    paragraph: "§9.3.2-5",
    wants: Wants::Verdict,
    when: When::Always,
    text: "Compare the document with the data of the card's public certificate. If they differ, the procedure ends \
           and the citizen is sent to the Revenue Agency's office.",
    text_it: "Confrontare i dati del documento con quelli del certificato pubblico della carta. Se non coincidono, la \
              procedura termina e il cittadino viene indirizzato all'ufficio dell'Agenzia delle Entrate.",
};

const REQUEST_FORM: StepRule = StepRule {
    name: StepName::RequestForm,
    paragraph: "§7-form",
    wants: Wants::Confirmation,
    when: When::IfSignatureWanted,
    text: "Print the request form for the signature certificate and have the citizen sign it.",
    text_it: "Stampare il modulo di richiesta del certificato di firma e farlo firmare al cittadino.",
};

const INFORMATION_SHEET: StepRule = StepRule {
    name: StepName::InformationSheet,
    paragraph: "§9.3.2-11",
    wants: Wants::Confirmation,
    when: When::Always,
    text: "Give the citizen the information sheet on what was done.",
    text_it: "Consegnare al cittadino il foglio informativo sulle operazioni svolte.",
};

/// §9.3.2, step by step; §9.3.4 to §9.3.6 leave out steps 5 and 8 of it.
static ACTIVATION: [StepRule; 14] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    StepRule {
        name: StepName::StatedWish,
        paragraph: "§9.3.2-3",
        wants: Wants::Confirmation,
        when: When::Always,
        text: "The citizen states aloud the wish to activate the card.",
        text_it: "Il cittadino dichiara a voce la volontà di attivare la carta.",
    },
    CARD_IN_READER,
    IDENTIFICATION,
    COMPARISON,
    StepRule {
        name: StepName::Envelope,
        paragraph: "§9.3.2-6",
        wants: Wants::EnvelopeCode,
        when: When::Always,
        text: "Take any one of the envelopes assigned to you and enter the code on its outside.",
        text_it: "Prendere una qualsiasi delle buste assegnate all'operatore e inserire il codice esterno.",
    },
    StepRule {
        name: StepName::PinSet,
        paragraph: "§9.3.2-7",
        wants: Wants::Work,
        when: When::Always,
        text: "Leave the card in the reader: its PIN is set to the value in the envelope.",
        text_it: "Lasciare la carta nel lettore: il PIN viene impostato al valore contenuto nella busta.",
    },
    StepRule {
        name: StepName::SignatureWanted,
        paragraph: "§9.3.2-8",
        wants: Wants::Choice,
        when: When::Always,
        text: "Ask whether the citizen wants the signature certificate too; it is free.",
        text_it: "Chiedere al cittadino se desidera anche il certificato di firma, gratuito.",
    },
    REQUEST_FORM,
    StepRule {
        name: StepName::SignatureWork,
        paragraph: "§9.1.3",
        wants: Wants::Work,
        when: When::IfSignatureWanted,
        text: "Leave the card in the reader: the signature area, the key and the certificate are made. The \
               signature PIN is the envelope's PIN as well.",
        text_it: "Lasciare la carta nel lettore: vengono creati l'area di firma, la chiave e il certificato. Anche il \
                  PIN di firma è quello della busta.",
    },
    StepRule {
        name: StepName::HandOver,
        paragraph: "§9.3.2-9",
        wants: Wants::Confirmation,
        when: When::Always,
        text: "Hand over the envelope, unopened.",
        text_it: "Consegnare la busta, chiusa, al cittadino.",
    },
    StepRule {
        name: StepName::ReaderRequest,
        paragraph: "§9.3.2-10",
        wants: Wants::Choice,
        when: When::Always,
        text: "Ask whether the citizen requests the free card reader, one per household; if so, collect the form.",
        text_it: "Chiedere al cittadino se richiede il lettore gratuito, uno per nucleo familiare; se sì, ritirare il \
                  modulo.",
    },
    INFORMATION_SHEET,
];

/// §7: the certificate after the codes. No envelope: the holder types the PIN.
static LATER_SIGNATURE: [StepRule; 8] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    CARD_IN_READER,
    IDENTIFICATION,
    COMPARISON,
    REQUEST_FORM,
    StepRule {
        name: StepName::SignatureWithHolderPin,
        paragraph: "§9.1.3",
        wants: Wants::Pin,
        when: When::IfSignatureWanted,
        text: "The holder types the card's PIN, unseen; leave the card in the reader: the signature area, the key and \
               the certificate are made. The signature PIN is the same at first.",
        text_it: "Il titolare digita il PIN della carta senza essere visto; lasciare la carta nel lettore: vengono \
                  creati l'area di firma, la chiave e il certificato. Il PIN di firma è inizialmente lo stesso.",
    },
    INFORMATION_SHEET,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraphs(case: Case, signature: bool) -> Vec<&'static str> {
        let rule = case_rule(case);
        let mut found = Vec::new();
        let mut next = rule.after(None, signature);
        while let Some(step) = next {
            found.push(step.paragraph);
            next = rule.after(Some(step.name), signature);
        }
        found
    }

    #[test]
    fn the_standard_activation_walks_the_manuals_steps() {
        let without = [
            "§9.3.2-1",
            "§9.3.2-3",
            "§6.1.2",
            "§9.3.2-5",
            "§9.3.2-6",
            "§9.3.2-7",
            "§9.3.2-8",
            "§9.3.2-9",
            "§9.3.2-10",
            "§9.3.2-11",
        ];
        assert_eq!(paragraphs(Case::Standard, false), without);
        assert_eq!(paragraphs(Case::NewCodes, false), without);
        let with = paragraphs(Case::Standard, true);
        assert_eq!(with[6..10], ["§9.3.2-8", "§7-form", "§9.1.3", "§9.3.2-9"]);
        assert_eq!(with.len(), without.len() + 2);
    }

    #[test]
    fn a_later_signature_certificate_uses_no_envelope() {
        let steps = paragraphs(Case::Signature, true);
        assert_eq!(steps, ["§9.3.2-1", "§6.1.2", "§9.3.2-5", "§7-form", "§9.1.3", "§9.3.2-11"]);
    }

    #[test]
    fn a_case_that_skips_steps_needs_no_other_code() {
        let minor = CaseRule {
            case: Case::Standard,
            paragraph: "§9.3.4",
            name: "minor",
            trunk: &ACTIVATION,
            skips: &[StepName::Comparison, StepName::SignatureWanted],
        };
        assert_eq!(
            minor.after(Some(StepName::Identification), false).map(|s| s.name),
            Some(StepName::Envelope)
        );
        assert_eq!(minor.after(Some(StepName::PinSet), false).map(|s| s.name), Some(StepName::HandOver));
        assert!(minor.step(StepName::Comparison).is_none());
    }

    #[test]
    fn every_step_has_a_paragraph_of_its_own_and_both_texts() {
        for case in [Case::Standard, Case::NewCodes, Case::Signature] {
            let mut seen = Vec::new();
            for step in case_rule(case).steps() {
                assert!(
                    step.paragraph.starts_with('§') && !seen.contains(&step.paragraph),
                    "{}",
                    step.paragraph
                );
                assert!(!step.text.is_empty() && !step.text_it.is_empty());
                seen.push(step.paragraph);
            }
        }
    }
}
