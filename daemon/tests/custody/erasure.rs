//! Whose data an erasure takes, and what must be over before.

use cnsd::custody::{CustodyError, PukKind};
use serde_json::{Value, json};

use super::upkeep::{HOLDER, SECOND, keep_request};
use super::{CARD, Daemon, HEADER_CARDS, card_line, import_lines, name, stocked};

const CHILD: &str = "RSSLCU15A01H501W";

/// A procedure, as the counter writes it down.
async fn keep_procedure(daemon: &Daemon, id: &str, card: &str, state: &str, document: &str) {
    sqlx::query(
        "INSERT INTO procedures (id, card, operator, state, document, started, changed) \
         VALUES ($1, $2, 'op1', $3, $4, '2026-11-29T10:00:00.000Z', '2026-11-29T10:00:00.000Z')",
    )
    .bind(id)
    .bind(card)
    .bind(state)
    .bind(document)
    .execute(daemon.database.pool())
    .await
    .unwrap();
}

async fn documents(daemon: &Daemon) -> Vec<(String, String)> {
    let query = "SELECT id, document FROM procedures ORDER BY id";
    sqlx::query_as(query).fetch_all(daemon.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_parent_who_is_erased_takes_nothing_of_the_childs_along() {
    let daemon = stocked().await;
    let custody = &daemon.custody;
    let child = card_line(SECOND, "11223344").replace(HOLDER, CHILD);
    import_lines(custody, &[HEADER_CARDS, &child]).await.unwrap();
    let own = json!({ "holder": { "surname": "ROSSI", "codice_fiscale": HOLDER } });
    keep_procedure(&daemon, "own", CARD, "done", &own.to_string()).await;
    let acted = json!({
        "holder": { "surname": "ROSSI", "name": "LUCA", "codice_fiscale": CHILD },
        "representative": { "surname": "ROSSI", "name": "MARIO", "codice_fiscale": HOLDER, "number": "AX1234567" },
        "envelope": "123456782",
    });
    keep_procedure(&daemon, "acted", SECOND, "done", &acted.to_string()).await;
    keep_procedure(&daemon, "damaged", SECOND, "cancelled", &format!("{{\"{HOLDER}\"")).await;

    // While the child's procedure goes on, who acts in it is needed.
    keep_procedure(&daemon, "open", SECOND, "open", &acted.to_string()).await;
    let refused = custody.erase(HOLDER).await;
    assert!(
        matches!(&refused, Err(CustodyError::InProcedure { procedure }) if procedure == "open"),
        "{}",
        name(&refused)
    );
    assert_eq!(documents(&daemon).await.len(), 4, "nothing was changed");
    sqlx::query("DELETE FROM procedures WHERE id = 'open'").execute(daemon.database.pool()).await.unwrap();

    let erased = custody.erase(HOLDER).await.unwrap();
    assert_eq!((erased.cards, erased.procedures), (vec![CARD.to_owned()], 2));
    assert!(!custody.has_puk(CARD, PukKind::Cns).await.unwrap());
    assert!(custody.has_puk(SECOND, PukKind::Cns).await.unwrap(), "the child's card");
    let left = documents(&daemon).await;
    assert_eq!(left.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["acted"]);
    let document: Value = serde_json::from_str(&left[0].1).unwrap();
    assert_eq!((&document["holder"], &document["envelope"]), (&acted["holder"], &acted["envelope"]));
    for text in [HOLDER, "MARIO", "AX1234567"] {
        assert!(!left[0].1.contains(text), "{text} is still there");
    }
    // The child is erased like anybody.
    let erased = custody.erase(CHILD).await.unwrap();
    assert_eq!((erased.cards, erased.procedures), (vec![SECOND.to_owned()], 1));
}

#[tokio::test]
async fn a_request_that_has_no_answer_yet_is_not_dropped() {
    let daemon = stocked().await;
    for (direction, id) in [("out", "ours-3"), ("in", "theirs-3")] {
        keep_request(&daemon, direction, id, HOLDER).await;
        let stands = |state: &'static str| {
            let query = sqlx::query("UPDATE national_request SET state = $1 WHERE id = $2");
            query.bind(state).bind(id).execute(daemon.database.pool())
        };
        stands("queued").await.unwrap();
        let refused = daemon.custody.erase(HOLDER).await;
        assert!(
            matches!(&refused, Err(CustodyError::Waits { name, .. }) if name == id),
            "{}",
            name(&refused)
        );
        assert!(daemon.custody.has_puk(CARD, PukKind::Cns).await.unwrap(), "nothing was changed");
        let count = "SELECT COUNT(*) FROM national_request WHERE state = 'queued'";
        let (waiting,): (i64,) = sqlx::query_as(count).fetch_one(daemon.database.pool()).await.unwrap();
        assert_eq!(waiting, 1);
        stands("refused").await.unwrap();
    }
    // Another holder's keeps nobody's erasure up.
    keep_request(&daemon, "out", "ours-4", CHILD).await;
    let queue = "UPDATE national_request SET state = 'queued' WHERE id = 'ours-4'";
    sqlx::query(queue).execute(daemon.database.pool()).await.unwrap();
    assert_eq!(daemon.custody.erase(HOLDER).await.unwrap().cards, [CARD]);
    let left = "SELECT id FROM national_request";
    let left: Vec<(String,)> = sqlx::query_as(left).fetch_all(daemon.database.pool()).await.unwrap();
    assert_eq!(left, [("ours-4".to_owned(),)]);
}

/// An order for the card, as it is kept.
async fn keep_order(daemon: &Daemon, number: &str, card: &str, state: &str) {
    sqlx::query(
        "INSERT INTO sealed_order (signer, number, sha256, card, certificate_sha256, state, not_after, message, receipt, \
         accepted_at) VALUES ('cms', $1, $1, $2, 'c0ffee', $3, '2099-12-31T12:00:00Z', $4, $4, '2026-11-29T10:00:00.000Z')",
    )
    .bind(number)
    .bind(card)
    .bind(state)
    .bind(b"the order or its receipt".to_vec())
    .execute(daemon.database.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn of_orders_only_the_numbers_stay_and_one_that_is_not_over_is_waited_for() {
    type Row = (String, String, String, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    let daemon = stocked().await;
    for (number, card, state) in [("1", CARD, "accepted"), ("2", CARD, "done"), ("3", SECOND, "accepted")] {
        keep_order(&daemon, number, card, state).await;
    }
    keep_order(&daemon, "4", CARD, "begun").await;
    let refused = daemon.custody.erase(HOLDER).await;
    assert!(matches!(&refused, Err(CustodyError::Waits { name, .. }) if name == "4"), "{}", name(&refused));
    assert!(daemon.custody.has_puk(CARD, PukKind::Cns).await.unwrap(), "nothing was changed");
    sqlx::query("UPDATE sealed_order SET state = 'done' WHERE number = '4'")
        .execute(daemon.database.pool())
        .await
        .unwrap();
    assert_eq!(daemon.custody.erase(HOLDER).await.unwrap().cards, [CARD]);
    let query =
        "SELECT number, card, state, certificate_sha256, message, receipt FROM sealed_order ORDER BY number";
    let rows: Vec<Row> = sqlx::query_as(query).fetch_all(daemon.database.pool()).await.unwrap();
    let told = |(number, card, state, certificate, message, receipt): &Row| {
        let left = certificate.is_some() || message.is_some() || receipt.is_some();
        (number.clone(), card.clone(), state.clone(), left)
    };
    let expected = [
        ("1", "", "expired", false),
        ("2", "", "done", false),
        ("3", SECOND, "accepted", true),
        ("4", "", "done", false),
    ]
    .map(|(number, card, state, left)| (number.to_owned(), card.to_owned(), state.to_owned(), left));
    assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn an_import_that_is_not_finished_does_not_bring_an_erased_holder_back() {
    let daemon = stocked().await;
    for statement in [
        "INSERT INTO import_file (id, digest, state, records, started_at) VALUES (7, 'd1', 'staging', 0, '2026-11-29T10:00:00.000Z')",
        "INSERT INTO import_card (import_id, line, serial, codice_fiscale, sealed) VALUES (7, 2, '6999000000009999', \
         'RSSMRA80A01H501U', '')",
    ] {
        sqlx::query(statement).execute(daemon.database.pool()).await.unwrap();
    }
    let refused = daemon.custody.erase(HOLDER).await;
    assert!(matches!(&refused, Err(CustodyError::Waits { name, .. }) if name == "d1"), "{}", name(&refused));
    sqlx::query("DELETE FROM import_card").execute(daemon.database.pool()).await.unwrap();
    daemon.custody.erase(HOLDER).await.unwrap();
}
