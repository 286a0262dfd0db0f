//! The beginning of a procedure: what must hold before the card is worked with.

use cns_protocol::audit::Phase;
use cns_protocol::card::{Certificate, Holder, KeyUse};
use cns_protocol::counter::{Case, Procedure, ProcedureState, Start};
use cns_protocol::operator::CounterKind;

use crate::card::CardContents;
use crate::config::AreaPin;
use crate::custody::PukKind;
use crate::national::Withdrawn;
use crate::operator::Session;
use crate::procedure::dossier::{AreaEnvelope, Dossier, Intent, VERSION, WITHOUT_AREA_ENVELOPE};
use crate::procedure::national::{MAY_HAVE_COME, WAS_ACCEPTED};
use crate::procedure::same_card::{bind, data_disagree};
use crate::procedure::signature::renewal;
use crate::procedure::steps::cases::Needs;
use crate::procedure::steps::{RULES, StepName, When, case_rule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, clock, identity, random};
use crate::reader::pcsc;

/// Refuses work with secrets through a PC/SC daemon that logs APDUs. The daemon's own vpcd reader has none between.
pub(super) fn refuse_logging_reader(contents: &CardContents) -> Result<(), ProcedureError> {
    if !contents.card.is_virtual && pcsc::logs_apdus() { Err(ProcedureError::ReaderLogs) } else { Ok(()) }
}

impl Engine {
    pub(super) async fn start(
        &self,
        actor: &Actor,
        session: &Session,
        start: &Start,
    ) -> Result<Procedure, ProcedureError> {
        let contents = self.readers.card(&start.reader)?;
        if start.reader == session.reader {
            return Err(ProcedureError::rule(
                "§9.3.2-4",
                "this reader holds the operator's card: put the citizen's card into another one",
                "questo lettore contiene la carta dell'operatore: inserire quella del cittadino in un altro",
            ));
        }
        refuse_logging_reader(&contents)?;
        self.refuse_case(start.case, session.counter_kind)?;
        let _guard = self.locks.lock(&contents.card.serial).await;
        let mut open = self.store.of_card(&contents.card.serial).await?;
        if let Some(open) = &mut open
            && self.goes_on(session, open).await?
        {
            return self.give_back(actor, session, start, open).await;
        }
        let mut dossier = self.judge_start(session, start, &contents).await?;
        if let Some(mut open) = open {
            // The answer to its request may come at this moment.
            match self.withdraw_request(actor, &mut open).await? {
                Some(Withdrawn::Accepted) => return self.give_back(actor, session, start, &mut open).await,
                Some(Withdrawn::MayBeSent) => dossier.warn(MAY_HAVE_COME),
                Some(Withdrawn::NeverSent | Withdrawn::Refused) | None => {}
            }
            self.end(actor, session, open).await?;
        }
        let meter = Meter::start(&self.readers, None);
        let rule = dossier.rule();
        for step in dossier.path().steps().filter(|step| step.when == When::AtStart) {
            self.note(&mut dossier, step, step.name.outcome().to_owned(), &meter);
        }
        dossier.last = None;
        let text = format!("{} begins by rule set {RULES}, counter {}", rule.name, dossier.counter);
        self.record(actor, &dossier, ("procedure-started", Phase::Fact, rule.paragraph), text).await?;
        self.store.insert(&dossier).await?;
        Ok(dossier.to_procedure())
    }

    /// What must hold before anything that is open is ended for it; gives the procedure as it begins.
    async fn judge_start(
        &self,
        session: &Session,
        start: &Start,
        contents: &CardContents,
    ) -> Result<Dossier, ProcedureError> {
        if start.case == Case::Renewal {
            self.refuse_closed_renewal()?;
        }
        let certificate = self.check_card(contents, start.case)?;
        let mut dossier = new_dossier(session, start.case, contents, certificate)?;
        self.choose_area_pin(&mut dossier, contents).await?;
        if let Some(applicant) = dossier.applicant {
            identity::check_age(applicant, &dossier.holder, clock::today())?;
        }
        self.judge_certificates(&mut dossier, contents).await?;
        self.check_status(&mut dossier, contents).await?;
        Ok(dossier)
    }

    /// Whether the procedure that is open for the card goes on, or ends so that another can begin.
    ///
    /// The same operator gets it back. Another operator, who has the card in front of them, takes it over when a PIN may
    /// have been set, because only its envelope can settle it; when another region has accepted its request, because a
    /// second one would have that done twice; and when a signature certificate was asked for, because a second one would be
    /// issued. Otherwise it ends and its envelope is free again, because who activates must have identified the holder
    /// themselves (§6.1.1).
    async fn goes_on(&self, session: &Session, open: &Dossier) -> Result<bool, ProcedureError> {
        Ok(open.operator == session.operator
            || open.pin_may_be_set()
            || open.area_pin_may_be_set()
            || open.certificate_request().is_some()
            || self.request_was_accepted(open).await?)
    }

    /// The open procedure, for an operator who has asked for its case.
    async fn give_back(
        &self,
        actor: &Actor,
        session: &Session,
        start: &Start,
        open: &mut Dossier,
    ) -> Result<Procedure, ProcedureError> {
        let theirs = open.operator == session.operator;
        // An activation offers the signature certificate itself (§9.3.2-8).
        let offers_it = start.case == Case::Signature
            && open.rule().trunk.iter().any(|step| step.name == StepName::SignatureWanted);
        if open.case != start.case && !offers_it {
            let (way, way_it) = if theirs {
                ("finish or cancel it", "portarla a termine o annullarla")
            } else {
                ("start that case to take it over", "avviare quel caso per rilevarla")
            };
            let rule = open.rule();
            return Err(ProcedureError::rule(
                rule.paragraph,
                format!("procedure {} ({}) is open for this card: {way}", open.id, rule.name),
                format!("per questa carta è aperta la procedura {} ({}): {way_it}", open.id, rule.text_it),
            ));
        }
        if !theirs {
            if self.request_was_accepted(open).await? {
                open.warn(WAS_ACCEPTED);
            }
            self.take_over(actor, session, open).await?;
        }
        Ok(open.to_procedure())
    }

    /// Ends the open procedure of another operator, of which nothing is left.
    async fn end(&self, actor: &Actor, session: &Session, mut open: Dossier) -> Result<(), ProcedureError> {
        let (text, paragraph) = (has_the_card(session, &open), open.rule().paragraph);
        self.record(actor, &open, ("procedure-cancelled", Phase::Fact, paragraph), text).await?;
        let ends = open.ends();
        self.close(&mut open, ProcedureState::Cancelled, ends).await
    }

    async fn take_over(
        &self,
        actor: &Actor,
        session: &Session,
        open: &mut Dossier,
    ) -> Result<(), ProcedureError> {
        let (text, paragraph) = (has_the_card(session, open), open.rule().paragraph);
        self.record(actor, open, ("procedure-taken-over", Phase::Fact, paragraph), text).await?;
        open.warn(format!("Taken over from operator {}", open.operator));
        open.operator.clone_from(&session.operator);
        open.counter.clone_from(&session.counter);
        open.counter_kind = session.counter_kind;
        // What the first operator was told decides nothing for the second.
        if let Some(Intent::SetPin(set_pin)) = &mut open.intent {
            set_pin.told = None;
        }
        Ok(self.store.update(open).await?)
    }

    /// X1: where the signature PIN comes from, as it is configured now. What is begun goes on so.
    async fn choose_area_pin(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
    ) -> Result<(), ProcedureError> {
        let policy = self.signature_area.get().copied().unwrap_or_default().pin;
        let sets_it = dossier.rule().trunk.iter().any(|step| step.name == StepName::AreaEnvelope);
        if policy == AreaPin::OwnEnvelope && sets_it {
            let with_codes = dossier.case == Case::NewCodes
                && contents.has_signature_area()
                && self.custody.has_puk(&dossier.card, PukKind::Signature).await?;
            dossier.area_envelope = Some(AreaEnvelope { with_codes, ..AreaEnvelope::default() });
            dossier.version = VERSION;
        }
        Ok(())
    }

    /// What must hold of the card before anything else; gives its authentication certificate.
    fn check_card<'c>(
        &self,
        contents: &'c CardContents,
        case: Case,
    ) -> Result<&'c Certificate, ProcedureError> {
        let card = &contents.card;
        let certificate = card.certificates.iter().find(|found| found.key_use == KeyUse::Authentication);
        let certificate = certificate.ok_or_else(|| {
            ProcedureError::rule(
                "§4.2.1",
                "the card has no readable authentication certificate",
                "la carta non ha un certificato di autenticazione leggibile",
            )
        })?;
        if !card.data_agree {
            return Err(data_disagree().hinting(
                "The card must not be activated: it has to be revoked and issued again (§9.7.2)",
                "La carta non deve essere attivata: va revocata ed emessa di nuovo (§9.7.2)",
            ));
        }
        if case == Case::Signature {
            self.check_signature_allowed(&card.holder, Some(contents))?;
        } else if case == Case::Renewal {
            self.check_renewal_allowed(contents)?;
        }
        Ok(certificate)
    }

    /// Refuses a case that this kind of counter may not do (§3.4), or for which somebody is missing.
    pub(super) fn refuse_case(&self, case: Case, kind: CounterKind) -> Result<(), ProcedureError> {
        let rule = case_rule(case);
        if let Some(paragraph) = rule.closed_by(kind) {
            return Err(ProcedureError::rule(
                paragraph,
                "this kind of counter does not serve this case",
                "questo tipo di sportello non tratta questo caso",
            )
            .hinting(
                "Send the citizen to a counter of a health authority or to a regional office",
                "Indirizzare il cittadino allo sportello di un'azienda sanitaria o a un ufficio regionale",
            ));
        }
        match rule.needs {
            // An open activation is given back also to who asks for the certificate: it offers it itself.
            Needs::Nothing | Needs::Certifier => Ok(()),
            Needs::StatusAuthority if !self.standings.has_authority() => {
                Err(ProcedureError::NoStatusAuthority)
            }
            Needs::NationalSystem if self.national.get().is_none() => Err(ProcedureError::NoNationalSystem),
            Needs::StatusAuthority | Needs::NationalSystem => Ok(()),
        }
    }

    /// Whether the signature certificate may be made for this holder and card (§7), and can be (§9.1.3).
    pub(super) fn check_signature_allowed(
        &self,
        holder: &Holder,
        card: Option<&CardContents>,
    ) -> Result<(), ProcedureError> {
        identity::check_adult(holder, clock::today())?;
        if card.is_some_and(|card| card.signature_certificate.is_some()) {
            return Err(ProcedureError::rule(
                "§7-default",
                "the card has a signature certificate already",
                "la carta ha già un certificato di firma",
            ));
        }
        if let Some(reason) = card.and_then(|card| card.generation.no_signature_area) {
            return Err(ProcedureError::rule(
                "§9.1.3",
                reason.sentence(),
                "su questa carta non si può creare l'area per la firma digitale",
            ));
        }
        if self.certifier.is_none() { Err(ProcedureError::NoAuthority) } else { Ok(()) }
    }
}

/// Why a procedure changes hands or ends.
fn has_the_card(session: &Session, open: &Dossier) -> String {
    format!("operator {} has the card of operator {}'s procedure", session.operator, open.operator)
}

fn new_dossier(
    session: &Session,
    case: Case,
    contents: &CardContents,
    certificate: &Certificate,
) -> Result<Dossier, ProcedureError> {
    let card = &contents.card;
    let mut dossier = Dossier {
        version: WITHOUT_AREA_ENVELOPE,
        id: random::hexadecimal::<8>()?,
        case,
        rules: RULES.to_owned(),
        card: card.serial.clone(),
        holder: card.holder.clone(),
        certificate_subject: certificate.subject.clone(),
        certificate_not_after: certificate.not_after.clone(),
        certificate_sha256: None,
        virtual_reader: None,
        operator: session.operator.clone(),
        counter: session.counter.clone(),
        counter_kind: session.counter_kind,
        started: clock::now(),
        state: ProcedureState::Open,
        last: None,
        done: Vec::new(),
        warnings: Vec::new(),
        envelope: None,
        area_envelope: None,
        document: None,
        signature_wanted: matches!(case, Case::Signature | Case::Renewal),
        reader_requested: None,
        household: None,
        applicant: case_rule(case).only_applicant(),
        representative: None,
        evidence: None,
        reason: None,
        paper: None,
        national_request: None,
        renews: None,
        intent: None,
        revision: 0,
    };
    bind(&mut dossier, contents);
    if case == Case::Renewal {
        renewal::bind(&mut dossier, contents);
    }
    if let Some(warning) = identity::birth_warning(&card.holder) {
        dossier.warn(warning);
    }
    if let Some(warning) = identity::term_warning(&certificate.not_after, clock::today()) {
        dossier.warn(warning);
    }
    if card.is_virtual {
        dossier.warn("This card is a simulated one");
    }
    Ok(dossier)
}
