//! Forgetting a holder (Regulation (EU) 2016/679, article 17).

mod acted;

use std::collections::BTreeSet;

use cns_protocol::custody::Erased;
use serde_json::Value;
use sqlx::{Any, Transaction};

use self::acted::{forget_in_papers, forget_representative};
use crate::custody::data_key::DataKeys;
use crate::custody::error::CustodyError;
use crate::database::{Database, now};

/// Second parts for the mail, which only come with requests of other regions'.
const NATIONAL_MAIL: &str = "DELETE FROM national_mail WHERE id IN \
    (SELECT id FROM national_request WHERE direction = 'in' AND document LIKE $1)";

/// Requests to and from other regions, whatever became of them.
const NATIONAL_REQUESTS: &str = "DELETE FROM national_request WHERE document LIKE $1";

/// The orders for a card, of which their numbers stay: none comes twice. One that was not carried out yet never is.
const ORDERS: &str = "UPDATE sealed_order SET card = '', certificate_sha256 = NULL, message = NULL, receipt = NULL, \
    state = CASE state WHEN 'accepted' THEN 'expired' ELSE state END, ended_at = COALESCE(ended_at, $2) \
    WHERE card = $1";

/// Erases what is kept of a holder, all of it or nothing; `tag` is what stands for them where the codice fiscale does not.
pub(super) async fn erase(
    database: &Database,
    keys: &DataKeys,
    codice_fiscale: &str,
    tag: &str,
) -> Result<Erased, CustodyError> {
    if codice_fiscale.len() != 16 || !codice_fiscale.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(CustodyError::Invalid("the codice fiscale"));
    }
    // What is sealed is opened below, also what another daemon has sealed under a new key.
    keys.reload().await?;
    let mut transaction = database.alone().await?;
    refuse_waiting(&mut transaction, codice_fiscale).await?;
    refuse_staged(&mut transaction, codice_fiscale).await?;
    let cards = cards_of(&mut transaction, codice_fiscale, tag).await?;
    for card in &cards {
        refuse_open(&mut transaction, card).await?;
    }
    let mut erased = Erased { cards: cards.iter().cloned().collect(), ..Erased::default() };
    for card in &cards {
        erased.envelopes = erased.envelopes.saturating_add(forget_envelopes(&mut transaction, card).await?);
        let procedures = "DELETE FROM procedures WHERE card = $1";
        erased.procedures = erased.procedures.saturating_add(run(&mut transaction, procedures, card).await?);
        forget_certificates(&mut transaction, card).await?;
        sqlx::query(ORDERS).bind(card).bind(now()).execute(&mut *transaction).await?;
        run(&mut transaction, "DELETE FROM reader_request WHERE card = $1", card).await?;
        run(&mut transaction, "DELETE FROM puk WHERE serial = $1", card).await?;
        run(&mut transaction, "DELETE FROM card WHERE serial = $1", card).await?;
    }
    let left = forget_representative(&mut transaction, codice_fiscale).await?;
    erased.procedures = erased.procedures.saturating_add(left);
    forget_in_papers(&mut transaction, keys.sealer(), codice_fiscale).await?;
    for sql in [NATIONAL_MAIL, NATIONAL_REQUESTS] {
        run(&mut transaction, sql, &naming(codice_fiscale)).await?;
    }
    let attempts = format!("holder/{tag}");
    run(&mut transaction, "DELETE FROM user_code_attempt WHERE subject = $1", &attempts).await?;
    transaction.commit().await?;
    Ok(erased)
}

/// What JSON is like that has this codice fiscale as a value.
fn naming(codice_fiscale: &str) -> String {
    format!("%\"{codice_fiscale}\"%")
}

/// A procedure's document that names the codice fiscale, whoever that is in it.
struct Named {
    id: String,
    card: String,
    /// Whether it is over, custody has followed, and nothing of it is under way.
    is_over: bool,
    /// Nothing where it cannot be read.
    document: Option<Value>,
}

impl Named {
    fn is_of_holder(&self, codice_fiscale: &str) -> bool {
        self.has("/holder/codice_fiscale", codice_fiscale)
    }

    fn has(&self, place: &str, codice_fiscale: &str) -> bool {
        let found = self.document.as_ref().and_then(|document| document.pointer(place));
        found.and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(codice_fiscale))
    }
}

async fn named(
    transaction: &mut Transaction<'_, Any>,
    codice_fiscale: &str,
) -> Result<Vec<Named>, CustodyError> {
    let rows: Vec<(String, String, String, Option<String>, String)> =
        sqlx::query_as("SELECT id, card, state, intent, document FROM procedures WHERE document LIKE $1")
            .bind(naming(codice_fiscale))
            .fetch_all(&mut **transaction)
            .await?;
    let read =
        |(id, card, state, intent, document): (String, String, String, Option<String>, String)| Named {
            id,
            card,
            is_over: intent.is_none() && !["open", "unsettled"].contains(&state.as_str()),
            document: serde_json::from_str(&document).ok(),
        };
    Ok(rows.into_iter().map(read).collect())
}

/// The holder's cards: as the manufacturer's file has told, and as the cards themselves have in procedures and by their
/// certificates. Those of others, for whom the holder acted (§6.4), are not.
async fn cards_of(
    transaction: &mut Transaction<'_, Any>,
    codice_fiscale: &str,
    tag: &str,
) -> Result<BTreeSet<String>, CustodyError> {
    let imported: Vec<(String,)> = sqlx::query_as("SELECT serial FROM card WHERE codice_fiscale = $1")
        .bind(codice_fiscale)
        .fetch_all(&mut **transaction)
        .await?;
    let seen = named(transaction, codice_fiscale).await?;
    let seen = seen.into_iter().filter(|named| named.is_of_holder(codice_fiscale)).map(|named| (named.card,));
    let noted: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT card FROM card_certificate WHERE holder = $1")
            .bind(tag)
            .fetch_all(&mut **transaction)
            .await?;
    Ok(imported.into_iter().chain(seen).chain(noted).map(|(card,)| card).collect())
}

/// A request to or from another region that has no answer yet is not dropped: somebody waits for it.
async fn refuse_waiting(
    transaction: &mut Transaction<'_, Any>,
    codice_fiscale: &str,
) -> Result<(), CustodyError> {
    let waiting: Option<(String,)> =
        sqlx::query_as("SELECT id FROM national_request WHERE state = 'queued' AND document LIKE $1")
            .bind(naming(codice_fiscale))
            .fetch_optional(&mut **transaction)
            .await?;
    match waiting {
        Some((name,)) => Err(CustodyError::Waits { what: "the request to or from another region", name }),
        None => Ok(()),
    }
}

/// An import that was not finished would bring the holder back.
async fn refuse_staged(
    transaction: &mut Transaction<'_, Any>,
    codice_fiscale: &str,
) -> Result<(), CustodyError> {
    let staged: Option<(String,)> = sqlx::query_as(
        "SELECT digest FROM import_card JOIN import_file ON import_file.id = import_id \
         WHERE codice_fiscale = $1 AND state = 'staging' LIMIT 1",
    )
    .bind(codice_fiscale)
    .fetch_optional(&mut **transaction)
    .await?;
    match staged {
        Some((name,)) => Err(CustodyError::Waits { what: "the import of file", name }),
        None => Ok(()),
    }
}

async fn refuse_open(transaction: &mut Transaction<'_, Any>, card: &str) -> Result<(), CustodyError> {
    let open: Option<(String,)> = sqlx::query_as(
        "SELECT id FROM procedures WHERE card = $1 AND (state IN ('open', 'unsettled') OR intent IS NOT NULL)",
    )
    .bind(card)
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some((procedure,)) = open {
        return Err(CustodyError::InProcedure { procedure });
    }
    // What the authority was not told yet is not forgotten.
    let untold: Option<(String,)> = sqlx::query_as(
        "SELECT request FROM standing_change JOIN card_certificate ON \
         card_certificate.sha256 = standing_change.sha256 WHERE card = $1 AND state = 'open'",
    )
    .bind(card)
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some((procedure,)) = untold {
        return Err(CustodyError::InProcedure { procedure });
    }
    // Its codes may be on the card or not: the order's end tells.
    let begun: Option<(String,)> =
        sqlx::query_as("SELECT number FROM sealed_order WHERE card = $1 AND state = 'begun'")
            .bind(card)
            .fetch_optional(&mut **transaction)
            .await?;
    match begun {
        Some((name,)) => Err(CustodyError::Waits { what: "order", name }),
        None => Ok(()),
    }
}

/// The card's certificates, and what was asked for them by whom.
async fn forget_certificates(transaction: &mut Transaction<'_, Any>, card: &str) -> Result<(), CustodyError> {
    let changes =
        "DELETE FROM standing_change WHERE sha256 IN (SELECT sha256 FROM card_certificate WHERE card = $1)";
    let told =
        "DELETE FROM ocsp_out_of_force WHERE sha256 IN (SELECT sha256 FROM card_certificate WHERE card = $1)";
    run(transaction, changes, card).await?;
    run(transaction, told, card).await?;
    run(transaction, "DELETE FROM standing_request WHERE card = $1", card).await?;
    run(transaction, "DELETE FROM card_certificate WHERE card = $1", card).await?;
    Ok(())
}

async fn forget_envelopes(transaction: &mut Transaction<'_, Any>, card: &str) -> Result<u64, CustodyError> {
    let changed = sqlx::query(
        "UPDATE envelope SET sealed_pin = NULL, user_code_salt = $2, user_code_verifier = $2, \
         procedure_id = NULL, card_serial = NULL WHERE card_serial = $1 AND state IN ('used', 'void')",
    )
    .bind(card)
    .bind(Vec::<u8>::new())
    .execute(&mut **transaction)
    .await?;
    Ok(changed.rows_affected())
}

async fn run(
    transaction: &mut Transaction<'_, Any>,
    sql: &'static str,
    key: &str,
) -> Result<u64, CustodyError> {
    Ok(sqlx::query(sql).bind(key).execute(&mut **transaction).await?.rows_affected())
}
