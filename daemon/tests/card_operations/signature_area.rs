//! The signature area, from nothing to a locked one, and from every interrupted state.

use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use cns_virtual_card::fault::Fault;
use cns_virtual_card::timing::Timing;
use cns_virtual_card::vpcd::Plugged;
use cns_virtual_card::{SecureMessagingKeys, SignatureArea, SignatureAreaState, sample};
use cnsd::card::signature_area::{self, Stage};
use cnsd::card::{CardError, CardSession, LastTry, pin, sign};
use der::Encode;
use rsa::RsaPublicKey;
use sha2::{Digest, Sha256};

use crate::plugged::{Reader, certificate_for, put_in_again, request_info, sample_card, secret};
use crate::{digest_info, plant, silent, with_card};

pub(crate) const AREA_PIN: &[u8] = b"54321";
pub(crate) const AREA_PUK: &[u8] = b"11223344";

pub(crate) fn create(session: &mut CardSession<'_>, progress: &dyn Fn(Progress)) -> Result<(), CardError> {
    let (pin, area_pin, area_puk) = (secret(sample::PIN), secret(AREA_PIN), secret(AREA_PUK));
    signature_area::create(session, &pin, &area_pin, &area_puk, progress)
}

pub(crate) fn stage(session: &mut CardSession<'_>) -> Result<(Stage, bool), CardError> {
    signature_area::inspect(session).map(|state| (state.stage, state.locked))
}

/// A certificate for the key on the card: the request is signed on the card.
pub(crate) type SignRequest = fn(&mut CardSession<'_>, &Secret, &[u8]) -> Result<Vec<u8>, CardError>;

fn certify(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    key: &RsaPublicKey,
) -> Result<Vec<u8>, CardError> {
    certify_with(session, area_pin, key, signature_area::sign_request)
}

/// As [`certify`], with one of the keys.
pub(crate) fn certify_with(
    session: &mut CardSession<'_>,
    area_pin: &Secret,
    key: &RsaPublicKey,
    sign: SignRequest,
) -> Result<Vec<u8>, CardError> {
    let info = request_info(key);
    let digest = Sha256::digest(info.to_der().unwrap());
    let signature = sign(session, area_pin, &digest)?;
    Ok(certificate_for(info, &signature))
}

pub(crate) fn generate_and_load(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let (pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN));
    let key = signature_area::generate_key(session, &pin, &area_pin, &silent)?;
    let certificate = certify(session, &area_pin, &key)?;
    signature_area::load_certificate(session, &pin, &certificate, &silent)
}

pub(crate) async fn sign_with_the_area(reader: &Reader) -> Vec<u8> {
    reader
        .run(|session| {
            let (pin, data) = (secret(AREA_PIN), digest_info(b"contract"));
            let mechanism = cns_protocol::key::Mechanism::RsaPkcs1;
            let key_use = cns_protocol::card::KeyUse::Signature;
            sign::sign(session, key_use, &pin, LastTry::Ask, &mechanism, &data)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn an_area_is_made_filled_locked_and_used() {
    let (reader, plugged) = with_card(|_| {}).await;
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Absent, false));
    plugged.with_card(|card| card.set_timing(Timing::Account));
    let mut before = (reader.traffic(), plugged.with_card(|card| card.elapsed()).unwrap());
    // So many commands: `docs/card-behaviour.md` has them beside the least that the specification needs.
    let mut figure = |what: &str, commands: u64| {
        let (traffic, now) = (reader.since(before.0), plugged.with_card(|card| card.elapsed()).unwrap());
        println!("{what}: {traffic:?}, {:?}", now.since(&before.1).total());
        assert_eq!(traffic.commands, commands, "{what}");
        before = (reader.traffic(), now);
    };
    let steps = reader
        .run(|session| {
            let steps = std::cell::RefCell::new(Vec::new());
            create(session, &|progress| steps.borrow_mut().push((progress.done, progress.total.unwrap())))?;
            Ok(steps.into_inner())
        })
        .await
        .unwrap();
    assert_eq!(steps, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]);
    figure("area creation", 16);
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Prepared, false));
    figure("looking at it", 4);
    let key = reader
        .run(|session| {
            signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
        })
        .await
        .unwrap();
    figure("key generation", 10);
    let certificate = reader.run(move |session| certify(session, &secret(AREA_PIN), &key)).await.unwrap();
    figure("signature on the request", 7);
    let loaded = certificate.clone();
    reader
        .run(move |session| signature_area::load_certificate(session, &secret(sample::PIN), &loaded, &silent))
        .await
        .unwrap();
    figure("loading the certificate", 14);
    reader.run(|session| signature_area::lock(session, &secret(sample::PIN), &silent)).await.unwrap();
    figure("locking", 6);
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Certificate, true));
    let contents = reader.readers.reread(&reader.name).await.unwrap();
    assert_eq!(contents.signature_certificate.as_deref(), Some(certificate.as_slice()));
    assert!(contents.card.certificates[1].pin_for_each_use);
    let mut before = reader.traffic();
    assert_eq!(sign_with_the_area(&reader).await.len(), 256);
    println!("one signature with the area's key, first of the insertion: {:?}", reader.since(before));
    before = reader.traffic();
    sign_with_the_area(&reader).await;
    println!("one more: {:?}", reader.since(before));
    a_locked_area_stays(&reader, &plugged).await;
}

async fn a_locked_area_stays(reader: &Reader, plugged: &Plugged) {
    let again = reader.run(|session| create(session, &silent)).await;
    assert!(matches!(again, Err(CardError::AreaExists)), "{again:?}");
    let again = reader
        .run(|session| {
            signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
        })
        .await;
    assert!(matches!(again, Err(CardError::AreaExists)));
    // The area's own PUK resets its PIN, which the CNS PIN can no longer do.
    reader
        .run(|session| {
            pin::reset(session, PinName::Signature, &secret(AREA_PUK), &secret(b"67890"), LastTry::Ask)
        })
        .await
        .unwrap();
    let summary = plugged.with_card(|card| card.card().summary());
    assert_eq!(
        (summary.signature_area, summary.signature_pin_tries),
        (SignatureAreaState::Certified, Some(3))
    );
}

#[tokio::test]
async fn a_run_cut_anywhere_is_resumed() {
    // The card is pulled at each command of the creation in turn, once before and once after it was executed.
    let (reader, plugged) = with_card(|_| {}).await;
    for fault in [Fault::PullOutBefore, Fault::PullOutAfter] {
        for command in 0..17 {
            plugged.with_card(|card| card.plan(command, fault));
            let cut = reader.run(|session| create(session, &silent)).await;
            plugged.with_card(cns_virtual_card::fault::FaultyCard::clear_plan);
            if cut.is_err() {
                put_in_again(&plugged);
            }
            reader.card().await;
            let state = reader.run(stage).await.unwrap();
            assert!(matches!(state, (Stage::Absent | Stage::Prepared, false)), "{command} {state:?}");
        }
    }
    reader.run(|session| create(session, &silent)).await.unwrap();
    reader.run(generate_and_load).await.unwrap();
    // Locking is cut between the two directories.
    plugged.with_card(|card| card.plan(5, Fault::PullOutBefore));
    let cut = reader.run(|session| signature_area::lock(session, &secret(sample::PIN), &silent)).await;
    assert!(cut.is_err());
    put_in_again(&plugged);
    reader.card().await;
    reader.run(|session| signature_area::lock(session, &secret(sample::PIN), &silent)).await.unwrap();
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Certificate, true));
    reader.readers.reread(&reader.name).await.unwrap();
    sign_with_the_area(&reader).await;
}

#[tokio::test]
async fn a_lock_without_a_certificate_cut_anywhere_is_taken_back_by_its_puk() {
    let (reader, plugged) = with_card(|_| {}).await;
    for command in 0..9 {
        reader.run(|session| create(session, &silent)).await.unwrap();
        reader
            .run(|session| {
                signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
            })
            .await
            .unwrap();
        plugged.with_card(|card| card.plan(command, Fault::PullOutAfter));
        let cut = reader.run(|session| signature_area::lock(session, &secret(sample::PIN), &silent)).await;
        plugged.with_card(cns_virtual_card::fault::FaultyCard::clear_plan);
        if cut.is_err() {
            put_in_again(&plugged);
        }
        reader.card().await;
        let (stage, _) = reader.run(stage).await.unwrap();
        assert_eq!(stage, Stage::Key, "cut at {command}");
    }
    // Locked now, by a run whose PIN is not known any more; its PUK is.
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Key, true));
    let stranger = reader
        .run(|session| {
            let (pin, puk) = (secret(sample::PIN), secret(b"99999999"));
            signature_area::create(session, &pin, &secret(AREA_PIN), &puk, &silent)
        })
        .await;
    assert!(matches!(stranger, Err(CardError::PukIncorrect { tries_left: Some(2) })), "{stranger:?}");
    reader
        .run(|session| {
            let (pin, puk) = (secret(sample::PIN), secret(AREA_PUK));
            signature_area::create(session, &pin, &secret(b"97531"), &puk, &silent)?;
            signature_area::generate_key(session, &pin, &secret(b"97531"), &silent).map(drop)
        })
        .await
        .unwrap();
    // Taken back, it is as open as a new one, and is made and locked like one.
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Key, false));
    reader.run(|session| create(session, &silent)).await.unwrap();
    reader.run(generate_and_load).await.unwrap();
    reader.run(|session| signature_area::lock(session, &secret(sample::PIN), &silent)).await.unwrap();
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Certificate, true));
    reader.readers.reread(&reader.name).await.unwrap();
    sign_with_the_area(&reader).await;
}

#[tokio::test]
async fn a_planted_code_with_more_tries_than_ours_is_not_taken_over() {
    let (reader, plugged) = with_card(|_| {}).await;
    // Whoever knows the CNS PIN makes a signature PIN whose tries never end.
    plant(&plugged, &["00DA016E218302001A8508020F870FFF0000058607001A1BFFFFFFFF8F083535353535FFFFFF"]);
    let refused = reader.run(|session| create(session, &silent)).await;
    assert!(matches!(refused, Err(CardError::AreaForbidden(_))), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_half_written_is_written_again() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.run(|session| create(session, &silent)).await.unwrap();
    let key = reader
        .run(|session| {
            signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
        })
        .await
        .unwrap();
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Key, false));
    let certificate = reader.run(move |session| certify(session, &secret(AREA_PIN), &key)).await.unwrap();
    let load = |certificate: Vec<u8>| {
        reader.run(move |session| {
            signature_area::load_certificate(session, &secret(sample::PIN), &certificate, &silent)
        })
    };
    let mut wrong = certificate.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for refused in [vec![], vec![0x30, 0x82], certificate[1..].to_vec(), [&certificate[..], &[0]].concat()] {
        assert!(matches!(load(refused).await, Err(CardError::CertificateMismatch(_))));
    }
    let other = reader.card().await.authentication_certificate.clone().unwrap();
    assert!(matches!(load(other).await, Err(CardError::CertificateMismatch(_))));
    plugged.with_card(|card| card.plan(7, Fault::PullOutAfter));
    assert!(matches!(load(certificate.clone()).await, Err(CardError::Removed)));
    put_in_again(&plugged);
    assert!(reader.card().await.signature_certificate.is_none());
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Key, false));
    load(certificate.clone()).await.unwrap();
    assert_eq!(reader.run(stage).await.unwrap(), (Stage::Certificate, false));
    // A second loading is the renewal of a certificate: the shorter one leaves no tail of the longer.
    load(certificate).await.unwrap();
}

#[tokio::test]
async fn a_card_that_demands_secure_messaging_is_refused_in_words_before_the_pin_is_asked() {
    let keys = || secret(b"0123456789ABCDEF");
    let (reader, plugged) = with_card(|order| {
        order.secure_messaging = Some(SecureMessagingKeys { encryption: keys(), signature: keys() });
    })
    .await;
    let before = reader.traffic();
    let refused = reader.run(|session| create(session, &silent)).await;
    match refused {
        Err(CardError::AreaForbidden(reason)) => assert!(reason.contains("secure messaging"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.since(before).commands, 2, "a look at the two directories, and no PIN");
    assert_eq!(plugged.with_card(|card| card.card().summary().pin_tries), 3);
}

/// As certifiers' own cards: the signature PIN is there, and only the issuer's keys reach it.
#[tokio::test]
async fn a_signature_pin_that_demands_secure_messaging_is_refused_in_words_and_loses_no_try() {
    let keys = || secret(b"0123456789ABCDEF");
    let (reader, plugged) = with_card(|order| {
        let generation = order.generation;
        *order = sample::personalisation_of(generation).unwrap();
        order.secure_messaging = Some(SecureMessagingKeys { encryption: keys(), signature: keys() });
    })
    .await;
    let present = |session: &mut CardSession<'_>| {
        pin::verify(session, PinName::Signature, &secret(sample::SIGNATURE_PIN), LastTry::Ask)
    };
    let refused = reader.run(present).await.unwrap_err();
    assert_eq!(refused.status().map(|status| status.0), Some(0x6E00), "{refused}");
    let told = cns_protocol::RpcError::from(refused);
    assert!(told.hint.is_some_and(|hint| hint.contains("secure messaging")));
    assert_eq!(plugged.with_card(|card| card.card().summary().signature_pin_tries), Some(3));
}

#[tokio::test]
async fn a_card_without_the_place_or_the_rights_is_refused_unharmed() {
    let (reader, plugged) = with_card(|order| order.signature_area = SignatureArea::Absent).await;
    let before = reader.traffic();
    let refused = reader.run(|session| create(session, &silent)).await;
    assert!(matches!(refused, Err(CardError::AreaForbidden(_))), "{refused:?}");
    assert_eq!(reader.since(before).commands, 1);
    assert_eq!(plugged.with_card(|card| card.card().summary().pin_tries), 3);
    let early = reader
        .run(|session| {
            signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
        })
        .await;
    assert!(matches!(early, Err(CardError::AreaNotReady(_))), "{early:?}");

    let reader = Reader::start();
    let plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    // FCI of 1400 as an issuer that keeps the place for itself would have it.
    plant(&plugged, &["00DA016F0B8609FFFFFFFFFFFFFFFFFF"]);
    let refused = reader.run(|session| create(session, &silent)).await;
    assert!(matches!(refused, Err(CardError::AreaForbidden(_))), "{refused:?}");
    for puk in [&b"1122334"[..], b"112233445", b"1122334a"] {
        let refused = reader.run(move |session| {
            let pin = secret(sample::PIN);
            signature_area::create(session, &pin, &secret(AREA_PIN), &secret(puk), &silent)
        });
        assert!(matches!(refused.await, Err(CardError::PinInvalid)));
    }
}
