//! Custody on a real database: keys and their files, import files, envelopes, PUKs, what stays secret.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cns_protocol::custody::{HolderStock, Imported, StockReport};
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cnsd::custody::{Custody, CustodyError, KeyFileFault, PukKind};
use cnsd::database::Database;
use cnsd_test_support::database;
use der::DecodePem;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use x509_cert::Certificate;

#[path = "custody/batch.rs"]
mod batch;
#[path = "custody/bulk.rs"]
mod bulk;
#[path = "custody/envelope.rs"]
mod envelope;
#[path = "custody/erasure.rs"]
mod erasure;
#[path = "custody/holder.rs"]
mod holder;
#[path = "custody/import.rs"]
mod import;
#[path = "custody/shared.rs"]
mod shared;
#[path = "custody/upkeep.rs"]
mod upkeep;

const CARD: &str = "6999000000001230";
const CODES: [&str; 4] = ["1234567889", "9999999952", "0000000098", "1000000064"];
const HEADER_CARDS: &str = r#"{"format":"cns-import","version":1,"kind":"cards"}"#;
const HEADER_ENVELOPES: &str = r#"{"format":"cns-import","version":1,"kind":"envelopes"}"#;

struct Daemon {
    folder: TempDir,
    database: Database,
    custody: Custody,
}

async fn open(folder: &Path) -> Result<(Database, Custody), CustodyError> {
    let config = database::config(folder);
    let database = Database::open(&config.database, folder).await?;
    let custody = Custody::open(&database, &config, folder).await?;
    Ok((database, custody))
}

/// What a first start leaves, made once: the key of a second daemon takes as long as a test.
static FIRST_START: OnceCell<TempDir> = OnceCell::const_new();

async fn first_start() -> TempDir {
    let Daemon { folder, database, .. } = other().await;
    database.close().await;
    folder
}

/// A daemon after its first start. They all have the same keys.
async fn start() -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    let first = FIRST_START.get_or_init(first_start).await.path();
    database::copy(first, folder.path());
    // With its mode.
    fs::copy(first.join("custody.key"), folder.path().join("custody.key")).unwrap();
    let (database, custody) = open(folder.path()).await.unwrap();
    Daemon { folder, database, custody }
}

/// A daemon with keys of its own.
async fn other() -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    let (database, custody) = open(folder.path()).await.unwrap();
    Daemon { folder, database, custody }
}

/// A daemon with one card and three envelopes, of which the first two are assigned to `op1`.
async fn stocked() -> Daemon {
    let daemon = start().await;
    import_lines(&daemon.custody, &[HEADER_CARDS, &card_line(CARD, "24681357")]).await.unwrap();
    let envelopes =
        [HEADER_ENVELOPES, &envelope_line(CODES[0]), &envelope_line(CODES[1]), &envelope_line(CODES[2])];
    import_lines(&daemon.custody, &envelopes).await.unwrap();
    let codes = [CODES[0].to_owned(), CODES[1].to_owned()];
    daemon.custody.assign("op1", &codes).await.unwrap();
    daemon
}

fn card_line(serial: &str, puk: &str) -> String {
    format!(r#"{{"id_card":"{serial}","codice_fiscale":"RSSMRA80A01H501U","puk":"{puk}"}}"#)
}

fn envelope_line(code: &str) -> String {
    format!(r#"{{"code":"{code}","pin":"13579","user_code":"4711081547"}}"#)
}

fn sealed(custody: &Custody, lines: &[&str]) -> Vec<u8> {
    let certificate = Certificate::from_pem(custody.import_certificate_pem()).unwrap();
    let kind = match lines[0] {
        HEADER_CARDS => Kind::Cards,
        HEADER_ENVELOPES => Kind::Envelopes,
        other => panic!("{other}"),
    };
    let rest = lines[1..].join("\n");
    let mut content = Content::with_capacity(kind, rest.len()).unwrap();
    content.push(rest.as_bytes()).unwrap();
    Recipient::from_certificate(&certificate).unwrap().seal(&content).unwrap()
}

async fn import_lines(custody: &Custody, lines: &[&str]) -> Result<Imported, CustodyError> {
    custody.import(&sealed(custody, lines)).await
}

/// What an operator has whose counter nobody noted.
fn held_by(operator: &str, assigned: u64) -> HolderStock {
    HolderStock { operator: Some(operator.to_owned()), assigned, low: true, ..HolderStock::default() }
}

async fn lent_puk(custody: &Custody, kind: PukKind) -> Vec<u8> {
    custody.puk(CARD, kind).await.unwrap().lend(|puk| puk.expose().to_vec())
}

fn name(result: &Result<impl Sized, CustodyError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(CustodyError::Tampered { record }) => format!("tampered {record}"),
        Err(error) => format!("{error:?}"),
    }
}

#[tokio::test]
async fn a_restart_finds_the_same_keys_and_secrets() {
    let Daemon { folder, database, custody } = stocked().await;
    let certificate = custody.import_certificate_pem().to_owned();
    database.close().await;
    drop(custody);
    let (_, custody) = open(folder.path()).await.unwrap();
    assert_eq!(custody.import_certificate_pem(), certificate);
    assert_eq!(lent_puk(&custody, PukKind::Cns).await, b"24681357");
    assert_eq!(custody.codice_fiscale(CARD).await.unwrap().as_deref(), Some("RSSMRA80A01H501U"));
    let expected = StockReport {
        cards: 1,
        available: 1,
        assigned: 2,
        low: true,
        holders: vec![held_by("op1", 2)],
        ..StockReport::default()
    };
    assert_eq!(custody.stock().await.unwrap(), expected);
}

#[tokio::test]
async fn files_are_for_their_owner_alone_and_hold_no_plain_secret() {
    let daemon = other().await;
    import_lines(&daemon.custody, &[HEADER_CARDS, &card_line(CARD, "24681357")]).await.unwrap();
    import_lines(&daemon.custody, &[HEADER_ENVELOPES, &envelope_line(CODES[0])]).await.unwrap();
    let mut files = 0;
    for file in fs::read_dir(daemon.folder.path()).unwrap() {
        let path = file.unwrap().path();
        files += 1;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        let bytes = fs::read(&path).unwrap();
        for secret in ["24681357", "13579", "4711081547"] {
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret.as_bytes()),
                "{secret} in {path:?}"
            );
        }
    }
    assert!(files >= 3 || database::on_postgresql(), "key, database and its log");
}

#[tokio::test]
async fn a_wrong_missing_or_open_key_file_is_named() {
    let Daemon { folder, database, .. } = start().await;
    database.close().await;
    let key = folder.path().join("custody.key");
    let own = fs::read(&key).unwrap();
    let other = other().await;
    fs::copy(other.folder.path().join("custody.key"), &key).unwrap();
    assert!(
        matches!(open(folder.path()).await, Err(CustodyError::WrongKey { found, needed }) if found != needed)
    );
    fs::remove_file(&key).unwrap();
    assert!(matches!(open(folder.path()).await, Err(CustodyError::KeyFileMissing { .. })));
    assert!(!key.exists(), "no new key may appear beside old records");
    fs::write(&key, &own).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let fault = KeyFileFault::Mode;
    assert!(
        matches!(open(folder.path()).await, Err(CustodyError::KeyFileFault { fault: found, .. }) if found == fault)
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(folder.path()).await.is_ok());
}

#[tokio::test]
async fn copied_swapped_and_cut_records_are_named() {
    let daemon = stocked().await;
    let (custody, pool) = (&daemon.custody, daemon.database.pool());
    let second = "6999000000001248";
    import_lines(custody, &[HEADER_CARDS, &card_line(second, "11223344")]).await.unwrap();
    let run = |sql: &'static str| sqlx::query(sql).execute(pool);

    let swap = "CREATE TEMPORARY TABLE other AS \
                SELECT a.serial, b.sealed FROM puk a JOIN puk b ON a.serial <> b.serial; \
                UPDATE puk SET sealed = (SELECT other.sealed FROM other WHERE other.serial = puk.serial)";
    sqlx::raw_sql(swap).execute(pool).await.unwrap();
    for serial in [CARD, second] {
        let result = custody.puk(serial, PukKind::Cns).await;
        assert_eq!(name(&result), format!("tampered puk.sealed[{serial}/cns]"));
    }
    run("UPDATE puk SET sealed = substr(sealed, 1, length(sealed) - 1)").await.unwrap();
    assert_eq!(name(&custody.puk(CARD, PukKind::Cns).await), format!("tampered puk.sealed[{CARD}/cns]"));
    sqlx::query("UPDATE puk SET sealed = $1").bind(Vec::new()).execute(pool).await.unwrap();
    assert_eq!(name(&custody.puk(CARD, PukKind::Cns).await), format!("tampered puk.sealed[{CARD}/cns]"));

    custody.reserve(CODES[0], "op1", "p1", CARD).await.unwrap();
    run("UPDATE envelope SET sealed_pin = (SELECT e.sealed_pin FROM envelope e WHERE e.code = '9999999952')")
        .await
        .unwrap();
    let result = custody.envelope_pin(CODES[0], "p1").await;
    assert_eq!(name(&result), "tampered envelope.sealed_pin[1234567889]");
    // A PIN of another envelope, given to the one that the operator holds.
    run("UPDATE envelope SET state = 'open' WHERE code = '1234567889'").await.unwrap();
    assert!(name(&custody.stock().await).starts_with("tampered"));
}

#[tokio::test]
async fn changed_keys_in_the_database_are_seen_at_the_start() {
    for (sql, record) in [
        ("UPDATE data_key SET sealed = substr(sealed, 1, 40)", "data_key.sealed[1]"),
        (
            "UPDATE daemon_secret SET sealed = substr(sealed, 1, 1) WHERE name = 'user-code-pepper'",
            "daemon_secret.sealed[user-code-pepper]",
        ),
        (
            "UPDATE daemon_secret SET public = NULL WHERE name = 'import-key'",
            "daemon_secret.public[import-key]",
        ),
    ] {
        let Daemon { folder, database, .. } = start().await;
        sqlx::query(sql).execute(database.pool()).await.unwrap();
        database.close().await;
        assert_eq!(name(&open(folder.path()).await), format!("tampered {record}"));
    }
}

/// A key that is made anew would leave records that nothing can open or check any more.
#[tokio::test]
async fn removed_keys_are_not_made_anew_beside_old_records() {
    for (sql, record) in [
        ("DELETE FROM data_key", "data_key"),
        (
            "DELETE FROM daemon_secret WHERE name = 'user-code-pepper'",
            "daemon_secret.sealed[user-code-pepper]",
        ),
    ] {
        let Daemon { folder, database, .. } = stocked().await;
        sqlx::query(sql).execute(database.pool()).await.unwrap();
        database.close().await;
        assert_eq!(name(&open(folder.path()).await), format!("tampered {record}"));
    }
}

#[tokio::test]
async fn an_interrupted_first_start_is_finished_by_the_next() {
    let Daemon { folder, database, .. } = start().await;
    sqlx::query("DELETE FROM daemon_secret").execute(database.pool()).await.unwrap();
    sqlx::query("DELETE FROM data_key").execute(database.pool()).await.unwrap();
    database.close().await;
    let (_, custody) = open(folder.path()).await.unwrap();
    import_lines(&custody, &[HEADER_CARDS, &card_line(CARD, "24681357")]).await.unwrap();
    assert_eq!(lent_puk(&custody, PukKind::Cns).await, b"24681357");
}

/// Otherwise whoever can write to the database could have the PUKs sealed to a key of their own.
#[tokio::test]
async fn a_replaced_import_certificate_is_seen_at_the_start() {
    let Daemon { folder, database, .. } = start().await;
    let other = other().await;
    let (certificate,): (Vec<u8>,) =
        sqlx::query_as("SELECT public FROM daemon_secret WHERE name = 'import-key'")
            .fetch_one(other.database.pool())
            .await
            .unwrap();
    sqlx::query("UPDATE daemon_secret SET public = $1 WHERE name = 'import-key'")
        .bind(certificate)
        .execute(database.pool())
        .await
        .unwrap();
    database.close().await;
    assert_eq!(name(&open(folder.path()).await), "tampered daemon_secret.public[import-key]");
}
