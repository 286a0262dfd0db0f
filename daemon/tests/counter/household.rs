//! X17: one free reader for each household, by a key that the issuing body chooses.

use std::collections::BTreeMap;

use cns_protocol::counter::{Answer, Case, FieldValue, Next, Procedure, ProcedureState};
use cnsd::config::{CounterConfig, SignatureAreaConfig};
use cnsd::procedure::ProcedureError;

use crate::rig::Rig;

const KEY: &str = "codice del nucleo familiare";

/// A procedure at the step where a reader is asked for.
async fn at_reader(rig: &Rig, case: Case, code: &str) -> Procedure {
    let started = rig.start(case).await.unwrap();
    rig.until(started, code, "§9.3.2-10").await
}

fn values(wanted: bool, household: Option<FieldValue>) -> Answer {
    let household = household.map(|household| ("household".to_owned(), household));
    let wanted = ("wanted".to_owned(), FieldValue::Flag(wanted));
    Answer::Fields([wanted].into_iter().chain(household).collect::<BTreeMap<_, _>>())
}

fn of(household: &str) -> Answer {
    values(true, Some(FieldValue::Text(household.to_owned())))
}

fn was_told(procedure: &Procedure) -> bool {
    procedure.warnings.iter().any(|warning| warning.contains("by this household before"))
}

async fn document(rig: &Rig, procedure: &Procedure) -> String {
    let query = "SELECT document FROM procedures WHERE id = $1";
    let row = sqlx::query_as::<_, (String,)>(query).bind(&procedure.id);
    row.fetch_one(rig.rooms().database.pool()).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_that_has_asked_for_a_reader_before_is_told_of() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let procedures = rig.rooms().procedures.clone();
    let counter = CounterConfig { household_key: KEY.to_owned(), ..CounterConfig::default() };
    procedures.configure(counter, SignatureAreaConfig::default());
    let ready = at_reader(&rig, Case::Standard, &rig.codes[0]).await;
    let question = procedures.next(&Next { procedure: ready.id.clone() }).await.unwrap();
    let field = question.fields.iter().find(|field| field.name == "household").unwrap();
    assert_eq!((field.text_it.as_str(), field.optional, field.secret), (KEY, true, false));
    for wrong in [FieldValue::Flag(true), FieldValue::Text("x".repeat(65))] {
        let refused = rig.answer(&ready, values(true, Some(wrong))).await.unwrap_err();
        assert!(matches!(refused, ProcedureError::FieldInvalid { .. }), "{refused:?}");
    }
    let asked = rig.answer(&ready, of(" nf 4711 ")).await.unwrap();
    assert!(!was_told(&asked), "{:?}", asked.warnings);
    assert!(document(&rig, &asked).await.contains(r#""household":"nf 4711""#));
    rig.until(asked, "", "").await;

    // Another household, none, and one that wants no reader.
    for (answer, code) in [
        (of("NF 4712"), 1),
        (values(true, None), 2),
        (values(false, Some(FieldValue::Text("NF4711".to_owned()))), 3),
    ] {
        let ready = at_reader(&rig, Case::NewCodes, &rig.codes[code]).await;
        let asked = rig.answer(&ready, answer).await.unwrap();
        assert!(!was_told(&asked), "{:?}", asked.warnings);
        rig.until(asked, "", "").await;
    }
    // The same one, however it is written: the operator is told, and decides.
    let ready = at_reader(&rig, Case::NewCodes, &rig.codes[4]).await;
    let asked = rig.answer(&ready, of("NF4711")).await.unwrap();
    assert!(was_told(&asked), "{:?}", asked.warnings);
    assert_eq!(rig.until(asked, "", "").await.state, ProcedureState::Done);
    let tags: Vec<(String,)> = sqlx::query_as("SELECT household FROM reader_request")
        .fetch_all(rig.rooms().database.pool())
        .await
        .unwrap();
    assert_eq!(tags.len(), 3);
    assert!(tags.iter().all(|(tag,)| tag.len() == 64 && !tag.contains("4711")), "{tags:?}");
    // Whoever is erased is no household's any more.
    rig.rooms().custody.erase("RSSMRA80A01H501U").await.unwrap();
    let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM reader_request")
        .fetch_one(rig.rooms().database.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_household_is_asked_for_by_default() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let ready = at_reader(&rig, Case::Standard, &rig.codes[0]).await;
    let question = rig.rooms().procedures.next(&Next { procedure: ready.id.clone() }).await.unwrap();
    assert!(question.fields.iter().all(|field| field.name != "household"));
    let refused = rig.answer(&ready, of("NF4711")).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::FieldUnknown), "{refused:?}");
    rig.answer(&ready, values(true, None)).await.unwrap();
}
