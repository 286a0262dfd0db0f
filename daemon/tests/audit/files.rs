//! A log in several files.

use std::fs;

use cns_protocol::audit::{ChainError, ChainVerifier, Entry};
use cnsd::audit::{Audit, AuditError};

use super::{State, pin_set};

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
