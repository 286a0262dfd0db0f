//! §9.1.3, §7: the signature area, its key and its certificate.
//!
//! What is true if the power fails after each act: the area's PUK is in custody before the chip has it; the CMP
//! transaction is persisted before the authority hears of it; the request and the certificate are persisted as soon as
//! they are there. So a repetition finds the half-made area, asks the authority with the same transaction and the same
//! key, and loads the same certificate. The area is locked before the authority hears of its key, so whatever is left
//! unfinished leaves nothing that somebody who knows the CNS PIN could replace.

mod by_program;

pub use self::by_program::CardInReader;

use cns_protocol::SecretText;
use cns_protocol::audit::Phase;
use cns_protocol::card::Holder;
use cns_protocol::counter::ProcedureState;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;

use crate::authority::Signer;
use crate::card::{CardContents, CardError, CardSession, signature_area};
use crate::config::RequestForm;
use crate::custody::{Lent, PukKind};
use crate::dispatch::ProgressSender;
use crate::procedure::certifier::{Certifier, CertifierError};
use crate::procedure::dossier::{Dossier, Intent, Signature};
use crate::procedure::request::Unsigned;
use crate::procedure::steps::StepRule;
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

const ACT: &str = "signature-certificate";
const PARAGRAPH: &str = "§9.1.3";

/// What to do about a certificate that was issued and will not be loaded.
pub(super) const UNUSED: &str =
    "A signature certificate was issued and is not in use on the card: have the authority revoke it (§9.7)";

/// What was typed beside the answer.
pub(super) struct Pins {
    /// By the holder.
    pub(super) holder: Option<SecretText>,
    /// By the operator, for the request to the certifier (§7).
    pub(super) operator: Option<SecretText>,
}

/// The PIN of the card, which becomes the area's PIN too (X1): the envelope's, or the holder's own.
enum HolderPin {
    Lent(Lent),
    Typed(Secret),
}

impl HolderPin {
    fn lend<R>(self, use_it: impl FnOnce(&Secret) -> R) -> R {
        match self {
            Self::Lent(lent) => lent.lend(use_it),
            Self::Typed(secret) => use_it(&secret),
        }
    }
}

impl Engine {
    /// Makes the signature certificate, from wherever an earlier attempt got to.
    pub(super) async fn make_signature(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        pins: Pins,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let certifier = self.certifier.as_deref().ok_or(ProcedureError::NoAuthority)?;
        let contents = self.card_of(dossier, actor)?;
        let meter = Meter::start(&self.readers, Some(&contents.card.reader));
        let officer = self.officer(certifier.wants_officer(), actor, pins.operator)?;
        let officer: Option<&dyn Signer> = match &officer {
            Some(officer) => Some(officer),
            None => None,
        };
        let typed = pins.holder.map(SecretText::into_secret);
        self.record(actor, dossier, (ACT, Phase::Intention, PARAGRAPH), "the signature area is made").await?;
        let made = self.work_on(dossier, &contents, (certifier, officer), typed.as_ref(), progress).await;
        if let Err(error) = made {
            let text = format!("not finished: {error}");
            self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), text).await?;
            return Err(error);
        }
        self.record(actor, dossier, (ACT, Phase::Outcome, PARAGRAPH), "the certificate is on the card")
            .await?;
        let outcome = "the signature certificate was made; its PIN is the card's PIN at first (X1)";
        self.note(dossier, step, outcome.to_owned(), &meter);
        dossier.intent = None;
        dossier.state = ProcedureState::Open;
        self.store.update(dossier).await?;
        Ok(())
    }

    async fn work_on(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
        (certifier, officer): (&dyn Certifier, Option<&dyn Signer>),
        typed: Option<&Secret>,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let mut intent = match dossier.intent.take() {
            Some(Intent::Signature(begun)) => begun,
            Some(
                Intent::SetPin(_) | Intent::Close { .. } | Intent::Status { .. } | Intent::National { .. },
            ) => {
                return Err(ProcedureError::Internal);
            }
            None => Signature { transaction: random::hexadecimal::<16>()?, request: None, certificate: None },
        };
        self.keep(dossier, &intent).await?;
        if intent.request.is_none() {
            let pin = self.pin_of(dossier, typed).await?;
            let puk = self.area_puk(&dossier.card).await?;
            intent.request = Some(hex::encode(
                self.make_key(dossier, contents, certifier.form(), (pin, puk), progress).await?,
            ));
            self.keep(dossier, &intent).await?;
        }
        let request = unhex(intent.request.as_deref())?;
        let certificate = match &intent.certificate {
            Some(certificate) => unhex(Some(certificate))?,
            None => {
                tell(progress, "enrol", "Asking the authority for the certificate");
                let certificate = match ask((certifier, officer), &intent, &request, &dossier.holder).await {
                    Err(
                        error @ ProcedureError::Certifier(
                            CertifierError::Refused(_) | CertifierError::Unfit(_),
                        ),
                    ) => {
                        // The authority's word is final for this transaction: the next attempt begins another.
                        intent.transaction = random::hexadecimal::<16>()?;
                        self.keep(dossier, &intent).await?;
                        return Err(error);
                    }
                    asked => asked?,
                };
                intent.certificate = Some(hex::encode(&certificate));
                self.keep(dossier, &intent).await?;
                certificate
            }
        };
        let pin = self.pin_of(dossier, typed).await?;
        let loaded = self.load_on(contents, pin, certificate, progress).await;
        if let Err(ProcedureError::Card(CardError::CertificateMismatch(_))) = &loaded {
            // The chip has another key than the one that was certified: the next attempt makes a new one.
            dossier.intent = None;
            dossier.warn(UNUSED);
            self.store.update(dossier).await?;
        }
        loaded
    }

    /// Persists how far it came.
    async fn keep(&self, dossier: &mut Dossier, intent: &Signature) -> Result<(), ProcedureError> {
        dossier.intent = Some(Intent::Signature(intent.clone()));
        self.store.update(dossier).await?;
        Ok(())
    }

    /// The PIN for one job on the card.
    async fn pin_of(&self, dossier: &Dossier, typed: Option<&Secret>) -> Result<HolderPin, ProcedureError> {
        match (typed, &dossier.envelope) {
            (Some(typed), _) => Ok(HolderPin::Typed(typed.duplicate()?)),
            (None, Some(code)) => Ok(HolderPin::Lent(self.custody.envelope_pin(code, &dossier.id).await?)),
            (None, None) => Err(ProcedureError::Internal),
        }
    }

    /// The area's PUK: the one that custody has, or a new one that it has from now on.
    async fn area_puk(&self, card: &str) -> Result<Lent, ProcedureError> {
        if !self.custody.has_puk(card, PukKind::Signature).await? {
            let puk = random::puk()?;
            self.custody.store_puk(card, PukKind::Signature, &puk).await?;
        }
        Ok(self.custody.puk(card, PukKind::Signature).await?)
    }

    /// Area, key, lock and signed request.
    async fn make_key(
        &self,
        dossier: &Dossier,
        contents: &CardContents,
        form: RequestForm,
        (pin, puk): (HolderPin, Lent),
        progress: &ProgressSender,
    ) -> Result<Vec<u8>, ProcedureError> {
        let (holder, progress) = (dossier.holder.clone(), progress.clone());
        let job = move |session: &mut CardSession<'_>| {
            let report = |report: Progress| progress.send(report);
            pin.lend(|pin| {
                puk.lend(|puk| signature_area::create(session, pin, pin, puk, &report))?;
                let key = signature_area::generate_key(session, pin, pin, &report)?;
                signature_area::lock(session, pin, &report)?;
                let unsigned = match Unsigned::new(&holder, &key, form) {
                    Ok(unsigned) => unsigned,
                    Err(error) => return Ok(Err(error)),
                };
                let signature = signature_area::sign_request(session, pin, unsigned.digest())?;
                Ok(unsigned.sign(&signature))
            })
        };
        self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?
    }

    /// Certificate into the area, read back; then the card is read anew.
    async fn load_on(
        &self,
        contents: &CardContents,
        pin: HolderPin,
        certificate: Vec<u8>,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let expected = certificate.clone();
        let sender = progress.clone();
        let job = move |session: &mut CardSession<'_>| {
            let report = |report: Progress| sender.send(report);
            pin.lend(|pin| signature_area::load_certificate(session, pin, &certificate, &report))
        };
        self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?;
        tell(progress, "read-again", "Reading the card again");
        let now = self.readers.reread(&contents.card.reader).await?;
        match now.signature_certificate.as_deref() {
            Some(held) if held == expected => self.note_certificates(&now, false).await,
            Some(_) => Err(CardError::CertificateMismatch("the card does not hold what was loaded").into()),
            // It was read back when it was loaded: the next attempt loads it again.
            None => Err(CardError::Answer {
                command: "READ BINARY",
                reason: "the certificate that was loaded cannot be read now".to_owned(),
            }
            .into()),
        }
    }
}

/// The certificate for the request, judged.
async fn ask(
    (certifier, officer): (&dyn Certifier, Option<&dyn Signer>),
    intent: &Signature,
    request: &[u8],
    holder: &Holder,
) -> Result<Vec<u8>, ProcedureError> {
    let certificate = certifier.enrol(transaction(intent)?, request.to_vec(), officer).await?;
    certifier.check(&certificate, request, holder)?;
    Ok(certificate)
}

fn transaction(intent: &Signature) -> Result<[u8; 16], ProcedureError> {
    unhex(Some(&intent.transaction))?.try_into().map_err(|_| ProcedureError::Internal)
}

fn unhex(text: Option<&str>) -> Result<Vec<u8>, ProcedureError> {
    hex::decode(text.unwrap_or_default()).map_err(|_| ProcedureError::Internal)
}

fn tell(progress: &ProgressSender, step: &str, message: &str) {
    progress.send(Progress {
        request: None,
        step: step.to_owned(),
        paragraph: Some(PARAGRAPH.to_owned()),
        message: message.to_owned(),
        done: 0,
        total: None,
    });
}
