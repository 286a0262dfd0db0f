//! The answer to a step: one function per kind of step, in the manual's order.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, AnswerStep, Procedure, ProcedureState, Verdict, Wants};

use crate::custody::{Desk, EnvelopeCode};
use crate::dispatch::ProgressSender;
use crate::procedure::close::refuse_other_operator;
use crate::procedure::dossier::Dossier;
use crate::procedure::signature::Pins;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, clock, identity};

/// What the citizen is told when the identity does not agree (§9.3.2-5).
const REVENUE_AGENCY: &str = "The document does not agree with the certificate: send the citizen to the Revenue Agency's office (§9.3.2-5)";

/// What a step led to.
enum Led {
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
        let meter = self.meter_of(&dossier);
        let pins = Pins { holder: request.pin, operator: request.operator_pin };
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
        use StepName as Name;
        match (step.name, answer) {
            (
                Name::PrivacyNotice
                | Name::OperatorSession
                | Name::StatedWish
                | Name::CardInReader
                | Name::RequestForm
                | Name::HandOver
                | Name::InformationSheet,
                Answer::Confirmed,
            ) => Ok(Led::On(step.name.outcome().to_owned())),
            (Name::Identification, Answer::Document(document)) => {
                let document = identity::check_document(document, clock::today())?;
                let outcome = format!("identified by {}", identity::document_name(document.kind));
                dossier.document = Some(document);
                Ok(Led::On(outcome))
            }
            (Name::Comparison, Answer::Verdict(Verdict::Match)) => {
                Ok(Led::On("the document agrees with the certificate".to_owned()))
            }
            (Name::Comparison, Answer::Verdict(Verdict::Mismatch)) => {
                dossier.warn(REVENUE_AGENCY);
                Ok(Led::Out("the document does not agree with the certificate".to_owned()))
            }
            (Name::Envelope, Answer::Envelope(code)) => self.choose_envelope(dossier, &code).await,
            (Name::PinSet, Answer::Confirmed) => {
                self.set_pin(actor, dossier, progress).await?;
                Ok(Led::Noted)
            }
            (Name::SignatureWanted, Answer::Wanted(wanted)) => self.choose_signature(dossier, wanted),
            (Name::SignatureWork | Name::SignatureWithHolderPin, Answer::Confirmed) => {
                self.make_signature(actor, dossier, step, pins, progress).await?;
                Ok(Led::Noted)
            }
            (Name::ReaderRequest, Answer::Wanted(wanted)) => {
                dossier.reader_requested = Some(wanted);
                Ok(Led::On(if wanted { "requested" } else { "not requested" }.to_owned()))
            }
            (_, _) => Err(ProcedureError::WrongAnswer { wants: step.wants }),
        }
    }

    /// §9.3.2-6: the envelope is reserved for this procedure. Its code is persisted first, so that a power cut cannot
    /// leave an envelope reserved that no procedure knows of.
    async fn choose_envelope(&self, dossier: &mut Dossier, code: &str) -> Result<Led, ProcedureError> {
        let code = EnvelopeCode::parse(code)?.as_str().to_owned();
        if let Some(earlier) = dossier.envelope.take_if(|earlier| *earlier != code) {
            self.release(&earlier, &dossier.id).await?;
        }
        dossier.envelope = Some(code.clone());
        self.store.update(dossier).await?;
        let desk = Desk { operator: &dossier.operator, counter: Some(&dossier.counter) };
        if let Err(error) = self.custody.reserve(&code, desk, &dossier.id, &dossier.card).await {
            dossier.envelope = None;
            self.store.update(dossier).await?;
            return Err(error.into());
        }
        Ok(Led::On(format!("envelope {code}")))
    }

    /// §9.3.2-8.
    fn choose_signature(&self, dossier: &mut Dossier, wanted: bool) -> Result<Led, ProcedureError> {
        if wanted {
            let card = self.readers.find_card(&dossier.card);
            self.check_signature_allowed(&dossier.holder.birth_date, card.as_deref())?;
        }
        dossier.signature_wanted = wanted;
        Ok(Led::On(if wanted { "wanted" } else { "not wanted" }.to_owned()))
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
        let end = dossier.envelope_end();
        self.close(dossier, ProcedureState::Done, end).await
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
        let end = dossier.envelope_end();
        self.close(dossier, ProcedureState::Cancelled, end).await
    }
}

/// The step that is next, if the answer is for it and has a PIN exactly when one is wanted.
fn judge_form(dossier: &Dossier, request: &AnswerStep) -> Result<&'static StepRule, ProcedureError> {
    let step = dossier.next().ok_or_else(|| ProcedureError::Over(dossier.id.clone()))?;
    if request.paragraph != step.paragraph {
        return Err(ProcedureError::WrongStep { expected: step.paragraph });
    }
    if request.pin.is_some() != (step.wants == Wants::Pin) {
        return Err(ProcedureError::WrongAnswer { wants: step.wants });
    }
    Ok(step)
}

/// Whether the answer asks again for the work that was done last, as after a lost connection, or when the card was
/// settled in the meantime. Doing nothing is then the right answer.
fn repeats_work(dossier: &Dossier, request: &AnswerStep) -> bool {
    let last = dossier.last.and_then(|name| dossier.rule().step(name));
    last.is_some_and(|step| {
        matches!(step.wants, Wants::Work | Wants::Pin)
            && step.paragraph == request.paragraph
            && request.answer == Answer::Confirmed
    })
}
