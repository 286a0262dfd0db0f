//! What the attributes need of an X.509 certificate (RFC 5280 §4.1), byte for byte as it stands there: a name that
//! was decoded and encoded again might differ from the one that an application compares with.

use der::asn1::{BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UintRef, UtcTime};
use der::{DateTime, Decode, Header, Reader, SliceReader, Tag};

/// The parts of a certificate with an RSA key.
pub(crate) struct Parts<'a> {
    pub(crate) fields: Fields<'a>,
    /// Big-endian, without leading zeros.
    pub(crate) modulus: &'a [u8],
    /// Big-endian, without leading zeros.
    pub(crate) public_exponent: &'a [u8],
    /// Whether data or keys may be encrypted for this key: its key usage says keyEncipherment or dataEncipherment, or
    /// there is none, which limits nothing (RFC 5280 §4.2.1.3).
    pub(crate) encrypts: bool,
}

/// What every certificate has. All but the times and the key are whole DER encodings.
pub(crate) struct Fields<'a> {
    pub(crate) serial_number: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) public_key_info: &'a [u8],
    pub(crate) not_before: DateTime,
    pub(crate) not_after: DateTime,
    /// The contents of the subjectPublicKey bit string.
    pub(crate) public_key: &'a [u8],
}

impl Fields<'_> {
    /// What `CKA_ID` is made of: the modulus of an RSA key, as NSS does it; of any other key all of it.
    pub(crate) fn identity(&self) -> &[u8] {
        rsa_key(self.public_key).map_or(self.public_key, |(modulus, _)| modulus)
    }
}

/// keyUsage (RFC 5280 §4.2.1.3).
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

/// keyEncipherment and dataEncipherment, bits 2 and 3 of the first byte.
const ENCIPHERMENT: u8 = 0b0011_0000;

/// Takes a certificate with an RSA key apart.
pub(crate) fn read(certificate: &[u8]) -> der::Result<Parts<'_>> {
    let (fields, mut rest) = take_apart(certificate)?;
    let (modulus, public_exponent) = rsa_key(fields.public_key)?;
    // Extensions that cannot be read allow nothing.
    let encrypts = key_usage(&mut rest).is_ok_and(|usage| usage.is_none_or(|bits| bits & ENCIPHERMENT != 0));
    Ok(Parts { fields, modulus, public_exponent, encrypts })
}

/// Takes a certificate with whatever key apart.
pub(crate) fn read_any(certificate: &[u8]) -> der::Result<Fields<'_>> {
    take_apart(certificate).map(|(fields, _)| fields)
}

/// The modulus and the public exponent in a SubjectPublicKeyInfo.
pub(crate) fn read_public_key(info: &[u8]) -> der::Result<(&[u8], &[u8])> {
    rsa_key(subject_public_key(info)?)
}

/// The contents of the bit string in a SubjectPublicKeyInfo.
fn subject_public_key(info: &[u8]) -> der::Result<&[u8]> {
    let mut info = SliceReader::new(info)?;
    let mut info = enter(&mut info)?;
    info.tlv_bytes()?; // algorithm
    BitStringRef::decode(&mut info)?.as_bytes().ok_or_else(|| Tag::BitString.value_error())
}

/// The modulus and the public exponent of an RSAPublicKey (RFC 8017 §A.1.1).
fn rsa_key(public_key: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut key = SliceReader::new(public_key)?;
    let mut key = enter(&mut key)?;
    Ok((UintRef::decode(&mut key)?.as_bytes(), UintRef::decode(&mut key)?.as_bytes()))
}

/// The fields, and what comes after the public key.
fn take_apart(certificate: &[u8]) -> der::Result<(Fields<'_>, SliceReader<'_>)> {
    let mut reader = SliceReader::new(certificate)?;
    let mut inside = enter(&mut reader)?;
    let tbs = inside.tlv_bytes()?;
    let mut tbs = SliceReader::new(tbs)?;
    let mut tbs = enter(&mut tbs)?;
    if tbs.peek_tag()?.is_context_specific() {
        tbs.tlv_bytes()?; // version
    }
    let serial_number = tbs.tlv_bytes()?;
    tbs.tlv_bytes()?; // signature algorithm
    let issuer = tbs.tlv_bytes()?;
    let mut validity = enter(&mut tbs)?;
    let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
    let subject = tbs.tlv_bytes()?;
    let public_key_info = tbs.tlv_bytes()?;

    let public_key = subject_public_key(public_key_info)?;
    let fields =
        Fields { serial_number, issuer, subject, public_key_info, not_before, not_after, public_key };
    Ok((fields, tbs))
}

/// The first eight bits of the key usage, from where the public key ends; nothing when there is none.
fn key_usage(tbs: &mut SliceReader<'_>) -> der::Result<Option<u8>> {
    while !tbs.is_finished() {
        let header = Header::decode(tbs)?;
        let inside = tbs.read_slice(header.length)?;
        // Before the extensions there may be two unique identifiers, [1] and [2].
        if header.tag.is_context_specific() && header.tag.number().value() == 3 {
            let mut extensions = SliceReader::new(inside)?;
            return key_usage_in(enter(&mut extensions)?);
        }
    }
    Ok(None)
}

fn key_usage_in(mut extensions: SliceReader<'_>) -> der::Result<Option<u8>> {
    while !extensions.is_finished() {
        let mut extension = enter(&mut extensions)?;
        if ObjectIdentifier::decode(&mut extension)? == KEY_USAGE {
            if extension.peek_tag()? == Tag::Boolean {
                extension.tlv_bytes()?; // critical
            }
            let value = OctetStringRef::decode(&mut extension)?;
            let bits = BitStringRef::from_der(value.as_bytes())?;
            return Ok(Some(bits.raw_bytes().first().copied().unwrap_or(0)));
        }
    }
    Ok(None)
}

/// The inside of the SEQUENCE that comes next.
fn enter<'a>(reader: &mut SliceReader<'a>) -> der::Result<SliceReader<'a>> {
    let header = Header::decode(reader)?;
    header.tag.assert_eq(Tag::Sequence)?;
    SliceReader::new(reader.read_slice(header.length)?)
}

fn time(reader: &mut SliceReader<'_>) -> der::Result<DateTime> {
    if reader.peek_tag()? == Tag::UtcTime {
        Ok(UtcTime::decode(reader)?.to_date_time())
    } else {
        Ok(GeneralizedTime::decode(reader)?.to_date_time())
    }
}
