//! §8, §9.3.3: the counter's request about a card of another region goes to the national system, once.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{
    Answer, AnswerStep, Applicant, Case, Procedure, ProcedureState, Reason, Sheet, SheetKind, Start,
};
use cns_protocol::national::RequestKind;
use cns_protocol::operator::{CounterKind, Session};
use cnsd::dispatch::ProgressSender;
use cnsd::procedure::ProcedureError;

use crate::national_peer::{FIRST_PART, Mood};
use crate::rig::{Rig, UID, refuse_writes, session};

/// A procedure that waits at §9.3.3-5.
async fn asked_what(rig: &Rig, applicant: Applicant) -> Procedure {
    let started = rig.start(Case::OtherRegion).await.unwrap();
    let ready = rig.until(started, "", "§6.1").await;
    let ready = rig.answer(&ready, Answer::Applicant(applicant)).await.unwrap();
    rig.until(ready, "", "§9.3.3-5").await
}

async fn form(rig: &Rig, procedure: &Procedure) -> String {
    let sheet = Sheet { procedure: procedure.id.clone(), kind: SheetKind::Request };
    rig.rooms().procedures.sheet(&sheet).await.unwrap().html
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_one_also_when_it_is_repeated() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    peer.lock().unwrap().moods = vec![Mood::Silent, Mood::Busy];
    let ready = asked_what(&rig, Applicant::Delegate).await;
    let ready = rig.until(ready, "", "§8-out").await;
    for _ in 0..2 {
        let waits = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
        assert!(matches!(waits, ProcedureError::NationalWaits(_)), "{waits:?}");
        assert_eq!(waits.paragraph(), Some("§8-out"));
        assert!(!form(&rig, &ready).await.contains("Prima parte"), "nothing has come yet");
    }
    // The daemon goes away meanwhile: the key is the procedure's.
    rig.restart().await;
    rig.card_is_back().await;
    let sent = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert_eq!(sent.next.as_ref().unwrap().paragraph, "§9.3.3-6");
    let form = form(&rig, &sent).await;
    let (pin, puk) = FIRST_PART;
    for part in [pin, puk, "VERDI", "VRDLCU80A01H501G", "mario@example.it"] {
        assert!(form.to_uppercase().contains(&part.to_uppercase()), "{part} is printed: {form}");
    }
    let done = rig.until(sent, "", "").await;
    assert_eq!((done.state, &done.envelope), (ProcedureState::Done, &None));
    // X6.
    let sheet = Sheet { procedure: done.id.clone(), kind: SheetKind::Information };
    let sheet = rig.rooms().procedures.sheet(&sheet).await.unwrap().html;
    assert!(sheet.contains("non viene rilasciato un codice utente"), "{sheet}");

    let peer = peer.lock().unwrap();
    assert_eq!((peer.posted.len(), peer.done.len()), (3, 1), "sent three times, done once");
    assert!(peer.posted.iter().all(|posted| *posted == peer.posted[0]));
    let posted = &peer.posted[0];
    assert_eq!(posted["delegate"], true);
    for (member, value) in
        [("kind", "activation"), ("email", "mario@example.it"), ("codice_fiscale", "RSSMRA80A01H501U")]
    {
        assert_eq!(posted[member], value, "{member}");
    }
    let recorded = done.done.iter().find(|step| step.paragraph == "§8-out").unwrap();
    assert_eq!(recorded.outcome, format!("request {} was accepted", peer.done[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_has_a_reason_and_no_codes_and_no_delegate_asks_for_it() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    let ready = asked_what(&rig, Applicant::Delegate).await;
    for kind in [RequestKind::Revocation, RequestKind::Duplicate] {
        let refused = rig.answer(&ready, Answer::NationalRequest(kind)).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some("§8-out"));
    }
    rig.cancel(&ready).await.unwrap();
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.answer(&ready, Answer::NationalRequest(RequestKind::Revocation)).await.unwrap();
    assert_eq!(ready.next.as_ref().unwrap().paragraph, "§9.7.1");
    let refused = rig.answer(&ready, Answer::Reason(Reason::Death)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.7.1"), "a reason of the issuing body's");
    let ready = rig.answer(&ready, Answer::Reason(Reason::Theft)).await.unwrap();
    assert_eq!(ready.next.as_ref().unwrap().paragraph, "§9.7.1-report");
    let done = rig.until(ready, "", "").await;
    assert_eq!((done.state, &done.warnings[1..]), (ProcedureState::Done, [].as_slice()));
    assert!(form(&rig, &done).await.contains("La revoca è definitiva"));
    let peer = peer.lock().unwrap();
    assert_eq!(peer.posted.len(), 1, "nothing was sent for the delegate");
    let posted = &peer.posted[0];
    assert_eq!((&posted["kind"], &posted["reason"]), (&"revocation".into(), &"loss-or-theft".into()));
    assert!(posted.get("email").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_procedure_in_the_national_systems_words() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    for (mood, said) in [(Mood::Declines, "no such card there"), (Mood::Refuses, "400")] {
        peer.lock().unwrap().moods = vec![mood];
        let ready = asked_what(&rig, Applicant::Holder).await;
        let ready = rig.until(ready, "", "§8-out").await;
        let refused = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
        assert!(
            matches!(&refused, ProcedureError::NationalRefused(words) if words.contains(said)),
            "{refused:?}"
        );
        assert!(refused.italian().is_some_and(|text| text.contains(said)));
        assert_eq!(rig.show(&ready).await.state, ProcedureState::Cancelled);
    }
    // Begun again, it is another request.
    let ready = asked_what(&rig, Applicant::Holder).await;
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
    assert_eq!(peer.lock().unwrap().done.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_procedure_was_cancelled_is_not_sent_again() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    peer.lock().unwrap().moods = vec![Mood::Silent];
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.until(ready, "", "§8-out").await;
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    let ended = rig.cancel(&ready).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
    assert!(
        ended.warnings.iter().any(|warning| warning.contains("may have reached")),
        "{:?}",
        ended.warnings
    );
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    rig.rooms().national.as_ref().unwrap().work().await.unwrap();
    assert_eq!(peer.lock().unwrap().posted.len(), 1);
    // What was accepted is not taken back by somebody who cancels later.
    let ready = asked_what(&rig, Applicant::Holder).await;
    let sent = rig.until(ready, "", "§9.3.3-6").await;
    assert_eq!(rig.cancel(&sent).await.unwrap().state, ProcedureState::Cancelled);
    assert_eq!(peer.lock().unwrap().done.len(), 2);
}

/// Answers the next step as another operator.
async fn answer_as(rig: &Rig, operator: &str, procedure: &Procedure) -> Procedure {
    let step = AnswerStep {
        procedure: procedure.id.clone(),
        paragraph: procedure.next.as_ref().unwrap().paragraph.clone(),
        answer: Answer::Confirmed,
        pin: None,
        signature_pin: None,
        operator_pin: None,
    };
    let procedures = &rig.rooms().procedures;
    procedures.answer(UID, &session(operator), step, ProgressSender::nobody()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operator_gets_an_accepted_request_and_is_warned_of_one_that_may_have_come() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    peer.lock().unwrap().moods = vec![Mood::Silent];
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.until(ready, "", "§8-out").await;
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    // The answer comes when it is asked again in the background.
    sqlx::query("UPDATE national_request SET next_at = 0")
        .execute(rig.rooms().database.pool())
        .await
        .unwrap();
    rig.rooms().national.as_ref().unwrap().work().await.unwrap();
    assert_eq!(peer.lock().unwrap().posted.len(), 2);
    let refused = rig.start_as("op2", Case::Standard).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.3"));
    let taken = rig.start_as("op2", Case::OtherRegion).await.unwrap();
    assert_eq!((&taken.id, taken.operator.as_str()), (&ready.id, "op2"));
    for warning in ["Taken over from operator op1", "has accepted the request"] {
        assert!(taken.warnings.iter().any(|told| told.contains(warning)), "{:?}", taken.warnings);
    }
    let sent = answer_as(&rig, "op2", &taken).await;
    assert_eq!(sent.next.as_ref().unwrap().paragraph, "§9.3.3-6");
    assert!(form(&rig, &sent).await.contains(FIRST_PART.1), "the codes are not lost");
    while rig.show(&sent).await.next.is_some() {
        answer_as(&rig, "op2", &rig.show(&sent).await).await;
    }
    assert_eq!(peer.lock().unwrap().done.len(), 1, "done once");

    // Nobody knows whether it came: it is taken back, and who begins again is told.
    peer.lock().unwrap().moods = vec![Mood::Silent];
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.until(ready, "", "§8-out").await;
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    let begun = rig.start_as("op2", Case::OtherRegion).await.unwrap();
    assert_ne!(begun.id, ready.id);
    assert!(
        begun.warnings.iter().any(|warning| warning.contains("may have reached")),
        "{:?}",
        begun.warnings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operator_gets_a_request_that_was_accepted_at_once() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    let ready = asked_what(&rig, Applicant::Holder).await;
    let sent = rig.until(ready, "", "§9.3.3-6").await;
    let refused = rig.start_as("op2", Case::Standard).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.3"));
    let taken = rig.start_as("op2", Case::OtherRegion).await.unwrap();
    assert_eq!((&taken.id, taken.operator.as_str()), (&sent.id, "op2"));
    for warning in ["Taken over from operator op1", "has accepted the request"] {
        assert!(taken.warnings.iter().any(|told| told.contains(warning)), "{:?}", taken.warnings);
    }
    assert!(form(&rig, &taken).await.contains(FIRST_PART.1), "the codes are not lost");
    while rig.show(&taken).await.next.is_some() {
        answer_as(&rig, "op2", &rig.show(&taken).await).await;
    }
    assert_eq!(peer.lock().unwrap().done.len(), 1, "done once");
    let recorded = entries(&rig, "procedure-taken-over").await;
    assert_eq!(recorded, [(Phase::Fact, Some("§9.3.3".to_owned()))], "of the case that was taken over");
}

/// What is recorded of an act, oldest first: phases and paragraphs.
async fn entries(rig: &Rig, act: &str) -> Vec<(Phase, Option<String>)> {
    let entries = rig.entries().await.into_iter().filter(|entry| entry.act == act);
    entries.map(|entry| (entry.phase, entry.paragraph)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_back_that_is_not_recorded_before() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    peer.lock().unwrap().moods = vec![Mood::Silent];
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.until(ready, "", "§8-out").await;
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    // Another case of another operator's takes its place; the request cannot be taken back now.
    refuse_writes(&rig.rooms().database, "national_request").await;
    rig.start_as("op2", Case::Standard).await.unwrap_err();
    assert_eq!(rig.show(&ready).await.state, ProcedureState::Open);
    let of_case = |phase| (phase, Some("§9.3.3".to_owned()));
    assert_eq!(entries(&rig, "national-withdraw").await, [of_case(Phase::Intention)]);
    assert_eq!(entries(&rig, "procedure-cancelled").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_replaced_procedure_is_recorded_under_its_own_case() {
    let mut rig = Rig::new().await;
    let peer = rig.connect().await;
    peer.lock().unwrap().moods = vec![Mood::Silent];
    let ready = asked_what(&rig, Applicant::Holder).await;
    let ready = rig.until(ready, "", "§8-out").await;
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    let begun = rig.start_as("op2", Case::Standard).await.unwrap();
    assert_ne!(begun.id, ready.id);
    let of_case = |phase| (phase, Some("§9.3.3".to_owned()));
    let taken_back = entries(&rig, "national-withdraw").await;
    assert_eq!(taken_back, [of_case(Phase::Intention), of_case(Phase::Outcome)]);
    assert_eq!(entries(&rig, "procedure-cancelled").await, [of_case(Phase::Fact)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pharmacies_and_counters_without_a_connection_do_not_serve_other_regions() {
    let mut rig = Rig::new().await;
    let refused = rig.start(Case::OtherRegion).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§8-out"));
    let _peer = rig.connect().await;
    let pharmacy = Session { counter_kind: CounterKind::Pharmacy, ..session("op1") };
    let start = |case| Start { reader: rig.reader.clone(), case };
    let refused = rig.rooms().procedures.start(UID, &pharmacy, start(Case::OtherRegion)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§8-counters"));
    assert!(refused.italian().is_some_and(|text| text.contains("sportello")));
    for info in rig.rooms().procedures.cases(CounterKind::Pharmacy) {
        let refusal = info.refusal.and_then(|refusal| refusal.paragraph);
        let expected = match info.case {
            Case::OtherRegion => Some("§8-counters"),
            // No authority for the status is linked here.
            Case::Suspension | Case::Reactivation | Case::Revocation => Some("§9.5.3"),
            Case::Standard
            | Case::NewCodes
            | Case::Signature
            | Case::Minor
            | Case::EmancipatedMinor
            | Case::Ward
            | Case::Delegation => None,
            // The configuration does not open it (X2).
            Case::Renewal => Some("X2"),
        };
        assert_eq!(refusal.as_deref(), expected, "{:?}", info.case);
    }
    rig.rooms().procedures.start(UID, &pharmacy, start(Case::Standard)).await.unwrap();
}
