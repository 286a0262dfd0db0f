//! The mechanisms: hashes, and signatures made by the card and verified here (PKCS#11 Current Mechanisms v2.40 §2.1).

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Hash, Mechanism as CardMechanism};
use cryptoki_sys as ck;
use cryptoki_sys::{CK_FLAGS, CK_KEY_TYPE, CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE, CK_ULONG};
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::error::Error;
use crate::object::PrivateKey;

/// A hash that is being computed.
pub(crate) type Hasher = Box<dyn DynDigest + Send>;

/// A hash function with all that the standard names after it.
struct HashNames {
    hash: Hash,
    digest: CK_MECHANISM_TYPE,
    mgf: CK_RSA_PKCS_MGF_TYPE,
    pkcs1: CK_MECHANISM_TYPE,
    pss: CK_MECHANISM_TYPE,
    /// The DER of a DigestInfo up to the digest (RFC 8017 §9.2, note 1).
    digest_info: &'static [u8],
}

const HASHES: [HashNames; 5] = [
    HashNames {
        hash: Hash::Sha1,
        digest: ck::CKM_SHA_1,
        mgf: ck::CKG_MGF1_SHA1,
        pkcs1: ck::CKM_SHA1_RSA_PKCS,
        pss: ck::CKM_SHA1_RSA_PKCS_PSS,
        digest_info: b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
    },
    HashNames {
        hash: Hash::Sha224,
        digest: ck::CKM_SHA224,
        mgf: ck::CKG_MGF1_SHA224,
        pkcs1: ck::CKM_SHA224_RSA_PKCS,
        pss: ck::CKM_SHA224_RSA_PKCS_PSS,
        digest_info: b"\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
    },
    HashNames {
        hash: Hash::Sha256,
        digest: ck::CKM_SHA256,
        mgf: ck::CKG_MGF1_SHA256,
        pkcs1: ck::CKM_SHA256_RSA_PKCS,
        pss: ck::CKM_SHA256_RSA_PKCS_PSS,
        digest_info: b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
    },
    HashNames {
        hash: Hash::Sha384,
        digest: ck::CKM_SHA384,
        mgf: ck::CKG_MGF1_SHA384,
        pkcs1: ck::CKM_SHA384_RSA_PKCS,
        pss: ck::CKM_SHA384_RSA_PKCS_PSS,
        digest_info: b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
    },
    HashNames {
        hash: Hash::Sha512,
        digest: ck::CKM_SHA512,
        mgf: ck::CKG_MGF1_SHA512,
        pkcs1: ck::CKM_SHA512_RSA_PKCS,
        pss: ck::CKM_SHA512_RSA_PKCS_PSS,
        digest_info: b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    },
];

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// What is hashed here before the card signs; nothing when the application passes what is to be signed.
    pub(crate) hash: Option<Hash>,
    /// What the card does.
    pub(crate) padding: Padding,
}

/// What the card does with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS.
    Pss(Pss),
    /// The bare RSA operation.
    Raw,
}

/// The parameters of RSASSA-PSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pss {
    pub(crate) hash: Hash,
    pub(crate) mgf_hash: Hash,
    pub(crate) salt_length: u16,
}

impl Scheme {
    /// Reads a mechanism and its parameter.
    pub(crate) fn read(kind: CK_MECHANISM_TYPE, parameter: &[u8]) -> Result<Self, Error> {
        let hashed = HASHES.iter().find(|names| names.pkcs1 == kind || names.pss == kind);
        let hash = hashed.map(|names| names.hash);
        let padding = match kind {
            ck::CKM_RSA_X_509 => Padding::Raw,
            ck::CKM_RSA_PKCS => Padding::Pkcs1,
            ck::CKM_RSA_PKCS_PSS => Padding::Pss(Pss::read(parameter)?),
            _ => match hashed {
                Some(names) if names.pss == kind => Padding::Pss(Pss::read(parameter)?),
                Some(_) => Padding::Pkcs1,
                None => return Err(Error::MechanismInvalid),
            },
        };
        match padding {
            Padding::Pss(pss) if hash.is_some_and(|hash| hash != pss.hash) => {
                Err(Error::MechanismParamInvalid)
            }
            Padding::Pkcs1 | Padding::Raw if !parameter.is_empty() => Err(Error::MechanismParamInvalid),
            Padding::Pss(_) | Padding::Pkcs1 | Padding::Raw => Ok(Self { hash, padding }),
        }
    }

    /// Whether a key can do it; the same keys and mechanisms as in [`signing`].
    pub(crate) fn suits(self, key_use: KeyUse) -> bool {
        key_use == KeyUse::Authentication || self.padding == Padding::Pkcs1
    }

    /// Reads a mechanism of signatures from which the data can be had again: the application's own data and nothing
    /// else, padded or not.
    pub(crate) fn read_recovering(kind: CK_MECHANISM_TYPE, parameter: &[u8]) -> Result<Self, Error> {
        match kind {
            ck::CKM_RSA_PKCS | ck::CKM_RSA_X_509 => Self::read(kind, parameter),
            _ => Err(Error::MechanismInvalid),
        }
    }

    /// Whether a modulus of `length` bytes is long enough for the scheme (RFC 8017 §9.1.1, §9.2).
    pub(crate) fn fits(self, length: usize) -> bool {
        match self.padding {
            Padding::Pss(pss) => {
                let encoded =
                    pss.hash.length().saturating_add(usize::from(pss.salt_length)).saturating_add(2);
                encoded <= length
            }
            Padding::Pkcs1 => self.hash.is_none_or(|hash| hash.length().saturating_add(30) <= length),
            Padding::Raw => true,
        }
    }

    /// What the card is asked to do, and with which data, for a modulus of `length` bytes. `data` is a digest where
    /// the scheme hashes.
    pub(crate) fn prepare(self, data: &[u8], length: usize) -> Result<(CardMechanism, Vec<u8>), Error> {
        match self.padding {
            Padding::Pkcs1 => {
                let prefix = self.hash.map_or(&[][..], digest_info);
                let info = [prefix, data].concat();
                // RFC 8017 §9.2: emLen >= tLen + 11.
                if info.len().saturating_add(11) > length {
                    return Err(Error::DataLenRange);
                }
                Ok((CardMechanism::RsaPkcs1, info))
            }
            Padding::Pss(Pss { hash, mgf_hash, salt_length }) => {
                if data.len() != hash.length() {
                    return Err(Error::DataLenRange);
                }
                Ok((CardMechanism::RsaPss { hash, mgf_hash, salt_length }, data.to_vec()))
            }
            Padding::Raw => {
                let zeros = length.checked_sub(data.len()).ok_or(Error::DataLenRange)?;
                Ok((CardMechanism::RsaRaw, [&vec![0; zeros], data].concat()))
            }
        }
    }
}

impl Pss {
    /// Reads `CK_RSA_PKCS_PSS_PARAMS`: three numbers of the platform's own size.
    fn read(parameter: &[u8]) -> Result<Self, Error> {
        let (words, rest) = parameter.as_chunks::<{ size_of::<CK_ULONG>() }>();
        let ([hash, mgf, salt], []) = (words, rest) else {
            return Err(Error::MechanismParamInvalid);
        };
        let (hash, mgf) = (CK_ULONG::from_ne_bytes(*hash), CK_ULONG::from_ne_bytes(*mgf));
        let salt = CK_ULONG::from_ne_bytes(*salt);
        let invalid = Error::MechanismParamInvalid;
        Ok(Self {
            hash: hash_of(hash).map_err(|_| invalid)?,
            mgf_hash: mgf_hash_of(mgf).ok_or(invalid)?,
            salt_length: u16::try_from(salt).map_err(|_| invalid)?,
        })
    }
}

/// The hash that a digest mechanism means.
pub(crate) fn hash_of(kind: CK_MECHANISM_TYPE) -> Result<Hash, Error> {
    HASHES.iter().find(|names| names.digest == kind).map(|names| names.hash).ok_or(Error::MechanismInvalid)
}

/// The hash that a mask generation function is made with.
pub(crate) fn mgf_hash_of(kind: CK_RSA_PKCS_MGF_TYPE) -> Option<Hash> {
    HASHES.iter().find(|names| names.mgf == kind).map(|names| names.hash)
}

/// A hash function at its start.
pub(crate) fn hasher(hash: Hash) -> Hasher {
    match hash {
        Hash::Sha1 => Box::new(Sha1::default()),
        Hash::Sha224 => Box::new(Sha224::default()),
        Hash::Sha256 => Box::new(Sha256::default()),
        Hash::Sha384 => Box::new(Sha384::default()),
        Hash::Sha512 => Box::new(Sha512::default()),
    }
}

/// The mechanisms that a key can sign with. The chip itself pads for a signature key, and knows PKCS#1 v1.5 only; for
/// an authentication key it makes the bare operation, and padding is the daemon's.
pub(crate) fn signing(key_use: KeyUse) -> Vec<CK_MECHANISM_TYPE> {
    let mut kinds = vec![ck::CKM_RSA_PKCS];
    kinds.extend(HASHES.iter().map(|names| names.pkcs1));
    if key_use == KeyUse::Authentication {
        kinds.extend([ck::CKM_RSA_PKCS_PSS, ck::CKM_RSA_X_509]);
        kinds.extend(HASHES.iter().map(|names| names.pss));
    }
    kinds
}

/// The mechanisms that encrypt.
pub(crate) const ENCRYPTING: [CK_MECHANISM_TYPE; 3] =
    [ck::CKM_RSA_PKCS, ck::CKM_RSA_PKCS_OAEP, ck::CKM_RSA_X_509];

/// The mechanisms that generate secret keys, with the keys' type and their sizes as the standard tells them (PKCS#11 Current
/// Mechanisms v2.40: generic secrets in bits, AES in bytes). The longest has 512 bytes, the modulus of the
/// largest key that could wrap it.
const GENERATING: [(CK_MECHANISM_TYPE, CK_KEY_TYPE, (CK_ULONG, CK_ULONG)); 2] = [
    (ck::CKM_GENERIC_SECRET_KEY_GEN, ck::CKK_GENERIC_SECRET, (8, 4096)),
    (ck::CKM_AES_KEY_GEN, ck::CKK_AES, (16, 32)),
];

/// The mechanism that has the card generate a key, for programs of the counter, and the bits of that key.
pub(crate) const GENERATING_ON_CARD: (CK_MECHANISM_TYPE, CK_ULONG) = (ck::CKM_RSA_PKCS_KEY_PAIR_GEN, 2048);

/// The type of the keys that a mechanism generates.
pub(crate) fn generates(kind: CK_MECHANISM_TYPE) -> Result<CK_KEY_TYPE, Error> {
    let known = GENERATING.iter().find(|(known, _, _)| *known == kind);
    known.map(|(_, key_type, _)| *key_type).ok_or(Error::MechanismInvalid)
}

/// All mechanisms of programs of the counter. Others are not led to try what is refused to them.
pub(crate) fn all_of_counter() -> Vec<CK_MECHANISM_TYPE> {
    let mut kinds = all();
    kinds.push(GENERATING_ON_CARD.0);
    kinds
}

/// All mechanisms of everybody.
pub(crate) fn all() -> Vec<CK_MECHANISM_TYPE> {
    let mut kinds = signing(KeyUse::Authentication);
    kinds.push(ck::CKM_RSA_PKCS_OAEP);
    kinds.extend(HASHES.iter().map(|names| names.digest));
    kinds.extend(GENERATING.iter().map(|(kind, _, _)| *kind));
    kinds
}

/// What a mechanism can be used for with the keys of a card, and which sizes its keys have.
pub(crate) fn flags(kind: CK_MECHANISM_TYPE, keys: &[&PrivateKey]) -> Result<(CK_FLAGS, KeySizes), Error> {
    if HASHES.iter().any(|names| names.digest == kind) {
        return Ok((ck::CKF_DIGEST, KeySizes::Fixed(0, 0)));
    }
    if let Some((_, _, (least, most))) = GENERATING.iter().find(|(known, _, _)| *known == kind) {
        return Ok((ck::CKF_GENERATE, KeySizes::Fixed(*least, *most)));
    }
    if kind == GENERATING_ON_CARD.0 {
        let bits = GENERATING_ON_CARD.1;
        return Ok((ck::CKF_GENERATE_KEY_PAIR | ck::CKF_HW, KeySizes::Fixed(bits, bits)));
    }
    if !all().contains(&kind) {
        return Err(Error::MechanismInvalid);
    }
    let recovers = matches!(kind, ck::CKM_RSA_PKCS | ck::CKM_RSA_X_509);
    let mut flags = 0;
    if kind != ck::CKM_RSA_PKCS_OAEP {
        flags |= ck::CKF_VERIFY | if recovers { ck::CKF_VERIFY_RECOVER } else { 0 };
    }
    if keys.iter().any(|key| signing(key.key_use).contains(&kind)) {
        flags |= ck::CKF_SIGN | if recovers { ck::CKF_SIGN_RECOVER } else { 0 };
        // The rest of the work, hashing, is not the card's.
        if recovers || kind == ck::CKM_RSA_PKCS_PSS {
            flags |= ck::CKF_HW;
        }
    }
    if ENCRYPTING.contains(&kind) {
        flags |= ck::CKF_ENCRYPT | ck::CKF_WRAP;
        if keys.iter().any(|key| key.decrypts) {
            flags |= ck::CKF_DECRYPT | ck::CKF_UNWRAP | ck::CKF_HW;
        }
    }
    Ok((flags, KeySizes::OfCard))
}

/// Which sizes a mechanism's keys have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySizes {
    /// Those of the card's RSA keys.
    OfCard,
    /// The smallest and the largest, in the mechanism's own unit.
    Fixed(CK_ULONG, CK_ULONG),
}

fn digest_info(hash: Hash) -> &'static [u8] {
    HASHES.iter().find(|names| names.hash == hash).map_or(&[], |names| names.digest_info)
}

#[cfg(test)]
mod tests;
