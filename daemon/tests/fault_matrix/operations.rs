//! What `cnsd` does to a card, what it starts from, and what must be true in the end.

use std::sync::OnceLock;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use cns_virtual_card::{Snapshot, sample};
use cnsd::card::signature_area::{self, Stage, renewal};
use cnsd::card::{CardError, CardSession, LastTry, pin, random, sign};
use der::Encode;
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};

use crate::lane::Lane;
use crate::plugged::{certificate_for, request_info, sample_card, secret};

const NEW_PIN: &[u8] = b"2468013";
const AREA_PIN: &[u8] = b"54321";
const AREA_PUK: &[u8] = b"11223344";
const WRONG_PUK: &[u8] = b"00000000";

pub(crate) type Job = fn(&mut CardSession<'_>) -> Result<(), CardError>;

/// What an operation starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As the bureau delivers it.
    Fresh,
    /// Two tries left on the PIN.
    OneWrong,
    /// No try left on the PIN.
    Blocked,
    /// A signature area without a key.
    Prepared,
    /// With a key.
    Key,
    /// With a key, and locked.
    Locked,
    /// With a certificate.
    Certified,
    /// With a place for the next key beside it.
    NextPrepared,
    /// With the next key.
    NextKey,
    /// With the next key, locked.
    NextLocked,
    /// With the next key's certificate too.
    NextLoaded,
}

/// Something that the daemon does to a card.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// The operation itself; nothing when it is the reading that follows an insertion.
    pub(crate) job: Option<Job>,
    /// Tries of PIN, PUK and signature PIN that may be gone when it was cut off: one for each value that the person
    /// gave.
    pub(crate) gives: [u8; 3],
    /// What the person does after the card came back; must succeed whatever was cut off where.
    pub(crate) settle: Job,
    /// Whether all is as it should be in the end. Asked also when the operation claims success in spite of a fault.
    pub(crate) done: Job,
}

fn verify_with(session: &mut CardSession<'_>, digits: &[u8]) -> Result<(), CardError> {
    pin::verify(session, PinName::Cns, &secret(digits), LastTry::Ask)
}

fn verify(session: &mut CardSession<'_>) -> Result<(), CardError> {
    verify_with(session, sample::PIN)
}

pub(crate) fn verify_new(session: &mut CardSession<'_>) -> Result<(), CardError> {
    verify_with(session, NEW_PIN)
}

/// A refused PIN is what is expected.
fn wrong_verify(session: &mut CardSession<'_>) -> Result<(), CardError> {
    match verify_with(session, b"99999") {
        Err(CardError::PinIncorrect { .. }) => Ok(()),
        Ok(()) => panic!("a wrong PIN was taken"),
        Err(error) => Err(error),
    }
}

/// Two people who do not know the PIN, one after the other, none of whom confirms the last try.
fn two_wrong_verifies(session: &mut CardSession<'_>) -> Result<(), CardError> {
    wrong_verify(session)?;
    match wrong_verify(session) {
        Err(CardError::LastTry) => Ok(()),
        Ok(()) => panic!("the last try was spent unasked"),
        Err(error) => Err(error),
    }
}

/// As above, but nobody minds that the first one was not heard.
fn two_wrong_verifies_unheard(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let first = wrong_verify(session);
    match wrong_verify(session) {
        Err(CardError::LastTry) => Ok(()),
        Ok(()) if first.is_ok() => panic!("the last try was spent unasked"),
        // The first one was not executed, so the second one was not the last.
        Ok(()) => first,
        Err(error) => Err(error),
    }
}

/// The person confirms that the last try may be spent.
fn verify_confirmed(session: &mut CardSession<'_>) -> Result<(), CardError> {
    pin::verify(session, PinName::Cns, &secret(sample::PIN), LastTry::Confirmed)
}

fn change_with(session: &mut CardSession<'_>, last_try: LastTry) -> Result<(), CardError> {
    let (old, new) = (secret(sample::PIN), secret(NEW_PIN));
    pin::change(session, PinName::Cns, &old, &new, last_try).map(drop)
}

pub(crate) fn change(session: &mut CardSession<'_>) -> Result<(), CardError> {
    change_with(session, LastTry::Ask)
}

/// The person tries the new PIN, and if that is not the one, changes it again; one try was taken by the change, so that
/// this may be the last one.
pub(crate) fn settle_change(session: &mut CardSession<'_>) -> Result<(), CardError> {
    match verify_new(session) {
        Err(CardError::PinIncorrect { .. }) => change_with(session, LastTry::Confirmed),
        outcome => outcome,
    }
}

pub(crate) fn unblock(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let (puk, new) = (secret(sample::PUK), secret(NEW_PIN));
    pin::reset(session, PinName::Cns, &puk, &new, LastTry::Ask).map(drop)
}

fn wrong_unblock(session: &mut CardSession<'_>) -> Result<(), CardError> {
    match pin::reset(session, PinName::Cns, &secret(WRONG_PUK), &secret(NEW_PIN), LastTry::Ask) {
        Err(CardError::PukIncorrect { .. }) => Ok(()),
        Ok(_) => panic!("a wrong PUK was taken"),
        Err(error) => Err(error),
    }
}

fn status(session: &mut CardSession<'_>) -> Result<(), CardError> {
    pin::status(session).map(drop)
}

fn give_random(session: &mut CardSession<'_>) -> Result<(), CardError> {
    random::random(session, 300).map(|bytes| assert_eq!(bytes.len(), 300))
}

fn sign_with(session: &mut CardSession<'_>, key_use: KeyUse, digits: &[u8]) -> Result<(), CardError> {
    let data = [0x42; 51];
    let signature = sign::sign(session, key_use, &secret(digits), LastTry::Ask, &Mechanism::RsaPkcs1, &data)?;
    let key = session.contents().public_key(key_use).unwrap();
    // What is given out is a signature, whatever the card answered.
    key.verify(rsa::Pkcs1v15Sign::new_unprefixed(), &data, &signature).unwrap();
    Ok(())
}

pub(crate) fn sign_authentication(session: &mut CardSession<'_>) -> Result<(), CardError> {
    sign_with(session, KeyUse::Authentication, sample::PIN)
}

/// With the second key of a card as its bureau delivers it: with the login's PIN where that guards both.
pub(crate) fn sign_second(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let own = session.contents().generation.signature.is_some();
    sign_with(session, KeyUse::Signature, if own { sample::SIGNATURE_PIN } else { sample::PIN })
}

fn sign_signature(session: &mut CardSession<'_>) -> Result<(), CardError> {
    sign_with(session, KeyUse::Signature, AREA_PIN)
}

fn silent(_: Progress) {}

fn create(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let (pin, area_pin, area_puk) = (secret(sample::PIN), secret(AREA_PIN), secret(AREA_PUK));
    signature_area::create(session, &pin, &area_pin, &area_puk, &silent)
}

fn generate(session: &mut CardSession<'_>) -> Result<(), CardError> {
    signature_area::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent).map(drop)
}

fn lock(session: &mut CardSession<'_>) -> Result<(), CardError> {
    signature_area::lock(session, &secret(sample::PIN), &silent)
}

fn sign_request(session: &mut CardSession<'_>) -> Result<(), CardError> {
    signature_area::sign_request(session, &secret(AREA_PIN), &[0x42; 32]).map(drop)
}

fn load(session: &mut CardSession<'_>) -> Result<(), CardError> {
    match signature_area::load_certificate(session, &secret(sample::PIN), &fixture().certificate, &silent) {
        // The last command was executed, and nobody heard of it.
        Err(CardError::AreaExists) => Ok(()),
        outcome => outcome,
    }
}

fn area_is(session: &mut CardSession<'_>, stage: Stage, locked: bool) -> Result<(), CardError> {
    let state = signature_area::inspect(session)?;
    assert_eq!((state.stage, state.locked), (stage, locked));
    // Its PIN is the one that was given.
    pin::verify(session, PinName::Signature, &secret(AREA_PIN), LastTry::Ask)
}

fn is_prepared(session: &mut CardSession<'_>) -> Result<(), CardError> {
    area_is(session, Stage::Prepared, false)
}

fn has_key(session: &mut CardSession<'_>) -> Result<(), CardError> {
    area_is(session, Stage::Key, false)
}

fn is_locked(session: &mut CardSession<'_>) -> Result<(), CardError> {
    area_is(session, Stage::Key, true)
}

fn is_certified(session: &mut CardSession<'_>) -> Result<(), CardError> {
    area_is(session, Stage::Certificate, true)?;
    assert_eq!(signature_area::inspect(session)?.certificate.as_ref(), Some(&fixture().certificate));
    Ok(())
}

fn replace(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let (pin, area_pin, area_puk) = (secret(sample::PIN), secret(AREA_PIN), secret(AREA_PUK));
    signature_area::replace(session, &pin, &area_pin, &area_puk, &silent)
}

fn remove(session: &mut CardSession<'_>) -> Result<(), CardError> {
    signature_area::remove(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
}

fn is_removed(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let state = signature_area::inspect(session)?;
    assert_eq!((state.stage, state.codes_locked, state.certificate), (Stage::Absent, true, None));
    assert_eq!(renewal::inspect_next(session)?.stage, Stage::Absent);
    Ok(())
}

fn prepare_next(session: &mut CardSession<'_>) -> Result<(), CardError> {
    renewal::prepare(session, &secret(sample::PIN), &secret(AREA_PIN), &silent)
}

fn generate_next(session: &mut CardSession<'_>) -> Result<(), CardError> {
    renewal::generate_key(session, &secret(sample::PIN), &secret(AREA_PIN), &silent).map(drop)
}

fn lock_next(session: &mut CardSession<'_>) -> Result<(), CardError> {
    renewal::lock(session, &secret(sample::PIN), &silent)
}

fn sign_next_request(session: &mut CardSession<'_>) -> Result<(), CardError> {
    renewal::sign_request(session, &secret(AREA_PIN), &[0x42; 32]).map(drop)
}

fn load_next(session: &mut CardSession<'_>) -> Result<(), CardError> {
    renewal::load_certificate(session, &secret(sample::PIN), &fixture().next_certificate, &silent)
}

fn finish(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let certificate = &fixture().next_certificate;
    renewal::finish(session, &secret(sample::PIN), &secret(AREA_PIN), certificate, &silent)
}

/// The next key stands so, and the old one still signs.
fn next_is(session: &mut CardSession<'_>, stage: Stage, locked: bool) -> Result<(), CardError> {
    let state = renewal::inspect_next(session)?;
    assert_eq!((state.stage, state.locked), (stage, locked));
    sign_signature(session)
}

fn next_is_prepared(session: &mut CardSession<'_>) -> Result<(), CardError> {
    next_is(session, Stage::Prepared, false)
}

fn next_has_key(session: &mut CardSession<'_>) -> Result<(), CardError> {
    next_is(session, Stage::Key, false)
}

fn next_is_locked(session: &mut CardSession<'_>) -> Result<(), CardError> {
    next_is(session, Stage::Key, true)
}

fn next_is_loaded(session: &mut CardSession<'_>) -> Result<(), CardError> {
    next_is(session, Stage::Certificate, true)
}

/// The next certificate is the one, its key signs, and nothing is left of the old key.
fn is_renewed(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let state = signature_area::inspect(session)?;
    assert_eq!((state.stage, state.locked), (Stage::Certificate, true));
    assert_eq!(state.certificate.as_ref(), Some(&fixture().next_certificate));
    next_is(session, Stage::Absent, false)
}

/// All of them. Where nothing else is said, the person does the same again.
pub(crate) fn all() -> Vec<Operation> {
    let operation =
        |name, start, job, gives, settle, done| Operation { name, start, job, gives, settle, done };
    let same = |name, start, job, gives, done| operation(name, start, Some(job), gives, job, done);
    use Start::{Blocked, Certified, Fresh, Key, Locked, OneWrong, Prepared};
    use Start::{NextKey, NextLoaded, NextLocked, NextPrepared};
    vec![
        operation("recognise and read", Certified, None, [0, 0, 0], sign_signature, sign_authentication),
        same("read the tries", Certified, status, [0, 0, 0], status),
        same("random bytes", Fresh, give_random, [0, 0, 0], give_random),
        same("verify the PIN", Fresh, verify, [1, 0, 0], verify),
        operation("verify after a wrong PIN", OneWrong, Some(verify), [1, 0, 0], verify_confirmed, verify),
        operation("wrong PIN", Fresh, Some(wrong_verify), [1, 0, 0], verify, verify),
        operation("two wrong PINs", OneWrong, Some(two_wrong_verifies), [1, 0, 0], verify_confirmed, verify),
        operation(
            "two wrong PINs, whatever comes",
            OneWrong,
            Some(two_wrong_verifies_unheard),
            [1, 0, 0],
            verify_confirmed,
            verify,
        ),
        operation("change the PIN", Fresh, Some(change), [1, 0, 0], settle_change, verify_new),
        same("unblock the PIN", Blocked, unblock, [0, 1, 0], verify_new),
        operation("wrong PUK", Blocked, Some(wrong_unblock), [0, 1, 0], unblock, verify_new),
        same("sign, authentication key", Fresh, sign_authentication, [1, 0, 0], sign_authentication),
        same("sign, signature key", Certified, sign_signature, [0, 0, 1], sign_signature),
        same("create the area", Fresh, create, [1, 0, 0], is_prepared),
        same("create the area again", Key, create, [1, 0, 0], is_prepared),
        same("generate the key", Prepared, generate, [0, 0, 1], has_key),
        same("lock the area", Key, lock, [1, 0, 0], is_locked),
        same("sign the request", Locked, sign_request, [0, 0, 1], is_locked),
        same("load the certificate", Locked, load, [1, 0, 0], is_certified),
        same("make the area anew", Certified, replace, [1, 1, 1], is_prepared),
        same("empty the area", Certified, remove, [1, 0, 1], is_removed),
        same("prepare a renewal", Certified, prepare_next, [1, 0, 0], next_is_prepared),
        same("prepare a renewal again", NextLocked, prepare_next, [1, 0, 1], next_is_prepared),
        same("generate the next key", NextPrepared, generate_next, [0, 0, 1], next_has_key),
        same("lock the next key", NextKey, lock_next, [1, 0, 0], next_is_locked),
        same("sign the next request", NextLocked, sign_next_request, [0, 0, 1], next_is_locked),
        same("load the next certificate", NextLocked, load_next, [1, 0, 0], next_is_loaded),
        same("end the renewal", NextLoaded, finish, [1, 0, 1], is_renewed),
    ]
}

/// As [`Fixture::keys`].
pub(crate) fn spare_keys() -> [RsaPrivateKey; 2] {
    fixture().keys()
}

/// What takes long to make, made once.
pub(crate) struct Fixture {
    snapshots: Vec<(Start, Snapshot)>,
    certificate: Vec<u8>,
    next_certificate: Vec<u8>,
    keys: [RsaPrivateKey; 2],
}

static FIXTURE: OnceLock<Fixture> = OnceLock::new();

fn fixture() -> &'static Fixture {
    FIXTURE.get().expect("made first")
}

impl Fixture {
    /// Takes a card through all the states that operations start from.
    pub(crate) async fn make() -> &'static Self {
        let keys = [(); 2].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
        let mut snapshots = Vec::new();
        let mut keep = |lane: &Lane, start| snapshots.push((start, lane.card().card().snapshot().unwrap()));
        let mut lane = Lane::new(sample_card(|_| {}), std::time::Duration::from_secs(60));
        keep(&lane, Start::Fresh);
        for (wrong, start) in [(1, Start::OneWrong), (2, Start::Blocked)] {
            let command = [0x00, 0x20, 0x00, 0x90, 8, b'9', b'9', b'9', b'9', b'9', 0xFF, 0xFF, 0xFF];
            for _ in 0..wrong {
                lane.card().card().transmit(&command);
            }
            keep(&lane, start);
        }
        let first = snapshots[0].1.clone();
        lane.card().card().restore(&first).unwrap();
        lane.card().card().plan_keys(keys.clone());
        lane.put_in().await;
        let mut keep = |lane: &Lane, start| snapshots.push((start, lane.card().card().snapshot().unwrap()));
        let steps: [(Job, Start); 3] =
            [(create, Start::Prepared), (generate, Start::Key), (lock, Start::Locked)];
        for (job, start) in steps {
            lane.run(job).await.unwrap();
            keep(&lane, start);
        }
        let certificate = certify(&mut lane, &keys[0].to_public_key(), signature_area::sign_request).await;
        let loaded = certificate.clone();
        let load = move |session: &mut CardSession<'_>| {
            signature_area::load_certificate(session, &secret(sample::PIN), &loaded, &silent)
        };
        lane.run(load).await.unwrap();
        keep(&lane, Start::Certified);
        lane.put_in().await;
        let mut keep = |lane: &Lane, start| snapshots.push((start, lane.card().card().snapshot().unwrap()));
        let steps: [(Job, Start); 3] = [
            (prepare_next, Start::NextPrepared),
            (generate_next, Start::NextKey),
            (lock_next, Start::NextLocked),
        ];
        for (job, start) in steps {
            lane.run(job).await.unwrap();
            keep(&lane, start);
        }
        let next_certificate = certify(&mut lane, &keys[1].to_public_key(), renewal::sign_request).await;
        let loaded = next_certificate.clone();
        let load = move |session: &mut CardSession<'_>| {
            renewal::load_certificate(session, &secret(sample::PIN), &loaded, &silent)
        };
        lane.run(load).await.unwrap();
        keep(&lane, Start::NextLoaded);
        FIXTURE.get_or_init(|| Self { snapshots, certificate, next_certificate, keys })
    }

    pub(crate) fn snapshot(&self, start: Start) -> &Snapshot {
        &self.snapshots.iter().find(|(of, _)| *of == start).unwrap().1
    }

    /// Keys that a generation takes, so that none has to wait for a new one.
    pub(crate) fn keys(&self) -> [RsaPrivateKey; 2] {
        self.keys.clone()
    }
}

type SignRequest = fn(&mut CardSession<'_>, &Secret, &[u8]) -> Result<Vec<u8>, CardError>;

/// A certificate for the key on the card, whose request the card signs.
async fn certify(lane: &mut Lane, key: &RsaPublicKey, sign: SignRequest) -> Vec<u8> {
    let info = request_info(key);
    let digest = Sha256::digest(info.to_der().unwrap());
    let (sender, signature) = std::sync::mpsc::channel();
    let job = move |session: &mut CardSession<'_>| {
        let signature = sign(session, &secret(AREA_PIN), &digest)?;
        sender.send(signature).unwrap();
        Ok(())
    };
    lane.run(job).await.unwrap();
    certificate_for(info, &signature.recv().unwrap())
}
