//! Envelopes by the batch, outside of procedures: assigned, returned, voided (§9.3.2-6), all or none.
//!
//! Each change is one conditional UPDATE of a stretch of codes, and what stands otherwise afterwards refuses the whole:
//! so that two clients or two daemons cannot both take an envelope.

use cns_protocol::custody::{Assignee, Changed, Envelopes, VoidReason, VoidRequest, Voided};
use sqlx::{Any, Transaction};

use crate::custody::envelope::{Desk, EnvelopeState, unavailable};
use crate::custody::envelope_code::EnvelopeCode;
use crate::custody::error::{CustodyError, Unavailable};
use crate::custody::seal::random_secret;
use crate::database::{Pool, now};

/// The most codes in a list: as many as the audit log has room for by name.
pub(super) const MAXIMUM_LISTED: usize = 300;
/// The most envelopes in a range.
const MAXIMUM_RANGE: u64 = 100_000;
/// The most requests that wait for a second person and are listed.
const MAXIMUM_REQUESTS: i64 = 1000;
/// Random bytes of the identifier of a request that waits for a second person.
const REQUEST_BYTES: usize = 8;
const MAXIMUM_NAME: usize = 128;
const MAXIMUM_NOTE: usize = 200;

/// A new identifier of a request that waits for a second person.
pub(super) fn request_identifier() -> Result<String, CustodyError> {
    Ok(hex::encode(random_secret(REQUEST_BYTES)?.expose()))
}

/// Which envelopes, their codes judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Parts);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    Codes(Vec<EnvelopeCode>),
    Range(EnvelopeCode, EnvelopeCode),
}

impl Selection {
    /// Judges the codes.
    ///
    /// # Errors
    /// A code that is none, none at all, or too many.
    pub fn parse(envelopes: &Envelopes) -> Result<Self, CustodyError> {
        match envelopes {
            Envelopes::Codes(codes) => Self::of_codes(codes),
            Envelopes::Range { from, to } => {
                let (from, to) = (EnvelopeCode::parse(from)?, EnvelopeCode::parse(to)?);
                if from.as_str().len() != to.as_str().len() || from.as_str() > to.as_str() {
                    return Err(CustodyError::Invalid("the range of codes"));
                }
                Ok(Self(Parts::Range(from, to)))
            }
        }
    }

    pub(super) fn of_codes(codes: &[String]) -> Result<Self, CustodyError> {
        if codes.is_empty() || codes.len() > MAXIMUM_LISTED {
            return Err(CustodyError::Count(MAXIMUM_LISTED as u64));
        }
        let codes = codes.iter().map(|code| EnvelopeCode::parse(code)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Parts::Codes(codes)))
    }

    /// From the first to the last code of each part; in one order, so that two batches with some of the same envelopes
    /// cannot wait for each other.
    fn stretches(&self) -> Vec<(&EnvelopeCode, &EnvelopeCode)> {
        match &self.0 {
            Parts::Codes(codes) => {
                let mut stretches: Vec<_> = codes.iter().map(|code| (code, code)).collect();
                stretches.sort_by_key(|(code, _)| code.as_str());
                stretches
            }
            Parts::Range(from, to) => vec![(from, to)],
        }
    }

    fn is_range(&self) -> bool {
        matches!(self.0, Parts::Range(..))
    }
}

/// As the audit log names them: every code that is meant can be told from it.
impl std::fmt::Display for Selection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Parts::Codes(codes) => {
                let codes: Vec<&str> = codes.iter().map(EnvelopeCode::as_str).collect();
                write!(formatter, "envelopes {}", codes.join(", "))
            }
            Parts::Range(from, to) => write!(formatter, "envelopes {from} to {to}"),
        }
    }
}

/// Who asks for a change outside of a procedure.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The Unix user.
    pub user: u32,
    /// The operator at work, with their counter.
    pub desk: Option<(String, String)>,
    /// Whether they may change what others have: the custodian.
    pub custodian: bool,
}

impl Asker {
    pub(super) fn operator(&self) -> Option<&str> {
        self.desk.as_ref().map(|(operator, _)| operator.as_str())
    }

    /// What the envelopes must be: for this operator and counter, or anything.
    fn own(&self) -> (Option<&str>, Option<&str>) {
        match &self.desk {
            Some((operator, counter)) if !self.custodian => (Some(operator), Some(counter)),
            Some(_) | None => (None, None),
        }
    }

    /// Whether another person than the one who is on record asks. Two operators are told apart by the cards that they
    /// logged in with; else two Unix users are two persons.
    pub(super) fn is_another(&self, user: i64, operator: Option<&str>) -> bool {
        match (self.operator(), operator) {
            (Some(own), Some(other)) => own != other,
            (Some(_) | None, Some(_) | None) => i64::from(self.user) != user,
        }
    }
}

/// What is done to a stretch of envelopes. Whatever has a `void_request` waits for a second person.
enum Change<'a> {
    Assign { counter: Option<&'a str>, operator: Option<&'a str> },
    Return { own: (Option<&'a str>, Option<&'a str>) },
    Void { own: (Option<&'a str>, Option<&'a str>), reason: &'a str },
    AskToVoid { own: (Option<&'a str>, Option<&'a str>), request: &'a str },
}

/// Changes batches of envelopes in the database.
#[derive(Clone)]
pub(super) struct Batches {
    pool: Pool,
}

impl Batches {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// `counter` is the operator's own, where that is known, or the counter that gets them.
    pub(super) async fn assign(
        &self,
        selection: &Selection,
        to: &Assignee,
        counter: Option<&str>,
    ) -> Result<Changed, CustodyError> {
        let (counter, operator) = match to {
            Assignee::Operator(operator) => (counter, Some(operator.as_str())),
            Assignee::Counter(counter) => (Some(counter.as_str()), None),
        };
        for name in [counter, operator].into_iter().flatten() {
            if name.is_empty() || name.len() > MAXIMUM_NAME {
                return Err(CustodyError::Invalid("the operator's identifier or the counter's name"));
            }
        }
        let mut transaction = self.pool.begin().await?;
        let changed = change_all(&mut transaction, selection, &Change::Assign { counter, operator }).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    pub(super) async fn give_back(
        &self,
        selection: &Selection,
        asker: &Asker,
    ) -> Result<Changed, CustodyError> {
        let mut transaction = self.pool.begin().await?;
        let changed = change_all(&mut transaction, selection, &Change::Return { own: asker.own() }).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// With `request` the envelopes only wait, under this identifier, until a second person decides.
    pub(super) async fn void(
        &self,
        selection: &Selection,
        asker: &Asker,
        (reason, note): (VoidReason, Option<&str>),
        request: Option<String>,
    ) -> Result<Voided, CustodyError> {
        let own = asker.own();
        let mut transaction = self.pool.begin().await?;
        let changed = if let Some(request) = &request {
            sqlx::query(
                "INSERT INTO void_request (id, reason, note, envelopes, user_id, operator_id, requested_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(request)
            .bind(reason.name())
            .bind(note)
            .bind(selection.to_string())
            .bind(i64::from(asker.user))
            .bind(asker.operator())
            .bind(now())
            .execute(&mut *transaction)
            .await?;
            change_all(&mut transaction, selection, &Change::AskToVoid { own, request }).await?
        } else {
            let reason = void_reason(reason.name(), note);
            change_all(&mut transaction, selection, &Change::Void { own, reason: &reason }).await?
        };
        transaction.commit().await?;
        Ok(Voided { envelopes: changed.envelopes, passed_over: changed.passed_over, request })
    }

    /// What a request is about, as the audit log names it.
    pub(super) async fn requested(&self, request: &str) -> Result<String, CustodyError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT envelopes, reason FROM void_request WHERE id = $1")
                .bind(request)
                .fetch_optional(&self.pool)
                .await?;
        let (envelopes, reason) = row.ok_or_else(no_request)?;
        Ok(format!("{envelopes}, {reason}"))
    }

    pub(super) async fn decide(
        &self,
        request: &str,
        asker: &Asker,
        confirm: bool,
    ) -> Result<Changed, CustodyError> {
        let mut transaction = self.pool.begin().await?;
        // Deleted first: of two who decide at once, one finds it gone.
        let row: Option<(String, Option<String>, i64, Option<String>)> = sqlx::query_as(
            "DELETE FROM void_request WHERE id = $1 RETURNING reason, note, user_id, operator_id",
        )
        .bind(request)
        .fetch_optional(&mut *transaction)
        .await?;
        let (reason, note, user, operator) = row.ok_or_else(no_request)?;
        if confirm && !asker.is_another(user, operator.as_deref()) {
            return Err(CustodyError::SecondPerson);
        }
        if let (false, Some((_, counter))) = (asker.custodian, &asker.desk) {
            let (elsewhere,): (i64,) = sqlx::query_as(
                "SELECT COUNT(*) FROM envelope WHERE void_request = $1 AND COALESCE(counter, '') <> $2",
            )
            .bind(request)
            .bind(counter)
            .fetch_one(&mut *transaction)
            .await?;
            if elsewhere > 0 {
                return Err(CustodyError::Invalid("a request about envelopes of another counter"));
            }
        }
        let envelopes = if confirm {
            void_requested(&mut transaction, request, &void_reason(&reason, note.as_deref())).await?
        } else {
            let query = sqlx::query("UPDATE envelope SET void_request = NULL WHERE void_request = $1");
            query.bind(request).execute(&mut *transaction).await?.rows_affected()
        };
        transaction.commit().await?;
        Ok(Changed { envelopes, passed_over: 0 })
    }

    pub(super) async fn requests(&self) -> Result<Vec<VoidRequest>, CustodyError> {
        type Row = (String, String, Option<String>, String, i64, Option<String>, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, reason, note, envelopes, user_id, operator_id, requested_at FROM void_request \
             ORDER BY requested_at, id LIMIT $1",
        )
        .bind(MAXIMUM_REQUESTS)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(request, reason, note, envelopes, user, operator, requested_at)| {
                let tampered = || CustodyError::Tampered { record: format!("void_request[{request}]") };
                let reason = VoidReason::ALL.into_iter().find(|known| known.name() == reason);
                let (reason, user) =
                    (reason.ok_or_else(tampered)?, u32::try_from(user).map_err(|_| tampered())?);
                Ok(VoidRequest { request, reason, note, envelopes, user, operator, requested_at })
            })
            .collect()
    }
}

pub(super) fn no_request() -> CustodyError {
    CustodyError::Invalid("the identifier, which is of no request that waits,")
}

fn void_reason(reason: &str, note: Option<&str>) -> String {
    note.map_or_else(|| reason.to_owned(), |note| format!("{reason}: {note}"))
}

/// Whether a note may stand in records.
///
/// # Errors
/// It is empty, too long, or has control characters.
pub fn check_note(note: Option<&str>) -> Result<(), CustodyError> {
    let fits = note.is_none_or(|note| {
        !note.is_empty() && note.len() <= MAXIMUM_NOTE && !note.chars().any(char::is_control)
    });
    if fits { Ok(()) } else { Err(CustodyError::Invalid("the note")) }
}

async fn change_all(
    transaction: &mut Transaction<'_, Any>,
    selection: &Selection,
    change: &Change<'_>,
) -> Result<Changed, CustodyError> {
    let mut changed = Changed::default();
    for stretch in selection.stretches() {
        let envelopes = apply(transaction, stretch, change).await?;
        let (total, void) = counts(transaction, stretch).await?;
        match total {
            0 => return Err(CustodyError::EnvelopeUnknown { code: stretch.0.to_string() }),
            1..=MAXIMUM_RANGE => {}
            _ => return Err(CustodyError::Count(MAXIMUM_RANGE)),
        }
        if let Some(error) = misfit(transaction, stretch, change, selection.is_range()).await? {
            return Err(error);
        }
        let passed_over = match (selection.is_range(), change) {
            (false, _) => 0,
            (true, Change::Void { .. }) => total.saturating_sub(envelopes),
            (true, Change::Assign { .. } | Change::Return { .. } | Change::AskToVoid { .. }) => void,
        };
        changed.envelopes += total.saturating_sub(passed_over);
        changed.passed_over += passed_over;
    }
    Ok(changed)
}

/// Changes what may be changed; how many that were.
async fn apply(
    transaction: &mut Transaction<'_, Any>,
    (from, to): (&EnvelopeCode, &EnvelopeCode),
    change: &Change<'_>,
) -> Result<u64, CustodyError> {
    let query = match change {
        // A counter's envelope may go on to one of its operators. Assigning again what somebody has already is no
        // error: the answer to the first may have been lost.
        Change::Assign { .. } => {
            "UPDATE envelope SET state = 'assigned', counter = $4, operator_id = $5, assigned_at = $6 \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND void_request IS NULL \
             AND (state = 'available' OR (state = 'assigned' \
             AND (operator_id = $5 OR (operator_id IS NULL AND counter = $4))))"
        }
        Change::Return { .. } => {
            "UPDATE envelope SET state = 'available', counter = NULL, operator_id = NULL, assigned_at = NULL \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND void_request IS NULL AND state = 'assigned' \
             AND ($4 IS NULL OR operator_id = $4 OR (operator_id IS NULL AND counter = $5))"
        }
        Change::Void { .. } => {
            "UPDATE envelope SET state = 'void', void_reason = $6, voided_at = $7, sealed_pin = NULL, \
             user_code_salt = $8, user_code_verifier = $8 \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND void_request IS NULL \
             AND state IN ('available', 'assigned') \
             AND ($4 IS NULL OR operator_id = $4 OR (operator_id IS NULL AND counter = $5))"
        }
        Change::AskToVoid { .. } => {
            "UPDATE envelope SET void_request = $6 \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND void_request IS NULL \
             AND state IN ('available', 'assigned') \
             AND ($4 IS NULL OR operator_id = $4 OR (operator_id IS NULL AND counter = $5))"
        }
    };
    let query = sqlx::query(query).bind(length(from)).bind(from.as_str()).bind(to.as_str());
    let query = match change {
        Change::Assign { counter, operator } => query.bind(*counter).bind(*operator).bind(now()),
        Change::Return { own: (operator, counter) } => query.bind(*operator).bind(*counter),
        Change::Void { own: (operator, counter), reason } => {
            query.bind(*operator).bind(*counter).bind(*reason).bind(now()).bind(Vec::<u8>::new())
        }
        Change::AskToVoid { own: (operator, counter), request } => {
            query.bind(*operator).bind(*counter).bind(*request)
        }
    };
    Ok(query.execute(&mut **transaction).await?.rows_affected())
}

async fn void_requested(
    transaction: &mut Transaction<'_, Any>,
    request: &str,
    reason: &str,
) -> Result<u64, CustodyError> {
    let done = sqlx::query(
        "UPDATE envelope SET state = 'void', void_reason = $2, voided_at = $3, sealed_pin = NULL, \
         user_code_salt = $4, user_code_verifier = $4, void_request = NULL \
         WHERE void_request = $1 AND state IN ('available', 'assigned')",
    )
    .bind(request)
    .bind(reason)
    .bind(now())
    .bind(Vec::<u8>::new())
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected())
}

/// How many envelopes are in a stretch, and how many of them are void.
async fn counts(
    transaction: &mut Transaction<'_, Any>,
    (from, to): (&EnvelopeCode, &EnvelopeCode),
) -> Result<(u64, u64), CustodyError> {
    let (total, void): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COUNT(voided_at) FROM envelope WHERE length(code) = $1 AND code >= $2 AND code <= $3",
    )
    .bind(length(from))
    .bind(from.as_str())
    .bind(to.as_str())
    .fetch_one(&mut **transaction)
    .await?;
    Ok((total.unsigned_abs(), void.unsigned_abs()))
}

/// The first envelope of a stretch that does not stand as the change would have it. A range passes over void ones.
async fn misfit(
    transaction: &mut Transaction<'_, Any>,
    (from, to): (&EnvelopeCode, &EnvelopeCode),
    change: &Change<'_>,
    in_range: bool,
) -> Result<Option<CustodyError>, CustodyError> {
    type Row = (String, String, Option<String>, Option<String>, Option<String>);
    let query = match change {
        Change::Assign { .. } => {
            "SELECT code, state, operator_id, counter, void_request FROM envelope \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND state <> $4 \
             AND NOT (state = 'assigned' AND void_request IS NULL AND COALESCE(counter, '') = $5 \
             AND COALESCE(operator_id, '') = $6) ORDER BY code LIMIT 1"
        }
        Change::Return { .. } => {
            "SELECT code, state, operator_id, counter, void_request FROM envelope \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND state <> $4 \
             AND NOT (state = 'available' AND void_request IS NULL) ORDER BY code LIMIT 1"
        }
        Change::Void { .. } => {
            "SELECT code, state, operator_id, counter, void_request FROM envelope \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND state <> $4 \
             AND state <> 'void' ORDER BY code LIMIT 1"
        }
        Change::AskToVoid { .. } => {
            "SELECT code, state, operator_id, counter, void_request FROM envelope \
             WHERE length(code) = $1 AND code >= $2 AND code <= $3 AND state <> $4 \
             AND COALESCE(void_request, '') <> $5 ORDER BY code LIMIT 1"
        }
    };
    let passed_over = if in_range { EnvelopeState::Void.name() } else { "" };
    let query =
        sqlx::query_as(query).bind(length(from)).bind(from.as_str()).bind(to.as_str()).bind(passed_over);
    let query = match change {
        Change::Assign { counter, operator } => {
            query.bind(counter.unwrap_or_default()).bind(operator.unwrap_or_default())
        }
        Change::AskToVoid { request, .. } => query.bind(*request),
        Change::Return { .. } | Change::Void { .. } => query,
    };
    let row: Option<Row> = query.fetch_optional(&mut **transaction).await?;
    let Some((code, state, operator, counter, void_request)) = row else { return Ok(None) };
    let state = EnvelopeState::parse(&state)
        .ok_or_else(|| CustodyError::Tampered { record: format!("envelope.state[{code}]") })?;
    let desk = match change {
        Change::Assign { counter, operator } => (*operator, *counter),
        Change::Return { own } | Change::Void { own, .. } | Change::AskToVoid { own, .. } => *own,
    };
    let reason = match state {
        EnvelopeState::Available | EnvelopeState::Assigned if void_request.is_some() => {
            Unavailable::VoidRequested
        }
        EnvelopeState::Assigned => Desk::refusal(desk, operator.as_deref(), counter.as_deref()),
        EnvelopeState::Available | EnvelopeState::Reserved | EnvelopeState::Used | EnvelopeState::Void => {
            Unavailable::State(state)
        }
    };
    Ok(Some(unavailable(&code, reason)))
}

/// Codes of another length are other codes.
fn length(code: &EnvelopeCode) -> i64 {
    i64::try_from(code.as_str().len()).unwrap_or_default()
}
