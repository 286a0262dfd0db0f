//! The encoding methods of RSA (RFC 8017 §7 and §9), for operations with a public key. What they work on is public,
//! or the application's own: nothing here needs constant time.

use cns_protocol::key::Hash;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::mechanism::{Pss, hasher};

/// The bytes of PKCS#1 v1.5 padding that are not the data: `00`, the block type, at least eight bytes, `00`.
pub(crate) const PKCS1_OVERHEAD: usize = 11;

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2) around a DigestInfo or other data.
pub(crate) fn signature_block(data: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let filling = filling(data, length)?;
    Ok([&[0x00, 0x01], &vec![0xFF; filling][..], &[0x00], data].concat())
}

/// The data inside a block of [`signature_block`].
pub(crate) fn recovered(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0x00, 0x01])?;
    let end = rest.iter().position(|byte| *byte != 0xFF)?;
    let (filling, rest) = rest.split_at_checked(end)?;
    if filling.len() < PKCS1_OVERHEAD - 3 { None } else { rest.strip_prefix(&[0x00]) }
}

/// EME-PKCS1-v1_5 (RFC 8017 §7.2.1, step 2).
pub(crate) fn encryption_block(data: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let filling = filling(data, length)?;
    let mut block = Zeroizing::new(Vec::with_capacity(length));
    block.extend([0x00, 0x02]);
    let end = filling.saturating_add(2);
    while block.len() < end {
        let mut drawn = [0; 64];
        getrandom::fill(&mut drawn).map_err(|_| Error::General)?;
        let room = end.saturating_sub(block.len());
        block.extend(drawn.iter().filter(|byte| **byte != 0).take(room));
    }
    block.push(0x00);
    block.extend_from_slice(data);
    Ok(block)
}

/// EME-OAEP (RFC 8017 §7.1.1, step 2).
pub(crate) fn oaep_block(
    data: &[u8],
    hash: Hash,
    mgf_hash: Hash,
    label: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let overhead = hash.length().saturating_mul(2).saturating_add(2);
    let zeros = length.checked_sub(overhead).and_then(|most| most.checked_sub(data.len()));
    let zeros = zeros.ok_or(Error::DataLenRange)?;
    let mut seed = Zeroizing::new(vec![0; hash.length()]);
    getrandom::fill(&mut seed).map_err(|_| Error::General)?;
    let mut db = Zeroizing::new(Vec::with_capacity(length));
    db.extend_from_slice(&hash_of(hash, &[label]));
    db.resize(hash.length().saturating_add(zeros), 0);
    db.push(0x01);
    db.extend_from_slice(data);
    mask(&mut db, mgf_hash, &seed);
    mask(&mut seed, mgf_hash, &db);
    let mut block = Zeroizing::new(Vec::with_capacity(length));
    block.push(0x00);
    block.extend_from_slice(&seed);
    block.extend_from_slice(&db);
    Ok(block)
}

/// EMSA-PSS-VERIFY (RFC 8017 §9.1.2) of a block as long as a modulus of `modulus_bits`.
pub(crate) fn pss_is_of(block: &[u8], digest: &[u8], pss: Pss, modulus_bits: usize) -> bool {
    pss_parts(block, pss, modulus_bits)
        .is_some_and(|(salt, h)| hash_of(pss.hash, &[&[0; 8], digest, &salt]) == h)
}

/// The salt and H of a block, when its form is right.
fn pss_parts(block: &[u8], pss: Pss, modulus_bits: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let em_bits = modulus_bits.checked_sub(1)?;
    let em_length = em_bits.div_ceil(8);
    // The block may be one byte longer than the encoded message.
    let (before, encoded) = block.split_at_checked(block.len().checked_sub(em_length)?)?;
    let encoded = encoded.strip_suffix(&[0xBC])?;
    let (masked, h) = encoded.split_at_checked(encoded.len().checked_sub(pss.hash.length())?)?;
    let unused = u32::try_from(em_length.checked_mul(8)?.checked_sub(em_bits)?).ok()?;
    let kept = 0xFF_u8.checked_shr(unused)?;
    if before.iter().any(|byte| *byte != 0) || masked.first()? & !kept != 0 {
        return None;
    }
    let mut db = masked.to_vec();
    mask(&mut db, pss.mgf_hash, h);
    *db.first_mut()? &= kept;
    let (zeros, rest) =
        db.split_at_checked(db.len().checked_sub(usize::from(pss.salt_length))?.checked_sub(1)?)?;
    let salt = rest.strip_prefix(&[0x01])?;
    zeros.iter().all(|byte| *byte == 0).then(|| (salt.to_vec(), h.to_vec()))
}

/// XORs the mask that MGF1 (RFC 8017 §B.2.1) makes of a seed.
fn mask(bytes: &mut [u8], hash: Hash, seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(hash.length())) {
        let mask = hash_of(hash, &[seed, &counter.to_be_bytes()]);
        chunk.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn filling(data: &[u8], length: usize) -> Result<usize, Error> {
    let most = length.checked_sub(PKCS1_OVERHEAD).ok_or(Error::DataLenRange)?;
    let spare = most.checked_sub(data.len()).ok_or(Error::DataLenRange)?;
    Ok(spare.saturating_add(PKCS1_OVERHEAD - 3))
}

fn hash_of(hash: Hash, parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = hasher(hash);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into_vec()
}

#[cfg(test)]
mod tests;
