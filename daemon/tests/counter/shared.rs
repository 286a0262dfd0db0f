//! Two daemons on one database, and one procedure.

use cns_protocol::counter::{Answer, Case, ProcedureState};
use cnsd::procedure::store::{Store, StoreError};

use crate::rig::Rig;

/// What one daemon has read, another writes: the first may not write over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_that_another_daemon_went_on_with_is_not_written_over() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let begun = rig.start(Case::Standard).await.unwrap();
    let ours = Store::new(rig.rooms().database.clone());
    let theirs = Store::new(rig.rooms().database.clone());
    let mut old = ours.load(&begun.id).await.unwrap().unwrap();
    let mut new = theirs.load(&begun.id).await.unwrap().unwrap();
    new.warn("Seen by the other daemon");
    theirs.update(&mut new).await.unwrap();
    old.warn("Seen by this one");
    let refused = ours.update(&mut old).await;
    assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
    let kept = ours.load(&begun.id).await.unwrap().unwrap();
    assert_eq!(kept.to_procedure().warnings, new.to_procedure().warnings);
    // Who reads it anew goes on, as often as need be.
    theirs.update(&mut new).await.unwrap();
    let done = rig.answer(&begun, Answer::Confirmed).await.unwrap();
    assert_eq!(done.state, ProcedureState::Open);
    assert!(done.warnings.contains(&"Seen by the other daemon".to_owned()), "{:?}", done.warnings);
    let ended = rig.cancel(&begun).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
}
