//! §7: the signature certificate after the activation, and an authority that fails.

use cns_protocol::counter::{Answer, Case, ProcedureState};
use cns_virtual_authority::Profile;
use cns_virtual_card::{SignatureAreaState, sample};
use cnsd::card::CardError;
use cnsd::procedure::ProcedureError;
use cnsd::procedure::certifier::CertifierError;

use crate::rig::Rig;

fn issued(rig: &Rig) -> usize {
    let records = rig.certifier.list().unwrap();
    records.iter().filter(|record| record.profile == Profile::QualifiedSignature).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_types_the_pin_for_a_later_certificate() {
    let rig = Rig::new().await;
    let ready = rig.start(Case::Signature).await.unwrap();
    let ready = rig.until(ready, "", "§9.1.3").await;
    let missing = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(missing, ProcedureError::WrongAnswer { .. }));
    let wrong = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, Some(b"99999")).await.unwrap_err();
    let tries = Some(2);
    assert!(
        matches!(wrong, ProcedureError::Card(CardError::PinIncorrect { tries_left }) if tries_left == tries),
        "{wrong:?}"
    );
    let made = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, Some(sample::PIN)).await.unwrap();
    let done = rig.until(made, "", "").await;
    assert_eq!((done.state, done.envelope), (ProcedureState::Done, None));
    assert_eq!(issued(&rig), 1);
    assert_eq!(rig.sign_with_area(sample::PIN).await.unwrap().len(), 256);
    let again = rig.start(Case::Signature).await.unwrap_err();
    assert_eq!(again.paragraph(), Some("§7-default"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_was_away_is_asked_again_and_issues_once() {
    let mut rig = Rig::new().await;
    rig.authority_goes().await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.1.3").await;
    let failed = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(failed, ProcedureError::Certifier(CertifierError::Failed(_))), "{failed:?}");
    let summary = rig.card.with_card(|card| card.card().summary());
    assert_ne!(summary.signature_area, SignatureAreaState::Certified);
    // The daemon is restarted meanwhile; the key that the chip generated and the request stay.
    rig.restart().await;
    rig.card_is_back().await;
    rig.authority_comes().await;
    let before = rig.rooms().readers.traffic(&rig.reader);
    let made = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, None).await.unwrap();
    let after = rig.rooms().readers.traffic(&rig.reader);
    println!("resumed with {} commands", after.commands - before.commands);
    let done = rig.until(made, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);
    assert_eq!(issued(&rig), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_has_refused_holds_no_other_operator_up() {
    let mut rig = Rig::new().await;
    rig.ask_for("authentication").await;
    let ready = rig.start(Case::Signature).await.unwrap();
    let ready = rig.until(ready, "", "§9.1.3").await;
    rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, Some(sample::PIN)).await.unwrap_err();
    let next = rig.start_as("op2", Case::Standard).await.unwrap();
    assert_ne!(next.id, ready.id);
    let ended = rig.show(&ready).await;
    assert_eq!(ended.state, ProcedureState::Cancelled);
    assert!(!ended.warnings.iter().any(|warning| warning.contains("issued")), "{:?}", ended.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_authority_ends_its_transaction() {
    let mut rig = Rig::new().await;
    rig.ask_for("authentication").await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.1.3").await;
    let mut transactions = Vec::new();
    for _ in 0..2 {
        let refused = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, None).await.unwrap_err();
        assert!(matches!(refused, ProcedureError::Certifier(CertifierError::Refused(_))), "{refused:?}");
        transactions.push(rig.transaction().await);
    }
    assert_ne!(transactions[0], transactions[1], "the refused transaction was asked for again");
    rig.ask_for("signature").await;
    let made = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, None).await.unwrap();
    let done = rig.until(made, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);
    assert_eq!(issued(&rig), 1);
}
