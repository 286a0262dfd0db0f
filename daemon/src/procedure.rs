//! The counter's procedures: the steps of the operating manual as a persisted state machine.
//!
//! [`steps`] has the manual as data, [`dossier`] what is kept of a procedure, [`store`] keeps it. `start` and `answer`
//! judge what an operator asks, `set_pin` and `signature` work on the card, `close` ends, `settle` finishes what was
//! cut off. Every transition is persisted before its answer leaves; what touches the card is persisted as an intent
//! before it does.

mod answer;
mod cases;
pub mod certifier;
pub mod clock;
mod close;
pub mod dossier;
pub mod error;
mod exclusive;
mod facts;
mod fiscal_code;
pub(crate) mod identified;
pub(crate) mod identity;
pub(crate) mod labels;
pub(crate) mod locks;
mod national;
pub(crate) mod officer;
mod question;
pub(crate) mod random;
mod remove_signature;
mod request;
mod same_card;
mod set_pin;
mod settle;
mod sheet;
mod signature;
mod start;
pub mod status;
pub mod steps;
pub mod store;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cns_protocol::audit::Phase;
use cns_protocol::counter::{
    AnswerStep, Cancel, CaseInfo, List, Next, Procedure, Question, RemoveSignature, Sheet, SheetDocument,
    Show, SignatureRemoved, Start, StepDone,
};
use cns_protocol::operator::CounterKind;
use cns_protocol::rpc::Traffic;

use crate::audit::{Audit, Record};
use crate::card::CardContents;
use crate::config::{CounterConfig, SignatureAreaConfig};
use crate::custody::Custody;
use crate::database::Database;
use crate::dispatch::ProgressSender;
use crate::national::National;
use crate::operator::Session;
use crate::procedure::certifier::Certifier;
use crate::procedure::dossier::Dossier;
pub use crate::procedure::error::ProcedureError;
use crate::procedure::locks::Locks;
pub use crate::procedure::signature::CardInReader;
use crate::procedure::status::{StatusAuthority, StatusSource};
use crate::procedure::steps::StepRule;
use crate::procedure::store::Store;
use crate::reader::Readers;
use crate::standing::Standings;

/// The counter's procedures.
#[derive(Clone)]
pub struct Procedures(Arc<Engine>);

/// What the procedures work with.
struct Engine {
    store: Store,
    custody: Custody,
    readers: Readers,
    audit: Audit,
    /// Nobody, where no authority is configured.
    certifier: Option<Arc<dyn Certifier>>,
    /// One at a time works on a card's procedure.
    locks: Locks,
    /// Told before and after a card's PIN may become another.
    on_pin: OnceLock<PinHook>,
    /// Nobody, until one is linked.
    status_source: OnceLock<Arc<dyn StatusSource>>,
    /// The certificates of cards, and what the authority is told of them.
    standings: Standings,
    /// Nobody, where requests do not go out.
    national: OnceLock<National>,
    config: OnceLock<CounterConfig>,
    signature_area: OnceLock<SignatureAreaConfig>,
}

/// Who is told that a card's PIN may become, or have become, another.
type PinHook = Box<dyn Fn(&CardContents) + Send + Sync>;

impl Procedures {
    /// The procedures kept in `database`. Without a certifier no signature certificate can be made.
    #[must_use]
    pub fn open(
        database: &Database,
        custody: &Custody,
        readers: &Readers,
        audit: &Audit,
        certifier: Option<Arc<dyn Certifier>>,
    ) -> Self {
        Self(Arc::new(Engine {
            store: Store::new(database.clone()),
            custody: custody.clone(),
            readers: readers.clone(),
            audit: audit.clone(),
            certifier,
            locks: Locks::default(),
            on_pin: OnceLock::new(),
            status_source: OnceLock::new(),
            standings: Standings::open(database, custody, audit),
            national: OnceLock::new(),
            config: OnceLock::new(),
            signature_area: OnceLock::new(),
        }))
    }

    /// Has `hook` told before and after each work that may set a card's PIN, however it ends and whether an operator
    /// or the daemon itself began it. There is one hook: a second is not taken.
    pub fn on_pin(&self, hook: impl Fn(&CardContents) + Send + Sync + 'static) {
        if self.0.on_pin.set(Box::new(hook)).is_err() {
            tracing::error!("the procedures have a hook for PINs already");
        }
    }

    /// Has the status of certificates looked up at `source` before codes are set (§9.3b) or a certificate is renewed
    /// (X2). There is one source: a second is not taken.
    pub fn ask_status_of(&self, source: Arc<dyn StatusSource>) {
        self.0.standings.ask_status_of(Arc::clone(&source));
        if self.0.status_source.set(source).is_err() {
            tracing::error!("the procedures have a source of certificates' status already");
        }
    }

    /// Has certificates suspended, reactivated and revoked by `authority` (§9.5–9.7). There is one.
    pub fn change_status_by(&self, authority: Arc<dyn StatusAuthority>) {
        self.0.standings.tell(authority);
    }

    /// The certificates of the cards that are activated here.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        &self.0.standings
    }

    /// Has the requests for cards of another region sent by `national` (§8). There is one.
    pub fn send_requests_by(&self, national: National) {
        if self.0.national.set(national).is_err() {
            tracing::error!("the procedures have a national system already");
        }
    }

    /// Says what the counter may do and what stands on its sheets, and how signature areas are made from now on. There is
    /// one configuration: a second is not taken.
    pub fn configure(&self, config: CounterConfig, signature_area: SignatureAreaConfig) {
        if self.0.config.set(config).is_err() || self.0.signature_area.set(signature_area).is_err() {
            tracing::error!("the procedures are configured already");
        }
    }

    /// A sheet of a procedure.
    ///
    /// # Errors
    /// [`ProcedureError::NotFound`], [`ProcedureError::Store`]; a rule, where nothing is signed.
    pub async fn sheet(&self, request: &Sheet) -> Result<SheetDocument, ProcedureError> {
        self.0.sheet(request).await
    }

    /// What a procedure asks now.
    ///
    /// # Errors
    /// [`ProcedureError::NotFound`], [`ProcedureError::Store`].
    pub async fn next(&self, next: &Next) -> Result<Question, ProcedureError> {
        let dossier = self.0.load(&next.procedure).await?;
        let officer = dossier.next().is_some_and(|step| self.0.wants_officer(step));
        Ok(question::question(&dossier, officer, self.0.household_key()))
    }

    /// The cases of the manual, and whether a counter of this kind can do them.
    #[must_use]
    pub fn cases(&self, kind: CounterKind) -> Vec<CaseInfo> {
        self.0.cases(kind)
    }

    /// Begins a procedure on the card in a reader, or gives back the one that is open for that card.
    ///
    /// # Errors
    /// See [`ProcedureError`].
    pub async fn start(
        &self,
        user: u32,
        session: &Session,
        start: Start,
    ) -> Result<Procedure, ProcedureError> {
        let (engine, actor, session) = (Arc::clone(&self.0), Actor::new(user, session), session.clone());
        to_the_end(async move { engine.start(&actor, &session, &start).await }).await
    }

    /// Answers the next step of a procedure.
    ///
    /// # Errors
    /// See [`ProcedureError`].
    pub async fn answer(
        &self,
        user: u32,
        session: &Session,
        answer: AnswerStep,
        progress: ProgressSender,
    ) -> Result<Procedure, ProcedureError> {
        let (engine, actor) = (Arc::clone(&self.0), Actor::new(user, session));
        to_the_end(async move { engine.answer(&actor, answer, &progress).await }).await
    }

    /// Shows a procedure.
    ///
    /// # Errors
    /// [`ProcedureError::NotFound`], [`ProcedureError::Store`].
    pub async fn show(&self, show: &Show) -> Result<Procedure, ProcedureError> {
        Ok(self.0.load(&show.procedure).await?.to_procedure())
    }

    /// Lists the procedures that are not over.
    ///
    /// # Errors
    /// [`ProcedureError::Store`].
    pub async fn list(&self, _: &List) -> Result<Vec<Procedure>, ProcedureError> {
        Ok(self.0.store.not_over().await?.iter().map(Dossier::to_procedure).collect())
    }

    /// Ends a procedure early. An envelope whose PIN may be on the card, and that was not handed over, is void.
    ///
    /// # Errors
    /// See [`ProcedureError`].
    pub async fn cancel(
        &self,
        user: u32,
        session: &Session,
        cancel: &Cancel,
    ) -> Result<Procedure, ProcedureError> {
        let (engine, actor, id) = (Arc::clone(&self.0), Actor::new(user, session), cancel.procedure.clone());
        to_the_end(async move { engine.cancel(&actor, &id).await }).await
    }

    /// Deletes the signature certificate and its key from the card in a reader.
    ///
    /// # Errors
    /// See [`ProcedureError`].
    pub async fn remove_signature(
        &self,
        user: u32,
        session: &Session,
        request: RemoveSignature,
        progress: ProgressSender,
    ) -> Result<SignatureRemoved, ProcedureError> {
        let (engine, actor, session) = (Arc::clone(&self.0), Actor::new(user, session), session.clone());
        to_the_end(async move { engine.remove_signature(&actor, &session, request, progress).await }).await
    }

    /// Finishes what was cut off, as far as the cards are in a reader. To be called once before clients are served.
    ///
    /// # Errors
    /// [`ProcedureError::Store`]; what fails for one procedure is logged and left for later.
    pub async fn settle(&self) -> Result<(), ProcedureError> {
        let engine = Arc::clone(&self.0);
        to_the_end(async move { engine.settle_all().await }).await
    }

    /// Goes on settling whenever a card comes into a reader, until the readers stop.
    pub async fn settle_loop(self) {
        self.0.settle_loop().await;
    }
}

/// Runs work that must not stop half-way because its client went away: dropping the returned future leaves the work
/// running.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ProcedureError>> + Send + 'static,
) -> Result<T, ProcedureError> {
    tokio::spawn(work).await.unwrap_or(Err(ProcedureError::Internal))
}

/// Who acts: for the audit log.
#[derive(Clone, Debug)]
struct Actor {
    user: Option<u32>,
    operator: Option<String>,
    /// The reader with the operator's own card.
    reader: Option<String>,
}

impl Actor {
    fn new(user: u32, session: &Session) -> Self {
        Self {
            user: Some(user),
            operator: Some(session.operator.clone()),
            reader: Some(session.reader.clone()),
        }
    }

    /// The daemon itself, when it settles.
    fn daemon() -> Self {
        Self { user: None, operator: None, reader: None }
    }

    fn is_daemon(&self) -> bool {
        self.operator.is_none()
    }
}

/// Measures a step: time, and traffic with the chip through one reader.
struct Meter {
    begun: Instant,
    reader: Option<String>,
    before: Traffic,
}

impl Meter {
    fn start(readers: &Readers, reader: Option<&str>) -> Self {
        let before = reader.map(|reader| readers.traffic(reader)).unwrap_or_default();
        Self { begun: Instant::now(), reader: reader.map(str::to_owned), before }
    }

    fn traffic(&self, readers: &Readers) -> Traffic {
        let now = self.reader.as_deref().map(|reader| readers.traffic(reader)).unwrap_or_default();
        Traffic {
            commands: now.commands.saturating_sub(self.before.commands),
            bytes_sent: now.bytes_sent.saturating_sub(self.before.bytes_sent),
            bytes_received: now.bytes_received.saturating_sub(self.before.bytes_received),
        }
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Engine {
    async fn load(&self, id: &str) -> Result<Dossier, ProcedureError> {
        self.store.load(id).await?.ok_or_else(|| ProcedureError::NotFound(id.to_owned()))
    }

    /// The card of a procedure, wherever it is; refused through a PC/SC daemon that logs APDUs, and if it is not the
    /// card that the procedure began with.
    fn card_of(&self, dossier: &Dossier, actor: &Actor) -> Result<Arc<CardContents>, ProcedureError> {
        let contents = self.readers.find_card(&dossier.card).ok_or(ProcedureError::CardElsewhere)?;
        start::refuse_logging_reader(&contents)?;
        same_card::check(dossier, &contents, actor)?;
        Ok(contents)
    }

    /// What tells one household from another; empty where it is not asked (X17).
    fn household_key(&self) -> &str {
        self.config.get().map(|config| config.household_key.as_str()).unwrap_or_default()
    }

    fn tell_pin(&self, contents: &CardContents) {
        if let Some(hook) = self.on_pin.get() {
            hook(contents);
        }
    }

    fn meter_of(&self, dossier: &Dossier) -> Meter {
        let contents = self.readers.find_card(&dossier.card);
        Meter::start(&self.readers, contents.as_ref().map(|contents| contents.card.reader.as_str()))
    }

    async fn record(
        &self,
        actor: &Actor,
        dossier: &Dossier,
        (act, phase, paragraph): (&'static str, Phase, &'static str),
        text: impl Into<String>,
    ) -> Result<(), ProcedureError> {
        let mut record = Record::new(act, phase, text.into());
        record.user = actor.user;
        record.operator = actor.operator.clone();
        record.paragraph = Some(paragraph);
        record.card = Some(dossier.card.clone());
        record.procedure = Some(dossier.id.clone());
        self.audit.record(record).await?;
        Ok(())
    }

    /// Notes a step as done. The caller persists.
    fn note(&self, dossier: &mut Dossier, step: &'static StepRule, outcome: String, meter: &Meter) {
        dossier.done.push(StepDone {
            paragraph: step.paragraph.to_owned(),
            at: clock::now(),
            outcome,
            traffic: meter.traffic(&self.readers),
            milliseconds: meter.milliseconds(),
        });
        dossier.last = Some(step.name);
    }
}
