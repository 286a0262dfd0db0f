//! The audit log on a real folder: what is appended is there, what is changed is seen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use cns_protocol::audit::{ChainError, ChainVerifier, Entry, Phase};
use cnsd::audit::{Audit, AuditError, Record};
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, CustodyError, Sealer};
use cnsd::database::Database;
use cnsd_test_support::small_disk;
use tempfile::TempDir;
use tokio::sync::OnceCell;

static SEALER: OnceCell<Sealer> = OnceCell::const_new();

async fn new_sealer() -> Sealer {
    let folder = tempfile::tempdir().unwrap();
    let config = CustodyConfig::default();
    let database = Database::open(&config.database, folder.path()).await.unwrap();
    let custody = Custody::open(&database, &config, folder.path()).await.unwrap();
    custody.sealer().clone()
}

struct State {
    folder: TempDir,
    sealer: Sealer,
}

impl State {
    async fn new() -> Self {
        let sealer = SEALER.get_or_init(new_sealer).await.clone();
        Self { folder: tempfile::tempdir().unwrap(), sealer }
    }

    async fn open(&self) -> Result<Audit, AuditError> {
        Audit::open(self.folder.path(), &self.sealer).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("audit.jsonl")).unwrap()
    }

    fn write_log(&self, lines: &[&str]) {
        fs::write(self.path("audit.jsonl"), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    }

    /// Opens with the log replaced by `lines`; gives why not.
    async fn refused(&self, lines: &[&str]) -> AuditError {
        self.write_log(lines);
        self.open().await.err().expect("a broken log was accepted")
    }
}

fn pin_set() -> Record {
    Record::new("pin-set", Phase::Intention, "RESET RETRY COUNTER with the PIN of envelope 1234567889")
        .user(1000)
        .operator("op1")
        .paragraph("§9.3.2-7")
        .card("6999000000001230")
        .procedure("p1")
}

/// The check that needs no daemon: protocol types, the exported key, nothing else.
fn verify_offline(folder: &Path) -> (u64, u64, String) {
    let key = hex::decode(fs::read_to_string(folder.join("audit.pub")).unwrap().trim_end()).unwrap();
    let mut chain = ChainVerifier::default();
    let mut checkpoints = 0;
    for line in fs::read_to_string(folder.join("audit.jsonl")).unwrap().lines() {
        let entry: Entry = serde_json::from_str(line).unwrap();
        chain.push(&entry).unwrap();
        if entry.is_checkpoint() {
            let signature = hex::decode(entry.signature.unwrap()).unwrap();
            UnparsedPublicKey::new(&ED25519, &key).verify(entry.hash.as_bytes(), &signature).unwrap();
            checkpoints += 1;
        }
    }
    (chain.entries(), checkpoints, chain.head().to_owned())
}

#[tokio::test]
async fn a_new_log_begins_with_a_signed_entry() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    let entries = audit.list(1, 10).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.act.as_str()).collect::<Vec<_>>(),
        ["log-begun", "checkpoint"]
    );
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.entries, verified.checkpoints), (2, 1));
    assert_eq!(fs::read_to_string(state.path("audit.pub")).unwrap(), format!("{}\n", verified.public_key));
    for (file, mode) in [("audit.jsonl", 0o600), ("audit.key", 0o600), ("audit.pub", 0o644)] {
        assert_eq!(fs::metadata(state.path(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
}

#[tokio::test]
async fn what_is_recorded_is_in_the_file_when_the_call_returns() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    assert_eq!(audit.record(pin_set()).await.unwrap(), 3);
    let entry: Entry = serde_json::from_str(state.log().lines().last().unwrap()).unwrap();
    assert_eq!(entry.user, Some(1000));
    assert_eq!(entry.operator.as_deref(), Some("op1"));
    assert_eq!((entry.act.as_str(), entry.phase), ("pin-set", Phase::Intention));
    assert_eq!(entry.paragraph.as_deref(), Some("§9.3.2-7"));
    assert_eq!(entry.card.as_deref(), Some("6999000000001230"));
    assert_eq!(entry.procedure.as_deref(), Some("p1"));
    assert!(entry.at.ends_with('Z') && entry.at.starts_with("20"));
    assert!(entry.signature.is_none());
}

#[tokio::test]
async fn a_restart_goes_on_where_the_log_ended() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    audit.record(pin_set()).await.unwrap();
    drop(audit);
    let audit = state.open().await.unwrap();
    let verified = audit.verify().await.unwrap();
    assert_eq!(
        (verified.entries, verified.checkpoints),
        (4, 2),
        "what was not signed is signed at the start"
    );
    audit.checkpoint().await.unwrap();
    drop(audit);
    assert_eq!(state.open().await.unwrap().verify().await.unwrap(), verified, "nothing new, nothing to sign");
    assert_eq!(verify_offline(state.folder.path()), (4, 2, verified.head));
}

#[tokio::test]
async fn every_hundred_entries_are_signed_and_any_part_is_listed() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    for number in 0..600 {
        audit.record(Record::new("test", Phase::Fact, number.to_string())).await.unwrap();
    }
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.entries, verified.checkpoints), (608, 7));
    assert_eq!(verify_offline(state.folder.path()), (608, 7, verified.head));
    for (from, limit, expected) in [
        (0, 2, 1..=2),
        (1, 3, 1..=3),
        (256, 2, 256..=257),
        (257, 1, 257..=257),
        (513, 300, 513..=608),
        (1, 1000, 1..=608),
        (608, 5, 608..=608),
    ] {
        let numbers: Vec<u64> =
            audit.list(from, limit).await.unwrap().iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }
    for (from, limit) in [(609, 5), (u64::MAX, 5), (1, 0)] {
        assert!(audit.list(from, limit).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn many_at_once_leave_one_chain() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let audit = audit.clone();
        tasks.spawn(async move { audit.record(pin_set()).await.unwrap() });
    }
    let mut numbers = tasks.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (3..53).collect::<Vec<u64>>());
    assert_eq!(audit.verify().await.unwrap().entries, 52);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_recorded_wherever_it_tore() {
    let state = State::new().await;
    drop(state.open().await.unwrap());
    let whole = state.log();
    let next = {
        let audit = state.open().await.unwrap();
        audit.record(pin_set()).await.unwrap();
        state.log()[whole.len()..].to_owned()
    };
    for length in [1, next.len() / 2, next.len() - 1] {
        fs::write(state.path("audit.jsonl"), [&whole, &next[..length]].concat()).unwrap();
        let audit = state.open().await.unwrap();
        let entries = audit.list(3, 10).await.unwrap();
        assert_eq!(
            entries.iter().map(|entry| entry.act.as_str()).collect::<Vec<_>>(),
            ["log-repaired", "checkpoint"]
        );
        assert!(entries[0].text.contains(&length.to_string()), "{}", entries[0].text);
        assert_eq!(audit.verify().await.unwrap().entries, 4);
        drop(audit);
        assert!(state.open().await.is_ok());
    }
}

#[tokio::test]
async fn a_broken_log_stops_the_start_and_names_the_place() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    for _ in 0..3 {
        audit.record(pin_set()).await.unwrap();
    }
    audit.checkpoint().await.unwrap();
    drop(audit);
    let log = state.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 6);
    let broken = |error: AuditError| {
        let AuditError::Broken(place) = error else { panic!("{error:?}") };
        place
    };

    let changed = lines[3].replace("op1", "op2");
    let edited = [lines[0], lines[1], lines[2], &changed, lines[4], lines[5]];
    assert_eq!(broken(state.refused(&edited).await), ChainError::Link(4));
    let removed = [lines[0], lines[1], lines[3], lines[4], lines[5]];
    assert_eq!(broken(state.refused(&removed).await), ChainError::Gap { expected: 3, found: 4 });
    let no_start = &lines[1..];
    assert_eq!(broken(state.refused(no_start).await), ChainError::Gap { expected: 1, found: 2 });
    let garbage = [lines[0], "{}", lines[2]];
    assert!(matches!(broken(state.refused(&garbage).await), ChainError::Unreadable { line: 2, .. }));
    let blank = [lines[0], "", lines[1]];
    assert!(matches!(broken(state.refused(&blank).await), ChainError::Unreadable { line: 2, .. }));

    let mut checkpoint: Entry = serde_json::from_str(lines[5]).unwrap();
    let signature = checkpoint.signature.take().unwrap();
    let unsigned = serde_json::to_string(&checkpoint).unwrap();
    let without = [&lines[..5], &[&unsigned]].concat();
    assert_eq!(broken(state.refused(&without).await), ChainError::Signature(6));
    checkpoint.signature = Some(signature.replace(&signature[..2], "00"));
    let forged = serde_json::to_string(&checkpoint).unwrap();
    let forged = [&lines[..5], &[&forged]].concat();
    assert_eq!(broken(state.refused(&forged).await), ChainError::Signature(6));

    state.write_log(&lines);
    assert!(state.open().await.is_ok(), "the log itself is sound");
}

/// A chain that is linked anew from a changed entry holds in itself; the signature does not.
#[tokio::test]
async fn a_rewritten_chain_is_seen_by_its_signature() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    audit.record(pin_set()).await.unwrap();
    audit.checkpoint().await.unwrap();
    drop(audit);
    let mut previous = None;
    let mut lines = Vec::new();
    for line in state.log().lines() {
        let mut entry: Entry = serde_json::from_str(line).unwrap();
        if entry.number == 3 {
            entry.operator = Some("op2".into());
        }
        if let Some(previous) = previous {
            entry.previous = previous;
        }
        entry.hash = entry.link().unwrap();
        previous = Some(entry.hash.clone());
        lines.push(serde_json::to_string(&entry).unwrap());
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let error = state.refused(&lines).await;
    assert!(matches!(error, AuditError::Broken(ChainError::Signature(4))), "{error:?}");
}

#[tokio::test]
async fn a_removed_log_or_key_stops_the_start() {
    let state = State::new().await;
    drop(state.open().await.unwrap());
    let log = state.log();
    assert!(matches!(state.refused(&[]).await, AuditError::Removed { .. }));
    fs::remove_file(state.path("audit.jsonl")).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::Removed { .. })));
    // What looks like a torn line is not repaired into a new log.
    fs::write(state.path("audit.jsonl"), "{").unwrap();
    for _ in 0..2 {
        assert!(matches!(state.open().await, Err(AuditError::Removed { .. })));
    }
    fs::write(state.path("audit.jsonl"), &log).unwrap();
    let key = fs::read(state.path("audit.key")).unwrap();
    fs::remove_file(state.path("audit.key")).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::KeyMissing { .. })));
    fs::write(state.path("audit.key"), &key[..key.len() - 1]).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::Key(CustodyError::Tampered { .. }))));
    fs::write(state.path("audit.key"), &key).unwrap();
    fs::write(state.path("audit.pub"), "00\n").unwrap();
    assert!(matches!(state.open().await, Err(AuditError::PublicKey { .. })));
    fs::remove_file(state.path("audit.pub")).unwrap();
    assert!(state.open().await.is_ok());
}

/// A power cut after the first entry and before the key leaves a log without a key.
#[tokio::test]
async fn an_interrupted_first_start_is_finished_by_the_next() {
    let state = State::new().await;
    drop(state.open().await.unwrap());
    let log = state.log();
    fs::remove_file(state.path("audit.key")).unwrap();
    fs::remove_file(state.path("audit.pub")).unwrap();
    state.write_log(&[log.lines().next().unwrap()]);
    let verified = state.open().await.unwrap().verify().await.unwrap();
    assert_eq!((verified.entries, verified.checkpoints), (2, 1));
}

#[tokio::test]
async fn a_change_while_the_daemon_runs_is_seen() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    audit.record(pin_set()).await.unwrap();
    let log = state.log();
    let first_two: Vec<&str> = log.lines().take(2).collect();
    state.write_log(&first_two);
    assert!(matches!(audit.verify().await, Err(AuditError::Replaced { expected: 3 })));
    state.write_log(&log.lines().collect::<Vec<_>>());
    assert!(audit.verify().await.is_ok());
    fs::write(state.path("audit.jsonl"), log.replace("op1", "op9")).unwrap();
    assert!(matches!(audit.verify().await, Err(AuditError::Broken(ChainError::Link(3)))));
}

#[tokio::test]
async fn a_text_of_any_length_and_any_character_stays_a_readable_line() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    let text = "\u{1}\n\"è".repeat(4000);
    audit.record(Record::new("test", Phase::Fact, text).operator("é".repeat(1000))).await.unwrap();
    let entries = audit.list(3, 1).await.unwrap();
    assert!(entries[0].text.len() <= 4096 && entries[0].text.len() > 4000);
    assert!(entries[0].operator.as_ref().unwrap().len() <= 256);
    drop(audit);
    assert!(state.open().await.unwrap().verify().await.is_ok());
}

#[tokio::test]
async fn an_endless_line_stops_the_start() {
    let state = State::new().await;
    drop(state.open().await.unwrap());
    let mut log = OpenOptions::new().append(true).open(state.path("audit.jsonl")).unwrap();
    log.write_all(&vec![b'x'; 200_000]).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::Broken(ChainError::Unreadable { line: 3, .. }))));
}

fn segments(state: &State) -> Vec<String> {
    let names = fs::read_dir(state.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("audit") && name.contains("jsonl"));
    names.sort();
    names
}

/// A log in three files: two closed ones, of 1 to 4 and 5 to 7, and one that goes on with 8.
async fn in_three_files(state: &State) -> Audit {
    let audit = state.open().await.unwrap();
    for _ in 0..2 {
        audit.record(pin_set()).await.unwrap();
        audit.rotate().await.unwrap();
    }
    audit.record(pin_set()).await.unwrap();
    audit
}

#[tokio::test]
async fn a_log_in_several_files_is_one_chain() {
    let state = State::new().await;
    let audit = in_three_files(&state).await;
    assert_eq!(segments(&state), ["audit-000000000001.jsonl", "audit-000000000005.jsonl", "audit.jsonl"]);
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.first, verified.entries), (1, 9));
    let acts = ["log-begun", "checkpoint", "pin-set", "checkpoint"];
    let acts = acts.into_iter().chain(["log-continued", "pin-set", "checkpoint", "log-continued", "pin-set"]);
    let listed = audit.list(1, 1000).await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.act.as_str()).collect::<Vec<_>>(), acts.collect::<Vec<_>>());
    for from in 1..=10 {
        for limit in 1..=10 {
            let expected: Vec<u64> = (from..=9).take(limit.into()).collect();
            let numbers: Vec<u64> =
                audit.list(from, limit).await.unwrap().iter().map(|entry| entry.number).collect();
            assert_eq!(numbers, expected, "from {from}, limit {limit}");
        }
    }
    drop(audit);
    // A restart goes on; what is checked without the daemon says the same.
    let audit = state.open().await.unwrap();
    assert_eq!(audit.verify().await.unwrap().entries, 10);
    let mut chain = ChainVerifier::default();
    for name in segments(&state) {
        for line in fs::read_to_string(state.path(&name)).unwrap().lines() {
            chain.push(&serde_json::from_str(line).unwrap()).unwrap();
        }
    }
    assert_eq!((chain.entries(), chain.head()), (10, audit.verify().await.unwrap().head.as_str()));
}

#[tokio::test]
async fn files_put_away_are_said_and_a_missing_or_changed_one_is_named() {
    let state = State::new().await;
    let audit = in_three_files(&state).await;
    let (first, second) = (state.path("audit-000000000001.jsonl"), state.path("audit-000000000005.jsonl"));
    let kept = fs::read_to_string(&second).unwrap();
    fs::write(&second, kept.replace("op1", "op2")).unwrap();
    assert!(matches!(audit.verify().await, Err(AuditError::Broken(ChainError::Link(6)))));
    fs::remove_file(&second).unwrap();
    let error = audit.verify().await.unwrap_err();
    assert!(matches!(error, AuditError::Broken(ChainError::Gap { expected: 5, found: 8 })), "{error:?}");
    fs::write(&second, &kept).unwrap();
    fs::remove_file(&first).unwrap();
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.first, verified.entries), (5, 5));
    assert_eq!(audit.list(1, 2).await.unwrap()[0].number, 5);

    // Nothing but what was signed as a beginning begins a file.
    drop(audit);
    let log = state.log();
    let error = state.refused(&log.lines().skip(1).collect::<Vec<_>>()).await;
    assert!(matches!(error, AuditError::Broken(ChainError::Gap { expected: 1, found: 9 })), "{error:?}");
    let mut begin: Entry = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    begin.number = 3;
    begin.hash = begin.link().unwrap();
    let error = state.refused(&[&serde_json::to_string(&begin).unwrap()]).await;
    assert!(matches!(error, AuditError::Broken(ChainError::Signature(3))), "{error:?}");
}

#[tokio::test]
async fn a_large_file_is_closed_by_itself() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    audit.rotate_at(Some(4096)).await.unwrap();
    for _ in 0..40 {
        audit.record(pin_set()).await.unwrap();
    }
    let files = segments(&state);
    assert!(files.len() > 3, "{files:?}");
    let sizes = files.iter().map(|name| fs::metadata(state.path(name)).unwrap().len());
    assert!(sizes.max().unwrap() < 6000);
    assert_eq!(audit.verify().await.unwrap().entries, audit.list(1, 1000).await.unwrap().len() as u64);
    assert!(!state.path("audit.jsonl.next").exists());
}

/// The power fails between any two steps of a rotation: the next start finishes it or undoes it.
#[tokio::test]
async fn an_interrupted_rotation_is_finished_by_the_next_start() {
    let state = State::new().await;
    let audit = state.open().await.unwrap();
    audit.record(pin_set()).await.unwrap();
    audit.rotate().await.unwrap();
    drop(audit);
    let closed = state.path("audit-000000000001.jsonl");
    let (log, next) = (state.path("audit.jsonl"), state.path("audit.jsonl.next"));
    let (before, begin) = (fs::read_to_string(&closed).unwrap(), state.log());

    // After the first change of names.
    fs::rename(&log, &next).unwrap();
    let verified = state.open().await.unwrap().verify().await.unwrap();
    assert_eq!((verified.first, verified.entries), (1, 5));
    assert!(!next.exists());

    // Before it.
    fs::remove_file(&closed).unwrap();
    fs::write(&log, &before).unwrap();
    fs::write(&next, &begin).unwrap();
    assert_eq!(state.open().await.unwrap().verify().await.unwrap().entries, 4);
    assert!(!next.exists());

    // A log that was removed does not come back from the file of another rotation.
    fs::rename(&log, &closed).unwrap();
    let begin: Entry = serde_json::from_str(&begin).unwrap();
    let other = Entry { previous: "1".repeat(64), ..begin };
    fs::write(&next, format!("{}\n", serde_json::to_string(&other).unwrap())).unwrap();
    assert!(state.open().await.is_err());
    fs::remove_file(&next).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::Removed { .. })));
}

#[test]
fn a_log_without_room_goes_on_as_soon_as_there_is_room_again() {
    small_disk::alone("a_log_without_room_goes_on_as_soon_as_there_is_room_again", "64k", without_room);
}

/// Fills the rest of a file system.
fn fill(path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
}

async fn without_room(state: &Path) {
    let sealer = new_sealer().await;
    let audit = Audit::open(state, &sealer).await.unwrap();
    let filler = state.join("filler");
    let mut torn = 0;
    for _ in 0..3 {
        fill(&filler);
        // The last page has some room left; one entry does not fit, or not wholly.
        let mut written = 0;
        let refused = loop {
            match audit.record(pin_set()).await {
                Ok(number) => written = number,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AuditError::File { .. }), "{refused:?}");
        let log = fs::read(state.join("audit.jsonl")).unwrap();
        torn += usize::from(!log.ends_with(b"\n"));
        assert!(
            matches!(audit.record(pin_set()).await, Err(AuditError::File { .. })),
            "there is no room yet"
        );
        fs::remove_file(&filler).unwrap();
        let number = audit.record(pin_set()).await.unwrap();
        assert!(number > written, "{number} after {written}");
        let entries = audit.list(number - 1, 2).await.unwrap();
        assert_eq!(
            entries.iter().map(|entry| entry.act.as_str()).collect::<Vec<_>>(),
            ["log-repaired", "pin-set"]
        );
        assert_eq!(audit.verify().await.unwrap().entries, number);
    }
    assert!(torn > 0, "no entry was ever cut in the middle");
    audit.checkpoint().await.unwrap();
    let verified = audit.verify().await.unwrap();
    drop(audit);
    assert_eq!(verify_offline(state), (verified.entries, verified.checkpoints, verified.head.clone()));
    assert_eq!(Audit::open(state, &sealer).await.unwrap().verify().await.unwrap(), verified);
}
