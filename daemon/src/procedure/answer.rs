//! The answer to a step: one function per kind of step, in the manual's order.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, AnswerStep, Procedure, ProcedureState, Verdict, Wants};

use crate::custody::{Desk, EnvelopeCode, EnvelopePurpose};
use crate::dispatch::ProgressSender;
use crate::procedure::close::refuse_other_operator;
use crate::procedure::dossier::Dossier;
use crate::procedure::signature::Pins;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, facts, question};

/// What the citizen is told when the identity does not agree (§9.3.2-5).
const REVENUE_AGENCY: &str = "The document does not agree with the certificate: send the citizen to the Revenue Agency's office (§9.3.2-5)";

/// What the operator is told where a household has asked for a reader before (X17).
const ASKED_BEFORE: &str = "A reader was asked for by this household before: one is free (§9.3.2-10)";

/// What a step led to.
pub(super) enum Led {
    /// The step is done; in words, without personal data.
    On(String),
    /// The step was done and noted by the work itself.
    Noted,
    /// The step ends the procedure early; in words.
    Out(String),
}

impl Engine {
    pub(super) async fn answer(
        &self,
        actor: &Actor,
        request: AnswerStep,
        progress: &ProgressSender,
    ) -> Result<Procedure, ProcedureError> {
        let card = self.load(&request.procedure).await?.card;
        let _guard = self.locks.lock(&card).await;
        let mut dossier = self.load(&request.procedure).await?;
        refuse_other_operator(&dossier, actor)?;
        let (request, household) = read_fields(&dossier, request, !self.household_key().is_empty())?;
        if dossier.state == ProcedureState::Unsettled {
            // Setting the PIN again may be a decision about the PUK: no other answer stands for it.
            judge_form(&dossier, &request)?;
            if request.answer != Answer::Confirmed {
                return Err(ProcedureError::WrongAnswer { wants: Wants::Work });
            }
            self.set_pin(actor, &mut dossier, progress).await?;
        }
        if repeats_work(&dossier, &request) {
            return Ok(dossier.to_procedure());
        }
        let step = judge_form(&dossier, &request)?;
        dossier.household = household.or(dossier.household.take());
        let meter = self.meter_of(&dossier);
        let pins =
            Pins { holder: request.pin, signature: request.signature_pin, operator: request.operator_pin };
        match self.take(actor, &mut dossier, step, request.answer, pins, progress).await? {
            Led::On(outcome) => self.go_forward(actor, &mut dossier, step, outcome, &meter).await?,
            Led::Noted => {}
            Led::Out(outcome) => self.go_out(actor, &mut dossier, step, outcome, &meter).await?,
        }
        Ok(dossier.to_procedure())
    }

    async fn take(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        answer: Answer,
        pins: Pins,
        progress: &ProgressSender,
    ) -> Result<Led, ProcedureError> {
        match (step.wants, answer) {
            (Wants::Confirmation, Answer::Confirmed) => Ok(Led::On(step.name.outcome().to_owned())),
            (Wants::Verdict, Answer::Verdict(verdict)) => Ok(compare(dossier, step, verdict)),
            (Wants::EnvelopeCode, Answer::Envelope(code)) => self.choose_envelope(dossier, step, &code).await,
            (Wants::Choice, Answer::Wanted(wanted)) if step.name == StepName::SignatureWanted => {
                self.choose_signature(dossier, wanted)
            }
            (Wants::Choice, Answer::Wanted(wanted)) => {
                self.choose_reader(dossier, wanted).await?;
                Ok(Led::On(if wanted { "requested" } else { "not requested" }.to_owned()))
            }
            (Wants::Work | Wants::Pin | Wants::Pins, Answer::Confirmed) => {
                self.work(actor, dossier, step, pins, progress).await?;
                Ok(Led::Noted)
            }
            (
                Wants::Applicant
                | Wants::Document
                | Wants::Representative
                | Wants::HolderCopy
                | Wants::Evidence
                | Wants::Reason
                | Wants::NationalRequest
                | Wants::Email
                | Wants::Paper,
                answer,
            ) => facts::take(dossier, step, answer),
            (wants, _) => Err(ProcedureError::WrongAnswer { wants }),
        }
    }

    /// The daemon's own work in a step: on the card, with an authority, with the national system.
    async fn work(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        pins: Pins,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        match step.name {
            StepName::PinSet => self.set_pin(actor, dossier, progress).await,
            StepName::SignatureWork | StepName::SignatureWithHolderPin | StepName::RenewalWork => {
                self.make_signature(actor, dossier, step, pins, progress).await
            }
            StepName::SuspensionWork | StepName::ReactivationWork | StepName::RevocationWork => {
                self.change_status(actor, dossier, step, pins).await
            }
            StepName::NationalWork => self.ask_national_system(actor, dossier, step).await,
            StepName::PrivacyNotice
            | StepName::OperatorSession
            | StepName::StatedWish
            | StepName::CardInReader
            | StepName::Identification
            | StepName::Comparison
            | StepName::Envelope
            | StepName::AreaEnvelopeForCodes
            | StepName::AreaEnvelope
            | StepName::SignatureWanted
            | StepName::RequestForm
            | StepName::HandOver
            | StepName::ReaderRequest
            | StepName::InformationSheet
            | StepName::Applicant
            | StepName::Representative
            | StepName::Declaration
            | StepName::Evidence
            | StepName::HolderCopy
            | StepName::Delegation
            | StepName::MedicalCertificate
            | StepName::CardComparison
            | StepName::NationalRequest
            | StepName::SecondPart
            | StepName::FirstPart
            | StepName::Reason
            | StepName::Report
            | StepName::ReasonGone => Err(ProcedureError::Internal),
        }
    }

    /// §9.3.2-6, and where the signature PIN has an envelope of its own (X1): the envelope is reserved for this procedure.
    /// Its code is persisted first, so that a power cut cannot leave an envelope reserved that no procedure knows of.
    async fn choose_envelope(
        &self,
        dossier: &mut Dossier,
        step: &StepRule,
        code: &str,
    ) -> Result<Led, ProcedureError> {
        let code = EnvelopeCode::parse(code)?.as_str().to_owned();
        let purpose = if step.name == StepName::Envelope {
            EnvelopePurpose::Card
        } else if dossier.envelope.as_ref() == Some(&code) {
            return Err(same_envelope(step));
        } else {
            EnvelopePurpose::Signature
        };
        if let Some(earlier) = place_for(dossier, purpose)?.take_if(|earlier| *earlier != code) {
            self.release(&earlier, &dossier.id).await?;
        }
        *place_for(dossier, purpose)? = Some(code.clone());
        self.store.update(dossier).await?;
        let desk = Desk { operator: &dossier.operator, counter: Some(&dossier.counter) };
        let for_card = (dossier.id.as_str(), dossier.card.as_str());
        if let Err(error) = self.custody.reserve_for(&code, desk, for_card, purpose).await {
            *place_for(dossier, purpose)? = None;
            self.store.update(dossier).await?;
            return Err(error.into());
        }
        Ok(Led::On(format!("envelope {code}")))
    }

    /// §9.3.2-8.
    fn choose_signature(&self, dossier: &mut Dossier, wanted: bool) -> Result<Led, ProcedureError> {
        if wanted {
            let card = self.readers.find_card(&dossier.card);
            self.check_signature_allowed(&dossier.holder, card.as_deref())?;
        }
        dossier.signature_wanted = wanted;
        Ok(Led::On(if wanted { "wanted" } else { "not wanted" }.to_owned()))
    }

    /// §9.3.2-10. That a household has asked before is told, and the operator decides (X17).
    async fn choose_reader(&self, dossier: &mut Dossier, wanted: bool) -> Result<(), ProcedureError> {
        dossier.reader_requested = Some(wanted);
        dossier.household.take_if(|_| !wanted);
        let Some(household) = &dossier.household else { return Ok(()) };
        // As it is written does not matter.
        let key: String =
            household.split_whitespace().flat_map(str::chars).flat_map(char::to_uppercase).collect();
        if self.store.ask_for_reader(&self.custody.household_tag(&key)?, dossier).await? {
            dossier.warn(ASKED_BEFORE);
        }
        Ok(())
    }

    async fn go_forward(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        outcome: String,
        meter: &Meter,
    ) -> Result<(), ProcedureError> {
        self.record(actor, dossier, ("procedure-step", Phase::Fact, step.paragraph), outcome.clone()).await?;
        self.note(dossier, step, outcome, meter);
        if dossier.next().is_some() {
            self.store.update(dossier).await?;
            return Ok(());
        }
        let rule = dossier.rule();
        let text = format!("{} is complete", rule.name);
        self.record(actor, dossier, ("procedure-done", Phase::Fact, rule.paragraph), text).await?;
        let ends = dossier.ends();
        self.close(dossier, ProcedureState::Done, ends).await
    }

    async fn go_out(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        outcome: String,
        meter: &Meter,
    ) -> Result<(), ProcedureError> {
        self.record(actor, dossier, ("procedure-cancelled", Phase::Fact, step.paragraph), outcome.clone())
            .await?;
        self.note(dossier, step, outcome, meter);
        let ends = dossier.ends();
        self.close(dossier, ProcedureState::Cancelled, ends).await
    }
}

/// Where the code of an envelope is kept.
fn place_for(dossier: &mut Dossier, purpose: EnvelopePurpose) -> Result<&mut Option<String>, ProcedureError> {
    match purpose {
        EnvelopePurpose::Card => Ok(&mut dossier.envelope),
        EnvelopePurpose::Signature => {
            let area = dossier.area_envelope.as_mut().ok_or(ProcedureError::Internal)?;
            Ok(&mut area.code)
        }
    }
}

/// The envelope of the card's PIN is no other one.
fn same_envelope(step: &StepRule) -> ProcedureError {
    ProcedureError::rule(
        step.paragraph,
        "this is the envelope of the card's PIN: the signature PIN has one of its own",
        "questa è la busta del PIN della carta: il PIN di firma ha una busta propria",
    )
    .hinting("Take another one of your envelopes", "Prendere un'altra delle proprie buste")
}

/// An answer that came as the fields of a form, as the answer that the step wants; with the household, where that is asked.
fn read_fields(
    dossier: &Dossier,
    mut request: AnswerStep,
    asks_household: bool,
) -> Result<(AnswerStep, Option<String>), ProcedureError> {
    let (path, mut household) = (dossier.path(), None);
    if let Answer::Fields(mut values) = request.answer {
        // Of any step: an answer may be repeated. Whose turn it is is judged next.
        let asked = path.steps().find(|step| step.paragraph == request.paragraph);
        let next = || dossier.next().map(|step| ProcedureError::WrongStep { expected: step.paragraph });
        let Some(step) = asked else {
            return Err(next().unwrap_or_else(|| ProcedureError::Over(dossier.id.clone())));
        };
        if asks_household && step.name == StepName::ReaderRequest {
            household = question::household(&mut values)?;
        }
        request.answer = question::answer(step.wants, path.case, values)?;
    }
    Ok((request, household))
}

/// The operator's verdict: a mismatch ends the procedure.
fn compare(dossier: &mut Dossier, step: &StepRule, verdict: Verdict) -> Led {
    match (verdict, step.name == StepName::CardComparison) {
        (Verdict::Match, _) => Led::On(step.name.outcome().to_owned()),
        (Verdict::Mismatch, true) => {
            dossier.warn("The document does not agree with the data printed on the card (§9.3.3-4)");
            Led::Out("the document does not agree with the data on the card".to_owned())
        }
        (Verdict::Mismatch, false) => {
            dossier.warn(REVENUE_AGENCY);
            Led::Out("the document does not agree with the certificate".to_owned())
        }
    }
}

/// The step that is next, if the answer is for it and has the holder's PINs exactly when they are wanted.
fn judge_form(dossier: &Dossier, request: &AnswerStep) -> Result<&'static StepRule, ProcedureError> {
    let step = dossier.next().ok_or_else(|| ProcedureError::Over(dossier.id.clone()))?;
    if request.paragraph != step.paragraph {
        return Err(ProcedureError::WrongStep { expected: step.paragraph });
    }
    let given = (request.pin.is_some(), request.signature_pin.is_some());
    if given != (matches!(step.wants, Wants::Pin | Wants::Pins), step.wants == Wants::Pins) {
        return Err(ProcedureError::WrongAnswer { wants: step.wants });
    }
    Ok(step)
}

/// Whether the answer asks again for the work that was done last, as after a lost connection, or when the card was
/// settled in the meantime. Doing nothing is then the right answer.
fn repeats_work(dossier: &Dossier, request: &AnswerStep) -> bool {
    let last = dossier.last.and_then(|name| dossier.path().step(name));
    last.is_some_and(|step| {
        matches!(step.wants, Wants::Work | Wants::Pin | Wants::Pins)
            && step.paragraph == request.paragraph
            && request.answer == Answer::Confirmed
    })
}
