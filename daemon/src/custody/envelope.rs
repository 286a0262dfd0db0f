//! Blind envelopes, and what becomes of them in a procedure (§9.3.2-6 to -9). By the batch: [`super::batch`].
//!
//! Every transition is one conditional UPDATE, so that two clients or two daemons cannot both take an envelope.

use std::fmt;

use cns_protocol::custody::EnvelopeStanding;
use cns_secret::Secret;

use crate::custody::data_key::DataKeys;
use crate::custody::envelope_code::EnvelopeCode;
use crate::custody::error::{CustodyError, Unavailable};
use crate::custody::seal::RecordName;
use crate::database::{Pool, now};

/// How an envelope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeState {
    /// Nobody holds it.
    Available,
    /// An operator holds it.
    Assigned,
    /// A procedure is using it.
    Reserved,
    /// Its PIN was set on a card.
    Used,
    /// It must not be used.
    Void,
}

impl EnvelopeState {
    /// The name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Assigned => "assigned",
            Self::Reserved => "reserved",
            Self::Used => "used",
            Self::Void => "void",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Available, Self::Assigned, Self::Reserved, Self::Used, Self::Void]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

impl fmt::Display for EnvelopeState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What an envelope's PIN is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopePurpose {
    /// The card's own codes: the user code in it becomes the holder's.
    Card,
    /// The signature area alone (X1): its user code is nobody's.
    Signature,
}

impl EnvelopePurpose {
    /// The name in the database; none for what most envelopes are for.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Card => None,
            Self::Signature => Some("signature"),
        }
    }
}

/// Who takes an envelope: an operator, and the counter where they work.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The operator.
    pub operator: &'a str,
    /// The counter; without one only the operator's own envelopes can be taken.
    pub counter: Option<&'a str>,
}

impl<'a> From<&'a str> for Desk<'a> {
    fn from(operator: &'a str) -> Self {
        Self { operator, counter: None }
    }
}

impl Desk<'_> {
    /// Why an assigned envelope of this operator and counter is not for that desk.
    pub(super) fn refusal(
        (desk_operator, desk_counter): (Option<&str>, Option<&str>),
        operator: Option<&str>,
        counter: Option<&str>,
    ) -> Unavailable {
        match (operator, counter) {
            (Some(operator), _) if Some(operator) != desk_operator => Unavailable::OtherOperator,
            (None, counter) if counter != desk_counter => Unavailable::OtherCounter,
            (Some(_) | None, _) => Unavailable::State(EnvelopeState::Assigned),
        }
    }
}

/// What the database says of an envelope, without its secrets.
struct Standing {
    state: EnvelopeState,
    operator: Option<String>,
    counter: Option<String>,
    void_request: Option<String>,
    procedure: Option<String>,
    card: Option<String>,
    purpose: Option<String>,
}

/// The envelopes in the database.
#[derive(Clone)]
pub(super) struct Envelopes {
    pool: Pool,
    keys: DataKeys,
}

impl Envelopes {
    pub(super) fn new(pool: Pool, keys: DataKeys) -> Self {
        Self { pool, keys }
    }

    pub(super) async fn reserve(
        &self,
        code: &EnvelopeCode,
        desk: Desk<'_>,
        (procedure, serial): (&str, &str),
        purpose: EnvelopePurpose,
    ) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'reserved', procedure_id = $1, card_serial = $2, reserved_at = $3, purpose = $7 \
             WHERE code = $4 AND state = 'assigned' AND void_request IS NULL \
             AND (operator_id = $5 OR (operator_id IS NULL AND counter = $6))",
        )
        .bind(procedure)
        .bind(serial)
        .bind(now())
        .bind(code.as_str())
        .bind(desk.operator)
        .bind(desk.counter)
        .bind(purpose.name())
        .execute(&self.pool)
        .await?
        .rows_affected();
        if changed == 1 {
            return Ok(());
        }
        let standing = self.standing(code).await?;
        let same_procedure = standing.procedure.as_deref() == Some(procedure);
        let same_use =
            standing.card.as_deref() == Some(serial) && standing.purpose.as_deref() == purpose.name();
        let reason = match standing.state {
            EnvelopeState::Reserved if same_procedure && same_use => return Ok(()),
            EnvelopeState::Reserved if !same_procedure => Unavailable::OtherProcedure,
            EnvelopeState::Assigned if standing.void_request.is_some() => Unavailable::VoidRequested,
            EnvelopeState::Assigned => {
                let desk = (Some(desk.operator), desk.counter);
                Desk::refusal(desk, standing.operator.as_deref(), standing.counter.as_deref())
            }
            EnvelopeState::Available
            | EnvelopeState::Reserved
            | EnvelopeState::Used
            | EnvelopeState::Void => Unavailable::State(standing.state),
        };
        Err(unavailable(code.as_str(), reason))
    }

    /// The PIN of an envelope that this procedure reserved or used.
    pub(super) async fn pin(&self, code: &EnvelopeCode, procedure: &str) -> Result<Secret, CustodyError> {
        let row: Option<(Option<Vec<u8>>,)> = sqlx::query_as(
            "SELECT sealed_pin FROM envelope \
             WHERE code = $1 AND procedure_id = $2 AND state IN ('reserved', 'used')",
        )
        .bind(code.as_str())
        .bind(procedure)
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some((Some(sealed),)) => self.keys.open_record(pin_name(code.as_str()), &sealed).await,
            Some((None,)) => Err(CustodyError::PinDestroyed { code: code.to_string() }),
            None => Err(self.not_of_procedure(code, procedure).await?),
        }
    }

    /// The user code of an envelope for the signature area is destroyed now: it is nobody's.
    pub(super) async fn mark_used(&self, code: &EnvelopeCode, procedure: &str) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'used', used_at = $1, \
             user_code_salt = CASE WHEN purpose = 'signature' THEN $4 ELSE user_code_salt END, \
             user_code_verifier = CASE WHEN purpose = 'signature' THEN $4 ELSE user_code_verifier END \
             WHERE code = $2 AND procedure_id = $3 AND state = 'reserved'",
        )
        .bind(now())
        .bind(code.as_str())
        .bind(procedure)
        .bind(Vec::<u8>::new())
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.settled(changed, code, procedure, EnvelopeState::Used).await
    }

    pub(super) async fn release(&self, code: &EnvelopeCode, procedure: &str) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'assigned', procedure_id = NULL, card_serial = NULL, reserved_at = NULL, \
             purpose = NULL WHERE code = $1 AND procedure_id = $2 AND state = 'reserved'",
        )
        .bind(code.as_str())
        .bind(procedure)
        .execute(&self.pool)
        .await?
        .rows_affected();
        if changed == 1 || self.standing(code).await?.state == EnvelopeState::Assigned {
            return Ok(());
        }
        Err(self.not_of_procedure(code, procedure).await?)
    }

    /// A void envelope's PIN and user code are destroyed with it.
    pub(super) async fn void(
        &self,
        code: &EnvelopeCode,
        procedure: &str,
        reason: &str,
    ) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'void', voided_at = $1, void_reason = $2, sealed_pin = NULL, \
             user_code_salt = $5, user_code_verifier = $5 WHERE code = $3 AND procedure_id = $4 AND state IN ('reserved', 'used')",
        )
        .bind(now())
        .bind(reason)
        .bind(code.as_str())
        .bind(procedure)
        .bind(Vec::<u8>::new())
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.settled(changed, code, procedure, EnvelopeState::Void).await
    }

    pub(super) async fn consume(&self, procedure: &str) -> Result<(), CustodyError> {
        sqlx::query("UPDATE envelope SET sealed_pin = NULL WHERE procedure_id = $1 AND state = 'used'")
            .bind(procedure)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A transition that changed nothing is still right when the procedure made it before.
    async fn settled(
        &self,
        changed: u64,
        code: &EnvelopeCode,
        procedure: &str,
        wanted: EnvelopeState,
    ) -> Result<(), CustodyError> {
        if changed == 1 {
            return Ok(());
        }
        let standing = self.standing(code).await?;
        if standing.state == wanted && standing.procedure.as_deref() == Some(procedure) {
            return Ok(());
        }
        Err(self.not_of_procedure(code, procedure).await?)
    }

    async fn not_of_procedure(
        &self,
        code: &EnvelopeCode,
        procedure: &str,
    ) -> Result<CustodyError, CustodyError> {
        let standing = self.standing(code).await?;
        let reason = match standing.procedure {
            Some(holder) if holder != procedure => Unavailable::OtherProcedure,
            Some(_) | None => Unavailable::State(standing.state),
        };
        Ok(unavailable(code.as_str(), reason))
    }

    async fn standing(&self, code: &EnvelopeCode) -> Result<Standing, CustodyError> {
        let shown = self.show(code).await?;
        let state = EnvelopeState::parse(&shown.state)
            .ok_or_else(|| CustodyError::Tampered { record: format!("envelope.state[{code}]") })?;
        let EnvelopeStanding { operator, counter, void_request, procedure, card, purpose, .. } = shown;
        Ok(Standing { state, operator, counter, void_request, procedure, card, purpose })
    }

    /// What is known of an envelope that is no secret.
    pub(super) async fn show(&self, code: &EnvelopeCode) -> Result<EnvelopeStanding, CustodyError> {
        type Text = Option<String>;
        type Row = (String, Text, Text, Text, Text, Text, Text, String, Text, Text, Text, Text);
        let row: Option<Row> = sqlx::query_as(
            "SELECT state, operator_id, counter, void_request, procedure_id, card_serial, purpose, created_at, assigned_at, \
             used_at, voided_at, void_reason FROM envelope WHERE code = $1",
        )
        .bind(code.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let (
            state,
            operator,
            counter,
            void_request,
            procedure,
            card,
            purpose,
            created_at,
            assigned_at,
            used_at,
            voided_at,
            void_reason,
        ) = row.ok_or_else(|| CustodyError::EnvelopeUnknown { code: code.to_string() })?;
        Ok(EnvelopeStanding {
            code: code.to_string(),
            state,
            counter,
            operator,
            void_request,
            procedure,
            card,
            purpose,
            created_at,
            assigned_at,
            used_at,
            voided_at,
            void_reason,
        })
    }
}

pub(super) fn unavailable(code: &str, reason: Unavailable) -> CustodyError {
    CustodyError::EnvelopeUnavailable { code: code.to_owned(), reason }
}

/// The record of an envelope's sealed PIN.
pub(super) fn pin_name(code: &str) -> RecordName<'_> {
    RecordName { table: "envelope", column: "sealed_pin", key: code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_their_names() {
        for state in ["available", "assigned", "reserved", "used", "void"] {
            assert_eq!(EnvelopeState::parse(state).unwrap().name(), state);
        }
        assert!(EnvelopeState::parse("open").is_none());
    }
}
