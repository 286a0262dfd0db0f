//! Decryption with the authentication key, the only one whose chip gives out what it deciphers.

use std::sync::OnceLock;

use aws_lc_rs::rand;
use cns_apdu::command::PerformSecurityOperation;
use cns_apdu::generation::Signing;
use cns_protocol::card::KeyUse;
use cns_protocol::key::Decryption;
use cns_protocol::pin::PinName;
use cns_secret::Secret;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use zeroize::Zeroize;

use super::contents;
use super::pin::{self, LastTry};
use super::sign::perform;
use super::{CardError, CardSession, stored_keys, unpadding};

/// The longest label of OAEP, in bytes.
const LONGEST_LABEL: usize = 1024;

/// What nobody but this process knows: see [`unpadding::pkcs1`]. Another process gives other plaintexts for badly padded
/// blocks.
static REJECTION_KEY: OnceLock<Secret> = OnceLock::new();

/// What the certificate's key usage must say before the key deciphers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsageRule {
    /// That others may encrypt for it, or nothing at all.
    Encryption,
    /// Whatever it likes: the caller knows who encrypted, and what.
    Any,
}

/// Presents the PIN and deciphers in the same transaction, with the commands of a login's signature: VERIFY, MANAGE SECURITY
/// ENVIRONMENT twice and PERFORM SECURITY OPERATION. The padding is taken off here.
///
/// # Errors
/// [`CardError::Mechanism`] and [`CardError::Ciphertext`] before the chip is touched, then those of [`pin::verify`], then
/// the chip's own; [`CardError::Ciphertext`] again for OAEP that is badly padded.
pub fn decrypt(
    session: &mut CardSession<'_>,
    pin: &Secret,
    last_try: LastTry,
    decryption: &Decryption,
    ciphertext: &[u8],
) -> Result<Secret, CardError> {
    decrypt_under(session, KeyUsageRule::Encryption, pin, last_try, decryption, ciphertext)
}

/// As [`decrypt`], with another rule for the certificate's key usage.
///
/// # Errors
/// As [`decrypt`].
pub fn decrypt_under(
    session: &mut CardSession<'_>,
    rule: KeyUsageRule,
    pin: &Secret,
    last_try: LastTry,
    decryption: &Decryption,
    ciphertext: &[u8],
) -> Result<Secret, CardError> {
    let present = |session: &mut CardSession<'_>, which| pin::verify(session, which, pin, last_try);
    decrypt_by(session, rule, present, decryption, ciphertext)
}

/// As [`decrypt`], with a PIN that is typed on the reader.
///
/// # Errors
/// As [`decrypt`], and those of a reader's keypad, as [`super::sign::sign_at_pad`].
pub fn decrypt_at_pad(
    session: &mut CardSession<'_>,
    last_try: LastTry,
    decryption: &Decryption,
    ciphertext: &[u8],
) -> Result<Secret, CardError> {
    decrypt_at_pad_under(session, KeyUsageRule::Encryption, last_try, decryption, ciphertext)
}

/// As [`decrypt_at_pad`], with another rule for the certificate's key usage.
///
/// # Errors
/// As [`decrypt_at_pad`].
pub fn decrypt_at_pad_under(
    session: &mut CardSession<'_>,
    rule: KeyUsageRule,
    last_try: LastTry,
    decryption: &Decryption,
    ciphertext: &[u8],
) -> Result<Secret, CardError> {
    pin::use_at_pad(session, last_try, |session, present| {
        decrypt_by(session, rule, present, decryption, ciphertext)
    })
}

fn decrypt_by(
    session: &mut CardSession<'_>,
    rule: KeyUsageRule,
    present: impl FnOnce(&mut CardSession<'_>, PinName) -> Result<(), CardError>,
    decryption: &Decryption,
    ciphertext: &[u8],
) -> Result<Secret, CardError> {
    let key_use = KeyUse::Authentication;
    let place = session.place(key_use)?;
    let key = session.contents().public_key(key_use).ok_or(CardError::NoSuchObject("certificate"))?;
    let certificate =
        session.contents().certificate(key_use).ok_or(CardError::NoSuchObject("certificate"))?;
    let may_encrypt = rule == KeyUsageRule::Any
        || contents::parse(certificate).is_some_and(|parsed| parsed.allows_encryption());
    if place.signing != Signing::RawDecipher || !may_encrypt {
        return Err(CardError::Mechanism("the certificate's key usage lets nobody encrypt for this key"));
    }
    judge(key, decryption, ciphertext)?;
    present(session, PinName::Cns)?;
    let number = stored_keys::key_of(session, key_use, place, key)?;
    if place.key_df != place.pin_df {
        session.chip().select_df(&place.key_df)?;
    }
    let command = PerformSecurityOperation::Decipher { block: Secret::copy_from(ciphertext)? };
    let mut result = perform(session, place, number, &command)?;
    let block = filled_up(&mut result, key.size())?;
    // A block that a chip computed wrongly would give away the key, as a signature would (Boneh, DeMillo, Lipton 1997), and
    // a garbled answer would be taken for a badly padded message, of which nobody is told.
    if !is_of(key, &block, ciphertext)? {
        return Err(CardError::WrongSignature);
    }
    open(key, decryption, ciphertext, block)
}

/// Whether the block is what the ciphertext was made of (RFC 8017 §5.1.1). The numbers are computed in ordinary memory, so
/// the block is multiplied with a random number first: what is left there is of no use.
fn is_of(key: &RsaPublicKey, block: &Secret, ciphertext: &[u8]) -> Result<bool, CardError> {
    let mut random = Secret::zeroed(key.size())?;
    rand::fill(random.expose_mut()).map_err(|_| CardError::Mechanism("no random numbers can be had"))?;
    let mut random = BigUint::from_bytes_le(random.expose());
    // Turned round here: `from_bytes_be` does it in memory that it does not wipe.
    let mut reversed = block.duplicate()?;
    reversed.expose_mut().reverse();
    let mut number = BigUint::from_bytes_le(reversed.expose());
    let blinded = &number * &random % key.n();
    let is_below = number < *key.n();
    number.zeroize();
    let expected = BigUint::from_bytes_be(ciphertext) * random.modpow(key.e(), key.n()) % key.n();
    random.zeroize();
    Ok(is_below && blinded.modpow(key.e(), key.n()) == expected)
}

/// What can be said without the chip.
fn judge(key: &RsaPublicKey, decryption: &Decryption, ciphertext: &[u8]) -> Result<(), CardError> {
    if let Decryption::RsaOaep { hash, label, .. } = decryption {
        if label.len() > LONGEST_LABEL {
            return Err(CardError::Mechanism("the label of OAEP has at most 1,024 bytes"));
        }
        // RFC 8017 §7.1.2, step 1c.
        if hash.length() * 2 + 2 > key.size() {
            return Err(CardError::Mechanism("the key is too short for OAEP with this hash"));
        }
    }
    if ciphertext.len() == key.size() && BigUint::from_bytes_be(ciphertext) < *key.n() {
        Ok(())
    } else {
        Err(CardError::Ciphertext("what is encrypted is as long as the key's modulus, and smaller"))
    }
}

/// The block as long as the modulus, should a chip leave the zeros at its beginning out.
fn filled_up(result: &mut [u8], length: usize) -> Result<Secret, CardError> {
    let result = Secret::take(result)?;
    let mut block = Secret::zeroed(length)?;
    let zeros = length.checked_sub(result.len()).ok_or(CardError::WrongSignature)?;
    if let Some(place) = block.expose_mut().get_mut(zeros..) {
        place.copy_from_slice(result.expose());
    }
    Ok(block)
}

fn open(
    key: &RsaPublicKey,
    decryption: &Decryption,
    ciphertext: &[u8],
    block: Secret,
) -> Result<Secret, CardError> {
    match decryption {
        Decryption::RsaPkcs1 => {
            let modulus = key.n().to_bytes_be();
            Ok(unpadding::pkcs1(&block, rejection_key()?, ciphertext, &modulus)?)
        }
        Decryption::RsaOaep { hash, mgf_hash, label } => unpadding::oaep(&block, *hash, *mgf_hash, label)?
            .ok_or(CardError::Ciphertext("it cannot be decrypted")),
        Decryption::RsaRaw => Ok(block),
    }
}

fn rejection_key() -> Result<&'static Secret, CardError> {
    if let Some(key) = REJECTION_KEY.get() {
        return Ok(key);
    }
    let mut key = Secret::zeroed(32)?;
    rand::fill(key.expose_mut()).map_err(|_| CardError::Mechanism("no random numbers can be had"))?;
    Ok(REJECTION_KEY.get_or_init(|| key))
}
