//! Envelopes by the batch: assigned, returned, lost and damaged, with two eyes and with four; the stock report.

use cns_protocol::custody::{Assignee, Changed, Choices, Envelopes, HolderStock, VoidReason, Voided};
use cns_secret::Secret;
use cnsd::config::CustodyConfig;
use cnsd::custody::{Asker, Custody, CustodyError, Desk, EnvelopeState, Selection, Unavailable};
use cnsd::database::Database;

use super::{CARD, CODES, Daemon, HEADER_ENVELOPES, database, envelope_line, import_lines, name, start};

const DESK_1: (&str, &str) = ("op1", "Sportello 1");
const DESK_2: (&str, &str) = ("op2", "Sportello 1");
const ELSEWHERE: (&str, &str) = ("op3", "Farmacia 9");

/// A hundred codes in a row, by the standard's recipe.
fn row() -> Vec<String> {
    (0..100_u64)
        .map(|i| 50_000_000 + i)
        .map(|number| format!("{number}{:02}", 98 - number * 100 % 97))
        .collect()
}

async fn with_row() -> (Daemon, Vec<String>) {
    let daemon = start().await;
    let row = row();
    let lines: Vec<String> = row.iter().map(|code| envelope_line(code)).collect();
    let lines: Vec<&str> =
        std::iter::once(HEADER_ENVELOPES).chain(lines.iter().map(String::as_str)).collect();
    import_lines(&daemon.custody, &lines).await.unwrap();
    (daemon, row)
}

fn range(from: &str, to: &str) -> Selection {
    Selection::parse(&Envelopes::Range { from: from.into(), to: to.into() }).unwrap()
}

fn codes(codes: &[&String]) -> Selection {
    Selection::parse(&Envelopes::Codes(codes.iter().map(ToString::to_string).collect())).unwrap()
}

fn operator((operator, counter): (&str, &str)) -> Asker {
    Asker { user: 1000, desk: Some((operator.into(), counter.into())), custodian: false }
}

fn custodian(user: u32) -> Asker {
    Asker { user, desk: None, custodian: true }
}

fn desk((operator, counter): (&'static str, &'static str)) -> Desk<'static> {
    Desk { operator, counter: Some(counter) }
}

fn counter(name: &str) -> Assignee {
    Assignee::Counter(name.into())
}

fn all(envelopes: u64) -> Changed {
    Changed { envelopes, passed_over: 0 }
}

fn refusal(result: Result<impl Sized, CustodyError>) -> (String, Unavailable) {
    match result {
        Err(CustodyError::EnvelopeUnavailable { code, reason }) => (code, reason),
        other => panic!("{}", name(&other)),
    }
}

/// Whether PIN and user code of an envelope are still there.
async fn secrets(daemon: &Daemon, code: &str) -> bool {
    let (pin, salt, verifier): (Option<Vec<u8>>, Vec<u8>, Vec<u8>) =
        sqlx::query_as("SELECT sealed_pin, user_code_salt, user_code_verifier FROM envelope WHERE code = $1")
            .bind(code)
            .fetch_one(daemon.database.pool())
            .await
            .unwrap();
    let there = [pin.is_some(), !salt.is_empty(), !verifier.is_empty()];
    assert!(there.iter().all(|part| *part == there[0]), "{there:?}");
    let known = Secret::copy_from(b"4711081547").unwrap();
    assert_eq!(daemon.custody.user_code_matches(code, &known).await.unwrap(), there[0]);
    there[0]
}

/// §9.3.2-6: a counter's envelopes are for whoever works there, an operator's for nobody else.
#[tokio::test]
async fn envelopes_of_a_counter_are_for_its_operators_only() {
    let (Daemon { custody, .. }, row) = &with_row().await;
    let at_counter = custody.assign_batch(&range(&row[0], &row[49]), &counter(DESK_1.1), None).await;
    assert_eq!(at_counter.unwrap(), all(50));
    let to_operator = Assignee::Operator(DESK_1.0.into());
    let personal = custody.assign_batch(&range(&row[40], &row[49]), &to_operator, Some(DESK_1.1)).await;
    assert_eq!(personal.unwrap(), all(10), "a counter's envelopes go on to one of its operators");

    custody.reserve(&row[0], desk(DESK_1), "p1", CARD).await.unwrap();
    custody.reserve(&row[1], desk(DESK_2), "p2", CARD).await.unwrap();
    custody.reserve(&row[40], desk(DESK_1), "p1", CARD).await.unwrap();
    let refused = refusal(custody.reserve(&row[41], desk(DESK_2), "p2", CARD).await);
    assert_eq!(refused, (row[41].clone(), Unavailable::OtherOperator));
    let refused = refusal(custody.reserve(&row[2], desk(ELSEWHERE), "p3", CARD).await);
    assert_eq!(refused, (row[2].clone(), Unavailable::OtherCounter));
    let refused = refusal(custody.reserve(&row[2], "op1", "p1", CARD).await);
    assert_eq!(refused.1, Unavailable::OtherCounter, "an operator without a counter");
    let refused = refusal(custody.reserve(&row[60], desk(DESK_1), "p1", CARD).await);
    assert_eq!(refused.1, Unavailable::State(EnvelopeState::Available));
    // Given back by the procedure it is the counter's again.
    custody.release(&row[1], "p2").await.unwrap();
    custody.reserve(&row[1], desk(DESK_1), "p1", CARD).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_assigned_all_or_none() {
    let (Daemon { custody, .. }, row) = &with_row().await;
    let to = counter(DESK_1.1);
    custody.assign_batch(&codes(&[&row[7]]), &counter(ELSEWHERE.1), None).await.unwrap();
    let before = custody.stock().await.unwrap();
    let refused = refusal(custody.assign_batch(&range(&row[0], &row[9]), &to, None).await);
    assert_eq!(refused, (row[7].clone(), Unavailable::OtherCounter));
    let refused = custody.assign_batch(&codes(&[&row[0], &CODES[0].to_owned()]), &to, None).await;
    assert!(matches!(refused, Err(CustodyError::EnvelopeUnknown { code }) if code == CODES[0]));
    assert_eq!(custody.stock().await.unwrap(), before);

    custody.void_envelopes(&codes(&[&row[3]]), &custodian(1), (VoidReason::Damaged, None)).await.unwrap();
    let first = custody.assign_batch(&range(&row[0], &row[6]), &to, None).await.unwrap();
    assert_eq!(first, Changed { envelopes: 6, passed_over: 1 }, "a range passes over void ones");
    let again = custody.assign_batch(&range(&row[0], &row[6]), &to, None).await.unwrap();
    assert_eq!(again, first, "the answer to the first may have been lost");
    let refused = refusal(custody.assign_batch(&codes(&[&row[3]]), &to, None).await);
    assert_eq!(refused.1, Unavailable::State(EnvelopeState::Void), "a list does not");

    let parse =
        |from: &str, to: &str| Selection::parse(&Envelopes::Range { from: from.into(), to: to.into() });
    assert!(matches!(parse(&row[1], &row[0]), Err(CustodyError::Invalid(_))));
    assert!(matches!(parse(&row[1], "999999998"), Err(CustodyError::Invalid(_))), "another length");
    assert!(matches!(parse(&row[1], "5000000000"), Err(CustodyError::CodeInvalid)));
    assert_eq!(parse(&format!("]C1{}\r\n", row[0]), &row[0]).unwrap(), range(&row[0], &row[0]));
    let none = custody.assign_batch(&range(CODES[0], CODES[0]), &to, None).await;
    assert!(matches!(none, Err(CustodyError::EnvelopeUnknown { .. })));
}

#[tokio::test]
async fn returned_envelopes_are_in_the_stock_again() {
    let (Daemon { custody, .. }, row) = &with_row().await;
    custody.assign_batch(&range(&row[0], &row[9]), &counter(DESK_1.1), None).await.unwrap();
    let stock = range(&row[0], &row[9]);
    let refused = refusal(custody.return_envelopes(&stock, &operator(ELSEWHERE)).await);
    assert_eq!(refused, (row[0].clone(), Unavailable::OtherCounter));
    custody.reserve(&row[5], desk(DESK_1), "p1", CARD).await.unwrap();
    let refused = refusal(custody.return_envelopes(&stock, &custodian(1)).await);
    assert_eq!(refused, (row[5].clone(), Unavailable::State(EnvelopeState::Reserved)));
    custody.release(&row[5], "p1").await.unwrap();
    assert_eq!(custody.return_envelopes(&stock, &operator(DESK_2)).await.unwrap(), all(10));
    assert_eq!(custody.stock().await.unwrap().available, 100);
    let shown = custody.show_envelope(&row[0]).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.counter, shown.operator), ("available", None, None));
}

#[tokio::test]
async fn a_lost_envelope_is_void_and_its_secrets_are_gone() {
    let (daemon, row) = with_row().await;
    let custody = &daemon.custody;
    custody.assign_batch(&range(&row[0], &row[9]), &counter(DESK_1.1), None).await.unwrap();
    let lost = (VoidReason::Lost, Some("not in the drawer"));
    let refused = refusal(custody.void_envelopes(&codes(&[&row[0]]), &operator(ELSEWHERE), lost).await);
    assert_eq!(refused.1, Unavailable::OtherCounter);
    assert!(secrets(&daemon, &row[0]).await);
    let voided = custody.void_envelopes(&codes(&[&row[0]]), &operator(DESK_1), lost).await.unwrap();
    assert_eq!(voided, Voided { envelopes: 1, passed_over: 0, request: None });
    assert!(!secrets(&daemon, &row[0]).await);
    let log = std::fs::metadata(daemon.folder.path().join("custody.db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "the database's log still holds what was destroyed");
    let shown = custody.show_envelope(&row[0]).await.unwrap();
    assert_eq!(shown.void_reason.as_deref(), Some("lost: not in the drawer"));
    let refused = refusal(custody.reserve(&row[0], desk(DESK_1), "p1", CARD).await);
    assert_eq!(refused.1, Unavailable::State(EnvelopeState::Void));
    // One that a procedure works with is the procedure's to void.
    custody.reserve(&row[1], desk(DESK_1), "p1", CARD).await.unwrap();
    let refused = refusal(custody.void_envelopes(&range(&row[0], &row[9]), &custodian(1), lost).await);
    assert_eq!(refused, (row[1].clone(), Unavailable::State(EnvelopeState::Reserved)));
    assert!(secrets(&daemon, &row[2]).await, "all or none");
    custody.mark_used(&row[1], "p1").await.unwrap();
    let refused = refusal(custody.void_envelopes(&codes(&[&row[1]]), &custodian(1), lost).await);
    assert_eq!(refused.1, Unavailable::State(EnvelopeState::Used));
}

async fn with_four_eyes(daemon: &Daemon) -> Custody {
    let config = CustodyConfig { void_four_eyes: true, ..database::config(daemon.folder.path()) };
    let database = Database::open(&config.database, daemon.folder.path()).await.unwrap();
    Custody::open(&database, &config, daemon.folder.path()).await.unwrap()
}

#[tokio::test]
async fn with_four_eyes_a_second_person_decides() {
    let (daemon, row) = with_row().await;
    let custody = &with_four_eyes(&daemon).await;
    custody.assign_batch(&range(&row[0], &row[9]), &counter(DESK_1.1), None).await.unwrap();
    let reason = (VoidReason::Damaged, None);
    let asked = custody.void_envelopes(&range(&row[0], &row[1]), &operator(DESK_1), reason).await.unwrap();
    let request = asked.request.unwrap();
    // Nobody can use them meanwhile, and nothing is destroyed yet.
    for refused in [
        refusal(custody.reserve(&row[0], desk(DESK_1), "p1", CARD).await),
        refusal(custody.return_envelopes(&codes(&[&row[0]]), &custodian(1)).await),
        refusal(custody.assign_batch(&codes(&[&row[0]]), &counter(DESK_1.1), None).await),
        refusal(custody.void_envelopes(&codes(&[&row[0]]), &custodian(1), reason).await),
    ] {
        assert_eq!(refused, (row[0].clone(), Unavailable::VoidRequested));
    }
    assert!(secrets(&daemon, &row[0]).await);
    let waiting = custody.void_requests().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].operator.as_deref()), (1, Some("op1")));
    assert_eq!(waiting[0].envelopes, format!("envelopes {} to {}", row[0], row[1]));

    let same_operator = custody.decide_void(&request, &operator(DESK_1), true).await;
    assert!(matches!(same_operator, Err(CustodyError::SecondPerson)));
    let same_user = Asker { user: 1000, desk: None, custodian: true };
    assert!(matches!(custody.decide_void(&request, &same_user, true).await, Err(CustodyError::SecondPerson)));
    let elsewhere = custody.decide_void(&request, &operator(ELSEWHERE), true).await;
    assert!(matches!(elsewhere, Err(CustodyError::Invalid(_))));
    assert!(secrets(&daemon, &row[0]).await, "a refused decision decides nothing");
    assert_eq!(custody.decide_void(&request, &operator(DESK_2), true).await.unwrap(), all(2));
    assert!(!secrets(&daemon, &row[0]).await && !secrets(&daemon, &row[1]).await);
    let again = custody.decide_void(&request, &operator(DESK_2), true).await;
    assert!(matches!(again, Err(CustodyError::Invalid(_))));

    let asked = custody.void_envelopes(&codes(&[&row[2]]), &custodian(7), reason).await.unwrap();
    let request = asked.request.unwrap();
    assert!(matches!(
        custody.decide_void(&request, &custodian(7), true).await,
        Err(CustodyError::SecondPerson)
    ));
    assert_eq!(custody.decide_void(&request, &custodian(7), false).await.unwrap(), all(1), "found again");
    custody.reserve(&row[2], desk(DESK_1), "p1", CARD).await.unwrap();
    assert!(custody.void_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_stock_report_counts_by_holder_and_warns() {
    let (Daemon { custody, .. }, row) = &with_row().await;
    assert!(!custody.stock().await.unwrap().low, "100 are available");
    custody.assign_batch(&range(&row[0], &row[19]), &counter(DESK_1.1), None).await.unwrap();
    let to_operator = Assignee::Operator(ELSEWHERE.0.into());
    custody.assign_batch(&range(&row[20], &row[24]), &to_operator, Some(ELSEWHERE.1)).await.unwrap();
    custody.reserve(&row[20], desk(ELSEWHERE), "p1", CARD).await.unwrap();
    custody.mark_used(&row[20], "p1").await.unwrap();
    custody.reserve(&row[21], desk(ELSEWHERE), "p2", CARD).await.unwrap();
    custody.void_envelopes(&codes(&[&row[0]]), &custodian(1), (VoidReason::Lost, None)).await.unwrap();
    let stock = custody.stock().await.unwrap();
    assert_eq!((stock.available, stock.assigned, stock.reserved, stock.used, stock.void), (75, 22, 1, 1, 1));
    assert!(stock.low);
    let pharmacy = HolderStock {
        counter: Some(ELSEWHERE.1.into()),
        operator: Some(ELSEWHERE.0.into()),
        assigned: 3,
        reserved: 1,
        used: 1,
        low: true,
        ..HolderStock::default()
    };
    let office =
        HolderStock { counter: Some(DESK_1.1.into()), assigned: 19, void: 1, ..HolderStock::default() };
    assert_eq!(stock.holders, [pharmacy, office]);
}

/// X16: what the auditor sees of two operators, of whom one takes the envelopes from the top of the pile.
#[tokio::test]
async fn who_takes_envelopes_as_they_lie_is_told_from_who_does_not() {
    let (daemon, row) = with_row().await;
    let custody = &daemon.custody;
    assert_eq!(custody.envelope_choices().await.unwrap(), []);
    custody.assign("op1", &row[..20]).await.unwrap();
    custody.assign("op2", &row[20..40]).await.unwrap();
    let apart: Vec<usize> = (0..6).flat_map(|place| [20 + place, 32 + place]).collect();
    for (operator, order) in [("op1", (0..12).collect()), ("op2", apart)] {
        for place in order {
            let procedure = format!("{operator}-{place}");
            custody.reserve(&row[place], operator, &procedure, CARD).await.unwrap();
            custody.mark_used(&row[place], &procedure).await.unwrap();
            // They are told apart by their time, in milliseconds.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
    let seen = custody.envelope_choices().await.unwrap();
    let told = |one: &Choices| (one.operator.clone().unwrap(), one.choices, one.beside_the_last);
    assert_eq!(
        seen.iter().map(told).collect::<Vec<_>>(),
        [("op1".to_owned(), 11, 11), ("op2".to_owned(), 11, 0)]
    );
    assert!(seen.iter().all(|one| (1..=2).contains(&one.expected)), "{seen:?}");
}
