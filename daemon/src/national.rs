//! Interoperability (§8, §9.3.3): other regions' cards at our counters, our cards at theirs.
//!
//! What goes out is a row first, and is delivered from there until there is a reply, over restarts, with one key for all
//! deliveries of it. What comes in is answered once and the answer kept: the same key gets it again. Credentials leave in two
//! parts ([`shares`]): the first is the answer's, to be printed; the second is sealed until the mail connector has it.

pub mod connector;
mod counter;
pub mod mail;
pub mod shares;
mod store;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use cns_protocol::audit::Phase;
use cns_protocol::national::{FirstPart, Request, RequestKind, RequestState, Standing};
use cns_secret::Secret;
use time::OffsetDateTime;
use tokio::sync::{Mutex, Notify};

use self::connector::{Connector, ConnectorError, Outgoing, Reply};
use self::mail::{MailConnector, is_address};
use self::store::{Direction, Mail, Row, Store};
use crate::audit::{Audit, AuditError, Record};
use crate::custody::{Custody, CustodyError, PukKind};
use crate::database::Database;
use crate::papers::Papers;
use crate::procedure::ProcedureError;

/// How often the queues are looked at when nothing wakes them.
const TICK: Duration = Duration::from_secs(5);
/// The longest pause between two deliveries of one request, in seconds.
const LONGEST_PAUSE: i64 = 3600;
/// What refuses a card that we do not have, or of another holder: which, is not told.
const NOT_OURS: &str = "there is no such card of this holder here";

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NationalError {
    /// It is not configured.
    #[error("no national system is configured")]
    Off,
    /// A rule of the manual.
    #[error("{message}")]
    Rule {
        /// The paragraph.
        paragraph: &'static str,
        /// What it says.
        message: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// What a procedure would say as well: who was identified, and what was shown.
    #[error(transparent)]
    Procedure(Box<ProcedureError>),
    /// Something in the request has the wrong form, or does not belong there.
    #[error("the request's `{0}` does not fit")]
    Invalid(&'static str),
    /// No such request.
    #[error("there is no such request")]
    Unknown,
    /// The key was used for another request.
    #[error("this key was used for another request")]
    OtherRequest,
    /// A stored request cannot be read.
    #[error("the stored request {0} is damaged")]
    Damaged(String),
    /// Custody.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The audit log. Nothing is done that cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The database.
    #[error("the database of requests: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<ProcedureError> for NationalError {
    fn from(error: ProcedureError) -> Self {
        Self::Procedure(Box::new(error))
    }
}

/// The national system, as the daemon talks with it.
#[derive(Clone)]
pub struct National(Arc<Inner>);

struct Inner {
    store: Store,
    custody: Custody,
    audit: Audit,
    /// Nothing where requests only come in.
    connector: Option<Box<dyn Connector>>,
    /// Nothing where no credentials are given out.
    mail: Option<(Box<dyn MailConnector>, String)>,
    work: Notify,
    /// Held while one request is on its way: the queue and a counter that waits do not both send it.
    delivering: Mutex<()>,
}

/// Who asks another region, at a counter.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The Unix user; nobody when the daemon goes on by itself.
    pub user: Option<u32>,
    /// The operator.
    pub operator: &'a str,
    /// The counter.
    pub counter: &'a str,
}

/// What had become of a request that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// Nobody has heard of it.
    NeverSent,
    /// It was sent, and nobody knows whether it came.
    MayBeSent,
    /// It was accepted, and is not taken back.
    Accepted,
    /// It was refused.
    Refused,
}

impl National {
    /// With these connectors; `mail` has the sender's address.
    #[must_use]
    pub fn open(
        database: &Database,
        custody: &Custody,
        audit: &Audit,
        connector: Option<Box<dyn Connector>>,
        mail: Option<(Box<dyn MailConnector>, String)>,
    ) -> Self {
        Self(Arc::new(Inner {
            store: Store::new(database.clone(), custody.sealer().clone()),
            custody: custody.clone(),
            audit: audit.clone(),
            connector,
            mail,
            work: Notify::new(),
            delivering: Mutex::new(()),
        }))
    }

    /// Whether requests go out.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.0.connector.is_some()
    }

    /// Queues a request under a key of the caller's, sends it at once, and tells how it stands. Safe to repeat: it stays one
    /// request, whose answer is given again.
    ///
    /// # Errors
    /// See [`NationalError`]. That there is no answer yet is none: the request stays queued and is sent again.
    pub async fn ask(&self, asker: Asker<'_>, id: &str, request: Request) -> Result<Standing, NationalError> {
        let standing = self.0.queue(asker, id, request, &Papers::default()).await?;
        if standing.state != RequestState::Queued {
            return Ok(standing);
        }
        self.0.deliver(id, i64::MAX).await?;
        self.show(id).await
    }

    /// Takes a request back that has no answer: it is not sent any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn withdraw(&self, id: &str) -> Result<Withdrawn, NationalError> {
        if let Some(attempts) = self.0.store.withdraw(id).await? {
            return Ok(if attempts == 0 { Withdrawn::NeverSent } else { Withdrawn::MayBeSent });
        }
        let row = self.0.store.load(Direction::Out, id).await?;
        Ok(match row.map(|row| row.state) {
            None => Withdrawn::NeverSent,
            Some(RequestState::Accepted) => Withdrawn::Accepted,
            Some(RequestState::Queued | RequestState::Refused) => Withdrawn::Refused,
        })
    }

    /// Whether a request of ours was accepted. One that nobody knows was not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn was_accepted(&self, id: &str) -> Result<bool, NationalError> {
        let row = self.0.store.load(Direction::Out, id).await?;
        Ok(row.is_some_and(|row| row.state == RequestState::Accepted))
    }

    /// How a request of ours stands.
    ///
    /// # Errors
    /// [`NationalError::Unknown`].
    pub async fn show(&self, id: &str) -> Result<Standing, NationalError> {
        let row = self.0.store.load(Direction::Out, id).await?.ok_or(NationalError::Unknown)?;
        Ok(row.standing())
    }

    /// Answers a request of another region's about one of our cards (§8-in).
    ///
    /// # Errors
    /// See [`NationalError`]. A card that is not ours is none: the answer refuses.
    pub async fn receive(&self, user: u32, id: &str, request: Request) -> Result<Standing, NationalError> {
        check_key(id)?;
        check(&request)?;
        if request.kind == RequestKind::Activation {
            return Err(NationalError::Invalid("kind"));
        }
        if let Some(known) = self.0.store.load(Direction::In, id).await? {
            return known.again(&request);
        }
        let outgoing = Outgoing { id: id.to_owned(), request, counter: String::new() };
        let row = self.0.answer(outgoing).await?;
        let text = format!("{} of another region: {}", row.outgoing.request.kind.name(), row.message);
        let record = Record::new("national-receive", Phase::Fact, text).user(user);
        self.0.audit.record(record.card(&row.outgoing.request.card).paragraph("§8-in")).await?;
        if !self.0.store.insert_answered(&row).await? {
            // Another one of this key was quicker.
            let known = self.0.store.load(Direction::In, id).await?.ok_or(NationalError::Unknown)?;
            return known.again(&row.outgoing.request);
        }
        self.0.work.notify_one();
        Ok(row.standing())
    }

    /// The revocations that other regions' counters ask for, and that nobody has decided on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn undecided(&self) -> Result<Vec<Standing>, NationalError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Ok(self.0.store.undecided(now).await?.iter().map(Row::standing).collect())
    }

    /// The issuing body's decision on a request of another region's; who asked gets it with its next call.
    ///
    /// # Errors
    /// [`NationalError::Unknown`] where nothing waits for a decision.
    pub async fn decide(
        &self,
        user: u32,
        id: &str,
        accepted: bool,
        message: &str,
    ) -> Result<Standing, NationalError> {
        let row = self.0.store.load(Direction::In, id).await?;
        let mut row = row.filter(|row| row.state == RequestState::Queued).ok_or(NationalError::Unknown)?;
        row.state = if accepted { RequestState::Accepted } else { RequestState::Refused };
        row.message = message.chars().take(500).collect();
        let text =
            format!("{} of another region: {:?}", row.outgoing.request.kind.name(), row.state).to_lowercase();
        let record = |phase, text| {
            Record::new("national-decide", phase, text)
                .user(user)
                .card(&row.outgoing.request.card)
                .paragraph("§8-in")
        };
        self.0.audit.record(record(Phase::Intention, text.clone())).await?;
        // Another one may have decided meanwhile: one decision counts.
        let first = self.0.store.update(&row).await?;
        let outcome = if first { text } else { "nothing waits for this decision any more".to_owned() };
        self.0.audit.record(record(Phase::Outcome, outcome)).await?;
        if first { Ok(row.standing()) } else { Err(NationalError::Unknown) }
    }

    /// Delivers what is queued, now and on and on, until it is dropped.
    pub async fn work_loop(self) {
        loop {
            if let Err(error) = self.work().await {
                tracing::error!(%error, "requests to the national system cannot be delivered");
            }
            tokio::time::timeout(TICK, self.0.work.notified()).await.ok();
        }
    }

    /// Delivers once what is due. The mail is worked on though requests failed, and the other way round.
    ///
    /// # Errors
    /// The database failed.
    pub async fn work(&self) -> Result<(), NationalError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let requests = self.0.deliver_requests(now).await;
        let mail = self.0.deliver_mail(now).await;
        requests.and(mail)
    }
}

impl Inner {
    /// A request of ours is a row before anybody hears of it.
    async fn queue(
        &self,
        asker: Asker<'_>,
        id: &str,
        request: Request,
        papers: &Papers,
    ) -> Result<Standing, NationalError> {
        if self.connector.is_none() {
            return Err(NationalError::Off);
        }
        check(&request)?;
        if let Some(known) = self.store.load(Direction::Out, id).await? {
            return known.again(&request);
        }
        let text = format!("{} is queued as {id}", request.kind.name());
        let mut record = Record::new("national-request", Phase::Fact, text);
        record.user = asker.user;
        let record = record.operator(asker.operator).card(&request.card).paragraph("§9.3.3-5");
        self.audit.record(record).await?;
        let outgoing = Outgoing { id: id.to_owned(), request, counter: asker.counter.to_owned() };
        let row = Row::queued(Direction::Out, outgoing);
        if self.store.insert(&row, papers).await? {
            return Ok(row.standing());
        }
        let known = self.store.load(Direction::Out, id).await?.ok_or(NationalError::Unknown)?;
        known.again(&row.outgoing.request)
    }

    async fn deliver_requests(&self, now: i64) -> Result<(), NationalError> {
        if self.connector.is_none() {
            return Ok(());
        }
        for row in self.store.due(now).await? {
            self.deliver(&row.outgoing.id, now).await?;
        }
        Ok(())
    }

    /// One delivery of a request that waits and was not put off beyond `due`. That it may come is written down first.
    async fn deliver(&self, id: &str, due: i64) -> Result<(), NationalError> {
        let Some(connector) = &self.connector else { return Err(NationalError::Off) };
        let _one = self.delivering.lock().await;
        if !self.store.begin(id, due).await? {
            return Ok(());
        }
        let Some(row) = self.store.load(Direction::Out, id).await? else { return Ok(()) };
        let outcome = connector.deliver(&row.outgoing).await;
        self.settle(row, outcome, OffsetDateTime::now_utc().unix_timestamp()).await
    }

    async fn deliver_mail(&self, now: i64) -> Result<(), NationalError> {
        let Some((connector, from)) = &self.mail else { return Ok(()) };
        for mail in self.store.due_mail(now).await? {
            self.send(connector.as_ref(), from, mail, now).await?;
        }
        Ok(())
    }

    /// The answer to a request that comes in, with what is to be mailed.
    async fn answer(&self, outgoing: Outgoing) -> Result<Row, NationalError> {
        let request = &outgoing.request;
        let ours = self.custody.codice_fiscale(&request.card).await?;
        if ours.as_deref() != Some(request.codice_fiscale.as_str()) {
            return Ok(Row::answered(outgoing, RequestState::Refused, NOT_OURS));
        }
        match request.kind {
            // An office decides; nothing is revoked because a message came in.
            RequestKind::Revocation => {
                Ok(Row::answered(outgoing, RequestState::Queued, "the issuing body decides"))
            }
            RequestKind::Activation | RequestKind::Duplicate => {
                if self.mail.is_none() {
                    return Err(NationalError::Off);
                }
                if !self.custody.has_puk(&request.card, PukKind::Cns).await? {
                    return Ok(Row::answered(outgoing, RequestState::Refused, NOT_OURS));
                }
                let puk = self.custody.puk(&request.card, PukKind::Cns).await?;
                let (first, second) = puk.lend(shares::split)?;
                let mut row = Row::answered(outgoing, RequestState::Accepted, "the second part goes by mail");
                row.first_part = Some(FirstPart { pin: None, puk: Some(printable(&first)) });
                row.second = Some(second);
                Ok(row)
            }
        }
    }

    async fn settle(
        &self,
        mut row: Row,
        outcome: Result<Reply, ConnectorError>,
        now: i64,
    ) -> Result<(), NationalError> {
        match outcome {
            Ok(reply) => {
                row.state = if reply.accepted { RequestState::Accepted } else { RequestState::Refused };
                row.message = reply.message.chars().take(500).collect();
                row.first_part = reply.first_part;
            }
            Err(ConnectorError::Refused(why)) => {
                row.state = RequestState::Refused;
                row.message = why;
            }
            Err(ConnectorError::Passing(why)) => {
                tracing::warn!(id = %row.outgoing.id, why, "a request to the national system is sent again later");
                row.message = why;
                row.next_at = now.saturating_add(pause(row.attempts));
            }
        }
        if row.state != RequestState::Queued {
            let text = format!("{}: {:?}", row.outgoing.request.kind.name(), row.state).to_lowercase();
            let record = Record::new("national-request", Phase::Outcome, text);
            self.audit.record(record.card(&row.outgoing.request.card).paragraph("§9.3.3-5")).await?;
        }
        if !self.store.update(&row).await? {
            tracing::warn!(id = %row.outgoing.id, "a request was answered or erased while it was under way");
        }
        Ok(())
    }

    async fn send(
        &self,
        connector: &dyn MailConnector,
        from: &str,
        mail: Mail,
        now: i64,
    ) -> Result<(), NationalError> {
        let message =
            mail::message((from, &mail.to, &mail.id), &mail.second).map_err(CustodyError::Memory)?;
        match connector.hand_over(&mail.id, &message).await {
            Ok(()) => {
                let record =
                    Record::new("national-mail", Phase::Fact, "the second part was handed to the mail");
                self.audit.record(record.card(&mail.card).paragraph("§9.3.3-6")).await?;
                self.store.mailed(&mail.id).await
            }
            Err(error) => {
                tracing::warn!(id = %mail.id, %error, "the second part is handed over again later");
                let next_at = now.saturating_add(pause(mail.attempts.saturating_add(1)));
                self.store.mail_later(&mail.id, next_at).await
            }
        }
    }
}

/// A new idempotency key.
fn new_id() -> Result<String, CustodyError> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
    Ok(hex::encode(id))
}

/// Seconds until the next attempt: 1, 2, 4 and so on.
fn pause(attempts: u32) -> i64 {
    1_i64.checked_shl(attempts.saturating_sub(1).min(12)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

/// A first part is random digits: it is no secret.
fn printable(first: &Secret) -> String {
    String::from_utf8_lossy(first.expose()).into_owned()
}

fn check_key(id: &str) -> Result<(), NationalError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (8..=64).contains(&id.len()) && id.bytes().all(fits) {
        Ok(())
    } else {
        Err(NationalError::Invalid("id"))
    }
}

/// What every request must be like.
fn check(request: &Request) -> Result<(), NationalError> {
    let invalid = |member| Err(NationalError::Invalid(member));
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if request.card.len() != 16 || !request.card.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("card");
    }
    if request.codice_fiscale.len() != 16 || !request.codice_fiscale.bytes().all(upper) {
        return invalid("codice_fiscale");
    }
    if request.delegate && request.kind != RequestKind::Activation {
        return Err(NationalError::Rule {
            paragraph: "§8-out",
            message: "a delegate may ask for the activation alone",
            hint: "The holder comes in person",
        });
    }
    match request.kind {
        RequestKind::Revocation if request.email.is_some() => invalid("email"),
        RequestKind::Revocation if request.reason.is_none() => invalid("reason"),
        RequestKind::Revocation => Ok(()),
        RequestKind::Activation | RequestKind::Duplicate if request.reason.is_some() => invalid("reason"),
        RequestKind::Activation | RequestKind::Duplicate => match &request.email {
            Some(email) if is_address(email) => Ok(()),
            Some(_) | None => invalid("email"),
        },
    }
}
