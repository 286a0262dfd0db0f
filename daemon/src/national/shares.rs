//! Credentials in two parts (§8.2): each digit is the sum, modulo ten, of one digit in each part.
//!
//! The first part is drawn at random, each digit as likely as the others and independent of the secret; the second is the
//! difference. Either alone is therefore ten to the power of its length equally likely values: it tells nothing but the
//! length. Parts of digits (half a PIN on paper, half by mail) would leave a few hundred PINs against three tries.

use aws_lc_rs::rand;
use cns_secret::Secret;

use crate::custody::CustodyError;

/// The largest multiple of ten in a byte: what is above would make the low digits likelier.
const FAIR: u8 = 250;

/// The two parts of a secret of digits.
///
/// # Errors
/// When it is not of digits, or there is no locked memory or randomness.
pub fn split(secret: &Secret) -> Result<(Secret, Secret), CustodyError> {
    if !secret.expose().iter().all(u8::is_ascii_digit) {
        return Err(CustodyError::Invalid("a secret that is not of digits"));
    }
    let first = random_digits(secret.len())?;
    let mut second = Secret::zeroed(secret.len())?;
    for ((place, digit), part) in second.expose_mut().iter_mut().zip(secret.expose()).zip(first.expose()) {
        *place = b'0' + (digit + 10 - part) % 10;
    }
    Ok((first, second))
}

/// What two parts make.
///
/// # Errors
/// When they are not of digits and of one length, or there is no locked memory.
pub fn join(first: &Secret, second: &Secret) -> Result<Secret, CustodyError> {
    let digits = |part: &Secret| part.expose().iter().all(u8::is_ascii_digit);
    if first.len() != second.len() || !digits(first) || !digits(second) {
        return Err(CustodyError::Invalid("a part of a secret"));
    }
    let mut secret = Secret::zeroed(first.len())?;
    for ((place, one), other) in secret.expose_mut().iter_mut().zip(first.expose()).zip(second.expose()) {
        *place = b'0' + (one - b'0' + (other - b'0')) % 10;
    }
    Ok(secret)
}

fn random_digits(length: usize) -> Result<Secret, CustodyError> {
    let mut digits = Secret::zeroed(length)?;
    let mut noise = Secret::zeroed(64)?;
    let mut filled = 0;
    while filled < length {
        rand::fill(noise.expose_mut()).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
        let drawn = noise.expose().iter().filter(|byte| **byte < FAIR).map(|byte| b'0' + byte % 10);
        for (place, digit) in digits.expose_mut().iter_mut().skip(filled).zip(drawn) {
            *place = digit;
            filled += 1;
        }
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(digits: &[u8]) -> Secret {
        Secret::copy_from(digits).unwrap()
    }

    #[test]
    fn two_parts_make_the_secret_and_nothing_else_is_split() {
        for digits in [b"87654321".as_slice(), b"00000", b"99999999", b""] {
            let (first, second) = split(&secret(digits)).unwrap();
            assert_eq!(join(&first, &second).unwrap().expose(), digits);
        }
        assert!(split(&secret(b"1234a")).is_err());
        assert!(join(&secret(b"123"), &secret(b"12")).is_err());
    }

    /// Each part alone has the same distribution whatever the secret is: every digit in every place is as likely. A thousand
    /// pairs of neighbouring digits are looked at too, since a digit could depend on the one before it.
    #[test]
    fn either_part_alone_is_uniform_for_a_fixed_secret() {
        const DRAWS: usize = 20_000;
        for fixed in [b"00000000", b"87654321", b"99999999"] {
            let mut counts = [[[0_u32; 10]; 8]; 2];
            let mut pairs = [[0_u32; 100]; 2];
            for _ in 0..DRAWS {
                let (first, second) = split(&secret(fixed)).unwrap();
                for (part, digits) in [first, second].iter().enumerate() {
                    for (place, digit) in digits.expose().iter().enumerate() {
                        counts[part][place][usize::from(digit - b'0')] += 1;
                    }
                    let [one, two] = [digits.expose()[0], digits.expose()[1]].map(|d| usize::from(d - b'0'));
                    pairs[part][one * 10 + two] += 1;
                }
            }
            // 2,000 of each expected, with a standard deviation of 42: six of them.
            let uniform = |count: &u32| (1_745..2_255).contains(count);
            assert!(counts.iter().flatten().flatten().all(uniform), "{fixed:?}: {counts:?}");
            // 200 of each expected, with a standard deviation of 14.
            assert!(pairs.iter().flatten().all(|count| (115..285).contains(count)), "{fixed:?}: {pairs:?}");
        }
    }
}
