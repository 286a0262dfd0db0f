//! A certificate that OCSP told to be out of force stays so when the daemon is started anew and nobody can be asked.

use std::time::Duration;

use cns_virtual_authority::Profile;
use cnsd::authority::status::Source;
use der::{Decode, Encode};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use x509_cert::request::CertReq;

use crate::fixture::{SUBJECT, request, spokesman};
use crate::openssl::{Crl, Entry, RESPONDER, Responder, crl, index};
use crate::scene::{Scene, by_list, by_ocsp, is_good, is_out};
use crate::server::{Reply, Server};

const SINCE: &str = "260301100000Z";

/// A certificate, and a responder that tells of it by the index.
async fn told(entry: Entry<'static>) -> (Scene, Server) {
    let scene = Scene::new().await;
    spokesman(scene.path(), "ocsp", "ca", RESPONDER);
    index(scene.path(), &[(&scene.serial, entry)]);
    let server = Server::start(Responder::new(scene.path(), "ocsp").into_handler());
    (scene, server)
}

/// How many answers are kept.
async fn kept(scene: &Scene) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM ocsp_out_of_force")
        .fetch_one(scene.database.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_force_stays_so_over_restarts_until_somebody_says_otherwise() {
    for (reason, suspended) in [("certificateHold", true), ("keyCompromise", false)] {
        let (mut scene, server) = told(Entry::Revoked(SINCE, reason)).await;
        let config = by_ocsp(server.url("/ocsp"));
        is_out(scene.standing(&scene.service(&config)).await, suspended);
        let answering = Responder::new(scene.path(), "ocsp").into_handler();
        server.say(Reply::Failure);
        for _ in 0..2 {
            scene.reopen().await;
            is_out(scene.standing(&scene.service(&config)).await, suspended);
        }
        // Whoever is believed says otherwise, and that stays too.
        index(scene.path(), &[(&scene.serial, Entry::Valid)]);
        server.answer(answering);
        is_good(scene.standing(&scene.service(&config)).await, Source::Ocsp);
        assert_eq!(kept(&scene).await, 0);
        server.say(Reply::Failure);
        scene.reopen().await;
        assert!(scene.standing(&scene.service(&config)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_daemon_has_changed_is_not_remembered_as_it_was() {
    let (mut scene, server) = told(Entry::Revoked(SINCE, "certificateHold")).await;
    let config = by_ocsp(server.url("/ocsp"));
    let service = scene.service(&config);
    is_out(scene.standing(&service).await, true);
    server.say(Reply::Failure);
    service.forget(&scene.leaf).await;
    assert_eq!(kept(&scene).await, 0);
    scene.reopen().await;
    assert!(scene.standing(&scene.service(&config)).await.is_err());
}

/// After a restart as before it: a list that is not from later cannot know of it; one that is, does.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_ends_it_after_a_restart_only_if_it_is_from_later() {
    let (mut scene, server) = told(Entry::Valid).await;
    crl(scene.path(), &Crl::default());
    let mut config = by_list(scene.path().join("list.der").to_str().unwrap().to_owned());
    config.ocsp = Some(server.url("/ocsp"));
    // Times are whole seconds.
    let second = Duration::from_millis(1100);
    sleep(second).await;
    index(scene.path(), &[(&scene.serial, Entry::Revoked(SINCE, "certificateHold"))]);
    is_out(scene.standing(&scene.service(&config)).await, true);
    server.say(Reply::Failure);
    scene.reopen().await;
    is_out(scene.standing(&scene.service(&config)).await, true);
    sleep(second).await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    crl(scene.path(), &Crl { number: 2, ..Crl::default() });
    scene.reopen().await;
    is_good(scene.standing(&scene.service(&config)).await, Source::List);
    assert_eq!(kept(&scene).await, 0, "what a later list says ends it for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_writes_into_the_database_brings_a_certificate_out_of_force() {
    let (mut scene, server) = told(Entry::Revoked(SINCE, "keyCompromise")).await;
    let config = by_ocsp(server.url("/ocsp"));
    is_out(scene.standing(&scene.service(&config)).await, false);
    server.say(Reply::Failure);
    let (answer, heard): (Vec<u8>, i64) = sqlx::query_as("SELECT answer, heard FROM ocsp_out_of_force")
        .fetch_one(scene.database.pool())
        .await
        .unwrap();
    let other = hex::encode(Sha256::digest(b"another certificate"));
    let name = hex::encode(Sha256::digest(&scene.leaf));
    // The signature, the time of which it is one, and the certificate that it is about.
    let mut signed = answer.clone();
    let place = signed.windows(SINCE.len()).position(|window| window == SINCE.as_bytes()).unwrap();
    signed[place + 1] = b'5';
    let mut cut = answer.clone();
    cut.truncate(answer.len() / 2);
    let century = 100 * 365 * 86_400;
    for (forged, heard) in [
        (signed, heard),
        (cut, heard),
        (Vec::new(), heard),
        (answer.clone(), heard + century),
        (answer.clone(), 0),
    ] {
        sqlx::query("UPDATE ocsp_out_of_force SET answer = $1, heard = $2")
            .bind(&forged)
            .bind(heard)
            .execute(scene.database.pool())
            .await
            .unwrap();
        scene.reopen().await;
        let known = scene.standing(&scene.service(&config)).await;
        assert!(known.is_err(), "{} bytes, {heard}: {known:?}", forged.len());
    }
    for (sha256, is_kept) in [(&other, false), (&name, true)] {
        sqlx::query("UPDATE ocsp_out_of_force SET answer = $1, heard = $2, sha256 = $3")
            .bind(&answer)
            .bind(heard)
            .bind(sha256)
            .execute(scene.database.pool())
            .await
            .unwrap();
        assert_eq!(scene.standing(&scene.service(&config)).await.is_ok(), is_kept);
    }
    // The answer about this certificate, kept for another one.
    let asked = CertReq::from_der(&request(scene.path(), SUBJECT)).unwrap();
    let leaf = scene.certifier.issue(Profile::QualifiedSignature, &asked).unwrap().to_der().unwrap();
    sqlx::query("UPDATE ocsp_out_of_force SET sha256 = $1")
        .bind(hex::encode(Sha256::digest(&leaf)))
        .execute(scene.database.pool())
        .await
        .unwrap();
    assert!(scene.service(&config).standing(&leaf).await.is_err());
}
