//! Encoding methods for RSA signatures (RFC 8017 §9), because the chip computes the bare private operation.

use aws_lc_rs::digest;
use cns_protocol::key::Hash;
use zeroize::Zeroizing;

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2) from its step 3 on: the data is the DigestInfo, or whatever else the caller signs.
/// Nothing when it does not fit: at least eight bytes of padding are needed.
#[must_use]
pub fn pkcs1(data: &[u8], length: usize) -> Option<Vec<u8>> {
    let padding = length.checked_sub(data.len())?.checked_sub(3).filter(|padding| *padding >= 8)?;
    let mut block = Vec::with_capacity(length);
    block.extend([0x00, 0x01]);
    block.resize(2 + padding, 0xFF);
    block.push(0x00);
    block.extend_from_slice(data);
    Some(block)
}

/// EMSA-PSS (RFC 8017 §9.1.1) over a digest, with MGF1, as the block of a modulus of `modulus_bits`. Nothing when the
/// digest's length is not the hash's, or the salt does not fit.
#[must_use]
pub fn pss(digest: &[u8], hash: Hash, mgf_hash: Hash, salt: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    let em_bits = modulus_bits.checked_sub(1)?;
    let em_length = em_bits.div_ceil(8);
    if digest.len() != hash.length() {
        return None;
    }
    // Steps 3, 7 and 8: DB is zeros, 01 and the salt.
    let db_length = em_length.checked_sub(hash.length())?.checked_sub(1)?;
    let zeros = db_length.checked_sub(salt.len())?.checked_sub(1)?;
    let mut db = vec![0; zeros];
    db.push(0x01);
    db.extend_from_slice(salt);
    // Steps 5 and 6.
    let h = hash_of(hash, &[&[0; 8], digest, salt]);
    // Steps 9 to 11.
    mask(&mut db, mgf_hash, &h);
    if let Some(first) = db.first_mut() {
        *first &= 0xFF_u8.checked_shr(u32::try_from(8 * em_length - em_bits).ok()?)?;
    }
    // The block is as long as the modulus, which may be one byte more than the encoded message.
    let mut block = vec![0; modulus_bits.div_ceil(8) - em_length];
    block.extend(db);
    block.extend(h);
    block.push(0xBC);
    Some(block)
}

/// Masks bytes with MGF1 (RFC 8017 §B.2.1), or takes the mask off again. Nothing of the mask stays behind.
pub(super) fn mask(bytes: &mut [u8], hash: Hash, seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(hash.length())) {
        let mask = Zeroizing::new(hash_of(hash, &[seed, &counter.to_be_bytes()]));
        chunk.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// A digest.
pub(super) fn hash_of(hash: Hash, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(match hash {
        Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha224 => &digest::SHA224,
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    });
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::{hash_of, pkcs1, pss};
    use cns_protocol::key::Hash;
    use rsa::BigUint;

    /// RSA Laboratories' vectors for PKCS #1 v2.1 (`pss-vect.txt`, Example 1): the modulus, e being 65537.
    const MODULUS: &str = "a56e4a0e701017589a5187dc7ea841d156f2ec0e36ad52a44dfeb1e61f7ad991d8c51056ffedb162b4c0f283a12a88a3\
        94dff526ab7291cbb307ceabfce0b1dfd5cd9508096d5b2b8b6df5d671ef6377c0921cb23c270a70e2598e6ff89d19f105acc2d3f0cb35f29280\
        e1386b6f64c4ef22e1e1f20d0ce8cffb2249bd9a2137";

    /// Message, salt and signature of Examples 1.2 and 1.4.
    const EXAMPLES: [[&str; 3]; 2] = [
        [
            "851384cdfe819c22ed6c4ccb30daeb5cf059bc8e1166b7e3530c4c233e2b5f8f71a1cca582d43ecc72b1bca16dfc7013226b9e",
            "ef2869fa40c346cb183dab3d7bffc98fd56df42d",
            "3ef7f46e831bf92b32274142a585ffcefbdca7b32ae90d10fb0f0c729984f04ef29a9df0780775ce43739b97838390db0a5505e63de9\
            27028d9d29b219ca2c4517832558a55d694a6d25b9dab66003c4cccd907802193be5170d26147d37b93590241be51c25055f47ef6275\
            2cfbe21418fafe98c22c4d4d47724fdb5669e843",
        ],
        [
            "bc656747fa9eafb3f0",
            "056f00985de14d8ef5cea9e82f8c27bef720335e",
            "4609793b23e9d09362dc21bb47da0b4f3a7622649a47d464019b9aeafe53359c178c91cd58ba6bcb78be0346a7bc637f4b873d4bab38\
            ee661f199634c547a1ad8442e03da015b136e543f7ab07c0c13e4225b8de8cce25d4f6eb8400f81f7e1833b7ee6e334d370964ca79fd\
            b872b4d75223b5eeb08101591fb532d155a6de87",
        ],
    ];

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.split_whitespace().collect::<String>()).unwrap()
    }

    #[test]
    fn pss_gives_the_block_of_the_published_signatures() {
        let modulus = BigUint::from_bytes_be(&bytes(MODULUS));
        for [message, salt, signature] in EXAMPLES {
            let digest = hash_of(Hash::Sha1, &[&bytes(message)]);
            let block = pss(&digest, Hash::Sha1, Hash::Sha1, &bytes(salt), modulus.bits()).unwrap();
            let published = BigUint::from_bytes_be(&bytes(signature)).modpow(&65_537_u32.into(), &modulus);
            assert_eq!(BigUint::from_bytes_be(&block), published);
            assert_eq!(block.len(), 128);
        }
    }

    #[test]
    fn pss_keeps_to_the_modulus() {
        // With 1,025 bits the encoded message has 128 bytes and the modulus 129.
        let block = pss(&[7; 32], Hash::Sha256, Hash::Sha512, &[9; 32], 1025).unwrap();
        assert_eq!((block.len(), block.first(), block.last()), (129, Some(&0), Some(&0xBC)));
        for bits in [1024, 1026, 1030, 2048] {
            let block = pss(&[7; 32], Hash::Sha256, Hash::Sha256, &[9; 32], bits).unwrap();
            assert!(BigUint::from_bytes_be(&block).bits() < bits, "{bits}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        // 1,024 bits hold SHA-512 with no more than 62 bytes of salt (`cns-card` §9).
        assert!(pss(&[7; 64], Hash::Sha512, Hash::Sha512, &[9; 62], 1024).is_some());
        assert_eq!(pss(&[7; 64], Hash::Sha512, Hash::Sha512, &[9; 63], 1024), None);
        assert_eq!(pss(&[7; 31], Hash::Sha256, Hash::Sha256, &[], 1024), None);
        for bits in [0, 1, 8, 256] {
            assert_eq!(pss(&[7; 32], Hash::Sha256, Hash::Sha256, &[], bits), None, "{bits}");
        }
        assert_eq!(pkcs1(&[1; 118], 128), None);
        assert_eq!(pkcs1(&[1; 5], 0), None);
    }

    #[test]
    fn pkcs1_pads_with_ff() {
        let block = pkcs1(&[0xAB; 117], 128).unwrap();
        let mut expected = vec![0x00, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00];
        expected.extend([0xAB; 117]);
        assert_eq!(block, expected);
        assert_eq!(pkcs1(&[], 12).unwrap(), [0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
    }
}
