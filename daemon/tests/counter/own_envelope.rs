//! X1: the signature PIN in an envelope of its own, where the configuration has it so. Neither envelope is lost, used twice or
//! taken for the other, whatever happens.

use std::fs;
use std::path::Path;

use cns_protocol::counter::{Answer, Case, Procedure, ProcedureState, Sheet, SheetKind};
use cns_protocol::custody::EnvelopeStanding;
use cns_virtual_card::fault::Fault;
use cns_virtual_card::sealed::Recipient;
use cns_virtual_card::{SignatureAreaState, Tear, envelopes, sample};
use cnsd::card::CardError;
use cnsd::config::{AreaPin, UserCodesConfig};
use cnsd::custody::{CustodyError, PukKind};
use cnsd::holder::{Attempt, Holders};
use cnsd::procedure::ProcedureError;
use der::DecodePem;
use rsa::RsaPrivateKey;
use time::OffsetDateTime;
use x509_cert::Certificate;

use crate::rig::{Rig, secret, usual_answer};

/// A counter whose signature PINs are in envelopes of their own.
async fn counter() -> Rig {
    let mut rig = Rig::new().await;
    rig.take_area_pins_from(AreaPin::OwnEnvelope).await;
    rig
}

/// Takes the envelope for the signature PIN.
async fn take(rig: &Rig, procedure: &Procedure, code: &str) -> Result<Procedure, ProcedureError> {
    rig.answer(procedure, Answer::Envelope(code.to_owned())).await
}

/// To the end of a procedure, with these envelopes.
async fn whole(rig: &Rig, case: Case, [first, second]: [&str; 2]) -> Procedure {
    let mut procedure = rig.start(case).await.unwrap();
    while let Some(step) = procedure.next.clone() {
        let code = if step.paragraph.ends_with("-envelope") { second } else { first };
        let answer = usual_answer(&step, code, case == Case::Standard);
        procedure = rig.answer(&procedure, answer).await.unwrap();
    }
    procedure
}

async fn standing(rig: &Rig, code: &str) -> EnvelopeStanding {
    rig.rooms().custody.show_envelope(code).await.unwrap()
}

async fn state(rig: &Rig, code: &str) -> String {
    standing(rig, code).await.state
}

/// Whether the area's key signs with this PIN. A wrong one costs a try.
async fn area_takes(rig: &Rig, pin: &[u8]) -> bool {
    rig.sign_with_area(pin).await.is_ok()
}

/// What the holder is told who gives this user code.
async fn user_code(rig: &Rig, code: &[u8]) -> Attempt {
    let holders = Holders::open(&rig.rooms().database, &rig.rooms().custody, &UserCodesConfig::default());
    holders.verify_at(1, "RSSMRA80A01H501U", secret(code), OffsetDateTime::now_utc()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signature_pin_is_in_an_envelope_of_its_own() {
    let rig = counter().await;
    let [first, second] = [&rig.codes[0], &rig.codes[1]];
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, first, "§9.1.3-envelope").await;
    // The checks of §9.3.2-6, and not the card's envelope.
    let same = take(&rig, &ready, first).await.unwrap_err();
    assert_eq!(same.paragraph(), Some("§9.1.3-envelope"));
    assert!(same.italian().is_some_and(|text| text.contains("busta propria")));
    rig.rooms().custody.reserve(&rig.codes[2], "op1", "another", "6999000000001248").await.unwrap();
    let others = take(&rig, &ready, &rig.codes[2]).await.unwrap_err();
    assert!(
        matches!(others, ProcedureError::Custody(CustodyError::EnvelopeUnavailable { .. })),
        "{others:?}"
    );
    let mut mistyped = second.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == '0' { '1' } else { '0' });
    let mistyped = take(&rig, &ready, &mistyped).await.unwrap_err();
    assert!(matches!(mistyped, ProcedureError::Custody(CustodyError::CodeInvalid)), "{mistyped:?}");
    let chosen = take(&rig, &ready, second).await.unwrap();
    assert_eq!(chosen.signature_envelope.as_ref(), Some(second));
    assert_eq!(standing(&rig, second).await.purpose.as_deref(), Some("signature"));
    let made = rig.answer(&chosen, Answer::Confirmed).await.unwrap();
    let outcome = &made.done.last().unwrap().outcome;
    assert!(outcome.contains(second.as_str()), "{outcome}");
    let done = rig.until(made, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);

    let [pin, area_pin] = [first, second].map(|code| rig.letter(code));
    assert!(rig.takes_pin(&pin) && area_takes(&rig, &area_pin).await);
    assert!(!area_takes(&rig, &pin).await, "the card's PIN is another one");
    for code in [first, second] {
        assert_eq!(state(&rig, code).await, "used");
        let gone = rig.rooms().custody.envelope_pin(code, &done.id).await.err().unwrap();
        assert!(matches!(gone, CustodyError::PinDestroyed { .. }), "{gone:?}");
    }
    // The holder's user code is that of the card's envelope; the other one is nobody's, and cannot be tried.
    assert!(matches!(user_code(&rig, &rig.user_code(first)).await, Attempt::Matches { .. }));
    assert_eq!(user_code(&rig, &rig.user_code(second)).await, Attempt::Refused);
    let own = secret(&rig.user_code(second));
    assert!(!rig.rooms().custody.user_code_matches(second, &own).await.unwrap());
    let sheet = Sheet { procedure: done.id.clone(), kind: SheetKind::Information };
    let sheet = rig.rooms().procedures.sheet(&sheet).await.unwrap();
    assert!(sheet.html.contains(first.as_str()) && sheet.html.contains(second.as_str()), "{}", sheet.html);
    assert!(sheet.html.contains("busta chiusa a parte"), "{}", sheet.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_codes_reach_the_area_by_an_envelope_of_its_own_too() {
    let rig = counter().await;
    let codes = &rig.codes;
    whole(&rig, Case::Standard, [&codes[0], &codes[1]]).await;
    let done = whole(&rig, Case::NewCodes, [&codes[2], &codes[3]]).await;
    let paragraphs: Vec<_> = done.done.iter().map(|step| step.paragraph.as_str()).collect();
    assert_eq!(paragraphs[7..10], ["§9.3.2-6", "§9.4-envelope", "§9.3.2-7"]);
    assert!(rig.takes_pin(&rig.letter(&codes[2])) && area_takes(&rig, &rig.letter(&codes[3])).await);
    assert!(matches!(user_code(&rig, &rig.user_code(&codes[2])).await, Attempt::Matches { .. }));
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (4, 0, 0));
    // No envelope serves twice, for whatever it was.
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, "", "§9.3.2-6").await;
    take(&rig, &ready, &codes[3]).await.unwrap_err();
    let ready = take(&rig, &ready, &codes[4]).await.unwrap();
    take(&rig, &ready, &codes[1]).await.unwrap_err();
    take(&rig, &ready, &codes[4]).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_certificate_has_an_envelope_too_that_is_handed_over() {
    let rig = counter().await;
    let ready = rig.start(Case::Signature).await.unwrap();
    let ready = rig.until(ready, "", "§9.1.3-envelope").await;
    let ready = take(&rig, &ready, &rig.codes[0]).await.unwrap();
    let made = rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, Some(sample::PIN)).await.unwrap();
    assert_eq!(made.next.as_ref().unwrap().paragraph, "§9.3.2-9");
    // Another operator goes on with it and does not end it: nobody could know the PIN then.
    let refused = rig.start_as("op2", Case::NewCodes).await.unwrap_err();
    assert!(refused.to_string().contains(&made.id), "{refused}");
    assert_eq!(rig.start_as("op2", Case::Signature).await.unwrap().id, made.id);
    assert_eq!(rig.start(Case::Signature).await.unwrap().id, made.id);
    let done = rig.until(made, "", "").await;
    assert_eq!((done.state, done.envelope), (ProcedureState::Done, None));
    assert!(rig.takes_pin(sample::PIN) && area_takes(&rig, &rig.letter(&rig.codes[0])).await);
    assert_eq!(state(&rig, &rig.codes[0]).await, "used");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_held_at_the_start_holds_to_the_end() {
    let mut rig = counter().await;
    let begun = rig.start(Case::Standard).await.unwrap();
    let begun = rig.until(begun, &rig.codes[0], "§9.3.2-8").await;
    rig.take_area_pins_from(AreaPin::Envelope).await;
    let begun = rig.until(begun, "", "§9.1.3-envelope").await;
    let begun = take(&rig, &begun, &rig.codes[1]).await.unwrap();
    rig.until(begun, "", "").await;
    assert!(area_takes(&rig, &rig.letter(&rig.codes[1])).await);
    // And the other way round.
    rig.wants_signature = false;
    let begun = rig.start(Case::NewCodes).await.unwrap();
    let begun = rig.until(begun, &rig.codes[2], "§9.3.2-7").await;
    rig.take_area_pins_from(AreaPin::OwnEnvelope).await;
    rig.until(begun, "", "").await;
    assert!(rig.takes_pin(&rig.letter(&rig.codes[2])) && area_takes(&rig, &rig.letter(&rig.codes[2])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_procedure_leaves_each_envelope_as_the_card_has_it() {
    let rig = counter().await;
    let codes = &rig.codes;
    // Chosen, and nothing done with it.
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &codes[0], "§9.1.3-envelope").await;
    let ready = take(&rig, &ready, &codes[1]).await.unwrap();
    rig.cancel(&ready).await.unwrap();
    assert_eq!([state(&rig, &codes[0]).await, state(&rig, &codes[1]).await], ["void", "assigned"]);
    assert_eq!(standing(&rig, &codes[1]).await.purpose, None);
    // Cut while the area is made: its PIN may be on the card.
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, &codes[2], "§9.1.3-envelope").await;
    let ready = take(&rig, &ready, &codes[1]).await.unwrap();
    rig.card.with_card(|card| card.plan(30, Fault::PullOutAfter));
    rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    rig.put_in().await;
    let ended = rig.cancel(&ready).await.unwrap();
    assert!(ended.warnings.iter().any(|warning| warning.contains("signature PIN")), "{:?}", ended.warnings);
    assert_eq!([state(&rig, &codes[2]).await, state(&rig, &codes[1]).await], ["void", "void"]);
    let own = secret(&rig.user_code(&codes[1]));
    assert!(!rig.rooms().custody.user_code_matches(&codes[1], &own).await.unwrap(), "destroyed");
    // Handed over, and closed before its end.
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, &codes[3], "§9.1.3-envelope").await;
    let ready = take(&rig, &ready, &codes[4]).await.unwrap();
    let ready = rig.until(ready, "", "§9.3.2-10").await;
    rig.cancel(&ready).await.unwrap();
    assert_eq!([state(&rig, &codes[3]).await, state(&rig, &codes[4]).await], ["used", "used"]);
    assert!(rig.takes_pin(&rig.letter(&codes[3])) && area_takes(&rig, &rig.letter(&codes[4])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_area_that_refuses_its_puk_keeps_its_pin_and_the_envelope_is_taken_back() {
    let rig = counter().await;
    let codes = &rig.codes;
    whole(&rig, Case::Standard, [&codes[0], &codes[1]]).await;
    // Custody's PUK of the area is another one than the card's.
    sqlx::query("DELETE FROM puk WHERE kind = 'signature'")
        .execute(rig.rooms().database.pool())
        .await
        .unwrap();
    let wrong = secret(b"00000000");
    rig.rooms().custody.store_puk(sample::ID_CARD, PukKind::Signature, &wrong).await.unwrap();
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, &codes[2], "§9.4-envelope").await;
    let ready = take(&rig, &ready, &codes[3]).await.unwrap();
    let set = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert!(
        set.warnings.iter().any(|warning| warning.contains("free again when the procedure ends")),
        "{:?}",
        set.warnings
    );
    assert_eq!(set.signature_envelope, None);
    to_the_end(&rig, &set).await;
    assert!(rig.takes_pin(&rig.letter(&codes[2])));
    assert!(area_takes(&rig, &rig.letter(&codes[1])).await, "as it was");
    assert_eq!([state(&rig, &codes[2]).await, state(&rig, &codes[3]).await], ["used", "assigned"]);
    // Where custody has none at all, no second envelope is asked for.
    let ready = rig.start(Case::NewCodes).await.unwrap();
    let ready = rig.until(ready, &codes[4], "§9.3.2-7").await;
    assert!(ready.done.iter().all(|step| step.paragraph != "§9.4-envelope"));
    let set = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert!(set.warnings.iter().any(|warning| warning.contains("was not seen")), "{:?}", set.warnings);
}

/// The card is pulled out at every command that sets the codes of card and area: both are the envelopes' in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_command_of_new_codes_costs_neither_envelope_nor_try() {
    let rig = counter().await;
    let mut codes = rig.codes.clone().into_iter();
    let mut two = || [codes.next().unwrap(), codes.next().unwrap()];
    let [first, second] = two();
    whole(&rig, Case::Standard, [&first, &second]).await;
    let (mut used, mut cut_short) = (2, 0);
    let torn = [false, true].map(|done| Fault::Tear(Tear { write: 0, done }));
    for fault in [Fault::PullOutBefore, Fault::PullOutAfter, Fault::Status(0x6F00)].into_iter().chain(torn) {
        for command in 0.. {
            let [first, second] = two();
            let ready = rig.start(Case::NewCodes).await.unwrap();
            let ready = rig.until(ready, &first, "§9.4-envelope").await;
            let ready = take(&rig, &ready, &second).await.unwrap();
            rig.card.with_card(|card| card.plan(command, fault));
            let answer = rig.answer(&ready, Answer::Confirmed).await;
            let happened = rig.card.with_card(|card| card.pending() == 0);
            rig.card.with_card(|card| card.clear_plan());
            if rig.card.with_card(|card| card.is_out()) {
                rig.put_in().await;
            }
            if answer.is_err() {
                cut_short += 1;
                again(&rig, &ready).await;
            }
            let set = rig.show(&ready).await;
            assert_eq!(set.next.as_ref().unwrap().paragraph, "§9.3.2-8", "{fault:?} at {command}");
            assert_eq!(set.signature_envelope.as_ref(), Some(&second), "{fault:?} at {command}");
            to_the_end(&rig, &set).await;
            let [pin, area_pin] = [&first, &second].map(|code| rig.letter(code));
            assert!(rig.takes_pin(&pin), "{fault:?} at {command}");
            assert!(area_takes(&rig, &area_pin).await, "{fault:?} at {command}");
            used += 2;
            if !happened {
                break;
            }
        }
    }
    println!("{used} envelopes used, {cut_short} procedures cut short");
    assert!(cut_short > 20);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (used, 0, 0));
    let summary = rig.card.with_card(|card| card.card().summary());
    assert_eq!((summary.pin_tries, summary.puk_tries, summary.signature_pin_tries), (3, 3, Some(3)));
    rig.rooms().audit.verify().await.unwrap();
}

/// The operator answers §9.3.2-7 until it is done: once more where the daemon first tells what it cannot know, and after
/// taking the card out and putting it in where it was misread.
async fn again(rig: &Rig, ready: &Procedure) {
    for _ in 0..3 {
        match rig.answer_with(ready, "§9.3.2-7", Answer::Confirmed, None).await {
            Ok(_) => return,
            Err(ProcedureError::PukDoubtful { .. }) => {}
            Err(ProcedureError::CardElsewhere | ProcedureError::Card(CardError::AreaNotReady(_))) => {
                rig.card.pull_out();
                rig.put_in().await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the codes are never set");
}

/// The card is pulled out at every command of the signature work.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_command_of_the_signature_work_gives_the_area_its_own_envelopes_pin() {
    let mut rig = counter().await;
    let mut codes = rig.codes.clone().into_iter();
    rig.keep_card();
    let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
    let mut used = 0;
    for command in 0.. {
        rig.kept_card_again().await;
        rig.card.with_card(|card| card.card().plan_keys(keys.clone()));
        let [first, second] = [codes.next().unwrap(), codes.next().unwrap()];
        let ready = rig.start(Case::NewCodes).await.unwrap();
        let ready = rig.until(ready, &first, "§9.1.3-envelope").await;
        let ready = take(&rig, &ready, &second).await.unwrap();
        rig.card.with_card(|card| card.plan(command, Fault::PullOutAfter));
        let cut = rig.answer(&ready, Answer::Confirmed).await;
        let happened = rig.card.with_card(|card| card.pending() == 0);
        rig.card.with_card(|card| card.clear_plan());
        if rig.card.with_card(|card| card.is_out()) {
            rig.put_in().await;
        }
        if cut.is_err() {
            rig.answer_with(&ready, "§9.1.3", Answer::Confirmed, None)
                .await
                .unwrap_or_else(|error| panic!("at {command}: {error:?}"));
        }
        let ready = rig.show(&ready).await;
        assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
        let [pin, area_pin] = [&first, &second].map(|code| rig.letter(code));
        assert!(rig.takes_pin(&pin) && area_takes(&rig, &area_pin).await, "at {command}");
        used += 2;
        if !happened {
            println!("pulled out at {command} commands");
            assert!(command > 50);
            break;
        }
    }
    let state = rig.card.with_card(|card| card.card().summary().signature_area);
    assert_eq!(state, SignatureAreaState::Certified);
    let stock = rig.rooms().custody.stock().await.unwrap();
    assert_eq!((stock.used, stock.reserved, stock.void), (used, 0, 0));
}

/// Neither envelope's PIN nor user code is in the state folder, in a sheet or in what clients are shown.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_either_envelope_is_written_down() {
    let rig = counter().await;
    let custody = &rig.rooms().custody;
    // Eight digits: fewer would be found by chance.
    let certificate = Certificate::from_pem(custody.import_certificate_pem()).unwrap();
    let recipient = Recipient::from_certificate(&certificate).unwrap();
    let letters = rig.folder.path().join("long-letters");
    custody.import(&envelopes::print(4, 8, &recipient, &letters).unwrap()).await.unwrap();
    let mut codes = Vec::new();
    let mut secrets = Vec::new();
    for letter in fs::read_dir(&letters).unwrap() {
        let path = letter.unwrap().path();
        codes.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        let text = fs::read_to_string(&path).unwrap();
        let of =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().as_bytes().to_vec();
        secrets.extend([of("PIN: "), of("User code: ")]);
    }
    custody.assign("op1", &codes).await.unwrap();
    let mut shown = Vec::new();
    for (case, two) in [(Case::Standard, [0, 1]), (Case::NewCodes, [2, 3])] {
        let done = whole(&rig, case, two.map(|number| codes[number].as_str())).await;
        for kind in [SheetKind::Information, SheetKind::Request] {
            let sheet = Sheet { procedure: done.id.clone(), kind };
            shown
                .extend(rig.rooms().procedures.sheet(&sheet).await.ok().map(|sheet| sheet.html.into_bytes()));
        }
        shown.push(serde_json::to_vec(&done).unwrap());
    }
    shown.push(serde_json::to_vec(&rig.entries().await).unwrap());
    files(&rig.folder.path().join("state"), &mut shown);
    let bytes: usize = shown.iter().map(Vec::len).sum();
    println!("{} secrets, {bytes} bytes", secrets.len());
    assert!(bytes > 100_000 && secrets.len() == 8);
    let holds =
        |secret: &[u8]| shown.iter().any(|text| text.windows(secret.len()).any(|part| part == secret));
    assert!(holds(codes[1].as_bytes()), "the search finds what is there");
    assert!(!secrets.iter().any(|secret| holds(secret)), "a secret was written down");
}

/// The contents of every file below a folder.
fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(fs::read(path).unwrap()) }
    }
}

/// To the end of new codes, without a signature certificate.
async fn to_the_end(rig: &Rig, set: &Procedure) {
    let ready = rig.answer_with(set, "§9.3.2-8", Answer::Wanted(false), None).await.unwrap();
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
}
