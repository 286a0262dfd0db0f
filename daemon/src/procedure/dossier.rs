//! What is kept of a procedure: everything needed to go on after a power cut, and nothing secret.

use cns_protocol::card::Holder;
use cns_protocol::certificate::Paper;
use cns_protocol::counter::{
    Applicant, Case, Document, Evidence, Procedure, ProcedureState, Reason, Representative, StepDone,
};
use cns_protocol::national::RequestKind;
use cns_protocol::operator::CounterKind;
use serde::{Deserialize, Serialize};

use crate::procedure::steps::{CaseRule, Facts, Path, StepName, StepRule};

/// The newest form of [`Dossier`] that this program writes and reads.
pub const VERSION: u32 = 3;
/// The form of a dossier without an envelope for the signature area: earlier programs on the same database read it too.
pub const WITHOUT_AREA_ENVELOPE: u32 = 2;

/// A procedure as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dossier {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// Identifier.
    pub id: String,
    /// The case.
    pub case: Case,
    /// The rule set (§1.3.9).
    pub rules: String,
    /// The card's serial number.
    pub card: String,
    /// The holder as the card says.
    pub holder: Holder,
    /// Subject of the authentication certificate.
    pub certificate_subject: String,
    /// End of its validity.
    pub certificate_not_after: String,
    /// SHA-256 of the authentication certificate, hexadecimal: what the card that comes back must hold. Absent where
    /// an earlier program began the procedure, until an operator goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// Whether the card was in the daemon's own vpcd reader; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_reader: Option<bool>,
    /// The operator who is responsible for it.
    pub operator: String,
    /// The counter.
    pub counter: String,
    /// The counter's kind (§3.4).
    pub counter_kind: CounterKind,
    /// When it began.
    pub started: String,
    /// How it stands.
    pub state: ProcedureState,
    /// The last step that was done.
    pub last: Option<StepName>,
    /// The steps that were done, as clients see them.
    pub done: Vec<StepDone>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The envelope's outside code.
    pub envelope: Option<String>,
    /// The envelope of the signature area's PIN, where the configuration had it at the start that there is one of its own (X1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area_envelope: Option<AreaEnvelope>,
    /// The identity document (§6.1.2-data).
    pub document: Option<Document>,
    /// Whether the citizen wants the signature certificate (§9.3.2-8).
    pub signature_wanted: bool,
    /// Whether the citizen asked for the reader (§9.3.2-10).
    pub reader_requested: Option<bool>,
    /// What tells their household from another (X17), where that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub household: Option<String>,
    /// Who is at the counter (§6.1), once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applicant: Option<Applicant>,
    /// Who acts for the holder (§6.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representative: Option<Representative>,
    /// What showed that the minor is emancipated (§6.4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The reason that was stated (§9.5, §9.7.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The report or self-declaration of a theft or loss (§9.7.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<Paper>,
    /// What is asked of the national system (§9.3.3-5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub national_request: Option<NationalRequest>,
    /// SHA-256 of the signature certificate that is renewed, hexadecimal (X2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<String>,
    /// What was begun and is not known to be finished.
    pub intent: Option<Intent>,
    /// How often it was written: told by its row, not by its document.
    #[serde(skip)]
    pub revision: i64,
}

/// The envelope that holds the signature area's PIN alone (X1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaEnvelope {
    /// Whether the card has an area whose PIN is set with the card's codes (§9.4).
    pub with_codes: bool,
    /// Its outside code, once chosen.
    pub code: Option<String>,
    /// Whether its PIN may be on the card: true from just before the first command that gives it to the area that is made.
    pub may_be_set: bool,
    /// Whether the card refused its PIN, so that it is not handed over.
    pub given_up: bool,
}

/// What is asked of the national system (§9.3.3-5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NationalRequest {
    /// What is asked.
    pub request: RequestKind,
    /// Where the second part of the codes is sent; not for a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The request's key, once it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What was begun. Written before the card or custody is touched, removed after: what is found here after a power
/// cut is done again, and doing it again is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Intent {
    /// The PIN is set to the envelope's value (§9.3.2-7).
    SetPin(SetPin),
    /// The signature area, key and certificate are made (§9.1.3).
    Signature(Signature),
    /// The procedure is over; custody has to be told what became of the envelope.
    Close {
        /// What becomes of it.
        envelope: EnvelopeEnd,
        /// What becomes of the signature area's own.
        #[serde(default, skip_serializing_if = "EnvelopeEnd::is_none")]
        area: EnvelopeEnd,
    },
    /// The certificates' status is changed (§9.5–9.7): so an earlier program would have written it. What was asked is with
    /// the certificates now ([`crate::standing`]).
    Status {
        /// Each of them.
        certificates: Vec<CertificateChange>,
    },
    /// The national system is asked (§8).
    National {
        /// The same in every repetition.
        transaction: String,
    },
}

/// How far the change of a certificate's status came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateChange {
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// CMP transactionID, 16 bytes in hexadecimal: the same in every repetition.
    pub transaction: String,
    /// Whether the authority has confirmed it.
    pub done: bool,
}

/// How far the setting of the PIN came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPin {
    /// Whether the value may be on the card already: true from just before the first command.
    pub may_be_set: bool,
    /// Tries left on the PUK before the attempt, where the chip told. Fewer of them afterwards may mean that the PUK
    /// was refused although nobody heard the answer.
    pub puk_tries_before: Option<u8>,
    /// What the operator was told about the PUK, when it was not presented again: their next answer decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// That the PUK may have been refused, and how many tries it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The tries left, where the chip tells.
    pub tries: Option<u8>,
}

/// How far the signature certificate came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// CMP transactionID, 16 bytes in hexadecimal: the same in every repetition, so that the authority can tell a
    /// repetition from a second request.
    pub transaction: String,
    /// The PKCS#10 request, DER in hexadecimal, once the chip signed it.
    pub request: Option<String>,
    /// The certificate, DER in hexadecimal, once it was received and checked.
    pub certificate: Option<String>,
    /// Whether the authority has refused the request, so that nothing is issued for it until it is asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// What becomes of an envelope when its procedure ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvelopeEnd {
    /// There is none.
    #[default]
    None,
    /// The card was surely not touched: it may be used for another citizen.
    Release,
    /// Its PIN may be on the card, and it was not handed over.
    Void,
    /// Its PIN is on the card and it was handed over.
    Used,
}

impl EnvelopeEnd {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What becomes of a procedure's envelopes when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of that of the card's codes.
    pub card: EnvelopeEnd,
    /// Of that of the signature area's PIN.
    pub area: EnvelopeEnd,
}

impl Dossier {
    /// The rules of its case.
    #[must_use]
    pub fn rule(&self) -> &'static CaseRule {
        self.path().case
    }

    /// What is done in its case for who is at the counter.
    #[must_use]
    pub fn path(&self) -> Path {
        Path::of(self.case, self.applicant)
    }

    /// What decides which steps are due.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            signature_wanted: self.signature_wanted,
            own_area_envelope: self.area_envelope.is_some(),
            area_codes: self.area_envelope.as_ref().is_some_and(|area| area.with_codes),
            theft_or_loss: matches!(self.reason, Some(Reason::Theft | Reason::Loss)),
            asked: self.national_request.as_ref().map(|request| request.request),
        }
    }

    /// Brings what an earlier program wrote up to this one: it knew no applicant but the holder.
    #[must_use]
    pub fn upgraded(mut self) -> Self {
        if self.version < 2 {
            self.version = WITHOUT_AREA_ENVELOPE;
            self.applicant = Some(Applicant::Holder);
        }
        self
    }

    /// The step that comes next, if it is not over.
    #[must_use]
    pub fn next(&self) -> Option<&'static StepRule> {
        match self.state {
            ProcedureState::Open | ProcedureState::Unsettled => self.path().after(self.last, self.facts()),
            ProcedureState::Done | ProcedureState::Cancelled => None,
        }
    }

    /// Whether a step was done.
    #[must_use]
    pub fn has_done(&self, name: StepName) -> bool {
        self.path()
            .step(name)
            .is_some_and(|step| self.done.iter().any(|done| done.paragraph == step.paragraph))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, ProcedureState::Done | ProcedureState::Cancelled)
    }

    /// Whether a command that sets the PIN may have reached the card.
    #[must_use]
    pub fn pin_may_be_set(&self) -> bool {
        let begun = matches!(&self.intent, Some(Intent::SetPin(set_pin)) if set_pin.may_be_set);
        begun || self.has_done(StepName::PinSet)
    }

    /// Whether the signature area may have the PIN of its own envelope.
    #[must_use]
    pub fn area_pin_may_be_set(&self) -> bool {
        self.area_envelope.as_ref().is_some_and(|area| area.may_be_set)
    }

    /// The request for a signature certificate that may have been sent, and what came of it, as long as it is not settled.
    #[must_use]
    pub fn certificate_request(&self) -> Option<&Signature> {
        match &self.intent {
            Some(Intent::Signature(begun)) if begun.request.is_some() && !begun.refused => Some(begun),
            Some(
                Intent::Signature(_)
                | Intent::SetPin(_)
                | Intent::Close { .. }
                | Intent::Status { .. }
                | Intent::National { .. },
            )
            | None => None,
        }
    }

    /// The envelope of the signature area's PIN, if it has one of its own that is chosen and to be handed over.
    #[must_use]
    pub fn area_code(&self) -> Option<&str> {
        self.area_envelope.as_ref().filter(|area| !area.given_up)?.code.as_deref()
    }

    /// What becomes of the envelopes if the procedure ends as it stands.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let end = |may_be_set: bool, to_be_handed_over: bool| {
            if to_be_handed_over && self.has_done(StepName::HandOver) {
                EnvelopeEnd::Used
            } else if may_be_set {
                EnvelopeEnd::Void
            } else {
                EnvelopeEnd::Release
            }
        };
        let area = self.area_envelope.as_ref().filter(|area| area.code.is_some());
        Ends {
            card: self.envelope.as_ref().map_or(EnvelopeEnd::None, |_| end(self.pin_may_be_set(), true)),
            area: area.map_or(EnvelopeEnd::None, |area| {
                let with_codes = area.with_codes && !area.given_up && self.pin_may_be_set();
                end(area.may_be_set || with_codes, !area.given_up)
            }),
        }
    }

    /// Adds a warning, once.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The procedure as clients see it.
    #[must_use]
    pub fn to_procedure(&self) -> Procedure {
        Procedure {
            id: self.id.clone(),
            case: self.case,
            rules: self.rules.clone(),
            card: self.card.clone(),
            holder: self.holder.clone(),
            certificate_subject: self.certificate_subject.clone(),
            certificate_not_after: self.certificate_not_after.clone(),
            applicant: self.applicant,
            operator: self.operator.clone(),
            counter: self.counter.clone(),
            state: self.state,
            next: self.next().map(StepRule::to_step),
            done: self.done.clone(),
            warnings: self.warnings.clone(),
            envelope: self.envelope.clone(),
            signature_envelope: self.area_code().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it. What stands in a database must be readable for ever: this text is never changed, a new
    /// version gets a text of its own.
    const FIRST: &str = r#"{"version":1,"id":"0123456789abcdef","case":"standard","rules":"Sardegna 1.2 (2022-03-03)",
        "card":"6999000000001230","holder":{"surname":"ROSSI","name":"MARIO","codice_fiscale":"RSSMRA80A01H501U",
        "birth_date":"1980-01-01","sex":"M","birth_place":"H501"},"certificate_subject":"C=IT",
        "certificate_not_after":"2032-01-14T00:00:00Z","operator":"op1","counter":"ASL 1",
        "counter_kind":"health-authority","started":"2026-11-23T08:00:00Z","state":"unsettled","last":"envelope",
        "done":[{"paragraph":"§9.3.2-6","at":"2026-11-23T08:01:00Z","outcome":"envelope 123456782",
        "traffic":{"commands":0,"bytes_sent":0,"bytes_received":0},"milliseconds":1}],"warnings":["w"],
        "envelope":"123456782","document":{"kind":"passport","number":"1","issuer":"i","expires":"2030-01-01"},
        "signature_wanted":false,"reader_requested":null,"intent":null}"#;
    /// As version 2 wrote what version 1 did not have.
    const SECOND: &str = r#"{"version":2,"id":"0123456789abcdef","case":"revocation",
        "rules":"Sardegna 1.2 (2022-03-03)","card":"6999000000001230","holder":{"surname":"ROSSI","name":"MARIO",
        "codice_fiscale":"RSSMRA80A01H501U","birth_date":"2015-01-01","sex":"M","birth_place":"H501"},
        "certificate_subject":"C=IT","certificate_not_after":"2032-01-14T00:00:00Z","certificate_sha256":"00",
        "virtual_reader":true,"operator":"op1","counter":"ASL 1","counter_kind":"pharmacy",
        "started":"2026-11-23T08:00:00Z","state":"open","last":"reason","done":[],"warnings":[],"envelope":null,
        "document":null,"signature_wanted":false,"reader_requested":null,"applicant":"parent",
        "representative":{"surname":"Verdi","name":"Luca","codice_fiscale":"VRDLCU80A01H501G","kind":"passport",
        "number":"1","issuer":"i","expires":"2030-01-01"},"evidence":"court-act","reason":"theft",
        "national_request":{"request":"duplicate-codes","email":"a@example.it"},"intent":null}"#;
    /// As version 3 wrote what the versions before did not have.
    const AREA: &str =
        r#","area_envelope":{"with_codes":false,"code":"223456780","may_be_set":true,"given_up":false}"#;
    const INTENTS: [&str; 7] = [
        r#"{"act":"set-pin","may_be_set":true,"puk_tries_before":3}"#,
        r#"{"act":"set-pin","may_be_set":true,"puk_tries_before":3,"told":{"tries":2}}"#,
        r#"{"act":"signature","transaction":"00112233445566778899aabbccddeeff","request":"3000","certificate":null}"#,
        r#"{"act":"close","envelope":"void"}"#,
        r#"{"act":"close","envelope":"void","area":"release"}"#,
        r#"{"act":"status","certificates":[{"sha256":"00","transaction":"11","done":true}]}"#,
        r#"{"act":"national","transaction":"00112233445566778899aabbccddeeff"}"#,
    ];

    #[test]
    fn what_the_second_version_wrote_is_read() {
        let dossier: Dossier = serde_json::from_str(SECOND).unwrap();
        assert_eq!(dossier.clone().upgraded(), dossier);
        assert_eq!(dossier.next().map(|step| step.paragraph), Some("§9.7.1-report"));
        let text = serde_json::to_string(&dossier).unwrap();
        assert_eq!(serde_json::from_str::<Dossier>(&text).unwrap(), dossier);
    }

    #[test]
    fn a_report_is_kept_in_the_dossier() {
        let paper =
            r#""reason":"theft","paper":{"kind":"report","number":"1","issuer":"i","date":"2026-01-15"}"#;
        let text =
            SECOND.replace(r#""reason":"theft""#, paper).replace(r#""last":"reason""#, r#""last":"report""#);
        let dossier: Dossier = serde_json::from_str(&text).unwrap();
        assert_eq!(dossier.paper.as_ref().and_then(|paper| paper.number.as_deref()), Some("1"));
        let text = serde_json::to_string(&dossier).unwrap();
        assert_eq!(serde_json::from_str::<Dossier>(&text).unwrap(), dossier);
    }

    #[test]
    fn what_an_earlier_version_began_goes_on_with_the_holder() {
        for last in ["privacy-notice", "identification", "envelope"] {
            let text = FIRST.replace(r#""last":"envelope""#, &format!(r#""last":"{last}""#));
            let text = text.replace(r#""case":"standard""#, r#""case":"new-codes""#);
            let dossier = serde_json::from_str::<Dossier>(&text).unwrap().upgraded();
            assert_eq!(dossier.applicant, Some(Applicant::Holder));
            assert_eq!(dossier.version, WITHOUT_AREA_ENVELOPE);
            assert!(dossier.next().is_some(), "{last}");
        }
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let mut dossier: Dossier = serde_json::from_str(FIRST).unwrap();
        assert_eq!(dossier.next().map(|step| step.paragraph), Some("§9.3.2-7"));
        assert_eq!((&dossier.certificate_sha256, dossier.virtual_reader), (&None, None));
        let intents = INTENTS.map(|text| serde_json::from_str::<Intent>(text).unwrap());
        assert_eq!(dossier.ends().card, EnvelopeEnd::Release);
        for intent in intents {
            let text = serde_json::to_string(&intent).unwrap();
            assert_eq!(serde_json::from_str::<Intent>(&text).unwrap(), intent);
            dossier.intent = Some(intent);
            let text = serde_json::to_string(&dossier).unwrap();
            assert_eq!(serde_json::from_str::<Dossier>(&text).unwrap(), dossier);
        }
    }

    #[test]
    fn what_the_third_version_wrote_is_read() {
        let text = FIRST.replace(r#","document""#, &format!(r#"{AREA},"document""#));
        let dossier: Dossier =
            serde_json::from_str(&text.replace(r#""version":1"#, r#""version":3"#)).unwrap();
        assert_eq!(dossier.clone().upgraded(), dossier);
        assert_eq!(dossier.area_code(), Some("223456780"));
        let text = serde_json::to_string(&dossier).unwrap();
        assert_eq!(serde_json::from_str::<Dossier>(&text).unwrap(), dossier);
    }

    #[test]
    fn the_areas_envelope_ends_by_itself() {
        let mut dossier: Dossier = serde_json::from_str(FIRST).unwrap();
        let area = |with_codes, may_be_set, given_up| {
            let code = Some("223456780".to_owned());
            Some(AreaEnvelope { with_codes, code, may_be_set, given_up })
        };
        let mut ends = |area, paragraph: &str| {
            dossier.area_envelope = area;
            paragraph.clone_into(&mut dossier.done[0].paragraph);
            dossier.ends().area
        };
        assert_eq!(ends(None, "§9.3.2-9"), EnvelopeEnd::None);
        assert_eq!(ends(Some(AreaEnvelope::default()), "§9.3.2-9"), EnvelopeEnd::None);
        // The area that is made: its own work says whether it may be set.
        assert_eq!(ends(area(false, false, false), "§9.3.2-7"), EnvelopeEnd::Release);
        assert_eq!(ends(area(false, true, false), "§9.3.2-6"), EnvelopeEnd::Void);
        assert_eq!(ends(area(false, true, false), "§9.3.2-9"), EnvelopeEnd::Used);
        // The area that there is: its PIN is set with the card's.
        assert_eq!(ends(area(true, false, false), "§9.3.2-6"), EnvelopeEnd::Release);
        assert_eq!(ends(area(true, false, false), "§9.3.2-7"), EnvelopeEnd::Void);
        assert_eq!(ends(area(true, false, false), "§9.3.2-9"), EnvelopeEnd::Used);
        // What the card refused is never handed over.
        assert_eq!(ends(area(true, false, true), "§9.3.2-9"), EnvelopeEnd::Release);
        assert_eq!(ends(area(true, true, true), "§9.3.2-9"), EnvelopeEnd::Void);
    }

    #[test]
    fn an_envelope_ends_by_what_the_card_may_hold_and_who_has_it() {
        let mut dossier: Dossier = serde_json::from_str(FIRST).unwrap();
        dossier.intent =
            Some(Intent::SetPin(SetPin { may_be_set: true, puk_tries_before: None, told: None }));
        assert_eq!(dossier.ends().card, EnvelopeEnd::Void);
        dossier.intent = None;
        for (paragraph, end) in [("§9.3.2-7", EnvelopeEnd::Void), ("§9.3.2-9", EnvelopeEnd::Used)] {
            let mut done = dossier.done[0].clone();
            done.paragraph = paragraph.to_owned();
            dossier.done.push(done);
            assert_eq!(dossier.ends().card, end);
        }
        dossier.envelope = None;
        assert_eq!(dossier.ends(), Ends::default());
    }
}
