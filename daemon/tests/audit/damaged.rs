//! A log or a key that was torn, changed, removed: the start stops, or mends what a power cut left.

use std::fs::{self, OpenOptions};
use std::io::Write;

use cns_protocol::audit::{ChainError, Entry};
use cnsd::audit::AuditError;
use cnsd::custody::CustodyError;

use super::{State, pin_set};

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
async fn an_endless_line_stops_the_start() {
    let state = State::new().await;
    drop(state.open().await.unwrap());
    let mut log = OpenOptions::new().append(true).open(state.path("audit.jsonl")).unwrap();
    log.write_all(&vec![b'x'; 200_000]).unwrap();
    assert!(matches!(state.open().await, Err(AuditError::Broken(ChainError::Unreadable { line: 3, .. }))));
}
