//! Readers with a keypad of their own: an honest one is used, a lying one is caught, and in neither case does the
//! software spend a try.

use std::time::Duration;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Decryption, Mechanism};
use cns_protocol::pin::PinName;
use cns_virtual_card::{VirtualCard, sample};
use cns_virtual_reader::{Behaviour, CANCEL, TYPED};
use cnsd::card::{CardError, CardSession, LastTry, decrypt, pin, sign};
use cnsd::reader::{ReaderSpec, Readers, TimeLimits};
use der::{Decode, Encode};
use rsa::Pkcs1v15Encrypt;
use tempfile::TempDir;
use x509_cert::Certificate;

use super::keypad::{Pad, start};
use super::plugged::{issue_authentication, sample_card, secret};
use super::{alone, until};

const NEW_PIN: &str = "86420";

/// Waits for the card, and says whether the reader's keypad is believed.
async fn believed(readers: &Readers, pad: &Pad) -> bool {
    until(readers, "a card in the reader", |_| readers.card(&pad.name).is_ok()).await;
    let listed = readers.list().readers;
    listed.iter().find(|reader| reader.name == pad.name).unwrap().pin_pad
}

async fn at_pad<T: Send + 'static>(
    readers: &Readers,
    pad: &Pad,
    job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
) -> Result<T, CardError> {
    readers.run_at_pin_pad(&pad.name, None, job).await
}

async fn log_in(readers: &Readers, pad: &Pad) -> Result<(), CardError> {
    at_pad(readers, pad, |session| sign::verify_at_pad(session, PinName::Cns, LastTry::Ask)).await
}

async fn sign_at_pad(readers: &Readers, pad: &Pad) -> Result<Vec<u8>, CardError> {
    at_pad(readers, pad, |session| {
        sign::sign_at_pad(session, KeyUse::Authentication, LastTry::Ask, &Mechanism::RsaPkcs1, &[1; 20])
    })
    .await
}

async fn change(readers: &Readers, pad: &Pad) -> Result<PinName, CardError> {
    at_pad(readers, pad, |session| sign::change_at_pad(session, PinName::Cns, LastTry::Ask)).await
}

/// The tries left on the PIN as the card says.
async fn tries(readers: &Readers, pad: &Pad) -> Option<u8> {
    let states = readers.run(&pad.name, None, pin::status).await.unwrap();
    states.iter().find(|state| !state.is_puk).unwrap().tries_left
}

fn sample_pin() -> &'static str {
    std::str::from_utf8(sample::PIN).unwrap()
}

#[test]
fn an_honest_keypad_takes_the_pin_and_the_daemon_never_has_it() {
    alone("pin_pad::an_honest_keypad_takes_the_pin_and_the_daemon_never_has_it", honest());
}

async fn honest() {
    let folder = TempDir::new().unwrap();
    let (daemon, pads) = start(folder.path(), &["Keypad"]);
    let pad = &pads[0];
    let limits = TimeLimits { pin_entry: Duration::from_secs(2), ..TimeLimits::default() };
    let readers = Readers::start_with(&[ReaderSpec::Pcsc], limits).unwrap();
    until(&readers, "the reader", |readers| readers.len() == 1).await;
    assert_eq!(readers.list().readers[0].name, pad.name);
    let _plugged = pad.plug(sample_card(|_| {}));
    assert!(believed(&readers, pad).await);
    let recording = readers.record(&pad.name).unwrap().unwrap();

    // A reader of which nobody has seen a PIN reach the card changes none: it shows that first.
    let reset = |session: &mut CardSession<'_>| pin::reset_at_pad(session, PinName::Cns, LastTry::Ask);
    let unproved = at_pad(&readers, pad, reset).await;
    assert!(matches!(unproved, Err(CardError::PinPadUnproved)), "{unproved:?}");
    pad.types(&[sample_pin(), sample_pin(), NEW_PIN, NEW_PIN]);
    assert_eq!(change(&readers, pad).await.unwrap(), PinName::Cns);
    pad.types(&[NEW_PIN, sample_pin(), sample_pin()]);
    change(&readers, pad).await.unwrap();
    let before = readers.traffic(&pad.name).commands;
    pad.types(&[sample_pin()]);
    assert_eq!(sign_at_pad(&readers, pad).await.unwrap().len(), 256);
    println!("a signature at the keypad: {} commands", readers.traffic(&pad.name).commands - before);
    // The card was reset after each: without a PIN there is none.
    let closed = readers.run(&pad.name, None, |session| {
        session.run(&cns_apdu::command::ManageSecurityEnvironment::Restore { se: 3 })?;
        session.run(&cns_apdu::command::PerformSecurityOperation::Decipher { block: secret(&[1; 256]) })
    });
    assert_eq!(closed.await.unwrap_err().status(), Some(cns_apdu::StatusWord::SECURITY_NOT_SATISFIED));

    refusals(&readers, pad).await;

    // The present PIN, and the new one twice; then the PUK.
    pad.types(&[sample_pin(), NEW_PIN, NEW_PIN]);
    assert_eq!(change(&readers, pad).await.unwrap(), PinName::Cns);
    pad.types(&[NEW_PIN]);
    log_in(&readers, pad).await.unwrap();
    for _ in 0..2 {
        pad.types(&["11111"]);
        assert!(matches!(log_in(&readers, pad).await, Err(CardError::PinIncorrect { .. })));
    }
    // The last try is not spent unasked, at the keypad either.
    pad.types(&["11111"]);
    assert!(matches!(log_in(&readers, pad).await, Err(CardError::LastTry)));
    assert!(pad.folder.join(TYPED).metadata().unwrap().len() > 0, "nobody was asked to type");
    pad.types(&[std::str::from_utf8(sample::PUK).unwrap(), sample_pin(), sample_pin()]);
    at_pad(&readers, pad, reset).await.unwrap();
    // A PIN that the client gives is taken as on any reader.
    super::sign_once(&readers, &pad.name).await.unwrap();

    let (text, _) = readers.recorded(&pad.name, recording).unwrap();
    let hex = |digits: &str| digits.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    for digits in [sample_pin(), NEW_PIN, std::str::from_utf8(sample::PUK).unwrap()] {
        assert!(!text.contains(&hex(digits)), "a PIN in the recording");
    }
    assert!(text.contains("> 00200090"), "the commands of the keypad are recorded");
    drop(daemon);
}

/// What a person can do wrong, each told, and a try spent only where the card saw a wrong PIN.
async fn refusals(readers: &Readers, pad: &Pad) {
    pad.types(&["99999"]);
    let wrong = sign_at_pad(readers, pad).await;
    assert!(matches!(wrong, Err(CardError::PinIncorrect { tries_left: Some(2) })), "{wrong:?}");
    assert_eq!(tries(readers, pad).await, Some(2));
    pad.types(&[CANCEL]);
    let cancelled = sign_at_pad(readers, pad).await;
    assert!(matches!(cancelled, Err(CardError::PinEntryCancelled)), "{cancelled:?}");
    pad.types(&[sample_pin(), NEW_PIN, "86421"]);
    let differ = change(readers, pad).await;
    assert!(matches!(differ, Err(CardError::PinEntriesDiffer)), "{differ:?}");
    pad.types(&["1234"]);
    let short = log_in(readers, pad).await;
    assert!(matches!(short, Err(CardError::PinInvalid)), "{short:?}");

    // Nobody types; meanwhile others are told so at once.
    let late = tokio::spawn({
        let (readers, pad) = (readers.clone(), pad.clone());
        async move { log_in(&readers, &pad).await }
    });
    tokio::task::block_in_place(|| pad.waits());
    let other = super::sign_once(readers, &pad.name).await;
    assert!(matches!(other, Err(CardError::PinEntry)), "{other:?}");
    let second = log_in(readers, pad).await;
    assert!(matches!(second, Err(CardError::PinEntry)), "{second:?}");
    assert!(!late.is_finished());
    let late = late.await.unwrap();
    assert!(matches!(late, Err(CardError::PinEntryTimedOut)), "{late:?}");
    assert_eq!(tries(readers, pad).await, Some(2), "only the wrong PIN cost a try");
    assert!(believed(readers, pad).await, "none of this was the reader's fault");
}

#[test]
fn a_card_that_is_pulled_out_while_somebody_types_is_not_the_readers_fault() {
    alone("pin_pad::a_card_that_is_pulled_out_while_somebody_types_is_not_the_readers_fault", pulled_out());
}

async fn pulled_out() {
    let folder = TempDir::new().unwrap();
    let (_daemon, pads) = start(folder.path(), &["Keypad"]);
    let pad = &pads[0];
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let plugged = pad.plug(sample_card(|_| {}));
    assert!(believed(&readers, pad).await);
    let waiting = tokio::spawn({
        let (readers, pad) = (readers.clone(), pad.clone());
        async move { log_in(&readers, &pad).await }
    });
    tokio::task::block_in_place(|| pad.waits());
    plugged.pull_out();
    while plugged.is_connected() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    pad.types(&[sample_pin()]);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, CardError::Removed | CardError::Reset | CardError::Reader(_)), "{error:?}");
    until(&readers, "an empty reader", |_| readers.card(&pad.name).is_err()).await;
    plugged.put_in();
    assert!(believed(&readers, pad).await);
    pad.types(&[sample_pin()]);
    log_in(&readers, pad).await.unwrap();
}

#[test]
fn what_is_encrypted_for_the_card_is_read_with_a_pin_typed_on_the_reader() {
    alone("pin_pad::what_is_encrypted_for_the_card_is_read_with_a_pin_typed_on_the_reader", decrypting());
}

async fn decrypting() {
    let folder = TempDir::new().unwrap();
    let (_daemon, pads) = start(folder.path(), &["Keypad"]);
    let pad = &pads[0];
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    let mut certificate = Certificate::from_der(&issue_authentication(&request)).unwrap();
    // Without a key usage it may be used for everything.
    certificate.tbs_certificate.extensions = None;
    card.load_certificate(&certificate.to_der().unwrap()).unwrap();
    let _plugged = pad.plug(card);
    assert!(believed(&readers, pad).await);
    let key = sample::key().unwrap().to_public_key();
    let ciphertext = key.encrypt(&mut rand_core::OsRng, Pkcs1v15Encrypt, b"a secret").unwrap();
    let read = |readers: Readers, ciphertext: Vec<u8>| async move {
        let job = move |session: &mut CardSession<'_>| {
            decrypt::decrypt_at_pad(session, LastTry::Ask, &Decryption::RsaPkcs1, &ciphertext)
        };
        at_pad(&readers, pad, job).await
    };
    pad.types(&[sample_pin()]);
    let plain = read(readers.clone(), ciphertext.clone()).await.unwrap();
    assert!(plain.ct_eq(&secret(b"a secret")));
    pad.behaves(Behaviour::ClaimsSuccess);
    let Err(caught) = read(readers.clone(), ciphertext).await else { panic!("a lie was believed") };
    assert!(matches!(caught, CardError::PinPadFailed { .. }), "{caught:?}");
    assert!(!believed(&readers, pad).await);
}

#[test]
fn quirk_22_a_keypad_that_lies_is_not_used() {
    alone("pin_pad::quirk_22_a_keypad_that_lies_is_not_used", lies());
}

async fn lies() {
    let folder = TempDir::new().unwrap();
    let names = ["Zero", "Sizes", "Number", "bit4id miniLector-EVO", "None", "Fails", "Bytes", "Claims"];
    let (mut daemon, pads) = start(folder.path(), &names);
    let [zero, contradicts, number, named, none, fails, garbage, claims] = &pads[..] else { panic!() };
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    until(&readers, "the readers", |readers| readers.len() == names.len()).await;
    for (pad, behaviour) in [
        (zero, Behaviour::CodeZero),
        (contradicts, Behaviour::Contradicts),
        (number, Behaviour::KnownLiar),
        (named, Behaviour::Honest),
        (none, Behaviour::WithoutKeypad),
        (fails, Behaviour::Fails),
        (garbage, Behaviour::Garbage),
        (claims, Behaviour::ClaimsSuccess),
    ] {
        pad.behaves(behaviour);
    }

    announced(&readers, [zero, contradicts, number, named, none]).await;
    used(
        &readers,
        [(fails, "PIN pad failed"), (garbage, "makes no sense"), (claims, "the card has not seen it")],
    )
    .await;

    // Another card changes nothing; a reader that is plugged in anew is asked anew.
    claims.behaves(Behaviour::Honest);
    let plugged = claims.plug(sample_card(|_| {}));
    assert!(!believed(&readers, claims).await);
    drop(daemon);
    until(&readers, "no reader", |readers| readers.is_empty()).await;
    (daemon, _) = start(folder.path(), &names);
    assert!(believed(&readers, claims).await);
    claims.types(&[sample_pin()]);
    sign_at_pad(&readers, claims).await.unwrap();
    drop((plugged, daemon));
}

/// What can be seen beforehand.
async fn announced(readers: &Readers, pads: [&Pad; 5]) {
    for pad in pads {
        let _plugged = pad.plug(sample_card(|_| {}));
        assert!(!believed(readers, pad).await, "{}", pad.name);
        let refused = log_in(readers, pad).await;
        assert!(matches!(refused, Err(CardError::NoPinPad)), "{}: {refused:?}", pad.name);
        super::sign_once(readers, &pad.name).await.unwrap();
    }
}

/// What is seen when it is used: told in words, no try spent, and not asked for a PIN again.
async fn used(readers: &Readers, pads: [(&Pad, &str); 3]) {
    for (pad, words) in pads {
        let _plugged = pad.plug(sample_card(|_| {}));
        assert!(believed(readers, pad).await, "{}", pad.name);
        pad.types(&[sample_pin()]);
        // A change would be the worst to believe: the card would not know the new PIN.
        let error = change(readers, pad).await.unwrap_err();
        assert!(matches!(error, CardError::PinPadFailed { .. }), "{}: {error:?}", pad.name);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!believed(readers, pad).await, "{}", pad.name);
        let again = log_in(readers, pad).await;
        assert!(matches!(again, Err(CardError::NoPinPad)), "{}: {again:?}", pad.name);
        assert_eq!(tries(readers, pad).await, Some(3), "{}", pad.name);
        super::sign_once(readers, &pad.name).await.unwrap();
    }
}

#[test]
fn quirk_22_a_keypad_that_never_answers_is_not_used() {
    alone("pin_pad::quirk_22_a_keypad_that_never_answers_is_not_used", hangs());
}

/// A keypad that never answers is waited for as long as an entry may take, and the reader is used when it is back.
async fn hangs() {
    let folder = TempDir::new().unwrap();
    let (_daemon, pads) = start(folder.path(), &["Hangs"]);
    let pad = &pads[0];
    pad.behaves(Behaviour::NeverAnswers);
    // Both are waited for here to the end; a slow machine has to do each command in its time too.
    let limits = TimeLimits {
        command: Duration::from_secs(4),
        pin_entry: Duration::from_secs(1),
        ..TimeLimits::default()
    };
    let readers = &Readers::start_with(&[ReaderSpec::Pcsc], limits).unwrap();
    let _plugged = pad.plug(sample_card(|_| {}));
    assert!(believed(readers, pad).await);
    let late = log_in(readers, pad).await;
    assert!(matches!(late, Err(CardError::TimedOut)), "{late:?}");
    let after = super::sign_once(readers, &pad.name).await;
    assert!(matches!(after, Err(CardError::NotAnswering)), "{after:?}");
    pad.behaves(Behaviour::Honest);
    assert!(!believed(readers, pad).await);
    super::sign_once(readers, &pad.name).await.unwrap();
    assert_eq!(tries(readers, pad).await, Some(3));
}

#[test]
fn a_claim_of_success_is_caught_by_the_next_use_of_the_key() {
    alone("pin_pad::a_claim_of_success_is_caught_by_the_next_use_of_the_key", turncoat());
}

/// A reader that was honest until now.
async fn turncoat() {
    let folder = TempDir::new().unwrap();
    let (_daemon, pads) = start(folder.path(), &["Turncoat"]);
    let pad = &pads[0];
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let _plugged = pad.plug(sample_card(|_| {}));
    assert!(believed(&readers, pad).await);
    pad.types(&[sample_pin()]);
    log_in(&readers, pad).await.unwrap();
    pad.behaves(Behaviour::ClaimsSuccess);
    let caught = sign_at_pad(&readers, pad).await.unwrap_err();
    assert!(matches!(caught, CardError::PinPadFailed { tries_left: Some(3), .. }), "{caught:?}");
    assert!(!believed(&readers, pad).await);
    let refused = sign_at_pad(&readers, pad).await;
    assert!(matches!(refused, Err(CardError::NoPinPad)), "{refused:?}");
}
