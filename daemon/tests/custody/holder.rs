//! User codes as the web area and the call centre ask about them: known, wrong, unknown; counted, also over a restart.

use std::time::{Duration, Instant};

use cns_secret::Secret;
use cnsd::config::UserCodesConfig;
use cnsd::holder::{Attempt, Holders};
use time::OffsetDateTime;

use super::{CARD, CODES, Daemon, open, stocked};

const HOLDER: &str = "RSSMRA80A01H501U";
const NOBODY: &str = "VRDLGU80A01H501Q";
/// The user code of every envelope here.
const RIGHT: &[u8] = b"4711081547";
const WEB: u32 = 1001;

/// A card whose first envelope was handed over.
async fn activated() -> Daemon {
    let daemon = stocked().await;
    let custody = &daemon.custody;
    custody.reserve(CODES[0], "op1", "procedure-1", CARD).await.unwrap();
    custody.mark_used(CODES[0], "procedure-1").await.unwrap();
    custody.consume("procedure-1").await.unwrap();
    daemon
}

fn holders(daemon: &Daemon) -> Holders {
    let config = UserCodesConfig { attempts: 3, lock_minutes: 60, peer_attempts_per_hour: 8 };
    Holders::open(&daemon.database, &daemon.custody, &config)
}

async fn ask(holders: &Holders, peer: u32, holder: &str, code: &[u8], minutes: i64) -> Attempt {
    let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + time::Duration::minutes(minutes);
    holders.verify_at(peer, holder, Secret::copy_from(code).unwrap(), now).await.unwrap()
}

fn matches() -> Attempt {
    Attempt::Matches { card: CARD.to_owned() }
}

#[tokio::test]
async fn a_user_code_is_right_wrong_or_locked_and_a_restart_forgets_nothing() {
    let daemon = activated().await;
    let judge = holders(&daemon);
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 0).await, matches());
    assert_eq!(ask(&judge, WEB, &HOLDER.to_lowercase(), RIGHT, 0).await, matches());
    for wrong in [b"4711081548".as_slice(), b"", &[b'4'; 64]] {
        assert_eq!(ask(&judge, WEB, HOLDER, wrong, 1).await, Attempt::Refused);
    }
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 2).await, Attempt::Locked, "three wrong ones");
    daemon.database.close().await;
    let (database, custody) = open(daemon.folder.path()).await.unwrap();
    let daemon = Daemon { database, custody, ..daemon };
    let judge = holders(&daemon);
    assert_eq!(ask(&judge, WEB + 1, HOLDER, RIGHT, 59).await, Attempt::Locked, "from whatever peer");
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 62).await, matches(), "the lock is over");
    assert_eq!(ask(&judge, WEB, HOLDER, b"4711081548", 62).await, Attempt::Refused);
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 62).await, matches(), "a right one takes wrong ones back");
}

#[tokio::test]
async fn a_holder_whom_nobody_knows_is_answered_as_a_wrong_code_is() {
    let daemon = activated().await;
    let judge = holders(&daemon);
    for holder in [HOLDER, NOBODY] {
        for expected in [Attempt::Refused, Attempt::Refused, Attempt::Refused, Attempt::Locked] {
            assert_eq!(ask(&judge, WEB, holder, b"4711081548", 0).await, expected, "{holder}");
        }
    }
    // Locked is told after the same time as well.
    for (holder, code) in [(HOLDER, RIGHT), (NOBODY, RIGHT), (HOLDER, b"4711081548")] {
        let begun = Instant::now();
        judge.verify(WEB + 1, holder, Secret::copy_from(code).unwrap()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
}

#[tokio::test]
async fn a_peer_that_guesses_is_locked_out_and_others_are_not() {
    let daemon = activated().await;
    let judge = holders(&daemon);
    for number in 0..8 {
        let holder = format!("VRDLGU80A01H50{number:02}");
        assert_eq!(ask(&judge, WEB, &holder, RIGHT, 0).await, Attempt::Refused);
    }
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 1).await, Attempt::Locked);
    assert_eq!(ask(&judge, WEB + 1, HOLDER, RIGHT, 1).await, matches());
    assert_eq!(ask(&judge, WEB, HOLDER, RIGHT, 61).await, matches());
}

#[tokio::test]
async fn the_database_has_neither_code_nor_holder_of_an_attempt_and_a_hard_hash() {
    let daemon = activated().await;
    let judge = holders(&daemon);
    assert_eq!(ask(&judge, WEB, NOBODY, b"1234567890", 0).await, Attempt::Refused);
    let pool = daemon.database.pool();
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT subject FROM user_code_attempt").fetch_all(pool).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|(subject,)| !subject.contains(NOBODY)), "{rows:?}");
    let verifiers: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT state, user_code_verifier FROM envelope").fetch_all(pool).await.unwrap();
    for (state, verifier) in verifiers {
        assert_eq!(verifier.len(), if state == "used" { 33 } else { 32 }, "{state}");
    }
    // An older program's verifier is good as well.
    sqlx::query("UPDATE user_code_attempt SET since = 0, locked_until = 0").execute(pool).await.unwrap();
    judge.forget_old(OffsetDateTime::now_utc()).await.unwrap();
    let (left,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM user_code_attempt").fetch_one(pool).await.unwrap();
    assert_eq!(left, 0);
}
