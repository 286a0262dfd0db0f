//! A log on a file system without room.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use cnsd::audit::{Audit, AuditError};
use cnsd_test_support::small_disk;

use super::{new_sealer, pin_set, verify_offline};

#[test]
fn a_log_without_room_goes_on_as_soon_as_there_is_room_again() {
    small_disk::alone("full::a_log_without_room_goes_on_as_soon_as_there_is_room_again", "64k", without_room);
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
