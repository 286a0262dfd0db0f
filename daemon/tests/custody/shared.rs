//! Two daemons on one database: what starts together, what wants the same envelope.

use std::collections::HashSet;
use std::fs;

use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, CustodyError, PukKind, Unavailable};
use cnsd::database::Database;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{CARD, CODES, Daemon, HEADER_CARDS, card_line, database, import_lines, name, stocked};

/// A second daemon on the database of `first`, with a state folder of its own and a copy of the key file.
pub(super) async fn beside(first: &Daemon) -> (TempDir, Custody) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(first.folder.path().join("custody.key"), folder.path().join("custody.key")).unwrap();
    let database = Database::open(&address(first), folder.path()).await.unwrap();
    let custody = Custody::open(&database, &CustodyConfig::default(), folder.path()).await.unwrap();
    (folder, custody)
}

/// The address of a daemon's database, seen from another state folder.
fn address(daemon: &Daemon) -> String {
    absolute(daemon.folder.path())
}

pub(super) fn absolute(state: &std::path::Path) -> String {
    match database::address(state).strip_prefix("sqlite:") {
        Some(file) => format!("sqlite:{}", state.join(file).display()),
        None => database::address(state),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_never_give_the_same_envelope_twice() {
    let first = stocked().await;
    let (_folder, second) = beside(&first).await;
    for code in &CODES[..2] {
        let mut racers = JoinSet::new();
        for number in 0..40 {
            let custody = if number % 2 == 0 { &first.custody } else { &second }.clone();
            racers.spawn(async move {
                let procedure = format!("p{number}");
                custody.reserve(code, "op1", &procedure, CARD).await.map(|()| procedure)
            });
        }
        let mut winners = Vec::new();
        while let Some(result) = racers.join_next().await {
            match result.unwrap() {
                Ok(procedure) => winners.push(procedure),
                Err(CustodyError::EnvelopeUnavailable { reason, .. }) => {
                    assert_eq!(reason, Unavailable::OtherProcedure);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        // Both daemons know whose it is.
        for custody in [&first.custody, &second] {
            let pin = custody.envelope_pin(code, &winners[0]).await.unwrap();
            assert_eq!(pin.lend(|pin| pin.expose().to_vec()), b"13579");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_with_the_same_envelopes_do_not_wait_for_each_other() {
    let first = stocked().await;
    let (_folder, second) = beside(&first).await;
    let mut forward: Vec<String> = CODES[..3].iter().map(ToString::to_string).collect();
    for _ in 0..20 {
        forward.reverse();
        let mut backward = forward.clone();
        backward.reverse();
        let (one, other) =
            tokio::join!(first.custody.assign("op1", &forward), second.assign("op1", &backward));
        one.unwrap();
        other.unwrap();
    }
    assert_eq!(second.stock().await.unwrap().assigned, 3);
}

/// Both find an empty database: one makes schema and keys, the other takes them.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_start_together_end_with_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let url = absolute(folder.path());
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        // One key file for all, as a network file system or an administrator would provide.
        let (url, state) = (url.clone(), folder.path().to_owned());
        starts.spawn(async move {
            let database = Database::open(&url, &state).await?;
            Custody::open(&database, &CustodyConfig::default(), &state).await
        });
    }
    let mut daemons = Vec::new();
    while let Some(started) = starts.join_next().await {
        daemons.push(started.unwrap().unwrap_or_else(|error| panic!("{error:?}")));
    }
    let certificates: HashSet<_> = daemons.iter().map(Custody::import_certificate_pem).collect();
    assert_eq!(certificates.len(), 1, "one import key");
    import_lines(&daemons[0], &[HEADER_CARDS, &card_line(CARD, "24681357")]).await.unwrap();
    for custody in &daemons {
        let puk = custody.puk(CARD, PukKind::Cns).await.unwrap();
        assert_eq!(puk.lend(|puk| puk.expose().to_vec()), b"24681357");
    }
}

/// A key file of its own would seal what the others cannot open.
#[tokio::test]
async fn a_daemon_without_the_key_file_does_not_start_and_makes_none() {
    let first = stocked().await;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&address(&first), folder.path()).await.unwrap();
    let refused = Custody::open(&database, &CustodyConfig::default(), folder.path()).await;
    assert!(matches!(refused, Err(CustodyError::KeyFileMissing { .. })), "{}", name(&refused));
    assert!(!folder.path().join("custody.key").exists());
}
