//! Taking a person who acted for others (§6.4) out of what is the others'.

use serde_json::Value;
use sqlx::{Any, Transaction};

use super::{named, run};
use crate::custody::error::CustodyError;
use crate::custody::seal::{RecordName, Sealer};
use cns_secret::Secret;

/// Requests to other regions for a card. Which belongs to which procedure is not told of one that was refused.
const REQUESTS: &str = "SELECT id, document FROM national_request WHERE direction = 'out' AND card = $1";

/// Papers that are kept sealed. All of them are opened, a few at a time, because what is sealed cannot be searched.
struct Papers {
    table: &'static str,
    /// What names the record in its seal.
    key: &'static str,
}

const PAPERS: [Papers; 2] = [
    Papers { table: "standing_request", key: "id" },
    Papers { table: "national_request", key: "direction || '/' || id" },
];

/// How many are read at a time.
const BATCH: usize = 500;

/// Takes the holder out of the procedures of others for whom they acted; the rest of those is the others'. One that
/// cannot be read is of no use to anybody and goes as a whole. Gives the number of those.
pub(super) async fn forget_representative(
    transaction: &mut Transaction<'_, Any>,
    codice_fiscale: &str,
) -> Result<u64, CustodyError> {
    let mut gone = 0;
    for found in named(transaction, codice_fiscale).await? {
        if !found.is_over {
            return Err(CustodyError::InProcedure { procedure: found.id });
        }
        let acted = found.has("/representative/codice_fiscale", codice_fiscale);
        let Some(mut document) = found.document else {
            let deleted = run(transaction, "DELETE FROM procedures WHERE id = $1", &found.id).await?;
            gone = deleted.saturating_add(gone);
            continue;
        };
        if !acted {
            continue;
        }
        take(&mut document, "", "representative");
        // The address that somebody gave at the counter is theirs as far as anybody knows.
        let email = take(&mut document, "/national_request", "email");
        sqlx::query("UPDATE procedures SET document = $2, revision = revision + 1 WHERE id = $1")
            .bind(&found.id)
            .bind(document.to_string())
            .execute(&mut **transaction)
            .await?;
        if let Some(email) = email {
            forget_address(transaction, &found.card, &email).await?;
        }
    }
    Ok(gone)
}

/// Takes an address out of the requests to other regions for a card.
async fn forget_address(
    transaction: &mut Transaction<'_, Any>,
    card: &str,
    email: &Value,
) -> Result<(), CustodyError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(REQUESTS).bind(card).fetch_all(&mut **transaction).await?;
    for (id, document) in rows {
        let Ok(mut document) = serde_json::from_str::<Value>(&document) else { continue };
        if document.get("email") != Some(email) {
            continue;
        }
        take(&mut document, "", "email");
        sqlx::query("UPDATE national_request SET document = $2 WHERE direction = 'out' AND id = $1")
            .bind(&id)
            .bind(document.to_string())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Takes the holder out of the papers of others' requests about their certificates and cards.
pub(super) async fn forget_in_papers(
    transaction: &mut Transaction<'_, Any>,
    sealer: &Sealer,
    codice_fiscale: &str,
) -> Result<(), CustodyError> {
    for Papers { table, key } in PAPERS {
        let select = format!(
            "SELECT {key} AS name, sealed FROM {table} WHERE {key} > $1 AND sealed IS NOT NULL ORDER BY name LIMIT {BATCH}"
        );
        let update = format!("UPDATE {table} SET sealed = $2 WHERE {key} = $1");
        let mut after = String::new();
        loop {
            let rows: Vec<(String, Vec<u8>)> =
                sqlx::query_as(&select).bind(&after).fetch_all(&mut **transaction).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            for (key, sealed) in rows {
                let name = RecordName { table, column: "sealed", key: &key };
                let Some(papers) = without(sealer, name, &sealed, codice_fiscale)? else { continue };
                sqlx::query(&update).bind(&key).bind(papers).execute(&mut **transaction).await?;
            }
        }
    }
    Ok(())
}

/// Papers without the person, sealed again; nothing where they do not name them.
fn without(
    sealer: &Sealer,
    name: RecordName<'_>,
    sealed: &[u8],
    codice_fiscale: &str,
) -> Result<Option<Vec<u8>>, CustodyError> {
    let opened = match sealer.open(name, sealed) {
        Ok(opened) => opened,
        // Nobody can read it, whoever is in it; it must not keep everybody from being erased.
        Err(CustodyError::Tampered { record }) => {
            tracing::error!(record, "the record does not open and is left as it is");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let tampered = || CustodyError::Tampered { record: name.to_string() };
    let mut papers: Value = serde_json::from_slice(opened.expose()).map_err(|_| tampered())?;
    let who = papers.pointer("/identified/representative/codice_fiscale").and_then(Value::as_str);
    if !who.is_some_and(|who| who.eq_ignore_ascii_case(codice_fiscale)) {
        return Ok(None);
    }
    take(&mut papers, "/identified", "representative");
    let text = serde_json::to_vec(&papers).map_err(|_| tampered())?;
    Ok(Some(sealer.seal(name, &Secret::copy_from(&text)?)?))
}

/// Takes a member out of an object, and gives it.
fn take(document: &mut Value, place: &str, member: &str) -> Option<Value> {
    document.pointer_mut(place)?.as_object_mut()?.remove(member)
}
