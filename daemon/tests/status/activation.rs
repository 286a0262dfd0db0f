//! §9.3b: what follows for an activation from what is known of the card's certificate, and from nothing being known.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::counter::Reason::Loss;
use cns_protocol::counter::{Answer, Case, ProcedureState};
use cns_virtual_authority::{Reason, Status, serve};
use cnsd::authority::TrustAnchors;
use cnsd::authority::status::StatusService;
use cnsd::config::{Offline, StatusConfig};
use cnsd::procedure::ProcedureError;
use cnsd::procedure::status::StatusError;
use cnsd_test_support::network;

use crate::fixture::{SECRET, authority};
use crate::rig::Rig;
use crate::scene::{by_list, by_ocsp};
use crate::server::{Reply, Server};

/// Has the rig's procedures ask these sources.
fn link(rig: &Rig, config: &StatusConfig) -> Arc<StatusService> {
    let anchors = fs::read(rig.folder.path().join("ca/ca.pem")).unwrap();
    let anchors = TrustAnchors::from_pem(&anchors).unwrap();
    let database = &rig.rooms().database;
    let service = Arc::new(StatusService::open(config, anchors, Arc::new(network()), database).unwrap());
    let source = Arc::clone(&service);
    rig.rooms().procedures.ask_status_of(source);
    service
}

fn list_of(folder: &Path) -> String {
    folder.join("ca/crl.der").display().to_string()
}

/// The serial number of the card's authentication certificate.
fn serial(rig: &Rig) -> String {
    rig.certifier.list().unwrap().into_iter().find(|record| record.status == Status::Valid).unwrap().serial
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_in_force_is_activated_without_a_warning_and_one_that_is_not_is_refused() {
    let rig = Rig::new().await;
    let config = StatusConfig { offline: Offline::Warn, ..by_list(list_of(rig.folder.path())) };
    link(&rig, &config);
    let started = rig.start(Case::Standard).await.unwrap();
    assert!(!started.warnings.iter().any(|warning| warning.contains("§9.3b")), "{:?}", started.warnings);
    assert_eq!(rig.cancel(&started).await.unwrap().state, ProcedureState::Cancelled);
    let serial = serial(&rig);
    // Whatever the configuration says of what nobody knows: this is known.
    for (reason, word, hint) in
        [(Reason::CertificateHold, "suspended", "§9.6.2"), (Reason::KeyCompromise, "revoked", "§9.7")]
    {
        rig.certifier.revoke(&serial, reason).unwrap();
        let refused = rig.start(Case::Standard).await.unwrap_err();
        assert!(matches!(refused, ProcedureError::Rule { paragraph: "§9.3b", .. }), "{refused:?}");
        assert!(refused.to_string().contains(word) && refused.hint().unwrap().contains(hint), "{refused}");
    }
}

/// The procedure may have been begun days ago, and the holder may have suspended the card by telephone since.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_suspended_meanwhile_gets_no_codes_in_a_procedure_that_was_begun_before() {
    let rig = Rig::new().await;
    link(&rig, &by_list(list_of(rig.folder.path())));
    let started = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(started, &rig.codes[0], "§9.3.2-7").await;
    let serial = serial(&rig);
    rig.certifier.revoke(&serial, Reason::CertificateHold).unwrap();
    let refused = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Rule { paragraph: "§9.3b", .. }), "{refused:?}");
    assert!(rig.phases("pin-set").await.is_empty(), "nothing was intended");
    assert!(!rig.takes_pin(&rig.letter(&rig.codes[0])));
    assert_eq!(rig.show(&ready).await.state, ProcedureState::Open);
    rig.certifier.revoke(&serial, Reason::RemoveFromCrl).unwrap();
    let done = rig.until(ready, &rig.codes[0], "").await;
    assert_eq!(done.state, ProcedureState::Done);
    assert!(rig.takes_pin(&rig.letter(&rig.codes[0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_refuses_with_a_hint_in_both_languages_or_goes_on_with_a_warning() {
    let away = Server::always(Reply::Failure);
    let rig = Rig::new().await;
    link(&rig, &by_ocsp(away.url("/ocsp")));
    let refused = rig.start(Case::Standard).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Status(StatusError::Unknown(_))), "{refused:?}");
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    assert!(
        refused.hint().unwrap().contains("Try again later") && refused.hint().unwrap().contains("[status]")
    );
    let italian = refused.italian().unwrap();
    assert!(italian.contains("non è noto") && italian.contains("Riprovare più tardi"), "{italian}");
    let told = RpcError::from(refused);
    assert!(told.message.contains("HTTP status 503"), "{told:?}");
    assert_eq!(told.paragraph.as_deref(), Some("§9.3b"));
    let begun = rig.rooms().procedures.list(&cns_protocol::counter::List {}).await.unwrap();
    assert!(begun.is_empty(), "nothing was begun");

    let rig = Rig::new().await;
    link(&rig, &StatusConfig { offline: Offline::Warn, ..by_ocsp(away.url("/ocsp")) });
    let started = rig.start(Case::Standard).await.unwrap();
    let warned = started.warnings.iter().find(|warning| warning.contains("§9.3b")).unwrap();
    assert!(warned.contains("not known") && warned.contains("503"), "{warned}");
    let done = rig.until(started, &rig.codes[0], "").await;
    assert_eq!(done.state, ProcedureState::Done);
    println!("{} requests to a responder that is away", away.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_known_to_be_suspended_is_refused_also_when_nobody_can_be_asked() {
    let rig = Rig::new().await;
    let source = Server::always(Reply::Failure);
    let answers = crate::openssl::Responder::authority(rig.folder.path());
    let serial = serial(&rig);
    let held = crate::openssl::Entry::Revoked("260301100000Z", "certificateHold");
    crate::openssl::index(rig.folder.path(), &[(&serial, held)]);
    source.answer(answers.into_handler());
    let service = link(&rig, &StatusConfig { offline: Offline::Warn, ..by_ocsp(source.url("/")) });
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    source.say(Reply::Failure);
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Rule { paragraph: "§9.3b", .. }), "{refused:?}");
    // A change by our own hand ends what was known.
    let contents = rig.rooms().readers.find_card(cns_virtual_card::sample::ID_CARD).unwrap();
    service.forget(contents.authentication_certificate.as_ref().unwrap()).await;
    let started = rig.start(Case::NewCodes).await.unwrap();
    assert!(started.warnings.iter().any(|warning| warning.contains("§9.3b")), "{:?}", started.warnings);
}

/// What was heard before a change at the counter counts no more: an answer that says "good" is kept for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_and_a_reactivation_at_the_counter_are_seen_at_once() {
    let rig = Rig::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let certifier = Arc::clone(&rig.certifier);
    let server = tokio::spawn(serve(listener, certifier, std::future::pending()));
    link(&rig, &by_ocsp(format!("{base}/ocsp")));
    let authority = authority(rig.folder.path(), &format!("{base}/pkix/signature"), SECRET, "ca");
    rig.rooms().procedures.change_status_by(Arc::new(authority));

    let codes = rig.start(Case::NewCodes).await.unwrap();
    rig.cancel(&codes).await.unwrap();
    let started = rig.start(Case::Suspension).await.unwrap();
    let ready = rig.until(started, "", "§9.5").await;
    let ready = rig.answer(&ready, Answer::Reason(Loss)).await.unwrap();
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert!(refused.to_string().contains("suspended"), "{refused}");
    let back = rig.start(Case::Reactivation).await.unwrap();
    assert_eq!(rig.until(back, "", "").await.state, ProcedureState::Done);
    rig.start(Case::NewCodes).await.unwrap();
    server.abort();
}

/// A list may be made once a day: what was done here since it was made is known here.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_at_the_counter_counts_before_the_next_list_tells_it() {
    let rig = Rig::new().await;
    let (daily, serial) = (rig.folder.path().join("daily.der"), serial(&rig));
    let publish = || fs::write(&daily, rig.certifier.crl().unwrap()).unwrap();
    publish();
    let config = StatusConfig { offline: Offline::Warn, ..by_list(daily.display().to_string()) };
    link(&rig, &config);
    rig.rooms().procedures.change_status_by(Arc::<cnsd::authority::Authority>::clone(&rig.rooms().authority));
    let started = rig.start(Case::Suspension).await.unwrap();
    let ready = rig.until(started, "", "§9.5").await;
    let ready = rig.answer(&ready, Answer::Reason(Loss)).await.unwrap();
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Rule { paragraph: "§9.3b", .. }), "{refused:?}");
    assert!(refused.to_string().contains("was asked for"), "the list says nothing of it: {refused}");
    // Nor is it forgotten when the list is away.
    fs::remove_file(&daily).unwrap();
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Rule { paragraph: "§9.3b", .. }), "{refused:?}");
    // Somebody else has reactivated it: a list from later tells that. Its time is of whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    rig.certifier.revoke(&serial, Reason::RemoveFromCrl).unwrap();
    publish();
    let codes = rig.start(Case::NewCodes).await.unwrap();
    assert!(!codes.warnings.iter().any(|warning| warning.contains("§9.3b")), "{:?}", codes.warnings);
}

/// What is not known to the one who would have to know is not known: a card of another authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_an_authority_that_is_not_configured_has_no_standing() {
    let rig = Rig::new().await;
    let stranger = crate::fixture::workplace();
    let anchors = fs::read(stranger.path().join("stranger/ca.pem")).unwrap();
    let anchors = TrustAnchors::from_pem(&anchors).unwrap();
    let config = by_list(list_of(rig.folder.path()));
    let database = &rig.rooms().database;
    let service = StatusService::open(&config, anchors, Arc::new(network()), database).unwrap();
    rig.rooms().procedures.ask_status_of(Arc::new(service));
    let refused = rig.start(Case::Standard).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Status(StatusError::Unknown(_))), "{refused:?}");
}
