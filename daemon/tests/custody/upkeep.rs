//! New keys, backups, a look at every record, and what is forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cns_protocol::audit::Phase;
use cns_protocol::custody::{Erased, RotatedKey};
use cns_secret::Secret;
use cnsd::audit::{Audit, Record};
use cnsd::config::CustodyConfig;
use cnsd::custody::{Asker, Custody, CustodyError, PukKind, RecordName};
use cnsd::database::Database;

use super::shared::beside;
use super::{
    CARD, CODES, Daemon, HEADER_CARDS, HEADER_ENVELOPES, card_line, database, envelope_line, import_lines,
    lent_puk, name, open, stocked,
};

pub(super) const HOLDER: &str = "RSSMRA80A01H501U";
pub(super) const SECOND: &str = "6999000000001248";

async fn pin_of(custody: &Custody, code: &str) -> Vec<u8> {
    custody.envelope_pin(code, "p1").await.unwrap().lend(|pin| pin.expose().to_vec())
}

/// Import key, pepper and the like.
async fn own_secrets(daemon: &Daemon) -> u64 {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM daemon_secret").fetch_one(daemon.database.pool()).await.unwrap();
    count.unsigned_abs()
}

async fn reopened(daemon: Daemon) -> Daemon {
    let Daemon { folder, database, custody } = daemon;
    database.close().await;
    drop(custody);
    let (database, custody) = open(folder.path()).await.unwrap();
    Daemon { folder, database, custody }
}

#[tokio::test]
async fn another_key_file_takes_the_old_ones_place_while_all_go_on_working() {
    let daemon = stocked().await;
    let key = daemon.folder.path().join("custody.key");
    let old = fs::read(&key).unwrap();
    let (_folder, neighbour) = beside(&daemon).await;
    let before = daemon.custody.key_state().await.unwrap();
    let identifier = daemon.custody.rotate_wrapping_key().await.unwrap();
    let after = daemon.custody.key_state().await.unwrap();
    assert_eq!((after.wrapping_key.as_str(), after.data_key), (identifier.as_str(), before.data_key));
    assert_ne!(before.wrapping_key, after.wrapping_key);
    assert_ne!(fs::read(&key).unwrap(), old);
    assert!(!key.with_file_name("custody.key.next").exists());
    assert_eq!(lent_puk(&daemon.custody, PukKind::Cns).await, b"24681357");
    assert_eq!(lent_puk(&neighbour, PukKind::Cns).await, b"24681357");
    let daemon = reopened(daemon).await;
    assert_eq!(lent_puk(&daemon.custody, PukKind::Cns).await, b"24681357");
    // The old key is worth nothing any more.
    daemon.database.close().await;
    fs::write(&key, old).unwrap();
    let refused = open(daemon.folder.path()).await;
    assert!(matches!(refused, Err(CustodyError::WrongKey { .. })), "{}", name(&refused));
}

/// The power fails before anything is wrapped under the new key, and after.
#[tokio::test]
async fn a_change_of_key_files_that_was_cut_off_ends_with_the_key_that_is_needed() {
    let daemon = stocked().await;
    let (key, next) =
        (daemon.folder.path().join("custody.key"), daemon.folder.path().join("custody.key.next"));
    let old = fs::read(&key).unwrap();
    // Before: another key waits that nothing is wrapped under.
    let stranger = super::other().await;
    fs::copy(stranger.folder.path().join("custody.key"), &next).unwrap();
    let daemon = reopened(daemon).await;
    assert_eq!(fs::read(&key).unwrap(), old);
    daemon.custody.rotate_wrapping_key().await.unwrap();
    assert!(!next.exists());
    // After: the database needs the key that waits.
    fs::copy(&key, &next).unwrap();
    fs::write(&key, &old).unwrap();
    let daemon = reopened(daemon).await;
    assert_eq!(lent_puk(&daemon.custody, PukKind::Cns).await, b"24681357");
    assert!(!next.exists());
    assert_ne!(fs::read(&key).unwrap(), old, "put in its place");
}

/// The power fails between the database and the file, and the key is changed again before anything is read.
#[tokio::test]
async fn another_change_of_key_files_keeps_the_key_that_waits_and_is_needed() {
    let daemon = stocked().await;
    let (key, next) =
        (daemon.folder.path().join("custody.key"), daemon.folder.path().join("custody.key.next"));
    let old = fs::read(&key).unwrap();
    daemon.custody.rotate_wrapping_key().await.unwrap();
    fs::rename(&key, &next).unwrap();
    fs::write(&key, &old).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let identifier = daemon.custody.rotate_wrapping_key().await.unwrap();
    assert_eq!(daemon.custody.key_state().await.unwrap().wrapping_key, identifier);
    assert!(!next.exists());
    let daemon = reopened(daemon).await;
    assert_eq!(lent_puk(&daemon.custody, PukKind::Cns).await, b"24681357");
}

/// A daemon in which a second person must confirm that a key is replaced.
async fn four_eyes() -> (tempfile::TempDir, Custody) {
    let folder = tempfile::tempdir().unwrap();
    let config = CustodyConfig { rotate_four_eyes: true, ..database::config(folder.path()) };
    let database = Database::open(&config.database, folder.path()).await.unwrap();
    let custody = Custody::open(&database, &config, folder.path()).await.unwrap();
    (folder, custody)
}

/// Two operators are two persons, by the cards that they logged in with; else two Unix users are.
#[tokio::test]
async fn with_four_eyes_another_person_must_confirm_that_a_key_is_replaced() {
    let (_folder, custody) = four_eyes().await;
    let who = |user, operator: Option<&str>| Asker {
        user,
        desk: operator.map(|operator| (operator.to_owned(), "Sportello 1".to_owned())),
        custodian: true,
    };
    let before = custody.key_state().await.unwrap();
    for (asked_by, same, other) in [
        (who(1, None), vec![who(1, None), who(1, Some("op1"))], who(2, None)),
        (
            who(1, Some("op1")),
            vec![who(1, Some("op1")), who(2, Some("op1")), who(1, None)],
            who(1, Some("op2")),
        ),
    ] {
        let asked = custody.rotate(RotatedKey::Data, &asked_by).await.unwrap();
        let request = asked.request.unwrap();
        for same in &same {
            let refused = custody.decide_rotation(&request, same, true).await;
            assert!(matches!(refused, Err(CustodyError::SecondPerson)), "{same:?}: {}", name(&refused));
        }
        assert_eq!(custody.rotation_requests().await.unwrap().len(), 1, "a refusal leaves the request");
        let data_key = custody.key_state().await.unwrap().data_key;
        // Of two who confirm at once, one does.
        let (one, two) = tokio::join!(
            custody.decide_rotation(&request, &other, true),
            custody.decide_rotation(&request, &other, true)
        );
        assert_eq!([&one, &two].iter().filter(|done| done.is_ok()).count(), 1, "{one:?}, {two:?}");
        assert_eq!(custody.key_state().await.unwrap().data_key, data_key + 1, "{asked_by:?}");
        let again = custody.decide_rotation(&request, &other, true).await;
        assert!(matches!(again, Err(CustodyError::Invalid(_))), "{}", name(&again));
    }
    assert_eq!(custody.key_state().await.unwrap().data_key, before.data_key + 2);
}

#[tokio::test]
async fn a_key_that_is_asked_for_again_is_one_request() {
    let (_folder, custody) = four_eyes().await;
    let who = |user| Asker { user, desk: None, custodian: true };
    let ask = async |key, user| custody.rotate(key, &who(user)).await.unwrap().request.unwrap();
    let first = ask(RotatedKey::Data, 1).await;
    assert_eq!(ask(RotatedKey::Data, 1).await, first);
    assert_eq!(ask(RotatedKey::Data, 2).await, first);
    assert_ne!(ask(RotatedKey::Wrapping, 1).await, first);
    assert_eq!(custody.rotation_requests().await.unwrap().len(), 2);
    custody.decide_rotation(&first, &who(2), false).await.unwrap();
    assert_ne!(ask(RotatedKey::Data, 1).await, first, "turned down, it may be asked for anew");
}

/// Codes in a row that are in no other file of the tests.
fn codes(count: u64) -> Vec<String> {
    let number = |i| 60_000_000 + i;
    (0..count).map(|i| format!("{}{:02}", number(i), 98 - number(i) * 100 % 97)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_data_key_seals_little_by_little_and_both_are_read_meanwhile() {
    let daemon = stocked().await;
    let many = codes(1500);
    let lines: Vec<String> = many.iter().map(|code| envelope_line(code)).collect();
    let lines: Vec<&str> =
        std::iter::once(HEADER_ENVELOPES).chain(lines.iter().map(String::as_str)).collect();
    import_lines(&daemon.custody, &lines).await.unwrap();
    daemon.custody.reserve(CODES[0], "op1", "p1", CARD).await.unwrap();
    let (_folder, neighbour) = beside(&daemon).await;
    let first = daemon.custody.key_state().await.unwrap();
    assert_eq!(daemon.custody.rotate_data_key().await.unwrap(), first.data_key + 1);
    let state = daemon.custody.key_state().await.unwrap();
    // The card's PUK, the envelopes' PINs, and the daemon's own secrets.
    let all = 1 + 1503 + own_secrets(&daemon).await;
    assert_eq!(state.older_records, all);
    // Cut off in the middle: what is done is done, and the rest goes on with the next start.
    tokio::time::timeout(Duration::from_millis(60), daemon.custody.reseal()).await.ok();
    assert_eq!(pin_of(&daemon.custody, CODES[0]).await, b"13579");
    assert_eq!(lent_puk(&neighbour, PukKind::Cns).await, b"24681357");
    assert_eq!(pin_of(&neighbour, CODES[0]).await, b"13579");
    let daemon = reopened(daemon).await;
    let left = daemon.custody.key_state().await.unwrap().older_records;
    assert_eq!(daemon.custody.reseal().await.unwrap(), left);
    assert_eq!(daemon.custody.key_state().await.unwrap().older_records, 0);
    assert_eq!(daemon.custody.reseal().await.unwrap(), 0);
    // The neighbour has not been told, and reads and writes all the same.
    assert_eq!(lent_puk(&neighbour, PukKind::Cns).await, b"24681357");
    assert_eq!(pin_of(&neighbour, CODES[0]).await, b"13579");
    let puk = Secret::copy_from(b"86420864").unwrap();
    neighbour.store_puk(CARD, PukKind::Signature, &puk).await.unwrap();
    assert_eq!(lent_puk(&daemon.custody, PukKind::Signature).await, b"86420864");
    assert_eq!(daemon.custody.key_state().await.unwrap().older_records, 0);
    let report = daemon.custody.verify().await.unwrap();
    assert_eq!((report.records, report.damaged), (all + 1, 0));
    let user_code = Secret::copy_from(b"4711081547").unwrap();
    let daemon = reopened(daemon).await;
    assert!(daemon.custody.user_code_matches(&many[7], &user_code).await.unwrap());
    import_lines(&daemon.custody, &[HEADER_CARDS, &card_line(SECOND, "11223344")]).await.unwrap();
}

/// The audit log's key is in a file of each daemon: it follows when the log is opened.
#[tokio::test]
async fn the_audit_logs_key_follows_a_new_data_key() {
    let daemon = stocked().await;
    let state = daemon.folder.path();
    let open_log = async || Audit::open(state, daemon.custody.sealer()).await.unwrap();
    open_log().await.checkpoint().await.unwrap();
    let read = || fs::read(state.join("audit.key")).unwrap();
    let first = read();
    drop(open_log().await);
    assert_eq!(read(), first);
    daemon.custody.rotate_data_key().await.unwrap();
    drop(open_log().await);
    let second = read();
    assert_ne!(second, first);
    assert_eq!(fs::metadata(state.join("audit.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let log = open_log().await;
    assert_eq!(read(), second);
    // Signed by the same key as before.
    log.record(Record::new("test", Phase::Fact, "It goes on.")).await.unwrap();
    log.checkpoint().await.unwrap();
    assert_eq!(log.verify().await.unwrap().checkpoints, 2);
}

#[tokio::test]
async fn every_record_that_was_changed_or_moved_is_named() {
    let daemon = stocked().await;
    import_lines(&daemon.custody, &[HEADER_CARDS, &card_line(SECOND, "11223344")]).await.unwrap();
    let report = daemon.custody.verify().await.unwrap();
    let all = 2 + 3 + own_secrets(&daemon).await;
    assert_eq!((report.records, report.damaged, report.named.len()), (all, 0, 0));
    let pool = daemon.database.pool();
    // The PUK of one card, moved to another.
    let copy = "UPDATE puk SET sealed = (SELECT o.sealed FROM puk o WHERE o.serial = $1) WHERE serial = $2";
    sqlx::query(copy).bind(CARD).bind(SECOND).execute(pool).await.unwrap();
    let cut = "UPDATE envelope SET sealed_pin = substr(sealed_pin, 1, 20) WHERE code = $1";
    sqlx::query(cut).bind(CODES[1]).execute(pool).await.unwrap();
    let report = daemon.custody.verify().await.unwrap();
    let named = [format!("puk.sealed[{SECOND}/cns]"), format!("envelope.sealed_pin[{}]", CODES[1])];
    assert_eq!((report.records, report.damaged), (all, 2));
    assert_eq!(report.named, named);
}

/// A backup of either kind, put into an empty state folder beside the key file.
async fn restored(daemon: &Daemon) -> (tempfile::TempDir, Result<(Database, Custody), CustodyError>) {
    let folder = tempfile::tempdir().unwrap();
    let file = database::back_up(&daemon.custody, daemon.folder.path()).await;
    database::restore(&file, folder.path());
    fs::copy(daemon.folder.path().join("custody.key"), folder.path().join("custody.key")).unwrap();
    let opened = open(folder.path()).await;
    (folder, opened)
}

#[tokio::test]
async fn a_backup_that_was_made_at_work_is_restored_and_used() {
    let daemon = stocked().await;
    daemon.custody.reserve(CODES[0], "op1", "p1", CARD).await.unwrap();
    let (folder, opened) = restored(&daemon).await;
    // What comes after the backup is not in it.
    daemon.custody.mark_used(CODES[0], "p1").await.unwrap();
    let (database, custody) = opened.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(lent_puk(&custody, PukKind::Cns).await, b"24681357");
    assert_eq!(pin_of(&custody, CODES[0]).await, b"13579");
    assert_eq!(custody.import_certificate_pem(), daemon.custody.import_certificate_pem());
    assert_eq!(custody.verify().await.unwrap().damaged, 0);
    import_lines(&custody, &[HEADER_CARDS, &card_line(SECOND, "11223344")]).await.unwrap();
    custody.mark_used(CODES[0], "p1").await.unwrap();
    database.close().await;
    // Without its key file it opens nothing.
    fs::remove_file(folder.path().join("custody.key")).unwrap();
    assert!(matches!(open(folder.path()).await, Err(CustodyError::KeyFileMissing { .. })));
}

#[tokio::test]
async fn a_truncated_database_file_is_seen() {
    if database::on_postgresql() {
        return;
    }
    let daemon = stocked().await;
    daemon.database.close().await;
    let file = daemon.folder.path().join("custody.db");
    let bytes = fs::read(&file).unwrap();
    for part in [bytes.len() / 2, 5000, 100] {
        fs::write(&file, &bytes[..part]).unwrap();
        let seen = match open(daemon.folder.path()).await {
            Err(CustodyError::Database(error)) => error.to_string(),
            Err(CustodyError::Tampered { record }) => record,
            Err(error) => panic!("{error:?}"),
            Ok((_, custody)) => custody.verify().await.unwrap().named.join(", "),
        };
        assert!(!seen.is_empty(), "cut at {part}");
    }
}

/// The sealed values that the database has now.
async fn sealed_values(database: &Database) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for query in ["SELECT sealed FROM puk", "SELECT sealed_pin FROM envelope WHERE sealed_pin IS NOT NULL"] {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as(query).fetch_all(database.pool()).await.unwrap();
        values.extend(rows.into_iter().map(|(sealed,)| sealed));
    }
    values
}

/// Whether the files of an SQLite database hold these bytes anywhere, free pages and the log among them.
fn in_files(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let file = fs::read(file.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|part| part == bytes)
    })
}

#[tokio::test]
async fn what_a_procedure_consumed_is_gone_from_the_files_too() {
    let daemon = stocked().await;
    let custody = &daemon.custody;
    custody.reserve(CODES[0], "op1", "p1", CARD).await.unwrap();
    let query = "SELECT sealed_pin FROM envelope WHERE code = $1";
    let read =
        || sqlx::query_as::<_, (Option<Vec<u8>>,)>(query).bind(CODES[0]).fetch_one(daemon.database.pool());
    let sealed = read().await.unwrap().0.unwrap();
    assert!(database::on_postgresql() || in_files(daemon.folder.path(), &sealed), "it can be found");
    custody.mark_used(CODES[0], "p1").await.unwrap();
    custody.consume("p1").await.unwrap();
    assert_eq!(read().await.unwrap().0, None);
    assert!(!in_files(daemon.folder.path(), &sealed), "neither in a free page nor in the log");
}

/// A request to or from another region, and where it came in, what waits for the mail.
pub(super) async fn keep_request(daemon: &Daemon, direction: &str, id: &str, holder: &str) {
    let recipient = format!("mario.{id}@posta.example");
    let document = format!(
        r#"{{"id":"{id}","kind":"duplicate","card":"{CARD}","codice_fiscale":"{holder}","email":"{recipient}"}}"#
    );
    sqlx::query(
        "INSERT INTO national_request (direction, id, card, document, state, message, attempts, next_at, created_at) \
         VALUES ($1, $2, $3, $4, 'accepted', '', 1, 0, '2026-11-29T10:00:00.000Z')",
    )
    .bind(direction)
    .bind(id)
    .bind(CARD)
    .bind(document)
    .execute(daemon.database.pool())
    .await
    .unwrap();
    if direction == "in" {
        let name = RecordName { table: "national_mail", column: "sealed", key: id };
        let part = Secret::copy_from(b"86420864").unwrap();
        sqlx::query(
            "INSERT INTO national_mail (id, card, recipient, sealed, attempts, next_at) VALUES ($1, $2, $3, $4, 0, 0)",
        )
        .bind(id)
        .bind(CARD)
        .bind(recipient)
        .bind(daemon.custody.sealer().seal(name, &part).unwrap())
        .execute(daemon.database.pool())
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_holder_is_forgotten_and_no_envelope_can_be_used_again() {
    let daemon = stocked().await;
    let (custody, pool) = (&daemon.custody, daemon.database.pool());
    import_lines(
        custody,
        &[HEADER_CARDS, &card_line(SECOND, "11223344").replace(HOLDER, "VRDGPP75C12H501H")],
    )
    .await
    .unwrap();
    custody.reserve(CODES[0], "op1", "p1", CARD).await.unwrap();
    custody.mark_used(CODES[0], "p1").await.unwrap();
    custody.consume("p1").await.unwrap();
    let document = format!(r#"{{"holder":{{"surname":"ROSSI","codice_fiscale":"{HOLDER}"}}}}"#);
    sqlx::query(
        "INSERT INTO procedures (id, card, operator, state, document, started, changed) \
         VALUES ('p1', $1, 'op1', 'open', $2, '2026-11-29T10:00:00.000Z', '2026-11-29T10:00:00.000Z')",
    )
    .bind(CARD)
    .bind(document)
    .execute(pool)
    .await
    .unwrap();
    for (direction, id, holder) in [
        ("in", "theirs-1", HOLDER),
        ("out", "ours-1", HOLDER),
        ("in", "theirs-2", "VRDGPP75C12H501H"),
        // The same key the other way: another request.
        ("out", "theirs-2", HOLDER),
    ] {
        keep_request(&daemon, direction, id, holder).await;
    }
    let refused = custody.erase(HOLDER).await;
    assert!(matches!(refused, Err(CustodyError::InProcedure { .. })), "{}", name(&refused));
    assert_eq!(lent_puk(custody, PukKind::Cns).await, b"24681357", "nothing was changed");
    sqlx::query("UPDATE procedures SET state = 'done'").execute(pool).await.unwrap();
    let gone = sealed_values(&daemon.database).await;

    let expected = Erased { cards: vec![CARD.to_owned()], procedures: 1, envelopes: 1 };
    assert_eq!(custody.erase(&HOLDER.to_lowercase()).await.unwrap(), expected);
    assert!(matches!(custody.puk(CARD, PukKind::Cns).await, Err(CustodyError::NoPuk { .. })));
    assert_eq!(custody.codice_fiscale(CARD).await.unwrap(), None);
    let user_code = Secret::copy_from(b"4711081547").unwrap();
    assert!(!custody.user_code_matches(CODES[0], &user_code).await.unwrap());
    let again = custody.reserve(CODES[0], "op1", "p2", SECOND).await;
    assert!(matches!(again, Err(CustodyError::EnvelopeUnavailable { .. })), "{}", name(&again));
    for table in ["national_request", "national_mail"] {
        let left: Vec<(String,)> =
            sqlx::query_as(&format!("SELECT id FROM {table}")).fetch_all(pool).await.unwrap();
        assert_eq!(left, [("theirs-2".to_owned(),)], "{table}");
    }
    let kept = sealed_values(&daemon.database).await;
    for sealed in gone.iter().filter(|sealed| !kept.contains(sealed)) {
        assert!(!in_files(daemon.folder.path(), sealed), "a sealed value of the holder");
    }
    for text in [HOLDER, "ROSSI", "mario.theirs-1@posta.example"] {
        assert!(!in_files(daemon.folder.path(), text.as_bytes()), "{text} is still in a file");
    }
    // Others are not touched, and doing it again is no error.
    assert!(custody.has_puk(SECOND, PukKind::Cns).await.unwrap());
    assert_eq!(custody.erase(HOLDER).await.unwrap(), Erased::default());
    assert!(matches!(custody.erase("%").await, Err(CustodyError::Invalid(_))));
    assert_eq!(custody.verify().await.unwrap().damaged, 0);
}
