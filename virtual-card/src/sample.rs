//! The card of the test vectors: an invented holder, PIN 12345, PUK 87654321, and a published key.
//!
//! With a fixed key a test gets its card in no time, and signatures can be compared.

use cns_secret::{Secret, SecretError};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;

use crate::generation::Generation;
use crate::holder::Holder;
use crate::keys::KeyError;
use crate::personalise::{CreateError, Personalisation, SignatureArea};

/// The PIN.
pub const PIN: &[u8] = b"12345";
/// The PUK.
pub const PUK: &[u8] = b"87654321";
/// The PIN of a signature key that has one of its own; its PUK is [`PUK`].
pub const SIGNATURE_PIN: &[u8] = b"54321";
/// The serial number of the chip.
pub const ID_CARD: &str = "6999000000001230";
/// RSA-2048, PKCS#1 DER; generated for this crate and of no worth to anybody.
const KEY: &[u8] = include_bytes!("sample/key.der");
const SIGNATURE_KEY: &[u8] = include_bytes!("sample/signature-key.der");
/// RSA-1024, for the older chips.
const SHORT_KEY: &[u8] = include_bytes!("sample/key-1024.der");
const SHORT_SIGNATURE_KEY: &[u8] = include_bytes!("sample/signature-key-1024.der");

/// The invented holder.
#[must_use]
pub fn holder() -> Holder {
    Holder {
        surname: "ROSSI".to_owned(),
        name: "MARIO".to_owned(),
        birth_date: "1980-01-01".to_owned(),
        sex: "M".to_owned(),
        codice_fiscale: "RSSMRA80A01H501U".to_owned(),
        birth_place: "H501".to_owned(),
        residence: "H501".to_owned(),
        issuer: "6999".to_owned(),
        administration: None,
        issued: "2026-01-15".to_owned(),
        expires: "2032-01-14".to_owned(),
        id_card: Some(ID_CARD.to_owned()),
    }
}

/// The published authentication key.
///
/// # Errors
/// The file in this crate is not a key.
pub fn key() -> Result<RsaPrivateKey, KeyError> {
    read(KEY)
}

/// The published authentication key of the length that a generation has.
///
/// # Errors
/// The file in this crate is not a key.
pub fn key_of(generation: Generation) -> Result<RsaPrivateKey, KeyError> {
    read(if generation.key_bits() == 1024 { SHORT_KEY } else { KEY })
}

/// The published signature key of the length that a generation has.
///
/// # Errors
/// The file in this crate is not a key.
pub fn signature_key_of(generation: Generation) -> Result<RsaPrivateKey, KeyError> {
    read(if generation.key_bits() == 1024 { SHORT_SIGNATURE_KEY } else { SIGNATURE_KEY })
}

fn read(der: &[u8]) -> Result<RsaPrivateKey, KeyError> {
    RsaPrivateKey::from_pkcs1_der(der).map_err(|_| KeyError::Unusable)
}

/// An order for the card of the test vectors; a test changes what it needs.
///
/// # Errors
/// No locked memory.
pub fn personalisation() -> Result<Personalisation, CreateError> {
    let secret = |bytes| -> Result<Secret, SecretError> { Secret::copy_from(bytes) };
    let order = Personalisation::new(holder(), secret(PIN)?, secret(PUK)?);
    Ok(Personalisation { key: Some(key()?), ..order })
}

/// An order for a card of any generation, with its published keys: one that can have a signature key has it, with
/// [`SIGNATURE_PIN`] where that key has a PIN of its own.
///
/// # Errors
/// No locked memory.
pub fn personalisation_of(generation: Generation) -> Result<Personalisation, CreateError> {
    let order = Personalisation { generation, key: Some(key_of(generation)?), ..personalisation()? };
    if !generation.takes_signature_key() {
        return Ok(order);
    }
    Ok(Personalisation {
        signature_area: SignatureArea::Filled,
        signature_key: Some(signature_key_of(generation)?),
        signature_pin: Some(Secret::copy_from(SIGNATURE_PIN)?),
        ..order
    })
}
