//! The audit log on a real folder: what is appended is there, what is changed is seen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod damaged;
mod files;
mod full;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use cns_protocol::audit::{ChainVerifier, Entry, Phase};
use cnsd::audit::{Audit, AuditError, Record};
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, Sealer};
use cnsd::database::Database;
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
