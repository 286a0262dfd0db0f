//! §8, §9.3.3: a card of another region goes to the national system, once.

use std::sync::{Arc, Mutex};

use cns_protocol::counter::{Answer, Applicant, Case, ProcedureState, Start};
use cns_protocol::operator::{CounterKind, Session};
use cnsd::procedure::ProcedureError;
use cnsd::procedure::national::{Accepted, NationalError, NationalSystem, Outgoing};

use crate::rig::{Rig, UID, session};

/// Takes requests down, as the system's door does; away for the first one.
#[derive(Default)]
struct Door(Mutex<Vec<Outgoing>>);

impl NationalSystem for Door {
    fn send(&self, request: Outgoing) -> Accepted<'_> {
        let mut taken = self.0.lock().unwrap();
        taken.push(request);
        let answer = match taken.len() {
            1 => Err(NationalError::Failed("away".to_owned())),
            _ => Ok("TS-2026-1\n with what is not printable".to_owned()),
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_one_also_when_it_is_repeated() {
    let rig = Rig::new().await;
    let door = Arc::new(Door::default());
    rig.rooms().procedures.send_requests_to(door.clone());
    let started = rig.start(Case::OtherRegion).await.unwrap();
    let ready = rig.until(started, "", "§6.1").await;
    let ready = rig.answer(&ready, Answer::Applicant(Applicant::Delegate)).await.unwrap();
    let ready = rig.until(ready, "", "§8-out").await;
    let away = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(away, ProcedureError::National(_)), "{away:?}");
    let sent = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    let step = sent.done.iter().find(|step| step.paragraph == "§8-out").unwrap();
    assert_eq!(step.outcome, "accepted with reference TS-2026-1withwhatisnotprintable");
    let done = rig.until(sent, "", "").await;
    assert_eq!((done.state, done.envelope), (ProcedureState::Done, None));
    let taken = door.0.lock().unwrap();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].transaction, taken[1].transaction);
    assert_eq!(taken[0].representative.as_ref().unwrap().codice_fiscale, "VRDLCU80A01H501G");
    assert_eq!(taken[0].request.email, "mario@example.it");
}

#[tokio::test(flavor = "multi_thread")]
async fn pharmacies_and_counters_without_a_connection_do_not_serve_other_regions() {
    let rig = Rig::new().await;
    let refused = rig.start(Case::OtherRegion).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§8-out"));
    rig.rooms().procedures.send_requests_to(Arc::new(Door::default()));
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
        };
        assert_eq!(refusal.as_deref(), expected, "{:?}", info.case);
    }
    rig.rooms().procedures.start(UID, &pharmacy, start(Case::Standard)).await.unwrap();
}
