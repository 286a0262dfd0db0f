//! What stands in place of data that was removed from a trace: the sample holder's, in the length that was recorded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use cns_apdu::personal_data::PersonalData;
use cns_apdu::trace::Missing;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use der::asn1::{BitString, Ia5StringRef, OctetString, UtcTime};
use der::{Any, AnyRef, Encode};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::Certificate;
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use crate::keys::KeyError;
use crate::personalise::{self, CreateError};
use crate::request::{self, RequestError};
use crate::sample;

/// Why the sample holder's data cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The certificate has no encoding.
    #[error(transparent)]
    Der(#[from] der::Error),
    /// The key has no encoding.
    #[error(transparent)]
    Spki(#[from] spki::Error),
    /// The subject has no encoding.
    #[error(transparent)]
    Subject(#[from] RequestError),
    /// The sample key is damaged.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The sample holder's data has no encoding.
    #[error(transparent)]
    Holder(#[from] CreateError),
}

/// The kinds of removed data that something meaningful stands in for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Certificate,
    PersonalData,
    CardNumber,
    PackedCardNumber,
}

impl Stand {
    /// By the words of `#@ data`.
    pub(super) fn of(what: &str) -> Option<Self> {
        let what = what.to_lowercase();
        let has = |word| what.contains(word);
        if has("attributes") || has("container") {
            None
        } else if has("certificate") {
            Some(Self::Certificate)
        } else if has("personal data") || has("datipersonali") || has("dati_personali") {
            Some(Self::PersonalData)
        } else if has("card number") && has("bcd") {
            Some(Self::PackedCardNumber)
        } else if has("card number") || has("idcarta") || has("id_carta") {
            Some(Self::CardNumber)
        } else {
            None
        }
    }
}

/// Bytes of answers that are no file's: zeros, and what the words say that they contain.
pub(super) fn plain(missing: Option<&Missing>) -> Vec<u8> {
    let Some(missing) = missing else { return Vec::new() };
    let told = missing.what.split_once("contains ").and_then(|(_, bytes)| {
        let digits: String = bytes.chars().take_while(char::is_ascii_hexdigit).collect();
        hex::decode(digits).ok()
    });
    let mut bytes = told.unwrap_or_default();
    if let Some(length) = missing.length {
        bytes.resize(length, 0);
    }
    bytes
}

/// Makes what stands in.
pub(super) struct Synthetic {
    holder: PersonalData,
    key: RsaPublicKey,
    subject: Name,
    /// Certificates by the length that was asked for.
    certificates: RefCell<BTreeMap<Option<usize>, Option<Vec<u8>>>>,
}

impl Synthetic {
    pub(super) fn new() -> Result<Self, SyntheticError> {
        let data = personalise::personal_data(&sample::holder())?;
        let name = personalise::common_name(&data, sample::ID_CARD.as_bytes());
        Ok(Self {
            holder: PersonalData::decode(&data).unwrap_or_default(),
            key: sample::key()?.to_public_key(),
            subject: request::subject("Regione di prova", &name)?,
            certificates: RefCell::default(),
        })
    }

    pub(super) fn card_number(&self) -> Vec<u8> {
        sample::ID_CARD.as_bytes().to_vec()
    }

    pub(super) fn packed_card_number(&self) -> Vec<u8> {
        hex::decode(sample::ID_CARD).unwrap_or_default()
    }

    /// The personal data's file; with the six digits of length that were recorded, if any were.
    pub(super) fn personal_data(&self, digits: Option<&[u8]>) -> Vec<u8> {
        let wanted = digits
            .and_then(|digits| usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .unwrap_or_default();
        let mut data = self.holder.clone();
        // The address is where a length can be made up for; what is too much goes from the end.
        let length = length_of(&data);
        if let Some(more) = wanted.checked_sub(length) {
            data.address = "X".repeat(more.min(0xFF));
        } else if wanted > 0 {
            for field in [&mut data.residence, &mut data.birth_place, &mut data.name, &mut data.surname] {
                field.clear();
            }
            let more = wanted.saturating_sub(length_of(&data));
            data.surname = "X".repeat(more.min(0xFF));
        }
        data.encode().map(Vec::from).unwrap_or_default()
    }

    /// A certificate of exactly this length, or of its natural one; `None` where none can be that short. It proves
    /// nothing: its signature is zeros.
    pub(super) fn certificate(&self, length: Option<usize>) -> Option<Vec<u8>> {
        let mut made = self.certificates.borrow_mut();
        made.entry(length).or_insert_with(|| self.make_certificate(length).ok().flatten()).clone()
    }

    fn make_certificate(&self, wanted: Option<usize>) -> Result<Option<Vec<u8>>, SyntheticError> {
        let Some(wanted) = wanted else { return Ok(Some(self.encode(&self.key, 8, 0)?)) };
        let short =
            RsaPublicKey::new_unchecked(self.key.n() >> 1024usize | BigUint::from(1u8), self.key.e().clone());
        for key in [&self.key, &short] {
            // A length field that grows skips a length; a longer serial number reaches it.
            for serial in 8..=10 {
                let mut filler = 0usize;
                for _ in 0..4 {
                    let der = self.encode(key, serial, filler)?;
                    match wanted.checked_sub(der.len()) {
                        Some(0) => return Ok(Some(der)),
                        Some(more) => filler = filler.saturating_add(more),
                        None if filler > 0 => filler = filler.saturating_sub(der.len() - wanted),
                        None => break,
                    }
                }
            }
        }
        Ok(None)
    }

    fn encode(&self, key: &RsaPublicKey, serial: usize, filler: usize) -> Result<Vec<u8>, SyntheticError> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::from(AnyRef::NULL)),
        };
        let comment = format!("Made up in place of one that was removed from a trace{}", ".".repeat(filler));
        let tbs_certificate = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&vec![0x11; serial])?,
            signature: algorithm.clone(),
            issuer: Name::from_str("CN=Nobody,C=IT")?,
            validity: Validity { not_before: at(2020)?, not_after: at(2049)? },
            subject: self.subject.clone(),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_key(key.clone())?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(vec![Extension {
                extn_id: COMMENT,
                critical: false,
                extn_value: OctetString::new(Ia5StringRef::new(&comment)?.to_der()?)?,
            }]),
        };
        let signature = BitString::from_bytes(&vec![0; key.size()])?;
        Ok(Certificate { tbs_certificate, signature_algorithm: algorithm, signature }.to_der()?)
    }
}

/// Netscape's certificate comment.
const COMMENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113730.1.13");

/// The first of January.
fn at(year: u16) -> Result<Time, der::Error> {
    let date = der::DateTime::new(year, 1, 1, 0, 0, 0)?;
    Ok(Time::UtcTime(UtcTime::from_unix_duration(Duration::from_secs(date.unix_duration().as_secs()))?))
}

fn length_of(data: &PersonalData) -> usize {
    let file = data.encode().map(Vec::from).unwrap_or_default();
    let digits = file.get(..6).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default()
}
