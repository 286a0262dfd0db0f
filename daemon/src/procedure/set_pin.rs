//! §9.3.2-7: the card's PIN is set to the envelope's value with the card's PUK. Nobody sees either.
//!
//! What is true if the power fails after each act: the envelope is reserved; the intention is in the audit log; the
//! intent is persisted and the procedure unsettled; the chip has the new PIN or the old one. From the persisted intent
//! on, the same value is set again until the chip confirms (X8): that is harmless, and burns no try, because RESET
//! RETRY COUNTER with the right PUK restores all counters, and a PUK that the chip was heard to refuse is never
//! presented again. Where the chip's counter does not show that the PUK was not refused unheard, only an operator who
//! was told so has it presented again.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Case, ProcedureState};
use cns_protocol::pin::{PinName, PinState};
use cns_protocol::rpc::Progress;

use crate::card::{CardContents, CardError, CardSession, LastTry, Sent, pin, what_was_sent};
use crate::custody::{Lent, PukKind};
use crate::dispatch::ProgressSender;
use crate::procedure::dossier::{Dossier, Ends, EnvelopeEnd, Intent, SetPin, Told};
use crate::procedure::same_card::bind;
use crate::procedure::steps::StepName;
use crate::procedure::{Actor, Engine, Meter, ProcedureError};

const ACT: &str = "pin-set";
const PARAGRAPH: &str = "§9.3.2-7";

const NO_AREA_PUK: &str = "The signature PIN is as it was: custody has no PUK for the signature area";

/// Where the signature PIN has an envelope of its own, which was not asked for.
const NOT_SEEN: &str = "The signature PIN is as it was: when the procedure began the card's signature area was not seen, or custody had no \
                        PUK for it. If it has now, give the citizen new codes again (§9.4)";

/// What is lent for one attempt.
struct Values {
    puk: Lent,
    pin: Lent,
    /// PUK and PIN for the signature area, where the card has one (X1).
    signature: Option<(Lent, Lent)>,
}

/// What the chip did about the signature area's PIN: nothing to do, set, or refused for this reason.
type SignatureResult = Option<Result<(), CardError>>;

/// What the chip's counter says about presenting the PUK.
enum Look {
    /// It may be presented; the tries left, where the chip tells.
    Present(Option<u8>),
    /// An interrupted attempt may have had it refused; or somebody else entered a wrong one; or the chip does not
    /// tell.
    Doubtful(Option<u8>),
    /// It is blocked.
    Blocked,
}

impl Engine {
    /// Sets the PIN, for the first time or again, and brings the procedure to its next step.
    pub(super) async fn set_pin(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let contents = self.card_of(dossier, actor)?;
        let meter = Meter::start(&self.readers, Some(&contents.card.reader));
        let before = match &dossier.intent {
            Some(Intent::SetPin(before)) => before.clone(),
            Some(
                Intent::Signature(_) | Intent::Close { .. } | Intent::Status { .. } | Intent::National { .. },
            )
            | None => SetPin::default(),
        };
        report(progress, 0, "Asking the card for the tries left on its PUK");
        let puk_tries = match self.look_at_puk(&contents, &before).await? {
            Look::Present(tries) => before.puk_tries_before.or(tries),
            Look::Doubtful(tries) if !actor.is_daemon() && before.told == Some(Told { tries }) => tries,
            Look::Doubtful(tries) => return self.tell_doubt(actor, dossier, before, tries).await,
            Look::Blocked => return self.settle_refusal(actor, dossier, &before, Sent::PukBlocked).await,
        };
        if !before.may_be_set {
            // The card may have been suspended since the procedure began, days ago.
            self.check_status(dossier, &contents).await?;
        }
        let values = self.borrow_values(dossier, &contents).await?;
        let text = format!("the PIN is set to the value of envelope {}", codes_in_words(dossier)?);
        self.record(actor, dossier, (ACT, Phase::Intention, PARAGRAPH), text).await?;
        let intent = SetPin { may_be_set: true, puk_tries_before: puk_tries, told: None };
        dossier.intent = Some(Intent::SetPin(intent));
        dossier.state = ProcedureState::Unsettled;
        bind(dossier, &contents);
        self.store.update(dossier).await?;
        report(progress, 1, "Setting the PIN to the envelope's value");
        let (reader, insertion) = (contents.card.reader.clone(), contents.card.insertion);
        self.tell_pin(&contents);
        let result = self.readers.run(&reader, Some(insertion), move |session| reset(session, values)).await;
        // Also after an error: the chip may have the new PIN.
        self.tell_pin(&contents);
        match result {
            Ok(signature) => {
                self.note_signature_pin(dossier, &before, signature).await?;
                self.conclude(actor, dossier, &meter).await?;
                self.note_certificates(dossier, &contents, true).await;
                report(progress, 2, "The PIN is set");
                Ok(())
            }
            Err(error) => self.judge_failure(actor, dossier, &before, error).await,
        }
    }

    /// Asks the chip how many tries its PUK has left, before anything is sent that could burn one.
    async fn look_at_puk(&self, contents: &CardContents, before: &SetPin) -> Result<Look, ProcedureError> {
        let job = |session: &mut CardSession<'_>| match pin::status(session) {
            // A chip that does not tell is asked no more; the counter is then unknown.
            Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(Vec::new()),
            other => other,
        };
        let states = self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?;
        let is_puk = |state: &&PinState| state.is_puk && state.which == PinName::Cns;
        let puk = states.iter().find(is_puk);
        if puk.is_some_and(|puk| puk.blocked == Some(true)) {
            return Ok(Look::Blocked);
        }
        let now = puk.and_then(|puk| puk.tries_left);
        Ok(match (before.may_be_set, before.puk_tries_before, now) {
            (false, _, _) => Look::Present(now),
            (true, Some(then), Some(left)) if left >= then => Look::Present(now),
            (true, _, _) => Look::Doubtful(now),
        })
    }

    /// Fewer tries than before an attempt whose answer was lost are no proof that custody's PUK is wrong: the holder
    /// or another program may have entered one. So custody's stays good, but no try is spent before an operator who
    /// was told answers the step again.
    async fn tell_doubt(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        before: SetPin,
        tries_left: Option<u8>,
    ) -> Result<(), ProcedureError> {
        let doubt = ProcedureError::PukDoubtful { tries_left };
        dossier.warn(doubt.to_string());
        if !actor.is_daemon() {
            let text = format!("not presented: {doubt}");
            self.record(actor, dossier, (ACT, Phase::Fact, PARAGRAPH), text).await?;
            dossier.intent =
                Some(Intent::SetPin(SetPin { told: Some(Told { tries: tries_left }), ..before }));
        }
        self.store.update(dossier).await?;
        Err(doubt)
    }

    async fn borrow_values(
        &self,
        dossier: &Dossier,
        contents: &CardContents,
    ) -> Result<Values, ProcedureError> {
        let (custody, card, code) = (&self.custody, dossier.card.as_str(), code_of(dossier)?);
        if !custody.has_puk(card, PukKind::Cns).await? {
            return Err(ProcedureError::NoPuk);
        }
        let puk = custody.puk(card, PukKind::Cns).await?;
        let pin = custody.envelope_pin(code, &dossier.id).await?;
        let again = dossier.case == Case::NewCodes && contents.has_signature_area();
        let area_code = match &dossier.area_envelope {
            None => Some(code),
            Some(_) => dossier.area_code(),
        };
        if dossier.area_code().is_some() && !again {
            // There was one when the procedure began: the card was misread, as after a fault.
            return Err(
                CardError::AreaNotReady("it cannot be read: take the card out and put it in again").into()
            );
        }
        let signature = match area_code {
            Some(code) if again && custody.has_puk(card, PukKind::Signature).await? => {
                let puk = custody.puk(card, PukKind::Signature).await?;
                Some((puk, custody.envelope_pin(code, &dossier.id).await?))
            }
            Some(_) | None => None,
        };
        Ok(Values { puk, pin, signature })
    }

    /// The chip confirmed: envelope, audit log and procedure follow, in an order that can be repeated.
    async fn conclude(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        meter: &Meter,
    ) -> Result<(), ProcedureError> {
        let code = code_of(dossier)?.to_owned();
        self.custody.mark_used(&code, &dossier.id).await?;
        let codes = codes_in_words(dossier)?;
        let text = format!("the PIN is the value of envelope {codes}");
        self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), text).await?;
        let step = dossier.path().step(StepName::PinSet).ok_or(ProcedureError::Internal)?;
        self.note(dossier, step, format!("the PIN was set to the value of envelope {codes}"), meter);
        dossier.intent = None;
        dossier.state = ProcedureState::Open;
        self.store.update(dossier).await?;
        Ok(())
    }

    /// The card's own PIN is set; the signature area's is told apart, because it has a PUK of its own.
    async fn note_signature_pin(
        &self,
        dossier: &mut Dossier,
        before: &SetPin,
        result: SignatureResult,
    ) -> Result<(), ProcedureError> {
        let own = dossier.area_code().map(str::to_owned);
        match (result, &own) {
            (None, _) => {
                let has_area =
                    self.readers.find_card(&dossier.card).is_some_and(|card| card.has_signature_area());
                if dossier.case == Case::NewCodes && has_area {
                    dossier.warn(if dossier.area_envelope.is_some() { NOT_SEEN } else { NO_AREA_PUK });
                }
            }
            (Some(Ok(())), None) => {
                dossier.warn("The signature PIN was set to the envelope's value too (X1)");
            }
            (Some(Ok(())), Some(code)) => {
                self.custody.mark_used(code, &dossier.id).await?;
                dossier.warn(format!("The signature PIN was set to the value of envelope {code} (X1)"));
                return Ok(());
            }
            (Some(Err(error)), _) => {
                if let CardError::PukIncorrect { tries_left } = error {
                    self.custody.puk_refused(&dossier.card, PukKind::Signature, tries_left).await?;
                }
                let attempt =
                    if before.may_be_set { ", unless the attempt that was cut off has set it" } else { "" };
                dossier.warn(format!("The signature PIN is as it was{attempt}: {error}"));
            }
        }
        if let (Some(area), Some(code)) = (&mut dossier.area_envelope, own) {
            // An earlier attempt, whose end nobody heard, may have set it all the same.
            area.may_be_set |= before.may_be_set;
            area.given_up = true;
            let end = if area.may_be_set {
                "is void when the procedure ends: give the citizen new codes again (§9.4)"
            } else {
                "is free again when the procedure ends: keep it"
            };
            dossier.warn(format!("Envelope {code} is not handed over, and {end}"));
        }
        Ok(())
    }

    async fn judge_failure(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        before: &SetPin,
        error: CardError,
    ) -> Result<(), ProcedureError> {
        match what_was_sent(&error) {
            Sent::Unchanged if !before.may_be_set => {
                self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), format!("not set: {error}"))
                    .await?;
                dossier.intent = None;
                dossier.state = ProcedureState::Open;
                self.store.update(dossier).await?;
                Err(error.into())
            }
            Sent::Unchanged | Sent::Unknown => {
                let text = format!("not known: {error}; it is set again when the card is back");
                self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), text).await?;
                Err(ProcedureError::Unsettled { cause: error })
            }
            sent @ (Sent::PukRefused(_) | Sent::PukBlocked) => {
                self.settle_refusal(actor, dossier, before, sent).await
            }
        }
    }

    /// The PUK does not work: the procedure ends. The envelope is free again if no earlier attempt can have set its
    /// value.
    async fn settle_refusal(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        before: &SetPin,
        sent: Sent,
    ) -> Result<(), ProcedureError> {
        let error = match sent {
            Sent::PukRefused(tries_left) => {
                self.custody.puk_refused(&dossier.card, PukKind::Cns, tries_left).await?;
                ProcedureError::PukRefused { tries_left }
            }
            Sent::PukBlocked => ProcedureError::PukBlocked,
            Sent::Unchanged | Sent::Unknown => ProcedureError::Internal,
        };
        let end = if before.may_be_set { EnvelopeEnd::Void } else { EnvelopeEnd::Release };
        // The signature area's PIN is set after the card's.
        let area = if dossier.area_code().is_some() { end } else { dossier.ends().area };
        self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), format!("not set: {error}")).await?;
        dossier.warn(error.to_string());
        self.close(dossier, ProcedureState::Cancelled, Ends { card: end, area }).await?;
        Err(error)
    }
}

/// The work on the chip, inside one transaction. The card's PUK in custody was never refused, and without it the card
/// is lost anyway: its last try may be spent. The signature area's may not.
fn reset(session: &mut CardSession<'_>, values: Values) -> Result<SignatureResult, CardError> {
    let Values { puk, pin, signature } = values;
    puk.lend(|puk| pin.lend(|pin| pin::reset(session, PinName::Cns, puk, pin, LastTry::Confirmed)))?;
    let Some((puk, pin)) = signature else { return Ok(None) };
    match puk.lend(|puk| pin.lend(|pin| pin::reset(session, PinName::Signature, puk, pin, LastTry::Ask))) {
        Ok(_) => Ok(Some(Ok(()))),
        // Without a clear answer the whole is unknown, and both are set again.
        Err(error) if matches!(what_was_sent(&error), Sent::Unknown) => Err(error),
        Err(error) => Ok(Some(Err(error))),
    }
}

fn code_of(dossier: &Dossier) -> Result<&str, ProcedureError> {
    dossier.envelope.as_deref().ok_or(ProcedureError::Internal)
}

/// The envelopes whose values are set.
fn codes_in_words(dossier: &Dossier) -> Result<String, ProcedureError> {
    let code = code_of(dossier)?;
    Ok(match dossier.area_code() {
        Some(area) => format!("{code}, and the signature PIN to that of envelope {area}"),
        None => code.to_owned(),
    })
}

fn report(progress: &ProgressSender, done: u32, message: &str) {
    progress.send(Progress {
        request: None,
        step: "set-pin".to_owned(),
        paragraph: Some(PARAGRAPH.to_owned()),
        message: message.to_owned(),
        done,
        total: Some(2),
    });
}
