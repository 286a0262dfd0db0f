//! What the rules forbid, each refusal named by its paragraph.

use cns_protocol::counter::{Answer, Case, Document, ProcedureState, Verdict};
use cns_virtual_card::{Generation, sample};
use cnsd::custody::{CustodyError, PukKind};
use cnsd::procedure::ProcedureError;

use crate::rig::answers::document;
use crate::rig::{Rig, personalise, secret};

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_judged_step_by_step() {
    let rig = Rig::new().await;
    let started = rig.start(Case::Standard).await.unwrap();
    let wrong = rig.answer_with(&started, "§9.3.2-7", Answer::Confirmed, None).await.unwrap_err();
    assert!(matches!(wrong, ProcedureError::WrongStep { expected: "§9.3.2-1" }), "{wrong:?}");
    let wrong = rig.answer(&started, Answer::Wanted(true)).await.unwrap_err();
    assert!(matches!(wrong, ProcedureError::WrongAnswer { .. }));
    let wrong = rig.answer_with(&started, "§9.3.2-1", Answer::Confirmed, Some(b"12345")).await.unwrap_err();
    assert!(matches!(wrong, ProcedureError::WrongAnswer { .. }), "a PIN where none is wanted");

    let ready = rig.until(started, "", "§6.1.2").await;
    let expired = Document { expires: "2020-01-01".to_owned(), ..document() };
    let refused = rig.answer(&ready, Answer::Document(expired)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§6.1.2-documents"));
    let nameless = Document { number: " ".to_owned(), ..document() };
    let refused = rig.answer(&ready, Answer::Document(nameless)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§6.1.2-data"));

    let ready = rig.until(ready, "", "§9.3.2-5").await;
    let ended = rig.answer(&ready, Answer::Verdict(Verdict::Mismatch)).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
    assert!(ended.warnings.iter().any(|warning| warning.contains("Revenue Agency")));
    let over = rig.answer_with(&ended, "§9.3.2-5", Answer::Verdict(Verdict::Match), None).await;
    assert!(matches!(over, Err(ProcedureError::Over(_))));
    assert!(matches!(rig.cancel(&ended).await, Err(ProcedureError::Over(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_envelope_of_ones_own_is_taken() {
    let rig = Rig::new().await;
    let custody = &rig.rooms().custody;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, "", "§9.3.2-6").await;
    let mut mistyped = rig.codes[0].clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == '0' { '1' } else { '0' });
    let refused = rig.answer(&ready, Answer::Envelope(mistyped)).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Custody(CustodyError::CodeInvalid)), "{refused:?}");
    // Another operator's envelope, and one that another procedure has.
    let other = rig.codes[1].clone();
    custody.reserve(&other, "op1", "another", "6999000000001248").await.unwrap();
    let refused = rig.answer(&ready, Answer::Envelope(other)).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Custody(CustodyError::EnvelopeUnavailable { .. })));
    assert_eq!(rig.show(&ready).await.envelope, None);
    // Cancelled before the card is touched, the envelope is free again.
    let chosen = rig.answer(&ready, Answer::Envelope(rig.codes[2].clone())).await.unwrap();
    assert_eq!(custody.stock().await.unwrap().reserved, 2);
    let ended = rig.cancel(&chosen).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
    let stock = custody.stock().await.unwrap();
    assert_eq!((stock.reserved, stock.void), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_pin_that_was_not_handed_over_voids_its_envelope() {
    let rig = Rig::new().await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.3.2-8").await;
    let ended = rig.cancel(&ready).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.void), (0, 1));
    // The card is not lost: new codes with another envelope.
    let again = rig.start(Case::NewCodes).await.unwrap();
    rig.until(again, &rig.codes[1], "§9.3.2-8").await;
    assert!(rig.takes_pin(&rig.letter(&rig.codes[1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_do_not_meddle_but_may_take_over() {
    let rig = Rig::new().await;
    let first = rig.start(Case::Standard).await.unwrap();
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.2"), "one procedure at a time");
    // An activation offers the signature certificate itself (§9.3.2-8).
    assert_eq!(rig.start(Case::Signature).await.unwrap().id, first.id);
    // Nothing was touched: the second operator begins anew and identifies the holder.
    let second = rig.start_as("op2", Case::Standard).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(rig.show(&first).await.state, ProcedureState::Cancelled);
    let refused = rig.answer(&second, Answer::Confirmed).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.2-2"));
    // Once the PIN is set the procedure itself is taken over.
    let mine = rig.start(Case::Standard).await.unwrap();
    let mine = rig.until(mine, &rig.codes[0], "§9.3.2-8").await;
    let refused = rig.start_as("op2", Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.2"), "another case than the open one");
    assert_eq!(rig.show(&mine).await.operator, "op1");
    let taken = rig.start_as("op2", Case::Standard).await.unwrap();
    assert_eq!((&taken.id, taken.operator.as_str()), (&mine.id, "op2"));
    assert_eq!(rig.phases("procedure-taken-over").await.len(), 1);
    // The signature certificate is a part of the open activation, also for who takes it over.
    let back = rig.start_as("op1", Case::Signature).await.unwrap();
    assert_eq!((back.id, back.operator.as_str()), (mine.id, "op1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minor_gets_no_signature_certificate() {
    let rig = Rig::with(|order| {
        order.holder.birth_date = "2012-05-05".to_owned();
        order.holder.codice_fiscale = "RSSMRA12E05H501Y".to_owned();
    })
    .await;
    let refused = rig.start(Case::Signature).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§7-adult"));
    // Nor does the minor activate the card without a parent; an emancipated one is never asked about it (6.4.2).
    let refused = rig.start(Case::Standard).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§6.4.1"));
    for (case, code) in [(Case::Minor, &rig.codes[0]), (Case::EmancipatedMinor, &rig.codes[1])] {
        let ready = rig.start(case).await.unwrap();
        let done = rig.until(ready, code, "").await;
        assert_eq!(done.state, ProcedureState::Done);
        assert!(done.done.iter().all(|step| !["§9.3.2-8", "§9.1.3"].contains(&step.paragraph.as_str())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_takes_no_signature_area_gets_no_signature_certificate() {
    for generation in ["idemia2021", "ace2025"] {
        let generation = Generation::from_name(generation).unwrap();
        let rig = Rig::with(|order| order.generation = generation).await;
        let refused = rig.start(Case::Signature).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some("§9.1.3"), "{refused}");
        assert!(refused.to_string().contains("this generation of cards"), "{refused}");
        // The login is another matter: the card is activated without.
        let ready = rig.start(Case::Standard).await.unwrap();
        let ready = rig.until(ready, &rig.codes[0], "§9.3.2-8").await;
        let refused = rig.answer(&ready, Answer::Wanted(true)).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some("§9.1.3"));
        let ready = rig.answer(&ready, Answer::Wanted(false)).await.unwrap();
        let done = rig.until(ready, "", "").await;
        assert_eq!(done.state, ProcedureState::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_puk_ends_the_procedure_and_is_never_tried_again() {
    // The card left the manufacturer with another PUK than the one in custody.
    let rig = Rig::with(|order| order.puk = secret(b"11112222")).await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.3.2-7").await;
    let refused = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::PukRefused { tries_left: Some(2) }), "{refused:?}");
    assert_eq!(rig.show(&ready).await.state, ProcedureState::Cancelled);
    assert_eq!(rig.rooms().custody.stock().await.unwrap().assigned, 160, "the envelope is free again");
    assert!(!rig.rooms().custody.has_puk(sample::ID_CARD, PukKind::Cns).await.unwrap());
    let again = rig.start(Case::Standard).await.unwrap();
    let again = rig.until(again, &rig.codes[0], "§9.3.2-7").await;
    let refused = rig.answer(&again, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::NoPuk), "{refused:?}");
    assert_eq!(rig.card.with_card(|card| card.card().summary().puk_tries), 2);
    assert!(rig.takes_pin(sample::PIN), "the PIN is as it was");
    rig.cancel(&again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_puk_is_told_before_anything_is_sent() {
    let rig = Rig::new().await;
    let wrong = [&[0x00, 0x2C, 0x00, 0x90, 0x10][..], b"00000000", b"12345\xFF\xFF\xFF"].concat();
    rig.card.with_card(|card| {
        for _ in 0..3 {
            card.card().transmit(&wrong);
        }
    });
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.3.2-7").await;
    let refused = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::PukBlocked), "{refused:?}");
    assert_eq!(rig.rooms().custody.stock().await.unwrap().assigned, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_card_and_the_operators_own_card_are_refused() {
    let rig = Rig::new().await;
    rig.card.pull_out();
    rig.card_is_gone().await;
    assert!(matches!(rig.start(Case::Standard).await, Err(ProcedureError::Card(_))));
    rig.put_in().await;
    let own = crate::rig::session("op1");
    let own = cns_protocol::operator::Session { reader: rig.reader.clone(), ..own };
    let start = cns_protocol::counter::Start { reader: rig.reader.clone(), case: Case::Standard };
    let refused = rig.rooms().procedures.start(crate::rig::UID, &own, start).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3.2-4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_whose_certificate_is_another_ones_is_refused() {
    let rig = Rig::new().await;
    let mut order = sample::personalisation().unwrap();
    order.holder.codice_fiscale = "VRDLCU80A01H501G".to_owned();
    let stranger = personalise(&rig.certifier, &rig.folder.path().join("stranger"), order);
    let certificate = rig.certifier.list().unwrap().pop().unwrap().certificate;
    drop(stranger);
    rig.card.pull_out();
    rig.card.with_card(|card| card.card().load_certificate(&certificate)).unwrap();
    rig.put_in().await;
    for case in [Case::Standard, Case::NewCodes, Case::Signature] {
        let refused = rig.start(case).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some("§4.2.1"));
    }
}
