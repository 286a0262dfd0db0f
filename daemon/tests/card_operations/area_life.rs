//! The life of a signature area: a weak key, a full card, a slow chip, a renewal, the end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use cns_protocol::rpc::Progress;
use cns_virtual_card::fault::{Fault, FaultyCard};
use cns_virtual_card::vpcd::{Endpoint, plug};
use cns_virtual_card::{SignatureAreaState, sample};
use cnsd::card::signature_area::{self, Stage, renewal};
use cnsd::card::{CardError, CardSession, LastTry, pin};
use cnsd::reader::{ReaderSpec, Readers, VpcdAddress};
use rsa::{BigUint, RsaPrivateKey};

use crate::plugged::{put_in_again, sample_card, secret};
use crate::signature_area::{
    AREA_PIN, AREA_PUK, certify_with, create, generate_and_load, sign_with_the_area, stage,
};
use crate::{silent, with_card};

/// A key as the generator of CVE-2017-15361 makes them, made for these tests.
fn broken_key() -> RsaPrivateKey {
    let prime = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16).unwrap();
    let primes = vec![
        prime(
            "CECC8C34597ED6F5D0C7C1750CF9AB97355033A2A3A764BDCEF97BF24D53F88DEA4C66F1C46EE86CA8CBADF131AC590831D06699CB\
             CF36A4120AF7FED8083C37D0ADE7C28EA8D32E8B90CE6FE35017476A59CF627897A8FBE7C6D1D277B3C44FF774769CDF08BAE2D3E8\
             3F1559FE5187A88040DFA88A2CCE6110F1D9DB061BF5",
        ),
        prime(
            "FBD90640884E6441C314F94F7325765C3851885A94556B750789B198E17DAFBEADC25E0912C9C873C542A489A1F3270D383D36685C\
             1348BEB49943A28638F7F1BE395B09917354045BA5579BB487F3B540802C41977F95C9A877888397B79B7264F8A7CA067299134641\
             FC560A77FDBD4A5298943D44DF59E414A9D4565789B1",
        ),
    ];
    RsaPrivateKey::from_primes(primes, BigUint::from(65_537_u32)).unwrap()
}

fn generate(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let (pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN));
    signature_area::generate_key(session, &pin, &area_pin, &silent).map(drop)
}

fn lock(session: &mut CardSession<'_>) -> Result<(), CardError> {
    signature_area::lock(session, &secret(sample::PIN), &silent)
}

/// A locked area with a certificate.
fn make(session: &mut CardSession<'_>) -> Result<(), CardError> {
    create(session, &silent)?;
    generate_and_load(session)?;
    lock(session)
}

#[tokio::test]
async fn a_weak_key_is_refused_and_deleted() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.run(|session| create(session, &silent)).await.unwrap();
    plugged.with_card(|card| card.card().plan_keys([broken_key()]));
    let refused = reader.run(generate).await.unwrap_err();
    assert!(matches!(refused, CardError::WeakKey(_)), "{refused:?}");
    assert!(refused.to_string().contains("CVE-2017-15361"), "{refused}");
    // Nobody can use it: neither through the daemon nor with the PINs beside it.
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Absent, false));
    let names = plugged.with_card(|card| card.card().access_conditions());
    assert!(!names.keys().any(|name| name.starts_with("3F00/1400/8110")), "{names:?}");
    let unsigned = reader.run(|session| signature_area::sign_request(session, &secret(AREA_PIN), &[7; 32]));
    assert!(matches!(unsigned.await, Err(CardError::AreaNotReady(_))));
    // Another try begins anew, and a good key is taken.
    reader.run(make).await.unwrap();
    reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(sign_with_the_area(&reader).await.len(), 256);
}

/// The card is pulled out at each command of the deletion: the weak key is never signed with.
#[tokio::test]
async fn a_weak_key_that_could_not_be_deleted_is_of_no_use() {
    let (reader, plugged) = with_card(|_| {}).await;
    let mut cuts = 0;
    for command in 0.. {
        reader.run(|session| create(session, &silent)).await.unwrap();
        plugged.with_card(|card| card.card().plan_keys([broken_key()]));
        plugged.with_card(|card| card.plan(command, Fault::PullOutAfter));
        let outcome = reader.run(generate).await;
        assert!(outcome.is_err(), "{command}");
        let happened = plugged.with_card(|card| card.pending() == 0);
        plugged.with_card(FaultyCard::clear_plan);
        if !happened {
            break;
        }
        cuts += 1;
        put_in_again(&plugged);
        reader.card().await;
        let signed =
            reader.run(|session| signature_area::sign_request(session, &secret(AREA_PIN), &[7; 32])).await;
        assert!(matches!(signed, Err(CardError::AreaNotReady(_) | CardError::WeakKey(_))), "{signed:?}");
        // A key that was planned and not generated must not wait for the next round.
        plugged.with_card(|card| card.card().forget_planned_keys());
    }
    println!("a weak key cut at {cuts} commands");
    assert!(cuts >= 8);
}

/// Whatever is missing, down to the last byte of the last code: the card is left as it was, and told to be full.
#[tokio::test]
async fn a_card_that_is_too_full_is_left_as_it_was() {
    let (reader, plugged) = with_card(|_| {}).await;
    let before = plugged.with_card(|card| card.card().access_conditions());
    let mut refusals = 0;
    let room = loop {
        let room = refusals * 100;
        plugged.with_card(|card| card.card().leave_memory(room));
        let Err(refused) = reader.run(|session| create(session, &silent)).await else { break room };
        assert!(
            matches!(refused, CardError::AreaForbidden(words) if words.contains("memory")),
            "{room}: {refused:?}"
        );
        let mut after = plugged.with_card(|card| card.card().access_conditions());
        // No command deletes a code; the one that found room may stay.
        after.remove("3F00/1400 object 001B");
        assert_eq!(after, before, "{room}");
        refusals += 1;
    };
    println!("an area takes up to {room} bytes; {refusals} fuller cards were left as they were");
    assert!(room > 2048);
    reader.run(generate_and_load).await.unwrap();
    reader.run(lock).await.unwrap();
    reader.readers.reread(&reader.name).await.unwrap();
    sign_with_the_area(&reader).await;
}

#[tokio::test]
async fn an_area_with_a_certificate_is_made_anew_only_by_an_explicit_word_and_with_its_puk() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.run(make).await.unwrap();
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    let certificate = contents.signature_certificate.clone();
    let kept = reader.run(|session| create(session, &silent)).await;
    assert!(matches!(kept, Err(CardError::AreaExists)), "{kept:?}");
    // Without the PUK nothing is lost.
    let replace = |puk: &'static [u8]| {
        reader.run(move |session| {
            let (pin, area_pin, puk) = (secret(sample::PIN), secret(AREA_PIN), secret(puk));
            signature_area::replace(session, &pin, &area_pin, &puk, &silent)
        })
    };
    let stranger = replace(b"99999999").await;
    assert!(matches!(stranger, Err(CardError::PukIncorrect { tries_left: Some(2) })), "{stranger:?}");
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(contents.signature_certificate, certificate);
    sign_with_the_area(&reader).await;
    replace(AREA_PUK).await.unwrap();
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Prepared, false));
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(contents.signature_certificate, None);
    reader.run(generate_and_load).await.unwrap();
    reader.run(lock).await.unwrap();
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    assert_ne!(contents.signature_certificate, certificate);
    sign_with_the_area(&reader).await;
    assert_eq!(plugged.with_card(|card| card.card().summary().signature_pin_tries), Some(3));
}

/// The next key beside the old one, which serves until the new certificate is loaded whole; then the other way round.
#[tokio::test]
async fn a_renewal_leaves_the_old_key_in_use_until_its_end() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.run(make).await.unwrap();
    let mut old = reader.readers.reread(&reader.name).await.unwrap().signature_certificate.clone();
    for round in 0..2 {
        let before = reader.traffic();
        let renewed = reader
            .run(|session| {
                let (pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN));
                renewal::prepare(session, &pin, &area_pin, &silent)?;
                let key = renewal::generate_key(session, &pin, &area_pin, &silent)?;
                renewal::lock(session, &pin, &silent)?;
                certify_with(session, &area_pin, &key, renewal::sign_request)
            })
            .await
            .unwrap();
        let load = || {
            let new = renewed.clone();
            reader.run(move |session| renewal::load_certificate(session, &secret(sample::PIN), &new, &silent))
        };
        // Pulled out after the second piece of the new certificate.
        plugged.with_card(|card| card.plan(8, Fault::PullOutAfter));
        load().await.unwrap_err();
        assert_eq!(plugged.with_card(|card| card.pending()), 0);
        put_in_again(&plugged);
        assert_eq!(reader.card().await.signature_certificate, old, "round {round}");
        sign_with_the_area(&reader).await;
        load().await.unwrap();
        // Of two certificates the first slot's is the one in use, and its key signs.
        let contents = reader.readers.reread(&reader.name).await.unwrap();
        let in_use = if round == 0 { &old } else { &Some(renewed.clone()) };
        assert_eq!(&contents.signature_certificate, in_use, "round {round}");
        sign_with_the_area(&reader).await;
        let new = renewed.clone();
        reader
            .run(move |session| {
                let (pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN));
                renewal::finish(session, &pin, &area_pin, &new, &silent)
            })
            .await
            .unwrap();
        println!("renewal {round}: {:?}", reader.since(before));
        let contents = reader.readers.reread(&reader.name).await.unwrap();
        assert_eq!(contents.signature_certificate.as_ref(), Some(&renewed), "round {round}");
        sign_with_the_area(&reader).await;
        assert_eq!(reader.run(stage).await.unwrap(), (Stage::Certificate, true));
        let slot = |number: u32| {
            plugged.with_card(|card| {
                card.card().access_conditions().contains_key(&format!("3F00/1400/{number:04X}"))
            })
        };
        assert_eq!((slot(0x8110), slot(0x8111)), (round == 1, round == 0));
        old = Some(renewed);
    }
    // Its PUK still unblocks its PIN.
    let reset = |session: &mut CardSession<'_>| {
        let which = cns_protocol::pin::PinName::Signature;
        pin::reset(session, which, &secret(AREA_PUK), &secret(AREA_PIN), LastTry::Ask).map(drop)
    };
    reader.run(reset).await.unwrap();
    assert_eq!(plugged.with_card(|card| card.card().summary().signature_pin_tries), Some(3));
}

#[tokio::test]
async fn an_emptied_area_stays_locked_and_is_made_anew_by_its_puk() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.run(make).await.unwrap();
    reader.readers.reread(&reader.name).await.unwrap();
    let empty = |session: &mut CardSession<'_>| {
        signature_area::remove(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
    };
    reader.run(empty).await.unwrap();
    reader.run(empty).await.unwrap();
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(contents.signature_certificate, None);
    let state = reader.run(signature_area::inspect).await.unwrap();
    assert_eq!((state.stage, state.codes_locked), (Stage::Absent, true));
    assert_eq!(plugged.with_card(|card| card.card().summary().signature_area), SignatureAreaState::Begun);
    reader.run(make).await.unwrap();
    reader.readers.reread(&reader.name).await.unwrap();
    sign_with_the_area(&reader).await;
}

/// A chip that takes its time says so, and keeps nobody else from their card.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_chip_says_that_it_is_at_work_and_other_readers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = ["slow", "other"].map(|name| folder.path().join(name));
    let specs = sockets.clone().map(|socket| ReaderSpec::Vpcd(VpcdAddress::Unix(socket)));
    let readers = Readers::start(&specs).unwrap();
    let slow = sample_card(|order| order.behaviour.key_generation_seconds = 4);
    let _slow = plug(slow, Endpoint::Unix(sockets[0].clone())).unwrap();
    let _other = plug(sample_card(|_| {}), Endpoint::Unix(sockets[1].clone())).unwrap();
    let names = specs.map(|spec| spec.to_string());
    for name in &names {
        while readers.card(name).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    readers.run(&names[0], None, |session| create(session, &silent)).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (said, begun) = (Arc::clone(&told), Arc::new(tokio::sync::Notify::new()));
    let notify = Arc::clone(&begun);
    let (generating, name) = (readers.clone(), names[0].clone());
    let generation = tokio::spawn(async move {
        let job = move |session: &mut CardSession<'_>| {
            let progress = |progress: Progress| {
                if progress.step == "generate-key-pair" {
                    notify.notify_one();
                }
                said.lock().unwrap().push(progress.message);
            };
            signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &progress)
                .map(drop)
        };
        generating.run(&name, None, job).await
    });
    begun.notified().await;
    let signatures = AtomicU32::new(0);
    while !generation.is_finished() {
        let job = |session: &mut CardSession<'_>| {
            pin::verify(session, cns_protocol::pin::PinName::Cns, &secret(sample::PIN), LastTry::Ask)
        };
        readers.run(&names[1], None, job).await.unwrap();
        signatures.fetch_add(1, Ordering::Relaxed);
    }
    generation.await.unwrap().unwrap();
    let told = told.lock().unwrap();
    let beats = told.iter().filter(|message| message.contains("has been generating")).count();
    println!("{beats} heartbeats; {} uses of another reader meanwhile", signatures.load(Ordering::Relaxed));
    assert!(beats >= 2, "{told:?}");
    assert!(signatures.load(Ordering::Relaxed) >= 2);
    readers.stop();
}
