//! Interoperability: a national system over HTTP, mail in a folder and through a command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may fail"
)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cns_protocol::certificate::{Identified, Paper};
use cns_protocol::counter::{Applicant, Document, Representative};
use cns_protocol::national::{Ask, Request, RequestKind, RequestState, RevocationReason, Standing};
use cns_protocol::operator::{CounterKind, Session};
use cns_secret::Secret;
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cnsd::audit::Audit;
use cnsd::config::MailConfig;
use cnsd::custody::{Custody, RecordName};
use cnsd::database::Database;
use cnsd::national::connector::{Connector, HttpConnector};
use cnsd::national::mail::{Handing, MailConnector};
use cnsd::national::{Asker, National, NationalError, mail, shares};
use der::DecodePem;
use serde_json::Value;
use x509_cert::Certificate;

use cnsd_test_support::national_peer::{Mood, serve};
use cnsd_test_support::rig::answers::{document, report, representative};
use cnsd_test_support::rig::refuse_writes;
use cnsd_test_support::{database, network};

const CARD: &str = "6999000000001230";
const HOLDER: &str = "RSSMRA80A01H501U";
const PUK: &[u8] = b"24681357";

struct Rooms {
    database: Database,
    custody: Custody,
    national: National,
}

async fn open(state: &Path, url: Option<&str>, mail_config: Option<&MailConfig>) -> Rooms {
    let config = database::config(state);
    let database = Database::open(&config.database, state).await.unwrap();
    let custody = Custody::open(&database, &config, state).await.unwrap();
    let audit = Audit::open(state, custody.sealer()).await.unwrap();
    let connector =
        url.map(|url| -> Box<dyn Connector> { Box::new(HttpConnector::new(url, network()).unwrap()) });
    let mail = mail_config.map(|config| (mail::connector(config).unwrap(), config.from.clone()));
    let national = National::open(&database, &custody, &audit, connector, mail);
    Rooms { database, custody, national }
}

async fn import(custody: &Custody) {
    import_card(custody, CARD, PUK).await;
}

async fn import_card(custody: &Custody, card: &str, puk: &[u8]) {
    let recipient =
        Recipient::from_certificate(&Certificate::from_pem(custody.import_certificate_pem()).unwrap())
            .unwrap();
    let mut content = Content::with_capacity(Kind::Cards, 200).unwrap();
    let members: [(&str, &[u8]); 3] =
        [("id_card", card.as_bytes()), ("codice_fiscale", HOLDER.as_bytes()), ("puk", puk)];
    content.push_object(&members).unwrap();
    custody.import(&recipient.seal(&content).unwrap()).await.unwrap();
}

fn session(counter_kind: CounterKind) -> Session {
    Session {
        operator: "op1".into(),
        name: "Anna Serra".into(),
        counter: "ASL di prova".into(),
        counter_kind,
        reader: "vpcd:operator".into(),
        expires: "2099-01-01T00:00:00Z".into(),
        warning: None,
    }
}

fn request(kind: RequestKind) -> Request {
    let revocation = kind == RequestKind::Revocation;
    Request {
        kind,
        card: CARD.into(),
        codice_fiscale: HOLDER.into(),
        email: (!revocation).then(|| "mario.rossi@posta.example".into()),
        delegate: false,
        reason: revocation.then_some(RevocationReason::LossOrTheft),
    }
}

const ASKER: Asker<'static> = Asker { user: Some(1000), operator: "op1", counter: "ASL di prova" };

/// What a counter asks for a card that was stolen.
fn revocation() -> Ask {
    Ask {
        request: request(RequestKind::Revocation),
        identified: Identified {
            applicant: Applicant::Holder,
            document: Some(document()),
            representative: None,
            declaration: false,
            evidence: None,
        },
        paper: Some(report()),
    }
}

/// Who acts for the holder, as identified at the counter.
fn who(applicant: Applicant, representative: Option<Representative>, declaration: bool) -> Identified {
    Identified { applicant, document: None, representative, declaration, evidence: None }
}

/// Works until the request is answered.
async fn answered(national: &National, id: &str) -> Standing {
    for _ in 0..200 {
        national.work().await.unwrap();
        let standing = national.show(id).await.unwrap();
        if standing.state != RequestState::Queued {
            return standing;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{id} is never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_delivered_at_least_once_with_one_key_over_failures_and_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let (peer, url) = serve();
    peer.lock().unwrap().moods = vec![Mood::Silent, Mood::Busy];
    let rooms = open(state.path(), Some(&url), None).await;
    let key = "5f00000000000001";
    let queued = rooms.national.ask(ASKER, key, request(RequestKind::Activation)).await.unwrap();
    assert_eq!((queued.state, queued.attempts), (RequestState::Queued, 1), "{}", queued.message);
    rooms.database.close().await;

    let rooms = open(state.path(), Some(&url), None).await;
    let done = answered(&rooms.national, &queued.id).await;
    assert_eq!((done.state, done.attempts, done.message.as_str()), (RequestState::Accepted, 3, "done"));
    assert_eq!(done.first_part.unwrap().pin.as_deref(), Some("13579"));
    let posted = peer.lock().unwrap().posted.clone();
    assert_eq!(posted.len(), 3);
    assert!(posted.iter().all(|one| *one == posted[0]), "the same request each time");
    assert_eq!((posted[0]["kind"].as_str(), posted[0]["card"].as_str()), (Some("activation"), Some(CARD)));
    assert_eq!(peer.lock().unwrap().done, std::slice::from_ref(&queued.id), "done once");

    peer.lock().unwrap().moods = vec![Mood::Refuses];
    for kind in [RequestKind::Revocation, RequestKind::Duplicate] {
        let queued = rooms.national.ask(ASKER, kind.name(), request(kind)).await.unwrap();
        let expected =
            if kind == RequestKind::Revocation { RequestState::Refused } else { RequestState::Accepted };
        assert_eq!(answered(&rooms.national, &queued.id).await.state, expected, "{kind:?}");
    }
    assert_eq!(peer.lock().unwrap().posted.len(), 5, "what was refused is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_a_rule_forbids_are_not_queued() {
    let state = tempfile::tempdir().unwrap();
    let rooms = open(state.path(), Some("http://127.0.0.1:9/"), None).await;
    let ask = async |kind, request: Request| {
        rooms.national.request(1000, &session(kind), Ask { request, ..revocation() }).await
    };
    let health = CounterKind::HealthAuthority;
    let pharmacy = ask(CounterKind::Pharmacy, request(RequestKind::Revocation)).await;
    assert!(matches!(pharmacy, Err(NationalError::Rule { paragraph: "§8-counters", .. })));
    let delegate = Request { delegate: true, ..request(RequestKind::Revocation) };
    assert!(matches!(ask(health, delegate).await, Err(NationalError::Rule { .. })));
    for wrong in [
        Request { card: "1".into(), ..request(RequestKind::Activation) },
        Request { codice_fiscale: "x".into(), ..request(RequestKind::Activation) },
        Request { email: None, ..request(RequestKind::Activation) },
        Request { email: Some("a@b.c\r\nBcc: x@y.z".into()), ..request(RequestKind::Duplicate) },
        Request { reason: None, ..request(RequestKind::Revocation) },
    ] {
        assert!(matches!(ask(health, wrong).await, Err(NationalError::Invalid(_))));
    }
    let off = open(state.path(), None, None).await;
    let asked = off.national.request(1, &session(health), revocation()).await;
    assert!(matches!(asked, Err(NationalError::Off)));
}

/// §8-out without the card: who asks is identified as at every counter, and no codes are given out for a card that nobody shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_not_there_is_revoked_for_who_was_identified_alone() {
    let state = tempfile::tempdir().unwrap();
    let rooms = open(state.path(), Some("http://127.0.0.1:9/"), None).await;
    let health = session(CounterKind::HealthAuthority);
    let ask = async |asked: Ask| rooms.national.request(1000, &health, asked).await;
    for kind in [RequestKind::Activation, RequestKind::Duplicate] {
        let refused = ask(Ask { request: request(kind), ..revocation() }).await;
        assert!(matches!(refused, Err(NationalError::Rule { paragraph: "§9.3.1", .. })), "{refused:?}");
    }
    let expired = Document { expires: "2020-01-01".to_owned(), ..document() };
    let identified = revocation().identified;
    for (paragraph, asked) in [
        (
            "§6.1.2-documents",
            Ask { identified: Identified { document: Some(expired), ..identified.clone() }, ..revocation() },
        ),
        ("§6.1.2", Ask { identified: Identified { document: None, ..identified }, ..revocation() }),
        ("§6.1", Ask { identified: who(Applicant::Delegate, Some(representative()), true), ..revocation() }),
        ("§6.4.1", Ask { identified: who(Applicant::Parent, Some(representative()), true), ..revocation() }),
        ("§6.4.3", Ask { identified: who(Applicant::Guardian, None, true), ..revocation() }),
        (
            "§6.4.3",
            Ask { identified: who(Applicant::Guardian, Some(representative()), false), ..revocation() },
        ),
        ("§9.7.1-report", Ask { paper: None, ..revocation() }),
        ("§9.7.1-report", Ask { paper: Some(Paper { number: None, ..report() }), ..revocation() }),
    ] {
        let refused = ask(asked).await;
        let Err(NationalError::Procedure(refused)) = refused else { panic!("{paragraph}: {refused:?}") };
        assert_eq!(refused.paragraph(), Some(paragraph), "{refused:?}");
    }
    let mistyped =
        Request { codice_fiscale: "RSSMRA80A01H501V".to_owned(), ..request(RequestKind::Revocation) };
    let refused = ask(Ask { request: mistyped, ..revocation() }).await;
    assert!(matches!(refused, Err(NationalError::Invalid("codice_fiscale"))), "{refused:?}");
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM national_request")
        .fetch_one(rooms.database.pool())
        .await
        .unwrap();
    assert_eq!(count, 0, "nothing is queued");
}

/// Who was identified is kept, for nobody to read in the database, and does not go out.
#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_a_card_that_is_not_there_is_kept_sealed() {
    let state = tempfile::tempdir().unwrap();
    let rooms = open(state.path(), Some("http://127.0.0.1:9/"), None).await;
    let health = session(CounterKind::HealthAuthority);
    let asked = Ask { identified: who(Applicant::Guardian, Some(representative()), true), ..revocation() };
    let queued = rooms.national.request(1000, &health, asked).await.unwrap();
    let query = "SELECT document, sealed FROM national_request WHERE direction = 'out' AND id = $1";
    let (document, sealed): (String, Vec<u8>) =
        sqlx::query_as(query).bind(&queued.id).fetch_one(rooms.database.pool()).await.unwrap();
    let key = format!("out/{}", queued.id);
    let name = RecordName { table: "national_request", column: "sealed", key: &key };
    let opened = rooms.custody.sealer().open(name, &sealed).unwrap();
    let papers: Value = serde_json::from_slice(opened.expose()).unwrap();
    assert_eq!(papers["identified"]["representative"]["codice_fiscale"], representative().codice_fiscale);
    assert_eq!(papers["paper"]["number"], "2026/1234");
    for personal in ["VRDLCU80A01H501G", "Verdi", "2026/1234"] {
        assert!(!document.contains(personal), "{personal} goes out");
        assert!(!sealed.windows(personal.len()).any(|part| part == personal.as_bytes()), "{personal}");
    }
    assert_eq!(rooms.custody.verify().await.unwrap().damaged, 0);
}

/// The second part in a mail.
fn second_part(mail: &str) -> Secret {
    let line = mail.lines().find_map(|line| line.strip_prefix("Seconda parte / second part: ")).unwrap();
    Secret::copy_from(line.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_regions_counter_gets_the_first_part_and_the_holder_the_second() {
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = MailConfig {
        from: "ts@regione.example".into(),
        spool: Some(spool.path().into()),
        command: Vec::new(),
    };
    let rooms = open(state.path(), None, Some(&folder)).await;
    import(&rooms.custody).await;
    let national = &rooms.national;
    let key = "0123456789abcdef-1";
    let answer = national.receive(1, key, request(RequestKind::Duplicate)).await.unwrap();
    assert_eq!(answer.state, RequestState::Accepted);
    let first = answer.first_part.clone().unwrap().puk.unwrap();
    assert_ne!(first.as_bytes(), PUK);
    national.work().await.unwrap();
    let file = spool.path().join(format!("{key}.eml"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("To: mario.rossi@posta.example\r\n") && !text.contains(&first));
    let first = Secret::copy_from(first.as_bytes()).unwrap();
    assert_eq!(shares::join(&first, &second_part(&text)).unwrap().expose(), PUK);
    let sealed: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM national_mail WHERE sealed IS NOT NULL")
        .fetch_one(rooms.database.pool())
        .await
        .unwrap();
    assert_eq!(sealed.0, 0, "the second part is destroyed once the mail has it");

    // The same again: the same answer, and no second mail.
    fs::remove_file(&file).unwrap();
    assert_eq!(national.receive(1, key, request(RequestKind::Duplicate)).await.unwrap(), answer);
    national.work().await.unwrap();
    assert!(!file.exists());
    let other = Request { email: Some("other@posta.example".into()), ..request(RequestKind::Duplicate) };
    assert!(matches!(national.receive(1, key, other).await, Err(NationalError::OtherRequest)));

    let strangers = [
        Request { codice_fiscale: "VRDLGU80A01H501Q".into(), ..request(RequestKind::Duplicate) },
        Request { card: "6999000000009999".into(), ..request(RequestKind::Duplicate) },
    ];
    let mut told = Vec::new();
    for (number, stranger) in strangers.into_iter().enumerate() {
        let refused = national.receive(1, &format!("stranger-{number}"), stranger).await.unwrap();
        assert_eq!((refused.state, &refused.first_part), (RequestState::Refused, &None));
        told.push(refused.message);
    }
    assert_eq!(told[0], told[1]);
    assert!(matches!(
        national.receive(1, "activation-1", request(RequestKind::Activation)).await,
        Err(NationalError::Invalid("kind"))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_the_issuing_body_and_mail_can_be_a_command() {
    let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let script = format!("test ! -e {0}/fail && cat > {0}/mail", out.path().display());
    let command = MailConfig {
        from: "ts@regione.example".into(),
        spool: None,
        command: vec!["/bin/sh".into(), "-c".into(), script],
    };
    let rooms = open(state.path(), None, Some(&command)).await;
    import(&rooms.custody).await;
    let national = &rooms.national;
    let asked = national.receive(1, "revocation-1", request(RequestKind::Revocation)).await.unwrap();
    assert_eq!(asked.state, RequestState::Queued);
    assert_eq!(national.undecided().await.unwrap(), [asked]);
    let decided = national.decide(2, "revocation-1", true, "revoked").await.unwrap();
    assert_eq!(national.receive(1, "revocation-1", request(RequestKind::Revocation)).await.unwrap(), decided);
    assert!(matches!(national.decide(2, "revocation-1", false, "").await, Err(NationalError::Unknown)));

    fs::write(out.path().join("fail"), "").unwrap();
    let answer = national.receive(1, "duplicate-1", request(RequestKind::Duplicate)).await.unwrap();
    national.work().await.unwrap();
    assert!(!out.path().join("mail").exists());
    fs::remove_file(out.path().join("fail")).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    national.work().await.unwrap();
    let text = fs::read_to_string(out.path().join("mail")).unwrap();
    let first = Secret::copy_from(answer.first_part.unwrap().puk.unwrap().as_bytes()).unwrap();
    assert_eq!(shares::join(&first, &second_part(&text)).unwrap().expose(), PUK);
}

/// One row that cannot be read, and one second part that does not open, among good ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_left_out_and_stops_nothing_else() {
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = MailConfig {
        from: "ts@regione.example".into(),
        spool: Some(spool.path().into()),
        command: Vec::new(),
    };
    let (peer, url) = serve();
    let rooms = open(state.path(), Some(&url), Some(&folder)).await;
    import(&rooms.custody).await;
    let (national, pool) = (&rooms.national, rooms.database.pool());
    let health = session(CounterKind::HealthAuthority);
    let mut queued = Vec::new();
    for _ in 0..2 {
        queued.push(national.request(1, &health, revocation()).await.unwrap().id);
    }
    for key in ["revocation-1", "revocation-2"] {
        national.receive(1, key, request(RequestKind::Revocation)).await.unwrap();
    }
    for key in ["duplicate-1", "duplicate-2"] {
        national.receive(1, key, request(RequestKind::Duplicate)).await.unwrap();
    }
    let damage = "UPDATE national_request SET document = '{' WHERE id = $1";
    for id in [queued[0].as_str(), "revocation-1"] {
        assert_eq!(sqlx::query(damage).bind(id).execute(pool).await.unwrap().rows_affected(), 1);
    }
    let swap = "UPDATE national_mail SET sealed = (SELECT m.sealed FROM national_mail m WHERE m.id = 'duplicate-2') \
                WHERE id = 'duplicate-1'";
    sqlx::query(swap).execute(pool).await.unwrap();

    national.work().await.unwrap();
    assert_eq!(national.show(&queued[1]).await.unwrap().state, RequestState::Accepted);
    assert_eq!(peer.lock().unwrap().posted.len(), 1);
    let mails: Vec<_> = fs::read_dir(spool.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(mails, ["duplicate-2.eml"]);
    let undecided: Vec<_> = national.undecided().await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(undecided, ["revocation-2"]);
    // They are not looked at again for an hour, and are still there.
    let put_off = "SELECT COUNT(*) FROM (SELECT next_at FROM national_request WHERE next_at > $1 \
                   UNION ALL SELECT next_at FROM national_mail WHERE next_at > $1 AND sealed IS NOT NULL) AS later";
    let soon = time::OffsetDateTime::now_utc().unix_timestamp() + 3000;
    let (later,): (i64,) = sqlx::query_as(put_off).bind(soon).fetch_one(pool).await.unwrap();
    assert_eq!(later, 3);
}

/// The table of requests fails, and the mail goes out all the same.
#[tokio::test(flavor = "multi_thread")]
async fn mail_is_worked_on_though_requests_fail() {
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = MailConfig {
        from: "ts@regione.example".into(),
        spool: Some(spool.path().into()),
        command: Vec::new(),
    };
    let (_peer, url) = serve();
    let rooms = open(state.path(), Some(&url), Some(&folder)).await;
    import(&rooms.custody).await;
    let health = session(CounterKind::HealthAuthority);
    rooms.national.request(1, &health, revocation()).await.unwrap();
    rooms.national.receive(1, "duplicate-1", request(RequestKind::Duplicate)).await.unwrap();
    refuse_writes(&rooms.database, "national_request").await;
    let failed = rooms.national.work().await;
    assert!(matches!(failed, Err(NationalError::Database(_))), "{failed:?}");
    assert!(spool.path().join("duplicate-1.eml").exists());
}

/// Two decide at once: one decision counts, and the other one is told that nothing waits.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_decisions_one_counts() {
    let state = tempfile::tempdir().unwrap();
    let rooms = open(state.path(), None, None).await;
    import(&rooms.custody).await;
    for round in 0..20 {
        let key = format!("revocation-{round}");
        rooms.national.receive(1, &key, request(RequestKind::Revocation)).await.unwrap();
        let decide = |accepted: bool| {
            let (national, key) = (rooms.national.clone(), key.clone());
            tokio::spawn(async move { national.decide(2, &key, accepted, &accepted.to_string()).await })
        };
        let (yes, no) = (decide(true), decide(false));
        let told = [yes.await.unwrap(), no.await.unwrap()];
        let counted: Vec<_> = told.iter().filter_map(|one| one.as_ref().ok()).collect();
        assert_eq!(counted.len(), 1, "{told:?}");
        assert!(told.iter().any(|one| matches!(one, Err(NationalError::Unknown))), "{told:?}");
        let kept = rooms.national.receive(1, &key, request(RequestKind::Revocation)).await.unwrap();
        assert_eq!(kept, *counted[0]);
    }
}

/// Keeps the second parts that it is handed.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<String>>>);

impl MailConnector for Letters {
    fn hand_over<'a>(&'a self, _: &'a str, message: &'a Secret) -> Handing<'a> {
        Box::pin(async move {
            self.0.lock().unwrap().push(String::from_utf8_lossy(message.expose()).into_owned());
            Ok(())
        })
    }
}

/// The digits' counts of one part, by place.
type Counts = [[u32; 10]; 8];

/// What the answers to many requests, and the mails, show of one PUK.
async fn parts_of(rooms: &Rooms, letters: &Letters, card: &str, puk: &[u8]) -> [Counts; 2] {
    let mut counts = [[[0; 10]; 8]; 2];
    let mut firsts = Vec::new();
    for number in 0..DRAWS {
        let asked = Request { card: card.to_owned(), ..request(RequestKind::Duplicate) };
        let answer = rooms.national.receive(1, &format!("{card}-{number:04}"), asked).await.unwrap();
        firsts.push(answer.first_part.unwrap().puk.unwrap());
    }
    while letters.0.lock().unwrap().len() < firsts.len() {
        rooms.national.work().await.unwrap();
    }
    let letters: Vec<String> = letters.0.lock().unwrap().drain(..).collect();
    // Handed over in the order of their keys.
    for (first, letter) in firsts.iter().zip(&letters) {
        let second = second_part(letter);
        let joined = shares::join(&Secret::copy_from(first.as_bytes()).unwrap(), &second).unwrap();
        assert_eq!(joined.expose(), puk);
        for (part, digits) in [first.as_bytes(), second.expose()].into_iter().enumerate() {
            for (place, digit) in digits.iter().enumerate() {
                counts[part][place][usize::from(digit - b'0')] += 1;
            }
        }
    }
    counts
}

const DRAWS: u32 = 700;
/// With nine degrees of freedom, blind chance is above it once in four million.
const CHANCE: f64 = 48.0;

/// Pearson's statistic of a place's digits against "each is as likely".
fn statistic(digits: &[u32; 10]) -> f64 {
    let expected = f64::from(DRAWS) / 10.0;
    digits.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

/// The whole way, many times, for two PUKs that differ in every digit: neither what the operator prints nor what goes by mail
/// is distributed otherwise than blind chance, so neither tells which PUK it is of.
#[tokio::test(flavor = "multi_thread")]
async fn neither_the_answers_nor_the_mails_tell_anything_of_the_puk() {
    const CARDS: [(&str, &[u8]); 2] = [("6999000000001230", b"00000000"), ("6999000000001248", b"97531864")];
    let state = tempfile::tempdir().unwrap();
    let config = database::config(state.path());
    let database = Database::open(&config.database, state.path()).await.unwrap();
    let custody = Custody::open(&database, &config, state.path()).await.unwrap();
    let audit = Audit::open(state.path(), custody.sealer()).await.unwrap();
    let letters = Letters::default();
    let connector: Box<dyn MailConnector> = Box::new(letters.clone());
    let mail = Some((connector, "ts@regione.example".to_owned()));
    let national = National::open(&database, &custody, &audit, None, mail);
    let rooms = Rooms { database, custody, national };
    for (card, puk) in CARDS {
        import_card(&rooms.custody, card, puk).await;
        for (part, places) in parts_of(&rooms, &letters, card, puk).await.iter().enumerate() {
            for (place, digits) in places.iter().enumerate() {
                let found = statistic(digits);
                assert!(found < CHANCE, "part {part}, place {place} of {card}: {digits:?}");
            }
        }
    }
    // A part in which one digit were twice as likely as the others would be seen.
    let mut leaning = [DRAWS / 11; 10];
    leaning[7] = 2 * DRAWS / 11;
    assert!(statistic(&leaning) > CHANCE);
}
