//! The deletion of a signature certificate that has expired (§9.1.3): certificate and key leave the card, PIN and PUK of
//! the area stay, so that another one can be made.
//!
//! It is no procedure of several steps: if the power fails, the certificate may be gone and its key still there; the same
//! request again deletes the key.

use cns_protocol::audit::Phase;
use cns_protocol::card::KeyUse;
use cns_protocol::counter::{RemoveSignature, SignatureRemoved};
use cns_protocol::rpc::Progress;

use crate::audit::Record;
use crate::card::{CardContents, CardSession, signature_area};
use crate::dispatch::ProgressSender;
use crate::operator::Session;
use crate::procedure::start::refuse_logging_reader;
use crate::procedure::{Actor, Engine, Meter, ProcedureError, clock};

const ACT: &str = "signature-removed";
const PARAGRAPH: &str = "§9.1.3";

impl Engine {
    pub(super) async fn remove_signature(
        &self,
        actor: &Actor,
        session: &Session,
        request: RemoveSignature,
        progress: ProgressSender,
    ) -> Result<SignatureRemoved, ProcedureError> {
        if request.reader == session.reader {
            return Err(ProcedureError::rule(
                "§9.3.2-4",
                "this reader holds the operator's card: put the citizen's card into another one",
                "questo lettore contiene la carta dell'operatore: inserire quella del cittadino in un altro",
            ));
        }
        let contents = self.readers.card(&request.reader)?;
        refuse_logging_reader(&contents)?;
        let _guard = self.locks.lock(&contents.card.serial).await;
        if let Some(open) = self.store.of_card(&contents.card.serial).await? {
            let text = format!("procedure {} is open for this card: finish or cancel it", open.id);
            let text_it = format!("per questa carta è aperta la procedura {}", open.id);
            return Err(ProcedureError::rule(open.rule().paragraph, text, text_it));
        }
        let end = end_of_certificate(&contents);
        if let Some(not_after) = end.as_ref().filter(|end| !request.even_if_valid && !clock::is_past(end)) {
            return Err(ProcedureError::CertificateValid { not_after: not_after.clone() });
        }
        let meter = Meter::start(&self.readers, Some(&request.reader));
        let what = match &end {
            Some(end) => format!("the signature certificate that is valid until {end}, and its key"),
            None => "what is left of a signature key without a certificate".to_owned(),
        };
        self.record_of_card(actor, &contents, Phase::Intention, format!("to be deleted: {what}")).await?;
        if let Err(error) = self.empty_area(&contents, request, progress).await {
            let text = format!("not finished: {error}");
            self.record_of_card(actor, &contents, Phase::Outcome, text).await?;
            return Err(error);
        }
        self.record_of_card(actor, &contents, Phase::Outcome, format!("deleted: {what}")).await?;
        // The work is done: what goes wrong here does not undo it.
        if let Err(error) = self.standings.signature_removed(&contents.card.serial).await {
            tracing::error!(%error, "that the certificate is no longer on the card could not be noted");
        }
        self.readers.reread(&contents.card.reader).await?;
        Ok(SignatureRemoved {
            card: contents.card.serial.clone(),
            certificate_not_after: end,
            traffic: meter.traffic(&self.readers),
            milliseconds: meter.milliseconds(),
        })
    }

    async fn empty_area(
        &self,
        contents: &CardContents,
        request: RemoveSignature,
        progress: ProgressSender,
    ) -> Result<(), ProcedureError> {
        let pin = request.pin.into_secret();
        let area_pin = match request.signature_pin {
            Some(area_pin) => area_pin.into_secret(),
            None => pin.duplicate()?,
        };
        let job = move |session: &mut CardSession<'_>| {
            signature_area::remove(session, &pin, &area_pin, &|report: Progress| progress.send(report))
        };
        Ok(self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?)
    }

    async fn record_of_card(
        &self,
        actor: &Actor,
        contents: &CardContents,
        phase: Phase,
        text: String,
    ) -> Result<(), ProcedureError> {
        let mut record = Record::new(ACT, phase, text);
        record.user = actor.user;
        record.operator.clone_from(&actor.operator);
        record.paragraph = Some(PARAGRAPH);
        record.card = Some(contents.card.serial.clone());
        self.audit.record(record).await?;
        Ok(())
    }
}

/// The end of the card's signature certificate, RFC 3339.
pub(super) fn end_of_certificate(contents: &CardContents) -> Option<String> {
    let certificates = &contents.card.certificates;
    let found = certificates.iter().find(|found| found.key_use == KeyUse::Signature)?;
    Some(found.not_after.clone())
}
