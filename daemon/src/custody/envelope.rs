//! Blind envelopes: their outside code, and what becomes of them (§9.3.2-6 to -9).
//!
//! Every transition is one conditional UPDATE, so that two clients or two daemons cannot both take an envelope.

use std::fmt;

use cns_secret::Secret;
use sqlx::SqlitePool;

use crate::custody::error::{CustodyError, Unavailable};
use crate::custody::seal::{RecordName, Sealer};
use crate::database::now;

/// The most envelopes assigned at a time.
const MAXIMUM_ASSIGNED: usize = 1000;
const CODE_DIGITS: usize = 9;
const MAXIMUM_NAME: usize = 128;

/// The code outside an envelope: 8 digits and their check digit (ISO/IEC 7812-1, Luhn's formula), so that a typing
/// error or two swapped neighbours are seen before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeCode(String);

impl EnvelopeCode {
    /// Judges form and check digit.
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`].
    pub fn parse(text: &str) -> Result<Self, CustodyError> {
        if text.len() == CODE_DIGITS && text.bytes().all(|b| b.is_ascii_digit()) && luhn(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CustodyError::CodeInvalid)
        }
    }

    /// The nine digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvelopeCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether the last of these ASCII digits is the check digit of the others.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0'));
            match (place % 2, value) {
                (0, _) => value,
                (_, 0..=4) => value * 2,
                (_, _) => value * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

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

/// What the database says of an envelope, without its secrets.
struct Standing {
    state: EnvelopeState,
    operator: Option<String>,
    procedure: Option<String>,
    card: Option<String>,
}

/// The envelopes in the database.
#[derive(Clone)]
pub(super) struct Envelopes {
    pool: SqlitePool,
    sealer: Sealer,
}

impl Envelopes {
    pub(super) fn new(pool: SqlitePool, sealer: Sealer) -> Self {
        Self { pool, sealer }
    }

    pub(super) async fn assign(&self, operator: &str, codes: &[String]) -> Result<(), CustodyError> {
        if codes.is_empty() || codes.len() > MAXIMUM_ASSIGNED {
            return Err(CustodyError::Count(MAXIMUM_ASSIGNED));
        }
        if operator.is_empty() || operator.len() > MAXIMUM_NAME {
            return Err(CustodyError::Invalid("the operator's identifier"));
        }
        let codes = codes.iter().map(|code| EnvelopeCode::parse(code)).collect::<Result<Vec<_>, _>>()?;
        let mut transaction = self.pool.begin().await?;
        let mut refused = None;
        for code in &codes {
            // Assigning again what the operator has already is no error: the answer to the first may have been lost.
            let changed = sqlx::query(
                "UPDATE envelope SET state = 'assigned', operator_id = $1, assigned_at = $2 \
                 WHERE code = $3 AND (state = 'available' OR (state = 'assigned' AND operator_id = $1))",
            )
            .bind(operator)
            .bind(now())
            .bind(code.as_str())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            if changed != 1 {
                refused = Some(code);
                break;
            }
        }
        let Some(code) = refused else { return Ok(transaction.commit().await?) };
        transaction.rollback().await?;
        let standing = self.standing(code).await?;
        let reason = match (standing.state, standing.operator) {
            (EnvelopeState::Assigned, Some(holder)) if holder != operator => Unavailable::OtherOperator,
            (state, _) => Unavailable::State(state),
        };
        Err(unavailable(code, reason))
    }

    pub(super) async fn reserve(
        &self,
        code: &EnvelopeCode,
        operator: &str,
        procedure: &str,
        serial: &str,
    ) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'reserved', procedure_id = $1, card_serial = $2, reserved_at = $3 \
             WHERE code = $4 AND state = 'assigned' AND operator_id = $5",
        )
        .bind(procedure)
        .bind(serial)
        .bind(now())
        .bind(code.as_str())
        .bind(operator)
        .execute(&self.pool)
        .await?
        .rows_affected();
        if changed == 1 {
            return Ok(());
        }
        let standing = self.standing(code).await?;
        let same_procedure = standing.procedure.as_deref() == Some(procedure);
        let reason = match standing.state {
            EnvelopeState::Reserved if same_procedure && standing.card.as_deref() == Some(serial) => {
                return Ok(());
            }
            EnvelopeState::Reserved if !same_procedure => Unavailable::OtherProcedure,
            EnvelopeState::Assigned if standing.operator.as_deref() != Some(operator) => {
                Unavailable::OtherOperator
            }
            EnvelopeState::Available
            | EnvelopeState::Assigned
            | EnvelopeState::Reserved
            | EnvelopeState::Used
            | EnvelopeState::Void => Unavailable::State(standing.state),
        };
        Err(unavailable(code, reason))
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
            Some((Some(sealed),)) => self.sealer.open(pin_name(code.as_str()), &sealed),
            Some((None,)) => Err(CustodyError::PinDestroyed { code: code.to_string() }),
            None => Err(self.not_of_procedure(code, procedure).await?),
        }
    }

    pub(super) async fn mark_used(&self, code: &EnvelopeCode, procedure: &str) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'used', used_at = $1 \
             WHERE code = $2 AND procedure_id = $3 AND state = 'reserved'",
        )
        .bind(now())
        .bind(code.as_str())
        .bind(procedure)
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.settled(changed, code, procedure, EnvelopeState::Used).await
    }

    pub(super) async fn release(&self, code: &EnvelopeCode, procedure: &str) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'assigned', procedure_id = NULL, card_serial = NULL, reserved_at = NULL \
             WHERE code = $1 AND procedure_id = $2 AND state = 'reserved'",
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

    /// A void envelope's PIN is destroyed with it.
    pub(super) async fn void(
        &self,
        code: &EnvelopeCode,
        procedure: &str,
        reason: &str,
    ) -> Result<(), CustodyError> {
        let changed = sqlx::query(
            "UPDATE envelope SET state = 'void', voided_at = $1, void_reason = $2, sealed_pin = NULL \
             WHERE code = $3 AND procedure_id = $4 AND state IN ('reserved', 'used')",
        )
        .bind(now())
        .bind(reason)
        .bind(code.as_str())
        .bind(procedure)
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
        Ok(unavailable(code, reason))
    }

    async fn standing(&self, code: &EnvelopeCode) -> Result<Standing, CustodyError> {
        type Row = (String, Option<String>, Option<String>, Option<String>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT state, operator_id, procedure_id, card_serial FROM envelope WHERE code = $1",
        )
        .bind(code.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let (state, operator, procedure, card) =
            row.ok_or_else(|| CustodyError::EnvelopeUnknown { code: code.to_string() })?;
        let state = EnvelopeState::parse(&state)
            .ok_or_else(|| CustodyError::Tampered { record: format!("envelope.state[{code}]") })?;
        Ok(Standing { state, operator, procedure, card })
    }
}

fn unavailable(code: &EnvelopeCode, reason: Unavailable) -> CustodyError {
    CustodyError::EnvelopeUnavailable { code: code.to_string(), reason }
}

/// The record of an envelope's sealed PIN.
pub(super) fn pin_name(code: &str) -> RecordName<'_> {
    RecordName { table: "envelope", column: "sealed_pin", key: code }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes computed by hand; 7992739871 with check digit 3 is the usual example of Luhn's formula.
    #[test]
    fn codes_are_judged_by_their_check_digit() {
        for good in ["000000000", "123456782", "999999998"] {
            assert_eq!(EnvelopeCode::parse(good).unwrap().as_str(), good);
        }
        for bad in ["123456781", "213456782", "12345678", "1234567820", "12345678a", "", "１23456782"] {
            assert!(matches!(EnvelopeCode::parse(bad), Err(CustodyError::CodeInvalid)), "{bad}");
        }
        assert!(luhn(b"79927398713"));
    }

    #[test]
    fn states_have_their_names() {
        for state in ["available", "assigned", "reserved", "used", "void"] {
            assert_eq!(EnvelopeState::parse(state).unwrap().name(), state);
        }
        assert!(EnvelopeState::parse("open").is_none());
    }
}
