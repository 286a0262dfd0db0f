//! Sealed orders: a CMS system that keeps PUKs itself has the daemon use one, and nobody between sees it.
//!
//! An order is RFC 5652 SignedData by the CMS system around EnvelopedData to this daemon, DER. What is checked, in this
//! order: size, signature, signer, that it opens, its time, the card in the reader, its number. Then the number is used up,
//! the intention recorded, the state persisted, the card worked on, the receipt signed and kept, the outcome recorded. What
//! was cut off goes on when the same order comes again, or by itself when the card does: the same value is set again, as
//! long as the chip's counter shows that the PUK was not refused unheard.

mod chip;
mod content;
mod error;
mod receipt;
mod signed_data;
mod signers;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use cms::content_info::ContentInfo;
use cns_protocol::audit::Phase;
use cns_protocol::order::{Executed, MAX_ORDER, OrderCertificates, OrderResult};
use der::Decode;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::chip::{End, Look};
use self::content::Content;
pub use self::error::OrderError;
use self::signers::Signers;
use self::store::{ACCEPTED, BEGUN, Kept, Store};
use crate::audit::{Audit, Record};
use crate::card::CardContents;
use crate::config::OrdersConfig;
use crate::custody::Custody;
use crate::custody::own_key::{OwnKey, Purpose};
use crate::database::Database;
use crate::procedure::Procedures;
use crate::reader::Readers;

const ACT: &str = "order";
const PARAGRAPH: &str = "§9.3.2-7";

/// The orders of the CMS systems that are configured.
#[derive(Clone)]
pub struct Orders(Arc<Inner>);

struct Inner {
    store: Store,
    signers: Signers,
    order_key: OwnKey,
    receipt_key: OwnKey,
    custody: Custody,
    readers: Readers,
    audit: Audit,
    procedures: Procedures,
}

/// Who carries an order to the daemon: for the audit log. Nobody, when the daemon goes on by itself.
#[derive(Clone, Debug, Default)]
pub struct Bearer {
    /// The Unix user.
    pub user: Option<u32>,
    /// The operator at work.
    pub operator: Option<String>,
}

/// An order that may be carried out, as far as it tells by itself.
struct Opened {
    signer: String,
    sha256: String,
    content: Content,
}

impl Orders {
    /// Reads the signers' trust, and makes the daemon's two keys for orders the first time.
    ///
    /// # Errors
    /// When a file or key cannot be used.
    pub async fn open(
        config: &OrdersConfig,
        database: &Database,
        custody: &Custody,
        readers: &Readers,
        audit: &Audit,
        procedures: &Procedures,
    ) -> Result<Self, OrderError> {
        Ok(Self(Arc::new(Inner {
            store: Store::new(database.clone()),
            signers: Signers::read(config)?,
            order_key: custody.own_key(Purpose::Orders).await?,
            receipt_key: custody.own_key(Purpose::Receipts).await?,
            custody: custody.clone(),
            readers: readers.clone(),
            audit: audit.clone(),
            procedures: procedures.clone(),
        })))
    }

    /// The daemon's certificates for orders.
    #[must_use]
    pub fn certificates(&self) -> OrderCertificates {
        OrderCertificates {
            order: self.0.order_key.pem().to_owned(),
            receipt: self.0.receipt_key.pem().to_owned(),
        }
    }

    /// Carries an order out on the card in a reader.
    ///
    /// # Errors
    /// See [`OrderError`]. A PUK that the chip refuses is none: the receipt tells.
    pub async fn execute(
        &self,
        bearer: &Bearer,
        reader: &str,
        message: Vec<u8>,
    ) -> Result<Executed, OrderError> {
        let outcome = self.execute_unrecorded(bearer, reader, message).await;
        if let Err(error) = &outcome
            && error.is_refusal()
        {
            let mut record = Record::new(ACT, Phase::Fact, format!("refused: {error}"));
            (record.user, record.operator) = (bearer.user, bearer.operator.clone());
            self.0.audit.record(record).await?;
        }
        outcome
    }

    async fn execute_unrecorded(
        &self,
        bearer: &Bearer,
        reader: &str,
        message: Vec<u8>,
    ) -> Result<Executed, OrderError> {
        let orders = self.clone();
        let work = move || orders.0.open_message(&message).map(|opened| (opened, message));
        let opened = tokio::task::spawn_blocking(work).await;
        let (opened, message) = opened.map_err(|_| OrderError::Stopped)??;
        if opened.content.until < OffsetDateTime::now_utc() {
            return Err(OrderError::Expired(opened.content.not_after));
        }
        let contents = self.0.readers.card(reader)?;
        if contents.card.serial != opened.content.card {
            return Err(OrderError::OtherCard);
        }
        self.0.carry_out(bearer, &contents, opened, message).await
    }

    /// The receipt of an order that is over, by the SHA-256 of the order.
    ///
    /// # Errors
    /// [`OrderError::Unknown`].
    pub async fn receipt(&self, sha256: &str) -> Result<Executed, OrderError> {
        let kept = self.0.store.of_digest(&sha256.to_ascii_lowercase()).await?.ok_or(OrderError::Unknown)?;
        executed(&kept)?.ok_or(OrderError::Unknown)
    }

    /// Goes on with what was cut off, now and whenever a card comes into a reader, until the readers stop.
    pub async fn settle_loop(self) {
        let mut changes = self.0.readers.changes();
        let mut tried = HashMap::new();
        loop {
            if let Err(error) = self.0.settle(&mut tried).await {
                tracing::error!(%error, "orders cannot be settled");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Inner {
    /// Everything that can be said without the card and the clock.
    fn open_message(&self, message: &[u8]) -> Result<Opened, OrderError> {
        if message.len() > MAX_ORDER {
            return Err(OrderError::TooLarge);
        }
        let verified = signed_data::verify(message)?;
        let signer = self.signers.judge(&verified, SystemTime::now())?.to_owned();
        // The reader below takes BER as well; an order has one encoding, whoever made it.
        ContentInfo::from_der(&verified.content).map_err(OrderError::NotEnvelopedData)?;
        let content = self.custody.decrypt(&self.order_key, &verified.content).map_err(OrderError::Sealed)?;
        Ok(Opened { signer, sha256: hex::encode(Sha256::digest(message)), content: content::read(&content)? })
    }

    async fn carry_out(
        &self,
        bearer: &Bearer,
        contents: &CardContents,
        opened: Opened,
        message: Vec<u8>,
    ) -> Result<Executed, OrderError> {
        let Opened { signer, sha256, content } = opened;
        let _guard = self.procedures.lock_card(contents).await?.ok_or(OrderError::ProcedureOpen)?;
        let mut kept = Kept {
            signer,
            number: content.number.clone(),
            sha256,
            card: content.card.clone(),
            certificate_sha256: fingerprint(contents),
            state: ACCEPTED.to_owned(),
            not_after: content.not_after.clone(),
            message: Some(message),
            puk_tries: None,
            receipt: None,
        };
        if !self.store.accept(&kept).await? {
            kept = self.again(&kept).await?;
        }
        self.attempt(bearer, contents, kept, content).await
    }

    /// The number is taken: the same order may go on if it is not over, every other one is a replay.
    async fn again(&self, new: &Kept) -> Result<Kept, OrderError> {
        let known = self.store.of_number(&new.signer, &new.number).await?;
        let known = known.ok_or_else(|| OrderError::Damaged(new.number.clone()))?;
        let what = match known.state.as_str() {
            _ if known.sha256 != new.sha256 => "has a number that another order had",
            // Another card of the same serial number: what its chip's counter shows tells nothing about the attempt.
            BEGUN if known.certificate_sha256 != new.certificate_sha256 => return Err(OrderError::OtherCard),
            ACCEPTED | BEGUN => return Ok(known),
            _ => "was carried out before",
        };
        Err(OrderError::Replayed { number: known.number, signer: known.signer, what })
    }

    /// One attempt at an order whose number is used up.
    async fn attempt(
        &self,
        bearer: &Bearer,
        contents: &CardContents,
        mut kept: Kept,
        content: Content,
    ) -> Result<Executed, OrderError> {
        let action = content.act.action();
        let begun = (kept.state == BEGUN).then_some(kept.puk_tries);
        let look = chip::look(&self.readers, contents, chip::pin_of(&content.act), begun).await?;
        let end = match look {
            Look::Blocked => End::Over(OrderResult::PukBlocked, Some(0)),
            Look::Doubtful(tries) => End::Over(OrderResult::Unknown, tries),
            Look::Present(tries) => {
                let text = format!("order {} of {}: {}", kept.number, kept.signer, action.name());
                self.record(bearer, &kept, Phase::Intention, text).await?;
                kept.state = BEGUN.to_owned();
                kept.puk_tries = tries;
                kept.certificate_sha256 = fingerprint(contents);
                self.store.set_state(&kept).await?;
                self.procedures.tell_pin(contents);
                let end = chip::carry_out(&self.readers, contents, content.act).await;
                // Also after an error: the chip may have the new PIN.
                self.procedures.tell_pin(contents);
                end
            }
        };
        match end {
            End::Over(result, tries_left) => {
                kept.receipt = Some(receipt::sign(self, &kept, action, result, tries_left)?);
                kept.state = result.name().to_owned();
                self.store.end(&kept).await?;
                let text = format!("order {} of {}: {}", kept.number, kept.signer, result.name());
                self.record(bearer, &kept, Phase::Outcome, text).await?;
                if result == OrderResult::Done {
                    self.note(contents).await;
                }
                executed(&kept)?.ok_or_else(|| OrderError::Damaged(kept.number.clone()))
            }
            End::Untouched(error) => {
                let text = format!("order {} of {}: not carried out: {error}", kept.number, kept.signer);
                self.record(bearer, &kept, Phase::Outcome, text).await?;
                // What an earlier attempt left open stays open.
                if begun.is_none() {
                    kept.state = ACCEPTED.to_owned();
                    self.store.set_state(&kept).await?;
                }
                Err(error.into())
            }
            End::Open(cause) => {
                let text = format!("order {} of {}: not known: {cause}", kept.number, kept.signer);
                self.record(bearer, &kept, Phase::Outcome, text).await?;
                Err(OrderError::Unsettled { cause })
            }
        }
    }

    /// Notes the card's certificates, so that it can be suspended when it is lost. The order is over: a card whose certificates
    /// are not the authority's, or cannot be noted, has its PIN all the same.
    async fn note(&self, contents: &CardContents) {
        if let Err(error) = self.procedures.standings().note(contents, true).await {
            tracing::warn!(card = %contents.card.serial, %error, "the card's certificates are not noted");
        }
    }

    /// Goes on with orders whose card is in a reader, once for each time that it is put in.
    async fn settle(&self, tried: &mut HashMap<String, (String, u64)>) -> Result<(), OrderError> {
        for kept in self.store.accepted().await? {
            let until = OffsetDateTime::parse(&kept.not_after, &Rfc3339);
            if until.is_ok_and(|until| until < OffsetDateTime::now_utc()) {
                self.store.expire(&kept).await?;
            }
        }
        for kept in self.store.begun().await? {
            let Some(contents) = self.readers.find_card(&kept.card) else { continue };
            let place = (contents.card.reader.clone(), contents.card.insertion);
            if tried.get(&kept.sha256) == Some(&place) {
                continue;
            }
            tried.insert(kept.sha256.clone(), place);
            if let Err(error) = self.settle_one(&contents, &kept).await {
                tracing::warn!(number = %kept.number, %error, "the order is not settled yet");
            }
        }
        Ok(())
    }

    async fn settle_one(&self, contents: &CardContents, found: &Kept) -> Result<(), OrderError> {
        let _guard = self.procedures.lock_card(contents).await?.ok_or(OrderError::ProcedureOpen)?;
        // The order may have come again while the lock was waited for.
        let kept = self.store.of_number(&found.signer, &found.number).await?;
        let Some(kept) = kept.filter(|kept| kept.state == BEGUN) else { return Ok(()) };
        // Nobody looks at the card now.
        if kept.certificate_sha256.is_none() || kept.certificate_sha256 != fingerprint(contents) {
            return Err(OrderError::OtherCard);
        }
        let damaged = || OrderError::Damaged(kept.number.clone());
        let message = kept.message.as_deref().ok_or_else(damaged)?;
        let verified = signed_data::verify(message)?;
        if kept.sha256 != hex::encode(Sha256::digest(message)) {
            return Err(damaged());
        }
        let content = self.custody.decrypt(&self.order_key, &verified.content).map_err(OrderError::Sealed)?;
        let content = content::read(&content)?;
        self.attempt(&Bearer::default(), contents, kept, content).await.map(|_| ())
    }

    async fn record(
        &self,
        bearer: &Bearer,
        kept: &Kept,
        phase: Phase,
        text: String,
    ) -> Result<(), OrderError> {
        let mut record = Record::new(ACT, phase, text).card(&kept.card).paragraph(PARAGRAPH);
        (record.user, record.operator) = (bearer.user, bearer.operator.clone());
        self.audit.record(record).await?;
        Ok(())
    }
}

/// An order that is over; nothing when it is not.
fn executed(kept: &Kept) -> Result<Option<Executed>, OrderError> {
    let result = OrderResult::ALL.into_iter().find(|result| result.name() == kept.state);
    let (Some(result), Some(receipt)) = (result, &kept.receipt) else { return Ok(None) };
    Ok(Some(Executed {
        number: kept.number.clone(),
        signer: kept.signer.clone(),
        card: kept.card.clone(),
        result,
        receipt: receipt.clone(),
    }))
}

fn fingerprint(contents: &CardContents) -> Option<String> {
    contents.authentication_certificate.as_ref().map(|der| hex::encode(Sha256::digest(der)))
}
