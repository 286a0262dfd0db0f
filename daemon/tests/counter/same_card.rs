//! What was cut off is settled on the card that it began with, and on no other that only has its serial number.

use cns_protocol::counter::{Procedure, ProcedureState};
use cns_virtual_authority::{Authority as Certifier, InitOptions, Profile};
use cns_virtual_card::fault::Fault;
use cnsd::procedure::ProcedureError;
use der::{Decode, Encode};
use x509_cert::request::CertReq;

use crate::faults::{cut_after_the_pin_was_set, set_again};
use crate::rig::Rig;

async fn cut() -> (Rig, Procedure) {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    (rig, cut)
}

/// Neither the daemon nor the operator gets the PUK presented; gives what the operator is told.
async fn refused_to_both(rig: &Rig, cut: &Procedure) -> ProcedureError {
    let before = rig.card.with_card(|card| card.card().summary().puk_tries);
    // Would the PUK be presented now, the plan would tell: the card is pulled at the first command.
    rig.card.with_card(|card| card.plan(0, Fault::PullOutBefore));
    rig.rooms().procedures.settle().await.unwrap();
    let refused = set_again(rig, cut).await.unwrap_err();
    assert_eq!(rig.show(cut).await.state, ProcedureState::Unsettled);
    assert_eq!(rig.card.with_card(|card| card.card().summary().puk_tries), before);
    rig.card.with_card(|card| card.clear_plan());
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_another_certificate_gets_no_puk() {
    let (rig, cut) = cut().await;
    let own = rig.certifier.list().unwrap().pop().unwrap().certificate;
    // The same holder and serial number, certified by somebody else.
    let options = InitOptions { key_bits: 2048, ..InitOptions::new("another secret") };
    let stranger = Certifier::init(&rig.folder.path().join("stranger"), &options).unwrap();
    rig.card.with_card(|card| {
        let request = card.card().certificate_request("Regione di prova").unwrap();
        let request = CertReq::from_der(&request).unwrap();
        let other = stranger.issue(Profile::Authentication, &request).unwrap();
        card.card().load_certificate(&other.to_der().unwrap()).unwrap();
    });
    rig.put_in().await;
    let refused = refused_to_both(&rig, &cut).await;
    assert_eq!(refused.paragraph(), Some("§9.3.2-4"), "{refused:?}");
    assert!(refused.to_string().contains("another authentication certificate"), "{refused}");
    // The right one is settled without anybody.
    rig.card.pull_out();
    rig.card.with_card(|card| card.card().load_certificate(&own)).unwrap();
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_in_another_kind_of_reader_gets_no_puk() {
    let (rig, cut) = cut().await;
    rig.rewrite(&cut.id, r#""virtual_reader":true"#, r#""virtual_reader":false"#).await;
    rig.put_in().await;
    let refused = refused_to_both(&rig, &cut).await;
    assert_eq!(refused.paragraph(), Some("§9.3.2-4"), "{refused:?}");
    assert!(refused.to_string().contains("another kind of reader"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_of_an_earlier_program_waits_for_its_operator() {
    let (rig, cut) = cut().await;
    rig.rewrite(&cut.id, r#""virtual_reader":true,"#, "").await;
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Unsettled);
    let settled = set_again(&rig, &cut).await.unwrap();
    assert_eq!(settled.next.as_ref().unwrap().paragraph, "§9.3.2-8");
}
