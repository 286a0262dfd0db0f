//! X16: whether envelopes are taken as they lie. That one is taken at random (§9.3.2-6) cannot be enforced, but who takes them in
//! the order of their codes is seen: the one beside the last is then taken far more often than chance would have it.

use std::collections::{BTreeMap, BTreeSet};

use cns_protocol::custody::Choices;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Custody, CustodyError};

const ROWS: &str = "SELECT code, counter, operator_id, assigned_at, used_at, voided_at FROM envelope \
                    WHERE code > $1 AND assigned_at IS NOT NULL ORDER BY code LIMIT 5000";

type Row = (String, Option<String>, Option<String>, String, Option<String>, Option<String>);

/// What became of an envelope: its code as a number, and when, in milliseconds.
#[derive(Clone, Copy)]
struct Life {
    code: u64,
    assigned: i128,
    used: Option<i128>,
    voided: Option<i128>,
}

/// In the order in which they happen at one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Assigned,
    Voided,
    Used,
}

impl Custody {
    /// In which order those who have envelopes took them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn envelope_choices(&self) -> Result<Vec<Choices>, CustodyError> {
        let mut holders: BTreeMap<_, Vec<Life>> = BTreeMap::new();
        let mut after = String::new();
        loop {
            let rows: Vec<Row> =
                sqlx::query_as(ROWS).bind(&after).fetch_all(self.inner.database.pool()).await?;
            let Some((last, ..)) = rows.last() else { break };
            after.clone_from(last);
            for (code, counter, operator, assigned, used, voided) in rows {
                let life = read(&code, &assigned, used.as_deref(), voided.as_deref());
                let record = || CustodyError::Tampered { record: format!("envelope[{code}]") };
                holders.entry((counter, operator)).or_default().push(life.ok_or_else(record)?);
            }
        }
        let all = holders.into_iter().map(|((counter, operator), lives)| Choices {
            counter,
            operator,
            ..choices(&lives)
        });
        Ok(all.filter(|choices| choices.choices > 0).collect())
    }
}

fn read(code: &str, assigned: &str, used: Option<&str>, voided: Option<&str>) -> Option<Life> {
    let at = |time: &str| {
        let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
        Some(time.unix_timestamp_nanos() / 1_000_000)
    };
    // Nothing where there is none, and no life at all where it cannot be read.
    let maybe = |time: Option<&str>| match time {
        Some(time) => at(time).map(Some),
        None => Some(None),
    };
    Some(Life {
        code: code.parse().ok()?,
        assigned: at(assigned)?,
        used: maybe(used)?,
        voided: maybe(voided)?,
    })
}

/// Goes through the days of one holder of envelopes.
fn choices(lives: &[Life]) -> Choices {
    let mut events = Vec::with_capacity(lives.len());
    for life in lives {
        events.push((life.assigned, Event::Assigned, life.code));
        events.extend(life.voided.map(|at| (at, Event::Voided, life.code)));
        events.extend(life.used.map(|at| (at, Event::Used, life.code)));
    }
    events.sort_unstable();
    let (mut there, mut last, mut millionths) = (BTreeSet::new(), None, 0_u64);
    let mut choices = Choices::default();
    for (_, event, code) in events {
        match event {
            Event::Assigned => {
                there.insert(code);
            }
            Event::Voided => {
                there.remove(&code);
            }
            Event::Used => {
                if let Some(last) = last.filter(|_| there.len() > 1 && there.contains(&code)) {
                    let beside = [there.range(..last).next_back(), there.range(last..).next()];
                    let chance = beside.iter().flatten().count() as u64 * 1_000_000;
                    choices.choices += 1;
                    choices.beside_the_last += u64::from(beside.contains(&Some(&code)));
                    millionths += chance.checked_div(there.len() as u64).unwrap_or_default();
                }
                there.remove(&code);
                last = Some(code);
            }
        }
    }
    choices.expected = (millionths + 500_000) / 1_000_000;
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty envelopes of one day, of which these are used, one after the other.
    fn used(order: &[u64]) -> Choices {
        let used = |code| order.iter().zip(1..).find(|(used, _)| **used == code).map(|(_, at)| at);
        let life = |code| Life { code, assigned: 0, used: used(code), voided: None };
        choices(&(0..40).map(life).collect::<Vec<_>>())
    }

    #[test]
    fn who_takes_them_as_they_lie_is_seen_upwards_and_downwards() {
        for order in [(0..30).collect::<Vec<_>>(), (10..40).rev().collect()] {
            let seen = used(&order);
            assert_eq!((seen.choices, seen.beside_the_last, seen.expected), (29, 29, 1));
        }
        // Never the one beside the last.
        let apart: Vec<u64> = (0..13).flat_map(|code| [code, code + 20]).collect();
        let seen = used(&apart);
        assert_eq!((seen.choices, seen.beside_the_last, seen.expected), (25, 0, 1));
    }

    #[test]
    fn what_leaves_no_choice_is_none() {
        assert_eq!(used(&[7]).choices, 0, "the first is beside nothing");
        let life = |code, assigned| Life { code, assigned, used: Some(assigned + 1), voided: None };
        // One at a time: each is the only one that is there.
        assert_eq!(choices(&[life(1, 0), life(2, 10), life(3, 20)]), Choices::default());
        // A void one is not there any more, and one that comes later not yet.
        let three = [
            life(1, 0),
            Life { voided: Some(1), used: None, ..life(2, 0) },
            Life { used: Some(9), ..life(3, 0) },
            Life { used: None, ..life(4, 0) },
            Life { used: None, ..life(5, 10) },
        ];
        let seen = choices(&three);
        assert_eq!((seen.choices, seen.beside_the_last), (1, 1));
    }

    #[test]
    fn a_life_that_cannot_be_read_is_none() {
        let time = "2026-11-29T10:00:00.500Z";
        let life = read("1234567889", time, Some(time), None).unwrap();
        assert_eq!((life.code, life.used, life.voided), (1_234_567_889, Some(life.assigned), None));
        assert!(read("1234567889", "soon", None, None).is_none());
        assert!(read("1234567889", time, Some("soon"), None).is_none());
        assert!(read("x", time, None, None).is_none());
    }
}
