//! The card pulled at every command, and the daemon gone at the worst moment: never an envelope lost or used twice,
//! always the envelope's PIN on the card in the end.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, Case, Procedure, ProcedureState};
use cns_virtual_card::fault::{Fault, Garbage, Trigger};
use cns_virtual_card::{SignatureAreaState, Tear, sample};
use cnsd::card::CardError;
use cnsd::custody::PukKind;
use cnsd::procedure::ProcedureError;
use rsa::RsaPrivateKey;

use crate::rig::{Rig, secret};

/// Commands of a step on the sample card.
async fn commands_of(rig: &Rig, paragraph: &str, code: &str) -> u64 {
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let done = rig.until(ready, code, "").await;
    done.done.iter().find(|step| step.paragraph == paragraph).unwrap().traffic.commands
}

/// What may go wrong at one command of the PIN setting.
fn troubles() -> Vec<Fault> {
    let torn = [(0, false), (0, true), (1, false), (1, true)];
    let garbage = [Garbage::Cut(0), Garbage::Cut(1), Garbage::StatusOnly, Garbage::Longer(300)];
    [Fault::PullOutBefore, Fault::PullOutAfter, Fault::Reset]
        .into_iter()
        .chain(torn.map(|(write, done)| Fault::Tear(Tear { write, done })))
        .chain([0x6F00, 0x6581, 0x6982, 0x6A84, 0x6E00].map(Fault::Status))
        .chain(garbage.map(Fault::Garbage))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_command_of_the_pin_setting_costs_neither_envelope_nor_try() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let mut codes = rig.codes.clone().into_iter();
    let (mut procedures, mut cut_short) = (0, 0);
    for fault in troubles() {
        // As many commands as there are: the run in which nothing happens any more is the last one.
        for command in 0.. {
            let code = codes.next().unwrap();
            let ready = rig.start(Case::NewCodes).await.unwrap();
            let ready = rig.until(ready, &code, "§9.3.2-7").await;
            rig.card.with_card(|card| card.plan(command, fault));
            let answer = rig.answer(&ready, Answer::Confirmed).await;
            let happened = rig.card.with_card(|card| card.pending() == 0);
            rig.card.with_card(|card| card.clear_plan());
            let set = match answer {
                Ok(set) => set,
                Err(cut) if rig.card.with_card(|card| card.is_out()) => {
                    cut_short += 1;
                    cut_and_back(&rig, &ready, &cut).await
                }
                Err(_) => {
                    cut_short += 1;
                    answered_again(&rig, &ready).await
                }
            };
            assert_eq!(set.state, ProcedureState::Open);
            assert_eq!(set.next.as_ref().unwrap().paragraph, "§9.3.2-8");
            assert!(rig.takes_pin(&rig.letter(&code)), "{fault:?} at {command}");
            rig.until(set, &code, "").await;
            procedures += 1;
            if !happened {
                assert!(command >= 4 || matches!(fault, Fault::Tear(_)), "only {command} commands");
                break;
            }
        }
    }
    println!("{} faults, {procedures} procedures, {cut_short} of them cut short", troubles().len());
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (procedures, 0, 0));
    let summary = rig.card.with_card(|card| card.card().summary());
    assert_eq!((summary.pin_tries, summary.puk_tries), (3, 3), "no try was burnt");
    rig.rooms().audit.verify().await.unwrap();
}

/// The operator answers the step again; once more where the daemon first tells what it cannot know.
async fn answered_again(rig: &Rig, ready: &Procedure) -> Procedure {
    match set_again(rig, ready).await {
        Err(ProcedureError::PukDoubtful { .. }) => set_again(rig, ready).await.unwrap(),
        answer => answer.unwrap(),
    }
}

/// The chip has set the PIN, and what it answered makes no sense: nobody may believe that nothing was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_answer_leaves_the_envelope_in_doubt() {
    for garbage in [Garbage::Cut(0), Garbage::Cut(1)] {
        let mut rig = Rig::new().await;
        rig.wants_signature = false;
        let ready = rig.start(Case::NewCodes).await.unwrap();
        let ready = rig.until(ready, &rig.codes[1], "§9.3.2-7").await;
        let reset = Trigger::Instruction { ins: 0x2C, after: 0 };
        rig.card.with_card(|card| card.plan_at(reset, Fault::Garbage(garbage)));
        let error = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
        assert!(matches!(error, ProcedureError::Unsettled { .. }), "{error:?}");
        assert_eq!(rig.show(&ready).await.state, ProcedureState::Unsettled);
        assert!(rig.takes_pin(&rig.letter(&rig.codes[1])));
        // Cancelled now, the envelope may not be given to somebody else.
        rig.cancel(&ready).await.unwrap();
        let stock = rig.rooms().custody.stock().await.unwrap();
        assert_eq!((stock.used, stock.reserved, stock.void), (0, 0, 1));
    }
}

/// The card was pulled: nothing can be done without it, and everything with it.
async fn cut_and_back(rig: &Rig, ready: &Procedure, cut: &ProcedureError) -> Procedure {
    let gone = |cause: &CardError| matches!(cause, CardError::Removed);
    assert!(
        matches!(cut, ProcedureError::Card(cause) | ProcedureError::Unsettled { cause } if gone(cause)),
        "{cut:?}"
    );
    rig.card_is_gone().await;
    let without = rig.answer_with(ready, "§9.3.2-7", Answer::Confirmed, None).await;
    assert!(matches!(without, Err(ProcedureError::CardElsewhere)), "{without:?}");
    rig.put_in().await;
    answered_again(rig, ready).await
}

/// The chip has executed RESET RETRY COUNTER, nobody heard the answer, and the card is out of the reader.
pub(crate) async fn cut_after_the_pin_was_set(rig: &Rig) -> Procedure {
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, &rig.codes[1], "§9.3.2-7").await;
    for command in 0.. {
        rig.card.with_card(|card| card.plan(command, Fault::PullOutAfter));
        rig.answer_with(&ready, "§9.3.2-7", Answer::Confirmed, None).await.unwrap_err();
        let unsettled = rig.show(&ready).await.state == ProcedureState::Unsettled;
        if unsettled && rig.takes_pin(&rig.letter(&rig.codes[1])) {
            break;
        }
        rig.put_in().await;
    }
    ready
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_comes_back_is_settled_without_the_operator() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    let settling = tokio::spawn(rig.rooms().procedures.clone().settle_loop());
    rig.put_in().await;
    let settled = rig.settled(&cut).await;
    assert_eq!(settled.next.as_ref().unwrap().paragraph, "§9.3.2-8");
    assert!(rig.takes_pin(&rig.letter(&rig.codes[1])));
    let phases = rig.phases("pin-set").await;
    assert!(phases.len() >= 4 && phases.chunks(2).all(|two| two == [Phase::Intention, Phase::Outcome]));
    assert_eq!(rig.entries().await.last().unwrap().operator, None, "the daemon did it by itself");
    rig.rooms().readers.stop();
    settling.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_went_away_settles_when_it_starts() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    rig.restart().await;
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    let settled = rig.show(&cut).await;
    assert_eq!(settled.state, ProcedureState::Open);
    assert!(rig.takes_pin(&rig.letter(&rig.codes[1])));
    let done = rig.until(settled, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_unsettled_procedure_voids_its_envelope() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    let ended = rig.cancel(&cut).await.unwrap();
    assert_eq!(ended.state, ProcedureState::Cancelled);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (0, 0, 1));
    // It stays so when the card is back.
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Cancelled);
}

/// Answers §9.3.2-7.
pub(crate) async fn set_again(rig: &Rig, procedure: &Procedure) -> Result<Procedure, ProcedureError> {
    rig.answer_with(procedure, "§9.3.2-7", Answer::Confirmed, None).await
}

fn puk_tries(rig: &Rig) -> u8 {
    rig.card.with_card(|card| card.card().summary().puk_tries)
}

fn enter_wrong_puk(rig: &Rig) {
    let wrong = [&[0x00, 0x2C, 0x00, 0x90, 0x10][..], b"00000000", b"12345\xFF\xFF\xFF"].concat();
    rig.card.with_card(|card| {
        card.card().power_on();
        assert_eq!(card.card().transmit(&wrong), [0x63, 0xC2]);
        card.reset();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_puk_refused_unheard_is_presented_again_only_by_the_operators_decision() {
    let mut rig = Rig::with(|order| order.puk = secret(b"11112222")).await;
    rig.wants_signature = false;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.3.2-7").await;
    // Each command in turn, until the one that loses a try without anybody hearing of it.
    let mut command = 0;
    while puk_tries(&rig) == 3 {
        rig.card.with_card(|card| card.plan(command, Fault::PullOutAfter));
        set_again(&rig, &ready).await.unwrap_err();
        rig.put_in().await;
        command += 1;
        assert!(command < 20);
    }
    for _ in 0..2 {
        rig.rooms().procedures.settle().await.unwrap();
    }
    let kept = rig.show(&ready).await;
    assert_eq!((kept.state, puk_tries(&rig)), (ProcedureState::Unsettled, 2), "the daemon spends no try");
    assert!(
        kept.warnings.iter().any(|warning| warning.contains("may have been refused")),
        "{:?}",
        kept.warnings
    );
    // No other answer stands for the decision, and the first one is told what it is about.
    let other = rig.answer_with(&ready, "§9.3.2-8", Answer::Wanted(false), None).await.unwrap_err();
    assert!(matches!(other, ProcedureError::WrongStep { expected: "§9.3.2-7" }), "{other:?}");
    let told = set_again(&rig, &ready).await.unwrap_err();
    assert!(matches!(told, ProcedureError::PukDoubtful { tries_left: Some(2) }), "{told:?}");
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(puk_tries(&rig), 2, "what the operator was told does not free the daemon");
    assert!(rig.rooms().custody.has_puk(sample::ID_CARD, PukKind::Cns).await.unwrap());
    // Decided; heard this time.
    let refused = set_again(&rig, &ready).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::PukRefused { tries_left: Some(1) }), "{refused:?}");
    assert!(!rig.rooms().custody.has_puk(sample::ID_CARD, PukKind::Cns).await.unwrap());
    assert_eq!(rig.rooms().custody.stock().await.unwrap().void, 1, "nobody can be sure: void");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_wrong_puk_costs_neither_the_envelope_nor_custodys_puk() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    enter_wrong_puk(&rig);
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Unsettled);
    let told = set_again(&rig, &cut).await.unwrap_err();
    assert!(matches!(told, ProcedureError::PukDoubtful { tries_left: Some(2) }), "{told:?}");
    // Cut off once more: the counter that was seen last is what the next one is compared with.
    for command in 0..20 {
        rig.card.with_card(|card| card.plan(command, Fault::PullOutBefore));
        let error = set_again(&rig, &cut).await.unwrap_err();
        rig.put_in().await;
        if matches!(error, ProcedureError::Unsettled { .. }) {
            break;
        }
    }
    rig.card.with_card(|card| card.clear_plan());
    rig.rooms().procedures.settle().await.unwrap();
    let settled = rig.show(&cut).await;
    assert_eq!((settled.state, puk_tries(&rig)), (ProcedureState::Open, 3));
    rig.until(settled, "", "").await;
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chip_that_does_not_tell_is_settled_by_the_operators_decision() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    rig.put_in().await;
    // The PIN's folder cannot be selected to ask for the counters.
    let silent = |rig: &Rig| rig.card.with_card(|card| card.plan(0, Fault::Status(0x6A82)));
    silent(&rig);
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Unsettled);
    silent(&rig);
    let told = set_again(&rig, &cut).await.unwrap_err();
    assert!(matches!(told, ProcedureError::PukDoubtful { tries_left: None }), "{told:?}");
    silent(&rig);
    let settled = set_again(&rig, &cut).await.unwrap();
    assert_eq!(settled.next.as_ref().unwrap().paragraph, "§9.3.2-8");
}

/// What happens at the commands of the signature work and of a renewal, besides being pulled out.
pub(crate) const OTHERS: [Fault; 7] = [
    Fault::Tear(Tear { write: 0, done: false }),
    Fault::Status(0x6F00),
    Fault::Reset,
    Fault::Garbage(Garbage::Cut(0)),
    Fault::Status(0x6982),
    Fault::Garbage(Garbage::Longer(300)),
    Fault::Tear(Tear { write: 0, done: true }),
];

/// The operator answers §9.1.3 again; where reading the card anew had gone wrong, after taking it out and putting it
/// in again.
async fn work_again(rig: &Rig, ready: &Procedure) -> Result<Procedure, ProcedureError> {
    let again = || rig.answer_with(ready, "§9.1.3", Answer::Confirmed, None);
    let made = again().await;
    let misread = |error: &ProcedureError| {
        matches!(error, ProcedureError::CardElsewhere | ProcedureError::Card(CardError::AreaExists))
    };
    if !made.as_ref().is_err_and(misread) {
        return made;
    }
    rig.card.pull_out();
    rig.put_in().await;
    again().await
}

/// The card is pulled out at every command, and at every command something else happens as well, one kind after the
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_command_of_the_signature_work_still_ends_with_a_certificate() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let mut codes = rig.codes.clone().into_iter();
    let first = rig.start(Case::Standard).await.unwrap();
    rig.until(first, &codes.next().unwrap(), "").await;
    rig.keep_card();
    rig.wants_signature = true;
    // Making them is what takes long.
    let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
    let commands = commands_of(&rig, "§9.1.3", &codes.next().unwrap()).await;
    println!("the signature work takes {commands} commands");
    let other = (0..commands).zip(OTHERS.iter().cycle().copied());
    let runs = (0..commands).map(|command| (command, Fault::PullOutAfter)).chain(other);
    for (command, fault) in runs {
        rig.kept_card_again().await;
        rig.card.with_card(|card| card.card().plan_keys(keys.clone()));
        let code = codes.next().unwrap();
        let ready = rig.start(Case::NewCodes).await.unwrap();
        let ready = rig.until(ready, &code, "§9.1.3").await;
        rig.card.with_card(|card| card.plan(command, fault));
        // What is read again at the end may be cut too: the certificate is then on the card already.
        let cut = rig.answer(&ready, Answer::Confirmed).await;
        rig.card.with_card(|card| card.clear_plan());
        if let Err(error) = &cut {
            assert!(matches!(error, ProcedureError::Card(_)), "{fault:?} at {command}: {error:?}");
        }
        if rig.card.with_card(|card| card.is_out()) {
            rig.put_in().await;
        }
        let made = match cut {
            Ok(made) => made,
            Err(_) => work_again(&rig, &ready)
                .await
                .unwrap_or_else(|error| panic!("after {fault:?} at {command}: {error:?}")),
        };
        let done = rig.until(made, &code, "").await;
        assert_eq!(done.state, ProcedureState::Done);
        let summary = rig.card.with_card(|card| card.card().summary());
        assert_eq!(summary.signature_area, SignatureAreaState::Certified, "{fault:?} at {command}");
        assert_eq!(
            rig.sign_with_area(&rig.letter(&code)).await.unwrap().len(),
            256,
            "{fault:?} at {command}"
        );
    }
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.reserved, stock.void), (0, 0));
    rig.rooms().audit.verify().await.unwrap();
}
