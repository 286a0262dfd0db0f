//! What the certifier has done, kept so that a kill at any moment loses nothing that was answered.
//!
//! The file is a journal: one JSON object a line, appended to, each append flushed to the disk before anybody is told. A
//! line cut short by a kill was never answered and is dropped. A journal that has grown long is replaced, whole or not at
//! all, by one whose first line is a snapshot of what it said. The file is locked while it is read, appended to and
//! replaced, so that `cns-authority revoke` may run beside the server.

mod hexadecimal;
mod journal;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use journal::{Journal, Locked};

use crate::profile::Profile;
use crate::status::{self, Reason, Status, crl};

/// Why the record could not be kept or read.
#[derive(Debug, Error)]
pub enum StateError {
    /// The journal could not be read, written or locked.
    #[error("the certifier's journal: {0}")]
    Io(#[from] io::Error),
    /// A whole line of the journal does not say what a journal says.
    #[error("the certifier's journal is damaged at byte {offset}: {fault}")]
    Damaged {
        /// Where the line begins.
        offset: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// An earlier operation failed half-way through memory; the process must be started again.
    #[error("an earlier failure left the certifier's memory in doubt; start it again")]
    Poisoned,
}

/// For so long a transaction is remembered, in seconds: a message that comes again later is one of its own.
const REMEMBERED: u64 = 7 * 24 * 3600;

/// One thing that happened. The names are frozen, those of [`State`] too: journals outlive programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// A certificate was signed.
    Issued {
        serial: String,
        profile: Profile,
        subject: String,
        /// SHA-256 of the SubjectPublicKeyInfo and of the subject: what makes two requests the same request.
        identity: String,
        not_before: u64,
        not_after: u64,
        /// Whether a client still has to say that it received it.
        unconfirmed: bool,
        /// DER, in hexadecimal.
        certificate: String,
    },
    /// A certificate was answered to a CMP transaction.
    Delivered {
        serial: String,
        transaction: String,
        /// SHA-256 of the request's body: the same transaction may not ask for something else.
        request: String,
        /// Our nonce, which certConf must return.
        nonce: String,
        at: u64,
    },
    /// The client has the certificate.
    Confirmed { serial: String, at: u64 },
    /// The status was changed.
    Changed { serial: String, reason: Reason, at: u64 },
    /// A CMP request was told to wait.
    Deferred {
        transaction: String,
        #[serde(flatten)]
        deferral: Deferral,
    },
    /// A CMP transaction changed the status of certificates, all of them or none.
    Revoked {
        transaction: String,
        /// SHA-256 of the request's body.
        request: String,
        changes: Vec<Change>,
        /// The body of the answer, DER, in hexadecimal.
        answer: String,
        at: u64,
    },
    /// A CRL was numbered.
    Published { number: u64, at: u64 },
    /// All that happened before this line, which is the first.
    Snapshot { state: Box<State> },
}

/// A change of status that was asked for over CMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    pub(crate) serial: String,
    pub(crate) reason: Reason,
}

/// A request for a certificate that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deferral {
    pub(crate) profile: Profile,
    /// The body of the request, DER, in hexadecimal.
    pub(crate) body: String,
    pub(crate) implicit_confirm: bool,
    /// When the certificate will be there, in seconds since 1970.
    pub(crate) until: u64,
}

/// A certificate that was issued, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Serial number, in hexadecimal.
    pub serial: String,
    /// The profile that it was issued after.
    pub profile: Profile,
    /// The holder, as RFC 4514 text.
    pub subject: String,
    /// Valid from, in seconds since 1970.
    pub not_before: u64,
    /// Valid until, in seconds since 1970.
    pub not_after: u64,
    /// How it stands.
    pub status: Status,
    /// The certificate, DER.
    #[serde(with = "hexadecimal")]
    pub certificate: Vec<u8>,
    /// When its status was last changed on request; `None` if never.
    pub(crate) changed: Option<Moment>,
    /// When it was last sent to a client that has not confirmed it.
    pub(crate) delivered_at: u64,
}

impl Record {
    /// Whether the certificate was issued after this profile, to this holder (RFC 4514 text).
    pub(crate) fn is_of(&self, profile: &Profile, subject: &str) -> bool {
        self.profile == *profile && self.subject == subject
    }
}

/// When something happened: the place among all events, for a second holds many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// The event's place among all that ever happened.
    pub(crate) event: u64,
    /// In seconds since 1970.
    pub(crate) at: u64,
}

/// A CRL that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication {
    /// Its number.
    pub(crate) number: u64,
    /// When.
    pub(crate) moment: Moment,
}

/// A CMP transaction that was answered with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) serial: String,
    pub(crate) request: String,
    pub(crate) nonce: String,
    at: u64,
}

/// A CMP transaction that changed the status of certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) request: String,
    pub(crate) answer: String,
    at: u64,
}

/// Everything that the journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    records: BTreeMap<String, Record>,
    order: Vec<String>,
    by_identity: HashMap<String, String>,
    deliveries: HashMap<String, Delivery>,
    deferrals: HashMap<String, Deferral>,
    answered: HashMap<String, Answered>,
    /// The last event that changed what a CRL says.
    last_change: u64,
    /// Every CRL that may still be in use, oldest first, and the last one before those.
    publications: VecDeque<Publication>,
    events: u64,
}

impl State {
    /// All certificates, oldest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.order.iter().filter_map(|serial| self.records.get(serial))
    }

    pub(crate) fn record(&self, serial: &str) -> Option<&Record> {
        self.records.get(serial)
    }

    /// The newest certificate of this identity (profile, key and subject).
    pub(crate) fn newest(&self, identity: &str) -> Option<&Record> {
        self.by_identity.get(identity).and_then(|serial| self.records.get(serial))
    }

    pub(crate) fn delivery(&self, transaction: &str) -> Option<&Delivery> {
        self.deliveries.get(transaction)
    }

    /// The request of this transaction that was told to wait, even if it waits no more.
    pub(crate) fn deferral(&self, transaction: &str) -> Option<&Deferral> {
        self.deferrals.get(transaction)
    }

    /// What became of a transaction that changed the status of certificates.
    pub(crate) fn answered(&self, transaction: &str) -> Option<&Answered> {
        self.answered.get(transaction)
    }

    /// Whether a transaction of this name has been seen.
    pub(crate) fn knows(&self, transaction: &str) -> bool {
        self.deliveries.contains_key(transaction)
            || self.deferrals.contains_key(transaction)
            || self.answered.contains_key(transaction)
    }

    /// Whether a status has changed since the last CRL was made.
    pub(crate) fn is_change_untold(&self) -> bool {
        self.publications.back().map_or(0, |last| last.moment.event) < self.last_change
    }

    /// Number of the last CRL; 0 before the first.
    pub(crate) fn crl_number(&self) -> u64 {
        self.publications.back().map_or(0, |last| last.number)
    }

    /// When the last CRL was made.
    pub(crate) fn published_at(&self) -> u64 {
        self.publications.back().map_or(0, |last| last.moment.at)
    }

    /// The CRL that a delta CRL builds on: so old that whoever holds a CRL that has not expired can use the delta.
    pub(crate) fn delta_base(&self) -> Option<Publication> {
        self.publications.front().copied()
    }

    /// Takes in the next line; says what is wrong with it if it cannot follow what came before.
    fn take_in(&mut self, event: Event) -> Result<(), String> {
        let Event::Snapshot { state } = event else { return self.apply(event) };
        if self.events > 0 {
            return Err("a snapshot is a journal's first line".to_owned());
        }
        *self = *state;
        Ok(())
    }

    fn apply(&mut self, event: Event) -> Result<(), String> {
        self.events = self.events.saturating_add(1);
        let event_number = self.events;
        match event {
            Event::Issued {
                serial,
                profile,
                subject,
                identity,
                not_before,
                not_after,
                unconfirmed,
                certificate,
            } => {
                let certificate = hex::decode(certificate).map_err(|error| error.to_string())?;
                let status = if unconfirmed { Status::Unconfirmed } else { Status::Valid };
                let record = Record {
                    serial: serial.clone(),
                    profile,
                    subject,
                    not_before,
                    not_after,
                    status,
                    certificate,
                    changed: None,
                    delivered_at: not_before,
                };
                self.by_identity.insert(identity, serial.clone());
                self.order.push(serial.clone());
                self.records.insert(serial, record);
            }
            Event::Delivered { serial, transaction, request, nonce, at } => {
                let record = self.known(&serial)?;
                record.delivered_at = at;
                self.deliveries.insert(transaction, Delivery { serial, request, nonce, at });
            }
            Event::Confirmed { serial, .. } => {
                let record = self.known(&serial)?;
                if record.status == Status::Unconfirmed {
                    record.status = Status::Valid;
                }
            }
            Event::Changed { serial, reason, at } => {
                self.change(&Change { serial, reason }, Moment { event: event_number, at })?;
            }
            Event::Deferred { transaction, deferral } => {
                self.deferrals.insert(transaction, deferral);
            }
            Event::Revoked { transaction, request, changes, answer, at } => {
                for change in &changes {
                    self.change(change, Moment { event: event_number, at })?;
                }
                self.answered.insert(transaction, Answered { request, answer, at });
            }
            Event::Published { number, at } => {
                let moment = Moment { event: event_number, at };
                self.publish(Publication { number, moment });
            }
            Event::Snapshot { .. } => {}
        }
        Ok(())
    }

    /// Forgets the transactions that nobody will come back to.
    fn forget_old(&mut self, now: u64) {
        let is_recent = |at: u64| now.saturating_sub(at) < REMEMBERED;
        self.deliveries.retain(|_, delivery| is_recent(delivery.at));
        self.deferrals.retain(|_, deferral| is_recent(deferral.until));
        self.answered.retain(|_, answered| is_recent(answered.at));
    }

    fn change(&mut self, change: &Change, moment: Moment) -> Result<(), String> {
        let record = self.known(&change.serial)?;
        record.status =
            status::change(record.status, change.reason, moment.at).map_err(|error| error.to_string())?;
        record.changed = Some(moment);
        self.last_change = moment.event;
        Ok(())
    }

    /// Keeps the CRL, and of those before it whatever a delta CRL may still build on.
    fn publish(&mut self, list: Publication) {
        let expired = list.moment.at.saturating_sub(crl::LIFETIME);
        while self.publications.get(1).is_some_and(|second| second.moment.at <= expired) {
            self.publications.pop_front();
        }
        self.publications.push_back(list);
    }

    fn known(&mut self, serial: &str) -> Result<&mut Record, String> {
        self.records
            .get_mut(serial)
            .ok_or_else(|| format!("no certificate {serial} was issued before this line"))
    }
}
