//! Forged cards at the counter (§4.2.1): one that announces another's serial number, and one with another's certificate.

use std::sync::Arc;
use std::time::Duration;

use cns_protocol::card::KeyUse;
use cns_protocol::certificate::{CardStanding, Standing};
use cns_protocol::counter::{Answer, Case, Procedure, ProcedureState, Reason};
use cns_virtual_authority::{Authority as Certifier, InitOptions};
use cns_virtual_card::vpcd::{Endpoint, plug};
use cns_virtual_card::{Personalisation, sample};
use cnsd::procedure::ProcedureError;
use cnsd::procedure::status::StatusChange;

use crate::rig::{Rig, personalise};
use crate::standing::revoked;
use crate::telling::ask_for;

/// Whoever comes with the forged card, and a card of their own.
const OTHER: &str = "VRDLGU80A01H501Q";
const OTHER_CARD: &str = "6999000000001248";

/// A counter at which the sample card was activated, with both certificates.
async fn activated() -> Rig {
    let rig = Rig::new().await;
    rig.rooms().procedures.change_status_by(rig.rooms().authority.clone());
    let started = rig.start(Case::Standard).await.unwrap();
    rig.until(started, &rig.codes[0], "").await;
    rig
}

/// Puts another person's card into the reader, certified by `certifier`.
async fn exchange(
    rig: &mut Rig,
    certifier: &Certifier,
    serial: &str,
    change: impl FnOnce(&mut Personalisation),
) {
    rig.card.pull_out();
    rig.card_is_gone().await;
    let mut order = sample::personalisation().unwrap();
    order.holder.codice_fiscale = OTHER.to_owned();
    order.holder.surname = "VERDI".to_owned();
    order.holder.name = "LUIGI".to_owned();
    order.holder.id_card = Some(serial.to_owned());
    change(&mut order);
    let chip = personalise(certifier, &rig.folder.path().join(format!("card-{serial}")), order);
    rig.card = plug(chip, Endpoint::Unix(rig.folder.path().join("card.sock"))).unwrap();
    while rig.rooms().readers.find_card(serial).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn strangers_certifier(rig: &Rig) -> Certifier {
    let options = InitOptions { key_bits: 2048, ..InitOptions::new("of nobody") };
    Certifier::init(&rig.folder.path().join("stranger"), &options).unwrap()
}

async fn standing(rig: &Rig) -> CardStanding {
    rig.rooms().procedures.standings().of_card(sample::ID_CARD).await.unwrap().unwrap()
}

/// Both certificates are the card's, and good.
async fn untouched(rig: &Rig) {
    let told = standing(rig).await;
    assert_eq!(told.certificates.len(), 2, "{told:?}");
    assert!(told.certificates.iter().all(|one| !one.removed && one.standing == Standing::Good), "{told:?}");
    assert!(revoked(&rig.certifier).is_empty());
}

fn refused_as_forged(outcome: Result<Procedure, ProcedureError>) {
    let refused = outcome.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§4.2.1"), "{refused:?}");
    assert!(refused.italian().unwrap().contains("contraffatta"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_anothers_serial_number_changes_nothing_of_theirs() {
    let mut rig = activated().await;
    let forger = strangers_certifier(&rig);
    exchange(&mut rig, &forger, sample::ID_CARD, |_| {}).await;
    for case in [Case::Suspension, Case::Revocation, Case::NewCodes] {
        refused_as_forged(rig.start(case).await);
    }
    untouched(&rig).await;
    let erased = rig.rooms().custody.erase(OTHER).await.unwrap();
    assert!(erased.cards.is_empty(), "{erased:?}");
}

/// Of the right person by its words, but not by the authority: the genuine card's certificates stay known as its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_authority_did_not_issue_takes_no_ones_place() {
    let mut rig = activated().await;
    let forger = strangers_certifier(&rig);
    exchange(&mut rig, &forger, sample::ID_CARD, |order| order.holder = sample::holder()).await;
    for case in [Case::Suspension, Case::Revocation] {
        refused_as_forged(rig.start(case).await);
    }
    untouched(&rig).await;
    // Another authority's card is activated all the same, and not noted: nobody here can be told of it.
    exchange(&mut rig, &forger, OTHER_CARD, |_| {}).await;
    let started = rig.start(Case::NewCodes).await.unwrap();
    assert!(started.warnings.iter().any(|warning| warning.contains("§9.5–§9.7")), "{:?}", started.warnings);
    let known = rig.rooms().procedures.standings().of_card(OTHER_CARD).await.unwrap();
    assert!(known.is_none(), "{known:?}");
}

/// Certificates are public: who writes another's into their own card does not get at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_anothers_signature_certificate_stays_theirs() {
    let mut rig = activated().await;
    let contents = rig.rooms().readers.find_card(sample::ID_CARD).unwrap();
    let copied = contents.signature_certificate.clone().unwrap();
    let certifier = Arc::clone(&rig.certifier);
    exchange(&mut rig, &certifier, OTHER_CARD, |_| {}).await;
    let own = rig.rooms().readers.find_card(OTHER_CARD).unwrap();
    let mut forged = (*own).clone();
    let mut certificate =
        contents.card.certificates.iter().find(|one| one.key_use == KeyUse::Signature).unwrap().clone();
    certificate.der = copied;
    forged.card.certificates.push(certificate);
    let standings = rig.rooms().procedures.standings();
    assert!(!standings.note(&forged, false).await.unwrap(), "the copy is left out");
    let noted = standings.of_card(OTHER_CARD).await.unwrap().unwrap();
    assert_eq!(noted.certificates.len(), 1, "{noted:?}");
    untouched(&rig).await;
}

/// A suspension is also for a certificate that is no longer on the card: its key may be in other hands. A reactivation
/// gives both back.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_removed_from_the_card_is_suspended_too() {
    let rig = activated().await;
    rig.rooms().procedures.standings().signature_removed(sample::ID_CARD).await.unwrap();
    assert!(standing(&rig).await.certificates[1].removed);
    for ((change, expected), number) in [
        (StatusChange::Suspend(Some(Reason::Loss)), Standing::Suspended),
        (StatusChange::Reactivate, Standing::Good),
    ]
    .into_iter()
    .zip(0..)
    {
        let outcome = ask_for(&rig, sample::ID_CARD, number, change).await;
        assert_eq!((outcome.done, outcome.refused.len()), (2, 0), "{outcome:?}");
        let told = standing(&rig).await;
        assert!(told.certificates.iter().all(|one| one.standing == expected), "{told:?}");
    }
}

/// The genuine card is served as ever, whoever came before.
#[tokio::test(flavor = "multi_thread")]
async fn the_genuine_card_is_suspended_after_a_forged_one_was_refused() {
    let mut rig = activated().await;
    rig.keep_card();
    let forger = strangers_certifier(&rig);
    exchange(&mut rig, &forger, sample::ID_CARD, |_| {}).await;
    refused_as_forged(rig.start(Case::Revocation).await);
    rig.kept_card_again().await;
    let started = rig.start(Case::Suspension).await.unwrap();
    let ready = rig.until(started, "", "§9.5").await;
    let ready = rig.answer(&ready, Answer::Reason(Reason::Theft)).await.unwrap();
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
    let told = standing(&rig).await;
    assert!(told.certificates.iter().all(|one| one.standing == Standing::Suspended), "{told:?}");
}
