//! The same for a program of the counter that gets the certificate by itself, as one does that speaks PKCS#11: first the
//! key and its request, then the certificate, each as a work of its own.
//!
//! The halves share the step's intention with the daemon's own enrolment: the key is generated once, whoever asks how
//! often, and the operator may let the daemon go on with either half. Until it has a certificate the key signs its
//! request and nothing else, whatever the program is: what it signed before would be valid afterwards.

use std::sync::Arc;

use cns_protocol::audit::Phase;
use cns_protocol::counter::{ProcedureState, Wants};
use cns_protocol::key_pair::KeyPair;
use cns_secret::Secret;
use der::{Decode, Encode};
use x509_cert::request::CertReq;

use super::{ACT, PARAGRAPH, Typed, UNUSED, Work, begun_or_new, unhex};
use crate::card::{CardContents, CardError};
use crate::config::RequestForm;
use crate::dispatch::ProgressSender;
use crate::login::CardPlace;
use crate::operator::Session;
use crate::procedure::close::refuse_other_operator;
use crate::procedure::dossier::{Dossier, Intent, Signature};
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, Procedures, to_the_end};

/// The card that a program means, with the PIN that it has logged in with.
pub struct CardInReader {
    /// Its serial number.
    pub serial: String,
    /// The reader, and the insertion that the PIN was typed for.
    pub place: CardPlace,
    /// The PIN, for procedures without an envelope.
    pub pin: Option<Secret>,
}

impl Procedures {
    /// Makes the signature area, its key and the request for the certificate; gives the ones that there are where a
    /// program asks again.
    ///
    /// # Errors
    /// See [`ProcedureError`]: [`ProcedureError::Rule`] without an open procedure, [`ProcedureError::WrongStep`] at
    /// another step, [`ProcedureError::WrongAnswer`] without a PIN.
    pub async fn generate_key(
        &self,
        user: u32,
        session: &Session,
        card: CardInReader,
        progress: ProgressSender,
    ) -> Result<KeyPair, ProcedureError> {
        let (engine, actor) = (Arc::clone(&self.0), Actor::new(user, session));
        to_the_end(async move { engine.key_for_program(&actor, &card, &progress).await }).await
    }

    /// Judges the certificate of the key that [`Procedures::generate_key`] made, and loads it; the step is done.
    ///
    /// # Errors
    /// As [`Procedures::generate_key`], and [`ProcedureError::Certifier`] for another certificate than the one that was
    /// to be had.
    pub async fn load_certificate(
        &self,
        user: u32,
        session: &Session,
        card: CardInReader,
        certificate: Vec<u8>,
        progress: ProgressSender,
    ) -> Result<(), ProcedureError> {
        let (engine, actor) = (Arc::clone(&self.0), Actor::new(user, session));
        to_the_end(async move { engine.load_for_program(&actor, &card, certificate, &progress).await }).await
    }
}

impl Engine {
    async fn key_for_program(
        &self,
        actor: &Actor,
        card: &CardInReader,
        progress: &ProgressSender,
    ) -> Result<KeyPair, ProcedureError> {
        let _guard = self.locks.lock(&card.serial).await;
        let (mut dossier, _, contents) = self.at_signature(actor, card).await?;
        if self.certifier.is_none() {
            // Nobody could judge the certificate, which would stay out.
            return Err(ProcedureError::NoAuthority);
        }
        self.check_status(&mut dossier, &contents).await?;
        let mut intent = begun_or_new(&dossier)?;
        if intent.request.is_none() {
            let text = "the signature area is made, and its key for a program of the counter";
            self.record(actor, &dossier, (ACT, Phase::Intention, PARAGRAPH), text).await?;
            let made = self.request_for_program(&mut dossier, &mut intent, &contents, card, progress).await;
            let text = match &made {
                Ok(()) => "the key was generated; it waits for its certificate".to_owned(),
                Err(error) => format!("not finished: {error}"),
            };
            self.record(actor, &dossier, (ACT, Phase::Outcome, PARAGRAPH), text).await?;
            made?;
        }
        key_pair(unhex(intent.request.as_deref())?)
    }

    async fn request_for_program(
        &self,
        dossier: &mut Dossier,
        intent: &mut Signature,
        contents: &CardContents,
        card: &CardInReader,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let codes = self.codes_of(dossier, &typed(dossier, card)?).await?;
        self.begin(dossier, intent).await?;
        let (form, work) = (RequestForm::P10cr, (Work::First, codes));
        let made = self.make_key(dossier, contents, form, work, progress).await?;
        intent.request = Some(hex::encode(made));
        self.keep(dossier, intent).await
    }

    async fn load_for_program(
        &self,
        actor: &Actor,
        card: &CardInReader,
        certificate: Vec<u8>,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let _guard = self.locks.lock(&card.serial).await;
        let (mut dossier, step, contents) = self.at_signature(actor, card).await?;
        let certifier = self.certifier.as_deref().ok_or(ProcedureError::NoAuthority)?;
        let meter = Meter::start(&self.readers, Some(&contents.card.reader));
        let Some(Intent::Signature(Signature { request: Some(request), .. })) = &dossier.intent else {
            return Err(ProcedureError::rule(
                PARAGRAPH,
                "no key was generated that waits for a certificate",
                "non è stata generata alcuna chiave in attesa di certificato",
            )
            .hinting(
                "Generate the key first (`counter.generate_key`)",
                "Generare prima la chiave (`counter.generate_key`)",
            ));
        };
        certifier.check(&certificate, &unhex(Some(request))?, &dossier.holder)?;
        let text = "the certificate that a program of the counter brought is loaded";
        self.record(actor, &dossier, (ACT, Phase::Intention, PARAGRAPH), text).await?;
        let loaded = self.load_checked(&mut dossier, &contents, card, certificate, progress).await;
        let text = match &loaded {
            Ok(_) => "the certificate is on the card".to_owned(),
            Err(error) => format!("not finished: {error}"),
        };
        self.record(actor, &dossier, (ACT, Phase::Outcome, PARAGRAPH), text).await?;
        let now = loaded?;
        let pin = self.area_pin_is_set(&dossier, Work::First).await?;
        let outcome = format!("the signature certificate came by a program of the counter; {pin}");
        self.note(&mut dossier, step, outcome, &meter);
        dossier.intent = None;
        dossier.state = ProcedureState::Open;
        self.store.update(&mut dossier).await?;
        self.note_certificates(&mut dossier, &now, false).await;
        Ok(())
    }

    async fn load_checked(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
        card: &CardInReader,
        certificate: Vec<u8>,
        progress: &ProgressSender,
    ) -> Result<Arc<CardContents>, ProcedureError> {
        let codes = self.codes_of(dossier, &typed(dossier, card)?).await?;
        let Some(Intent::Signature(mut intent)) = dossier.intent.clone() else {
            return Err(ProcedureError::Internal);
        };
        let text = hex::encode(&certificate);
        if intent.certificate.as_ref().is_some_and(|earlier| *earlier != text) {
            dossier.warn(UNUSED);
        }
        intent.certificate = Some(text);
        self.keep(dossier, &intent).await?;
        self.note_issued(dossier, &certificate).await;
        self.check_status(dossier, contents).await?;
        let loaded = self.load_on(contents, (Work::First, codes), certificate, progress).await;
        if let Err(ProcedureError::Card(CardError::CertificateMismatch(_))) = &loaded {
            // The chip has another key than the one that was certified: the next attempt makes a new one.
            dossier.intent = None;
            dossier.warn(UNUSED);
            self.store.update(dossier).await?;
        }
        loaded
    }

    /// The procedure that is open for the card, if it is the operator's and at the step that makes the signature
    /// certificate; and the card, if it is in the reader that was meant.
    async fn at_signature(
        &self,
        actor: &Actor,
        card: &CardInReader,
    ) -> Result<(Dossier, &'static StepRule, Arc<CardContents>), ProcedureError> {
        let dossier = self.store.of_card(&card.serial).await?.ok_or_else(|| {
            ProcedureError::rule(
                PARAGRAPH,
                "no procedure is open for this card",
                "per questa carta non è aperta alcuna procedura",
            )
            .hinting(
                "Start a procedure on the card, and answer its steps up to this one",
                "Avviare una procedura sulla carta e rispondere ai passi fino a questo",
            )
        })?;
        refuse_other_operator(&dossier, actor)?;
        let step = dossier.next().ok_or_else(|| ProcedureError::Over(dossier.id.clone()))?;
        if step.name == StepName::RenewalWork {
            return Err(ProcedureError::rule(
                "X2",
                "a renewal's key and certificate are made by the counter's own procedure, not by a program",
                "la chiave e il certificato di un rinnovo li crea la procedura dello sportello, non un programma",
            )
            .hinting("Answer the step (`counter.answer`)", "Rispondere al passo (`counter.answer`)"));
        }
        if !matches!(step.name, StepName::SignatureWork | StepName::SignatureWithHolderPin) {
            return Err(ProcedureError::WrongStep { expected: step.paragraph });
        }
        let contents = self.card_of(&dossier, actor)?;
        if contents.card.reader != card.place.reader {
            return Err(ProcedureError::CardElsewhere);
        }
        // It may have been taken out and put back while another act on it was waited for.
        if contents.card.insertion != card.place.insertion {
            return Err(CardError::Swapped.into());
        }
        Ok((dossier, step, contents))
    }
}

/// The PIN that the program has logged in with, where the procedure has no envelope.
fn typed(dossier: &Dossier, card: &CardInReader) -> Result<Typed, ProcedureError> {
    match (&dossier.envelope, &card.pin) {
        (Some(_), _) => Ok(Typed::default()),
        (None, Some(pin)) => Ok(Typed { card: Some(pin.duplicate()?), signature: None }),
        (None, None) => Err(ProcedureError::WrongAnswer { wants: Wants::Pin }),
    }
}

/// The request as the program gets it; the daemon may have begun with one of another form.
fn key_pair(request: Vec<u8>) -> Result<KeyPair, ProcedureError> {
    let asked = CertReq::from_der(&request).map_err(|_| {
        ProcedureError::rule(
            PARAGRAPH,
            "the certificate is being asked for already, with a request in CRMF",
            "il certificato è già stato richiesto, con una richiesta in formato CRMF",
        )
        .hinting(
            "Let the daemon go on: answer the step (`counter.answer`)",
            "Lasciar proseguire il demone: rispondere al passo (`counter.answer`)",
        )
    })?;
    let public_key = asked.info.public_key.to_der().map_err(|error| ProcedureError::Request(error.into()))?;
    Ok(KeyPair { public_key, request })
}
