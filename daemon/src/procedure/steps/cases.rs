//! The cases of the manual, and who may ask for them.

use cns_protocol::card::KeyUse;
use cns_protocol::counter::{Applicant, Case, Reason};
use cns_protocol::operator::CounterKind;

use super::{Facts, StepName, StepRule, trunks};

/// What a case needs beside the card and custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// An authority that issues certificates.
    Certifier,
    /// An authority that suspends, reactivates and revokes them.
    StatusAuthority,
    /// The national system.
    NationalSystem,
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
    /// What it is, in English.
    pub text: &'static str,
    /// What it is, in Italian.
    pub text_it: &'static str,
    /// The trunk that it follows.
    pub trunk: &'static [StepRule],
    /// Who may ask for it. More than one: the procedure asks.
    pub applicants: &'static [Applicant],
    /// Kinds of counter that may not do it, and the rule that says so.
    pub closed_to: &'static [(CounterKind, &'static str)],
    /// The reasons that may be stated.
    pub reasons: &'static [Reason],
    /// The card's certificates that must be neither suspended nor revoked (§9.3b, X12): the authentication certificate
    /// where the card gets new codes.
    pub in_force: &'static [KeyUse],
    /// What it needs.
    pub needs: Needs,
}

/// Every kind of counter (§3.4).
pub const COUNTER_KINDS: [CounterKind; 3] =
    [CounterKind::HealthAuthority, CounterKind::Pharmacy, CounterKind::RegionalOffice];

impl CaseRule {
    /// The rule that closes this case to a kind of counter.
    #[must_use]
    pub fn closed_by(&self, kind: CounterKind) -> Option<&'static str> {
        self.closed_to.iter().find(|(closed, _)| *closed == kind).map(|(_, rule)| *rule)
    }

    /// The applicant, where the case leaves no choice.
    #[must_use]
    pub fn only_applicant(&self) -> Option<Applicant> {
        match self.applicants {
            [only] => Some(*only),
            _ => None,
        }
    }
}

/// What an applicant's right to ask says of the holder's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// The holder is no minor.
    OfAge,
    /// The holder is a minor.
    Minor,
    /// The holder is of any age.
    Any,
}

/// Who may be at the counter.
#[derive(Debug)]
pub struct ApplicantRule {
    /// Who.
    pub applicant: Applicant,
    /// The paragraph that tells how they are identified.
    pub paragraph: &'static str,
    /// Who they are and what is required, in English.
    pub text: &'static str,
    /// The same in Italian.
    pub text_it: &'static str,
    /// The holder's age.
    pub age: Age,
    /// How they are identified.
    pub steps: &'static [StepRule],
    /// The steps that are left out for them.
    pub skips: &'static [StepName],
}

/// What is done in a case for an applicant: the trunk with the identification put in and the skips left out.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The case.
    pub case: &'static CaseRule,
    /// Who is at the counter, once that is known.
    pub applicant: Option<&'static ApplicantRule>,
}

impl Path {
    /// The path of this case for this applicant, if already known.
    #[must_use]
    pub fn of(case: Case, applicant: Option<Applicant>) -> Self {
        Self { case: case_rule(case), applicant: applicant.map(applicant_rule) }
    }

    /// The steps, in order; those up to the question who is at the counter, and those after the identification, while
    /// that is not known.
    pub fn steps(self) -> impl Iterator<Item = &'static StepRule> {
        let identification = self.applicant.map_or_else(Default::default, |rule| rule.steps);
        let skips = self.applicant.map_or_else(Default::default, |rule| rule.skips);
        let asked = self.case.only_applicant().is_none();
        self.case
            .trunk
            .iter()
            .flat_map(move |step| {
                if step.name == StepName::Identification {
                    identification
                } else if step.name == StepName::Applicant && !asked {
                    &[]
                } else {
                    std::slice::from_ref(step)
                }
            })
            .filter(move |step| !skips.contains(&step.name))
    }

    /// The step of this name, if there is one.
    #[must_use]
    pub fn step(self, name: StepName) -> Option<&'static StepRule> {
        self.steps().find(|step| step.name == name)
    }

    /// The step to be done after `done`, or the first one.
    #[must_use]
    pub fn after(self, done: Option<StepName>, facts: Facts) -> Option<&'static StepRule> {
        let due = |step: &&StepRule| facts.due(step.when);
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
        Case::Renewal => &RENEWAL,
        Case::Minor => &MINOR,
        Case::EmancipatedMinor => &EMANCIPATED_MINOR,
        Case::Ward => &WARD,
        Case::Delegation => &DELEGATION,
        Case::OtherRegion => &OTHER_REGION,
        Case::Suspension => &SUSPENSION,
        Case::Reactivation => &REACTIVATION,
        Case::Revocation => &REVOCATION,
    }
}

/// The rules of an applicant.
#[must_use]
pub fn applicant_rule(applicant: Applicant) -> &'static ApplicantRule {
    match applicant {
        Applicant::Holder => &HOLDER,
        Applicant::Parent => &PARENT,
        Applicant::EmancipatedMinor => &EMANCIPATED,
        Applicant::Guardian => &GUARDIAN,
        Applicant::Delegate => &DELEGATE,
    }
}

/// Activation by the holder in person; what other cases are made from.
static STANDARD: CaseRule = ACTIVATION;

const ACTIVATION: CaseRule = CaseRule {
    case: Case::Standard,
    paragraph: "§9.3.2",
    name: "activation",
    text: "Activation of the card, by the holder in person",
    text_it: "Attivazione della carta da parte del titolare",
    trunk: &trunks::ACTIVATION,
    applicants: &[Applicant::Holder],
    closed_to: &[],
    reasons: &[],
    in_force: &[KeyUse::Authentication],
    needs: Needs::Nothing,
};

static MINOR: CaseRule = CaseRule {
    case: Case::Minor,
    paragraph: "§9.3.4",
    name: "activation for a minor",
    text: "Activation of a minor's card, asked for by a parent",
    text_it: "Attivazione della carta di un minore, richiesta da un genitore",
    applicants: &[Applicant::Parent],
    ..ACTIVATION
};

/// As the standard procedure (6.4.2), so it skips step 8 only (X4).
static EMANCIPATED_MINOR: CaseRule = CaseRule {
    case: Case::EmancipatedMinor,
    paragraph: "§6.4.2",
    name: "activation by an emancipated minor",
    text: "Activation of the card, by an emancipated minor in person",
    text_it: "Attivazione della carta da parte di un minore emancipato",
    applicants: &[Applicant::EmancipatedMinor],
    ..ACTIVATION
};

static WARD: CaseRule = CaseRule {
    case: Case::Ward,
    paragraph: "§9.3.5",
    name: "activation for a ward",
    text: "Activation of a ward's card, asked for by the legal representative",
    text_it: "Attivazione della carta di un tutelato, richiesta dal rappresentante legale",
    applicants: &[Applicant::Guardian],
    ..ACTIVATION
};

static DELEGATION: CaseRule = CaseRule {
    case: Case::Delegation,
    paragraph: "§9.3.6",
    name: "activation by a delegate",
    text: "Activation of the card, by a delegate of the holder",
    text_it: "Attivazione della carta tramite delegato",
    applicants: &[Applicant::Delegate],
    ..ACTIVATION
};

/// Lost envelope or forgotten PIN: "exactly as 9.3".
static NEW_CODES: CaseRule = CaseRule {
    case: Case::NewCodes,
    paragraph: "§9.4",
    name: "new codes",
    text: "New codes for an activated card: envelope lost or PIN forgotten",
    text_it: "Nuovi codici per una carta già attivata: busta smarrita o PIN dimenticato",
    applicants: &Applicant::ALL,
    ..ACTIVATION
};

/// The signature certificate later than the codes.
static SIGNATURE: CaseRule = CaseRule {
    case: Case::Signature,
    paragraph: "§7",
    name: "signature certificate",
    text: "The signature certificate, after the activation",
    text_it: "Certificato di firma digitale, dopo l'attivazione",
    trunk: &trunks::LATER_SIGNATURE,
    needs: Needs::Certifier,
    ..ACTIVATION
};

/// The manual names renewals (§6) and has no procedure for them: identified as for the first certificate, a new key on
/// the chip, its request, its certificate (X2). Configuration opens it.
static RENEWAL: CaseRule = CaseRule {
    case: Case::Renewal,
    paragraph: "X2",
    name: "renewal of the signature certificate",
    text: "Renewal of the signature certificate, with a new key",
    text_it: "Rinnovo del certificato di firma digitale, con una nuova chiave",
    trunk: &trunks::RENEWAL,
    in_force: &[KeyUse::Authentication, KeyUse::Signature],
    needs: Needs::Certifier,
    ..ACTIVATION
};

/// Not at pharmacies (§8).
static OTHER_REGION: CaseRule = CaseRule {
    case: Case::OtherRegion,
    paragraph: "§9.3.3",
    name: "card of another region",
    text: "Card of another region: activation, duplicate of the codes, revocation",
    text_it: "Carta di un'altra regione: attivazione, duplicato dei codici, revoca",
    trunk: &trunks::OTHER_REGION,
    applicants: &Applicant::ALL,
    closed_to: &[(CounterKind::Pharmacy, "§8-counters")],
    reasons: REVOCATION_REASONS,
    in_force: &[],
    needs: Needs::NationalSystem,
};

/// Who may change the status: the holder, and who stands for a minor or ward with the same evidence (X13); no delegate
/// (X14). Pharmacies too (X18).
const STATUS: CaseRule = CaseRule {
    applicants: &[Applicant::Holder, Applicant::Parent, Applicant::EmancipatedMinor, Applicant::Guardian],
    in_force: &[],
    needs: Needs::StatusAuthority,
    ..ACTIVATION
};

static SUSPENSION: CaseRule = CaseRule {
    case: Case::Suspension,
    paragraph: "§9.5.3",
    name: "suspension",
    text: "Suspension of all certificates of the card",
    text_it: "Sospensione di tutti i certificati della carta",
    trunk: &trunks::SUSPENSION,
    reasons: &[Reason::Theft, Reason::Loss, Reason::CodesCompromised],
    ..STATUS
};

static REACTIVATION: CaseRule = CaseRule {
    case: Case::Reactivation,
    paragraph: "§9.6",
    name: "reactivation",
    text: "Reactivation of a suspended card",
    text_it: "Riattivazione di una carta sospesa",
    trunk: &trunks::REACTIVATION,
    ..STATUS
};

/// Why a holder may have a card revoked (§9.7.1).
const REVOCATION_REASONS: &[Reason] =
    &[Reason::CodesCompromised, Reason::Loss, Reason::Theft, Reason::WrongData, Reason::Malfunction];

static REVOCATION: CaseRule = CaseRule {
    case: Case::Revocation,
    paragraph: "§9.7.1",
    name: "revocation",
    text: "Revocation of all certificates of the card, for ever",
    text_it: "Revoca definitiva di tutti i certificati della carta",
    trunk: &trunks::REVOCATION,
    reasons: REVOCATION_REASONS,
    ..STATUS
};

/// Steps 5 and 8, which §9.3.4 to §9.3.6 leave out.
const STEPS_5_AND_8: &[StepName] = &[StepName::Comparison, StepName::SignatureWanted];

static HOLDER: ApplicantRule = ApplicantRule {
    applicant: Applicant::Holder,
    paragraph: "§6.1.2",
    text: "The holder, of age, in person, with a valid identity document",
    text_it: "Il titolare maggiorenne, di persona, con un documento d'identità valido",
    age: Age::OfAge,
    steps: &trunks::HOLDER,
    skips: &[],
};

static PARENT: ApplicantRule = ApplicantRule {
    applicant: Applicant::Parent,
    paragraph: "§6.4.1",
    text: "A parent of the holder, who is a minor, with their own valid document and a self-declaration",
    text_it: "Un genitore del titolare minorenne, con il proprio documento valido e un'autodichiarazione",
    age: Age::Minor,
    steps: &trunks::PARENT,
    skips: STEPS_5_AND_8,
};

static EMANCIPATED: ApplicantRule = ApplicantRule {
    applicant: Applicant::EmancipatedMinor,
    paragraph: "§6.4.2",
    text: "The holder, an emancipated minor, in person, with a valid document and evidence of the status",
    text_it: "Il titolare minore emancipato, di persona, con un documento valido e la prova dell'emancipazione",
    age: Age::Minor,
    steps: &trunks::EMANCIPATED_MINOR,
    skips: &[StepName::SignatureWanted],
};

static GUARDIAN: ApplicantRule = ApplicantRule {
    applicant: Applicant::Guardian,
    paragraph: "§6.4.3",
    text: "The legal representative of the holder, a ward, with their own valid document and a self-declaration",
    text_it: "Il rappresentante legale del titolare tutelato, con il proprio documento valido e un'autodichiarazione",
    age: Age::Any,
    steps: &trunks::GUARDIAN,
    skips: STEPS_5_AND_8,
};

static DELEGATE: ApplicantRule = ApplicantRule {
    applicant: Applicant::Delegate,
    paragraph: "§6.4.4",
    text: "A delegate of the holder, who cannot come for reasons of health for more than three months, with their own \
           valid document, a copy of the holder's, a signed delegation and a medical certificate",
    text_it: "Un delegato del titolare impossibilitato per motivi di salute per più di tre mesi, con il proprio \
              documento valido, copia di quello del titolare, delega firmata e certificato medico",
    age: Age::Any,
    steps: &trunks::DELEGATE,
    skips: STEPS_5_AND_8,
};
