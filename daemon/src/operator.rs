//! Operator sessions: opened with the operator's own smart card (§9.3.2-2), bound to the Unix user that opened it, and
//! over when the card is taken out, when the time is over, or on logout.

mod trust;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::rand::fill;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
pub use cns_protocol::operator::Session;
use cns_secret::Secret;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::authority::checks::{CheckError, Revocation};
use crate::authority::status::{StatusError, StatusService, standing_in_words};
use crate::card::{CardContents, CardError, LastTry, sign::sign};
use crate::config::{Offline, OperatorEntry, OperatorsConfig};
use crate::login::CardPlace;
use crate::reader::Readers;
pub(crate) use trust::rsa_public_key;
pub use trust::{Trust, TrustError};

/// What an operator's card signs begins with this, so that its signature can mean nothing else elsewhere: a TLS
/// handshake signs a transcript hash under a context of its own (RFC 8446 §4.4.3).
const CONTEXT: &[u8] = b"cnsd operator login, version 1\0";

/// DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
pub(crate) const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The card or its PIN.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The card has no authentication certificate.
    #[error("the card has no authentication certificate")]
    NoCertificate,
    /// The certificate is not in the registry.
    #[error("the certificate on this card belongs to no registered operator")]
    NotRegistered,
    /// The certificate is not trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The certificate is suspended or revoked.
    #[error("the operator's certificate is {}", standing_in_words(.0))]
    OutOfForce(Revocation),
    /// Nobody told how the certificate stands, and the configuration has that refused: why, in words.
    #[error("the status of the operator's certificate is not known: {0}")]
    StatusUnknown(String),
    /// The card's signature over the challenge is not its certificate's.
    #[error("the card's signature does not belong to its certificate")]
    Signature,
    /// No randomness, or no readable clock.
    #[error("the system gives no {0}")]
    System(&'static str),
}

/// The operators' registry and open sessions.
#[derive(Clone)]
pub struct Operators(Arc<Inner>);

struct Inner {
    registry: Vec<OperatorEntry>,
    trust: Trust,
    length: Duration,
    readers: Readers,
    /// Who knows how certificates stand, beside the list of the configuration; nobody, until one is linked.
    status: OnceLock<Arc<StatusService>>,
    open: Mutex<HashMap<u32, Open>>,
}

struct Open {
    session: Session,
    place: CardPlace,
    until: OffsetDateTime,
}

impl Operators {
    /// The operators of the configuration.
    ///
    /// # Errors
    /// When operators are registered and the trust anchors cannot be read.
    pub fn open(
        config: &OperatorsConfig,
        registry: &[OperatorEntry],
        readers: &Readers,
    ) -> Result<Self, TrustError> {
        // Without operators nobody can log in, and an installation without a counter needs no anchors.
        let trust = if registry.is_empty() { Trust::none() } else { Trust::read(config)? };
        Ok(Self(Arc::new(Inner {
            registry: registry.to_vec(),
            trust,
            length: Duration::minutes(config.session_minutes.into()),
            readers: readers.clone(),
            status: OnceLock::new(),
            open: Mutex::default(),
        })))
    }

    /// Has the status of operators' certificates looked up there as well, where it knows their issuer. There is one: a
    /// second is not taken.
    pub fn ask_status_of(&self, status: Arc<StatusService>) {
        if self.0.status.set(status).is_err() {
            tracing::error!("the operators have a source of certificates' status already");
        }
    }

    /// The counter of a registered operator.
    #[must_use]
    pub fn counter_of(&self, id: &str) -> Option<&str> {
        self.0.registry.iter().find(|entry| entry.id == id).map(|entry| entry.counter.as_str())
    }

    /// Whether a registered operator works at this counter.
    #[must_use]
    pub fn has_counter(&self, name: &str) -> bool {
        self.0.registry.iter().any(|entry| entry.counter == name)
    }

    /// Opens a session: the card in `reader` must hold a registered and trusted certificate, and sign a challenge.
    /// Another session of the same user ends, and is given back for the record.
    ///
    /// # Errors
    /// See [`OperatorError`]. The certificate is judged, and its status looked up, before the PIN is presented.
    pub async fn login(
        &self,
        uid: u32,
        (reader, insertion): (&str, Option<u64>),
        pin: Secret,
        last_try: LastTry,
    ) -> Result<(Session, Option<Session>), OperatorError> {
        let contents = self.0.readers.card(reader)?;
        if insertion.is_some_and(|meant| meant != contents.card.insertion) {
            return Err(OperatorError::Card(CardError::Swapped));
        }
        let entry = self.judge(&contents)?;
        let warning = self.check_status(&contents).await?;
        self.challenge(&contents, pin, last_try).await?;
        let until =
            OffsetDateTime::now_utc().checked_add(self.0.length).ok_or(OperatorError::System("time"))?;
        let expires = until.format(&Rfc3339).map_err(|_| OperatorError::System("time"))?;
        let session = Session {
            operator: entry.id.clone(),
            name: entry.name.clone(),
            counter: entry.counter.clone(),
            counter_kind: entry.counter_kind,
            reader: reader.to_owned(),
            expires,
            warning,
        };
        let place = CardPlace { reader: reader.to_owned(), insertion: contents.card.insertion };
        let replaced = self.lock().insert(uid, Open { session: session.clone(), place, until });
        // The card may have gone between its signature and now.
        let session = self.session(uid).ok_or(OperatorError::Card(CardError::Removed))?;
        Ok((session, replaced.map(|open| open.session)))
    }

    /// Ends the session of this user, if one is open.
    #[must_use = "the end of a session is recorded"]
    pub fn logout(&self, uid: u32) -> Option<Session> {
        self.lock().remove(&uid).map(|open| open.session)
    }

    /// The session of this user, if one is open: the card is still there, and the time is not over.
    #[must_use]
    pub fn session(&self, uid: u32) -> Option<Session> {
        let open = self.lock();
        open.get(&uid).filter(|open| self.holds(open)).map(|open| open.session.clone())
    }

    /// Ends the sessions that no longer hold, and gives them back with the reason for the record.
    #[must_use = "the end of a session is recorded"]
    pub fn end_what_is_over(&self) -> Vec<(Session, &'static str)> {
        let mut sessions = self.lock();
        let ended = sessions.extract_if(|_, open| !self.holds(open));
        ended.map(|(_, open)| (open.session.clone(), self.reason(&open))).collect()
    }

    fn holds(&self, open: &Open) -> bool {
        self.is_there(open) && OffsetDateTime::now_utc() < open.until
    }

    fn is_there(&self, open: &Open) -> bool {
        let there = self.0.readers.card(&open.place.reader);
        there.is_ok_and(|contents| contents.card.insertion == open.place.insertion)
    }

    fn reason(&self, open: &Open) -> &'static str {
        if self.is_there(open) { "the session's time is over" } else { "the operator's card was taken out" }
    }

    /// The operator whose registered and trusted certificate is on the card.
    fn judge(&self, contents: &CardContents) -> Result<&OperatorEntry, OperatorError> {
        let der = contents.certificate(KeyUse::Authentication).ok_or(OperatorError::NoCertificate)?;
        let digest = hex::encode(Sha256::digest(der));
        let entry = self
            .0
            .registry
            .iter()
            .find(|entry| entry.certificate_sha256.eq_ignore_ascii_case(&digest))
            .ok_or(OperatorError::NotRegistered)?;
        self.0.trust.check(der, SystemTime::now())?;
        Ok(entry)
    }

    /// Refuses a certificate that is out of force, or of which nobody knows whether it is; gives a warning where the
    /// configuration lets that go on.
    async fn check_status(&self, contents: &CardContents) -> Result<Option<String>, OperatorError> {
        let Some(status) = self.0.status.get() else { return Ok(None) };
        let der = contents.certificate(KeyUse::Authentication).ok_or(OperatorError::NoCertificate)?;
        let why = match status.standing(der).await {
            Ok(known) if known.standing.is_good() => return Ok(None),
            Ok(known) => return Err(OperatorError::OutOfForce(known.standing)),
            // Operators' cards may be another authority's, whose list the registry's configuration names. Whatever else is
            // wrong with the chain says nothing of who issued it.
            Err(StatusError::Certificate(CheckError::Issuer(_))) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the status of an operator's certificate is not known");
                error.for_clients()
            }
        };
        match status.offline() {
            Offline::Refuse => Err(OperatorError::StatusUnknown(why)),
            Offline::Warn => {
                Ok(Some(format!("The status of the operator's certificate is not known: {why}")))
            }
        }
    }

    /// Lets the card sign a fresh challenge, and checks that with its certificate.
    async fn challenge(
        &self,
        contents: &CardContents,
        pin: Secret,
        last_try: LastTry,
    ) -> Result<(), OperatorError> {
        let der = contents.certificate(KeyUse::Authentication).ok_or(OperatorError::NoCertificate)?;
        let key = public_key(der)?;
        let message = challenge_message()?;
        let digest_info = digest_info(&message);
        let signature = self
            .0
            .readers
            .run(&contents.card.reader, Some(contents.card.insertion), move |session| {
                sign(session, KeyUse::Authentication, &pin, last_try, &Mechanism::RsaPkcs1, &digest_info)
            })
            .await?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(&message, &signature)
            .map_err(|_| OperatorError::Signature)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// DigestInfo of a message's SHA-256, which a card signs.
pub(crate) fn digest_info(message: &[u8]) -> Vec<u8> {
    [SHA256_DIGEST_INFO.as_slice(), &Sha256::digest(message)].concat()
}

fn challenge_message() -> Result<Vec<u8>, OperatorError> {
    let mut challenge = [0; 32];
    fill(&mut challenge).map_err(|_| OperatorError::System("randomness"))?;
    Ok([CONTEXT, &challenge].concat())
}

/// The RSAPublicKey (RFC 8017 §A.1.1) of a certificate.
fn public_key(certificate: &[u8]) -> Result<Vec<u8>, OperatorError> {
    let certificate = Certificate::from_der(certificate).map_err(TrustError::Certificate)?;
    Ok(rsa_public_key(&certificate)?.to_vec())
}
