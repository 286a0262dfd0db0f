//! The handlers, one file per noun, and the daemon that they work with. Each translates a request into the rooms that
//! do the work, and their errors into what clients may see ([`crate::error`]).

pub mod audit;
pub mod card;
pub mod certificate;
pub mod counter;
pub mod custody;
pub mod daemon;
pub mod envelopes;
pub mod holder;
pub mod imports;
pub mod key;
pub mod key_pair;
pub mod national;
pub mod operator;
pub mod order;
pub mod pin;
pub mod puk;
pub mod reader;
pub mod upkeep;

use std::sync::Arc;
use std::time::Instant;

use cns_protocol::RpcError;
use cns_protocol::audit::Phase;

use crate::audit::{Audit, Record};
use crate::card::{CardContents, LastTry};
use crate::custody::Custody;
use crate::dispatch::Call;
use crate::login::{CardPlace, LoginRegistry};
use crate::operator::Operators;
use crate::outside::Outside;
use crate::procedure::Procedures;
use crate::reader::Readers;

/// The rooms of the daemon, put together.
pub struct Daemon {
    /// The readers and the cards in them.
    pub readers: Readers,
    /// Sealed secrets.
    pub custody: Custody,
    /// The audit log.
    pub audit: Audit,
    /// The operators' registry and sessions.
    pub operators: Operators,
    /// The counter's procedures.
    pub procedures: Procedures,
    /// What systems outside and holders are served with.
    pub outside: Outside,
    /// The logins of all connections.
    pub logins: Arc<LoginRegistry>,
    /// When the daemon started.
    pub started: Instant,
}

impl Daemon {
    /// Lets a card's logins end when its PIN may become another: one that keeps the old PIN would cost a try. To be
    /// called once, before anything is settled.
    pub fn end_logins_with_their_pin(&self) {
        let logins = Arc::clone(&self.logins);
        self.procedures.on_pin(move |contents| logins.forget_card(&place_of(contents)));
    }

    /// Ends logins and operator sessions whose card is gone.
    pub async fn end_what_lost_its_card(&self) {
        self.logins.retain(|place| self.is_there(place));
        for (session, why) in self.operators.end_what_is_over() {
            let record = Record {
                operator: Some(session.operator),
                ..Record::new("operator-logout", Phase::Fact, why)
            };
            if let Err(error) = self.audit.record(record).await {
                tracing::error!(%error, "the end of an operator session could not be recorded");
            }
        }
    }

    fn is_there(&self, place: &CardPlace) -> bool {
        self.readers.card(&place.reader).is_ok_and(|contents| place_of(&contents) == *place)
    }
}

/// Where a card is.
fn place_of(contents: &CardContents) -> CardPlace {
    CardPlace { reader: contents.card.reader.clone(), insertion: contents.card.insertion }
}

/// A record of what the caller does.
fn record_of(call: &Call, act: &'static str, phase: Phase, text: impl Into<String>) -> Record {
    let mut record = Record::new(act, phase, text.into());
    record.user = Some(call.caller.peer.uid);
    record.operator = call.session.as_ref().map(|session| session.operator.clone());
    record
}

/// What the audit log says of an act.
struct Act<'a> {
    name: &'static str,
    card: Option<&'a str>,
    paragraph: Option<&'static str>,
}

/// Does an act between an intention and an outcome in the audit log: nothing is done that cannot be recorded, and no
/// answer leaves before its outcome is.
async fn recorded<T, E>(
    daemon: &Daemon,
    call: &Call,
    act: Act<'_>,
    work: impl Future<Output = Result<T, E>>,
    tell: impl FnOnce(&T) -> String,
) -> Result<T, RpcError>
where
    RpcError: From<E>,
    E: std::fmt::Display,
{
    recorded_as(daemon, call, act, "begins".to_owned(), work, tell).await
}

/// As [`recorded`], with what is intended.
async fn recorded_as<T, E>(
    daemon: &Daemon,
    call: &Call,
    act: Act<'_>,
    intention: String,
    work: impl Future<Output = Result<T, E>>,
    tell: impl FnOnce(&T) -> String,
) -> Result<T, RpcError>
where
    RpcError: From<E>,
    E: std::fmt::Display,
{
    let record = |phase, text: String| {
        let mut record = record_of(call, act.name, phase, text);
        record.card = act.card.map(str::to_owned);
        record.paragraph = act.paragraph;
        record
    };
    daemon.audit.record(record(Phase::Intention, intention)).await?;
    let outcome = work.await;
    let text = match &outcome {
        Ok(done) => tell(done),
        Err(error) => format!("refused: {error}"),
    };
    daemon.audit.record(record(Phase::Outcome, text)).await?;
    Ok(outcome?)
}

/// Whether the client confirmed that the last try may be spent.
fn last_try(confirmed: bool) -> LastTry {
    if confirmed { LastTry::Confirmed } else { LastTry::Ask }
}
