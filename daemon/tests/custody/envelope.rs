//! What becomes of envelopes and PUKs.

use cns_protocol::custody::{HolderStock, StockReport};
use cns_secret::Secret;
use cnsd::custody::{Custody, CustodyError, EnvelopeState, PukKind, Unavailable};

use super::{CARD, CODES, Daemon, held_by, lent_puk, name, stocked};

const FIRST: &str = CODES[0];
const SECOND: &str = CODES[1];
const FREE: &str = CODES[2];
/// In no import file.
const MISSING: &str = CODES[3];

fn reason(result: Result<impl Sized, CustodyError>) -> Unavailable {
    match result {
        Err(CustodyError::EnvelopeUnavailable { reason, .. }) => reason,
        other => panic!("{}", name(&other)),
    }
}

fn in_state(state: EnvelopeState) -> Unavailable {
    Unavailable::State(state)
}

async fn lent_pin(custody: &Custody, code: &str, procedure: &str) -> Vec<u8> {
    custody.envelope_pin(code, procedure).await.unwrap().lend(|pin| pin.expose().to_vec())
}

#[tokio::test]
async fn an_envelope_goes_from_the_stock_to_a_card() {
    let Daemon { custody, folder, .. } = &stocked().await;
    custody.reserve(FIRST, "op1", "p1", CARD).await.unwrap();
    custody.reserve(FIRST, "op1", "p1", CARD).await.unwrap();
    assert_eq!(lent_pin(custody, FIRST, "p1").await, b"13579");
    custody.mark_used(FIRST, "p1").await.unwrap();
    custody.mark_used(FIRST, "p1").await.unwrap();
    assert_eq!(lent_pin(custody, FIRST, "p1").await, b"13579", "the signature area may need it too");
    custody.consume("p1").await.unwrap();
    custody.consume("p1").await.unwrap();
    let log = std::fs::metadata(folder.path().join("custody.db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "the database's log still holds what was destroyed");
    let gone = custody.envelope_pin(FIRST, "p1").await;
    assert!(matches!(gone, Err(CustodyError::PinDestroyed { .. })), "{}", name(&gone));
    assert_eq!(reason(custody.reserve(FIRST, "op1", "p1", CARD).await), in_state(EnvelopeState::Used));
    assert_eq!(reason(custody.release(FIRST, "p1").await), in_state(EnvelopeState::Used));
    let expected = StockReport {
        cards: 1,
        available: 1,
        assigned: 1,
        used: 1,
        low: true,
        holders: vec![HolderStock { used: 1, ..held_by("op1", 1) }],
        ..StockReport::default()
    };
    assert_eq!(custody.stock().await.unwrap(), expected);
}

#[tokio::test]
async fn an_envelope_is_for_its_operator_procedure_and_card() {
    let Daemon { custody, .. } = &stocked().await;
    assert_eq!(reason(custody.reserve(FREE, "op1", "p1", CARD).await), in_state(EnvelopeState::Available));
    assert_eq!(reason(custody.reserve(FIRST, "op2", "p1", CARD).await), Unavailable::OtherOperator);
    assert_eq!(reason(custody.envelope_pin(FIRST, "p1").await), in_state(EnvelopeState::Assigned));
    custody.reserve(FIRST, "op1", "p1", CARD).await.unwrap();
    assert_eq!(reason(custody.reserve(FIRST, "op1", "p2", CARD).await), Unavailable::OtherProcedure);
    let other_card = custody.reserve(FIRST, "op1", "p1", "6999000000001248").await;
    assert_eq!(reason(other_card), in_state(EnvelopeState::Reserved));
    assert_eq!(reason(custody.envelope_pin(FIRST, "p2").await), Unavailable::OtherProcedure);
    assert_eq!(reason(custody.mark_used(FIRST, "p2").await), Unavailable::OtherProcedure);
    assert_eq!(reason(custody.release(FIRST, "p2").await), Unavailable::OtherProcedure);
    assert_eq!(reason(custody.void(FIRST, "p2", "lost").await), Unavailable::OtherProcedure);
    assert_eq!(lent_pin(custody, FIRST, "p1").await, b"13579");
}

#[tokio::test]
async fn codes_are_judged_before_they_are_looked_up() {
    let Daemon { custody, .. } = &stocked().await;
    let wrong = custody.reserve("1234567888", "op1", "p1", CARD).await;
    assert!(matches!(wrong, Err(CustodyError::CodeInvalid)));
    let missing = custody.reserve(MISSING, "op1", "p1", CARD).await;
    assert!(matches!(missing, Err(CustodyError::EnvelopeUnknown { code }) if code == MISSING));
}

#[tokio::test]
async fn a_released_envelope_can_be_used_and_a_void_one_never() {
    let Daemon { custody, database, .. } = &stocked().await;
    custody.reserve(FIRST, "op1", "p1", CARD).await.unwrap();
    custody.release(FIRST, "p1").await.unwrap();
    custody.release(FIRST, "p1").await.unwrap();
    assert_eq!(reason(custody.envelope_pin(FIRST, "p1").await), in_state(EnvelopeState::Assigned));
    custody.reserve(FIRST, "op1", "p2", CARD).await.unwrap();
    custody.void(FIRST, "p2", "its PIN may be on the card").await.unwrap();
    custody.void(FIRST, "p2", "again").await.unwrap();
    for refused in [
        reason(custody.reserve(FIRST, "op1", "p3", CARD).await),
        reason(custody.envelope_pin(FIRST, "p2").await),
        reason(custody.mark_used(FIRST, "p2").await),
        reason(custody.release(FIRST, "p2").await),
        reason(custody.assign("op1", &[FIRST.to_owned()]).await),
    ] {
        assert_eq!(refused, in_state(EnvelopeState::Void));
    }
    let (reason, sealed_pin): (String, Option<Vec<u8>>) =
        sqlx::query_as("SELECT void_reason, sealed_pin FROM envelope WHERE code = $1")
            .bind(FIRST)
            .fetch_one(database.pool())
            .await
            .unwrap();
    assert_eq!((reason.as_str(), sealed_pin), ("its PIN may be on the card", None));
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_envelope() {
    let daemon = stocked().await;
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let custody = daemon.custody.clone();
        racers.spawn(async move { custody.reserve(FIRST, "op1", &format!("p{number}"), CARD).await });
    }
    let mut winners = 0;
    while let Some(result) = racers.join_next().await {
        match result.unwrap() {
            Ok(()) => winners += 1,
            Err(error) => {
                assert_eq!(reason(Err::<(), _>(error)), Unavailable::OtherProcedure);
            }
        }
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn envelopes_are_assigned_all_or_none() {
    let Daemon { custody, .. } = &stocked().await;
    let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
    let before = custody.stock().await.unwrap();
    assert_eq!(reason(custody.assign("op2", &codes(&[FREE, FIRST])).await), Unavailable::OtherOperator);
    let missing = custody.assign("op2", &codes(&[FREE, MISSING])).await;
    assert!(matches!(missing, Err(CustodyError::EnvelopeUnknown { .. })));
    assert!(matches!(custody.assign("op2", &codes(&[FREE, "1"])).await, Err(CustodyError::CodeInvalid)));
    assert!(matches!(custody.assign("op2", &[]).await, Err(CustodyError::Count(300))));
    let many = codes(&vec![FREE; 301]);
    assert!(matches!(custody.assign("op2", &many).await, Err(CustodyError::Count(300))));
    assert!(matches!(custody.assign("", &codes(&[FREE])).await, Err(CustodyError::Invalid(_))));
    assert_eq!(custody.stock().await.unwrap(), before);
    // A lost answer: the same again is no error.
    custody.assign("op1", &codes(&[FIRST, SECOND, FREE])).await.unwrap();
    assert_eq!(custody.stock().await.unwrap().assigned, 3);
}

#[tokio::test]
async fn user_codes_are_checked_but_not_kept() {
    let Daemon { custody, .. } = &stocked().await;
    let secret = |text: &[u8]| Secret::copy_from(text).unwrap();
    assert!(custody.user_code_matches(FIRST, &secret(b"4711081547")).await.unwrap());
    assert!(!custody.user_code_matches(FIRST, &secret(b"4711081548")).await.unwrap());
    assert!(!custody.user_code_matches(FIRST, &secret(b"")).await.unwrap());
}

#[tokio::test]
async fn a_refused_puk_is_never_lent_again() {
    let Daemon { custody, .. } = &stocked().await;
    assert!(custody.has_puk(CARD, PukKind::Cns).await.unwrap());
    custody.puk_refused(CARD, PukKind::Cns, Some(2)).await.unwrap();
    custody.puk_refused(CARD, PukKind::Cns, None).await.unwrap();
    assert!(!custody.has_puk(CARD, PukKind::Cns).await.unwrap());
    let refused = custody.puk(CARD, PukKind::Cns).await;
    assert!(
        matches!(refused, Err(CustodyError::PukRefused { tries_left: Some(2), .. })),
        "{}",
        name(&refused)
    );
    let unknown = custody.puk_refused(CARD, PukKind::Signature, None).await;
    assert!(matches!(unknown, Err(CustodyError::NoPuk { .. })));
}

#[tokio::test]
async fn a_new_puk_is_stored_once() {
    let Daemon { custody, .. } = &stocked().await;
    assert!(!custody.has_puk(CARD, PukKind::Signature).await.unwrap());
    let missing = custody.puk(CARD, PukKind::Signature).await;
    assert!(matches!(missing, Err(CustodyError::NoPuk { .. })));
    let puk = Secret::copy_from(b"86420864").unwrap();
    custody.store_puk(CARD, PukKind::Signature, &puk).await.unwrap();
    custody.store_puk(CARD, PukKind::Signature, &puk).await.unwrap();
    let other = Secret::copy_from(b"86420865").unwrap();
    let refused = custody.store_puk(CARD, PukKind::Signature, &other).await;
    assert!(matches!(refused, Err(CustodyError::PukKnown { .. })));
    assert_eq!(lent_puk(custody, PukKind::Signature).await, b"86420864");
    assert_eq!(lent_puk(custody, PukKind::Cns).await, b"24681357");
    // A card that no import named.
    custody.store_puk("6999000000001248", PukKind::Signature, &puk).await.unwrap();
    assert_eq!(custody.stock().await.unwrap().cards, 1, "a card counts with the PUK of its PIN");
    for serial in ["", "699900000000123", "69990000000012300", "699900000000123a"] {
        let refused = custody.store_puk(serial, PukKind::Cns, &puk).await;
        assert!(matches!(refused, Err(CustodyError::Invalid(_))), "{serial}");
    }
}
