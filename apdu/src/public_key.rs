//! RSA public keys as chips write them (`cns-card` §5.11).

use crate::error::ApduError;
use crate::tlv;

/// Tag of a public key template.
const TEMPLATE: u32 = 0x7F49;
/// Tags of the two records in a linear TLV file.
const MODULUS_RECORD: u8 = 0x10;
const EXPONENT_RECORD: u8 = 0x11;
/// RSA-512 to RSA-4096: what is outside is no key of a smart card.
const MODULUS_LENGTHS: std::ops::RangeInclusive<usize> = 64..=512;

/// An RSA public key: big-endian numbers without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// From two big-endian numbers, leading zeros allowed.
    ///
    /// # Errors
    /// When the modulus is not of 512 to 4,096 bits, or the exponent is zero, one, or longer than the modulus.
    /// Whether the key is a good one is for its user to judge.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, ApduError> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        if !MODULUS_LENGTHS.contains(&modulus.len()) {
            return Err(ApduError::OutOfRange("length of the modulus"));
        }
        if matches!(exponent, [] | [0x01]) || exponent.len() > modulus.len() {
            return Err(ApduError::OutOfRange("public exponent"));
        }
        Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// The modulus.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent.
    #[must_use]
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// Decodes the template `7F49 { 81 modulus, 82 exponent }`; what follows it in the file is ignored.
    ///
    /// # Errors
    /// When there is no such template.
    pub fn decode(file: &[u8]) -> Result<Self, ApduError> {
        let length = match file {
            [0x7F, 0x49, 0x82, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
            [0x7F, 0x49, 0x81, length, ..] => 4 + usize::from(*length),
            [0x7F, 0x49, length @ 0..=0x7F, ..] => 3 + usize::from(*length),
            _ => return Err(ApduError::Malformed("public key")),
        };
        let template = tlv::parse(file.get(..length).ok_or(ApduError::Malformed("public key"))?)?;
        let objects = tlv::children(&template);
        match (tlv::find(objects, 0x81), tlv::find(objects, 0x82)) {
            (Some(modulus), Some(exponent)) => Self::new(modulus, exponent),
            (_, _) => Err(ApduError::Malformed("public key")),
        }
    }

    /// The template `7F49 { 81 modulus, 82 exponent }`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let objects = [tlv::encode(0x81, &self.modulus), tlv::encode(0x82, &self.exponent)].concat();
        tlv::encode(TEMPLATE, &objects)
    }

    /// Decodes the two records of a linear TLV file: `10 LL n+1 00 modulus` and `11 LL n+1 00 exponent`.
    ///
    /// # Errors
    /// When they are not that.
    pub fn decode_records(modulus: &[u8], exponent: &[u8]) -> Result<Self, ApduError> {
        let modulus = record_value(modulus, MODULUS_RECORD).ok_or(ApduError::Malformed("modulus record"))?;
        let exponent =
            record_value(exponent, EXPONENT_RECORD).ok_or(ApduError::Malformed("exponent record"))?;
        Self::new(modulus, exponent)
    }

    /// The two records of a linear TLV file.
    ///
    /// # Errors
    /// Never for the lengths that [`PublicKey::new`] admits.
    pub fn encode_records(&self) -> Result<[Vec<u8>; 2], ApduError> {
        Ok([record(MODULUS_RECORD, &self.modulus)?, record(EXPONENT_RECORD, &self.exponent)?])
    }
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Simple-TLV: one length byte, or FF and two. The value starts with its own length plus one, FF if that is more
/// than a byte holds, and a zero.
fn record_value(record: &[u8], expected: u8) -> Option<&[u8]> {
    let (length, content) = match record {
        [tag, 0xFF, high, low, content @ ..] if *tag == expected => {
            (usize::from(u16::from_be_bytes([*high, *low])), content)
        }
        [tag, length, content @ ..] if *tag == expected => (usize::from(*length), content),
        _ => return None,
    };
    match content {
        [inner, 0x00, value @ ..] if content.len() == length && *inner == component_length(value) => {
            Some(value)
        }
        _ => None,
    }
}

fn record(tag: u8, value: &[u8]) -> Result<Vec<u8>, ApduError> {
    let content = [&[component_length(value), 0x00], value].concat();
    let header = match u16::try_from(content.len()).map(u16::to_be_bytes) {
        Ok([0, length @ 0..=0xFE]) => vec![tag, length],
        Ok([high, low]) => vec![tag, 0xFF, high, low],
        Err(_) => return Err(ApduError::DataTooLong(content.len())),
    };
    Ok([header, content].concat())
}

fn component_length(value: &[u8]) -> u8 {
    u8::try_from(value.len().saturating_add(1)).unwrap_or(0xFF)
}

#[cfg(test)]
mod tests {
    use super::PublicKey;

    #[test]
    fn both_forms_have_the_headers_of_the_chips() {
        // `cns-card` §5.11
        let short = PublicKey::new(&[0xAB; 128], &[1, 0, 1]).unwrap();
        let [modulus, exponent] = short.encode_records().unwrap();
        assert_eq!(modulus[..4], [0x10, 0x82, 0x81, 0x00]);
        assert_eq!(exponent, [0x11, 0x05, 0x04, 0x00, 0x01, 0x00, 0x01]);
        assert_eq!(PublicKey::decode_records(&modulus, &exponent).unwrap(), short);

        let long = PublicKey::new(&[0xAB; 256], &[1, 0, 1]).unwrap();
        let [modulus, exponent] = long.encode_records().unwrap();
        assert_eq!(modulus[..6], [0x10, 0xFF, 0x01, 0x02, 0xFF, 0x00]);
        assert_eq!(PublicKey::decode_records(&modulus, &exponent).unwrap(), long);
        let mut file = long.encode();
        assert_eq!(file[..9], [0x7F, 0x49, 0x82, 0x01, 0x09, 0x81, 0x82, 0x01, 0x00]);
        assert_eq!(file[265..], [0x82, 0x03, 0x01, 0x00, 0x01]);
        file.resize(0x120, 0x00);
        assert_eq!(PublicKey::decode(&file).unwrap(), long);
    }

    #[test]
    fn what_is_no_key() {
        assert!(PublicKey::new(&[0xAB; 63], &[3]).is_err());
        assert!(PublicKey::new(&[0xAB; 513], &[3]).is_err());
        assert!(PublicKey::new(&[0xAB; 128], &[0, 0]).is_err());
        assert!(PublicKey::new(&[0xAB; 128], &[1]).is_err());
        assert!(PublicKey::new(&[0xAB; 128], &[3]).is_ok());
        assert!(PublicKey::decode(&[0; 288]).is_err());
        assert!(PublicKey::decode_records(&[0x10, 0x03, 0x02, 0x00, 0x05], &[0x11]).is_err());
    }
}
