//! What is left of a person after `custody.erase`: the whole database is searched, and every sealed record opened.

use std::fs;

use cns_protocol::Role;
use cns_protocol::certificate::{Act, ChangeRequest, Channel, Identified};
use cns_protocol::counter::{
    Answer, Applicant, Case, Procedure, ProcedureState, Reason, Representative, Wants,
};
use cns_protocol::national::{Ask, Request, RequestKind, RevocationReason};
use cns_virtual_card::sample;
use cnsd::config::UserCodesConfig;
use cnsd::custody::{PukKind, RecordName};
use cnsd::holder::Holders;
use cnsd::standing::desk::{Caller, Desk};

use crate::database;
use crate::rig::answers::{report, representative, usual_answer};
use crate::rig::{Rig, UID, session};

const HOLDER: &str = "RSSMRA80A01H501U";
/// What is known of who acts for the holder.
const ACTING: [&str; 5] = ["VRDLCU80A01H501G", "Verdi", "\"Luca\"", "UT7766554X", "mario@example.it"];
/// What is known of the holder.
const OWN: [&str; 6] = [HOLDER, "ROSSI", "MARIO", "CA12345AA", sample::ID_CARD, TOLD];
/// Stands for what a responder told of the holder's certificate.
const TOLD: &str = "what OCSP told";

/// Every column of sealed records that tell of people, with what names the record in its seal.
const SEALED: [(&str, &str, &str); 6] = [
    ("card_certificate", "sealed", "sha256"),
    ("envelope", "sealed_pin", "code"),
    ("national_mail", "sealed", "id"),
    ("national_request", "sealed", "direction || '/' || id"),
    ("puk", "sealed", "serial || '/' || kind"),
    ("standing_request", "sealed", "id"),
];
/// The others: keys, and lines of files that are not in custody yet.
const OTHERS: [&str; 4] = ["daemon_secret", "data_key", "import_card", "import_envelope"];

fn acting() -> Representative {
    Representative { number: "UT7766554X".to_owned(), ..representative() }
}

/// Somebody who acts for the holder has a case done to its end.
async fn acted(rig: &Rig, case: Case, applicant: Applicant, code: &str) -> Procedure {
    let mut procedure = rig.start(case).await.unwrap();
    while let Some(step) = procedure.next.clone() {
        let answer = if step.wants == Wants::Applicant {
            Answer::Applicant(applicant)
        } else if step.wants == Wants::Representative {
            Answer::Representative(acting())
        } else {
            usual_answer(&step, code, false)
        };
        procedure = rig.answer(&procedure, answer).await.unwrap();
    }
    assert_eq!(procedure.state, ProcedureState::Done, "{case:?}");
    procedure
}

/// The holder's guardian, as identified at a counter where the card is not.
fn guardian() -> Identified {
    Identified {
        applicant: Applicant::Guardian,
        document: None,
        representative: Some(acting()),
        declaration: true,
        evidence: None,
    }
}

/// They have another region revoke a card that was lost.
async fn revoked_elsewhere(rig: &Rig) {
    let request = Request {
        kind: RequestKind::Revocation,
        card: sample::ID_CARD.to_owned(),
        codice_fiscale: HOLDER.to_owned(),
        email: None,
        delegate: false,
        reason: Some(RevocationReason::LossOrTheft),
    };
    let national = rig.rooms().national.as_ref().unwrap();
    let asked = Ask { request, identified: guardian(), paper: Some(report()) };
    national.request(UID, &session("op1"), asked).await.unwrap();
    national.work().await.unwrap();
}

/// They come to the counter without the card.
async fn suspended_without_the_card(rig: &Rig) {
    let rooms = rig.rooms();
    let holders = Holders::open(&rooms.database, &rooms.custody, &UserCodesConfig::default());
    let desk = Desk { standings: rooms.procedures.standings(), holders: &holders, readers: &rooms.readers };
    let session = session("op1");
    let caller = Caller { user: UID, roles: &[Role::Counter], session: Some(&session) };
    let request = ChangeRequest {
        channel: Some(Channel::Counter),
        card: Some(sample::ID_CARD.to_owned()),
        reason: Some(Reason::Loss),
        identified: Some(guardian()),
        ..ChangeRequest::default()
    };
    desk.change(caller, Act::Suspend, request).await.unwrap();
}

/// All that the database has, and all that is sealed in it, opened.
async fn everything(rig: &Rig) -> Vec<u8> {
    let (rooms, state) = (rig.rooms(), rig.folder.path().join("state"));
    let pool = rooms.database.pool();
    let mut all = Vec::new();
    if database::on_postgresql() {
        all.extend(fs::read(database::back_up(&rooms.custody, &state).await).unwrap());
    } else {
        let query = "SELECT tables.name FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns \
                     WHERE tables.type = 'table' AND columns.name LIKE 'sealed%' ORDER BY tables.name";
        let sealed: Vec<(String,)> = sqlx::query_as(query).fetch_all(pool).await.unwrap();
        let mut known: Vec<&str> = SEALED.iter().map(|(table, _, _)| *table).chain(OTHERS).collect();
        known.sort_unstable();
        assert_eq!(sealed.iter().map(|(table,)| table.as_str()).collect::<Vec<_>>(), known);
        // Free pages and the log are files' as well.
        for file in fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()) {
            if file.file_name().unwrap().to_string_lossy().starts_with("custody.db") {
                all.extend(fs::read(file).unwrap());
            }
        }
    }
    for (table, column, key) in SEALED {
        let query = format!("SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL");
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(&query).fetch_all(pool).await.unwrap();
        for (key, sealed) in rows {
            let name = RecordName { table, column, key: &key };
            all.extend(rooms.custody.sealer().open(name, &sealed).unwrap().expose());
        }
    }
    all
}

/// Which of these texts are still there.
async fn left<'t>(rig: &Rig, texts: &[&'t str]) -> Vec<&'t str> {
    let all = everything(rig).await;
    let is_left = |text: &&str| all.windows(text.len()).any(|part| part == text.as_bytes());
    texts.iter().copied().filter(is_left).collect()
}

/// What is kept of a certificate that is out of force.
async fn told(rig: &Rig) {
    let query = "INSERT INTO ocsp_out_of_force (sha256, answer, heard, not_after) \
                 SELECT sha256, $1, 1, 1 FROM card_certificate WHERE key_use = 'authentication'";
    let kept = sqlx::query(query).bind(TOLD.as_bytes()).execute(rig.rooms().database.pool()).await.unwrap();
    assert_eq!(kept.rows_affected(), 1);
}

async fn procedures(rig: &Rig) -> i64 {
    let query = sqlx::query_as("SELECT COUNT(*) FROM procedures");
    let (count,): (i64,) = query.fetch_one(rig.rooms().database.pool()).await.unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_who_acted_for_another_and_the_others_stays() {
    let mut rig = Rig::new().await;
    rig.change_status();
    let _peer = rig.connect().await;
    acted(&rig, Case::Ward, Applicant::Guardian, &rig.codes[0]).await;
    acted(&rig, Case::Suspension, Applicant::Guardian, "").await;
    acted(&rig, Case::Reactivation, Applicant::Guardian, "").await;
    acted(&rig, Case::NewCodes, Applicant::Delegate, &rig.codes[1]).await;
    acted(&rig, Case::OtherRegion, Applicant::Delegate, "").await;
    suspended_without_the_card(&rig).await;
    told(&rig).await;
    revoked_elsewhere(&rig).await;
    assert_eq!(left(&rig, &ACTING).await, ACTING, "the search finds what is there");
    let before = (procedures(&rig).await, left(&rig, &OWN).await);

    let erased = rig.rooms().custody.erase("vrdlcu80a01h501g").await.unwrap();
    assert!(erased.cards.is_empty(), "{erased:?}");
    assert_eq!(left(&rig, &ACTING).await, Vec::<&str>::new());
    assert_eq!((procedures(&rig).await, left(&rig, &OWN).await), before, "the holder's stays");
    let rooms = rig.rooms();
    assert!(rooms.custody.has_puk(sample::ID_CARD, PukKind::Cns).await.unwrap());
    assert!(rooms.procedures.standings().of_card(sample::ID_CARD).await.unwrap().is_some());
    assert_eq!(rooms.custody.verify().await.unwrap().damaged, 0);

    // And then nothing of the holder.
    assert_eq!(rooms.custody.erase(HOLDER).await.unwrap().cards, [sample::ID_CARD]);
    assert_eq!(left(&rig, &OWN).await, Vec::<&str>::new());
}
