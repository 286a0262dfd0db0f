//! §9.3.2 from the first step to the last, and §9.4 on the same card.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, Case, List, ProcedureState};
use cns_virtual_card::{SignatureAreaState, sample};

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_activated_with_its_signature_certificate() {
    let rig = Rig::new().await;
    let code = rig.codes[0].clone();
    let started = rig.start(Case::Standard).await.unwrap();
    assert_eq!(started.rules, "Sardegna 1.2 (2022-03-03)");
    assert_eq!(started.holder.codice_fiscale, "RSSMRA80A01H501U");
    assert!(started.certificate_subject.contains("RSSMRA80A01H501U"), "{}", started.certificate_subject);
    let recorded: Vec<_> = started.done.iter().map(|step| step.paragraph.as_str()).collect();
    assert_eq!(recorded, ["§9.3.2-2", "§9.3.2-4"]);
    // The same operator gets the open procedure back.
    assert_eq!(rig.start(Case::Standard).await.unwrap().id, started.id);
    assert_eq!(rig.rooms().procedures.list(&List {}).await.unwrap().len(), 1);

    let ready = rig.until(started, &code, "§9.3.2-7").await;
    assert_eq!(ready.envelope.as_deref(), Some(code.as_str()));
    assert_eq!(rig.rooms().custody.stock().await.unwrap().reserved, 1);
    let set = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    let step = set.done.last().unwrap();
    println!("setting the PIN: {:?}, {} ms", step.traffic, step.milliseconds);
    assert!(step.traffic.commands > 0 && step.paragraph == "§9.3.2-7");
    assert!(rig.takes_pin(&rig.letter(&code)));
    assert!(!rig.takes_pin(b"00000"));
    // Asked again, as after a lost connection, nothing is done twice.
    let again = rig.answer_with(&set, "§9.3.2-7", Answer::Confirmed, None).await.unwrap();
    assert_eq!(again.done.len(), set.done.len());

    let done = rig.until(set, &code, "").await;
    assert_eq!((done.state, &done.next), (ProcedureState::Done, &None));
    let made = done.done.iter().find(|step| step.paragraph == "§9.1.3").unwrap();
    println!("signature certificate: {:?}, {} ms", made.traffic, made.milliseconds);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (1, 0, 0));
    let contents = rig.rooms().readers.find_card(sample::ID_CARD).unwrap();
    assert!(contents.signature_certificate.is_some());
    let summary = rig.card.with_card(|card| card.card().summary());
    assert_eq!(summary.signature_area, SignatureAreaState::Certified);
    // Consumed: nobody can have the envelope's PIN any more.
    assert!(rig.rooms().custody.envelope_pin(&code, &done.id).await.is_err());

    assert_eq!(rig.phases("pin-set").await, [Phase::Intention, Phase::Outcome]);
    assert_eq!(rig.phases("signature-certificate").await, [Phase::Intention, Phase::Outcome]);
    assert_eq!(rig.phases("procedure-done").await, [Phase::Fact]);
    rig.rooms().audit.verify().await.unwrap();
    let log = serde_json::to_string(&rig.entries().await).unwrap();
    for private in ["ROSSI", "MARIO", "RSSMRA80A01H501U", "CA12345AA"] {
        assert!(!log.contains(private), "the audit log holds {private}");
    }
    assert!(rig.rooms().procedures.list(&List {}).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_codes_reach_the_signature_area_too() {
    let rig = Rig::new().await;
    let first = rig.start(Case::Standard).await.unwrap();
    rig.until(first, &rig.codes[0], "").await;
    // The citizen forgot the PIN and blocked the card.
    while rig.card.with_card(|card| card.card().summary().pin_tries) > 0 {
        assert!(!rig.takes_pin(b"000000"));
    }
    let second = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(second, &rig.codes[1], "§9.3.2-8").await;
    assert!(ready.warnings.iter().any(|warning| warning.contains("signature PIN was set")), "{ready:?}");
    let refused = rig.answer(&ready, Answer::Wanted(true)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§7-default"));
    let ready = rig.answer(&ready, Answer::Wanted(false)).await.unwrap();
    let done = rig.until(ready, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);
    let pin = rig.letter(&rig.codes[1]);
    assert!(rig.takes_pin(&pin));
    let signed = rig.sign_with_area(&pin).await;
    assert_eq!(signed.unwrap().len(), 256);
}
