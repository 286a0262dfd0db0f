//! PERFORM SECURITY OPERATION (ISO/IEC 7816-8 §5.2)

use cns_apdu::StatusWord;
use cns_apdu::command::PerformSecurityOperation;
use cns_apdu::object::Algorithm;
use cns_apdu::triple_des;
use cns_secret::Secret;
use rsa::traits::PublicKeyParts;

use super::Reply;
use crate::card::VirtualCard;
use crate::keys::{self, KeyError};
use crate::objects::{ObjectOperation, ObjectReference};

pub(super) fn perform(card: &mut VirtualCard, command: &PerformSecurityOperation) -> Reply {
    match command {
        PerformSecurityOperation::ComputeDigitalSignature { input } => sign(card, input),
        PerformSecurityOperation::Decipher { block } => decipher(card, block),
        PerformSecurityOperation::Encipher { data } => encipher(card, data),
    }
}

/// The chip pads a DigestInfo itself; a whole block that is padded already is taken as it is, as OpenSC pads in
/// software.
fn sign(card: &mut VirtualCard, input: &[u8]) -> Reply {
    let key = signature_key(card)?;
    if card.key_object(&key)?.algorithm() != Algorithm::RsaSignature {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    card.authorise_object(&key, ObjectOperation::Use)?;
    let private = card.ready_key(&key)?;
    let output = if input.len() == private.size() {
        keys::strip_signature_block(input).ok_or(StatusWord::WRONG_DATA)?;
        keys::private_operation(private, input)?
    } else if input.len() + 11 <= private.size() {
        keys::sign(private, input)?
    } else {
        return Err(StatusWord::WRONG_LENGTH);
    };
    card.work.private_operation(output.len());
    Ok(output.to_vec().into())
}

fn decipher(card: &mut VirtualCard, block: &Secret) -> Reply {
    let key = confidentiality_key(card)?;
    let output = match confidentiality(card, &key)? {
        Confidentiality::Rsa => {
            card.authorise_object(&key, ObjectOperation::Use)?;
            let private = card.ready_key(&key)?;
            if block.len() != private.size() {
                return Err(StatusWord::WRONG_LENGTH);
            }
            let output = keys::private_operation(private, block.expose())?;
            card.work.private_operation(output.len());
            output.to_vec()
        }
        Confidentiality::TripleDes => {
            card.authorise_object(&key, ObjectOperation::Use)?;
            let plain = triple_des::decrypt(&card.key_object(&key)?.body, block.expose());
            plain.map_err(KeyError::from)?.expose().to_vec()
        }
    };
    Ok(output.into())
}

fn encipher(card: &mut VirtualCard, data: &Secret) -> Reply {
    let key = confidentiality_key(card)?;
    let cryptogram = match confidentiality(card, &key)? {
        Confidentiality::Rsa => {
            card.authorise_object(&key, ObjectOperation::Use)?;
            let public = card.ready_key(&key)?.to_public_key();
            if data.len() != public.size() {
                return Err(StatusWord::WRONG_LENGTH);
            }
            card.work.public_operation(public.size());
            keys::public_operation(&public, data.expose())?
        }
        Confidentiality::TripleDes => {
            card.authorise_object(&key, ObjectOperation::Use)?;
            triple_des::encrypt(&card.key_object(&key)?.body, data.expose()).map_err(KeyError::from)?
        }
    };
    Ok([&[0x00][..], &cryptogram].concat().into())
}

pub(super) fn signature_key(card: &VirtualCard) -> Result<ObjectReference, StatusWord> {
    let environment = card.session.environment.as_ref();
    card.chosen_key(environment.and_then(|environment| environment.signature.as_ref()))
}

pub(super) fn confidentiality_key(card: &VirtualCard) -> Result<ObjectReference, StatusWord> {
    let environment = card.session.environment.as_ref();
    card.chosen_key(environment.and_then(|environment| environment.confidentiality.as_ref()))
}

enum Confidentiality {
    Rsa,
    TripleDes,
}

/// What kind of key this is, if it may encipher and decipher at all.
fn confidentiality(card: &VirtualCard, key: &ObjectReference) -> Result<Confidentiality, StatusWord> {
    match card.key_object(key)?.algorithm() {
        Algorithm::RsaRaw => Ok(Confidentiality::Rsa),
        Algorithm::RsaSignature if card.behaviour().lenient_decipher => Ok(Confidentiality::Rsa),
        Algorithm::TripleDes => Ok(Confidentiality::TripleDes),
        Algorithm::RsaSignature
        | Algorithm::Pin
        | Algorithm::RetailMac
        | Algorithm::Logical
        | Algorithm::Other(_) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
    }
}
