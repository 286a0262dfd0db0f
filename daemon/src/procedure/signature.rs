//! §9.1.3, §7: the signature area, its key and its certificate.
//!
//! What is true if the power fails after each act: the area's PUK is in custody before the chip has it; the CMP
//! transaction is persisted before the authority hears of it; the request and the certificate are persisted as soon as
//! they are there. So a repetition finds the half-made area, asks the authority with the same transaction and the same
//! key, and loads the same certificate. The area is locked before the authority hears of its key, so whatever is left
//! unfinished leaves nothing that somebody who knows the CNS PIN could replace. A renewal ([`renewal`]) goes the same way,
//! beside the key and certificate that serve until its end.

mod by_program;
mod left;
pub(super) mod renewal;

pub use self::by_program::CardInReader;

use std::sync::Arc;
use std::time::SystemTime;

use cns_protocol::SecretText;
use cns_protocol::audit::Phase;
use cns_protocol::card::Holder;
use cns_protocol::counter::ProcedureState;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::RsaPublicKey;

use crate::authority::Signer;
use crate::card::signature_area::{self, renewal as next};
use crate::card::{CardContents, CardError, CardSession};
use crate::config::RequestForm;
use crate::custody::{Lent, PukKind};
use crate::dispatch::ProgressSender;
use crate::procedure::certifier::{Certifier, CertifierError};
use crate::procedure::dossier::{Dossier, Intent, Signature};
use crate::procedure::request::Unsigned;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, Meter, ProcedureError, random};

const ACT: &str = "signature-certificate";
const PARAGRAPH: &str = "§9.1.3";

/// What to do about a certificate that was issued and will not be loaded.
const UNUSED: &str =
    "A signature certificate was issued and is not in use on the card: have the authority revoke it (§9.7)";

/// What was typed beside the answer.
pub(super) struct Pins {
    /// By the holder: the card's PIN.
    pub(super) holder: Option<SecretText>,
    /// By the holder: the signature PIN.
    pub(super) signature: Option<SecretText>,
    /// By the operator, for the request to the certifier (§7).
    pub(super) operator: Option<SecretText>,
}

/// What is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The card's signature area, and the key and certificate in it.
    First,
    /// The next key and certificate of the area (X2).
    Renewal,
}

impl Work {
    fn of(step: &StepRule) -> Self {
        if step.name == StepName::RenewalWork { Self::Renewal } else { Self::First }
    }

    /// What is recorded: the act, what is begun, what was done, and the beginning of what the operator reads of the step.
    fn words(self) -> [&'static str; 4] {
        match self {
            Self::First => [
                ACT,
                "the signature area is made",
                "the certificate is on the card",
                "the signature certificate was made",
            ],
            Self::Renewal => [
                "signature-renewal",
                "the next signature key and certificate are made",
                "the next certificate is in use, the key before it is deleted",
                "the signature certificate was renewed",
            ],
        }
    }
}

/// What the holder typed: the card's PIN, the signature PIN.
#[derive(Default)]
struct Typed {
    card: Option<Secret>,
    signature: Option<Secret>,
}

/// A PIN for one job on the card: the envelope's, or the holder's own.
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

/// The PINs for one job on the card: its own, and the signature area's.
struct Codes {
    card: HolderPin,
    area: HolderPin,
}

impl Codes {
    fn lend<R>(self, use_them: impl FnOnce(&Secret, &Secret) -> R) -> R {
        let Self { card, area } = self;
        card.lend(|card| area.lend(|area| use_them(card, area)))
    }
}

impl Engine {
    /// Makes or renews the signature certificate, from wherever an earlier attempt got to.
    pub(super) async fn make_signature(
        &self,
        actor: &Actor,
        dossier: &mut Dossier,
        step: &'static StepRule,
        pins: Pins,
        progress: &ProgressSender,
    ) -> Result<(), ProcedureError> {
        let certifier = self.certifier.as_deref().ok_or(ProcedureError::NoAuthority)?;
        let work = Work::of(step);
        let mut contents = self.card_of(dossier, actor)?;
        let meter = Meter::start(&self.readers, Some(&contents.card.reader));
        if work == Work::Renewal {
            contents = self.ready_to_renew(dossier, contents).await?;
        }
        // The card may have been suspended since the procedure began, days ago.
        let checked = SystemTime::now();
        self.check_status(dossier, &contents).await?;
        let officer = self.officer(certifier.wants_officer(), actor, pins.operator)?;
        let officer: Option<&dyn Signer> = match &officer {
            Some(officer) => Some(officer),
            None => None,
        };
        let typed = Typed {
            card: pins.holder.map(SecretText::into_secret),
            signature: pins.signature.map(SecretText::into_secret),
        };
        let [act, begun, done, outcome] = work.words();
        self.record(actor, dossier, (act, Phase::Intention, PARAGRAPH), begun).await?;
        let asked = (certifier, officer, checked);
        let now = match self.work_on(dossier, &contents, (work, &typed), asked, progress).await {
            Ok(now) => now,
            Err(error) => {
                let text = format!("not finished: {error}");
                self.record(actor, dossier, (act, Phase::Outcome, PARAGRAPH), text).await?;
                return Err(error);
            }
        };
        self.record(actor, dossier, (act, Phase::Outcome, PARAGRAPH), done).await?;
        let outcome = format!("{outcome}; {}", self.area_pin_is_set(dossier, work).await?);
        self.note(dossier, step, outcome, &meter);
        dossier.intent = None;
        dossier.state = ProcedureState::Open;
        self.store.update(dossier).await?;
        self.note_certificates(dossier, &now, false).await;
        Ok(())
    }

    /// Gives the card as it is read afterwards.
    async fn work_on(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
        (work, typed): (Work, &Typed),
        (certifier, officer, checked): (&dyn Certifier, Option<&dyn Signer>, SystemTime),
        progress: &ProgressSender,
    ) -> Result<Arc<CardContents>, ProcedureError> {
        let mut intent = begun_or_new(dossier)?;
        self.begin(dossier, &intent).await?;
        if intent.request.is_none() {
            let codes = self.codes_of(dossier, typed).await?;
            let form = certifier.form();
            let made = self.make_key(dossier, contents, form, (work, codes), progress).await?;
            intent.request = Some(hex::encode(made));
            self.keep(dossier, &intent).await?;
        }
        let certificate = self.enrol(dossier, &mut intent, (certifier, officer), progress).await?;
        self.note_issued(dossier, &certificate).await;
        // Or while the authority was waited for.
        self.refuse_out_of_force(&dossier.card, Some(checked)).await?;
        let codes = self.codes_of(dossier, typed).await?;
        let loaded = self.load_on(contents, (work, codes), certificate, progress).await;
        if let Err(ProcedureError::Card(CardError::CertificateMismatch(_))) = &loaded {
            // The chip has another key than the one that was certified: the next attempt makes a new one.
            dossier.intent = None;
            dossier.warn(UNUSED);
            self.store.update(dossier).await?;
        }
        loaded
    }

    /// The certificate for the request: the one that was received, or the authority's answer to the same transaction.
    async fn enrol(
        &self,
        dossier: &mut Dossier,
        intent: &mut Signature,
        asked: (&dyn Certifier, Option<&dyn Signer>),
        progress: &ProgressSender,
    ) -> Result<Vec<u8>, ProcedureError> {
        if let Some(certificate) = &intent.certificate {
            return unhex(Some(certificate));
        }
        let request = unhex(intent.request.as_deref())?;
        if intent.refused {
            intent.refused = false;
            self.keep(dossier, intent).await?;
        }
        tell(progress, "enrol", "Asking the authority for the certificate");
        let certificate = match ask(asked, intent, &request, &dossier.holder).await {
            Err(error @ ProcedureError::Certifier(CertifierError::Refused(_) | CertifierError::Unfit(_))) => {
                // The authority's word is final for this transaction: the next attempt begins another.
                intent.transaction = random::hexadecimal::<16>()?;
                // What is unfit was issued all the same.
                intent.refused = matches!(error, ProcedureError::Certifier(CertifierError::Refused(_)));
                self.keep(dossier, intent).await?;
                return Err(error);
            }
            asked => asked?,
        };
        intent.certificate = Some(hex::encode(&certificate));
        self.keep(dossier, intent).await?;
        Ok(certificate)
    }

    /// Persists what is begun, before the card is touched.
    async fn begin(&self, dossier: &mut Dossier, intent: &Signature) -> Result<(), ProcedureError> {
        if let Some(area) = &mut dossier.area_envelope {
            area.may_be_set = area.code.is_some();
        }
        self.keep(dossier, intent).await
    }

    /// The area has its PIN: which one that is, in words. Its own envelope is used from now on.
    async fn area_pin_is_set(&self, dossier: &Dossier, work: Work) -> Result<String, ProcedureError> {
        if work == Work::Renewal {
            return Ok("the PINs are as they were (X2)".to_owned());
        }
        let Some(code) = dossier.area_code() else {
            return Ok("its PIN is the card's PIN at first (X1)".to_owned());
        };
        self.custody.mark_used(code, &dossier.id).await?;
        Ok(format!("its PIN is the value of envelope {code} (X1)"))
    }

    /// Persists how far it came.
    async fn keep(&self, dossier: &mut Dossier, intent: &Signature) -> Result<(), ProcedureError> {
        dossier.intent = Some(Intent::Signature(intent.clone()));
        self.store.update(dossier).await?;
        Ok(())
    }

    /// The PINs for one job on the card. The area's is in its own envelope, or the card's at first (X1).
    async fn codes_of(&self, dossier: &Dossier, typed: &Typed) -> Result<Codes, ProcedureError> {
        let card = self.pin_of(dossier, typed.card.as_ref()).await?;
        let area = match (&typed.signature, &dossier.area_envelope) {
            (None, Some(_)) => {
                let code = dossier.area_code().ok_or(ProcedureError::Internal)?;
                HolderPin::Lent(self.custody.envelope_pin(code, &dossier.id).await?)
            }
            (typed_too, _) => self.pin_of(dossier, typed_too.as_ref().or(typed.card.as_ref())).await?,
        };
        Ok(Codes { card, area })
    }

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

    /// The place for the key, the key, its lock and the signed request.
    async fn make_key(
        &self,
        dossier: &Dossier,
        contents: &CardContents,
        form: RequestForm,
        (work, codes): (Work, Codes),
        progress: &ProgressSender,
    ) -> Result<Vec<u8>, ProcedureError> {
        let (holder, progress) = (dossier.holder.clone(), progress.clone());
        // A renewal leaves the area's PUK as it is.
        let puk = match work {
            Work::First => Some(self.area_puk(&dossier.card).await?),
            Work::Renewal => None,
        };
        let job = move |session: &mut CardSession<'_>| {
            let report = |report: Progress| progress.send(report);
            codes.lend(|pin, area_pin| {
                let (key, sign): (_, SignRequest) = match puk {
                    Some(puk) => {
                        (first_key(session, [pin, area_pin], puk, &report)?, signature_area::sign_request)
                    }
                    None => (renewal::next_key(session, [pin, area_pin], &report)?, next::sign_request),
                };
                let unsigned = match Unsigned::new(&holder, &key, form) {
                    Ok(unsigned) => unsigned,
                    Err(error) => return Ok(Err(error)),
                };
                let signature = sign(session, area_pin, unsigned.digest())?;
                Ok(unsigned.sign(&signature))
            })
        };
        self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?
    }

    /// Certificate into the area, read back, and in a renewal put into the old one's place; then the card is read anew.
    async fn load_on(
        &self,
        contents: &CardContents,
        (work, codes): (Work, Codes),
        certificate: Vec<u8>,
        progress: &ProgressSender,
    ) -> Result<Arc<CardContents>, ProcedureError> {
        let expected = certificate.clone();
        let sender = progress.clone();
        let job = move |session: &mut CardSession<'_>| {
            let report = |report: Progress| sender.send(report);
            codes.lend(|pin, area_pin| match work {
                Work::First => signature_area::load_certificate(session, pin, &certificate, &report),
                Work::Renewal => renewal::put_in_use(session, [pin, area_pin], &certificate, &report),
            })
        };
        let loaded = self.readers.run(&contents.card.reader, Some(contents.card.insertion), job).await;
        if loaded.is_err()
            && let Err(error) = self.readers.reread(&contents.card.reader).await
        {
            tracing::debug!(%error, "the card is read anew when it comes back");
        }
        loaded?;
        tell(progress, "read-again", "Reading the card again");
        let now = self.readers.reread(&contents.card.reader).await?;
        match now.signature_certificate.as_deref() {
            Some(held) if held == expected => Ok(now),
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

/// Signs a digest with a key of the area.
type SignRequest = fn(&mut CardSession<'_>, &Secret, &[u8]) -> Result<Vec<u8>, CardError>;

/// The area, its key and the lock.
fn first_key(
    session: &mut CardSession<'_>,
    [pin, area_pin]: [&Secret; 2],
    puk: Lent,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<RsaPublicKey, CardError> {
    puk.lend(|puk| signature_area::create(session, pin, area_pin, puk, report))?;
    let key = signature_area::generate_key(session, pin, area_pin, report)?;
    signature_area::lock(session, pin, report)?;
    Ok(key)
}

/// What an earlier attempt has begun, or a new transaction.
fn begun_or_new(dossier: &Dossier) -> Result<Signature, ProcedureError> {
    match &dossier.intent {
        Some(Intent::Signature(begun)) => Ok(begun.clone()),
        Some(Intent::SetPin(_) | Intent::Close { .. } | Intent::Status { .. } | Intent::National { .. }) => {
            Err(ProcedureError::Internal)
        }
        None => Ok(Signature {
            transaction: random::hexadecimal::<16>()?,
            request: None,
            certificate: None,
            refused: false,
        }),
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
