//! `certificate.*` in process: who may do what, for which reason and with which paper; whose card it is; what the authority
//! refuses, does not answer, or is asked twice. The certifier is real, and reached over HTTP.

use cns_protocol::certificate::{
    Act, CardStanding, ChangeRequest, ChangeState, Channel, Identified, Paper, PaperKind, Standing, Status,
};
use cns_protocol::counter::{Applicant, Case, Evidence, Reason};
use cns_protocol::{ErrorKind, Role, RpcError, SecretText};
use cns_virtual_authority::{Fault, FaultKind, Reason as Code, Status as AtCertifier};
use cns_virtual_card::sample;
use cnsd::config::UserCodesConfig;
use cnsd::holder::Holders;
use cnsd::standing::desk::{Caller, Desk, DeskError};

use crate::rig::answers::{document, report, representative};
use crate::rig::{Rig, secret, session};
use crate::standing::revoked;

const HOLDER: &str = "RSSMRA80A01H501U";
const UNKNOWN: &str = "6999000000009999";
const CENTRE: u32 = 2001;

/// Everybody outside, at the rig's daemon.
struct Office<'r> {
    rig: &'r Rig,
    holders: Holders,
}

impl<'r> Office<'r> {
    fn open(rig: &'r Rig) -> Self {
        let config = UserCodesConfig { attempts: 3, ..UserCodesConfig::default() };
        let holders = Holders::open(&rig.rooms().database, &rig.rooms().custody, &config);
        Self { rig, holders }
    }

    fn desk(&self) -> Desk<'_> {
        let rooms = self.rig.rooms();
        Desk { standings: rooms.procedures.standings(), holders: &self.holders, readers: &rooms.readers }
    }

    /// Asks as a peer with the channel's role, and as an operator at work.
    async fn ask(
        &self,
        channel: Channel,
        act: Act,
        mut request: ChangeRequest,
    ) -> Result<CardStanding, DeskError> {
        let session = session("op1");
        let roles = [channel.role()];
        let caller = Caller { user: CENTRE, roles: &roles, session: Some(&session) };
        request.channel = Some(channel);
        self.desk().change(caller, act, request).await
    }

    async fn status(&self, card: &str) -> CardStanding {
        let caller = Caller { user: CENTRE, roles: &[Role::IssuingBody], session: None };
        let request = Status { card: Some(card.to_owned()), ..Status::default() };
        self.desk().status(caller, request).await.unwrap()
    }
}

fn user_code(digits: &[u8]) -> Option<SecretText> {
    Some(SecretText::new(secret(digits)).unwrap())
}

fn identified() -> Option<Identified> {
    Some(Identified {
        applicant: Applicant::Holder,
        document: Some(document()),
        representative: None,
        declaration: false,
        evidence: None,
    })
}

fn self_declaration() -> Paper {
    Paper { kind: PaperKind::SelfDeclaration, number: None, issuer: None, date: "2026-01-15".to_owned() }
}

/// The holder, by codice fiscale, names and user code.
fn holder(code: &[u8]) -> ChangeRequest {
    ChangeRequest {
        codice_fiscale: Some(HOLDER.to_owned()),
        surname: Some("Rossi".to_owned()),
        name: Some("Mario".to_owned()),
        user_code: user_code(code),
        reason_gone: true,
        ..ChangeRequest::default()
    }
}

/// Somebody at the counter, or the office, for the sample's card.
fn of_card(card: &str, reason: Option<Reason>, paper: Option<Paper>) -> ChangeRequest {
    ChangeRequest {
        card: Some(card.to_owned()),
        reason,
        paper,
        identified: identified(),
        reason_gone: true,
        ..ChangeRequest::default()
    }
}

/// A card with both certificates, activated; the authority stands behind the counter.
async fn activated() -> Rig {
    let mut rig = Rig::new().await;
    rig.change_status();
    let started = rig.start(Case::Standard).await.unwrap();
    rig.until(started, &rig.codes[0], "").await;
    rig
}

/// The daemon's present connection to the certifier outlives its server.
async fn another_connection(rig: &mut Rig) {
    rig.restart().await;
    rig.card_is_back().await;
}

const REASONS: [Option<Reason>; 9] = [
    None,
    Some(Reason::Theft),
    Some(Reason::Loss),
    Some(Reason::CodesCompromised),
    Some(Reason::WrongData),
    Some(Reason::Malfunction),
    Some(Reason::NotDelivered),
    Some(Reason::Death),
    Some(Reason::EntitlementEnded),
];

/// The manual, once more and by hand: nothing where the caller may, else the paragraph that forbids it.
fn manual(channel: Channel, act: Act, reason: Option<Reason>, paper: bool) -> Option<&'static str> {
    use Reason::{
        CodesCompromised, Death, EntitlementEnded, Loss, Malfunction, NotDelivered, Theft, WrongData,
    };
    let suspicion = matches!(reason, Some(Theft | Loss | CodesCompromised));
    match (act, channel) {
        (Act::Suspend, Channel::Web) => (reason.is_some() && !suspicion).then_some("§9.5.1"),
        (Act::Suspend, Channel::CallCentre) => (!suspicion).then_some("§9.5.2"),
        (Act::Suspend, Channel::Counter) => (!suspicion).then_some("§9.5.3"),
        (Act::Suspend, Channel::IssuingBody) => Some("§9.5"),
        (Act::Reactivate, Channel::Web | Channel::Counter) => None,
        (Act::Reactivate, Channel::CallCentre | Channel::IssuingBody) => Some("§9.6"),
        (Act::Revoke, Channel::Web | Channel::CallCentre) => Some("§9.7.1"),
        (Act::Revoke, Channel::Counter) => match reason {
            Some(CodesCompromised | WrongData | Malfunction) => None,
            Some(Theft | Loss) => (!paper).then_some("§9.7.1-report"),
            Some(NotDelivered | Death | EntitlementEnded) | None => Some("§9.7.1"),
        },
        (Act::Revoke, Channel::IssuingBody) => {
            let own = matches!(reason, Some(WrongData | NotDelivered | Death | EntitlementEnded));
            (!own).then_some("§9.7.2")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_act_reason_and_paper_has_the_manuals_verdict() {
    let mut rig = Rig::new().await;
    rig.change_status();
    let office = Office::open(&rig);
    let (mut allowed, mut refused) = (0, 0);
    for channel in Channel::ALL {
        for act in Act::ALL {
            for reason in REASONS {
                let papers = match (channel, act) {
                    (Channel::Counter, Act::Revoke) => vec![None, Some(report()), Some(self_declaration())],
                    _ => vec![None],
                };
                for paper in papers {
                    let expected = manual(channel, act, reason, paper.is_some());
                    let request = match channel {
                        // Nobody of this name is known: whom the rules let pass learns no more than that.
                        Channel::Web | Channel::CallCentre => ChangeRequest {
                            codice_fiscale: Some(format!("VRDLGU80A01H{:04}", allowed + refused)),
                            reason,
                            ..holder(b"0000000000")
                        },
                        Channel::Counter | Channel::IssuingBody => of_card(UNKNOWN, reason, paper),
                    };
                    let error = office.ask(channel, act, request).await.unwrap_err();
                    let passed = matches!(error, DeskError::NotKnown | DeskError::Unproven { .. });
                    let error = RpcError::from(error);
                    let told = error.paragraph.as_deref().filter(|_| !passed);
                    assert_eq!(told, expected, "{channel:?} {act:?} {reason:?}: {error}");
                    assert!(error.italian.is_some_and(|text| text.len() > 20), "{channel:?} {act:?}");
                    *(if passed { &mut allowed } else { &mut refused }) += 1;
                }
            }
        }
    }
    println!("{allowed} allowed, {refused} refused");
    assert_eq!((allowed, refused), (45, 81));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_the_role_learns_nothing_of_cards() {
    let rig = activated().await;
    let office = Office::open(&rig);
    let session = session("op1");
    let mut answers = Vec::new();
    for card in [sample::ID_CARD, UNKNOWN] {
        for roles in [&[Role::User][..], &[Role::User, Role::Custodian, Role::Admin, Role::Auditor], &[]] {
            for channel in Channel::ALL.map(Some).into_iter().chain([None]) {
                let caller = Caller { user: 1, roles, session: Some(&session) };
                let request = ChangeRequest { channel, ..of_card(card, Some(Reason::Death), None) };
                let refused = office.desk().change(caller, Act::Revoke, request).await.unwrap_err();
                assert!(matches!(refused, DeskError::Role(_)), "{refused:?}");
                let status = Status { channel, card: Some(card.to_owned()), ..Status::default() };
                let looked = office.desk().status(caller, status).await.unwrap_err();
                assert!(matches!(looked, DeskError::Role(_)), "{looked:?}");
                answers.push((card, format!("{refused}; {looked}")));
            }
        }
    }
    let of = |card| answers.iter().filter(move |(of, _)| *of == card).map(|(_, text)| text);
    assert!(of(sample::ID_CARD).eq(of(UNKNOWN)));
    // A counter needs its operator, and the web area its holder's code: wrong, or of nobody, it is one answer.
    let caller = Caller { user: 1, roles: &[Role::Counter], session: None };
    let request = of_card(sample::ID_CARD, Some(Reason::Loss), None);
    let refused = office.desk().change(caller, Act::Suspend, request).await.unwrap_err();
    assert!(matches!(refused, DeskError::NoOperator));
    let both = Caller { roles: &[Role::Web, Role::CallCentre], ..caller };
    let unsaid = office.desk().change(both, Act::Suspend, holder(b"1")).await.unwrap_err();
    assert!(matches!(unsaid, DeskError::WhichChannel));
    let code = rig.user_code(&rig.codes[0]);
    let nobody = ChangeRequest { codice_fiscale: Some("VRDLGU80A01H501Q".to_owned()), ..holder(&code) };
    let other_card = ChangeRequest { card: Some(UNKNOWN.to_owned()), ..holder(&code) };
    let other_name =
        ChangeRequest { surname: Some("Russo".to_owned()), reason: Some(Reason::Loss), ..holder(&code) };
    let mut said = Vec::new();
    for (channel, request) in [
        (Channel::Web, holder(b"0000000000")),
        (Channel::Web, nobody),
        (Channel::Web, other_card),
        (Channel::CallCentre, other_name),
    ] {
        let error = RpcError::from(office.ask(channel, Act::Suspend, request).await.unwrap_err());
        assert_eq!(error.kind, ErrorKind::HolderUnproven);
        said.push(error.message);
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    assert!(revoked(&rig.certifier).is_empty());
}

/// §9.5.2: who knows the code and guesses at the names is counted as who guesses at the code.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_are_counted_as_wrong_codes_are() {
    let rig = activated().await;
    let office = Office::open(&rig);
    let code = rig.user_code(&rig.codes[0]);
    let right = || ChangeRequest { reason: Some(Reason::Loss), ..holder(&code) };
    for surname in ["Russo", "Bianchi", "Verdi"] {
        let request = ChangeRequest { surname: Some(surname.to_owned()), ..right() };
        let refused = office.ask(Channel::CallCentre, Act::Suspend, request).await.unwrap_err();
        assert!(matches!(refused, DeskError::Unproven { paragraph: "§9.5.2" }), "{refused:?}");
    }
    let locked = office.ask(Channel::CallCentre, Act::Suspend, right()).await.unwrap_err();
    assert!(matches!(locked, DeskError::Locked), "{locked:?}");
    assert!(revoked(&rig.certifier).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_to_the_counter_is_judged_as_in_its_procedures() {
    let rig = activated().await;
    let office = Office::open(&rig);
    let acting = |applicant, declaration| Identified {
        applicant,
        document: None,
        representative: Some(representative()),
        declaration,
        evidence: None,
    };
    let holder = identified().unwrap();
    let expired = Identified {
        document: Some(cns_protocol::counter::Document { expires: "2020-01-01".to_owned(), ..document() }),
        ..holder.clone()
    };
    let emancipated = Identified {
        applicant: Applicant::EmancipatedMinor,
        evidence: Some(Evidence::CourtAct),
        ..holder.clone()
    };
    for (identified, paragraph) in [
        (acting(Applicant::Delegate, true), "§6.1"),
        (acting(Applicant::Parent, true), "§6.4.1"),
        (acting(Applicant::Guardian, false), "§6.4.3"),
        (emancipated, "§6.4.2"),
        (expired, "§6.1.2-documents"),
        (Identified { document: None, ..holder }, "§6.1.2"),
    ] {
        let request = ChangeRequest {
            identified: Some(identified),
            ..of_card(sample::ID_CARD, Some(Reason::Loss), None)
        };
        let refused = office.ask(Channel::Counter, Act::Suspend, request).await.unwrap_err();
        assert_eq!(RpcError::from(refused).paragraph.as_deref(), Some(paragraph));
    }
    for paper in [
        Paper { number: None, ..report() },
        Paper { date: "2999-01-01".to_owned(), ..report() },
        Paper { date: "yesterday".to_owned(), ..self_declaration() },
    ] {
        let request = of_card(sample::ID_CARD, Some(Reason::Theft), Some(paper));
        let refused = office.ask(Channel::Counter, Act::Revoke, request).await.unwrap_err();
        assert_eq!(RpcError::from(refused).paragraph.as_deref(), Some("§9.7.1-report"));
    }
    let not_gone = ChangeRequest { reason_gone: false, ..of_card(sample::ID_CARD, None, None) };
    let refused = office.ask(Channel::Counter, Act::Reactivate, not_gone).await.unwrap_err();
    assert_eq!(RpcError::from(refused).paragraph.as_deref(), Some("§9.6.2"));
    let unsaid = ChangeRequest { identified: None, ..of_card(sample::ID_CARD, Some(Reason::Loss), None) };
    let refused = office.ask(Channel::Counter, Act::Suspend, unsaid).await.unwrap_err();
    assert!(matches!(refused, DeskError::Invalid("identified")));
    assert!(revoked(&rig.certifier).is_empty());
    let guardian = ChangeRequest {
        identified: Some(acting(Applicant::Guardian, true)),
        ..of_card(sample::ID_CARD, Some(Reason::Loss), None)
    };
    let told = office.ask(Channel::Counter, Act::Suspend, guardian).await.unwrap();
    assert_eq!(standings(&told), [Standing::Suspended; 2]);
}

fn standings(told: &CardStanding) -> Vec<Standing> {
    told.certificates.iter().map(|one| one.standing).collect()
}

fn states(told: &CardStanding) -> Vec<ChangeState> {
    told.certificates.iter().map(|one| one.change.as_ref().unwrap().state).collect()
}

/// The certifier's serial number of a certificate of the card.
fn serial(told: &CardStanding, place: usize) -> String {
    told.certificates[place].serial.to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_refuses_for_one_certificate_is_told_and_asked_again_for_that_one_alone() {
    let rig = activated().await;
    let office = Office::open(&rig);
    let known = office.status(sample::ID_CARD).await;
    assert_eq!(standings(&known), [Standing::Good; 2]);
    // Somebody else has suspended the second certificate, of which nothing is known here.
    rig.certifier.revoke(&serial(&known, 1), Code::CertificateHold).unwrap();
    let suspend = || of_card(sample::ID_CARD, Some(Reason::Theft), None);
    let told = office.ask(Channel::Counter, Act::Suspend, suspend()).await.unwrap();
    assert_eq!(states(&told), [ChangeState::Done, ChangeState::Refused]);
    assert!(told.certificates[1].change.as_ref().unwrap().said.as_ref().unwrap().contains("suspended"));
    let first = told.certificates[0].change.clone().unwrap();
    rig.certifier.revoke(&serial(&known, 1), Code::RemoveFromCrl).unwrap();
    let told = office.ask(Channel::Counter, Act::Suspend, suspend()).await.unwrap();
    assert_eq!(states(&told), [ChangeState::Done; 2]);
    assert_eq!(standings(&told), [Standing::Suspended; 2]);
    assert_eq!(told.certificates[0].change.clone().unwrap(), first, "the first is not asked twice");
    assert_ne!(told.certificates[1].change.clone().unwrap().request, first.request);
}

/// The answer is lost three times; the certifier has done it, and is asked with the same transaction again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_pending_and_the_same_transaction_settles_it() {
    let mut rig = activated().await;
    rig.authority_misbehaves(Fault::times(FaultKind::LoseAnswer, 3)).await;
    let office = Office::open(&rig);
    let code = rig.user_code(&rig.codes[0]);
    let told = office.ask(Channel::Web, Act::Suspend, holder(&code)).await.unwrap();
    assert_eq!(states(&told), [ChangeState::Pending, ChangeState::Done]);
    let change = told.certificates[0].change.clone().unwrap();
    assert_eq!((change.attempts, change.channel), (1, Channel::Web));
    assert_eq!(revoked(&rig.certifier).len(), 2, "the first is done, and not known to be");
    // Erasure waits until the authority was told.
    assert!(rig.rooms().custody.erase(HOLDER).await.is_err());
    let again = office.ask(Channel::Web, Act::Suspend, holder(&code)).await.unwrap();
    assert_eq!(states(&again), [ChangeState::Done; 2]);
    assert_eq!(again.certificates[0].change.as_ref().unwrap().request, change.request);
    assert_eq!(revoked(&rig.certifier).len(), 2);
    let query = "SELECT COUNT(*), COUNT(DISTINCT cmp_transaction) FROM standing_change";
    let counted: (i64, i64) = sqlx::query_as(query).fetch_one(rig.rooms().database.pool()).await.unwrap();
    assert_eq!(counted, (2, 2), "one for each certificate");
    rig.rooms().audit.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told_in_their_order_and_a_double_click_once() {
    let mut rig = activated().await;
    rig.authority_goes().await;
    another_connection(&mut rig).await;
    let office = Office::open(&rig);
    let code = rig.user_code(&rig.codes[0]);
    for _ in 0..2 {
        let told = office.ask(Channel::Web, Act::Suspend, holder(&code)).await.unwrap();
        assert_eq!(states(&told), [ChangeState::Pending; 2]);
    }
    let told = office.ask(Channel::Web, Act::Reactivate, holder(&code)).await.unwrap();
    assert_eq!(told.certificates[0].change.as_ref().unwrap().act, Act::Reactivate);
    let request = of_card(sample::ID_CARD, Some(Reason::Loss), Some(report()));
    office.ask(Channel::Counter, Act::Revoke, request).await.unwrap();
    // No new codes meanwhile, although the authority does not know yet (X12).
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    drop(office);
    rig.authority_comes().await;
    // The pause between two attempts is over.
    let due = "UPDATE standing_change SET next_at = 0";
    sqlx::query(due).execute(rig.rooms().database.pool()).await.unwrap();
    rig.rooms().procedures.standings().work().await.unwrap();
    let office = Office::open(&rig);
    let told = office.status(sample::ID_CARD).await;
    assert_eq!(standings(&told), [Standing::Revoked; 2]);
    let acts = "SELECT act, state FROM standing_change ORDER BY sha256, number";
    let acts: Vec<(String, String)> =
        sqlx::query_as(acts).fetch_all(rig.rooms().database.pool()).await.unwrap();
    let expected = ["suspend", "reactivate", "revoke"].map(|act| (act.to_owned(), "done".to_owned()));
    assert_eq!(acts, [expected.clone(), expected].concat());
    // §9.7: for ever.
    let request = of_card(sample::ID_CARD, Some(Reason::Loss), None);
    let refused = office.ask(Channel::Counter, Act::Suspend, request).await.unwrap_err();
    assert_eq!(RpcError::from(refused).paragraph.as_deref(), Some("§9.7"));
    let again = of_card(sample::ID_CARD, Some(Reason::Death), None);
    let told = office.ask(Channel::IssuingBody, Act::Revoke, again).await.unwrap();
    assert_eq!(told.certificates[0].change.as_ref().unwrap().reason, Some(Reason::Loss), "not asked anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_holder_leaves_neither_certificate_nor_paper() {
    let rig = activated().await;
    let office = Office::open(&rig);
    let request = of_card(sample::ID_CARD, Some(Reason::Theft), Some(report()));
    let told = office.ask(Channel::Counter, Act::Revoke, request).await.unwrap();
    assert_eq!(standings(&told), [Standing::Revoked; 2]);
    let pool = rig.rooms().database.pool();
    // Neither the holder nor the paper stands there in clear.
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT holder, sealed FROM card_certificate").fetch_all(pool).await.unwrap();
    let papers: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT sealed FROM standing_request").fetch_all(pool).await.unwrap();
    assert_eq!((rows.len(), papers.len()), (2, 1));
    let clear = |bytes: &[u8]| {
        ["ROSSI", HOLDER, "2026/1234"]
            .iter()
            .any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    assert!(rows.iter().all(|(holder, sealed)| !holder.contains(HOLDER) && !clear(sealed)));
    assert!(papers.iter().all(|(sealed,)| !clear(sealed)));
    let verified = rig.rooms().custody.verify().await.unwrap();
    assert_eq!(verified.damaged, 0, "{verified:?}");
    rig.rooms().custody.rotate_data_key().await.unwrap();
    assert!(rig.rooms().custody.reseal().await.unwrap() >= 3);
    assert_eq!(standings(&office.status(sample::ID_CARD).await), [Standing::Revoked; 2]);
    let erased = rig.rooms().custody.erase(HOLDER).await.unwrap();
    assert_eq!(erased.cards, [sample::ID_CARD]);
    for table in ["card_certificate", "standing_request", "standing_change"] {
        let query = format!("SELECT COUNT(*) FROM {table}");
        let (left,): (i64,) = sqlx::query_as(&query).fetch_one(pool).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let at_certifier = rig.certifier.list().unwrap();
    assert!(at_certifier.iter().all(|record| matches!(record.status, AtCertifier::Revoked { .. })));
}
