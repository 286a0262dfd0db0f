//! Random identifiers, and the PUK of a new signature area.

use aws_lc_rs::rand;
use cns_secret::Secret;

use crate::procedure::ProcedureError;

/// Digits of a PUK.
const PUK_DIGITS: usize = 8;
/// The largest multiple of ten in a byte: what is above would make the low digits likelier.
const FAIR: u8 = 250;

/// `N` random bytes in hexadecimal.
pub(crate) fn hexadecimal<const N: usize>() -> Result<String, ProcedureError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ProcedureError::Internal)?;
    Ok(hex::encode(bytes))
}

/// Eight random digits, each as likely as the others.
pub(super) fn puk() -> Result<Secret, ProcedureError> {
    let mut puk = Secret::zeroed(PUK_DIGITS)?;
    let mut noise = Secret::zeroed(4 * PUK_DIGITS)?;
    let mut filled = 0;
    while filled < PUK_DIGITS {
        rand::fill(noise.expose_mut()).map_err(|_| ProcedureError::Internal)?;
        let digits = noise.expose().iter().filter(|byte| **byte < FAIR).map(|byte| b'0' + byte % 10);
        for (place, digit) in puk.expose_mut().iter_mut().skip(filled).zip(digits) {
            *place = digit;
            filled += 1;
        }
    }
    Ok(puk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_puk_is_eight_digits_each_as_likely() {
        let mut counts = [0_u32; 10];
        for _ in 0..2_000 {
            let puk = puk().unwrap();
            assert_eq!(puk.len(), 8);
            for byte in puk.expose() {
                counts[usize::from(byte - b'0')] += 1;
            }
        }
        // 16,000 digits: 1,600 of each, with a standard deviation of 38.
        assert!(counts.iter().all(|count| (1_350..1_850).contains(count)), "{counts:?}");
    }

    #[test]
    fn identifiers_differ() {
        let (one, two) = (hexadecimal::<8>().unwrap(), hexadecimal::<8>().unwrap());
        assert_eq!(one.len(), 16);
        assert_ne!(one, two);
    }
}
