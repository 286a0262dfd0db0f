//! X2: the renewal of a signature certificate, closed unless the configuration opens it; the old key serves until the new
//! one does, whatever happens.

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, Case, Procedure, ProcedureState, Sheet, SheetKind};
use cns_protocol::operator::CounterKind;
use cns_protocol::pin::PinName;
use cns_virtual_authority::{Fault as AuthorityFault, FaultKind, Profile, Reason, Status};
use cns_virtual_card::fault::{Fault, Trigger};
use cns_virtual_card::sample;
use cnsd::card::{CardError, CardSession, LastTry, pin};
use cnsd::procedure::ProcedureError;
use cnsd::procedure::certifier::CertifierError;
use rsa::RsaPrivateKey;
use sha2::{Digest, Sha256};

use crate::faults::OTHERS;
use crate::rig::{Rig, secret};
use crate::status::Registry;

/// DELETE FILE, with which the old key goes.
const DELETION: Trigger = Trigger::Instruction { ins: 0xE4, after: 0 };
const SIGNATURE_PIN: &[u8] = b"54321";
const PINS: [Option<&[u8]>; 2] = [Some(sample::PIN), Some(SIGNATURE_PIN)];

/// The signature certificates that the certifier has issued.
fn issued(rig: &Rig) -> usize {
    let records = rig.certifier.list().unwrap();
    records.iter().filter(|record| record.profile == Profile::QualifiedSignature).count()
}

/// A counter that renews, and a card with a signature certificate whose PIN is not the card's.
async fn renewing() -> Rig {
    let mut rig = Rig::new().await;
    rig.allow_renewal();
    crate::removal::make(&rig).await;
    let change = |session: &mut CardSession<'_>| {
        let (old, new) = (secret(sample::PIN), secret(SIGNATURE_PIN));
        pin::change(session, PinName::Signature, &old, &new, LastTry::Ask).map(drop)
    };
    rig.rooms().readers.run(&rig.reader, None, change).await.unwrap();
    rig
}

/// A renewal that waits for the PINs.
async fn ready(rig: &Rig) -> Procedure {
    let started = rig.start(Case::Renewal).await.unwrap();
    rig.until(started, "", "§9.1.3").await
}

async fn renew(rig: &Rig, ready: &Procedure) -> Result<Procedure, ProcedureError> {
    rig.answer_with_pins(ready, "§9.1.3", Answer::Confirmed, PINS).await
}

fn certificate(rig: &Rig) -> Vec<u8> {
    let contents = rig.rooms().readers.find_card(sample::ID_CARD).unwrap();
    contents.signature_certificate.clone().unwrap()
}

/// Whether a signature can be made now.
async fn signs(rig: &Rig) -> bool {
    rig.sign_with_area(SIGNATURE_PIN).await.is_ok_and(|signature| signature.len() == 256)
}

/// The signature certificate that the daemon knows the card to have.
async fn noted(rig: &Rig) -> Vec<u8> {
    let query = "SELECT sha256 FROM card_certificate WHERE key_use = 'signature' AND removed_at IS NULL";
    let (digest,): (String,) = sqlx::query_as(query).fetch_one(rig.rooms().database.pool()).await.unwrap();
    let is = |certificate: &Vec<u8>| hex::encode(Sha256::digest(certificate)) == digest;
    rig.certifier.list().unwrap().into_iter().map(|record| record.certificate).find(is).unwrap()
}

/// The places for a key that the card has.
fn places(rig: &Rig) -> [bool; 2] {
    rig.card.with_card(|card| {
        let names = card.card().access_conditions();
        ["3F00/1400/8110", "3F00/1400/8111"].map(|place| names.contains_key(place))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_closed_unless_the_configuration_opens_it() {
    let mut rig = Rig::new().await;
    crate::removal::make(&rig).await;
    let refused = rig.start(Case::Renewal).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("X2"));
    assert!(refused.to_string().contains("1.2"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("`renewal` in [counter]")), "{refused:?}");
    assert!(refused.italian().is_some_and(|text| text.contains("1.2") && text.contains("`renewal`")));
    let told = |rig: &Rig| {
        let cases = rig.rooms().procedures.cases(CounterKind::Pharmacy);
        cases.into_iter().find(|info| info.case == Case::Renewal).unwrap().refusal
    };
    assert_eq!(told(&rig).and_then(|refusal| refusal.paragraph).as_deref(), Some("X2"));
    rig.allow_renewal();
    assert_eq!(told(&rig), None);
    assert_eq!(ready(&rig).await.next.unwrap().paragraph, "§9.1.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_certificate_takes_the_old_ones_place() {
    let rig = renewing().await;
    for places_after in [[false, true], [true, false]] {
        let old = certificate(&rig);
        let started = rig.start(Case::Renewal).await.unwrap();
        assert!(
            started.warnings.iter().any(|warning| warning.contains("days more")),
            "{:?}",
            started.warnings
        );
        let form = rig.until(started, "", "§7-form").await;
        let sheet = |kind| Sheet { procedure: form.id.clone(), kind };
        let procedures = &rig.rooms().procedures;
        let request = procedures.sheet(&sheet(SheetKind::Request)).await.unwrap();
        assert!(request.html.contains("chiede il rinnovo"), "{}", request.html);
        let ready = rig.until(form.clone(), "", "§9.1.3").await;
        let change = rig.rooms().readers.list().change;
        let done = renew(&rig, &ready).await.unwrap();
        // Programs that use the card are told.
        assert!(rig.rooms().readers.list().change > change);
        let traffic = done.done.last().unwrap().traffic;
        println!(
            "renewed with {} commands, {} bytes up and {} down",
            traffic.commands, traffic.bytes_sent, traffic.bytes_received
        );
        let done = rig.until(done, "", "").await;
        assert_eq!(done.state, ProcedureState::Done);
        let information = procedures.sheet(&sheet(SheetKind::Information)).await.unwrap();
        assert!(information.html.contains("rinnovato con una nuova chiave"), "{}", information.html);
        assert!(!information.html.contains("inizialmente quello della carta"), "{}", information.html);

        let new = certificate(&rig);
        assert_ne!(new, old);
        assert_eq!(places(&rig), places_after, "one key, in the other place");
        assert!(signs(&rig).await);
        let records = rig.certifier.list().unwrap();
        let record = records.iter().find(|record| record.certificate == old).unwrap();
        assert!(matches!(record.status, Status::Valid), "the old one is not revoked: {:?}", record.status);
        assert_eq!(noted(&rig).await, new, "a card that is lost is known by its new certificate");
    }
    assert_eq!(issued(&rig), 3);
    assert_eq!(rig.phases("signature-renewal").await, [Phase::Intention, Phase::Outcome].repeat(2));
    let started = rig.entries().await;
    let started = started.iter().filter(|entry| entry.act == "procedure-started");
    assert_eq!(started.filter(|entry| entry.paragraph.as_deref() == Some("X2")).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_leaves_the_old_certificate_in_use() {
    let rig = renewing().await;
    let (old, ready) = (certificate(&rig), ready(&rig).await);
    let answer = |pins| rig.answer_with_pins(&ready, "§9.1.3", Answer::Confirmed, pins);
    for missing in [[None, None], [Some(sample::PIN), None], [None, Some(SIGNATURE_PIN)]] {
        let refused = answer(missing).await.unwrap_err();
        assert!(matches!(refused, ProcedureError::WrongAnswer { .. }), "{refused:?}");
    }
    for wrong in [[Some(b"99999".as_slice()), Some(SIGNATURE_PIN)], [Some(sample::PIN), Some(b"99999")]] {
        let refused = answer(wrong).await.unwrap_err();
        let expected = CardError::PinIncorrect { tries_left: Some(2) };
        assert_eq!(refused.to_string(), expected.to_string());
        assert_eq!(certificate(&rig), old);
        assert!(signs(&rig).await, "the old key serves");
    }
    assert_eq!(issued(&rig), 1, "the authority has heard nothing of it");
    renew(&rig, &ready).await.unwrap();
    assert!(certificate(&rig) != old && signs(&rig).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_try_left_the_pin_is_proved_first() {
    let rig = renewing().await;
    let ready = ready(&rig).await;
    for _ in 0..2 {
        rig.answer_with_pins(&ready, "§9.1.3", Answer::Confirmed, [PINS[0], Some(b"99999")])
            .await
            .unwrap_err();
    }
    let refused = renew(&rig, &ready).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Card(CardError::LastTry)), "{refused:?}");
    for text in [refused.hint().map(str::to_owned), refused.italian()] {
        assert!(text.is_some_and(|text| text.contains("pin.verify")), "{refused:?}");
    }
    let prove = |session: &mut CardSession<'_>| {
        pin::verify(session, PinName::Signature, &secret(SIGNATURE_PIN), LastTry::Confirmed)
    };
    rig.rooms().readers.run(&rig.reader, None, prove).await.unwrap();
    renew(&rig, &ready).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_was_away_is_asked_again_and_renews_once() {
    let mut rig = renewing().await;
    let (old, ready) = (certificate(&rig), ready(&rig).await);
    rig.authority_goes().await;
    // A connection of before is not taken along.
    rig.restart().await;
    rig.card_is_back().await;
    let failed = renew(&rig, &ready).await.unwrap_err();
    assert!(matches!(failed, ProcedureError::Certifier(CertifierError::Failed(_))), "{failed:?}");
    assert!(signs(&rig).await && certificate(&rig) == old);
    let transaction = rig.transaction().await;
    rig.restart().await;
    rig.card_is_back().await;
    rig.authority_comes().await;
    assert_eq!(rig.transaction().await, transaction);
    // It has issued, and its answers are lost.
    rig.authority_misbehaves(AuthorityFault::times(FaultKind::LoseAnswer, 3)).await;
    let unheard = renew(&rig, &ready).await.unwrap_err();
    assert!(matches!(unheard, ProcedureError::Certifier(CertifierError::Failed(_))), "{unheard:?}");
    assert_eq!((issued(&rig), rig.transaction().await), (2, transaction));
    assert!(signs(&rig).await && certificate(&rig) == old);
    let before = rig.rooms().readers.traffic(&rig.reader).commands;
    renew(&rig, &ready).await.unwrap();
    println!("resumed with {} commands", rig.rooms().readers.traffic(&rig.reader).commands - before);
    assert_eq!(issued(&rig), 2, "the same key and the same transaction: one certificate");
    assert!(signs(&rig).await && certificate(&rig) != old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_a_revoked_and_an_expired_certificate_are_not_renewed() {
    let rig = renewing().await;
    let registry = Registry::link(&rig, usize::MAX);
    let (serial, _) = registry.status_now(&certificate(&rig)).unwrap();
    let ready = ready(&rig).await;
    // Suspended after the procedure began: the signature certificate alone.
    registry.certifier.revoke(&serial, Reason::CertificateHold).unwrap();
    let before = rig.rooms().readers.traffic(&rig.reader);
    let refused = renew(&rig, &ready).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    assert!(refused.hint().is_some_and(|hint| hint.contains("§9.6.2")), "{refused:?}");
    assert_eq!(rig.rooms().readers.traffic(&rig.reader), before, "the card was not touched");
    rig.cancel(&ready).await.unwrap();
    assert_eq!(rig.start(Case::Renewal).await.unwrap_err().paragraph(), Some("§9.3b"));
    // Codes are another matter: they are the authentication certificate's.
    let codes = rig.start(Case::NewCodes).await.unwrap();
    rig.cancel(&codes).await.unwrap();
    registry.certifier.revoke(&serial, Reason::KeyCompromise).unwrap();
    let refused = rig.start(Case::Renewal).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    assert!(refused.hint().is_some_and(|hint| hint.contains("remove_signature")), "{refused:?}");
    assert_eq!(issued(&rig), 1);

    let mut rig = Rig::new().await;
    rig.allow_renewal();
    assert_eq!(rig.start(Case::Renewal).await.unwrap_err().paragraph(), Some("§9.1.3"), "there is none");
    crate::removal::make(&rig).await;
    crate::removal::let_it_expire(&rig).await;
    let refused = rig.start(Case::Renewal).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("X2"));
    assert!(refused.to_string().contains("expired"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("remove_signature")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_is_given_up_tells_what_is_left() {
    let rig = renewing().await;
    let old = certificate(&rig);
    // Nothing was issued: nothing is left.
    let begun = ready(&rig).await;
    rig.answer_with_pins(&begun, "§9.1.3", Answer::Confirmed, [Some(b"99999"), PINS[1]]).await.unwrap_err();
    let ended = rig.cancel(&begun).await.unwrap();
    assert!(!ended.warnings.iter().any(|warning| warning.contains("revoke")), "{:?}", ended.warnings);
    // Cut where the old key is deleted: the new certificate is in use, and the old key still there.
    let begun = ready(&rig).await;
    rig.card.with_card(|card| card.plan_at(DELETION, Fault::Status(0x6F00)));
    let failed = renew(&rig, &begun).await;
    rig.card.with_card(|card| card.clear_plan());
    failed.unwrap_err();
    let ended = rig.cancel(&begun).await.unwrap();
    assert!(
        ended.warnings.iter().any(|warning| warning.contains("The new signature certificate is in use")),
        "{:?}",
        ended.warnings
    );
    assert!(signs(&rig).await && certificate(&rig) != old);
    assert_eq!(places(&rig), [true; 2]);
    assert_eq!(noted(&rig).await, certificate(&rig), "it is suspended when the card is lost");
    // The next renewal does the rest.
    let again = ready(&rig).await;
    renew(&rig, &again).await.unwrap();
    assert!(signs(&rig).await && certificate(&rig) != old);
    assert_eq!(places(&rig).into_iter().filter(|place| *place).count(), 1);
}

/// A renewal whose certificate was issued, and did not come onto the card.
async fn cut_at_loading(rig: &Rig) -> Procedure {
    let begun = ready(rig).await;
    // The request is signed, then the certificate is written.
    let loading = Trigger::Instruction { ins: 0xD6, after: 0 };
    rig.card.with_card(|card| card.plan_at(loading, Fault::Status(0x6F00)));
    let failed = renew(rig, &begun).await;
    rig.card.with_card(|card| card.clear_plan());
    failed.unwrap_err();
    assert_eq!(issued(rig), 2, "it was issued");
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_asked_for_is_handed_over_and_issues_once() {
    let rig = renewing().await;
    let old = certificate(&rig);
    // Nothing was asked for: another operator begins anew, and a case that is refused ends nothing.
    let begun = ready(&rig).await;
    rig.start_as("op2", Case::Signature).await.unwrap_err();
    assert_eq!(rig.show(&begun).await.state, ProcedureState::Open);
    rig.cancel(&begun).await.unwrap();

    let begun = cut_at_loading(&rig).await;
    assert_eq!(certificate(&rig), old);
    let refused = rig.start_as("op2", Case::NewCodes).await.unwrap_err();
    assert!(refused.to_string().contains(&begun.id), "{refused}");
    // The certificate of an open renewal is no activation's.
    let own = rig.start(Case::Signature).await.unwrap_err();
    assert!(own.to_string().contains(&begun.id), "{own}");
    let taken = rig.start_as("op2", Case::Renewal).await.unwrap();
    assert_eq!((&taken.id, taken.operator.as_str()), (&begun.id, "op2"));
    rig.start(Case::Renewal).await.unwrap();
    renew(&rig, &begun).await.unwrap();
    assert_eq!(issued(&rig), 2, "one renewal, one certificate");
    assert_ne!(certificate(&rig), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_issued_is_suspended_with_the_card_before_it_is_loaded() {
    let mut rig = renewing().await;
    rig.change_status();
    let old = certificate(&rig);
    let begun = cut_at_loading(&rig).await;
    let digests = "SELECT COUNT(*) FROM card_certificate WHERE key_use = 'signature'";
    let noted: i64 = sqlx::query_scalar(digests).fetch_one(rig.rooms().database.pool()).await.unwrap();
    assert_eq!(noted, 2, "the one that is not loaded yet is known");
    let suspend = "UPDATE card_certificate SET standing = 'suspended', since = '2999-01-01T00:00:00Z'";
    sqlx::query(suspend).execute(rig.rooms().database.pool()).await.unwrap();
    let refused = renew(&rig, &begun).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"), "{refused:?}");
    assert_eq!(certificate(&rig), old, "nothing comes into use on a suspended card");
    let reactivate = "UPDATE card_certificate SET standing = 'good'";
    sqlx::query(reactivate).execute(rig.rooms().database.pool()).await.unwrap();
    renew(&rig, &begun).await.unwrap();
    assert_eq!((certificate(&rig) != old, issued(&rig)), (true, 2));
    assert_eq!(noted_on_card(&rig).await, 1);
}

/// How many signature certificates the daemon takes to be on the card.
async fn noted_on_card(rig: &Rig) -> i64 {
    let query = "SELECT COUNT(*) FROM card_certificate WHERE key_use = 'signature' AND removed_at IS NULL";
    sqlx::query_scalar(query).fetch_one(rig.rooms().database.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_begun_is_finished_though_the_case_was_closed_since() {
    let mut rig = renewing().await;
    let untouched = ready(&rig).await;
    rig.close_renewal().await;
    assert_eq!(rig.start(Case::Renewal).await.unwrap().id, untouched.id, "it can be looked at and cancelled");
    assert_eq!(renew(&rig, &untouched).await.unwrap_err().paragraph(), Some("X2"));
    rig.cancel(&untouched).await.unwrap();
    assert_eq!(rig.start(Case::Renewal).await.unwrap_err().paragraph(), Some("X2"));

    rig.allow_renewal();
    let begun = cut_at_loading(&rig).await;
    rig.close_renewal().await;
    renew(&rig, &begun).await.unwrap();
    assert_eq!(issued(&rig), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_renewal_is_told_by_what_the_card_holds() {
    let mut rig = renewing().await;
    let begun = cut_at_loading(&rig).await;
    let ended = rig.cancel(&begun).await.unwrap();
    let told = |ended: &Procedure, what: &str| ended.warnings.iter().any(|warning| warning.contains(what));
    assert!(told(&ended, "is not in use on the card"), "{:?}", ended.warnings);
    rig.authority_misbehaves(AuthorityFault::times(FaultKind::LoseAnswer, 3)).await;
    let begun = ready(&rig).await;
    renew(&rig, &begun).await.unwrap_err();
    let ended = rig.cancel(&begun).await.unwrap();
    assert!(told(&ended, "may have been issued"), "{:?}", ended.warnings);
}

/// At every command the card is pulled out or something else happens, one kind after the other, from the first place of
/// the area to the second, and the other way round on the way back: there is always a key that signs, the old one or the
/// new one, and in the end the new one alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_command_of_a_renewal_leaves_a_key_that_signs_and_ends_with_the_new_one() {
    let mut rig = renewing().await;
    for (turn, places_after) in [[false, true], [true, false]].into_iter().enumerate() {
        // Making keys is what takes long, so that some are used again; the certifier has one certificate for each.
        let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
        rig.keep_card();
        let begun = ready(&rig).await;
        let done = renew(&rig, &begun).await.unwrap();
        let commands = done.done.last().unwrap().traffic.commands;
        rig.until(done, "", "").await;
        println!("the renewal takes {commands} commands");
        let is_pulled = |at: &u64| at % 2 == turn as u64;
        let other = (0..commands).zip(OTHERS.iter().cycle().copied()).filter(|(at, _)| !is_pulled(at));
        let runs = (0..commands).filter(is_pulled).map(|at| (at, Fault::PullOutAfter)).chain(other);
        let (mut cut_short, mut still_old) = (0, 0);
        for (command, fault) in runs {
            rig.kept_card_again().await;
            let old = certificate(&rig);
            let cut = renewed_with(&rig, &keys, (command, fault)).await;
            cut_short += usize::from(cut.is_some());
            still_old += usize::from(cut.as_ref() == Some(&old));
            assert_ne!(certificate(&rig), old);
            assert_eq!(places(&rig), places_after, "{fault:?} at {command}");
        }
        println!("{cut_short} cut short, the old certificate in use after {still_old} of them");
        assert!(cut_short > 60 && still_old > 30 && still_old < cut_short);
    }
    rig.rooms().audit.verify().await.unwrap();
}

/// Renews with a fault at a command, and again if that cut it short; gives the certificate that was in use in between.
async fn renewed_with(
    rig: &Rig,
    keys: &[RsaPrivateKey; 2],
    (command, fault): (u64, Fault),
) -> Option<Vec<u8>> {
    let is_pulled = fault == Fault::PullOutAfter;
    if !is_pulled {
        rig.card.with_card(|card| card.card().plan_keys(keys.clone()));
    }
    let before = issued(rig);
    let ready = ready(rig).await;
    rig.card.with_card(|card| card.plan(command, fault));
    let cut = renew(rig, &ready).await;
    rig.card.with_card(|card| card.clear_plan());
    let mut held = None;
    if let Err(error) = cut {
        assert!(matches!(error, ProcedureError::Card(_)), "{fault:?} at {command}: {error:?}");
        let shown = rig.rooms().readers.find_card(sample::ID_CARD);
        let shown = shown.and_then(|contents| contents.signature_certificate.clone());
        // Who takes the card away now has a key, as everybody reads it who meets the card for the first time.
        rig.card.pull_out();
        rig.put_in().await;
        let certificate = certificate(rig);
        assert!(shown.is_none_or(|shown| shown == certificate), "{fault:?} at {command}: an old sight of it");
        assert!(signs(rig).await, "{fault:?} at {command}");
        held = Some(certificate);
        renew(rig, &ready).await.unwrap_or_else(|error| panic!("after {fault:?} at {command}: {error:?}"));
    }
    let ready = rig.show(&ready).await;
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
    assert!(signs(rig).await, "{fault:?} at {command}");
    assert!(!is_pulled || issued(rig) == before + 1, "{fault:?} at {command}: one certificate");
    let summary = rig.card.with_card(|card| card.card().summary());
    assert_eq!((summary.pin_tries, summary.puk_tries), (3, 3), "{fault:?} at {command}");
    held
}
