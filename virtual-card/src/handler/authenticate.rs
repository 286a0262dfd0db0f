//! GET CHALLENGE, GIVE RANDOM, EXTERNAL and INTERNAL AUTHENTICATE (ISO/IEC 7816-4 §11.6)

use cns_apdu::StatusWord;
use cns_apdu::command::{
    AuthenticationKey, ExternalAuthenticate, GetChallenge, GiveRandom, InternalAuthenticate,
};
use cns_apdu::object::{Algorithm, ObjectClass, rsa_component_value};
use cns_apdu::triple_des::mac3;
use rsa::{BigUint, RsaPublicKey};
use subtle::ConstantTimeEq;

use super::Reply;
use crate::card::VirtualCard;
use crate::keys::{self, KeyError};
use crate::objects::{ObjectOperation, ObjectReference};
use crate::secure_messaging::Demand;

/// Challenges that are authenticated consist of DES blocks.
const BLOCK: usize = 8;

pub(super) fn get_challenge(card: &mut VirtualCard, command: GetChallenge) -> Reply {
    let habits = card.habits();
    if command.length > habits.longest_challenge && !habits.shortens_challenge {
        return Err(StatusWord::WRONG_LENGTH);
    }
    let length = command.length.min(habits.longest_challenge);
    let length = usize::try_from(length).map_err(|_| StatusWord::WRONG_LENGTH)?;
    let challenge = card.random(length)?;
    card.session.challenge = Some(challenge.clone());
    Ok(challenge.into())
}

pub(super) fn give_random(card: &mut VirtualCard, command: GiveRandom) -> Reply {
    card.session.host_random = Some(command.value);
    Ok(().into())
}

pub(super) fn external(card: &mut VirtualCard, command: &ExternalAuthenticate) -> Reply {
    let key = named_key(card, command.key)?;
    refuse_other_algorithms(card, &key)?;
    card.require_protection(&Demand::of_object(card.object(&key)?, &key, ObjectOperation::Present))?;
    // One challenge serves one attempt, whatever comes of it.
    let challenge = card.session.challenge.take().ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
    let least = usize::from(card.object(&key)?.attributes().minimum_length);
    if !challenge.len().is_multiple_of(BLOCK) || challenge.len() < least {
        return Err(StatusWord::INVALID_OBJECT);
    }
    if card.object(&key)?.is_blocked() {
        return Err(StatusWord::BLOCKED);
    }
    card.authorise_object(&key, ObjectOperation::Present)?;
    let left = card.take_try(&key)?;
    if card.object(&key)?.algorithm() == Algorithm::RsaSignature {
        card.work.public_operation(command.response.len());
    }
    if is_proof(card, &key, &challenge, &command.response)? {
        let (maximum, validity) = {
            let object = card.object(&key)?;
            (object.maximum_tries(), object.validity())
        };
        card.set_tries(&key, maximum)?;
        card.session.status.grant(key, validity);
        return Ok(().into());
    }
    card.session.status.withdraw(&key);
    Err(card.wrong_value(left))
}

pub(super) fn internal(card: &mut VirtualCard, command: &InternalAuthenticate) -> Reply {
    let key = named_key(card, command.key)?;
    let algorithm = refuse_other_algorithms(card, &key)?;
    card.authorise_object(&key, ObjectOperation::Use)?;
    let data = match algorithm {
        TestAlgorithm::RetailMac if command.challenge.len().is_multiple_of(BLOCK) => {
            mac3(&card.object(&key)?.body, &command.challenge).map_err(KeyError::from)?.to_vec()
        }
        TestAlgorithm::RetailMac => return Err(StatusWord::WRONG_LENGTH),
        TestAlgorithm::Rsa => {
            let exponent = card.object(&key.of_class(ObjectClass::TestExponent))?;
            let private = keys::private_key(&card.object(&key)?.body, &exponent.body)?;
            let signature = keys::sign(&private, &command.challenge)?;
            card.work.private_operation(signature.len());
            signature.to_vec()
        }
    };
    Ok(data.into())
}

/// The key that P2 names.
pub(super) fn named_key(card: &VirtualCard, key: AuthenticationKey) -> Result<ObjectReference, StatusWord> {
    match key {
        AuthenticationKey::FromEnvironment => test_component(card),
        AuthenticationKey::Object(reference) => card.find_test_object(reference),
    }
}

/// The key that the current security environment names for authentication.
fn test_component(card: &VirtualCard) -> Result<ObjectReference, StatusWord> {
    let environment = card.session.environment.as_ref();
    card.chosen_key(environment.and_then(|environment| environment.test.as_ref()))
}

#[derive(Clone, Copy)]
enum TestAlgorithm {
    RetailMac,
    Rsa,
}

/// 6985 for what is no authentication key, a PIN above all.
fn refuse_other_algorithms(card: &VirtualCard, key: &ObjectReference) -> Result<TestAlgorithm, StatusWord> {
    match card.object(key)?.algorithm() {
        Algorithm::RetailMac => Ok(TestAlgorithm::RetailMac),
        Algorithm::RsaSignature => Ok(TestAlgorithm::Rsa),
        Algorithm::Pin
        | Algorithm::RsaRaw
        | Algorithm::TripleDes
        | Algorithm::Logical
        | Algorithm::Other(_) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
    }
}

/// Whether `response` proves that the host has the key that goes with `key`.
fn is_proof(
    card: &VirtualCard,
    key: &ObjectReference,
    challenge: &[u8],
    response: &[u8],
) -> Result<bool, StatusWord> {
    let body = &card.object(key)?.body;
    match refuse_other_algorithms(card, key)? {
        TestAlgorithm::RetailMac => Ok(mac3(body, challenge).map_err(KeyError::from)?.ct_eq(response).into()),
        TestAlgorithm::Rsa => {
            let exponent = &card.object(&key.of_class(ObjectClass::TestExponent))?.body;
            let number = |body: &[u8]| rsa_component_value(body).map(BigUint::from_bytes_be);
            let modulus = number(body.expose()).ok_or(StatusWord::INVALID_OBJECT)?;
            let exponent = number(exponent.expose()).ok_or(StatusWord::INVALID_OBJECT)?;
            let public = RsaPublicKey::new(modulus, exponent).map_err(|_| StatusWord::INVALID_OBJECT)?;
            let opened = keys::public_operation(&public, response).ok();
            Ok(opened.as_deref().and_then(keys::strip_signature_block) == Some(challenge))
        }
    }
}
