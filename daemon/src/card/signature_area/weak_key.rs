//! Whether a key that a chip generated may be used.

use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::KeySize;
use rsa::BigUint;

use super::super::CardError;

/// The smallest public exponent: F4, which GENERATE KEY PAIR asks for (FIPS 186-5 §A.1.1 allows none below).
const SMALLEST_EXPONENT: u32 = 65_537;
/// Primes below this must not divide the modulus.
const SMALL: u32 = 2000;
/// How many steps of Fermat's factoring are made: enough for primes whose difference is below 2^516, which a good
/// generator gives never.
const FERMAT_STEPS: u32 = 100;
/// The odd primes of the fingerprint of CVE-2017-15361 (Nemec et al. 2017, "The Return of Coppersmith's Attack", §2.3):
/// the product of the first 39 primes divides the constant of every key length of that library. Seventeen of them tell
/// something by themselves, since 65537 generates a part of the numbers modulo those only.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Judges a public key: size, exponent, small factors, primes that are close to each other, the generator of
/// CVE-2017-15361.
///
/// # Errors
/// [`CardError::WeakKey`].
pub fn judge(key: &PublicKey, size: KeySize) -> Result<(), CardError> {
    let number = BigUint::from_bytes_be;
    let (modulus, exponent) = (number(key.modulus()), number(key.exponent()));
    if modulus.bits() != size.bytes() * 8 {
        return Err(CardError::WeakKey("its size is not what was asked for"));
    }
    if exponent < BigUint::from(SMALLEST_EXPONENT) {
        return Err(CardError::WeakKey("its public exponent is below 65537"));
    }
    if remainder(&exponent, 2) == 0 {
        return Err(CardError::WeakKey("its public exponent is even"));
    }
    if primes().any(|prime| remainder(&modulus, prime) == 0) {
        return Err(CardError::WeakKey("its modulus has a small factor"));
    }
    if is_of_broken_generator(&modulus) {
        return Err(CardError::WeakKey("it bears the mark of a broken key generator (CVE-2017-15361)"));
    }
    if has_close_primes(&modulus) {
        return Err(CardError::WeakKey("its primes are too close to each other"));
    }
    Ok(())
}

fn primes() -> impl Iterator<Item = u32> {
    let is_prime = |number: u32| (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d));
    (2..SMALL).filter(move |number| is_prime(*number))
}

fn remainder(number: &BigUint, divisor: u32) -> u32 {
    (number % divisor).to_bytes_be().iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether the modulus is a power of 65537 modulo the product of the fingerprint's primes: modulo each of them, and by
/// exponents that do not contradict each other. A good key is that by chance once in 2^154; that it is a power modulo
/// each of them, once in 2^27.
fn is_of_broken_generator(modulus: &BigUint) -> bool {
    let mut logarithms: Vec<(u32, u32)> = Vec::with_capacity(ROCA_PRIMES.len());
    for prime in ROCA_PRIMES {
        match logarithm(remainder(modulus, prime), prime) {
            Some(found) => logarithms.push(found),
            None => return false,
        }
    }
    // By the Chinese remainder theorem there is one exponent for all as soon as each two agree.
    logarithms.iter().enumerate().all(|(index, (one, its_order))| {
        logarithms.iter().take(index).all(|(other, order)| {
            let common = common_divisor(*its_order, *order);
            one % common == other % common
        })
    })
}

/// The exponent to which 65537 has this remainder modulo a prime, and the order of 65537; nothing where it has it to none.
fn logarithm(remainder: u32, prime: u32) -> Option<(u32, u32)> {
    let base = SMALLEST_EXPONENT % prime;
    let (mut power, mut found, mut order) = (1, None, 0);
    loop {
        if power == remainder && found.is_none() {
            found = Some(order);
        }
        power = power * base % prime;
        order += 1;
        // No prime of the fingerprint divides 65537, which is one itself: the powers come back to 1.
        if power == 1 || order >= prime {
            return found.map(|exponent| (exponent, order));
        }
    }
}

fn common_divisor(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Fermat's factoring: an odd modulus of two close primes is soon found to be a difference of two squares.
fn has_close_primes(modulus: &BigUint) -> bool {
    let mut mean = modulus.sqrt();
    if &mean * &mean == *modulus {
        return true;
    }
    for _ in 0..FERMAT_STEPS {
        mean += 1_u32;
        let rest = &mean * &mean - modulus;
        let root = rest.sqrt();
        if &root * &root == rest {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{ROCA_PRIMES, judge, logarithm, remainder};
    use cns_apdu::public_key::PublicKey;
    use cns_apdu::signature_area::KeySize;
    use rsa::traits::PublicKeyParts;
    use rsa::{BigUint, RsaPrivateKey};

    /// Two primes made for this test as the paper says: k·M + (65537^a mod M), M the product of the first 126 primes.
    const BROKEN: [&str; 2] = [
        "CECC8C34597ED6F5D0C7C1750CF9AB97355033A2A3A764BDCEF97BF24D53F88DEA4C66F1C46EE86CA8CBADF131AC590831D06699CBCF36A4\
         120AF7FED8083C37D0ADE7C28EA8D32E8B90CE6FE35017476A59CF627897A8FBE7C6D1D277B3C44FF774769CDF08BAE2D3E83F1559FE5187\
         A88040DFA88A2CCE6110F1D9DB061BF5",
        "FBD90640884E6441C314F94F7325765C3851885A94556B750789B198E17DAFBEADC25E0912C9C873C542A489A1F3270D383D36685C1348BE\
         B49943A28638F7F1BE395B09917354045BA5579BB487F3B540802C41977F95C9A877888397B79B7264F8A7CA067299134641FC560A77FDBD\
         4A5298943D44DF59E414A9D4565789B1",
    ];
    /// A prime, and how much further the next one of the key is.
    const CLOSE: [&str; 2] = [
        "CFDA0C1BD7E14EE61F378D4D1A75E4188A89EDAF05F25AB1F5EA852C1FE0D533E2AFE587F8CF0FF7AE97649A14768069778DCCD9C5C1F429\
         5FFB15BCDCCB7E94A60EA95C53756DBB33BF3FD501FA876FEB29513EFCEB08408739BA1AD4DF99D7D68798F099980A1EFFE8EAEA3A4ECEFA\
         358828FD1E796DAA52DD870F3D091BD9",
        "551B1E3E8D521E0E7731F4A58",
    ];

    fn number(text: &str) -> BigUint {
        BigUint::parse_bytes(text.as_bytes(), 16).unwrap()
    }

    fn key(modulus: &BigUint) -> PublicKey {
        PublicKey::new(&modulus.to_bytes_be(), &[1, 0, 1]).unwrap()
    }

    fn words(key: &PublicKey) -> String {
        judge(key, KeySize::Rsa2048).unwrap_err().to_string()
    }

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
        while super::primes().skip(1).any(|prime| !given(&prime) && remainder(&number, prime) == 0) {
            number += &step;
        }
        key(&number)
    }

    /// Remainders that are no power of 65537 for some of the fingerprint's primes.
    fn harmless() -> Vec<(u32, u32)> {
        ROCA_PRIMES.iter().map(|prime| (*prime, prime - 1)).collect()
    }

    #[test]
    fn a_number_without_small_factors_passes() {
        judge(&with_remainders(&harmless()), KeySize::Rsa2048).unwrap();
    }

    #[test]
    fn good_keys_pass_by_the_hundred() {
        // Products of primes of a good generator; eight of them give more keys than anybody would wait for.
        let keys = [(); 4].map(|()| RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap());
        let primes: Vec<_> =
            keys.iter().flat_map(|key| rsa::traits::PrivateKeyParts::primes(key).to_vec()).collect();
        let mut passed = 0;
        for (index, one) in primes.iter().enumerate() {
            for other in &primes[..index] {
                let modulus = one * other;
                if modulus.bits() == 2048 {
                    judge(&key(&modulus), KeySize::Rsa2048).unwrap();
                    passed += 1;
                }
            }
        }
        println!("{passed} good keys pass");
        assert!(passed >= 4 && keys.iter().all(|key| key.n().bits() == 2048));
    }

    #[test]
    fn each_weakness_is_seen() {
        let good = with_remainders(&harmless());
        assert!(judge(&good, KeySize::Rsa1024).unwrap_err().to_string().contains("size"));
        for (exponent, said) in [(&[3][..], "below"), (&[1, 0][..], "below"), (&[1, 0, 2][..], "even")] {
            assert!(words(&PublicKey::new(good.modulus(), exponent).unwrap()).contains(said));
        }
        judge(&PublicKey::new(good.modulus(), &[1, 0, 3]).unwrap(), KeySize::Rsa2048).unwrap();
        let mut even = good.modulus().to_vec();
        *even.last_mut().unwrap() ^= 1;
        assert!(words(&PublicKey::new(&even, &[1, 0, 1]).unwrap()).contains("small factor"));
        let factor: Vec<_> =
            harmless().into_iter().map(|(p, r)| if p == 101 { (p, 0) } else { (p, r) }).collect();
        assert!(words(&with_remainders(&factor)).contains("small factor"));
        let [prime, distance] = CLOSE.map(number);
        assert!(words(&key(&(&prime * (&prime + distance)))).contains("close"));
    }

    #[test]
    fn a_key_of_the_broken_generator_is_seen() {
        let [p, q] = BROKEN.map(number);
        assert!(words(&key(&(p * q))).contains("CVE-2017-15361"));
        // Remainder 1 is the zeroth power of 65537 modulo every prime.
        let zeroth: Vec<_> = ROCA_PRIMES.iter().map(|prime| (*prime, 1)).collect();
        assert!(words(&with_remainders(&zeroth)).contains("CVE-2017-15361"));
        // A power modulo each prime, but by exponents that contradict each other: no such key.
        let one_off: Vec<_> =
            ROCA_PRIMES.iter().map(|p| (*p, if *p == 11 { 65_537 % 11 } else { 1 })).collect();
        judge(&with_remainders(&one_off), KeySize::Rsa2048).unwrap();
    }

    /// The primes modulo which the published short test looks: 65537 does not reach all remainders there.
    #[test]
    fn the_fingerprint_is_the_published_one() {
        let tell: Vec<u32> = ROCA_PRIMES
            .into_iter()
            .filter(|prime| (1..*prime).any(|remainder| logarithm(remainder, *prime).is_none()))
            .collect();
        assert_eq!(tell, [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]);
        let all: Vec<u32> = super::primes().skip(1).take(38).collect();
        assert_eq!(all, ROCA_PRIMES);
        assert_eq!(remainder(&BigUint::from(65_537_u32), 167), 65_537 % 167);
    }
}
