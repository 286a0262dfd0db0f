//! PINs, signatures and the signature area on a virtual card in the daemon's own reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

mod area_life;
mod signature_area;

use std::ops::Deref;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Hash, Mechanism};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::{Progress, Traffic};
use cns_virtual_card::vpcd::Plugged;
use cns_virtual_card::{Generation, Personalisation, sample};
use cnsd::card::{CardError, LastTry, pin, random, sign};
use cnsd_test_support::plugged::{self, Reader, sample_card, secret};
use rsa::pkcs1v15;
use sha2::{Digest, Sha256};
use signature::Verifier;

const NEW_PIN: &[u8] = b"2468013";

/// A reader with the sample card in it.
async fn with_card(change: impl FnOnce(&mut Personalisation)) -> (Bench, Plugged) {
    let reader = Reader::start();
    let plugged = reader.plug(sample_card(change));
    reader.card().await;
    (Bench(reader), plugged)
}

/// A reader at which each operation is one call.
struct Bench(Reader);

impl Deref for Bench {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl Bench {
    async fn verify(&self, digits: &'static [u8], last_try: LastTry) -> Result<(), CardError> {
        self.run(move |session| pin::verify(session, PinName::Cns, &secret(digits), last_try)).await
    }

    async fn sign(&self, mechanism: Mechanism, data: Vec<u8>) -> Result<Vec<u8>, CardError> {
        self.run(move |session| {
            let pin = secret(sample::PIN);
            sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &data)
        })
        .await
    }

    fn tries_left(&self) -> Option<u8> {
        let cns_protocol::reader::ReaderState::Card(card) = self.readers.list().readers.remove(0).state
        else {
            panic!("no card")
        };
        card.pin_tries_left
    }

    /// What was exchanged since.
    fn since(&self, before: Traffic) -> Traffic {
        let now = self.readers.traffic(&self.name);
        Traffic {
            commands: now.commands - before.commands,
            bytes_sent: now.bytes_sent - before.bytes_sent,
            bytes_received: now.bytes_received - before.bytes_received,
        }
    }

    fn traffic(&self) -> Traffic {
        self.readers.traffic(&self.name)
    }
}

fn tries(plugged: &Plugged) -> (u8, u8) {
    plugged.with_card(|card| {
        let summary = card.card().summary();
        (summary.pin_tries, summary.puk_tries)
    })
}

fn digest_info(message: &[u8]) -> Vec<u8> {
    let mut info = hex::decode("3031300D060960864801650304020105000420").unwrap();
    info.extend(Sha256::digest(message));
    info
}

#[tokio::test]
async fn a_wrong_pin_costs_one_try_each_and_the_last_only_when_confirmed() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader.verify(sample::PIN, LastTry::Ask).await.unwrap();
    assert_eq!(reader.tries_left(), None);
    for left in [2, 1] {
        let wrong = reader.verify(b"99999", LastTry::Ask).await;
        assert!(
            matches!(wrong, Err(CardError::PinIncorrect { tries_left: Some(l) }) if l == left),
            "{wrong:?}"
        );
        assert_eq!((reader.tries_left(), tries(&plugged).0), (Some(left), left));
    }
    let before = reader.traffic();
    assert!(matches!(reader.verify(sample::PIN, LastTry::Ask).await, Err(CardError::LastTry)));
    assert_eq!(reader.traffic(), before);
    let blocked = reader.verify(b"99999", LastTry::Confirmed).await;
    assert!(matches!(blocked, Err(CardError::PinIncorrect { tries_left: Some(0) })), "{blocked:?}");
    assert!(matches!(reader.verify(sample::PIN, LastTry::Confirmed).await, Err(CardError::PinBlocked)));
    assert_eq!(reader.tries_left(), Some(0));
}

#[tokio::test]
async fn a_last_try_left_by_another_program_is_not_spent_unasked() {
    let card = sample_card(|_| {});
    let reader = Bench(Reader::start());
    let plugged = reader.plug(card);
    reader.card().await;
    // Another program spends two tries behind the daemon's back.
    for _ in 0..2 {
        let wrong = [0x00, 0x20, 0x00, 0x90, 8, b'9', b'9', b'9', b'9', b'9', 0xFF, 0xFF, 0xFF];
        plugged.with_card(|card| drop(card.card().transmit(&wrong)));
    }
    assert!(matches!(reader.verify(sample::PIN, LastTry::Ask).await, Err(CardError::LastTry)));
    assert_eq!((reader.tries_left(), tries(&plugged).0), (Some(1), 1));
    reader.verify(sample::PIN, LastTry::Confirmed).await.unwrap();
    assert_eq!(tries(&plugged).0, 3);
}

#[tokio::test]
async fn a_pin_that_cannot_be_one_does_not_reach_the_chip() {
    let (reader, _plugged) = with_card(|_| {}).await;
    let before = reader.traffic();
    for wrong in [&b""[..], b"1234", b"123456789", b"1234a", b"12 45", b"\xB2\xB2\xB2\xB2\xB2"] {
        assert!(matches!(reader.verify(wrong, LastTry::Ask).await, Err(CardError::PinInvalid)));
    }
    let short_puk = reader.run(|session| {
        pin::reset(session, PinName::Cns, &secret(b"8765432"), &secret(NEW_PIN), LastTry::Ask)
    });
    assert!(matches!(short_puk.await, Err(CardError::PinInvalid)));
    assert_eq!(reader.traffic(), before);
}

#[tokio::test]
async fn a_pin_is_changed_and_reset_with_the_puk() {
    let (reader, plugged) = with_card(|_| {}).await;
    reader
        .run(|session| {
            pin::change(session, PinName::Cns, &secret(sample::PIN), &secret(NEW_PIN), LastTry::Ask)
        })
        .await
        .unwrap();
    reader.verify(NEW_PIN, LastTry::Ask).await.unwrap();
    for _ in 0..3 {
        assert!(reader.verify(b"00000", LastTry::Confirmed).await.is_err());
    }
    assert_eq!(tries(&plugged), (0, 3));
    let wrong = reader.run(|session| {
        pin::reset(session, PinName::Cns, &secret(b"00000000"), &secret(b"54321"), LastTry::Ask)
    });
    let wrong = wrong.await;
    assert!(matches!(wrong, Err(CardError::PukIncorrect { tries_left: Some(2) })), "{wrong:?}");
    let before = reader.traffic();
    reader
        .run(|session| {
            pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(b"54321"), LastTry::Ask)
        })
        .await
        .unwrap();
    let traffic = reader.since(before);
    println!("PIN reset: {traffic:?}");
    assert_eq!((traffic.commands, tries(&plugged)), (1, (3, 3)));
    reader.verify(b"54321", LastTry::Ask).await.unwrap();
}

#[tokio::test]
async fn a_chip_that_tells_no_tries_is_believed_in_that() {
    let (reader, _plugged) = with_card(|order| order.behaviour.strict_incard = true).await;
    let wrong = reader.verify(b"99999", LastTry::Ask).await;
    assert!(matches!(wrong, Err(CardError::PinIncorrect { tries_left: None })), "{wrong:?}");
}

#[tokio::test]
async fn status_tells_the_tries_and_costs_none() {
    let (reader, plugged) = with_card(|_| {}).await;
    assert!(reader.verify(b"99999", LastTry::Ask).await.is_err());
    let states = reader.run(pin::status).await.unwrap();
    let seen: Vec<_> = states.iter().map(|state| (state.is_puk, state.blocked, state.tries_left)).collect();
    assert_eq!(seen, [(false, Some(false), Some(2)), (true, Some(false), Some(3))]);
    assert_eq!(tries(&plugged), (2, 3));
}

#[tokio::test]
async fn what_a_pin_opened_is_closed_after_the_job() {
    let (reader, _plugged) = with_card(|_| {}).await;
    reader.verify(sample::PIN, LastTry::Ask).await.unwrap();
    use cns_apdu::command::{ManageSecurityEnvironment, PerformSecurityOperation};
    let open = reader.run(|session| {
        session.run(&ManageSecurityEnvironment::Restore { se: 3 })?;
        session.run(&PerformSecurityOperation::Decipher { block: secret(&[1; 256]) })
    });
    let refused = open.await.unwrap_err();
    assert_eq!(refused.status(), Some(cns_apdu::StatusWord::SECURITY_NOT_SATISFIED), "{refused}");
}

#[tokio::test]
async fn every_mechanism_of_the_authentication_key_verifies() {
    let (reader, _plugged) = with_card(|_| {}).await;
    let key = reader.card().await.public_key(KeyUse::Authentication).unwrap().clone();
    reader.verify(sample::PIN, LastTry::Ask).await.unwrap();
    let before = reader.traffic();
    let signature = reader.sign(Mechanism::RsaPkcs1, digest_info(b"text")).await.unwrap();
    println!("one signature after the login: {:?}", reader.since(before));
    assert_eq!(reader.since(before).commands, 4);
    let verifying = pkcs1v15::VerifyingKey::<Sha256>::new(key.clone());
    verifying.verify(b"text", &pkcs1v15::Signature::try_from(signature.as_slice()).unwrap()).unwrap();

    let mechanism = Mechanism::RsaPss { hash: Hash::Sha256, mgf_hash: Hash::Sha256, salt_length: 32 };
    let signature = reader.sign(mechanism, Sha256::digest(b"text").to_vec()).await.unwrap();
    let verifying = rsa::pss::VerifyingKey::<Sha256>::new(key.clone());
    verifying.verify(b"text", &rsa::pss::Signature::try_from(signature.as_slice()).unwrap()).unwrap();

    let block: Vec<u8> = std::iter::once(0).chain(1..=255).collect();
    let raw = reader.sign(Mechanism::RsaRaw, block.clone()).await.unwrap();
    use rsa::{BigUint, traits::PublicKeyParts};
    let opened = BigUint::from_bytes_be(&raw).modpow(key.e(), key.n());
    assert_eq!(opened, BigUint::from_bytes_be(&block));
}

#[tokio::test]
async fn data_that_does_not_fit_is_refused_before_the_chip() {
    let (reader, _plugged) = with_card(|_| {}).await;
    let before = reader.traffic();
    let pss = |salt_length| Mechanism::RsaPss { hash: Hash::Sha256, mgf_hash: Hash::Sha1, salt_length };
    for (mechanism, length) in [
        (Mechanism::RsaPkcs1, 246),
        (Mechanism::RsaRaw, 255),
        (Mechanism::RsaRaw, 257),
        (pss(32), 31),
        (pss(223), 32),
        (pss(u16::MAX), 32),
    ] {
        let refused = reader.sign(mechanism, vec![0; length]).await;
        assert!(matches!(refused, Err(CardError::Mechanism(_))), "{mechanism:?} {refused:?}");
    }
    let too_large = reader.sign(Mechanism::RsaRaw, vec![0xFF; 256]).await;
    assert!(matches!(too_large, Err(CardError::Mechanism(_))));
    let nothing = reader.run(|session| {
        let pin = secret(b"54321");
        sign::sign(session, KeyUse::Signature, &pin, LastTry::Ask, &Mechanism::RsaPkcs1, &[1])
    });
    assert!(matches!(nothing.await, Err(CardError::NoSuchObject(_))));
    assert_eq!(reader.traffic(), before);
}

#[tokio::test]
async fn an_old_chip_signs_with_its_shorter_key_in_short_commands() {
    let (reader, _plugged) = with_card(|order| {
        order.generation = Generation::from_name("incard10").unwrap();
        order.key = None;
    })
    .await;
    let contents = reader.card().await;
    assert_eq!((contents.generation.name, contents.card.certificates[0].key_bits), ("incard10", 1024));
    println!("first listing of an old card: {:?}", reader.traffic());
    let signature = reader.sign(Mechanism::RsaPkcs1, digest_info(b"text")).await.unwrap();
    assert_eq!(signature.len(), 128);
}

#[tokio::test]
async fn random_bytes_come_in_the_number_asked_for() {
    let (reader, _plugged) = with_card(|_| {}).await;
    for length in [1_u16, 256, 1000] {
        let bytes = reader.run(move |session| random::random(session, length)).await.unwrap();
        assert_eq!(bytes.len(), usize::from(length));
    }
}

fn silent(_: Progress) {}

/// Runs commands in DF 1400 as somebody who knows the CNS PIN.
fn plant(plugged: &Plugged, commands: &[&str]) {
    plugged.with_card(|card| {
        let card = card.card();
        for command in ["00A4080C021400", "00200090083132333435FFFFFF"].iter().chain(commands) {
            assert_eq!(card.transmit(&hex::decode(command).unwrap()), [0x90, 0x00], "{command}");
        }
        card.reset();
    });
}

#[tokio::test]
async fn a_code_of_the_same_number_in_another_directory_is_not_taken_for_the_cards_own() {
    let (reader, plugged) = with_card(|_| {}).await;
    // Somebody who knows the CNS PIN puts a PIN 10 and a PUK 11 of their own into DF 1400.
    plant(
        &plugged,
        &[
            "00DA016E2183020011850802038703FF00000886070011FFFFFFFFFF8F083939393939393939",
            "00DA016E2183020010850802038703FF0000058607001011FFFFFFFF8F083939393939FFFFFF",
        ],
    );
    // A job that needs no PIN leaves that directory current.
    reader.run(|session| cnsd::card::signature_area::inspect(session).map(drop)).await.unwrap();
    reader
        .run(|session| {
            pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(NEW_PIN), LastTry::Ask)
        })
        .await
        .unwrap();
    plugged.with_card(|card| card.card().reset());
    reader.verify(NEW_PIN, LastTry::Ask).await.unwrap();
}
