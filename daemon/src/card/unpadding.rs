//! What a key has deciphered, freed of its padding (RFC 8017 §7): the chip computes the bare private operation.
//!
//! Whoever sees, by an error, a length or a time, whether a block was padded well can decrypt and sign with the key by
//! asking often (Bleichenbacher 1998 for PKCS#1 v1.5, Manger 2001 for OAEP). So nothing here branches on the block or
//! indexes by it before its padding is judged as a whole, in constant time. A PKCS#1 v1.5 block that is badly padded is
//! no error at all: another plaintext stands for it, which nobody can tell from a real one and which is the same whenever
//! the same ciphertext comes (implicit rejection, draft-irtf-cfrg-rsa-guidance, as OpenSSL 3.2 does it). For OAEP, where
//! nothing can be learned from one uniform error, there is one uniform error.

use aws_lc_rs::hmac;
use cns_protocol::key::Hash;
use cns_secret::{Secret, SecretError, on_wiped_stack};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};

use super::padding::{hash_of, mask};

/// What stands before the final zero of the shortest PKCS#1 v1.5 padding: `00 02` and eight bytes.
const SHORTEST_PREFIX: u32 = 10;

/// Candidates for the length of the other plaintext: the last one that fits is taken, and with so many one nearly always
/// does (draft-irtf-cfrg-rsa-guidance §7.2).
const CANDIDATES: usize = 128;

/// EME-PKCS1-v1_5 (RFC 8017 §7.2.2, step 3). `rejection_key` is what nobody else knows, and `ciphertext` what the block was
/// deciphered from, of a key with this `modulus`: a badly padded block's plaintext is made of the three.
///
/// # Errors
/// When there is no locked memory, whatever the block is.
pub fn pkcs1(
    block: &Secret,
    rejection_key: &Secret,
    ciphertext: &[u8],
    modulus: &[u8],
) -> Result<Secret, SecretError> {
    let seed = authenticate(rejection_key.expose(), &[modulus, ciphertext]);
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let other = drawn(seed.as_ref(), b"message", block.len())?;
    let other_length = other_length(seed.as_ref(), length)?;

    let mut is_good = starts_with_00_02(block.expose());
    let (mut zero, mut found) = (0_u32, Choice::from(0));
    for (index, byte) in (0_u32..).zip(block.expose()).skip(2) {
        let is_first_zero = byte.ct_eq(&0) & !found;
        zero.conditional_assign(&index, is_first_zero);
        found |= is_first_zero;
    }
    is_good &= found & !zero.ct_lt(&SHORTEST_PREFIX);

    let start =
        u32::conditional_select(&length.saturating_sub(other_length), &zero.saturating_add(1), is_good);
    let mut chosen = Secret::zeroed(block.len())?;
    for (place, (real, other)) in
        chosen.expose_mut().iter_mut().zip(block.expose().iter().zip(other.expose()))
    {
        *place = u8::conditional_select(other, real, is_good);
    }
    // From here on the length is no secret: it is told to whoever asked.
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    Secret::copy_from(chosen.expose().get(start..).unwrap_or_default())
}

/// EME-OAEP (RFC 8017 §7.1.2, step 3) with MGF1; nothing when the padding is bad, for one reason or another.
///
/// # Errors
/// When there is no locked memory, whatever the block is.
pub fn oaep(block: &Secret, hash: Hash, mgf_hash: Hash, label: &[u8]) -> Result<Option<Secret>, SecretError> {
    let Some((first, rest)) = block.expose().split_first() else { return Ok(None) };
    let Some((masked_seed, masked_db)) = rest.split_at_checked(hash.length()) else { return Ok(None) };
    let mut seed = Secret::copy_from(masked_seed)?;
    mask(seed.expose_mut(), mgf_hash, masked_db);
    let mut db = Secret::copy_from(masked_db)?;
    mask(db.expose_mut(), mgf_hash, seed.expose());
    let Some((label_hash, padded)) = db.expose().split_at_checked(hash.length()) else { return Ok(None) };

    let mut is_good = first.ct_eq(&0) & label_hash.ct_eq(&hash_of(hash, &[label]));
    let (mut start, mut found) = (0_u32, Choice::from(0));
    for (next, byte) in (1_u32..).zip(padded) {
        let is_first_one = byte.ct_eq(&1) & !found;
        is_good &= found | is_first_one | byte.ct_eq(&0);
        start.conditional_assign(&next, is_first_one);
        found |= is_first_one;
    }
    if bool::from(is_good & found) {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Secret::copy_from(padded.get(start..).unwrap_or_default()).map(Some)
    } else {
        Ok(None)
    }
}

fn starts_with_00_02(block: &[u8]) -> Choice {
    let mut expected = [0_u8, 2].iter();
    let begins = block
        .iter()
        .zip(&mut expected)
        .fold(Choice::from(1), |so_far, (byte, expected)| so_far & byte.ct_eq(expected));
    // The length of the block is the key's, and no secret.
    begins & Choice::from(u8::from(expected.next().is_none()))
}

fn other_length(seed: &[u8], length: u32) -> Result<u32, SecretError> {
    let most = length.saturating_sub(SHORTEST_PREFIX);
    // All bits up to the highest one of `most`.
    let bits = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
    let candidates = drawn(seed, b"length", CANDIDATES * 2)?;
    let (pairs, _) = candidates.expose().as_chunks::<2>();
    Ok(pairs.iter().fold(0, |chosen, pair| {
        let candidate = u32::from(u16::from_be_bytes(*pair)) & bits;
        u32::conditional_select(&chosen, &candidate, most.ct_gt(&candidate))
    }))
}

/// The pseudorandom function of draft-irtf-cfrg-rsa-guidance §7.1.
fn drawn(seed: &[u8], label: &[u8], length: usize) -> Result<Secret, SecretError> {
    let mut bytes = Secret::zeroed(length)?;
    let bits = u16::try_from(length.saturating_mul(8)).unwrap_or(u16::MAX).to_be_bytes();
    for (counter, chunk) in (0_u16..).zip(bytes.expose_mut().chunks_mut(32)) {
        let tag = authenticate(seed, &[&counter.to_be_bytes(), label, &bits]);
        chunk.iter_mut().zip(tag.as_ref()).for_each(|(place, byte)| *place = *byte);
    }
    Ok(bytes)
}

fn authenticate(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    on_wiped_stack(|| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    })
}

#[cfg(test)]
mod tests;
