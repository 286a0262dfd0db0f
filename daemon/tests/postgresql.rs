//! What only a database server does: it goes away and comes back, and shows who is connected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

use std::time::{Duration, Instant};

use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, PukKind};
use cnsd::database::Database;
use der::DecodePem;
use x509_cert::Certificate;

use cnsd_test_support::postgresql::{self, Server};

const CARD: &str = "6999000000001230";
const CODE: &str = "1234567889";

async fn import(custody: &Custody, kind: Kind, members: &[(&str, &[u8])]) {
    let certificate = Certificate::from_pem(custody.import_certificate_pem()).unwrap();
    let mut content = Content::with_capacity(kind, 256).unwrap();
    content.push_object(members).unwrap();
    let file = Recipient::from_certificate(&certificate).unwrap().seal(&content).unwrap();
    custody.import(&file).await.unwrap();
}

/// In the middle of everything the server is stopped at once, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_is_told_and_found_again_with_nothing_lost() {
    if !postgresql::installed() {
        return;
    }
    let mut server = Server::start();
    server.create("custody", None);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&server.address("custody"), folder.path()).await.unwrap();
    let custody = Custody::open(&database, &CustodyConfig::default(), folder.path()).await.unwrap();
    let puk = [("id_card", CARD.as_bytes()), ("codice_fiscale", b"RSSMRA80A01H501U"), ("puk", b"24681357")];
    import(&custody, Kind::Cards, &puk).await;
    let envelope = [("code", CODE.as_bytes()), ("pin", b"13579"), ("user_code", b"4711081547")];
    import(&custody, Kind::Envelopes, &envelope).await;
    custody.assign("op1", &[CODE.to_owned()]).await.unwrap();
    custody.reserve(CODE, "op1", "p1", CARD).await.unwrap();

    server.stop();
    let begun = Instant::now();
    let refused = custody.mark_used(CODE, "p1").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(15), "an answer comes in time");
    let told = refused.to_string();
    assert!(told.starts_with("the database cannot be reached"), "{told}");
    assert!(!told.contains(CODE) && !told.contains(CARD), "{told}");

    // Whoever asks while it comes back waits a little and is served.
    let waiting = {
        let custody = custody.clone();
        tokio::spawn(async move { custody.has_puk(CARD, PukKind::Cns).await })
    };
    server.launch();
    waiting.await.unwrap().ok();
    custody.mark_used(CODE, "p1").await.unwrap();
    let pin = custody.envelope_pin(CODE, "p1").await.unwrap();
    assert_eq!(pin.lend(|pin| pin.expose().to_vec()), b"13579");
    assert_eq!(custody.stock().await.unwrap().used, 1);
    database.close().await;
}

/// The server's own view: connections through the Unix socket, as the daemon's role, which is nothing but that.
#[tokio::test]
async fn the_daemon_connects_as_a_role_without_rights_of_its_own() {
    if !postgresql::installed() {
        return;
    }
    let server = Server::shared();
    server.create("seen", None);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&server.address("seen"), folder.path()).await.unwrap();
    let (role, address, superuser): (String, Option<String>, i64) = sqlx::query_as(
        "SELECT current_user::text, inet_server_addr()::text, \
         (SELECT COUNT(*) FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole OR rolcreatedb))",
    )
    .fetch_one(database.pool())
    .await
    .unwrap();
    assert_eq!((role.as_str(), address, superuser), (postgresql::ROLE, None, 0));
    database.close().await;
}
