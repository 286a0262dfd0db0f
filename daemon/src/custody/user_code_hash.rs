//! The memory-hard half of a user code's verifier: Argon2id (RFC 9106) over the keyed one.
//!
//! An imported verifier is HMAC-SHA256 under the sealed pepper ([`super::user_code`]): without the key file nothing can be
//! tried. A million of them must be made in minutes, so the memory-hard hash comes when a card gets its envelope. From then
//! on whoever has the database *and* the key file still pays 19 MiB and two passes for each of ten thousand million codes.

use argon2::{Algorithm, Argon2, Params, Version};
use cns_secret::on_wiped_stack;

use crate::custody::error::CustodyError;

/// The first byte of a verifier that is hardened; the hash follows.
const MARK: u8 = 1;
const HASH_LEN: usize = 32;
const KIBIBYTES: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The verifier over a keyed one.
pub(super) fn harden(salt: &[u8], keyed: &[u8]) -> Result<Vec<u8>, CustodyError> {
    let failed = |_| CustodyError::Cryptography("Argon2id did not hash");
    let parameters = Params::new(KIBIBYTES, PASSES, LANES, Some(HASH_LEN)).map_err(failed)?;
    let mut hardened = vec![MARK; 1 + HASH_LEN];
    let (_, hash) = hardened.split_at_mut(1);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    on_wiped_stack(|| argon2.hash_password_into(keyed, salt, hash)).map_err(failed)?;
    Ok(hardened)
}

/// Whether this verifier is hardened already.
pub(super) fn is_hardened(verifier: &[u8]) -> bool {
    verifier.len() == 1 + HASH_LEN && verifier.first() == Some(&MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardened_verifier_depends_on_all_it_is_made_of() {
        let (salt, keyed) = ([7; 16], [0x42; 32]);
        let hardened = harden(&salt, &keyed).unwrap();
        assert!(is_hardened(&hardened) && !is_hardened(&keyed) && !is_hardened(&[]));
        assert_eq!(harden(&salt, &keyed).unwrap(), hardened);
        assert_ne!(harden(&[8; 16], &keyed).unwrap(), hardened);
        assert_ne!(harden(&salt, &[0x43; 32]).unwrap(), hardened);
    }
}
