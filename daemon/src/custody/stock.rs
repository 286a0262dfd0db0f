//! What custody offers of envelopes outside of procedures, and how many there are of what.

use cns_protocol::custody::{
    Assignee, Changed, EnvelopeStanding, HolderStock, StockReport, VoidReason, VoidRequest, Voided,
};

use super::batch::{Asker, Selection, request_identifier};
use super::envelope::EnvelopeState;
use super::envelope_code::EnvelopeCode;
use super::{Custody, CustodyError};

impl Custody {
    /// Gives envelopes to an operator (§9.3.2-6), all or none.
    ///
    /// # Errors
    /// A code that is wrong, unknown, or not available.
    pub async fn assign(&self, operator: &str, codes: &[String]) -> Result<(), CustodyError> {
        let to = Assignee::Operator(operator.to_owned());
        self.assign_batch(&Selection::of_codes(codes)?, &to, None).await.map(|_| ())
    }

    /// Gives envelopes to an operator, whose `counter` is noted, or to a counter; all or none.
    ///
    /// # Errors
    /// An envelope that is unknown, or neither available nor at that counter.
    pub async fn assign_batch(
        &self,
        selection: &Selection,
        to: &Assignee,
        counter: Option<&str>,
    ) -> Result<Changed, CustodyError> {
        self.inner.batches.assign(selection, to, counter).await
    }

    /// Puts assigned envelopes back into the stock, all or none.
    ///
    /// # Errors
    /// An envelope that is unknown, in use, or not the asker's.
    pub async fn return_envelopes(
        &self,
        selection: &Selection,
        asker: &Asker,
    ) -> Result<Changed, CustodyError> {
        self.inner.batches.give_back(selection, asker).await
    }

    /// Takes envelopes out of use for ever and destroys their secrets, in the database's log as well; all or none.
    /// Where four eyes are demanded they are only kept from use, until [`Custody::decide_void`].
    ///
    /// # Errors
    /// An envelope that is unknown, in use, or not the asker's.
    pub async fn void_envelopes(
        &self,
        selection: &Selection,
        asker: &Asker,
        (reason, note): (VoidReason, Option<&str>),
    ) -> Result<Voided, CustodyError> {
        let request = if self.inner.policy.void_four_eyes { Some(request_identifier()?) } else { None };
        let voided = self.inner.batches.void(selection, asker, (reason, note), request).await?;
        if voided.request.is_none() {
            self.inner.database.empty_log().await?;
        }
        Ok(voided)
    }

    /// What a void request is about, as the audit log names it.
    ///
    /// # Errors
    /// There is no such request.
    pub async fn void_requested(&self, request: &str) -> Result<String, CustodyError> {
        self.inner.batches.requested(request).await
    }

    /// Confirms or turns down a request to void.
    ///
    /// # Errors
    /// There is no such request, or who confirms is who asked.
    pub async fn decide_void(
        &self,
        request: &str,
        asker: &Asker,
        confirm: bool,
    ) -> Result<Changed, CustodyError> {
        let changed = self.inner.batches.decide(request, asker, confirm).await?;
        if confirm {
            self.inner.database.empty_log().await?;
        }
        Ok(changed)
    }

    /// The requests to void that nobody has decided.
    ///
    /// # Errors
    /// The database failed.
    pub async fn void_requests(&self) -> Result<Vec<VoidRequest>, CustodyError> {
        self.inner.batches.requests().await
    }

    /// How an envelope stands, without its secrets.
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`] or [`CustodyError::EnvelopeUnknown`].
    pub async fn show_envelope(&self, code: &str) -> Result<EnvelopeStanding, CustodyError> {
        self.inner.envelopes.show(&EnvelopeCode::parse(code)?).await
    }

    /// Counts what is in custody.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stock(&self) -> Result<StockReport, CustodyError> {
        let pool = self.inner.database.pool();
        let (cards,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM puk WHERE kind = 'cns'").fetch_one(pool).await?;
        let rows: Vec<(String, Option<String>, Option<String>, i64)> = sqlx::query_as(
            "SELECT state, counter, operator_id, COUNT(*) FROM envelope GROUP BY state, counter, operator_id",
        )
        .fetch_all(pool)
        .await?;
        let mut report = StockReport { cards: count(cards), ..StockReport::default() };
        for (state, counter, operator, number) in rows {
            let state = EnvelopeState::parse(&state)
                .ok_or_else(|| CustodyError::Tampered { record: format!("envelope.state = {state:?}") })?;
            add(&mut report, state, (counter, operator), count(number));
        }
        report.holders.sort_by(|a, b| (&a.counter, &a.operator).cmp(&(&b.counter, &b.operator)));
        self.inner.policy.mark(&mut report);
        Ok(report)
    }
}

fn add(
    report: &mut StockReport,
    state: EnvelopeState,
    (counter, operator): (Option<String>, Option<String>),
    number: u64,
) {
    let place = match state {
        EnvelopeState::Available => &mut report.available,
        EnvelopeState::Assigned => &mut report.assigned,
        EnvelopeState::Reserved => &mut report.reserved,
        EnvelopeState::Used => &mut report.used,
        EnvelopeState::Void => &mut report.void,
    };
    *place += number;
    if counter.is_none() && operator.is_none() {
        return;
    }
    let found = report.holders.iter().position(|h| h.counter == counter && h.operator == operator);
    let index = found.unwrap_or_else(|| {
        report.holders.push(HolderStock { counter, operator, ..HolderStock::default() });
        report.holders.len() - 1
    });
    if let Some(holder) = report.holders.get_mut(index) {
        match state {
            EnvelopeState::Assigned => holder.assigned += number,
            EnvelopeState::Reserved => holder.reserved += number,
            EnvelopeState::Used => holder.used += number,
            EnvelopeState::Void => holder.void += number,
            // Nobody has it: `holder` and state contradict each other.
            EnvelopeState::Available => {}
        }
    }
}

/// What the configuration says of envelopes, and of four eyes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    pub(super) void_four_eyes: bool,
    pub(super) rotate_four_eyes: bool,
    pub(super) low_stock: u64,
    pub(super) low_stock_holder: u64,
}

impl Policy {
    /// Sets the hints. Who has only void envelopes works with none.
    fn mark(&self, report: &mut StockReport) {
        report.low = report.available < self.low_stock;
        for holder in &mut report.holders {
            let works = holder.assigned + holder.reserved + holder.used > 0;
            holder.low = works && holder.assigned < self.low_stock_holder;
        }
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
