//! Whether a key that a chip generated may be used.

use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::KeySize;
use rsa::BigUint;

use super::super::CardError;

/// F4, which GENERATE KEY PAIR asks for.
const EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];
/// Primes below this must not divide the modulus.
const SMALL: u32 = 2000;
/// The primes of the fingerprint of CVE-2017-15361 ("ROCA", Nemec et al. 2017, §2.3): the modulus of such a key is a
/// power of 65537 modulo each of them. A good key is that by chance once in 2^150.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Judges a public key: size, exponent, small factors, known weak generators.
///
/// # Errors
/// [`CardError::WeakKey`].
pub fn judge(key: &PublicKey, size: KeySize) -> Result<(), CardError> {
    let modulus = BigUint::from_bytes_be(key.modulus());
    if modulus.bits() != size.bytes() * 8 {
        return Err(CardError::WeakKey("its size is not what was asked for"));
    }
    if key.exponent() != EXPONENT {
        return Err(CardError::WeakKey("its public exponent is not 65537"));
    }
    if primes().any(|prime| remainder(&modulus, prime) == 0) {
        return Err(CardError::WeakKey("its modulus has a small factor"));
    }
    if ROCA_PRIMES.iter().all(|prime| is_power_of_f4(remainder(&modulus, *prime), *prime)) {
        return Err(CardError::WeakKey("it bears the mark of a broken key generator (CVE-2017-15361)"));
    }
    Ok(())
}

fn primes() -> impl Iterator<Item = u32> {
    let is_prime = |number: u32| (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d));
    (2..SMALL).filter(move |number| is_prime(*number))
}

fn remainder(modulus: &BigUint, prime: u32) -> u32 {
    (modulus % prime).to_bytes_be().iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether a remainder is in the group that 65537 generates modulo a prime.
fn is_power_of_f4(remainder: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == remainder {
            return true;
        }
        power = power * (65_537 % prime) % prime;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::judge;
    use cns_apdu::public_key::PublicKey;
    use cns_apdu::signature_area::KeySize;
    use rsa::BigUint;

    /// An odd number of 2,048 bits with these remainders modulo the given primes, by the Chinese remainder theorem, and
    /// with no other prime factor below the bound.
    fn with_remainders(wanted: &[(u32, u32)]) -> PublicKey {
        let mut number = (BigUint::from(1_u32) << 2047) + BigUint::from(0x5555_u32);
        let mut step = BigUint::from(2_u32);
        for (prime, remainder) in wanted {
            while &number % *prime != BigUint::from(*remainder) {
                number += &step;
            }
            step *= BigUint::from(*prime);
        }
        let given = |prime: &u32| wanted.iter().any(|(known, _)| known == prime);
        while super::primes().skip(1).any(|prime| !given(&prime) && super::remainder(&number, prime) == 0) {
            number += &step;
        }
        PublicKey::new(&number.to_bytes_be(), &[1, 0, 1]).unwrap()
    }

    /// Remainders that are no power of 65537 for some of the fingerprint's primes.
    fn harmless() -> Vec<(u32, u32)> {
        super::ROCA_PRIMES.iter().map(|prime| (*prime, prime - 1)).collect()
    }

    #[test]
    fn a_number_without_small_factors_passes() {
        judge(&with_remainders(&harmless()), KeySize::Rsa2048).unwrap();
    }

    #[test]
    fn each_weakness_is_seen() {
        let good = with_remainders(&harmless());
        let words = |key: &PublicKey| judge(key, KeySize::Rsa2048).unwrap_err().to_string();
        assert!(judge(&good, KeySize::Rsa1024).unwrap_err().to_string().contains("size"));
        assert!(words(&PublicKey::new(good.modulus(), &[3]).unwrap()).contains("exponent"));
        let mut even = good.modulus().to_vec();
        *even.last_mut().unwrap() ^= 1;
        assert!(words(&PublicKey::new(&even, &[1, 0, 1]).unwrap()).contains("small factor"));
        let factor: Vec<_> =
            harmless().into_iter().map(|(p, r)| if p == 101 { (p, 0) } else { (p, r) }).collect();
        assert!(words(&with_remainders(&factor)).contains("small factor"));
        // Remainder 1 is the zeroth power of 65537 modulo every prime.
        let roca: Vec<_> = super::ROCA_PRIMES.iter().map(|prime| (*prime, 1)).collect();
        assert!(words(&with_remainders(&roca)).contains("CVE-2017-15361"));
    }
}
