//! The end of a procedure always comes, and no procedure stands in the way of another.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, Case, ProcedureState};
use cns_virtual_card::sample;

use crate::faults::cut_after_the_pin_was_set;
use crate::rig::{Rig, refuse_writes};

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_was_never_reserved_does_not_hold_the_end_up() {
    let rig = Rig::new().await;
    let database = rig.rooms().database.clone();
    // No longer there; free again; still the operator's; meanwhile another operator's.
    let changes = [
        "DELETE FROM envelope WHERE code = $1",
        "UPDATE envelope SET state = 'available', operator_id = NULL WHERE code = $1",
        "UPDATE envelope SET state = 'assigned' WHERE code = $1",
        "UPDATE envelope SET operator_id = 'op2' WHERE code = $1",
    ];
    for (code, change) in rig.codes.iter().zip(changes) {
        let ready = rig.start(Case::Standard).await.unwrap();
        let ready = rig.until(ready, "", "§9.3.2-6").await;
        // The power is cut between the persisted code and the reservation.
        rig.rewrite(&ready.id, r#""envelope":null"#, &format!(r#""envelope":"{code}""#)).await;
        sqlx::query(change).bind(code).execute(database.pool()).await.unwrap();
        let ended = rig.cancel(&ready).await.unwrap();
        assert_eq!(
            (ended.state, &ended.envelope),
            (ProcedureState::Cancelled, &Some(code.clone())),
            "{change}"
        );
    }
    let waiting = sqlx::query("SELECT id FROM procedures WHERE intent IS NOT NULL");
    assert!(waiting.fetch_all(database.pool()).await.unwrap().is_empty(), "every end has come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_end_does_not_use_up_the_cards_turn() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let first = rig.start(Case::Standard).await.unwrap();
    let first = rig.answer(&first, Answer::Confirmed).await.unwrap();
    rig.cancel(&first).await.unwrap();
    // Started earlier, so looked at earlier.
    let pending = r#"{"act":"close","envelope":"none"}"#;
    sqlx::query("UPDATE procedures SET intent = $2, started = '2000-01-01T00:00:00Z' WHERE id = $1")
        .bind(&first.id)
        .bind(pending)
        .execute(rig.rooms().database.pool())
        .await
        .unwrap();
    let cut = cut_after_the_pin_was_set(&rig).await;
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_that_cannot_be_read_does_not_stop_the_others() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    for damage in ["{", r#"{"version":1}"#, r#"{"act":"unheard of"}"#] {
        let ended = rig.start(Case::Standard).await.unwrap();
        rig.cancel(&ended).await.unwrap();
        sqlx::query("UPDATE procedures SET intent = $2, started = '2000-01-01T00:00:00Z' WHERE id = $1")
            .bind(&ended.id)
            .bind(damage)
            .execute(rig.rooms().database.pool())
            .await
            .unwrap();
    }
    let cut = cut_after_the_pin_was_set(&rig).await;
    rig.restart().await;
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Open);
}

/// What comes after the work on the card cannot make it fail, nor be done twice.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_cannot_be_noted_end_nothing() {
    let rig = Rig::new().await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.3.2-7").await;
    refuse_writes(&rig.rooms().database, "card_certificate").await;
    let set = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert_eq!(set.next.as_ref().unwrap().paragraph, "§9.3.2-8");
    assert!(rig.takes_pin(&rig.letter(&rig.codes[0])));
    let done = rig.until(set, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);
    assert!(done.warnings.iter().any(|told| told.contains("could not be noted")), "{:?}", done.warnings);
    for act in ["pin-set", "signature-certificate"] {
        assert_eq!(rig.phases(act).await, [Phase::Intention, Phase::Outcome], "{act}");
    }
    assert!(rig.rooms().procedures.standings().of_card(sample::ID_CARD).await.unwrap().is_none());
}
